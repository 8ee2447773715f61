"""How long a run will still take: known from earlier runs, corrected by the pace of this run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alignsd.base.progress import Work

SHORT = 10.0  # seconds; a shorter notebook says nothing about the pace of the other notebooks
TRUSTED = 5.0  # seconds; the pace of a bar counts after this time
TELLING = 0.05  # share of a notebook that a bar must have taken to tell the pace of the whole


@dataclass(frozen=True)
class EarlierRun:
    """The seconds that the notebooks took in an earlier run, as far as known.

    Attributes:
        seconds: seconds of each notebook.
        bars: for each notebook, the seconds of each progress bar.
    """

    seconds: Mapping[str, float]
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Forecast:
    """The time that the notebooks of a run will still take.

    Args:
        todo: the notebooks that the run executes, in order.
        earlier: the times of an earlier run. If a notebook of ``todo`` is missing there, the time
            left is not known.
    """

    def __init__(self, todo: Sequence[str], earlier: EarlierRun) -> None:
        self.todo = list(todo)
        self.earlier = earlier
        self.used = 0.0  # seconds of the notebooks that are done
        self.planned = 0.0  # seconds expected for the same notebooks

    def left(self, name: str, seconds: float = 0.0, bars: Sequence[Work] = ()) -> float | None:
        """Return the seconds left in the run, or None if unknown.

        Args:
            name: the notebook that runs.
            seconds: how long the notebook has been running.
            bars: how far the notebook's bars are.
        """
        expected = self.earlier.seconds
        rest = self.todo[self.todo.index(name) :]
        if any(notebook not in expected for notebook in rest):
            return None
        whole = self._whole(name, seconds, bars)
        later = sum(expected[notebook] for notebook in rest[1:])
        used = self.used
        planned = self.planned
        if expected[name] >= SHORT:
            used += whole
            planned += expected[name]
        return max(0.0, whole - seconds) + _pace(used, planned) * later

    def done(self, name: str, seconds: float) -> float | None:
        """Take note that a notebook is done.

        Args:
            name: the notebook.
            seconds: how long the notebook took.

        Returns:
            The seconds left in the run, or None if unknown.
        """
        expected = self.earlier.seconds.get(name, 0.0)
        if expected >= SHORT:
            self.used += seconds
            self.planned += expected
        rest = self.todo[self.todo.index(name) + 1 :]
        return self.left(rest[0]) if rest else 0.0

    def _whole(self, name: str, seconds: float, bars: Sequence[Work]) -> float:
        """Return the seconds that a running notebook takes from start to end.

        A bar that took a small part of the earlier run tells its own time only: perhaps the
        earlier run had the training already that this run begins.
        """
        expected = self.earlier.seconds[name]
        known = self.earlier.bars.get(name, {})
        trusted = [bar for bar in bars if bar.left == 0 or bar.seconds > TRUSTED]
        compared = [bar for bar in trusted if known.get(bar.what, 0.0) >= 1]
        telling = [bar for bar in compared if known[bar.what] >= TELLING * expected]
        observed, usual = _seconds(compared, known)
        pace = _pace(*_seconds(telling, known)) if telling else _pace(self.used, self.planned)
        whole = observed + pace * max(0.0, expected - usual)
        longest = max((bar.left for bar in trusted), default=0.0)
        return max(whole, seconds + longest)


def _seconds(bars: Sequence[Work], known: Mapping[str, float]) -> tuple[float, float]:
    """Return the seconds that bars take in this run, and the seconds of the earlier run."""
    observed = sum(bar.seconds + bar.left for bar in bars)
    usual = sum(known[bar.what] for bar in bars)
    return observed, usual


def _pace(used: float, planned: float) -> float:
    """Return how many seconds this run takes per second of the earlier run."""
    return used / planned if planned > 0 else 1.0
