"""Do inception score and FID tell the chosen pictures of a data set from the others?

The paper says no: 16.27 against 16.23 (inception score) and 38.2 against 37.7 (FID).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from alignsd.base.errors import check_seed
from alignsd.base.images import read_image
from alignsd.compare import fid
from alignsd.compare.features import picture_features
from alignsd.compare.measurement import COLUMNS, Measurement, value_of

CHOSEN, OTHERS = "chosen", "others"
TINY = 1e-30  # stands for a chance of 0, whose logarithm is not finite
INCEPTION_SCORE = "inception_score"


def one_of_the_others(choices: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the picture that was chosen and one other picture of each choice.

    FID depends on the number of pictures, so both sets have a picture per choice.

    Args:
        choices: of ``hpd.read_choices``.
        seed: draws which of the other pictures is taken.

    Returns:
        ``arm, id, file``: two rows per choice, ``arm`` is ``"chosen"`` or ``"others"``.

    Raises:
        Problem: if the seed is out of range.
    """
    check_seed(seed)
    rng = np.random.default_rng(seed)
    rows = []
    for choice in choices.itertuples():
        files = list(choice.file_path)
        chosen = files.pop(choice.human_preference)
        other = rng.choice(files)
        rows.append((CHOSEN, choice.id, chosen))
        rows.append((OTHERS, choice.id, other))
    return pd.DataFrame(rows, columns=["arm", "id", "file"])


def outputs(
    network: nn.Module, pictures: pd.DataFrame, folder: Path, device: str = "auto"
) -> pd.DataFrame:
    """Return ``arm, id, features``: what a network makes of each picture.

    Args:
        network: turns pictures ``(n, 3, h, w)`` uint8 into rows ``(n, d)``.
        pictures: from ``one_of_the_others``.
        folder: where the files begin.
        device: ``"auto"`` or a torch device.
    """
    computed = picture_features(network, _read(pictures["file"], folder), device=device)
    return pictures[["arm", "id"]].assign(features=list(computed))


def _read(files: pd.Series, folder: Path) -> Iterator[np.ndarray]:
    for file in files:
        yield read_image(folder / file)


def inception_score(classes: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Return the inception score: exp of the mean over pictures of KL(p(class | picture) || p).

    p is the mean of p(class | picture) over all pictures. The score is high if each picture clearly
    shows one class, and the pictures together show many classes (Salimans et al., 2016). We take
    all pictures at once; the original code takes the mean over ten parts.

    Args:
        classes: p(class | picture), ``(n, classes)``.
        counts: how often each picture counts, ``(n,)``; once by default.
    """
    n = len(classes)
    weights = np.ones(n) if counts is None else counts
    weights = weights / weights.sum()
    mean = weights @ classes
    logs = np.log(classes.clip(TINY))
    logs_of_mean = np.log(mean.clip(TINY))
    divergences = classes * (logs - logs_of_mean)
    mean_divergence = weights @ divergences.sum(axis=1)
    return float(np.exp(mean_divergence))


def inception_scores(classes: pd.DataFrame, seed: int, resamples: int) -> pd.DataFrame:
    """Return the inception score of both sets, and by how many % the chosen set's is higher.

    Args:
        classes: from ``outputs`` with a network that gives p(class | picture).
        seed: of the bootstrap over choices; each resample takes the same choices for both sets.
        resamples: of the bootstrap.

    Returns:
        ``arm, metric, value, low, high, n`` with 95 % intervals, moved to the mean ``value``: a
        resample holds fewer distinct pictures, and fewer pictures have a lower score. The row of
        the arm ``chosen`` with the metric ``inception_score_difference`` is in % of the others'
        score.
    """
    chosen = _of_arm(classes, CHOSEN)
    others = _of_arm(classes, OTHERS)
    n = len(chosen)
    equal_chances = np.full(n, 1 / n)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        counts = rng.multinomial(n, equal_chances)
        draws.append((inception_score(chosen, counts), inception_score(others, counts)))
    of_chosen, of_others = np.array(draws).T
    score, other_score = inception_score(chosen), inception_score(others)
    excess = _percent_above(of_chosen, of_others)
    difference = _percent_above(score, other_score)
    rows = [
        _row(CHOSEN, INCEPTION_SCORE, score, of_chosen, n),
        _row(OTHERS, INCEPTION_SCORE, other_score, of_others, n),
        _row(CHOSEN, f"{INCEPTION_SCORE}_difference", difference, excess, n),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_arm(table: pd.DataFrame, arm: str) -> np.ndarray:
    """Return what the network made of a set's pictures, ``(n, d)``."""
    is_arm = table["arm"] == arm
    return np.stack(list(table.loc[is_arm, "features"]))


def _percent_above(value: Any, other: Any) -> Any:
    """Return by how many % a number, or each number of an array, is above another."""
    ratio = value / other
    return 100 * (ratio - 1)


def _row(arm: str, metric: str, value: float, draws: np.ndarray, n: int) -> dict[str, object]:
    low, high = fid.centred_interval(value, draws)
    measured = Measurement(float(value), low, high, n)
    return measured.row(arm, metric)


def fids(features: pd.DataFrame, reference: np.ndarray, seed: int, resamples: int) -> pd.DataFrame:
    """Return the FID of both sets, and by how many % the chosen set's is higher.

    Args:
        features: from ``outputs`` with the network of FID.
        reference: features ``(m, d)`` of the reference pictures.
        seed, resamples: of the bootstrap, see ``fid.table``.

    Returns:
        As ``inception_scores``, with the metrics ``fid`` and ``fid_difference``.
        Without the difference if there are too few pictures for an FID.
    """
    own, against = fid.table(features, reference, seed, resamples, OTHERS)
    if against.empty:
        return own
    base = value_of(own, arm=OTHERS)
    numbers = ["value", "low", "high"]
    percent = against.assign(metric="fid_difference")
    percent[numbers] *= 100 / base
    return pd.concat([own, percent], ignore_index=True)
