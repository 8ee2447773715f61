"""How well a person agrees with herself, and how well several people agree."""

import warnings

import krippendorff
import numpy as np
import pandas as pd

from alignsd.base.intervals import Seed, bootstrap_mean, percentiles, resample_rows, wilson
from alignsd.choose.analysis.table import first_picks, picks

ALL = "all raters"  # no rater's name holds a space
RESAMPLES = 2000


def with_yourself(votes: pd.DataFrame) -> pd.DataFrame:
    """Return how often each rater picks the same picture when a question is shown again.

    Args:
        votes: from ``votes.read_votes``.

    Returns:
        ``rater, value, low, high, n``: the share of the repeated questions that the rater answered
        alike, with Wilson's 95 % interval; n counts the repeated questions that the rater answered
        both times. Several raters get one more row, ``all raters``. The table is empty if no
        question was answered twice.
    """
    rows = picks(votes)
    again = rows[rows["repeats"] != ""]
    pairs = again.merge(
        rows[["rater", "question", "picked"]],
        left_on=["rater", "repeats"],
        right_on=["rater", "question"],
        suffixes=("", "_before"),
    )
    is_alike = pairs["picked"] == pairs["picked_before"]
    table = []
    for rater, alike in is_alike.groupby(pairs["rater"], sort=True):
        table.append((rater, *_share(alike), len(alike)))
    if len(table) > 1:
        table.append((ALL, *_share(is_alike), len(is_alike)))
    return pd.DataFrame(table, columns=["rater", "value", "low", "high", "n"])


def _share(hits: pd.Series) -> tuple[float, float, float]:
    """Return the share of true values with Wilson's interval."""
    low, high = wilson(int(hits.sum()), len(hits))
    return float(hits.mean()), low, high


def between_raters(votes: pd.DataFrame, seed: Seed = 0) -> pd.DataFrame:
    """Return how well raters agree on the questions that at least two raters answered.

    ``pairwise agreement`` is the chance that two raters of a question pick the same picture, as a
    mean over questions. ``Krippendorff's alpha`` (nominal) compares the disagreement with the
    disagreement by chance: 1 is full agreement, 0 is chance, below 0 is less than chance. Chance is
    told from how often each place in ``Question.pictures`` is picked. So in a study in which nearly
    everyone prefers the adapted picture, alpha can be low while raters agree: read both rows.

    Repeated questions and attention checks are left out, and so are skipped questions.

    Args:
        votes: from ``votes.read_votes``.
        seed: of the bootstrap over questions.

    Returns:
        ``measure, value, low, high, n``: two rows with 95 % intervals; n counts questions. The
        table is empty if no question has two raters. Alpha is NaN if all picks are alike: then
        there is no disagreement by chance to compare with.
    """
    columns = ["measure", "value", "low", "high", "n"]
    rows = first_picks(votes)
    every = pd.crosstab(rows["question"], rows["picked"]).to_numpy()
    counts = every[every.sum(axis=1) >= 2]
    n = len(counts)
    if n == 0:
        return pd.DataFrame([], columns=columns)
    agreement = bootstrap_mean(_agreeing_pairs(counts), seed)
    alpha = _alpha_with_interval(counts, seed)
    table = [("Krippendorff's alpha", *alpha, n), ("pairwise agreement", *agreement, n)]
    return pd.DataFrame(table, columns=columns)


def _agreeing_pairs(counts: np.ndarray) -> np.ndarray:
    """Return for each question (n,) the share of the pairs of raters that picked alike.

    Args:
        counts: (n, places) how many raters picked each place; at least two raters per row.
    """
    raters = counts.sum(axis=1)
    alike = (counts * (counts - 1)).sum(axis=1)
    return alike / (raters * (raters - 1))


def _alpha_with_interval(counts: np.ndarray, seed: Seed) -> tuple[float, float, float]:
    """Return ``(alpha, low, high)``; resamples without two different picks are left out."""
    value = _alpha(counts)
    if np.isnan(value):
        return value, np.nan, np.nan
    draws = []
    for chosen in resample_rows(len(counts), seed, RESAMPLES):
        draws += [_alpha(counts[rows]) for rows in chosen]
    low, high = percentiles([draw for draw in draws if not np.isnan(draw)])
    return value, low, high


def _alpha(counts: np.ndarray) -> float:
    """Return Krippendorff's alpha (nominal); NaN if fewer than two places were ever picked."""
    if np.count_nonzero(counts.any(axis=0)) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # a division by zero would pass unseen
        return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
