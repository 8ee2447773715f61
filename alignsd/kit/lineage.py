"""Runs that inherit: a variation reads the finished stages of another run, the parent.

A run's ``run.json`` names the preset, and for a variation the parent and the values that were
changed against the parent. The parent's files are read in place, never copied and never changed.
"""

from collections.abc import Sequence
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, runs, shown, stage_dir
from alignsd.base.reading import read_json
from alignsd.kit.values.parameters import nearest
from alignsd.kit.values.presets import preset_names

NO_RUN: dict[str, Any] = {}


def read_run(run: str) -> dict[str, Any]:
    """Return what ``run.json`` of a run says, or an empty dictionary if there is no such file.

    Returns:
        ``preset`` (str), and for a variation ``parent`` (str), ``settings`` (list of
        ``"05.steps=200"``) and ``parent_stages`` (stage -> 16 digits of the state).

    Raises:
        Problem: if the file is damaged, or is no record of a run.
    """
    path = run_dir(run) / "run.json"
    if not path.exists():
        return NO_RUN
    record = read_json(path)
    if not _is_run_record(record):
        raise Problem(
            f"{shown(path)} is no record of a run.",
            expected='{"preset": "mini"}, and for a variation "parent" and "settings" as well',
            found=str(record)[:80],
            cause="an edit by hand, or a file of the same name from elsewhere",
            fix=f"mend the file, or delete the folder {shown(run_dir(run))} and run again",
        )
    return record


def _is_run_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    kinds = {"preset": str, "parent": str, "settings": list, "parent_stages": dict}
    for key, kind in kinds.items():
        if key in record and not isinstance(record[key], kind):
            return False
    return all(isinstance(setting, str) for setting in record.get("settings", []))


def parent_of(run: str) -> str:
    """Return the run that ``run`` is a variation of, or an empty text."""
    return str(read_run(run).get("parent", ""))


def settings_of(run: str) -> list[str]:
    """Return what a variation changes against the parent, such as ``["05.steps=200"]``."""
    return list(read_run(run).get("settings", []))


def lineage(run: str, parent: str = "") -> list[str]:
    """Return a run, the run's parent, the parent's parent and so on.

    Args:
        run: the run.
        parent: the run's parent, if ``run.json`` does not name the parent yet.

    Raises:
        Problem: if a run is an ancestor of the same run.
    """
    line = [run]
    above = parent or parent_of(run)
    while above:
        if above in line:
            record = shown(run_dir(line[-1]) / "run.json")
            raise Problem(
                f"Run {run!r} is its own parent.",
                expected="a parent that is another run",
                found=" -> ".join([*line, above]),
                cause="an edit of run.json, or --from-run with the run's own name",
                fix=f"choose another name for --run, or mend {record}",
            )
        line.append(above)
        above = parent_of(above)
    return line


def holder(run: str, stage: str) -> str:
    """Return the run that holds a stage: the nearest in the lineage that has begun the stage.

    Return the run itself if no run of the lineage has begun the stage.
    """
    return first_holder(lineage(run), stage) or run


def first_holder(line: Sequence[str], stage: str) -> str | None:
    """Return the first run of a lineage that has begun a stage, or None."""
    for run in line:
        if (stage_dir(run, stage) / "config.json").exists():
            return run
    return None


def runs_with(stage: str) -> list[str]:
    """Return the runs in which a stage is finished, ``mini`` first."""
    finished = runs().glob(f"*/stages/{stage}/metrics.json")
    names = sorted(path.parent.parent.parent.name for path in finished)
    return sorted(names, key=lambda name: name != "mini")


def finished_stages(run: str) -> list[str]:
    """Return the stages that are finished in a run's own folder, sorted."""
    finished = (run_dir(run) / "stages").glob("*/metrics.json")
    return [path.parent.name for path in sorted(finished)]


def check_run(run: str, purpose: str = "") -> None:
    """Do nothing if a run has a folder.

    Args:
        run: the run.
        purpose: what the run is needed for, such as ``" to start from"``.

    Raises:
        Problem: if there is no such folder. The message names the existing runs.
    """
    if run_dir(run).is_dir():
        return
    names = sorted(folder.name for folder in runs().glob("[!.]*/"))
    guess = nearest(run, names)
    preset = f"--preset {run}" if run in preset_names() else f"--run {run}"
    raise Problem(
        f"There is no run {run!r}{purpose}.",
        expected=f"a run in {runs()}: {', '.join(names[:20]) or 'there is none yet'}",
        found=run,
        cause="a misspelt name, a run that has not begun, or another ALIGNSD_OUTPUT",
        fix=f"did you mean {guess}?" if guess else f"make the run first: alignsd run {preset}",
    )


def merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return settings in which a later value of the same parameter replaces an earlier value."""
    values = {setting.partition("=")[0].strip(): setting for setting in [*old, *new]}
    return list(values.values())


def in_words(run: str) -> str:
    """Return in a few words what a run changes against the ancestors, or an empty text.

    An example is ``"mini with 04.alpha=3.0"``. A run without a parent changes nothing. Figures and
    scorecards of a variation carry these words.
    """
    line = lineage(run)
    if len(line) == 1:
        return ""
    settings: list[str] = []
    for name in reversed(line[:-1]):
        settings = merged(settings, settings_of(name))
    return f"{line[-1]} with {', '.join(settings)}" if settings else f"{line[-1]}, unchanged"
