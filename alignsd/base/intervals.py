"""95 % intervals: Wilson's for shares, the bootstrap for means and differences.

Every share and every mean that the kit prints carries an interval.
"""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

Seed = int | np.random.Generator

CHUNK = 4_000_000  # row numbers drawn at once: a bootstrap of a large table stays below 64 MB


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share, k hits out of n, by Wilson's score method.

    Args:
        k: number of hits.
        n: number of trials; without trials the interval is (0, 1).
        level: confidence level.

    Returns:
        ``(low, high)``, both in [0, 1]; low is exactly 0 at k = 0, and high exactly 1 at k = n.

    Raises:
        ValueError: unless 0 <= k <= n and 0 < level < 1.
    """
    if not 0 <= k <= n:
        raise ValueError(f"wilson needs 0 <= k <= n, got k = {k}, n = {n}")
    z = _quantile(level)
    if n == 0:
        return 0.0, 1.0
    share = k / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    spread = math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    half = z / scale * spread
    low = 0.0 if k == 0 else centre - half
    high = 1.0 if k == n else centre + half
    return low, high


def bootstrap_mean(
    values: ArrayLike, seed: Seed, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return a mean with the percentile bootstrap interval.

    Args:
        values: (n,) finite numbers. Leave out missing values, and count them, before the call.
        seed: seed of the draws, or a generator.
        resamples: number of resamples.
        level: confidence level.

    Returns:
        ``(mean, low, high)`` in the unit of the values. One value has an interval of width zero.

    Raises:
        ValueError: if there are no values, or a value is not finite.
    """
    numbers = _finite(values)
    means = []
    for rows in resample_rows(len(numbers), seed, resamples):
        means.append(numbers[rows].mean(axis=1))
    low, high = percentiles(np.concatenate(means), level)
    return float(numbers.mean()), low, high


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, seed: Seed, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of a - b with the percentile bootstrap interval.

    We resample whole pairs. So whatever the two values of a pair have in common (prompt and seed)
    does not widen the interval.

    Args:
        a: (n,) finite numbers.
        b: (n,) numbers of the same items in the same order.
        seed: seed of the draws, or a generator.
        resamples: number of resamples.
        level: confidence level.

    Returns:
        ``(difference, low, high)``.

    Raises:
        ValueError: if the lengths differ, there are no values, or a value is not finite.
    """
    first = _finite(a)
    second = _finite(b)
    if first.shape != second.shape:
        raise ValueError(
            f"paired values must have the same length, got {len(first)} and {len(second)}"
        )
    return bootstrap_mean(first - second, seed, resamples, level)


def resample_rows(n: int, seed: Seed, resamples: int) -> Iterator[np.ndarray]:
    """Yield row numbers drawn with replacement, in arrays (k, n); ``resamples`` rows in all.

    An array holds a bounded number of entries. The stream of draws does not depend on the size of
    the arrays, so the size changes memory and not results.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        yield rng.integers(0, n, size=(count, n))


def percentiles(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return ``(low, high)``, which hold the central ``level`` of resampled statistics (n,)."""
    _check_level(level)
    low, high = np.quantile(np.asarray(draws), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _quantile(level: float) -> float:
    """Return the half width of a normal interval in standard deviations: 1.96 at level 0.95."""
    _check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")


def _finite(values: ArrayLike) -> np.ndarray:
    """Return values as a float64 array (n,), n >= 1, all finite; otherwise raise ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"an interval needs a non-empty list of finite numbers, got shape {array.shape}"
        )
    return array
