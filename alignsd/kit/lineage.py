"""Runs that inherit: a variation reads the finished stages of its parent and makes only what a changed value touches.

A run's ``run.json`` names its preset, its parent and the values that were changed against the
parent. The parent's files are read where they lie. They are never copied and never changed.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, runs, shown, stage_dir
from alignsd.base.reading import read_json
from alignsd.kit.parameters import preset_names

LONGEST_NAME = 60  # characters of a variation's name; a longer one is cut and gets six digits
NO_RUN: dict[str, Any] = {}


def read_run(run: str) -> dict[str, Any]:
    """Return what ``run.json`` of a run says, or an empty dictionary if there is no such file.

    Returns:
        ``preset`` (str), and for a variation ``parent`` (str), ``settings`` (list of
        ``"05.steps=200"``) and ``parent_stages`` (stage -> 16 digits of its state).

    Raises:
        Problem: if the file is damaged, or is no record of a run.
    """
    path = run_dir(run) / "run.json"
    if not path.exists():
        return NO_RUN
    record = read_json(path)
    kinds = {"preset": str, "parent": str, "settings": list, "parent_stages": dict}
    wrong = not isinstance(record, dict) or any(
        key in record and not isinstance(record[key], kind) for key, kind in kinds.items()
    )
    if wrong or not all(isinstance(setting, str) for setting in record.get("settings", [])):
        raise Problem(
            f"{shown(path)} is no record of a run.",
            expected='{"preset": "mini"}, and for a variation "parent" and "settings" as well',
            found=str(record)[:80],
            cause="an edit by hand, or a file of the same name from elsewhere",
            fix=f"mend the file, or delete the folder {shown(run_dir(run))} and run again",
        )
    return record


def note_run(run: str, preset: str, parent: str = "", settings: Sequence[str] = ()) -> None:
    """Write ``run.json``: the preset, and for a variation its parent, its changes and the parent's stages.

    Args:
        run: the run.
        preset: the preset that the run's values come from.
        parent: the run that this one is a variation of; empty if there is none.
        settings: values that differ from the parent's, such as ``"05.steps=200"``.
    """
    record: dict[str, Any] = {"preset": preset}
    if parent:
        record |= {"parent": parent, "settings": list(settings), "parent_stages": _states(parent)}
    path = run_dir(run) / "run.json"
    if not path.exists() or read_json(path) != record:
        write_json(path, record)


def parent_of(run: str) -> str:
    """Return the run that ``run`` is a variation of, or an empty text."""
    return str(read_run(run).get("parent", ""))


def settings_of(run: str) -> list[str]:
    """Return the values that a variation changes against its parent, such as ``"05.steps=200"``."""
    return list(read_run(run).get("settings", []))


def lineage(run: str, parent: str = "") -> list[str]:
    """Return a run, its parent, its parent's parent and so on.

    Args:
        run: the run.
        parent: its parent, if ``run.json`` does not say so yet.

    Raises:
        Problem: if a run is its own ancestor.
    """
    line = [run]
    above = parent or parent_of(run)
    while above:
        if above in line:
            raise Problem(
                f"Run {run!r} is its own parent.",
                expected="a parent that is another run",
                found=" -> ".join([*line, above]),
                cause="an edit of run.json, or --from-run with the run's own name",
                fix=f"choose another name for --run, or mend {shown(run_dir(line[-1]) / 'run.json')}",
            )
        line.append(above)
        above = parent_of(above)
    return line


def holder(run: str, stage: str) -> str:
    """Return the run that holds a stage: the run itself, or its nearest ancestor that has begun the stage."""
    holders = [name for name in lineage(run) if (stage_dir(name, stage) / "config.json").exists()]
    return holders[0] if holders else run


def runs_with(stage: str) -> list[str]:
    """Return the runs in which a stage is finished, ``mini`` first."""
    finished = runs().glob(f"*/stages/{stage}/metrics.json")
    names = sorted(path.parent.parent.parent.name for path in finished)
    return sorted(names, key=lambda name: name != "mini")


def check_run(run: str, purpose: str = "") -> None:
    """Do nothing if there is a folder of a run.

    Args:
        run: the run.
        purpose: what the run is needed for, such as ``" to start from"``.

    Raises:
        Problem: if there is no such folder. The message names the runs that there are.
    """
    if run_dir(run).is_dir():
        return
    names = sorted(folder.name for folder in runs().glob("[!.]*/"))
    guess = next(iter(difflib.get_close_matches(run, names, n=1)), None)
    preset = f"--preset {run}" if run in preset_names() else f"--run {run}"
    raise Problem(
        f"There is no run {run!r}{purpose}.",
        expected=f"a run in {runs()}: {', '.join(names[:20]) or 'there is none yet'}",
        found=run,
        cause="a misspelt name, a run that has not begun, or another ALIGNSD_OUTPUT",
        fix=f"did you mean {guess}?" if guess else f"make the run first: alignsd run {preset}",
    )


def check_parent(run: str, parent: str) -> None:
    """Do nothing if a run can be a variation of another.

    Raises:
        Problem: if the parent does not exist, or the run has another parent or stages without one.
    """
    check_run(parent, " to start from")
    known = parent_of(run)
    begun = any((run_dir(run) / "stages").glob("*/config.json"))
    if known and known != parent:
        raise Problem(
            f"Run {run!r} is a variation of another run.",
            expected=f"--from-run {known}",
            found=f"--from-run {parent}",
            cause="a run has one parent, which it keeps",
            fix="choose another name for --run",
        )
    if begun and not known:
        raise Problem(
            f"Run {run!r} exists already, without a parent.",
            expected="a new name, or a run that was begun with --from-run",
            found=f"stages in {shown(run_dir(run))}",
            cause="the name was used before",
            fix="choose another name for --run",
        )
    lineage(run, parent)


def as_settings(number: str, changes: Mapping[str, Any]) -> list[str]:
    """Return changed values of one notebook as ``--set`` writes them, such as ``["04.alpha=3.0"]``."""
    return [f"{number}.{name}={value!r}" for name, value in changes.items()]


def merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return settings in which a later value of the same parameter replaces an earlier one."""
    values = {setting.partition("=")[0].strip(): setting for setting in [*old, *new]}
    return list(values.values())


