"""The intervals against scipy's, which this kit uses in tests alone."""

import numpy as np
import pytest
from jaxtyping import Int64
from scipy import stats

from alignsd.base.intervals import (
    bootstrap_mean,
    paired_bootstrap,
    percentiles,
    resample_rows,
    wilson,
)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_wilson_is_scipy_s(n, level):
    for hits in {0, n // 3, n // 2, n}:
        expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        assert wilson(hits, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_percentiles_are_scipy_s_scores():
    draws = np.random.default_rng(0).normal(size=999)
    expected = stats.scoreatpercentile(draws, [2.5, 97.5])
    assert percentiles(draws) == pytest.approx(tuple(expected))


def test_the_bootstrap_of_a_mean_is_scipy_s_up_to_its_luck():
    values = np.random.default_rng(1).exponential(size=200)
    mean, low, high = bootstrap_mean(values, seed=2, resamples=9000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9000, rng=np.random.default_rng(3)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mean == values.mean()
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_the_paired_bootstrap_is_scipy_s_up_to_its_luck():
    rng = np.random.default_rng(4)
    shared = rng.normal(size=150)
    a, b = shared + rng.normal(0.5, 0.2, 150), shared
    value, low, high = paired_bootstrap(a, b, seed=5, resamples=9000)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=9000,
        rng=np.random.default_rng(6),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert value == pytest.approx((a - b).mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_resamples_are_rows_of_row_numbers():
    (rows,) = resample_rows(7, seed=0, resamples=5)
    assert isinstance(rows, Int64[np.ndarray, "5 7"])
    assert 0 <= rows.min() and rows.max() < 7
