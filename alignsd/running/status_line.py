"""The line that a run prints about each notebook, with the time used and the time left."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from alignsd.base.progress import Work, clock, read_work
from alignsd.running.forecast import Forecast

HEADLESS = 300.0  # seconds between two lines of a run that no terminal shows
COLUMNS = 100  # a new line overwrites this many characters of the line before


class StatusLine:
    """The lines about the notebooks of a run.

    Args:
        names: the notebooks of the run, in order.
        forecast: the time left in the run.
        file: the file in which the running kernel reports the progress of its bars, see
            ``progress.work_file``; None if there is no such file.
        now: returns the time in seconds.
    """

    def __init__(
        self,
        names: Sequence[str],
        forecast: Forecast,
        file: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names = list(names)
        self.forecast = forecast
        self.file = file
        self.now = now
        self.width = max(map(len, self.names), default=0)

    def line(self, name: str, text: str) -> str:
        """Return the line about a notebook."""
        number = self.names.index(name) + 1
        return f"[{number}/{len(self.names)}] {name:<{self.width}}  {text}"

    def skip(self, name: str, reason: str) -> None:
        """Print that a notebook is left alone."""
        _say(self.line(name, reason))

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Print a notebook's line while the block runs.

        The line comes every second on a terminal, else at start and end and every five minutes.
        """
        started = self.now()
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, started, finished), daemon=True)
        ticker.start()
        rest = ""
        outcome = "stopped after"
        try:
            yield
            outcome = "done in"
            left = self.forecast.done(name, self.now() - started)
            rest = f", {_about(left)} left" if left else ""
        finally:
            finished.set()
            ticker.join()
            seconds = self.now() - started
            line = self.line(name, f"{outcome} {clock(seconds)}{rest}")
            _say(_overwrite(line))

    def _tick(self, name: str, started: float, finished: threading.Event) -> None:
        live = _is_terminal()
        while True:
            seconds = self.now() - started
            left = self.forecast.left(name, seconds, self.bars())
            rest = "" if left is None else f", {_about(left)} left in all"
            line = self.line(name, f"running {clock(seconds)}{rest}")
            _say(_overwrite(line), end="" if live else "\n")
            if finished.wait(1 if live else HEADLESS):
                return

    def bars(self) -> list[Work]:
        """Return how far the bars of the running notebook are at this moment."""
        if self.file is None:
            return []
        now = time.time()
        return [_aged(bar, now) for bar in read_work(self.file)]


def _aged(bar: Work, now: float) -> Work:
    """Return how far a bar is now if the work went on at the same pace since the last report."""
    age = min(max(0.0, now - bar.at), bar.left)
    return Work(bar.what, bar.seconds + age, bar.fraction, bar.left - age, bar.at)


def _about(seconds: float) -> str:
    return f"about {clock(seconds)}"


def _say(text: str, end: str = "\n") -> None:
    with suppress(OSError, ValueError):  # a closed terminal or a full disk does not end the run
        print(text, end=end, flush=True)


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # standard output is missing or closed
        return False


def _overwrite(line: str) -> str:
    return f"\r{line:<{COLUMNS}}" if _is_terminal() else line
