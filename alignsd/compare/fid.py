"""The Fréchet distance of generated to reference pictures (FID, Table 4), with an interval."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.intervals import percentiles
from alignsd.base.processes import gathered, share
from alignsd.base.progress import track
from alignsd.compare.arms import ORIGINAL
from alignsd.compare.measurement import COLUMNS, Measurement
from alignsd.compare.reference import FEWEST
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import command_for


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Fréchet distance of two sets of features ``(n, d)`` and ``(m, d)``; n, m >= 2.

    ``|mean a - mean b|^2 + trace(A + B - 2 (A B)^(1/2))``, where A and B are the covariances of a
    and b. torchmetrics computes the distance. Equal sets have the distance 0. The distance grows as
    the sets shrink, so compare only distances of equal n.
    """
    # Each of several processes holds all features. Synchronized, each feature would count twice.
    network = _Computed(a.shape[1])
    metric = FrechetInceptionDistance(feature=network, sync_on_compute=False)
    metric.update(torch.from_numpy(np.asarray(b, dtype=np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(a, dtype=np.float64)), real=False)
    return max(0.0, float(metric.compute()))


class _Computed(nn.Module):
    """Stands for a network whose features were computed before."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Return ``features`` ``(n, d)`` unchanged."""
        return features


class Moments(NamedTuple):
    """The mean ``(d,)`` and the covariance ``(d, d)`` of a set of features."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray, counts: np.ndarray) -> Moments:
    """Return the moments of features ``(n, d)``, of which feature i is taken ``counts[i]`` times.

    The counts add up to 2 or more.
    """
    total = counts.sum()
    mean = counts @ features / total
    centred = features - mean
    covariance = (centred * counts[:, None]).T @ centred / (total - 1)
    return Moments(mean, covariance)


def distance_of_moments(a: Moments, mean_b: np.ndarray, root_b: np.ndarray) -> float:
    """Return the Fréchet distance from moments.

    ``trace((A B)^(1/2))`` equals the sum of the square roots of the eigenvalues of the symmetric
    matrix ``B^(1/2) A B^(1/2)``, so no complex number appears.

    Args:
        a: the moments of one set.
        mean_b: the mean ``(d,)`` of the other set.
        root_b: the square root ``(d, d)`` of the other set's covariance.
    """
    squares = np.linalg.eigvalsh(root_b @ a.covariance @ root_b)
    cross = np.sqrt(squares.clip(0)).sum()
    shift = ((a.mean - mean_b) ** 2).sum()
    return float(shift + np.trace(a.covariance) + (root_b**2).sum() - 2 * cross)


def square_root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root ``(d, d)`` of a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def resampled(
    arms: Mapping[str, pd.Series],
    reference: np.ndarray,
    seed: int,
    resamples: int,
) -> pd.DataFrame:
    """Return bootstrap distances: a row per resample, a column per arm.

    Each resample draws ids once for all arms, and reference pictures. Two arms share the prompt
    and the seed behind an id, so the interval of the arms' difference leaves the shared part out.
    Several processes divide the resamples.

    Args:
        arms: arm -> features ``(d,)`` of each image, indexed by id. Arms may lack ids.
        reference: features ``(m, d)``.
        seed: of the resampling.
        resamples: the number of resamples.

    Returns:
        The distances; NaN where a resample holds fewer than two images of an arm.
    """
    features = {arm: np.stack(list(series)) for arm, series in arms.items()}
    all_ids = set().union(*(series.index for series in arms.values()))
    ids = pd.Index(sorted(all_ids))
    positions = {arm: ids.get_indexer(series.index) for arm, series in arms.items()}
    same_for_ids = np.full(len(ids), 1 / len(ids))
    m = len(reference)
    same_for_reference = np.full(m, 1 / m)
    rng = np.random.default_rng(seed)
    drawn = [
        (rng.multinomial(len(ids), same_for_ids), rng.multinomial(m, same_for_reference))
        for _ in range(resamples)
    ]
    own = []
    for counts_of_ids, counts_of_reference in track(
        share(drawn), what="bootstrap of FID", unit="resample"
    ):
        mean, covariance = moments(reference, counts_of_reference)
        root = square_root(covariance)
        distances = {}
        for arm in arms:
            counts = counts_of_ids[positions[arm]]
            if counts.sum() >= FEWEST:
                distances[arm] = distance_of_moments(moments(features[arm], counts), mean, root)
        own.append(distances)
    return pd.DataFrame(gathered(own), columns=list(arms), dtype=float)


def centred_interval(value: float, draws: np.ndarray) -> tuple[float, float]:
    """Return the interval of a distance: the spread of the resamples, moved to the mean ``value``.

    A resample holds fewer distinct images than the set, and fewer images have a larger distance. So
    the plain percentiles lie above the distance. We want to know how much the distance of another
    set of the same size would differ. The interval is about right where there are many more images
    than features, and otherwise too wide (1.5 times, at 60 images with 40 features).

    Args:
        value: the distance.
        draws: the distances of the resamples. Values that are not finite do not count; without any
            finite value the interval is ``value`` alone.
    """
    draws = np.asarray(draws, dtype=float)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return value, value
    return percentiles(draws - np.mean(draws) + value)


def table(
    features: pd.DataFrame,
    reference: np.ndarray,
    seed: int,
    resamples: int = 300,
    baseline: str = ORIGINAL.name,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the FID of every arm, and the difference of every other arm to the baseline arm.

    An arm of one picture has no FID and no row. With a reference of one picture no arm has an FID.
    In both cases a warning says so.

    Args:
        features: ``arm, id, features``, a row per image with ``(d,)`` features; ``baseline`` among
            the arms.
        reference: features ``(m, d)`` of the reference pictures.
        seed: of the resampling.
        resamples: number of resamples; 300 fix the ends of an interval to about a tenth of the
            interval's width.
        baseline: the arm to compare with.

    Returns:
        Two tables with columns ``arm, metric, value, low, high, n``; ``metric`` is ``"fid"``.

    Raises:
        Problem: if no picture of the baseline is there, a feature is not finite, ``seed`` is out of
            range, ``resamples`` is below 1, or the features are of several networks.
    """
    check_seed(seed)
    at_least(1, fid_resamples=resamples)
    if features.empty:
        features = pd.DataFrame(columns=["arm", "id", "features"])
    by_arm = features.groupby("arm", sort=False)
    all_arms = {str(arm): rows.set_index("id")["features"] for arm, rows in by_arm}
    _refuse_unusable(all_arms, reference, baseline)
    arms = _large_enough(all_arms, reference)
    if not arms:
        return _table([]), _table([])
    draws = resampled(arms, reference, seed, resamples)
    values = {arm: distance(np.stack(list(series)), reference) for arm, series in arms.items()}
    counts = {arm: len(series) for arm, series in arms.items()}
    return _own(values, draws, counts), _differences(values, draws, counts, baseline)


def _own(
    values: Mapping[str, float],
    draws: pd.DataFrame,
    counts: Mapping[str, int],
) -> pd.DataFrame:
    """Return each arm's distance with an interval, which begins at 0 or above."""
    rows = []
    for arm, value in values.items():
        low, high = centred_interval(value, draws[arm])
        measured = Measurement(value, max(0.0, low), high, counts[arm])
        rows.append(measured.row(arm, "fid"))
    return _table(rows)


def _differences(
    values: Mapping[str, float],
    draws: pd.DataFrame,
    counts: Mapping[str, int],
    baseline: str,
) -> pd.DataFrame:
    """Return each other arm's distance minus the baseline's distance; empty without baseline."""
    if baseline not in values:
        return _table([])
    rows = []
    for arm, value in values.items():
        if arm != baseline:
            gap = value - values[baseline]
            low, high = centred_interval(gap, draws[arm] - draws[baseline])
            rows.append(Measurement(gap, low, high, counts[arm]).row(arm, "fid"))
    return _table(rows)


def _table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Return rows as a table, whose columns are numbers without any row, too."""
    kinds = {"value": float, "low": float, "high": float, "n": int}
    return pd.DataFrame(rows, columns=COLUMNS).astype(kinds)


def _refuse_unusable(
    arms: Mapping[str, pd.Series],
    reference: np.ndarray,
    baseline: str,
) -> None:
    if baseline not in arms:
        raise Problem(
            f"FID cannot be compared with the arm {baseline}.",
            expected=f"at least one readable picture of the arm {baseline}",
            found=f"pictures of {', '.join(arms) or 'no arm'}",
            cause="the pictures were moved away or damaged after they were drawn",
            fix=f"draw the pictures again: {command_for(TABLES['images'].stage, '')}",
        )
    _refuse_other_lengths(arms, reference)
    broken = []
    for arm, series in arms.items():
        if not np.isfinite(np.stack(list(series))).all():
            broken.append(arm)
    if len(reference) and not np.isfinite(reference).all():
        broken.append("the reference")
    if broken:
        raise Problem(
            "Some features of pictures are no numbers.",
            expected="finite features",
            found=f"NaN or infinity in {', '.join(broken)}",
            cause="damaged weights of the network that makes the features",
            fix="set the parameter fid_features to a network whose weights are whole",
        )


def _refuse_other_lengths(arms: Mapping[str, pd.Series], reference: np.ndarray) -> None:
    """Raise a Problem unless all features are lists of one length."""
    shapes = {np.shape(value) for series in arms.values() for value in series}
    if len(reference):
        shapes.add(np.shape(reference)[1:])
    dimensions = {len(shape) for shape in shapes}
    if len(shapes) == 1 and dimensions == {1}:
        return
    raise Problem(
        "The features of the pictures cannot be compared.",
        expected="one list of numbers per picture, all of one length",
        found="shapes " + ", ".join(map(str, sorted(shapes))),
        cause="the features of the pictures and of the reference come from different networks",
        fix=f"make both with one network: {command_for(TABLES['image_metrics'].stage, '')}",
    )


def _large_enough(arms: Mapping[str, pd.Series], reference: np.ndarray) -> dict[str, pd.Series]:
    """Return the arms that can have an FID, and warn of the other arms."""
    if len(reference) < FEWEST:
        warnings.warn(
            f"no FID: it needs {FEWEST} reference pictures or more, and there are {len(reference)}",
            stacklevel=3,
        )
        return {}
    too_small = {arm: len(series) for arm, series in arms.items() if len(series) < FEWEST}
    if too_small:
        counted = ", ".join(f"{arm} has {count}" for arm, count in too_small.items())
        warnings.warn(
            f"no FID of some arms: it needs {FEWEST} pictures or more, and {counted}",
            stacklevel=3,
        )
    return {arm: series for arm, series in arms.items() if arm not in too_small}
