"""Fewer choices, or wrong ones: what HPS is trained on when we ask how much the choices matter."""

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.reward.curve import subsets

WRONG = 0x0DD  # sets the random numbers apart from those of the subsets


def fewer(choices: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return a random subset of the choices, in their order.

    The subset of a smaller count is a part of the subset of a larger count. The subsets are those
    of the learning curve.

    Args:
        choices: the choices to train on, a row each.
        count: number of choices; 0 takes all.
        seed: which choices are taken.

    Raises:
        Problem: if there are fewer choices than ``count``, or ``count`` is below 0.
    """
    check_seed(seed)
    if count == 0:
        return choices
    if not 0 < count <= len(choices):
        raise Problem(
            "There are not so many choices to train on.",
            expected=f"1 to {len(choices):,} choices, or 0 for all",
            found=f"{count:,}",
            cause="a number for another data set, or a part of the choices was left out",
            fix="ask for fewer: alignsd ablate choices --values 100,300",
        )
    index = subsets(len(choices), [count], seed)[count]
    return choices.iloc[index].reset_index(drop=True)


def with_wrong_picks(choices: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the choices, a share of which has another picture as the chosen picture.

    The other picture is drawn uniformly among the pictures that the person did not choose. A choice
    that is wrong at a smaller share is wrong in the same way at a larger share.

    Args:
        choices: with ``file_path`` (list) and ``human_preference`` (index of the chosen picture).
        share: of the choices that become wrong, 0-1, rounded to a whole number of choices.
        seed: which choices become wrong, and how.

    Raises:
        Problem: if ``share`` is not from 0 to 1, or a choice that would become wrong has one
            picture.
    """
    check_seed(seed)
    if not 0 <= share <= 1:
        raise Problem(
            "The share of wrong picks is no share.",
            expected="a number from 0 to 1",
            found=repr(share),
            cause="a number in percent, or a slip",
            fix="a tenth: alignsd ablate labels --values 0.1",
        )
    if share == 0:
        return choices
    rng = np.random.default_rng((seed, WRONG))
    order = rng.permutation(len(choices))
    drawn = rng.random(len(choices))  # for all choices, so that the share changes no draw
    picks = choices["human_preference"].to_numpy(dtype=int, copy=True)
    counts = choices["file_path"].map(len).to_numpy()
    for row in order[: round(share * len(choices))]:
        if counts[row] < 2:
            raise _one_picture(choices.iloc[row])
        step = 1 + int(drawn[row] * (counts[row] - 1))  # to another picture, around in a circle
        picks[row] = (picks[row] + step) % counts[row]
    return choices.assign(human_preference=picks)


def _one_picture(choice: pd.Series) -> Problem:
    return Problem(
        "A choice of one picture cannot be made wrong.",
        expected="2 pictures or more in each choice",
        found=f"1 picture in the choice {choice.get('id', choice.name)}",
        cause="a data set with choices that were none",
        fix="leave choices of one picture out of the data set",
    )
