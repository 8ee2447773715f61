"""Known answers for the intervals: textbook values, limits, and independence from memory chunks."""

import numpy as np
import pytest

from alignsd.base import intervals
from alignsd.base.intervals import bootstrap_mean, paired_bootstrap, wilson


def test_wilson_known_values():
    # k = 5 of n = 10 at z = 1.959964: centre 0.5, half = z / sqrt(n + z^2) / 2 = 0.263413
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    # k = 0: high = z^2 / (n + z^2)
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)


def test_wilson_limits_and_symmetry():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(3, 11)
    assert wilson(8, 11) == pytest.approx((1 - high, 1 - low))


def test_wilson_is_wider_at_a_higher_level_and_narrower_with_more():
    assert wilson(50, 100, 0.99)[0] < wilson(50, 100)[0] < wilson(500, 1000)[0]


@pytest.mark.parametrize("k, n, level", [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 0.0)])
def test_wilson_refuses_nonsense(k, n, level):
    with pytest.raises(ValueError):
        wilson(k, n, level)


def test_wilson_agrees_with_the_share_it_was_made_from():
    rng = np.random.default_rng(0)
    intervals_drawn = [wilson(int(hits), 80) for hits in rng.binomial(80, 0.3, size=2000)]
    holds = [low <= 0.3 <= high for low, high in intervals_drawn]
    assert 0.93 < np.mean(holds) < 0.97


def test_bootstrap_of_equal_values_has_no_width():
    assert bootstrap_mean([2.0, 2.0, 2.0], seed=0) == (2.0, 2.0, 2.0)


def test_bootstrap_of_two_values_reaches_both():
    # Resamples of (0, 1) have mean 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    # So the central 95 % holds all of them.
    assert bootstrap_mean([0, 1], seed=0) == (0.5, 0.0, 1.0)


def test_bootstrap_width_is_that_of_the_normal_interval():
    values = np.random.default_rng(1).normal(5, 2, size=2500)
    mean, low, high = bootstrap_mean(values, seed=2)
    half = 1.959964 * values.std() / 50
    assert mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)


def test_same_seed_same_interval_whatever_the_chunks(monkeypatch):
    values = np.arange(50.0)
    once = bootstrap_mean(values, seed=3)
    monkeypatch.setattr(intervals, "CHUNK", 700)
    assert bootstrap_mean(values, seed=3) == once
    assert bootstrap_mean(values, np.random.default_rng(3)) == once
    assert bootstrap_mean(values, seed=4) != once


def test_pairing_removes_what_the_two_have_in_common():
    shared = np.random.default_rng(0).normal(0, 100, size=400)
    difference, low, high = paired_bootstrap(shared + 1, shared, seed=0)
    assert (difference, low, high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0], [2.0]]])
def test_missing_values_are_refused(values):
    with pytest.raises(ValueError):
        bootstrap_mean(values, seed=0)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="same length"):
        paired_bootstrap([1, 2], [1], seed=0)
