"""The Fréchet distance: values by hand, agreement with torchmetrics and scipy, and its interval."""

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float64
from scipy.linalg import sqrtm

from alignsd.compare import fid


def cached(first=0, **arms):
    """Return features by arm and id; ids count from ``first`` but in the original arm."""
    tables = []
    for arm, features in arms.items():
        start = 0 if arm == "original" else first
        ids = [f"p{start + number:05d}" for number in range(len(features))]
        tables.append(pd.DataFrame({"arm": arm, "id": ids, "features": list(features)}))
    return pd.concat(tables)


def moments(features):
    """Return the moments of features of which each is taken once."""
    return fid.moments(features, np.ones(len(features)))


def from_moments(a, b):
    """Return the distance as the bootstrap computes the distance."""
    other = moments(b)
    return fid.distance_of_moments(moments(a), other.mean, fid.square_root(other.covariance))


def test_equal_sets_have_no_distance():
    a = np.random.default_rng(0).normal(size=(50, 4))
    assert fid.distance(a, a) == pytest.approx(0, abs=1e-6)
    assert from_moments(a, a) == pytest.approx(0, abs=1e-9)


def test_shift_alone_costs_its_square():
    a = np.random.default_rng(0).normal(size=(50, 3))
    assert fid.distance(a + [3, 4, 0], a) == pytest.approx(25, abs=1e-6)


def test_scale_alone_is_the_squared_difference_of_deviations():
    # One feature, deviations s and 3 s about the same mean: the distance is (3 s - s)^2.
    a = np.array([[-1.0], [1.0], [-1.0], [1.0]])
    variance = a.var(ddof=1)
    assert fid.distance(3 * a, a) == pytest.approx(4 * variance)
    assert from_moments(3 * a, a) == pytest.approx(4 * variance)


@pytest.mark.parametrize("n, m, d", [(200, 150, 8), (40, 60, 16), (10, 12, 20)])
def test_moments_agree_with_torchmetrics_also_with_fewer_pictures_than_features(n, m, d):
    rng = np.random.default_rng(n)
    mix = rng.normal(size=(d, d))
    a = rng.normal(size=(n, d)) @ mix
    b = rng.normal(0.3, 1.2, size=(m, d)) @ mix
    assert from_moments(a, b) == pytest.approx(fid.distance(a, b), rel=1e-4)


def test_the_square_root_is_scipy_s():
    features = np.random.default_rng(0).normal(size=(40, 5))
    covariance = moments(features).covariance
    np.testing.assert_allclose(fid.square_root(covariance), sqrtm(covariance), atol=1e-12)


def test_the_distance_of_moments_is_the_formula_with_scipy_s_square_root():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 4)), rng.normal(0.5, 2, size=(60, 4))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert from_moments(a, b) == pytest.approx(expected)


def test_moments_have_the_shapes_of_a_mean_and_a_covariance():
    mean, covariance = moments(np.random.default_rng(0).normal(size=(7, 3)))
    assert isinstance(mean, Float64[np.ndarray, "3"])
    assert isinstance(covariance, Float64[np.ndarray, "3 3"])
    assert isinstance(fid.square_root(covariance), Float64[np.ndarray, "3 3"])


def test_counts_are_repetitions():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(6, 3))
    counts = np.array([0, 1, 2, 0, 3, 1])
    repeated = np.repeat(features, counts, axis=0)
    mean, covariance = fid.moments(features, counts)
    np.testing.assert_allclose(mean, repeated.mean(0))
    np.testing.assert_allclose(covariance, np.cov(repeated.T))


def test_interval_holds_its_value_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(3)
    reference, shared = rng.normal(size=(120, 6)), rng.normal(size=(100, 6))
    arms = cached(original=shared + 1, adapted=shared + 0.2, same=shared + 1)
    own, differences = fid.table(arms, reference, seed=0, resamples=60)
    assert ((own["low"] <= own["value"]) & (own["value"] <= own["high"])).all()
    assert list(own["n"]) == [100, 100, 100]
    adapted, same = differences.set_index("arm").loc[["adapted", "same"]].itertuples()
    assert adapted.high < 0
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-9)
    again, _ = fid.table(arms, reference, seed=0, resamples=60)
    pd.testing.assert_frame_equal(own, again)


def test_resamples_are_rows_and_arms_are_columns():
    rng = np.random.default_rng(0)
    features = pd.Series(list(rng.normal(size=(9, 3))), index=range(9))
    arms = {"original": features, "adapted": features + 1}
    draws = fid.resampled(arms, rng.normal(size=(8, 3)), seed=0, resamples=5)
    assert list(draws) == ["original", "adapted"]
    assert isinstance(draws.to_numpy(), Float64[np.ndarray, "5 2"])


def test_interval_is_as_wide_as_the_spread_of_fresh_sets():
    rng = np.random.default_rng(4)

    def fresh():
        return rng.normal(0.5, 1, size=(80, 3)), rng.normal(size=(80, 3))

    spread = np.std([from_moments(*fresh()) for _ in range(200)])
    widths = []
    for _ in range(20):
        a, b = fresh()
        own, _ = fid.table(cached(original=a), b, seed=0, resamples=60)
        widths.append(own["high"][0] - own["low"][0])
    assert np.mean(widths) == pytest.approx(2 * 1.96 * spread, rel=0.25)


def test_an_arm_may_lack_images():
    rng = np.random.default_rng(5)
    a, reference = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    arms = cached(original=a, adapted=a[10:], first=10)
    own, _ = fid.table(arms, reference, 0, resamples=20)
    assert list(own["n"]) == [60, 50]
