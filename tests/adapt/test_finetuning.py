"""Fine-tuning the shipped miniature model: resumed, accumulated, saved and loaded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toys import LORA_RECIPE

from alignsd.adapt import lora
from alignsd.adapt.examples import crop, encode_examples
from alignsd.base.images import save_png
from alignsd.miniature.web import make_web
from alignsd.models.lora import files
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import Checkpointing

BASE = "miniature/stable-diffusion"
PROMPT = "a person in a red shirt standing on the beach"
RECIPE = replace(LORA_RECIPE, steps=6, micro_batch=4, schedule="cosine", snr_gamma=1.0)


@pytest.fixture
def examples(tmp_path):
    web = make_web(12, seed=9, flaw_share=0.5)
    for i, picture in enumerate(web.pictures):
        save_png(tmp_path / f"{i}.png", picture)
    columns = {
        "file_name": [f"{i}.png" for i in range(12)],
        "text": web.captions,
        "label": ["positive", "negative"] * 6,
        "folder": str(tmp_path),
    }
    pipeline = load_pipeline(BASE, device="cpu")
    store = tmp_path / "latents"
    return encode_examples(pipeline, pd.DataFrame(columns), 64, seed=0, store=store)


def tune(examples, checkpoint=None, stop=None, **changes):
    """Return the pipeline and the losses after the training, or after step ``stop``."""
    pipeline = load_pipeline(BASE, device="cpu")
    lora.add_lora(pipeline.unet, rank=4, seed=0)
    checkpointing = Checkpointing(checkpoint, every=2) if checkpoint else None
    recipe = replace(RECIPE, **changes)
    losses = []
    for step, loss in lora.finetune(pipeline, examples, recipe, checkpointing):
        losses.append(loss)
        if step == stop:
            break
    return pipeline, losses


def test_fine_tuning_resumes_to_the_bit(tmp_path, examples):
    whole, losses = tune(examples)
    tune(examples, tmp_path / "c.pt", stop=3)
    resumed, losses_again = tune(examples, tmp_path / "c.pt")
    assert losses_again == losses
    own, other = whole.unet.parameters(), resumed.unet.parameters()
    assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))


def test_an_adaptation_loads_trains_and_saves(tmp_path, examples):
    recipe = replace(RECIPE, steps=2)
    about = {"base model": BASE}
    seen = list(lora.adapt(BASE, "cpu", examples, recipe, tmp_path / "adapter", about))
    by_hand, losses = tune(examples, steps=2)
    assert [(step, loss) for step, loss, _ in seen] == list(enumerate(losses))
    files.save_lora(by_hand.unet, tmp_path / "by_hand", about)
    adapted = load_file(tmp_path / "adapter" / files.DIFFUSERS_FILE)
    expected = load_file(tmp_path / "by_hand" / files.DIFFUSERS_FILE)
    assert adapted.keys() == expected.keys()
    assert all(torch.equal(adapted[name], expected[name]) for name in expected)


def test_a_batch_that_does_not_fit_the_memory_is_accumulated(examples):
    """If it failed, a small GPU would train something else than the paper's batch of 40."""
    _, whole = tune(examples, steps=3)
    _, accumulated = tune(examples, steps=3, micro_batch=3)
    np.testing.assert_allclose(accumulated, whole, rtol=1e-4)


def test_the_lora_trains_attention_alone_and_reloads(tmp_path, examples):
    before = load_pipeline(BASE, device="cpu")
    tuned, _ = tune(examples)
    trained = [name for name, value in tuned.unet.named_parameters() if value.requires_grad]
    assert trained
    for name in trained:
        assert "lora_" in name
        assert any(layer in name for layer in lora.ATTENTION)
    files.save_lora(tuned.unet, tmp_path / "adapter", {})
    loaded = load_pipeline(BASE, device="cpu", adapter=tmp_path / "adapter")
    drawn_before, drawn_tuned, drawn_loaded = map(picture, (before, tuned, loaded))
    assert np.abs(drawn_tuned - drawn_loaded).max() <= 1
    assert np.abs(drawn_before - drawn_tuned).max() > 1


def picture(pipeline):
    ((_, image),) = generate(pipeline, [Job("a", PROMPT, 1)], Drawing(3, 3.0))
    return image.astype(int)


def test_negatives_get_the_identifier_and_some_nothing_else(examples):
    captions = lora.captions_of(examples, np.arange(12), RECIPE, np.random.default_rng(0))
    of_negatives = []
    for caption, negative in zip(captions, examples.negative, strict=True):
        assert caption.startswith("Weird image. ") == bool(negative)
        if negative:
            of_negatives.append(caption)
    assert 0 < of_negatives.count("Weird image. ") < len(of_negatives)


def test_crop_scales_the_short_side_and_cuts_a_square():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    square = crop(image, 64, np.random.default_rng(0))
    assert square.shape == (64, 64, 3)
    assert (crop(square, 64, np.random.default_rng(1)) == square).all()
