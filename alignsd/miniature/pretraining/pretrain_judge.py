"""Pretrain the miniature's judge."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from alignsd.miniature.judge import CLASSES, WHOLE, Judge, to_tensor
from alignsd.miniature.pretraining.recipes import (
    Record,
    StageRecipe,
    beside,
    fit,
    half_round_trips,
    held_out,
    round_trip,
    web,
)
from alignsd.miniature.web import WEB_SEED, Web
from alignsd.models.training import Checkpointing, batch_indices, step_generator

SEED = WEB_SEED + 3
NOISE = 4  # standard deviation of the noise on pixels, 0-255
RATING_WEIGHT = 0.1


def pretrain_judge(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Pretrain the judge to tell attributes, flaws and ratings from pixels.

    Half of the pictures are seen after a trip through the autoencoder, as all generated pictures.
    """
    learned = web(recipe)
    pictures = half_round_trips(out, learned.pictures)
    labels = {name: torch.from_numpy(label) for name, label in learned.labels().items()}
    ratings = torch.from_numpy(learned.ratings).float()
    torch.manual_seed(SEED)
    judge = Judge()

    def loss_of_step(model: Judge, step: int) -> Tensor:
        index = batch_indices(len(learned), recipe.batch, step, SEED)
        clean = to_tensor(pictures[index])
        generator = step_generator(SEED, step)
        noise = torch.randn(clean.shape, generator=generator) * NOISE
        noised = (clean + noise).clamp(0, 255)
        noised, rating = beside(model, noised, ratings[index])
        heads = model(noised)
        loss = torch.zeros((), device=noised.device)
        for name in CLASSES:
            label = labels[name][index]
            [label] = beside(model, label)
            loss = loss + F.cross_entropy(heads[name], label)
        predicted = heads["rating"][:, 0]
        return loss + RATING_WEIGHT * F.mse_loss(predicted, rating)

    checkpointing = Checkpointing(work / "judge.pt")
    record = fit(judge, loss_of_step, recipe, checkpointing, weight_decay=0.05, ema=0.99)
    folder = out / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half() for name, value in judge.state_dict().items()}
    save_file(halves, folder / "judge.safetensors")
    test = held_out(recipe.pictures // 8)
    return record | {
        "held_out_n": len(test),
        "held_out_renders": _quality(judge, test, test.pictures),
        "held_out_round_trips": _quality(judge, test, round_trip(out, test.pictures)),
    }


def _quality(judge: Judge, test: Web, pictures: np.ndarray) -> dict[str, float]:
    """Return how often the judge is right about each attribute and about flaws."""
    seen = judge.judge(pictures)
    truth = test.labels()
    flaw = truth["flaw"]
    is_flawed = flaw != WHOLE
    right = {}
    for name, attribute in seen.attributes.items():
        right[name] = np.mean(attribute == truth[name])
    right["flaw or not"] = np.mean(seen.flawed == is_flawed)
    right["which flaw"] = np.mean(seen.flaw == flaw)
    correlations = np.corrcoef(seen.rating, test.ratings)
    right["rating correlation"] = correlations[0, 1]
    return {name: round(float(value), 4) for name, value in right.items()}
