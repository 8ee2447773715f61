"""Run records: how each executed notebook was made, and how long that takes."""

import json
from pathlib import Path
from typing import Any

from alignsd.atomic import write_json
from alignsd.errors import Problem
from alignsd.paths import run_dir, runs, shown


def record_path(run: str, name: str) -> Path:
    """Returns where the record of one notebook of a run lies."""
    return run_dir(run) / f"{name}.json"


def read_record(run: str, name: str) -> dict[str, Any] | None:
    """Returns the record of one notebook of a run, or None if there is none."""
    path = record_path(run, name)
    return read_json(path) if path.exists() else None


def note_preset(run: str, preset: str) -> None:
    """Notes in the run's folder which preset it is run with, before the first record exists."""
    write_json(run_dir(run) / "run.json", {"preset": preset})


def preset_of(run: str) -> str:
    """Returns the preset that a run was last run with, or ``mini`` if its notebooks were only run by hand."""
    noted = [run_dir(run) / "run.json", *sorted(run_dir(run).glob("[0-9][0-9]_*.json"))]
    return next((str(read_json(path)["preset"]) for path in noted if path.exists()), "mini")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        Problem: if it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{shown(path)} cannot be read.", expected="JSON", found=str(error),
                      cause="an edit, a merge, or a run that was cut off",
                      fix=f"delete {shown(path)} and run its notebook again") from error


def expected_seconds(preset: str, run: str) -> dict[str, float]:
    """Returns how long each notebook took: in this run before, or else in another run of the same preset.

    Returns:
        ``{notebook name: seconds}``, without the notebooks that no run of this preset has reached.
    """
    others = sorted(path for path in runs().glob("*/[0-9][0-9]_*.json") if path.parent.name != run)
    known = {}
    for path in [*others, *sorted(run_dir(run).glob("[0-9][0-9]_*.json"))]:
        record = read_json(path)
        if record["preset"] == preset:
            known[record["notebook"]] = float(record["seconds"])
    return known


def known_work(preset: str, run: str) -> dict[str, dict[str, float]]:
    """Return how long the bars of each notebook took: in this run before, or in another run.

    Returns:
        ``{notebook name: {what a bar counts: seconds}}``, as far as runs of this preset tell.
    """
    others = sorted(path for path in runs().glob("*/[0-9][0-9]_*.json") if path.parent.name != run)
    known = {}
    for path in [*others, *sorted(run_dir(run).glob("[0-9][0-9]_*.json"))]:
        record = read_json(path)
        if record["preset"] == preset and "work" in record:
            known[record["notebook"]] = {what: float(s) for what, s in record["work"].items()}
    return known
