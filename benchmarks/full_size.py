"""Time full-size models of random weights against the machine's own matrix-product rate.

``python -m benchmarks.full_size [--quick]``. The limit is the rate of large single-precision matrix
products on the same threads, measured before and after each model. A unit's operations are
counted by torch's flop counter.
"""

import sys
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from alignsd.planning.throughput import FEATURES, FRECHET, READ, all_tasks
from benchmarks.measure import Timing, announced, options, save, seconds_of, table

SIDE = 2048  # of the matrices
CPU = torch.device("cpu")
WITHOUT_A_MODEL = (READ, FRECHET)


def matrix_rate(side: int = SIDE, repeats: int = 5) -> float:
    """Return the fastest rate of a square matrix product, in GFLOP per second."""
    one, other = torch.rand(side, side), torch.rand(side, side)
    product = torch.empty(side, side)
    seconds = [seconds_of(lambda: torch.mm(one, other, out=product)) for _ in range(repeats)]
    return 2 * side**3 / min(seconds) / 1e9


def operations(work: Callable[[], object]) -> float:
    """Return the GFLOP of a unit; the call also warms up."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def measure(repeats: int, quick: bool = False) -> list[dict[str, object]]:
    """Return a row per model: operations, seconds, rate and share of the limit.

    Args:
        repeats: how often each unit is timed, after one call that warms up.
        quick: measure the smallest model alone.
    """
    rows: list[dict[str, object]] = []
    for task, work in all_tasks(CPU, {}):
        if task in WITHOUT_A_MODEL or (quick and task != FEATURES):
            continue
        with announced(task):
            gflop = operations(work)
            before = matrix_rate()
            timing = Timing([seconds_of(work) for _ in range(repeats)])
            limit = max(before, matrix_rate())
        rate = gflop / timing.median
        rows.append(
            {
                "model": task,
                "gflop": gflop,
                "seconds": timing.median,
                "least": timing.least,
                "most": timing.most,
                "gflop_per_s": rate,
                "limit_gflop_per_s": limit,
                "share": rate / limit,
            }
        )
        print(table(rows[-1:]), flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    given = options(__doc__, arguments)
    rows = measure(repeats=1, quick=True) if given.quick else measure(repeats=2)
    print(table(rows))
    print(save("full_size", rows, given.folder, matrix_side=SIDE), file=sys.stderr)


if __name__ == "__main__":
    main()
