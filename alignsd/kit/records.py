"""Run records: how each executed notebook was made, and how long the execution takes."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignsd.base import reading
from alignsd.base.errors import Problem
from alignsd.base.paths import checked_run, run_dir, runs, shown
from alignsd.kit.values.notebook_files import notebook_names

RECORD = re.compile(r"[0-9]{2}_[a-z0-9_]+\.json")
LARGEST_RECORD = 2**24  # bytes; a record has 2,000


def record_path(run: str, name: str) -> Path:
    """Return where the record of a notebook in a run lies."""
    return run_dir(run) / f"{name}.json"


def read_record(run: str, name: str) -> dict[str, Any] | None:
    """Return the record of a notebook in a run, or None if there is no record.

    Raises:
        Problem: if the file is damaged, or is no record.
    """
    path = record_path(run, name)
    if not os.path.lexists(path):
        return None
    record = read_json(path)
    if not isinstance(record, dict):
        raise Problem(
            f"{shown(path)} is no record of a notebook.",
            expected='{"notebook": "02_train_hps", "preset": "mini", "seconds": 60.0, ...}',
            found=f"{type(record).__name__} {str(record)[:80]}",
            cause="an edit, or a file of the same name from elsewhere",
            fix=f"delete {shown(path)} and run its notebook again",
        )
    return record


def preset_of(run: str) -> str:
    """Return the preset that a run was last run with, or ``mini`` if no file of the run tells."""
    return noted_preset(run) or "mini"


def noted_preset(run: str) -> str:
    """Return the preset that a run was last run with, or an empty text if no file of it tells."""
    noted = [_read_or_none(run_dir(run) / "run.json"), *_records(run)]
    for record in noted:
        if record is not None and _is_name(record.get("preset")):
            return str(record["preset"])
    return ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file that the kit wrote.

    Raises:
        Problem: if the file is missing or damaged.
    """
    try:
        return reading.read_json(path, LARGEST_RECORD)
    except Problem as problem:
        damaged = os.path.isfile(path) and not isinstance(problem.__cause__, OSError)
        fix = problem.fix
        if damaged:
            fix = f"delete {shown(path)} and run its notebook again"
        elif isinstance(problem.__cause__, PermissionError):  # perhaps another user's file
            fix = f"as its owner: chmod u+r {shown(path)}; or choose another name for --run"
        raise Problem(
            f"{shown(path)} cannot be read.",
            expected="JSON",
            found=problem.found,
            cause="an edit, a merge, or a run that was cut off" if damaged else problem.cause,
            fix=fix,
        ) from problem


def expected_seconds(preset: str, run: str) -> dict[str, float]:
    """Return how long each notebook took: in this run before, or in another run of the preset.

    Files that cannot be read, or are no records of our notebooks, are left out.

    Returns:
        ``{notebook name: seconds}``, without the notebooks that no run of this preset has reached.
    """
    return {
        record["notebook"]: float(record["seconds"])
        for record in _records_of_preset(preset, run)
        if _is_duration(record.get("seconds"))
    }


def known_work(preset: str, run: str) -> dict[str, dict[str, float]]:
    """Return how long the bars of each notebook took: in this run before, or in another run.

    Returns:
        ``{notebook name: {what a bar counts: seconds}}``, as far as runs of this preset tell.
    """
    known = {}
    for record in _records_of_preset(preset, run):
        work = record.get("work")
        if isinstance(work, dict):
            durations = {what: float(s) for what, s in work.items() if _is_duration(s)}
            known[record["notebook"]] = durations
    return known


def _records_of_preset(preset: str, run: str) -> list[dict[str, Any]]:
    """Return the records that runs of a preset left, this run's own records last."""
    others = [name for name in _run_names() if name != run]
    records = [record for name in [*others, run] for record in _records(name)]
    return [record for record in records if record.get("preset") == preset]


def _run_names() -> list[str]:
    """Return the names of the runs, sorted; a folder whose name cannot name a run is no run."""
    try:
        names = sorted(entry.name for entry in os.scandir(runs()) if entry.is_dir())
    except OSError:  # nothing was run yet, or the folder belongs to another user
        return []
    return [name for name in names if _is_run(name)]


def _is_run(name: str) -> bool:
    try:
        return checked_run(name) == name
    except Problem:
        return False


def _records(run: str) -> Iterator[dict[str, Any]]:
    """Yield the readable records of a run, in the order of the notebooks.

    Only a file with exactly the name of one of our notebooks is a record.
    """
    for name in notebook_names() or _names_in(run):
        record = _read_or_none(record_path(run, name))
        if record is not None and record.get("notebook") == name:
            yield record


def _names_in(run: str) -> list[str]:
    """Return the names of a run's records where the notebooks themselves are not at hand."""
    try:
        names = sorted(os.listdir(run_dir(run)))
    except OSError:
        return []
    return [name.removesuffix(".json") for name in names if RECORD.fullmatch(name)]


def _read_or_none(path: Path) -> dict[str, Any] | None:
    """Return a record, or None if no record can be read."""
    if not os.path.isfile(path):
        return None
    try:
        record = reading.read_json(path, LARGEST_RECORD)
    except Problem:
        return None
    return record if isinstance(record, dict) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_duration(value: Any) -> bool:
    """Return whether a value is a number of seconds; a clock set back makes a negative number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < 2**53 and math.isfinite(value) and value >= 0
