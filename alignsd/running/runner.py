"""Runs the notebooks of a run in order, each into an executed copy and a record of how it was made."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignsd.base import commands
from alignsd.base.atomic import remove_folder, sweep, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import figures_dir, run_dir, shown, stage_dir
from alignsd.base.progress import FILE, read_work, work_file
from alignsd.kit import lineage, locks, variations
from alignsd.kit.notebook_files import notebook_names, notebook_path
from alignsd.kit.parameters import Parameter, Value
from alignsd.kit.presets import Offers, applied, read_offers, resolve
from alignsd.kit.provenance import (
    PLACE,
    Kind,
    OutsideInput,
    code_sha256,
    outside_inputs,
    package_sha256,
    source_sha256,
    versions,
)
from alignsd.kit.records import preset_of, read_record, record_path
from alignsd.kit.stage import HEADLESS
from alignsd.kit.stage_record import (
    config_of,
    configuration,
    input_state,
    read_metrics,
    refuse_other,
)

FORCED = "forced: its folder is emptied first"
NEW_MODELS = "the shipped models changed: its folder is emptied first"


@dataclass(frozen=True)
class Task:
    """One notebook of a run: its parameters, and why it is run or left alone.

    Attributes:
        name: the notebook's name.
        preset: the preset the values come from.
        run: the run's name.
        offered: the parameters that the notebook offers.
        values: all its parameters, resolved.
        todo: whether it is run.
        reason: why, or why not, in a few words.
        afresh: whether its stage's folder is emptied first.
        inherited: whether its stage is read from the run that this run varies.
    """

    name: str
    preset: str
    run: str
    offered: Mapping[str, Parameter]
    values: dict[str, Value]
    todo: bool
    reason: str
    afresh: bool = False
    inherited: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        run: the run's name.
        preset: the preset the values come from.
        parent: the run that this run varies; empty if there is none.
        settings: what a variation changes against its parent, such as ``["05.steps=200"]``.
        tasks: the chosen notebooks in order.
        values: the parameters of all notebooks, the chosen ones or not.
    """

    run: str
    preset: str
    parent: str
    settings: list[str]
    tasks: list[Task]
    values: dict[str, dict[str, Value]]


def plan(preset: str, run: str, only: Sequence[str] = (), start: str | None = None, settings: Sequence[str] = (),
         force: bool = False, parent: str = "") -> list[Task]:
    """Return what a run would do, notebook by notebook, see ``prepare``."""
    return prepare(preset, run, only, start, settings, force, parent).tasks


def prepare(preset: str | None, run: str, only: Sequence[str] = (), start: str | None = None,
            settings: Sequence[str] = (), force: bool = False, parent: str = "") -> Plan:
    """Return what a run would do, without doing it.

    A finished notebook is left alone: its stage reported results, with the same settings, inputs and code, and its
    executed copy is there. Once one notebook runs, all chosen later ones run too. A stage that was made with other shipped
    models starts anew, and so do the later ones.

    A variation (a run with a parent) takes the parent's values, and then its own settings, which ``run.json`` remembers.
    A stage that no changed value touches is read from the parent.

    Args:
        preset: name of a preset or path of a preset file; None takes the run's own, or its parent's.
        run: the run's name.
        only: names or numbers of the notebooks to choose; all if empty.
        start: leave out the notebooks before this one.
        settings: values such as ``"05.steps=200"``, see ``parameters.resolve``.
        force: run finished notebooks too, and empty the folder of each first.
        parent: the run to vary; empty for a run of its own, or one that ``run.json`` knows already.

    Raises:
        Problem: for an unknown name, a value of the wrong kind, or (without ``force``) a stage's folder that was made with
            other settings or from other files of the reader's own.
    """
    if parent:
        variations.check_parent(run, parent)
    parent = parent or lineage.parent_of(run)
    if preset is None:
        preset = preset_of(run if lineage.read_run(run) else parent or run)
    offers = read_offers()
    if parent:
        settings = lineage.merged(lineage.settings_of(run), settings)
        values = applied(settings, _values_of(parent, preset, offers), run, offers)
    else:
        values = resolve(preset, run, settings, offers)
    line = lineage.lineage(run, parent)
    tasks: list[Task] = []
    for name in _chosen(only, start):
        task = _task(name, preset, line, offers[name], values[name], tasks, force)
        tasks.append(task)
    return Plan(run, preset, parent, list(settings), tasks, values)


