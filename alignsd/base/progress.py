"""Progress: the bars in notebooks, and the line that a run prints with the time used and left."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alignsd.base.paths import run_dir

FILE = "ALIGNSD_PROGRESS"  # environment variable: file in which a kernel tells how far its bars are
DELAY = 2.0  # seconds before a bar is shown: short work shows none
SHORT = 10.0  # seconds; a notebook that takes less says nothing about the pace of the others
TRUSTED = 5.0  # seconds after which a bar's pace says something
WINDOW = 30.0  # seconds over which a bar's pace is measured, at least; else the later half
HEADLESS = 300.0  # seconds between two lines of a run that no terminal shows


@dataclass(frozen=True)
class Work:
    """How far one bar of a notebook is.

    Attributes:
        what: what is done, with a number if the notebook does the same several times.
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
    """Returns a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def track(
    iterable: Iterable[Any] | None = None,
    total: float | None = None,
    what: str = "working",
    unit: str = "item",
    initial: float = 0,
    scaled: bool = False,
    silent: bool = False,
) -> "Bar":
    """Return a progress bar, to iterate over or to ``update``.

    Work that takes under two seconds shows no bar.

    Args:
        iterable: what to iterate over; None for a bar that is moved by ``update(n)``.
        total: how many units there are; taken from ``iterable`` if it has a length.
        what: what is done, such as ``"drawing"``.
        unit: what is counted, such as ``"image"``.
        initial: units that were done before.
        scaled: write large numbers as 1.2k, 3.4M.
        silent: show nothing and tell nothing.
    """
    live = sys.stderr is not None and sys.stderr.isatty()
    return Bar(
        iterable,
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        unit_scale=scaled,
        delay=DELAY,
        mininterval=0.5 if live else 5.0,
        disable=silent,
    )


class Bar(tqdm):
    """A progress bar of tqdm that also tells the runner how far it is; see ``track``."""

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any):
        super().__init__(iterable, **options)
        self._pace = Pace(time.monotonic(), self.n)
        self._report: Report | None = None
        if os.environ.get(FILE) and self.total and not self.disable:
            self._report = _report_to(os.environ[FILE])
            self._key = self._report.new(self.desc)

    def __iter__(self) -> Iterator[Any]:
        """Yield the items and count each when the next one is asked for."""
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, n: float = 1) -> bool | None:
        """Count ``n`` more units."""
        shown = super().update(n)
        if self._report and self._pace.add(time.monotonic(), self.n, self.n >= self.total):
            self._report.tell(self._pace.work(self._key, self.total))
        return shown


class Pace:
    """The pace of one bar, from counts at moments at least a second apart."""

    def __init__(self, now: float, count: float):
        self.started = now
        self.samples = deque([(now, count)])

    def add(self, now: float, count: float, last: bool = False) -> bool:
        """Remember a count unless the former one is less than a second old.

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
        """Return how far the bar is; without a pace nothing is known to be left."""
        (first, before), (now, count) = self.samples[0], self.samples[-1]
        missing = max(0.0, total - count)
        left = missing * (now - first) / (count - before) if count > before else 0.0
        fraction = min(1.0, count / total)
        return Work(what, now - self.started, fraction, left, time.time())


class Report:
    """The file in which a kernel tells how far the bars of its notebook are."""

    def __init__(self, path: Path):
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
            part = self._path.with_name(f".{self._path.stem}.{os.getpid()}.part.json")
            with suppress(OSError):  # a full disk is told by what writes results
                part.write_text(json.dumps([asdict(bar) for bar in self._bars.values()]))
                os.replace(part, self._path)


@cache
def _report_to(path: str) -> Report:
    return Report(Path(path))


def work_file(run: str) -> Path:
    """Return the file in which the kernel of a run's notebook tells how far the notebook is."""
    return run_dir(run) / "stages" / ".work.json"


def read_work(path: Path) -> list[Work]:
    """Return how far the bars of the running notebook are; nothing if none has told yet."""
    try:
        return [Work(**bar) for bar in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):  # not there yet, or gone
        return []


