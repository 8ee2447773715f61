"""The UNet of Stable Diffusion 1.4 follows a reward: all its layers, in a tenth of its width."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alignsd.adapt import lora
from alignsd.beyond.reward_gradient import Goal, RewardRecipe, differentiable_hps, finetune
from alignsd.models.clip import load_clip
from alignsd.models.registry import resolve
from alignsd.planning.throughput import AUTOENCODER, UNET

RECIPE = RewardRecipe(
    steps=1,
    batch=2,
    learning_rate=1e-3,
    rank=4,
    denoising_steps=3,
    through=1,
    guidance=5.0,
    weight_decay=1e-2,
    seed=0,
    micro_batch=1,
    recompute=True,
)
NARROW = {"block_out_channels": (32, 64, 128, 128), "sample_size": 16}


@pytest.fixture(scope="module")
def pipeline():
    """Give a pipeline with random weights: widths are narrow, and the text encoder has one layer.

    Pictures have 128 pixels, and the miniature's CLIP takes 64.
    """
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(resolve("miniature/stable-diffusion") + "/tokenizer")
    sizes = CLIPTextConfig(
        hidden_size=UNET["cross_attention_dim"],
        num_hidden_layers=1,
        num_attention_heads=12,
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
    )
    autoencoder = AutoencoderKL(**AUTOENCODER | {"block_out_channels": (32,) * 4})
    scheduler = PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    unet = UNet2DConditionModel(**UNET | NARROW)
    parts = (autoencoder, CLIPTextModel(sizes), tokenizer, unet, scheduler, None, None)
    made = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


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
