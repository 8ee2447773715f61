"""Progress bars of notebooks, and the file in which a kernel tells the runner of the progress."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alignsd.base import processes
from alignsd.base.paths import run_dir

FILE = "ALIGNSD_PROGRESS"  # environment variable: file in which a kernel tells its progress
BYTES = "B"  # the unit whose large numbers are shortened
DELAY = 2.0  # seconds before a bar is shown: short work shows no bar
WINDOW = 30.0  # seconds; a pace is measured over this time or over the later half, if longer


@dataclass(frozen=True)
class Work:
    """How far one bar of a notebook is.

    Attributes:
        what: the work, with a number if the notebook does the same work several times.
        seconds: time used.
        fraction: share done, 0 to 1.
        left: seconds left at the present pace.
        at: seconds since 1970 at which this was true.
    """

    what: str
    seconds: float
    fraction: float
    left: float
    at: float


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def track(
    iterable: Iterable[Any] | None = None,
    total: float | None = None,
    what: str = "working",
    unit: str = "item",
    initial: float = 0,
    silent: bool = False,
) -> "Bar":
    """Return a progress bar to iterate over or to ``update``.

    Work that takes under two seconds shows no bar.

    Args:
        iterable: the items to iterate over; None for a bar that ``update(n)`` moves.
        total: number of units; None takes the length of ``iterable``, if known.
        what: the work in a word or two, such as ``"drawing"``.
        unit: the thing that is counted, such as ``"image"``; bytes, ``"B"``, are written as 1.2k,
            3.4M.
        initial: units that were done before.
        silent: show no bar and write no file. Of several processes, the first alone shows bars.
    """
    in_notebook = _is_notebook()
    live = in_notebook or (sys.stderr is not None and sys.stderr.isatty())
    return Bar(
        iterable,
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        unit_scale=unit == BYTES,
        delay=DELAY,
        mininterval=0.5 if live else 5.0,
        disable=silent or not processes.is_first(),
        file=sys.stdout if in_notebook else None,  # a notebook shows the errors' stream in red
    )


def _is_notebook() -> bool:
    """Return whether a kernel runs this code for a person: no runner reads the progress."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    if kernel is None or FILE in os.environ:
        return False
    return bool(kernel.IPKernelApp.initialized())


class Bar(tqdm):
    """A progress bar of tqdm that also tells the runner how far the work is; see ``track``."""

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
        super().__init__(iterable, **options)
        self._pace = Pace(time.monotonic(), self.n)
        self._report: Report | None = None
        path = os.environ.get(FILE)
        if path and self.total and not self.disable:
            self._report = _report_to(path)
            self._name = self._report.new(self.desc)

    def __iter__(self) -> Iterator[Any]:
        """Yield the items, and count each item when the next item is asked for."""
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, n: float = 1) -> bool | None:
        """Count ``n`` more units."""
        shown = super().update(n)
        if self._report is None:
            return shown
        is_last = self.n >= self.total
        if self._pace.add(time.monotonic(), self.n, is_last):
            self._report.tell(self._pace.work(self._name, self.total))
        return shown


class Pace:
    """The pace of one bar, from counts at moments at least a second apart."""

    def __init__(self, now: float, count: float) -> None:
        self.started = now
        self.samples = deque([(now, count)])

    def add(self, now: float, count: float, last: bool = False) -> bool:
        """Remember a count unless the former count is less than a second old.

        Args:
            now: time in seconds.
            count: units done so far.
            last: remember the count in any case.

        Returns:
            Whether the count was remembered.
        """
        if now - self.samples[-1][0] < 1 and not last:
            return False
        self.samples.append((now, count))
        oldest = now - max(WINDOW, (now - self.started) / 2)
        while len(self.samples) > 2 and self.samples[1][0] <= oldest:
            self.samples.popleft()
        return True

    def work(self, what: str, total: float) -> Work:
        """Return how far the bar is; without a pace the time left counts as 0."""
        first, before = self.samples[0]
        now, count = self.samples[-1]
        missing = max(0.0, total - count)
        left = 0.0
        if count > before:
            left = missing * (now - first) / (count - before)
        fraction = min(1.0, count / total)
        return Work(what, now - self.started, fraction, left, time.time())


class Report:
    """The file in which a kernel tells how far the notebook's bars are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # bars may move in several threads
        self._bars: dict[str, Work] = {}
        self._counts: dict[str, int] = {}

    def new(self, what: str) -> str:
        """Return a name for a new bar: ``what``, with a number from the second time on."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            number = self._counts[what]
        return what if number == 1 else f"{what} {number}"

    def tell(self, work: Work) -> None:
        """Write the file again with the news of one bar."""
        with self._lock:
            self._bars[work.what] = work
            unfinished = self._path.with_name(f".{self._path.stem}.{os.getpid()}.part.json")
            bars = [asdict(bar) for bar in self._bars.values()]
            with suppress(OSError):  # on a full disk the writers of results raise the error
                unfinished.write_text(json.dumps(bars))
                os.replace(unfinished, self._path)


@cache
def _report_to(path: str) -> Report:
    return Report(Path(path))


def work_file(run: str) -> Path:
    """Return the file in which the kernel of a run's notebook tells how far the notebook is."""
    return run_dir(run) / "stages" / ".work.json"


def read_work(path: Path) -> list[Work]:
    """Return how far the bars of the running notebook are; an empty list if there are none yet."""
    try:
        return [Work(**bar) for bar in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):  # not there yet, or gone
        return []
