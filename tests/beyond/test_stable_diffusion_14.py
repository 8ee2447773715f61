"""The UNet of Stable Diffusion 1.4 learns from pairs: all its layers, in a tenth of its width."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from stable_diffusion_14 import narrow_pipeline
from toys import PAIR_RECIPE

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.beyond import preference
from alignsd.beyond.negative_branch import load_two
from alignsd.beyond.pairs import Pairs
from alignsd.models.lora.files import read_lora
from alignsd.models.stable_diffusion import Drawing, Job, generate
from alignsd.planning.throughput import UNET

# The official settings, but for steps, batch and rank.
RECIPE = replace(
    PAIR_RECIPE,
    steps=1,
    batch=2,
    micro_batch=1,
    learning_rate=2.05e-5,
    schedule="constant",
    snr_gamma=0.0,
    rank=8,
    beta=5000.0,
    caption_dropout=0.2,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Give a folder in diffusers' layout with random weights."""
    folder = tmp_path_factory.mktemp("stable-diffusion")
    narrow_pipeline(side=8).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """Give the losses of one step on two pairs, and the folder of the LoRA."""
    rng = np.random.default_rng(0)
    moments = rng.random((4, 8, 8, 8)).astype(np.float16)
    captions, nothing = ["a person", "a hat"], np.zeros(2, dtype=bool)
    winners = Examples([moments], np.array([0, 1]), captions, nothing)
    losers = Examples([moments], np.array([2, 3]), captions, nothing)
    folder = tmp_path_factory.mktemp("dpo")
    steps = preference.align(str(base), "cpu", Pairs(winners, losers), RECIPE, folder, {})
    return [loss for _, loss, _ in steps], folder


def test_a_step_trains_every_attention_of_the_full_model(base, trained):
    losses, folder = trained
    assert losses == [pytest.approx(math.log(2), rel=1e-6)]
    with torch.device("meta"):
        full = UNet2DConditionModel(**UNET)
    lora.add_lora(full, RECIPE.rank, RECIPE.seed)
    expected = {name for name, value in full.named_parameters() if value.requires_grad}
    saved = read_lora(
        folder / "pytorch_lora_weights.safetensors", load_two(str(base)).unet.positive
    )
    names = {name.removeprefix("unet.").replace(".weight", ".default.weight") for name in saved}
    assert names == expected and len(names) == 256
    seconds = [value for name, value in saved.items() if "lora_B" in name]
    assert all(value.abs().max() > 0 for value in seconds)


def test_the_trained_network_draws_in_either_branch(base, trained):
    _, folder = trained
    jobs = [Job("a", "a person", 0)]
    for branches in ({"adapter": folder}, {"negative_adapter": folder}):
        pipeline = load_two(str(base), "cpu", **branches)
        ((_, image),) = generate(pipeline, jobs, Drawing(2, 7.5))
        assert image.shape == (64, 64, 3) and image.std() > 0
