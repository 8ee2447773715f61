"""Say what a run at full size takes: hours and disk space.

The amounts are counted from a preset (``work``, ``space``), the times are measured on this machine
(``throughput``).
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd import paper
from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.reading import read_json
from alignsd.kit.values.parameters import text, whole
from alignsd.planning import other_ways, throughput
from alignsd.planning.space import parts_at as parts_at
from alignsd.planning.space import parts_to_fetch, parts_to_score, space
from alignsd.planning.throughput import BATCHES, FIXED_BATCHES
from alignsd.planning.work import Values, count_work, estimate, total_hours
from alignsd.planning.work import is_full_size as is_full_size
from alignsd.select.fetch import PART_GIB

PARTS = paper.PARTS_OF_DIFFUSIONDB


def report(values: Values, parts: int, measured: pd.DataFrame, notebooks: Collection[str]) -> str:
    """Return what a preset takes, in words and tables: time by task, and space.

    Args:
        values, parts: as in ``work.count_work``.
        measured: from ``throughput.measure``.
        notebooks: the numbers of the notebooks that count.
    """
    work = count_work(values, parts)
    table = estimate(work[work["notebook"].isin(notebooks)], measured)
    lines = [
        measured.round(3).to_string(index=False),
        "",
        f"{parts:,} parts of DiffusionDB",
        table.round({"seconds": 3, "hours": 1}).to_string(index=False),
        f"in all {total_hours(table):,.1f} hours",
    ]
    if other_ways.NUMBER in notebooks:
        own = table[table["notebook"] == other_ways.NUMBER]
        lines.append(f"of these, notebook 10: {total_hours(own):,.1f} hours")
    for number, gib in space(values, parts).items():
        if number in notebooks:
            lines.append(f"{number} leaves {gib:,.1f} GiB")
    if "03" in notebooks:
        missing = parts_to_fetch(text(values["03"], "parts"), parts)
        gib = missing * PART_GIB["large"]
        lines.append(f"to fetch: {missing:,} parts of DiffusionDB, {gib:,.1f} GiB")
    return "\n".join(lines)


def parts_of(pictures: int) -> int:
    """Return how many parts of DiffusionDB hold so many pictures."""
    return math.ceil(pictures / paper.IMAGES_PER_PART)


def batches(values: Values, device: str, batch: int = 0) -> dict[str, int]:
    """Return task -> how many units at a time.

    Args:
        values: as in ``work.count_work``.
        device: ``"auto"`` or a torch device.
        batch: units of each task. 0 takes the notebooks' parameters on a GPU, and 1 on a CPU,
            where larger batches gain nothing.
    """
    if batch or throughput.device_name(device) == "CPU":
        return dict.fromkeys((*FIXED_BATCHES, *BATCHES), batch or 1)
    of_preset = {
        task: of_task.times * whole(values[of_task.notebook], of_task.parameter)
        for task, of_task in BATCHES.items()
        if of_task.notebook in values
    }
    return FIXED_BATCHES | of_preset


def measure(device: str, sizes: Mapping[str, int], notebooks: Collection[str]) -> pd.DataFrame:
    """Measure this machine, see ``throughput.measure``; tasks of notebook 10 if it counts.

    Args:
        device: ``"auto"`` or a torch device.
        sizes: from ``batches``.
        notebooks: the numbers of the notebooks that count.
    """
    counts = other_ways.NUMBER in notebooks
    further = [other_ways.pair_tasks, other_ways.reward_tasks] if counts else []
    return throughput.measure(device, sizes, further=further)


def before_a_run(values: Values, device: str, known: Path, notebooks: Collection[str]) -> str:
    """Say what notebooks at full size would take; measure each device and batch once.

    Args:
        values: as in ``work.count_work``.
        device: ``"auto"`` or a torch device.
        known: file in which the measurement is kept.
        notebooks: the numbers of the notebooks.

    Raises:
        Problem: if a model does not fit the device at the notebook's batch.
    """
    name = throughput.device_name(device)
    sizes = batches(values, device)
    needed = [*throughput.TASKS]
    if other_ways.NUMBER in notebooks:
        needed += throughput.OTHER_TASKS
    kept = _kept(known)
    with_batches = {row["task"]: row["batch"] for row in kept.get("measured", ())}
    if kept.get("device") != name or any(with_batches.get(t) != sizes.get(t, 1) for t in needed):
        print(f"measuring {name} with models of full size")
        measured = measure(device, sizes, notebooks).to_dict("records")
        kept = {"device": name, "measured": measured}
        write_json(known, kept)
    return report(values, parts_to_score(values), pd.DataFrame(kept["measured"]), notebooks)


def _kept(known: Path) -> dict[str, Any]:
    """Return a kept measurement, or nothing: a damaged measurement is made anew."""
    try:
        kept = read_json(known) if known.exists() else {}
    except (Problem, OSError):
        return {}
    rows = kept.get("measured") if isinstance(kept, dict) else None
    is_whole = isinstance(rows, list) and bool(rows) and all(_is_measured(row) for row in rows)
    return kept if is_whole else {}


def _is_measured(row: Any) -> bool:
    """Return whether a row holds a known task and numbers that a measurement can give."""
    known = (*throughput.TASKS, *throughput.OTHER_TASKS)
    if not isinstance(row, dict) or row.get("task") not in known:
        return False
    numbers = [row.get(name) for name in ("batch", "seconds", "gib")]
    return all(isinstance(number, (int, float)) and 0 <= number < 2**53 for number in numbers)
