"""How much of its pace each heavy stage of the miniature keeps beside other busy processes.

``python -m benchmarks.busy`` measures each stage alone, beside one, and beside four processes that
use one core each. On two cores a stage of two threads would get two thirds and two sixths of the
cores if the system shared them out evenly. The aim is 0.8 of that fair share.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from benchmarks.measure import announced, options, save, spread, table
from benchmarks.stages import STAGES, UNITS
from benchmarks.worker import AS_KERNELS, BY_DEFAULT, started

OTHERS = (0, 1, 4)  # busy processes beside the stage
QUICK_OTHERS = (0, 1)
AIM = 0.8  # of the fair share
REPEATS = 4
SECONDS = 2.0  # of each measuring
BUSY = """
import numpy
matrix = numpy.random.default_rng(0).random((256, 256))
print("busy", flush=True)
while True:
    matrix @ matrix
"""
SINGLE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
SETTINGS = {
    "the kit's kernels": AS_KERNELS,
    "OpenMP's default": BY_DEFAULT,
}
QUICK_SETTINGS = {"the kit's kernels": AS_KERNELS}
Settings = Mapping[str, Mapping[str, str | None]]
Paces = Mapping[tuple[str, str, int], Sequence[float]]  # setting, stage, others -> units/second


@contextmanager
def busy_processes(count: int) -> Iterator[list[int]]:
    """Keep ``count`` processes computing, each on one thread, and yield their ids."""
    with ExitStack() as stack:
        processes = [_busy(stack) for _ in range(count)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # the process computes
        yield [process.pid for process in processes]


def _busy(stack: ExitStack) -> subprocess.Popen[str]:
    """Start a busy process, which ends with the stack."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, env=os.environ | SINGLE
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def fair_share(others: int, threads: int) -> float:
    """Return the share of its quiet pace that a stage would keep if cores were shared evenly.

    Args:
        others: busy processes of one thread each, beside the stage.
        threads: of the stage, as many as there are cores.
    """
    return threads / (threads + others)


def measured(
    quick: bool, repeats: int, seconds: float, settings_by_name: Settings
) -> dict[tuple[str, str, int], list[float]]:
    """Measure every stage with every setting and load.

    Returns:
        ``(setting, stage, others)`` -> units per second, one number per repeat.
    """
    paces: dict[tuple[str, str, int], list[float]] = {}
    with ExitStack() as stack:
        workers = {}
        for name, settings in settings_by_name.items():
            with announced(f"preparing all stages with {name}"):
                worker = started("benchmarks.stages:paces", settings, here=quick, quick=quick)
            stack.callback(worker.close)
            workers[name] = worker
        for repeat in range(repeats):
            order = list(workers) if repeat % 2 == 0 else list(workers)[::-1]
            for others in QUICK_OTHERS if quick else OTHERS:
                with announced(f"repeat {repeat + 1}, {others} others"), busy_processes(others):
                    for stage in STAGES:
                        for name in order:
                            pace = workers[name](stage=stage, seconds=seconds)
                            paces.setdefault((name, stage, others), []).append(pace)
    return paces


def rows_of(paces: Paces, threads: int, settings: Settings) -> list[dict[str, Any]]:
    """Return a row per stage, setting and load: the pace, and its share of the fair share.

    Each repeat beside others is compared with the quiet measuring of the same repeat.
    """
    rows: list[dict[str, Any]] = []
    for (setting, stage, others), busy in paces.items():
        quiet = paces[setting, stage, 0]
        fair = fair_share(others, threads)
        kept = [pace / alone for pace, alone in zip(busy, quiet, strict=True)]
        pace, share = spread(busy), spread([share / fair for share in kept])
        rows.append(
            {
                "stage": stage,
                "setting": setting,
                "others": others,
                "unit": f"{UNITS[stage]} per second",
                "pace": pace.median,
                "pace_least": pace.least,
                "pace_most": pace.most,
                "of_fair_share": share.median,
                "of_fair_share_least": share.least,
                "of_fair_share_most": share.most,
            }
        )
    stages = list(STAGES)
    names = list(settings)
    rows.sort(key=lambda row: (stages.index(row["stage"]), names.index(row["setting"])))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results."""
    given = options(__doc__, arguments)
    repeats, seconds = (1, 0.05) if given.quick else (REPEATS, SECONDS)
    settings = QUICK_SETTINGS if given.quick else SETTINGS
    paces = measured(given.quick, repeats, seconds, settings)
    rows = rows_of(paces, torch.get_num_threads(), settings)
    print(table(rows))
    save("busy", rows, given.folder, aim=AIM, repeats=repeats, seconds=seconds)


if __name__ == "__main__":
    main()
