"""Does HPS agree with people on pictures of two generators? (Table 3 of the paper)

The paper showed people pairs of a Stable Diffusion picture and a DALL-E picture. Here the second
generator is another arm of the comparison.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd.base.errors import at_least
from alignsd.base.images import BadImage, read_image
from alignsd.base.intervals import bootstrap_mean
from alignsd.compare.arms import Arm
from alignsd.compare.measurement import COLUMNS, Measurement
from alignsd.compare.user_study import Chances
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import checked_table

NEEDED = ("arm", "id", "prompt_id", "sample", "prompt", "file")
PERSON = "another person"
NEW_NAMES = {"id": "first_id", "file": "first", "id_second": "second_id", "file_second": "second"}
PAIR = ["prompt", "first_id", "first", "second_id", "second"]


def pairs(images: pd.DataFrame, one: Arm, other: Arm, count: int) -> pd.DataFrame:
    """Return pairs of pictures of one prompt, each picture from another generator and seed.

    Sample s of the first arm stands beside sample s + 1 of the second arm, and the last sample
    beside the first. With one sample per prompt, both pictures have the same seed.

    Args:
        images: a row per image, ``arm, id, prompt_id, sample, prompt, file``.
        one, other: the two arms.
        count: pairs at most.

    Returns:
        ``prompt``, and the id and the file of each picture: ``first_id, first, second_id, second``.
        No rows if an arm was not drawn.

    Raises:
        Problem: if the table was changed by hand, or ``count`` is below 1.
    """
    at_least(1, generator_pairs=count)
    checked_table(images, "images", TABLES["images"].file, NEEDED)
    is_first = images["arm"] == one.name
    is_second = images["arm"] == other.name
    firsts, seconds = images[is_first], images[is_second]
    samples = firsts["sample"].nunique()
    before = seconds["sample"] - 1
    seconds = seconds.assign(sample=before % max(1, samples))
    keys = ["prompt_id", "sample"]
    both = firsts.merge(seconds, on=keys, suffixes=("", "_second"))
    renamed = both.rename(columns=NEW_NAMES)
    return renamed[PAIR].head(count)


def chances_of_first(pairs: pd.DataFrame, folder: Path, chances: Chances | None) -> pd.Series:
    """Return the chance that a person picks the first picture of each pair, ``(n,)``, 0-1.

    The chance is the mean over the two orders in which a pair can be shown: people click by
    position, too. A pair with a bad picture has no chance (NaN), and so has every pair if there are
    no people.

    Args:
        pairs: from ``pairs``.
        folder: where the files begin.
        chances: how people choose; None where nobody is asked.
    """
    if chances is None:
        return pd.Series(np.nan, index=pairs.index, dtype=float)
    rows = zip(pairs["prompt"], pairs["first"], pairs["second"], strict=True)
    found = [
        _chance(prompt, (folder / first, folder / second), chances)
        for prompt, first, second in rows
    ]
    return pd.Series(found, index=pairs.index, dtype=float)


def _chance(prompt: str, files: tuple[Path, Path], chances: Chances) -> float:
    try:
        first, second = (read_image(file) for file in files)
    except BadImage:
        return np.nan
    if_first, _ = chances((first, second), prompt)
    _, if_second = chances((second, first), prompt)
    return float(if_first + if_second) / 2


def agreement(
    pairs: pd.DataFrame,
    chance: pd.Series,
    metrics: pd.DataFrame,
    predictors: Mapping[str, str],
    arms: tuple[Arm, Arm],
    seed: int,
) -> pd.DataFrame:
    """Return how often a predictor names the picture that a person picks (Table 3).

    People pick the first picture with the chance p. A predictor that names the first picture agrees
    with a person with the chance p, and otherwise with 1 - p; equal scores count one half. Two
    persons agree with the chance p^2 + (1 - p)^2.

    Args:
        pairs: from ``pairs``.
        chance: p of each pair, from ``chances_of_first``; pairs without p are left out.
        metrics: a row per image, ``arm, id`` and the scores.
        predictors: name in the table -> column of the score.
        arms: the arms of the first and of the second pictures.
        seed: of the bootstrap over pairs.

    Returns:
        ``predictor, value, low, high, n``, shares 0-1 with 95 % intervals. No rows without people.
    """
    scored = metrics.set_index(["arm", "id"])
    right = pd.DataFrame({PERSON: _agree(chance, chance)})
    for name, column in predictors.items():
        scores = scored[column]
        one = _scores(scores, arms[0], pairs["first_id"])
        other = _scores(scores, arms[1], pairs["second_id"])
        lead = np.sign(one - other)
        names_first = (lead + 1) / 2
        right[name] = _agree(names_first, chance)
    right = right.dropna()
    n = len(right)
    rows = []
    for name in right if n else []:
        interval = bootstrap_mean(right[name], seed)
        measured = Measurement(*interval, n)
        rows.append(measured.row(name, "agreement"))
    table = pd.DataFrame(rows, columns=COLUMNS).drop(columns="metric")
    return table.rename(columns={"arm": "predictor"})


def _agree(p: Any, q: Any) -> Any:
    """Return the chance that two name the same picture, if each names the first with p and q."""
    both_first = p * q
    both_second = (1 - p) * (1 - q)
    return both_first + both_second


def _scores(scores: pd.Series, arm: Arm, ids: pd.Series) -> np.ndarray:
    """Return the scores of an arm's pictures, in the order of ``ids``."""
    keys = pd.MultiIndex.from_product([[arm.name], ids])
    return scores.reindex(keys).to_numpy(dtype=float)
