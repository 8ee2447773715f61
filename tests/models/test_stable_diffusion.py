"""Generation and fine-tuning on the shipped miniature model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from alignsd.adapt import lora
from alignsd.adapt.examples import crop, encode_examples
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.miniature.web import make_web
from alignsd.models import lora_files
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline
from alignsd.models.training import Checkpointing

PROMPT = "a person in a red shirt standing on the beach"


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("miniature/stable-diffusion", device="cpu")


def _jobs(n):
    return [Job(f"j{i}", PROMPT, image_seed(0, "test", i)) for i in range(n)]


def test_seeds_follow_from_their_key():
    assert image_seed(0, "p1", 2) == image_seed(0, "p1", 2)
    assert len({image_seed(s, p, i) for s in (0, 1) for p in ("p1", "p2") for i in range(3)}) == 12


def test_any_subset_and_batch_gives_the_same_pixels_to_within_a_grey_level(pipeline):
    whole = {job.id: image for job, image in generate(pipeline, _jobs(5), Drawing(3, 3.0, batch=5))}
    part = {job.id: image for job, image in generate(pipeline, _jobs(5)[3:], Drawing(3, 3.0, batch=1))}
    for name, image in part.items():
        assert np.abs(image.astype(int) - whole[name].astype(int)).max() <= 1  # rounding of batched arithmetic
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8


def test_what_was_drawn_before_changes_no_pixel(pipeline):
    """If it failed, a stopped run would end with other pictures than one that was not."""
    jobs = [Job(f"j{i}", f"a person number {i}", i) for i in range(7)]
    whole = {job.id: image for job, image in generate(pipeline, jobs, Drawing(2, 1.5, batch=3))}
    rest = {job.id: image for job, image in generate(pipeline, jobs, Drawing(2, 1.5, batch=3), done={"j0", "j1", "j2", "j4", "j6"})}
    assert list(rest) == ["j3", "j5"] and all((rest[name] == whole[name]).all() for name in rest)
    assert list(generate(pipeline, jobs, Drawing(2, 1.5, batch=3), done=whole)) == []


def test_negative_prompt_changes_the_image(pipeline):
    plain, negative = Job("a", PROMPT, 1), Job("b", PROMPT, 1, "a person at night")
    images = [image for _, image in generate(pipeline, [plain, negative], Drawing(3, 3.0))]
    assert (images[0] != images[1]).any()


def test_missing_models_and_adapters_are_told(tmp_path):
    with pytest.raises(Problem, match="could not be loaded"):
        load_pipeline(str(tmp_path / "nothing"))
    with pytest.raises(Problem, match="no LoRA"):
        load_pipeline("miniature/stable-diffusion", "cpu", adapter=tmp_path)


@pytest.fixture
def examples(tmp_path, pipeline):
    web = make_web(12, seed=9, flaw_share=0.5)
    for i, picture in enumerate(web.pictures):
        save_png(tmp_path / f"{i}.png", picture)
    table = pd.DataFrame({"file_name": [f"{i}.png" for i in range(12)], "text": web.captions,
                          "label": ["positive", "negative"] * 6, "folder": str(tmp_path)})
    return encode_examples(pipeline, table, 64, seed=0, store=tmp_path / "latents")


RECIPE = lora.LoraRecipe(
    identifier="Weird image. ",
    identifier_alone=0.5,
    steps=6,
    batch=4,
    micro_batch=4,
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=1e-2,
    snr_gamma=1.0,
    rank=4,
    seed=0,
)


def _tune(examples, checkpoint=None, stop=None, **changes):
    pipe = load_pipeline("miniature/stable-diffusion", device="cpu")
    lora.add_lora(pipe.unet, rank=4, seed=0)
    checkpointing = Checkpointing(checkpoint, every=2) if checkpoint else None
    losses = []
    for step, loss in lora.finetune(pipe, examples, replace(RECIPE, **changes), checkpointing):
        losses.append(loss)
        if step == stop:
            break
    return pipe, losses


def test_fine_tuning_resumes_to_the_bit(tmp_path, examples):
    whole, losses = _tune(examples)
    _tune(examples, tmp_path / "c.pt", stop=3)
    resumed, again = _tune(examples, tmp_path / "c.pt")
    assert again == losses
    assert all(torch.equal(a, b) for a, b in zip(whole.unet.parameters(), resumed.unet.parameters(), strict=True))


def test_an_adaptation_loads_trains_and_saves(tmp_path, examples):
    recipe = replace(RECIPE, steps=2)
    about = {"base model": "miniature/stable-diffusion"}
    base = "miniature/stable-diffusion"
    seen = list(lora.adapt(base, "cpu", examples, recipe, tmp_path / "adapter", about))
    by_hand, losses = _tune(examples, steps=2)
    assert [(step, loss) for step, loss, _ in seen] == list(enumerate(losses))
    lora_files.save_lora(by_hand.unet, tmp_path / "by_hand", about)
    files = [load_file(tmp_path / name / "pytorch_lora_weights.safetensors") for name in ("adapter", "by_hand")]
    assert files[0] and all(torch.equal(value, files[1][name]) for name, value in files[0].items())


def test_a_batch_that_does_not_fit_the_memory_is_accumulated(examples):
    """If it failed, a small GPU would train something else than the paper's batch of 40."""
    (_, whole), (_, accumulated) = _tune(examples, steps=3), _tune(examples, steps=3, micro_batch=3)
    np.testing.assert_allclose(accumulated, whole, rtol=1e-4)


def test_the_lora_trains_attention_alone_and_reloads(tmp_path, examples):
    before = load_pipeline("miniature/stable-diffusion", device="cpu")
    tuned, _ = _tune(examples)
    trained = [name for name, p in tuned.unet.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name and any(part in name for part in lora.ATTENTION) for name in trained)
    lora_files.save_lora(tuned.unet, tmp_path / "adapter", {})
    loaded = load_pipeline("miniature/stable-diffusion", device="cpu", adapter=tmp_path / "adapter")
    images = [next(generate(pipe, _jobs(1), Drawing(3, 3.0)))[1].astype(int) for pipe in (before, tuned, loaded)]
    assert np.abs(images[1] - images[2]).max() <= 1
    assert np.abs(images[0] - images[1]).max() > 1


def test_negatives_get_the_identifier_and_some_nothing_else(examples):
    captions = lora.captions_of(examples, np.arange(12), RECIPE, np.random.default_rng(0))
    for i, caption in enumerate(captions):
        assert caption.startswith("Weird image. ") == bool(examples.negative[i])
    alone = [caption == "Weird image. " for caption, negative in zip(captions, examples.negative, strict=True) if negative]
    assert 0 < sum(alone) < len(alone)


def test_crop_scales_the_short_side_and_cuts_a_square():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    square = crop(image, 64, np.random.default_rng(0))
    assert square.shape == (64, 64, 3)
    assert (crop(square, 64, np.random.default_rng(1)) == square).all()
