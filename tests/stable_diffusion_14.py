"""Stable Diffusion 1.4 with random weights: all its layers, in a tenth of its width."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alignsd.models.registry import resolve
from alignsd.planning.throughput import AUTOENCODER, UNET

WIDTHS = (32, 64, 128, 128)


def narrow_pipeline(side: int) -> StableDiffusionPipeline:
    """Return a pipeline whose latents are ``side`` wide; pictures are 8 times as wide.

    The text encoder has the width of Stable Diffusion's, and one layer.
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
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    )
    autoencoder = AutoencoderKL(**AUTOENCODER | {"block_out_channels": (32,) * 4})
    unet = UNet2DConditionModel(**UNET | {"block_out_channels": WIDTHS, "sample_size": side})
    parts = (autoencoder, CLIPTextModel(sizes), tokenizer, unet, scheduler, None, None)
    pipeline = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
