"""What a run prints while it goes: one line per notebook, with the time used and the time left."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


def clock(seconds: float) -> str:
    """Returns a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Progress:
    """Knows how long the notebooks of a run are expected to take and prints where the run stands.

    Args:
        names: the notebooks of the run, in order.
        todo: those of them that will be run.
        expected: seconds per notebook as far as known; without all of them no time left is told.
    """

    def __init__(self, names: Sequence[str], todo: Sequence[str], expected: Mapping[str, float]):
        self.names, self.todo, self.expected = list(names), list(todo), dict(expected)
        self.width = max(map(len, self.names), default=0)

    def left(self, name: str, seconds: float = 0.0) -> float | None:
        """Returns the seconds left when ``name`` has been running for ``seconds``, or None if that is not known."""
        rest = self.todo[self.todo.index(name):]
        if any(n not in self.expected for n in rest):
            return None
        return max(0.0, self.expected[name] - seconds) + sum(self.expected[n] for n in rest[1:])

    def line(self, name: str, text: str) -> str:
        """Returns the line about one notebook."""
        return f"[{self.names.index(name) + 1}/{len(self.names)}] {name:<{self.width}}  {text}"

    def skip(self, name: str, reason: str) -> None:
        """Prints that a notebook is left alone."""
        print(self.line(name, reason), flush=True)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Prints a notebook's line while the block runs: every second on a terminal, else at start and end."""
        started, finished = time.monotonic(), threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, started, finished), daemon=True)
        ticker.start()
        outcome = "stopped after"
        try:
            yield
            outcome = "done in"
        finally:
            finished.set()
            ticker.join()
            seconds = time.monotonic() - started
            left = self.left(name, float("inf"))
            rest = f", {_about(left)} left" if left and outcome == "done in" else ""
            print(_overwrite(self.line(name, f"{outcome} {clock(seconds)}{rest}")), flush=True)

    def _tick(self, name: str, started: float, finished: threading.Event) -> None:
        live = sys.stdout.isatty()
        while True:
            seconds = time.monotonic() - started
            left = self.left(name, seconds)
            rest = "" if left is None else f", {_about(left)} left in all"
            print(_overwrite(self.line(name, f"running {clock(seconds)}{rest}")), end="" if live else "\n", flush=True)
            if finished.wait(1 if live else None):
                return


def _about(seconds: float) -> str:
    return f"about {clock(seconds)}"


def _overwrite(line: str) -> str:
    return f"\r{line:<100}" if sys.stdout.isatty() else line
