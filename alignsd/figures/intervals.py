"""Values with 95 % intervals in the form of matplotlib's error bars."""

import numpy as np
import pandas as pd


def percent(table: pd.DataFrame, column: str = "value") -> tuple[np.ndarray, np.ndarray]:
    """Return shares in percent, ``(n,)``, and how far their intervals reach, ``(2, n)``.

    Args:
        table: ``column``, ``low``, ``high``; shares from 0 to 1.
        column: the column of the shares.
    """
    value = 100 * table[column].to_numpy()
    low = 100 * table["low"].to_numpy()
    high = 100 * table["high"].to_numpy()
    return value, np.array([value - low, high - value])
