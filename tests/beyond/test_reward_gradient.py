"""The gradient of a reward through the drawing: the pictures, the scores, and the training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from safetensors.torch import load_file
from toys import REWARD_RECIPE as RECIPE

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.beyond import reward_gradient
from alignsd.beyond.reward_gradient import Goal
from alignsd.models.clip import load_clip
from alignsd.models.lora import files
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import Checkpointing
from alignsd.reward.hps import score

BASE = "miniature/stable-diffusion"
PROMPTS = [
    "a person in a red shirt standing on the beach",
    "a running person at night, blue shirt",
    "in the city, a person waving in a green shirt with a hat",
]


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


def embedded(pipeline, texts):
    return pipeline.encode_prompt(texts, "cpu", 1, do_classifier_free_guidance=False)[0].detach()


def first_noise(seeds):
    """Return the noise that the pipeline draws from these seeds."""
    return torch.cat(
        [torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


def drawn(pipeline, recipe, negatives=("", "a person at night", "")):
    texts, avoided = embedded(pipeline, PROMPTS), embedded(pipeline, list(negatives))
    noise = first_noise([5, 6, 7])
    return reward_gradient.draw_with_gradient(pipeline, texts, avoided, noise, recipe)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("scheduler", [None, PNDMScheduler])
def test_the_pictures_are_those_of_generate(guidance, scheduler):
    """PNDM is the scheduler of Stable Diffusion 1.4."""
    pipeline = load_pipeline(BASE, "cpu")
    if scheduler is not None:
        config = dict(pipeline.scheduler.config, skip_prk_steps=True)
        pipeline.scheduler = scheduler.from_config(config)
    negatives = ["", "a person at night", ""]
    jobs = [Job(str(i), PROMPTS[i], 5 + i, negatives[i]) for i in range(3)]
    expected = np.stack([one for _, one in generate(pipeline, jobs, Drawing(4, guidance, 3))])
    recipe = replace(RECIPE, denoising_steps=4, guidance=guidance)
    with torch.no_grad():
        pixels = drawn(pipeline, recipe)
    assert pixels.shape == (3, 3, 64, 64)
    grey_levels = (pixels * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(grey_levels - expected).max() <= 1


@pytest.mark.parametrize("side", [64, 150])
def test_the_score_is_hps(clip, side):
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((3, 3, 16, 16), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    images = (smooth * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    values = reward_gradient.differentiable_hps(clip)(pixels, PROMPTS)
    # Pillow rounds to whole grey levels after it resizes.
    tolerance = 1e-3 if side == 64 else 0.05
    assert values.tolist() == pytest.approx(score(clip, list(images), PROMPTS), abs=tolerance)


def test_pictures_that_are_not_square_are_refused(clip):
    reward = reward_gradient.differentiable_hps(clip)
    with pytest.raises(Problem, match="square"):
        reward(torch.zeros(1, 3, 64, 32), PROMPTS[:1])


def test_the_gradient_of_hps_is_its_slope(clip):
    """A step along the gradient changes HPS by the step's length times the gradient's."""
    reward = reward_gradient.differentiable_hps(clip)
    noise = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    pixels = 0.5 + 0.1 * noise
    pixels.requires_grad_(True)
    reward(pixels, PROMPTS[:1]).sum().backward()
    gradient = pixels.grad
    direction = gradient / gradient.norm()
    with torch.no_grad():
        ahead = reward(pixels + 1e-2 * direction, PROMPTS[:1])
        behind = reward(pixels - 1e-2 * direction, PROMPTS[:1])
    slope = float(ahead - behind) / 2e-2
    assert slope == pytest.approx(float(gradient.norm()), rel=0.05)


def gradient_of_brightness(recipe):
    """Return the gradient of the pictures' brightness to the second matrices of a LoRA."""
    pipeline = load_pipeline(BASE, "cpu")
    lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)
    drawn(pipeline, recipe).mean().backward()
    seconds = [p.grad for name, p in pipeline.unet.named_parameters() if "lora_B" in name]
    return torch.cat([gradient.reshape(-1) for gradient in seconds])


def test_the_gradient_goes_through_the_last_steps_alone():
    through = {k: gradient_of_brightness(replace(RECIPE, through=k)) for k in (1, 3)}
    assert all(gradient.any() for gradient in through.values())
    assert not torch.allclose(through[1], through[3], rtol=0.1)


