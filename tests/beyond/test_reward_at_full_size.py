"""The UNet of Stable Diffusion 1.4 follows a reward: all its layers, in a tenth of its width."""

from dataclasses import replace

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from stable_diffusion_14 import narrow_pipeline
from toys import REWARD_RECIPE

from alignsd.adapt import lora
from alignsd.beyond.reward_gradient import Goal, differentiable_hps, finetune
from alignsd.models.clip import load_clip
from alignsd.planning.throughput import UNET

RECIPE = replace(
    REWARD_RECIPE, steps=1, batch=2, micro_batch=1, through=1, guidance=5.0, recompute=True
)


@pytest.fixture(scope="module")
def pipeline():
    """Give a pipeline whose pictures have 128 pixels; the miniature's CLIP takes 64."""
    return narrow_pipeline(side=16)


def test_a_step_moves_every_attention_of_the_full_model(pipeline):
    sizes = []

    def reward(pixels, prompts):
        sizes.append(tuple(pixels.shape))
        return differentiable_hps(clip)(pixels, prompts)

    clip = load_clip("miniature/clip", device="cpu")
    lora.add_lora(pipeline.unet, RECIPE.rank, RECIPE.seed)
    named = dict(pipeline.unet.named_parameters())
    seconds = {name: value for name, value in named.items() if "lora_B" in name}
    assert not any(value.any() for value in seconds.values())
    ((step, loss),) = finetune(pipeline, Goal(["a person", "a hat"], reward), RECIPE)
    assert step == 0 and -100 < loss < 100
    assert sizes == [(1, 3, 128, 128)] * 2
    with torch.device("meta"):
        full = UNet2DConditionModel(**UNET)
    lora.add_lora(full, RECIPE.rank, RECIPE.seed)
    assert seconds.keys() == {name for name, _ in full.named_parameters() if "lora_B" in name}
    assert all(value.any() for value in seconds.values())
