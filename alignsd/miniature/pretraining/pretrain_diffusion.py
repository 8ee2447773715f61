"""Pretrain the miniature's Stable Diffusion: the autoencoder, then UNet and text encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor, nn

from alignsd.base.progress import track
from alignsd.miniature import world
from alignsd.miniature.pretraining import architectures
from alignsd.miniature.pretraining.recipes import (
    Record,
    StageRecipe,
    beside,
    channels_last,
    fit,
    held_out,
    load_autoencoder,
    pixels,
    web,
)
from alignsd.miniature.web import WEB_SEED
from alignsd.models.training import Checkpointing, batch_indices, step_generator

DIFFUSION_SEED = WEB_SEED + 4
KL_WEIGHT = 1e-4  # per latent dimension; at 2e-3 two of the four channels carried nothing
DROPPED = 0.1  # share of the captions that are dropped, for classifier-free guidance


def pretrain_vae(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Pretrain the autoencoder with L1 + L2 + a small KL term.

    Afterwards the scaling factor makes the variance of the latents 1.
    """
    learned = web(recipe)
    torch.manual_seed(WEB_SEED)
    vae = architectures.vae()
    channels_last(vae)

    def loss_of_step(model: AutoencoderKL, step: int) -> Tensor:
        index = batch_indices(len(learned), recipe.batch, step, WEB_SEED)
        pictures = pixels(learned.pictures[index])
        [x] = beside(model, pictures)
        posterior = model.encode(x).latent_dist
        generator = step_generator(WEB_SEED, step)
        latents = posterior.sample(generator)
        y = model.decode(latents).sample
        dimensions = posterior.mean[0].numel()
        kl = posterior.kl().mean() / dimensions
        return F.l1_loss(y, x) + F.mse_loss(y, x) + KL_WEIGHT * kl

    checkpointing = Checkpointing(work / "vae.pt")
    record = fit(vae, loss_of_step, recipe, checkpointing)
    x = pixels(held_out(512).pictures)
    with torch.no_grad():
        latents = vae.encode(x).latent_dist.mean
        decoded = vae.decode(latents).sample
        error = F.mse_loss(decoded, x).item() / 4  # of a range of 2
    spread = latents.std().item()
    scaling_factor = round(1 / spread, 4)
    vae.register_to_config(scaling_factor=scaling_factor)
    vae.half()
    vae.save_pretrained(out / "stable-diffusion" / "vae")
    return record | {
        "held_out_psnr_db": round(-10 * np.log10(error), 2),
        "latent_std": round(spread, 3),
    }


def pretrain_diffusion(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Pretrain UNet and text encoder together, on cached moments of the latents."""
    learned = web(recipe)
    folder = out / "stable-diffusion"
    vae = load_autoencoder(out)
    moments = _moments(vae, learned.pictures)
    tokenizer = architectures.tokenizer(folder / "tokenizer", world.vocabulary())
    torch.manual_seed(DIFFUSION_SEED)
    unet = architectures.unet()
    text_encoder = architectures.text_encoder(tokenizer)
    model = nn.ModuleDict({"unet": unet, "text": text_encoder})
    channels_last(model)
    texts = ["", *learned.captions]  # the empty text stands for a dropped caption
    ids = tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    scaling_factor = vae.config["scaling_factor"]
    loss_of_step = _noise_loss(moments, ids, scaling_factor, recipe.batch)
    checkpointing = Checkpointing(work / "diffusion.pt", every=500)
    record = fit(model, loss_of_step, recipe, checkpointing, weight_decay=0.01, ema=0.998)
    vae.register_to_config(_name_or_path="")  # a folder of this machine
    components: dict[str, Any] = {
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": architectures.scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    pipeline = StableDiffusionPipeline(**components, requires_safety_checker=False)
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder)
    return record


def _noise_loss(
    moments: Tensor, ids: Tensor, scaling_factor: float, batch: int
) -> Callable[[nn.ModuleDict, int], Tensor]:
    """Return the loss of a step: the mean squared error of the predicted noise.

    Args:
        moments: mean and standard deviation of each picture's latents, ``(n, 8, 8, 8)``.
        ids: tokens of the empty text and of each picture's caption, ``(n + 1, tokens)``.
        scaling_factor: of the latents.
        batch: pictures per step.
    """
    alphas = architectures.scheduler().alphas_cumprod

    def loss_of_step(model: nn.ModuleDict, step: int) -> Tensor:
        # The draws keep their order: another order would give other weights.
        generator = step_generator(DIFFUSION_SEED, step)
        indices = batch_indices(len(moments), batch, step, DIFFUSION_SEED)
        index = torch.from_numpy(indices)
        mean, std = moments[index].chunk(2, dim=1)
        variation = torch.randn(mean.shape, generator=generator)
        latents = (mean + std * variation) * scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        time_step = torch.randint(0, 1000, (len(index),), generator=generator)
        is_kept = torch.rand(len(index), generator=generator) >= DROPPED
        captions = ids[(index + 1) * is_kept]
        alpha = alphas[time_step].view(-1, 1, 1, 1)
        noised = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        captions, noised, noise, time_step = beside(model, captions, noised, noise, time_step)
        states = model["text"](captions).last_hidden_state
        predicted = model["unet"](noised, time_step, states).sample
        return F.mse_loss(predicted, noise)

    return loss_of_step


@torch.no_grad()
def _moments(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """Return mean and standard deviation of each picture's latents, ``(n, 8, 8, 8)``."""
    batches = []
    for i in track(range(0, len(pictures), 128), what="encoding the web", unit="batch"):
        batch = pixels(pictures[i : i + 128])
        posterior = vae.encode(batch).latent_dist
        both = torch.cat([posterior.mean, posterior.std], dim=1)
        batches.append(both)
    return torch.cat(batches)