class Progress:
    """The time that the notebooks of a run take: known before, corrected by this run's own pace.

    Args:
        names: the notebooks of the run, in order.
        todo: those of them that will be run.
        expected: seconds per notebook as far as known; without all of them no time left is told.
        known: per notebook the seconds that its bars took in an earlier run, as far as known.
        file: where the running kernel tells how far it is, see ``work_file``.
        now: returns the time in seconds.
    """

    def __init__(
        self,
        names: Sequence[str],
        todo: Sequence[str],
        expected: Mapping[str, float],
        known: Mapping[str, Mapping[str, float]] | None = None,
        file: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.names = list(names)
        self.todo = list(todo)
        self.expected = dict(expected)
        self.known = dict(known or {})
        self.file = file
        self.now = now
        self.width = max(map(len, self.names), default=0)
        self.used = 0.0  # seconds of the notebooks that are done
        self.planned = 0.0  # seconds expected for them

    def left(self, name: str, seconds: float = 0.0, bars: Sequence[Work] = ()) -> float | None:
        """Return the seconds left in the run, or None if they are not known.

        Args:
            name: the notebook that runs.
            seconds: how long the notebook has been running.
            bars: how far its bars are.
        """
        rest = self.todo[self.todo.index(name) :]
        if any(notebook not in self.expected for notebook in rest):
            return None
        whole = self._whole(name, seconds, bars)
        later = sum(self.expected[notebook] for notebook in rest[1:])
        used, planned = self.used, self.planned
        if self.expected[name] >= SHORT:
            used, planned = used + whole, planned + self.expected[name]
        pace = used / planned if planned > 0 else 1.0
        return max(0.0, whole - seconds) + pace * later

    def _whole(self, name: str, seconds: float, bars: Sequence[Work]) -> float:
        """Return the seconds that a running notebook takes in all."""
        pace = self.used / self.planned if self.planned > 0 else 1.0
        known = self.known.get(name, {})
        trusted = [bar for bar in bars if bar.left == 0 or bar.seconds > TRUSTED]
        compared = [bar for bar in trusted if known.get(bar.what, 0.0) >= 1]
        if compared:
            observed = sum(bar.seconds + bar.left for bar in compared)
            pace = observed / sum(known[bar.what] for bar in compared)
        longest = max((bar.left for bar in trusted), default=0.0)
        return max(pace * self.expected[name], seconds + longest)

    def done(self, name: str, seconds: float) -> float | None:
        """Take note that a notebook is done; return the seconds left, or None if not known."""
        if self.expected.get(name, 0.0) >= SHORT:
            self.used += seconds
            self.planned += self.expected[name]
        rest = self.todo[self.todo.index(name) + 1 :]
        if not rest:
            return 0.0
        return self.left(rest[0])

    def line(self, name: str, text: str) -> str:
        """Return the line about one notebook."""
        return f"[{self.names.index(name) + 1}/{len(self.names)}] {name:<{self.width}}  {text}"

    def skip(self, name: str, reason: str) -> None:
        """Print that a notebook is left alone."""
        _say(self.line(name, reason))

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Print a notebook's line while the block runs.

        The line comes every second on a terminal, else at start and end and every five minutes.
        """
        started, finished = self.now(), threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, started, finished), daemon=True)
        ticker.start()
        rest = ""
        outcome = "stopped after"
        try:
            yield
            outcome = "done in"
            left = self.done(name, self.now() - started)
            rest = f", {_about(left)} left" if left else ""
        finally:
            finished.set()
            ticker.join()
            seconds = self.now() - started
            _say(_overwrite(self.line(name, f"{outcome} {clock(seconds)}{rest}")))

    def _tick(self, name: str, started: float, finished: threading.Event) -> None:
        live = _is_terminal()
        while True:
            seconds = self.now() - started
            left = self.left(name, seconds, self._bars())
            rest = "" if left is None else f", {_about(left)} left in all"
            line = self.line(name, f"running {clock(seconds)}{rest}")
            _say(_overwrite(line), end="" if live else "\n")
            if finished.wait(1 if live else HEADLESS):
                return

    def _bars(self) -> list[Work]:
        """Return how far the bars of the running notebook are at this moment."""
        if self.file is None:
            return []
        now = time.time()
        bars = []
        for bar in read_work(self.file):
            age = min(max(0.0, now - bar.at), bar.left)
            bars.append(Work(bar.what, bar.seconds + age, bar.fraction, bar.left - age, bar.at))
        return bars


def _about(seconds: float) -> str:
    return f"about {clock(seconds)}"


def _say(text: str, end: str = "\n") -> None:
    with suppress(OSError, ValueError):  # a closed terminal or a full disk does not end the run
        print(text, end=end, flush=True)


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # no standard output, or a closed one
        return False


def _overwrite(line: str) -> str:
    return f"\r{line:<100}" if _is_terminal() else line
