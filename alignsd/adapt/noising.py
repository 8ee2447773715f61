"""What the UNet sees in training: a picture's latents with more and more noise."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from alignsd.adapt.examples import Examples
from alignsd.base.errors import check_seed


@torch.no_grad()
def noised_pictures(
    pipeline: StableDiffusionPipeline,
    examples: Examples,
    number: int,
    times: Sequence[int],
    seed: int,
) -> np.ndarray:
    """Return one example as pictures, with the noise of several time steps on the latents.

    The noise is the same at every time step; only the share of the noise grows. The autoencoder
    turns each noised latent into a picture, for people to look at. The UNet sees the latents.

    Args:
        pipeline: with the autoencoder that encoded the examples.
        examples: from ``encode_examples``.
        number: which example.
        times: k time steps, each from 0 to 999 in Stable Diffusion.
        seed: fixes the noise.

    Returns:
        ``(k, height, width, 3)`` uint8.

    Raises:
        Problem: if the seed is out of range.
    """
    check_seed(seed)
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    scaling = pipeline.vae.config.scaling_factor
    mean, _ = examples.moments(np.array([number])).chunk(2, dim=1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    shape = (len(times), *mean.shape[1:])
    noised = noise_schedule.add_noise(
        (mean * scaling).expand(shape), noise.expand(shape), torch.tensor(times)
    )
    return _decoded(pipeline.vae, noised / scaling)


def _decoded(autoencoder: AutoencoderKL, latents: Tensor) -> np.ndarray:
    """Return the pictures of latents, ``(k, height, width, 3)`` uint8."""
    pixels = autoencoder.decode(latents.to(autoencoder.device, autoencoder.dtype)).sample
    shares = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return (shares * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def signal_to_noise(pipeline: StableDiffusionPipeline) -> np.ndarray:
    """Return the signal-to-noise ratio of every time step, ``(time steps,)``; the ratio falls."""
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    times = torch.arange(noise_schedule.config.num_train_timesteps)
    return compute_snr(noise_schedule, times).numpy()
