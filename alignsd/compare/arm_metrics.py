"""The metrics of every arm, and of every arm against the original (Table 4 of the paper)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignsd.base.intervals import paired_bootstrap, percentiles, resample_rows
from alignsd.compare import fid
from alignsd.compare.arms import CONTROL, ORIGINAL, PAPERS
from alignsd.compare.image_metrics import SCORES
from alignsd.compare.measurement import COLUMNS, Measurement, mean_of, share_of

SHARES = {"flaw_rate": "flawed", "match_rate": "match"}  # metric of an arm -> column of an image
METRICS = {score: score for score in SCORES} | SHARES


def arm_table(metrics: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return ``arm, metric, value, low, high, n`` of every arm over the arm's good images.

    The means of ``hps`` (100 x cosine), ``clip_score`` and ``aesthetic`` have bootstrap intervals.
    The shares ``flaw_rate`` and ``match_rate`` (0-1) have Wilson's intervals. All are 95 %. A
    metric that was not measured has no row.

    Args:
        metrics: a row per image, from ``image_metrics.measure``.
        seed: of the bootstrap.
    """
    rows = []
    for arm, images in metrics.groupby("arm", sort=False):
        for metric in SCORES:
            values = images[metric].dropna().to_numpy(dtype=float)
            if len(values):
                rows.append(mean_of(values, seed).row(arm, metric))
        for metric, column in SHARES.items():
            judged = images[column].dropna()
            if len(judged):
                rows.append(share_of(judged).row(arm, metric))
    return _table(rows)


def against(metrics: pd.DataFrame, seed: int, baseline: str = ORIGINAL.name) -> pd.DataFrame:
    """Return how each other arm differs from the baseline: ``arm, metric, value, low, high, n``.

    The same id is the same prompt and seed, so differences are paired: ``value`` is the mean of
    (arm - baseline), and ``n`` counts the ids that are good in both arms. ``flaw_ratio`` is the
    arm's flaw rate divided by the baseline's flaw rate on the same ids.

    Args:
        metrics: a row per image, from ``image_metrics.measure``.
        seed: of the bootstraps.
        baseline: the arm to compare with.
    """
    is_baseline = metrics["arm"] == baseline
    base = metrics[is_baseline].set_index("id")
    rows = []
    for arm, images in metrics[~is_baseline].groupby("arm", sort=False):
        other = images.set_index("id")
        for metric, column in METRICS.items():
            pairs = pd.concat([other[column], base[column]], axis=1, keys=["arm", "base"])
            pairs = pairs.dropna().astype(float)
            if pairs.empty:
                continue
            difference = _difference(pairs["arm"], pairs["base"], seed)
            rows.append(difference.row(arm, metric))
            if metric == "flaw_rate" and pairs["base"].any():
                quotient = ratio(pairs["arm"].to_numpy(), pairs["base"].to_numpy(), seed)
                rows.append(quotient.row(arm, "flaw_ratio"))
    return _table(rows)


def against_control(
    metrics: pd.DataFrame,
    features: pd.DataFrame,
    reference: np.ndarray,
    seed: int,
    resamples: int,
) -> pd.DataFrame:
    """Return the paper's arm compared with regularization only, as ``against`` does, FID included.

    Args:
        metrics, features: from ``image_metrics.measure``.
        reference, seed, resamples: for ``fid.table``.

    Returns:
        The table; empty if one of the two arms was not drawn.
    """
    names = (PAPERS.name, CONTROL.name)
    metrics = metrics[metrics["arm"].isin(names)]
    features = features[features["arm"].isin(names)]
    if features["arm"].nunique() < 2:
        return _table([])
    paired = against(metrics, seed, CONTROL.name)
    _, distances = fid.table(features, reference, seed, resamples, CONTROL.name)
    return pd.concat([paired, distances], ignore_index=True)


def ratio(a: np.ndarray, b: np.ndarray, seed: int, resamples: int = 2000) -> Measurement:
    """Return mean(a) / mean(b) of paired values ``(n,)``, with a bootstrap interval.

    b must not be 0 throughout. A resample whose b is 0 throughout has no ratio and does not count.
    Such resamples are rare, except with a handful of pictures.
    """
    ratios = []
    for rows in resample_rows(len(a), seed, resamples):
        above = a[rows].mean(axis=1)
        below = b[rows].mean(axis=1)
        is_defined = below > 0
        ratios.append(above[is_defined] / below[is_defined])
    low, high = percentiles(np.concatenate(ratios))
    return Measurement(float(a.mean() / b.mean()), low, high, len(a))


def _difference(a: pd.Series, b: pd.Series, seed: int) -> Measurement:
    """Return the mean of a - b, which hold the same images, with a bootstrap interval."""
    mean, low, high = paired_bootstrap(a, b, seed)
    return Measurement(mean, low, high, len(a))


def _table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)
