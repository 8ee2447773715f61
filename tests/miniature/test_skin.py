"""The skin tone of a picture, read from renders of known tone."""

import numpy as np
import pytest
import torch

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.miniature import world
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.renderer import draw, random_look
from alignsd.miniature.skin import TONES, skin_tones
from alignsd.models.stable_diffusion import load_pipeline

N = 200


@pytest.fixture(scope="module")
def renders():
    """Return renders of random scenes, looks and flaws, and the tone of each."""
    rng = np.random.default_rng(0)
    pictures, tones = [], []
    for _ in range(N):
        look = random_look(rng)
        scene = world.random_scene(rng)
        flaw = world.random_flaw(rng, 0.5)
        pictures.append(draw(scene, flaw, look, rng))
        tones.append(TONES[look.skin])
    return pictures, tones


def accuracy(pictures, tones):
    seen = skin_tones(pictures)
    return np.mean([a == b for a, b in zip(seen, tones, strict=True)])


def test_tones_of_renders_are_read(renders):
    assert accuracy(*renders) >= 0.99


def test_tones_are_read_from_pictures_as_blurred_as_drawn_pictures(renders):
    """Stable Diffusion's pictures come from its autoencoder, which blurs."""
    pictures, tones = renders
    vae = load_pipeline("miniature/stable-diffusion", "cpu").vae
    with torch.no_grad():
        latents = vae.encode(to_tensor(np.stack(pictures)) / 127.5 - 1).latent_dist.mean
        decoded = vae.decode(latents).sample
    pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    blurred = pixels.permute(0, 2, 3, 1).numpy()
    assert accuracy(blurred, tones) >= 0.95


def test_a_parameter_names_the_reader(renders):
    pictures, tones = renders
    attribute = sources.attribute("miniature")
    assert attribute.classes == TONES
    assert attribute(pictures[:8]) == tones[:8]
    assert sources.attribute("") is None
    with pytest.raises(Problem, match="There is no attribute 'height'"):
        sources.attribute("height")


def test_pictures_of_another_size_are_refused():
    with pytest.raises(Problem, match="(?s)64 x 64.*128"):
        skin_tones([np.zeros((128, 128, 3), np.uint8)])


def test_no_picture_has_no_tone():
    assert skin_tones([]) == []


def test_utility_is_that_of_the_people_who_choose(renders):
    pictures, _ = renders
    prompts = ["a person in a red shirt standing on the beach"] * 8
    utility = sources.utility("miniature/judge")
    values = utility(pictures[:8], prompts)
    chances = sources.people("miniature/judge")(pictures[:8], prompts[0])
    assert values.shape == (8,)
    assert (np.argsort(values) == np.argsort(chances)).all()
    assert sources.utility("") is None
