"""Count the humps of a distribution of scores: two humps may mean two kinds of images."""

import numpy as np
import pandas as pd
from scipy.signal import find_peaks
from scipy.stats import gaussian_kde

MOST_QUANTILES = 5000  # of the scores whose humps are counted
LEAST_RISE = 0.1  # of a hump above its surroundings, as a share of the highest hump


def count_humps(scores: pd.Series) -> int:
    """Return the number of humps of the distribution of scores.

    A hump is a maximum of the kernel density estimate (Gaussian, Scott's bandwidth) that rises
    above its surroundings by a tenth of the highest maximum or more. Of many scores, evenly spaced
    quantiles stand for all.

    Args:
        scores: ``(n,)``, finite.

    Returns:
        At least 1; scores that are all equal have 1 hump.
    """
    values = scores.to_numpy(dtype=float)
    if np.ptp(values) == 0:
        return 1
    values = np.quantile(values, np.linspace(0, 1, min(len(values), MOST_QUANTILES)))
    margin = np.ptp(values) / 2  # the density falls to 0 on both sides of the grid
    places = np.linspace(values.min() - margin, values.max() + margin, 512)
    density = gaussian_kde(values)(places)
    maxima, _ = find_peaks(density, prominence=LEAST_RISE * density.max())
    return len(maxima)
