"""95 % intervals: Wilson's for shares, the bootstrap for means and differences. Every number the kit prints carries one."""

import math
from statistics import NormalDist

import numpy as np

CHUNK = 4_000_000  # index entries drawn at once: keeps a bootstrap of a large table below about 64 MB


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share, k hits out of n, by Wilson's score method.

    Returns (low, high), both in [0, 1]; low is exactly 0 at k = 0 and high exactly 1 at k = n, and n = 0 says
    nothing: (0, 1). Raises ValueError unless 0 <= k <= n and 0 < level < 1.
    """
    if not 0 <= k <= n:
        raise ValueError(f"wilson needs 0 <= k <= n, got k = {k}, n = {n}")
    z = _quantile(level)
    if n == 0:
        return 0.0, 1.0
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def bootstrap_mean(values, seed, resamples: int = 2000, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of `values` (n,) with its percentile bootstrap interval: (mean, low, high), in the unit of the values.

    `seed` is an integer or a numpy Generator. One value gives an interval of width zero; none, or one that is not
    finite, raises ValueError: leave out missing values, and count them, before calling.
    """
    values = _finite(values)
    means = np.concatenate([values[rows].mean(axis=1) for rows in resample_rows(len(values), seed, resamples)])
    return float(values.mean()), *percentiles(means, level)


def paired_bootstrap(a, b, seed, resamples: int = 2000, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a - b with its interval: (difference, low, high). a and b (n,) hold the same items in the same order.

    Resampling whole pairs keeps what the two have in common (prompt and seed) out of the interval.
    """
    a, b = _finite(a), _finite(b)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have the same length, got {len(a)} and {len(b)}")
    return bootstrap_mean(a - b, seed, resamples, level)


def resample_rows(n: int, seed, resamples: int):
    """Yield arrays (k, n) of row numbers drawn with replacement, `resamples` rows in all, a bounded number at a time.

    The stream of draws does not depend on the chunk size, so the chunks change memory and not results.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        yield rng.integers(0, n, size=(min(step, resamples - start), n))


def percentiles(draws, level: float = 0.95) -> tuple[float, float]:
    """The central `level` of the resampled statistics `draws` (n,): (low, high)."""
    _quantile(level)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _quantile(level: float) -> float:
    """How many standard deviations a two-sided normal interval of this level reaches: 1.96 at 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def _finite(values) -> np.ndarray:
    """`values` as a float64 array (n,), n >= 1, all finite; otherwise ValueError."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs a non-empty list of finite numbers, got shape {values.shape}")
    return values