def test_all_steps_are_all_calls_of_the_network():
    """PNDM, the scheduler of Stable Diffusion 1.4, calls the network once more."""
    pipeline = load_pipeline(BASE, "cpu")
    config = dict(pipeline.scheduler.config, skip_prk_steps=True)
    pipeline.scheduler = PNDMScheduler.from_config(config)
    with_gradient = []

    def note(module, inputs, output):
        with_gradient.append(torch.is_grad_enabled())

    pipeline.unet.register_forward_hook(note)
    drawn(pipeline, replace(RECIPE, through=3))
    drawn(pipeline, replace(RECIPE, through=1))
    assert with_gradient == [True] * 4 + [False] * 3 + [True]


def test_what_is_computed_again_gives_the_same_gradient():
    plain = gradient_of_brightness(RECIPE)
    again = gradient_of_brightness(replace(RECIPE, recompute=True))
    torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-7)


def trained(goal, recipe, checkpointing=None, stop=None):
    """Return the UNet's trained matrices and the losses, after the training or step ``stop``."""
    pipeline = load_pipeline(BASE, "cpu")
    lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)
    losses = []
    for step, loss in reward_gradient.finetune(pipeline, goal, recipe, checkpointing):
        losses.append(loss)
        if step == stop:
            break
    return [p.detach() for p in pipeline.unet.parameters() if p.requires_grad], losses


def redness(pixels, prompts):
    return (pixels[:, 0] - pixels[:, 1:].mean(dim=1)).mean(dim=(1, 2))


def test_a_training_raises_its_reward():
    recipe = replace(RECIPE, steps=5, learning_rate=8e-3)
    _, losses = trained(Goal(PROMPTS, redness), recipe)
    assert losses[-1] < losses[0] - 0.01


def test_a_training_resumes_to_the_bit(tmp_path):
    goal, checkpointing = Goal(PROMPTS, redness), Checkpointing(tmp_path / "c.pt", every=1)
    whole, losses = trained(goal, RECIPE)
    trained(goal, RECIPE, checkpointing, stop=0)
    resumed, losses_again = trained(goal, RECIPE, checkpointing)
    assert losses_again == losses
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_batch_that_does_not_fit_the_memory_is_accumulated():
    _, whole = trained(Goal(PROMPTS, redness), RECIPE)
    _, accumulated = trained(Goal(PROMPTS, redness), replace(RECIPE, micro_batch=2))
    np.testing.assert_allclose(accumulated, whole, rtol=1e-4)


def test_an_alignment_loads_trains_and_saves(tmp_path, clip):
    goal = Goal(PROMPTS, reward_gradient.differentiable_hps(clip))
    recipe = replace(RECIPE, steps=1)
    folder, about = tmp_path / "reward", {"base model": BASE}
    seen = list(reward_gradient.align(BASE, "cpu", goal, recipe, folder, about))
    assert [step for step, _, _ in seen] == [0]
    about_file = files.read_about(folder / files.DIFFUSERS_FILE)
    assert about_file["base model"] == BASE
    assert about_file["through"] == "2"
    by_hand, losses = trained(goal, recipe)
    assert [loss for _, loss, _ in seen] == losses
    saved = load_file(folder / files.DIFFUSERS_FILE)
    assert len(saved) == len(by_hand)
    files.load_lora(load_pipeline(BASE, "cpu"), folder)


def test_the_loss_is_minus_the_mean_hps_of_what_generate_draws(tmp_path, clip):
    """Before the first step, the trained model draws what the original model draws."""
    seen = []

    def reward(pixels, prompts):
        values = reward_gradient.differentiable_hps(clip)(pixels, prompts)
        pictures = (pixels.detach() * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
        seen.extend(zip(prompts, pictures, strict=True))
        return values

    _, losses = trained(Goal(PROMPTS, reward), replace(RECIPE, steps=1))
    prompts, pictures = zip(*seen, strict=True)
    assert sorted(prompts) == sorted(PROMPTS)
    assert losses[0] == pytest.approx(-score(clip, list(pictures), list(prompts)).mean(), abs=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps is too small"),
        ({"batch": 0}, "batch is too small"),
        ({"through": 0}, "through is too small"),
        ({"through": 4}, "through so many steps"),
        ({"guidance": float("inf")}, "guidance is not a finite number"),
        ({"learning_rate": -1.0}, "learning_rate is too small"),
        ({"seed": -1}, "seed is out of range"),
    ],
)
def test_a_recipe_out_of_its_range_is_refused(settings, words):
    with pytest.raises(Problem, match=words):
        replace(RECIPE, **settings)


def test_a_training_without_prompts_is_refused():
    with pytest.raises(Problem, match="no prompts"):
        Goal([], redness)
