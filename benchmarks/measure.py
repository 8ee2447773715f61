"""What all benchmarks share: times of ways that take turns, ratios, tables and files of results."""

import argparse
import datetime
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from alignsd.base.atomic import write_json

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
QUICK_RESULTS = RESULTS / "quick"  # not kept: sizes too small to say anything
CPU_FILE = Path("/proc/cpuinfo")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Timing:
    """How long something took, several times.

    Attributes:
        seconds: of each repeat, in the order of the repeats.
    """

    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle of the seconds."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The shortest repeat, in seconds."""
        return min(self.seconds)

    @property
    def most(self) -> float:
        """The longest repeat, in seconds."""
        return max(self.seconds)


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several values."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest of several values."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(a: Timing, b: Timing) -> Spread:
    """Return how many times as long ``a`` took as ``b``, repeat by repeat.

    The two ways of a repeat run one after the other. So a change of the machine's pace between
    repeats leaves the ratios alone.
    """
    return spread([one / other for one, other in zip(a.seconds, b.seconds, strict=True)])


def alternating(
    ways: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Time several ways in turn, and return the timing of each way.

    Each other repeat takes the ways in the opposite order.

    Args:
        ways: what is timed, by name.
        repeats: how often each way is timed.
        warm_up: further repeats before, which are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(warm_up + repeats):
        names = list(ways) if repeat % 2 == 0 else list(ways)[::-1]
        for name in names:
            taken = seconds_of(ways[name])
            if repeat >= warm_up:
                seconds[name].append(taken)
    return {name: Timing(taken) for name, taken in seconds.items()}


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Options:
    """What the command line of a benchmark says.

    Attributes:
        quick: whether to take the smallest sizes, which show that the benchmark runs and no more.
        folder: where the results are written.
        others: options of this benchmark alone.
    """

    quick: bool
    folder: Path
    others: argparse.Namespace


def options(
    about: str | None,
    arguments: Sequence[str] | None = None,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Options:
    """Read a benchmark's command line.

    Args:
        about: the benchmark's docstring.
        arguments: what was typed; None for the arguments of this process.
        add: adds the options of this benchmark alone.
    """
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smallest sizes, in seconds")
    parser.add_argument("--results", type=Path, help="folder for the results")
    if add is not None:
        add(parser)
    given = parser.parse_args(arguments)
    folder = given.results or (QUICK_RESULTS if given.quick else RESULTS)
    return Options(given.quick, folder, given)


def machine() -> dict[str, Any]:
    """Return what this machine computes with, and how busy it is.

    ``load`` is the mean number of processes that wanted a core in the last minute, or None.
    """
    gpus = range(torch.cuda.device_count())
    return {
        "cpu": _cpu_model(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in gpus],
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    if not CPU_FILE.exists():
        return "unknown"
    lines = CPU_FILE.read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown"


def save(name: str, rows: Sequence[Row], folder: Path = RESULTS, **about: Any) -> Path:
    """Write a benchmark's results as ``<folder>/<name>.json``, and return the file's path.

    Args:
        name: of the benchmark.
        rows: what was measured, each row with the same keys.
        folder: where the file is written.
        about: anything else that a reader must know, such as sizes and how often was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    now = datetime.datetime.now(datetime.UTC)
    content = {
        "benchmark": name,
        "command": f"python -m benchmarks.{name} {shlex.join(sys.argv[1:])}".rstrip(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        **about,
        "rows": list(rows),
    }
    write_json(path, content)
    return path


def table(rows: Sequence[Row], decimals: int = 2) -> str:
    """Return rows as a table in text, a column per key."""
    frame = pd.DataFrame(list(rows))
    shown = frame.to_string(index=False, float_format=lambda value: f"{value:.{decimals}f}")
    return str(shown)


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say on standard error what is measured now, and afterwards how long the measuring took."""
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    started = time.perf_counter()
    yield
    print(f"{time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
