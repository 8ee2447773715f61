"""What the stages of the pretraining share: sizes, the web to learn from, and the loop."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from alignsd.base.progress import track
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.web import FLAW_SHARE, WEB_SEED, Web, make_web
from alignsd.models.registry import torch_device
from alignsd.models.training import Checkpointing, Optimization, one_cycle, train

HELD_OUT = 1_000_000  # number of the web's first held-out picture
# Share of CLIP's wider web that was asked for as creatures, with the body of each creature.
CREATURES = 0.5

Record = dict[str, Any]  # of a stage, for the model card
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class StageRecipe:
    """The sizes of one stage.

    Attributes:
        steps: optimizer steps.
        batch: pictures per step.
        learning_rate: largest learning rate.
        pictures: pictures of the web to learn from.
    """

    steps: int
    batch: int
    learning_rate: float
    pictures: int


RECIPES = {
    "vae": StageRecipe(3000, 32, 2e-3, 24_000),
    "clip": StageRecipe(6000, 96, 2e-3, 48_000),
    "aesthetic": StageRecipe(1, 1, 0.0, 4_000),
    "judge": StageRecipe(900, 96, 2e-3, 24_000),
    "diffusion": StageRecipe(4000, 64, 1.2e-3, 32_000),
}


def web(recipe: StageRecipe, creatures: float = 0.0) -> Web:
    """Render the pictures that a stage learns from."""
    return make_web(recipe.pictures, WEB_SEED, FLAW_SHARE, creatures=creatures)


def held_out(n: int, creatures: float = 0.0) -> Web:
    """Render ``n`` pictures that no stage learns from."""
    return make_web(n, WEB_SEED, FLAW_SHARE, first=HELD_OUT, creatures=creatures)


def pixels(pictures: np.ndarray) -> Tensor:
    """Return pictures in the form that the autoencoder takes.

    Args:
        pictures: ``(n, 64, 64, 3)`` uint8.

    Returns:
        ``(n, 3, 64, 64)`` in [-1, 1].
    """
    return to_tensor(pictures).float() / 127.5 - 1


def load_autoencoder(weights: Path) -> AutoencoderKL:
    """Load the autoencoder of the diffusion model, in single precision."""
    folder = weights / "stable-diffusion" / "vae"
    return AutoencoderKL.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def round_trip(weights: Path, pictures: np.ndarray) -> np.ndarray:
    """Return pictures after a pass through the autoencoder, as all generated pictures are.

    Args:
        weights: folder of the weights.
        pictures: ``(n, 64, 64, 3)`` uint8.

    Returns:
        ``(n, 64, 64, 3)`` uint8.
    """
    vae = load_autoencoder(weights)
    batches = []
    for i in track(range(0, len(pictures), 64), what="through the autoencoder", unit="batch"):
        latents = vae.encode(pixels(pictures[i : i + 64])).latent_dist.mean
        decoded = vae.decode(latents).sample
        rounded = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte()
        batches.append(rounded.permute(0, 2, 3, 1).numpy())
    return np.concatenate(batches)


def half_round_trips(weights: Path, pictures: np.ndarray) -> np.ndarray:
    """Return pictures ``(n, 64, 64, 3)`` uint8, the second half after ``round_trip``."""
    half = len(pictures) // 2
    return np.concatenate([pictures[:half], round_trip(weights, pictures[half:])])


def channels_last(model: nn.Module) -> None:
    """Let the model keep channels last in memory: convolutions are faster with that."""
    model.to(memory_format=torch.channels_last)


def beside(model: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors on the model's device."""
    device = next(model.parameters()).device
    return tuple(tensor.to(device) for tensor in tensors)


def fit(
    model: Model,
    loss_of_step: Callable[[Model, int], Tensor],
    recipe: StageRecipe,
    checkpointing: Checkpointing,
    weight_decay: float = 0.0,
    ema: float | None = None,
) -> Record:
    """Train a stage, on a GPU where there is a GPU, and return the record for the model card.

    The model is on the CPU afterwards.

    Args:
        model: what is trained, in place.
        loss_of_step, checkpointing: as ``training.train`` takes them.
        recipe: the sizes of the stage.
        weight_decay, ema: see ``training.Optimization``.
    """
    start = time.time()
    losses: list[float] = []
    optimization = Optimization(
        recipe.steps, recipe.learning_rate, weight_decay, schedule=one_cycle, ema=ema
    )
    model.to(torch_device("auto"))
    run = train(model, loss_of_step, optimization, checkpointing)
    what = f"pretraining {checkpointing.file.stem}"
    with track(total=recipe.steps, what=what, unit="step") as bar:
        for step, loss in run:
            losses.append(loss)
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)
            bar.update(step + 1 - bar.n)  # a run that goes on does not begin at step 0
    model.to("cpu")
    return asdict(recipe) | {
        "loss": round(float(np.mean(losses[-100:])), 5) if losses else None,
        "minutes": minutes_since(start),
    }


def minutes_since(start: float) -> float:
    """Return the minutes since a time of ``time.time``, with one digit."""
    return round((time.time() - start) / 60, 1)
