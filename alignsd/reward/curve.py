"""The learning curve of HPS: accuracy against the number of choices that HPS is trained on."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.models.clip import load_clip
from alignsd.models.files.weights import short
from alignsd.reward.accuracy import chance_right
from alignsd.reward.hps import HpsRecipe, score_choices, train_hps, unlock


@dataclass(frozen=True)
class Curve:
    """What the trainings of a learning curve have in common, and where they differ.

    Attributes:
        clip: name of the CLIP that each training starts from.
        sizes: numbers of choices to train on. Sizes above the number of choices are left out.
        recipe: how HPS is trained; few choices also mean few steps.
        device, fit: as in ``load_clip``.

    Raises:
        Problem: if a size is no whole number of 1 or more.
    """

    clip: str
    sizes: Sequence[int]
    recipe: HpsRecipe
    device: str = "auto"
    fit: str = "pad"

    def __post_init__(self) -> None:
        wrong = [size for size in self.sizes if not _is_size(size)]
        if wrong:
            raise Problem(
                "curve names a size that no training can have.",
                expected="whole numbers of choices, 1 or more",
                found=short(repr(wrong[0])),
                cause="a slip in a preset, in the parameters cell or in --set",
                fix="--set 'curve=[10, 100]', or --set 'curve=[]' for no curve",
            )


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 1


def learning_curve(
    curve: Curve, train_choices: pd.DataFrame, test_choices: pd.DataFrame, folder: Path
) -> pd.DataFrame:
    """Train HPS anew on nested subsets of the choices, and score the same test choices each time.

    Args:
        curve: the sizes, and how HPS is trained.
        train_choices, test_choices, folder: as in ``train_hps``.

    Returns:
        One row per test choice, one column per size: the chance that HPS picks the person's image.
    """
    recipe = curve.recipe
    right = {}
    for size, index in subsets(len(train_choices), curve.sizes, recipe.seed).items():
        clip = load_clip(curve.clip, device=curve.device, fit=curve.fit)
        unlock(clip.model, recipe.image_groups, recipe.text_layers)
        choices = train_choices.iloc[index]
        training = train_hps(clip, choices, folder, recipe, recipe.steps(size))
        deque(training, maxlen=0)  # runs the training; nobody looks at the losses
        right[size] = chance_right(score_choices(clip, test_choices, folder), "score")
    return pd.DataFrame(right)


def subsets(n: int, sizes: Sequence[int], seed: int) -> dict[int, np.ndarray]:
    """Return size -> a random subset of ``n`` choices of this size, as sorted indices.

    Smaller subsets are parts of larger subsets. Sizes above ``n`` are left out.
    """
    order = np.random.default_rng((seed, 0x515E)).permutation(n)
    return {size: np.sort(order[:size]) for size in sizes if size <= n}
