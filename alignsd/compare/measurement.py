"""A measured value with an interval, and a row of the tables that hold such values."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alignsd.base.intervals import bootstrap_mean, wilson

COLUMNS = ["arm", "metric", "value", "low", "high", "n"]


@dataclass(frozen=True)
class Measurement:
    """A value with a 95 % interval, over n items."""

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> "Measurement":
        """Return the measurement in another unit: a factor of 100 turns a share into percent."""
        return Measurement(factor * self.value, factor * self.low, factor * self.high, self.n)

    def row(self, arm: Hashable, metric: str) -> dict[str, object]:
        """Return a row of a table with the columns ``COLUMNS``."""
        numbers = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return {"arm": arm, "metric": metric} | numbers


def mean_of(values: np.ndarray, seed: int) -> Measurement:
    """Return the mean of values ``(n,)``, n >= 1, with a bootstrap interval."""
    mean, low, high = bootstrap_mean(values, seed)
    return Measurement(mean, low, high, len(values))


def share_of(judged: pd.Series) -> Measurement:
    """Return the share of True among n >= 1 values, with Wilson's interval."""
    hits = int(judged.sum())
    low, high = wilson(hits, len(judged))
    return Measurement(hits / len(judged), low, high, len(judged))


def value_of(table: pd.DataFrame, **cells: Hashable) -> float:
    """Return ``value`` of the first row with these cells, or NaN if the table has no such row.

    Args:
        table: has the column ``value``.
        cells: column -> wanted cell, such as ``arm="original", metric="fid"``.
    """
    matches = table
    for column, wanted in cells.items():
        matches = matches[matches[column] == wanted]
    return float(matches["value"].iloc[0]) if len(matches) else math.nan
