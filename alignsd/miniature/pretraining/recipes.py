"""What the stages of the pretraining share: their sizes, the web they learn from, and the loop with its record."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from alignsd.base.progress import track
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.web import Web, make_web
from alignsd.models.registry import torch_device
from alignsd.models.training import Checkpointing, Optimization, one_cycle, train

WEB_SEED, HELD_OUT = 20230825, 1_000_000  # the web's seed; number of its first held-out picture
FLAW_SHARE = 0.6  # of the web's pictures. Guidance prefers the clean mode, so the web errs more than the model should
CREATURES = 0.5  # share of CLIP's wider web that was asked for as creatures, with the body that each has


@dataclass(frozen=True)
class Recipe:
    """Sizes of one stage."""

    steps: int
    batch: int
    learning_rate: float
    pictures: int


RECIPES = {
    "vae": Recipe(3000, 32, 2e-3, 24_000),
    "clip": Recipe(6000, 96, 2e-3, 48_000),
    "aesthetic": Recipe(1, 1, 0.0, 4_000),
    "judge": Recipe(900, 96, 2e-3, 24_000),
    "diffusion": Recipe(4000, 64, 1.2e-3, 32_000),
}


def web(recipe: Recipe, creatures: float = 0.0) -> Web:
    """Renders the pictures that a stage learns from."""
    return make_web(recipe.pictures, WEB_SEED, FLAW_SHARE, creatures=creatures)


def held_out(n: int, creatures: float = 0.0) -> Web:
    """Renders ``n`` pictures that no stage learns from."""
    return make_web(n, WEB_SEED, FLAW_SHARE, first=HELD_OUT, creatures=creatures)


def pixels(pictures: np.ndarray) -> Tensor:
    """Turns pictures ``(n, 64, 64, 3)`` uint8 into ``(n, 3, 64, 64)`` in [-1, 1], as the autoencoder takes them."""
    return to_tensor(pictures).float() / 127.5 - 1


@torch.no_grad()
def round_trip(weights: Path, pictures: np.ndarray) -> np.ndarray:
    """Returns pictures ``(n, 64, 64, 3)`` uint8 as the autoencoder of ``weights`` gives them back: all generated ones came through it."""
    vae = AutoencoderKL.from_pretrained(weights / "stable-diffusion" / "vae", dtype=torch.float32).eval()
    parts = []
    for i in track(range(0, len(pictures), 64), what="through the autoencoder", unit="batch"):
        y = vae.decode(vae.encode(pixels(pictures[i:i + 64])).latent_dist.mean).sample
        parts.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def beside(model: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Returns the tensors on the model's device."""
    place = next(model.parameters()).device
    return tuple(tensor.to(place) for tensor in tensors)


def fit(name: str, model: nn.Module, loss_of_step, recipe: Recipe, work: Path, checkpoint_every: int | None = None, **options) -> dict:
    """Trains one stage, on a GPU if there is one, with a progress bar, and returns its record for the model card.

    The model is on the CPU afterwards.
    """
    start, losses = time.time(), []
    optimization = Optimization(recipe.steps, recipe.learning_rate, schedule=one_cycle, **options)
    checkpointing = Checkpointing(work / f"{name}.pt", every=checkpoint_every)
    run = train(model.to(torch_device("auto")), loss_of_step, optimization, checkpointing)
    with track(total=recipe.steps, what=f"pretraining {name}", unit="step") as bar:
        for step, loss in run:
            losses.append(loss)
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)
            bar.update(step + 1 - bar.n)  # a run that goes on does not begin at step 0
    model.to("cpu")
    return {"steps": recipe.steps, "batch": recipe.batch, "learning_rate": recipe.learning_rate,
            "pictures": recipe.pictures, "loss": round(float(np.mean(losses[-100:])), 5) if losses else None,
            "minutes": round((time.time() - start) / 60, 1)}