def _task(
    name: str,
    preset: str,
    line: list[str],
    offered: Mapping[str, Parameter],
    values: dict[str, Value],
    before: list[Task],
    force: bool,
) -> Task:
    """Return one notebook's task; ``before`` are those of the chosen earlier notebooks."""
    run = line[0]
    held_by = [holder for holder in line if (stage_dir(holder, name) / "config.json").exists()]
    own_stage = stage_dir(run, name) / "config.json"
    if len(line) > 1 and not force and not own_stage.exists():
        running = [task.name for task in before if task.todo]
        reason = _why_not_inherited(name, line, held_by, values, running)
        words = reason or f"unchanged: read from run {held_by[0]}"
        return Task(name, preset, run, offered, values, todo=bool(reason), reason=words, inherited=not reason)
    todo, reason = (True, FORCED) if force else _state(name, preset, run, values)
    anew = reason in (FORCED, NEW_MODELS) or any(task.afresh for task in before)
    if not todo and any(task.todo for task in before):
        todo, reason = True, "an earlier notebook runs again"
    return Task(name, preset, run, offered, values, todo, reason, anew)


def _why_not_inherited(name: str, line: list[str], held_by: list[str], values: dict[str, Value],
                       running: list[str]) -> str:
    """Return why a variation cannot read a stage from its ancestors, or an empty text if it can."""
    if not held_by:
        return "not run yet"
    holder = held_by[0]
    folder = stage_dir(holder, name)
    if not (folder / "metrics.json").exists():
        return f"not finished in run {holder}"
    config = config_of(folder, holder, name)
    present = {outside.key: outside.digits for outside in _present(config["inputs"], values)}
    wanted = configuration(name, values, config["inputs"] | present)
    changed = [key for key, value in wanted["settings"].items() if config["settings"].get(key) != value]
    if changed:
        return "other values: " + ", ".join(f"{key} = {values[key]!r}" for key in changed)
    if wanted["inputs"] != config["inputs"]:
        return "a file or a model of its own changed"
    touched = [need for need in config["inputs"] if need in running]
    if touched:
        return f"{touched[0]} runs again"
    other = [need for need, state in config["inputs"].items() if need in notebook_names() and _input(line, need) != state]
    return f"its input {other[0]} is another" if other else ""


def _present(known: Mapping[str, str], values: dict[str, Value]) -> list[OutsideInput]:
    """Return the outside files that a stage was made from, with their digits as they are now."""
    return [outside for outside in outside_inputs(values) if outside.key in known]


def _values_of(run: str, preset: str, offers: Offers) -> dict[str, dict[str, Value]]:
    """Return the values that a run's stages were made with; where a stage was not made, the preset's."""
    parent = lineage.parent_of(run)
    if parent:
        inherited = _values_of(parent, preset, offers)
        values = applied(lineage.settings_of(run), inherited, run, offers)
    else:
        values = resolve(preset, run, offers=offers)
    for name, offered in values.items():
        record = read_record(run, name) or {}
        config = stage_dir(run, name) / "config.json"
        made_with = config_of(config.parent, run, name)["settings"] if config.exists() else record.get("parameters", {})
        offered.update({key: value for key, value in made_with.items() if key in offered and key not in PLACE})
    return values


def carry_out(task: Task) -> dict[str, Any]:
    """Run one notebook and return its record.

    The record and the executed copy lie in the run's folder afterwards.

    Raises:
        Stopped: if the notebook did not reach its end; what it made so far is kept as
            ``<name>.failed.ipynb``.
        Problem: if the notebook ended without ``stage.finish(...)``, or another process is at work
            in the run or in the notebook's stage.
        Interrupted: if a signal asked the program to end.
    """
    with locks.hold(locks.run_lock(task.run), f"alignsd run --run {task.run}"):
        return _carry_out(task)


def _carry_out(task: Task) -> dict[str, Any]:
    from alignsd.running.execution import execute  # takes seconds: not for a plan

    source = notebook_path(task.name)
    folder = stage_dir(task.run, task.name)
    writer = f"alignsd run --run {task.run}, notebook {task.name[:2]}"
    with locks.hold(locks.stage_lock(task.run, task.name), writer):  # unless open elsewhere
        if task.afresh and folder.exists():
            remove_folder(folder)
        # Until the notebook is finished again, so that a failure is not taken for a result.
        (folder / "metrics.json").unlink(missing_ok=True)
        sweep(folder)
        sweep(run_dir(task.run), deep=False)
        sweep(figures_dir(task.run))
    started, clock = datetime.now(UTC), time.monotonic()
    changed = {
        name: value for name, value in task.values.items() if value != task.offered[name].default
    }
    package = package_sha256()
    bars = work_file(task.run)
    bars.unlink(missing_ok=True)
    environment = {FILE: str(bars), HEADLESS: "1"}
    try:
        execute(source, run_dir(task.run) / source.name, changed, environment)
    except BaseException:
        sweep(folder)  # a kernel that was killed leaves its temporary files
        raise
    if not (folder / "metrics.json").exists():
        raise Problem(f"{task.name} ended without a result.", expected=shown(folder / "metrics.json"), found="no such file",
                      cause="the notebook's last code cell does not finish its stage",
                      fix="end the notebook with stage.finish({...})")
    record = {"notebook": task.name, "source_sha256": source_sha256(source), "code_sha256": code_sha256(source),
              "package_sha256": package, "preset": task.preset, "parameters": task.values, "started": started.isoformat(timespec="seconds"),
              "seconds": round(time.monotonic() - clock, 1), "versions": versions(),
              "peak_memory_mib": read_metrics(task.run, task.name)["peak_memory_mib"], "state": input_state(task.run, task.name),
              "work": {bar.what: round(bar.seconds, 1) for bar in read_work(bars)}}
    bars.unlink(missing_ok=True)
    write_json(record_path(task.run, task.name), record)
    return record