def variation_name(run: str, number: str, changes: Mapping[str, Any]) -> str:
    """Return a run name that tells a variation: run, notebook, changed parameters and their values.

    The same changes give the same name. ``mini`` with ``alpha = 3.0`` in notebook 04 becomes
    ``mini-04-alpha-3.0``.
    """
    words = [run, number]
    for name, value in changes.items():
        words += [name, str(value)]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-.")
    exact = "-".join([run, number, *as_settings(number, changes)])
    plain = all(isinstance(v, (bool, int, float)) or re.fullmatch(r"[A-Za-z0-9._]+", str(v))
                for v in changes.values())
    if plain and len(text) <= LONGEST_NAME:
        return text
    digits = hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{text[:LONGEST_NAME - 7].rstrip('-.')}-{digits}"


def told(run: str) -> str:
    """Return in a few words what a run changes against its ancestors; empty for a run without a parent.

    Such as ``"mini with 04.alpha=3.0"``. Figures and scorecards of a variation carry these words.
    """
    line = lineage(run)
    if len(line) == 1:
        return ""
    settings: list[str] = []
    for name in reversed(line[:-1]):
        settings = merged(settings, settings_of(name))
    return f"{line[-1]} with {', '.join(settings)}" if settings else f"{line[-1]}, unchanged"


def _states(parent: str) -> dict[str, str]:
    """Return the state of every finished stage that a variation of ``parent`` can read."""
    from alignsd.kit.stage import input_state  # stage imports this module

    states = {}
    for run in reversed(lineage(parent)):
        for metrics in sorted((run_dir(run) / "stages").glob("*/metrics.json")):
            states[metrics.parent.name] = input_state(run, metrics.parent.name)
    return states
