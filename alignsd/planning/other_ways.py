"""What notebook 10 takes at full size: its tasks, its work, and its space.

Notebook 10 counts only where it is named, as in a run.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from alignsd import paper
from alignsd.adapt import lora
from alignsd.beyond import ways
from alignsd.beyond.preference import without_lora
from alignsd.beyond.reward_gradient import (
    RewardRecipe,
    differentiable_hps,
    draw_with_gradient,
)
from alignsd.kit.values.parameters import Value, listed_numbers, whole
from alignsd.models.clip import Clip
from alignsd.models.registry import training_precision
from alignsd.planning.throughput import (
    AUTOENCODER,
    CLIP,
    DECODE,
    DENOISE,
    EMBED,
    ENCODE,
    FEATURES,
    FRECHET,
    READ,
    TRAIN_LORA,
    TRAIN_PAIR,
    TRAIN_REWARD,
    UNET,
    Tasks,
)

NUMBER = "10"
RANK = 32
PAIR_TRAININGS = 5  # DPO on three sources of pairs, NPO, swapped captionless pairs
SAMPLES_OF_THE_ORIGINAL = 4  # the best of 4 is kept
Values = Mapping[str, Mapping[str, Value]]  # notebook number -> resolved parameters


def pair_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    """Yield the training on pairs: with the LoRA and a gradient, and without either."""
    unet = _adapted_unet(device)
    pictures = batches.get(TRAIN_PAIR, 1)

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(pictures, *shape, device=device, dtype=unet.dtype)

    def predict() -> torch.Tensor:
        return unet(zeros(4, 64, 64), 500, zeros(77, 768)).sample

    def train() -> None:
        with torch.no_grad(), without_lora(unet):
            predict()
        predict().float().pow(2).mean().backward()

    yield TRAIN_PAIR, train


def reward_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    """Yield a guided denoising step, the decoding and HPS, with the gradient through all three."""
    pictures = batches.get(TRAIN_REWARD, 1)
    precision = training_precision(device)
    with torch.device(device):
        autoencoder = AutoencoderKL(**AUTOENCODER)
    autoencoder.to(dtype=precision)
    autoencoder.eval().requires_grad_(False)
    clip_model = open_clip.create_model(CLIP, pretrained=None, device=device).eval()
    clip = Clip(clip_model, open_clip.get_tokenizer(CLIP), device)
    reward = differentiable_hps(clip)
    pipeline: Any = SimpleNamespace(
        unet=_adapted_unet(device), vae=autoencoder, scheduler=DDIMScheduler()
    )
    texts = torch.zeros(pictures, 77, 768, device=device, dtype=precision)
    noise = torch.zeros(pictures, 4, 64, 64, device=device)
    recipe = RewardRecipe(
        steps=1,
        batch=pictures,
        micro_batch=pictures,
        learning_rate=0,
        rank=RANK,
        denoising_steps=1,
        through=1,
        guidance=7.5,
        weight_decay=0,
        seed=0,
    )

    def train() -> None:
        drawn = draw_with_gradient(pipeline, texts, texts, noise, recipe)
        (-reward(drawn, [""] * pictures).mean()).backward()

    yield TRAIN_REWARD, train


def _adapted_unet(device: torch.device) -> UNet2DConditionModel:
    with torch.device(device):
        unet = UNet2DConditionModel(**UNET)
    unet.to(dtype=training_precision(device))
    lora.add_lora(unet, rank=RANK, seed=0)
    return unet


def count(values: Values, positives: int) -> list[tuple[str, str, int]]:
    """Count the work of notebook 10.

    The pairs by HPS count as if no picture stood in two of them, so there are at most so many.

    Args:
        values: notebook number -> the notebook's resolved parameters.
        positives: selected images that rejection sampling trains on.

    Returns:
        Number of the notebook, task, and how often the unit of the task is done; nothing if the
        values are those of a run without notebook 10.
    """
    if NUMBER not in values:
        return []
    own = values[NUMBER]
    of_pairs = 2 * PAIR_TRAININGS * whole(own, "pair_steps") * whole(own, "pair_batch")
    rejection = whole(own, "rejection_steps") * whole(own, "rejection_batch")
    along = whole(own, "reward_steps") * whole(own, "reward_batch")
    steps = whole(own, "steps")
    through = whole(own, "reward_through") or steps
    again = along if own["reward_recompute"] else 0  # pictures that are computed twice
    drawn = drawn_images(values)
    encoded = paper.TRAIN_IMAGES + positives + most_pictures_by_hps(values)
    arms = len(ways.WAYS) + _arms_along_strength(values)
    work = {
        READ: encoded + paper.TRAIN_IMAGES,  # pictures of people's pairs: for HPS, for latents
        ENCODE: encoded,
        TRAIN_PAIR: of_pairs,
        # A guided step of a drawing is two passes of the UNet.
        TRAIN_LORA: rejection + 2 * along * (through - 1),
        TRAIN_REWARD: along,
        DENOISE: drawn * steps + along * (steps - through) + again * through,
        DECODE: drawn + again,
        EMBED: paper.TRAIN_IMAGES + 3 * drawn,  # people's pairs; HPS, CLIP score, diversity
        FEATURES: drawn,
        # Two tables; the square root of each table's reference covariance is one more.
        FRECHET: whole(own, "fid_resamples") * (arms + 2),
    }
    return [(NUMBER, task, times) for task, times in work.items()]


def most_pictures_by_hps(values: Values) -> int:
    """Return how many pictures the pairs by HPS have at most."""
    return 2 * whole(values[NUMBER], "pair_steps") * whole(values[NUMBER], "pair_batch")


def drawn_images(values: Values) -> int:
    """Return how many images notebook 10 draws: of all ways, and along the strength."""
    own, samples = values[NUMBER], whole(values["06"], "samples")
    ways_of_a_prompt = len(ways.DRAWN) + SAMPLES_OF_THE_ORIGINAL - 1
    of_ways = whole(own, "prompt_count") * ways_of_a_prompt
    of_strengths = whole(own, "strength_prompts") * _arms_along_strength(values)
    return samples * (of_ways + of_strengths)


def _arms_along_strength(values: Values) -> int:
    """Return the arms of the panel: each way at each strength and at 1, and the original."""
    strengths = {*listed_numbers(values[NUMBER], "strengths"), 1.0}
    return len(ways.ALONG_STRENGTH) * len(strengths) + 1