def note(plan: Plan) -> None:
    """Write the run's ``run.json`` before its first notebook runs, so that a stopped run goes on with the same values."""
    variations.note_run(plan.run, plan.preset, plan.parent, plan.settings)


def leave(task: Task) -> None:
    """Bring the prose of a finished notebook's executed copy up to date with the source, whose code is unchanged."""
    from alignsd.running.execution import refresh_prose

    if task.inherited:
        return
    source, record = notebook_path(task.name), read_record(task.run, task.name)
    if record.get("source_sha256") != source_sha256(source):
        refresh_prose(source, run_dir(task.run) / source.name)
        write_json(record_path(task.run, task.name), record | {"source_sha256": source_sha256(source)})


def clean(run: str, start: str | None = None) -> Iterator[Path]:
    """Delete the stages of a run from notebook ``start`` on and yield the folders deleted.

    The executed copies, the records and the figures stay until the next run replaces them.

    Raises:
        Problem: for an unknown notebook, a run that does not exist, or a run or a stage that another
            process is at work on.
    """
    lineage.check_run(run)
    writer = f"alignsd clean --run {run}"
    with locks.hold(locks.run_lock(run), writer):
        for name in _chosen((), start):
            if not stage_dir(run, name).exists():
                continue
            with locks.hold(locks.stage_lock(run, name), writer):
                remove_folder(stage_dir(run, name))
            yield stage_dir(run, name)


def _chosen(only: Sequence[str], start: str | None) -> list[str]:
    wanted = {notebook_path(name).stem for name in only} or set(notebook_names())
    first = notebook_path(start).stem if start else ""
    chosen = [name for name in notebook_names() if name in wanted and name >= first]
    if not chosen:
        raise Problem("No notebook is chosen.", expected="at least one notebook", found=f"{', '.join(only)} from {start} on",
                      cause="--from leaves out all that were named", fix="leave out --from, or name a later notebook")
    return chosen


def _state(name: str, preset: str, run: str, values: dict[str, Value]) -> tuple[bool, str]:
    """Whether a notebook has to run, and why; refuses a folder made with other settings before anything is run."""
    folder, source = stage_dir(run, name), notebook_path(name)
    if not (folder / "config.json").exists():
        return True, "not run yet"
    config = config_of(folder, run, name)
    known = config["inputs"]
    present = _present(known, values)
    models = [outside for outside in present if outside.kind is Kind.MODEL]
    if any(known[model.key] != model.digits for model in models):
        return True, NEW_MODELS
    finished = (folder / "metrics.json").exists()
    rechecked = [] if finished else config.get("rechecked", [])
    now = {outside.key: outside.digits for outside in present}
    refuse_other(folder, configuration(name, values, known | now), rechecked)
    if not finished:
        return True, "begun, not finished: goes on with what is there"
    record = read_record(run, name)
    if not (run_dir(run) / source.name).exists() or record is None:
        return True, "its executed copy or its record is missing"
    if record.get("code_sha256") != code_sha256(source):
        return True, "its code changed; --force would empty its folder first"
    line = lineage.lineage(run)
    if any(_input(line, need) != state for need, state in known.items() if need in notebook_names()):
        return True, "its inputs changed"
    if record.get("package_sha256") not in (None, package_sha256()):
        command = commands.pasteable(f"alignsd run --preset {preset} --run {run} --force {name[:2]}")
        return False, f"finished before the package changed; {command} redoes it"
    return False, "finished before"


def _input(line: list[str], need: str) -> str | None:
    """Return the state of a finished stage in a run or its nearest ancestor that has begun the stage, or None."""
    holders = [run for run in line if (stage_dir(run, need) / "config.json").exists()]
    if not holders or not (stage_dir(holders[0], need) / "metrics.json").exists():
        return None
    return input_state(holders[0], need)
