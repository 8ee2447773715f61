"""A measured value with an interval, and a row of the tables that hold such values."""

from collections.abc import Hashable
from dataclasses import dataclass

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
