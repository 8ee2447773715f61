"""Runs the notebooks of a run in order, each into an executed copy and a record of how it was made."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignsd import locks
from alignsd.atomic import sweep, write_json
from alignsd.errors import Problem
from alignsd.inputs import MODEL, own_inputs
from alignsd.parameters import Value, notebook_names, notebook_path, read_parameters, resolve
from alignsd.paths import figures_dir, run_dir, shown, stage_dir
from alignsd.progress import FILE, read_work, work_file
from alignsd.records import note_preset, read_json, read_record, record_path
from alignsd.stage import (
    code_sha256,
    configuration,
    input_state,
    package_sha256,
    read_metrics,
    refuse_other,
    source_sha256,
    versions,
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
        values: all its parameters, resolved.
        todo: whether it is run.
        reason: why, or why not, in a few words.
        afresh: whether its stage's folder is emptied first.
    """

    name: str
    preset: str
    run: str
    values: dict[str, Value]
    todo: bool
    reason: str
    afresh: bool = False


def plan(preset: str, run: str, only: Sequence[str] = (), start: str | None = None, settings: Sequence[str] = (),
         force: bool = False) -> list[Task]:
    """Returns what a run would do, notebook by notebook, without doing it.

    A finished notebook is left alone: its stage reported results, with the same settings, inputs and code, and its
    executed copy is there. Once one notebook runs, all chosen later ones run too. A stage that was made with other shipped
    models starts anew, and so do the later ones.

    Args:
        preset: name of a preset or path of a preset file.
        run: the run's name.
        only: names or numbers of the notebooks to choose; all if empty.
        start: leave out the notebooks before this one.
        settings: values such as ``"05.steps=200"``, see ``parameters.resolve``.
        force: run finished notebooks too, and empty the folder of each first.

    Raises:
        Problem: for an unknown name, a value of the wrong kind, or (without ``force``) a stage's folder that was made with
            other settings or from other files of the reader's own.
    """
    values = resolve(preset, run, settings)
    tasks: list[Task] = []
    for name in _chosen(only, start):
        todo, reason = (True, FORCED) if force else _state(name, preset, run, values[name])
        anew = reason in (FORCED, NEW_MODELS) or any(task.afresh for task in tasks)
        if not todo and any(task.todo for task in tasks):
            todo, reason = True, "an earlier notebook runs again"
        tasks.append(Task(name, preset, run, values[name], todo, reason, anew))
    return tasks


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
    from alignsd.execution import execute  # takes seconds: not for a plan

    source = notebook_path(task.name)
    folder = stage_dir(task.run, task.name)
    writer = f"alignsd run --run {task.run}, notebook {task.name[:2]}"
    with locks.hold(locks.stage_lock(task.run, task.name), writer):  # unless open elsewhere
        if task.afresh and folder.exists():
            shutil.rmtree(folder)
        # Until the notebook is finished again, so that a failure is not taken for a result.
        (folder / "metrics.json").unlink(missing_ok=True)
        sweep(folder)
        sweep(run_dir(task.run), deep=False)
        sweep(figures_dir(task.run))
    note_preset(task.run, task.preset)
    started, clock = datetime.now(UTC), time.monotonic()
    defaults = {p.name: p.default for p in read_parameters(source).values()}
    changed = {name: value for name, value in task.values.items() if value != defaults[name]}
    package = package_sha256()
    bars = work_file(task.run)
    bars.unlink(missing_ok=True)
    try:
        execute(source, run_dir(task.run) / source.name, changed, {FILE: str(bars)})
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


def leave(task: Task) -> None:
    """Brings the prose of a finished notebook's executed copy up to date with the source, whose code is unchanged."""
    from alignsd.execution import refresh_prose

    source, record = notebook_path(task.name), read_record(task.run, task.name)
    if record["source_sha256"] != source_sha256(source):
        refresh_prose(source, run_dir(task.run) / source.name)
        write_json(record_path(task.run, task.name), record | {"source_sha256": source_sha256(source)})


def clean(run: str, start: str | None = None) -> Iterator[Path]:
    """Deletes the stages of a run from notebook ``start`` on and yields the folders deleted.

    The executed copies, the records and the figures stay until the next run replaces them.

    Raises:
        Problem: for an unknown notebook, or a run that does not exist.
    """
    if not run_dir(run).is_dir():
        raise Problem(f"There is no run {run!r}.", expected="a folder in papermill_runs", found=shown(run_dir(run)),
                      cause="a misspelt name, or nothing was run yet", fix="ls papermill_runs")
    for name in _chosen((), start):
        if stage_dir(run, name).exists():
            shutil.rmtree(stage_dir(run, name))
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
    config = read_json(folder / "config.json")
    known = config["inputs"]
    present = {key: digits for key, digits in own_inputs(values).items() if key in known}
    if any(known[key] != digits for key, digits in present.items() if key.startswith(MODEL)):
        return True, NEW_MODELS
    refuse_other(folder, configuration(name, values, known | present))
    if not (folder / "metrics.json").exists():
        return True, "begun, not finished: goes on with what is there"
    record = read_record(run, name)
    if not (run_dir(run) / source.name).exists() or record is None:
        return True, "its executed copy or its record is missing"
    if record["code_sha256"] != code_sha256(source):
        return True, "its code changed; --force would empty its folder first"
    if any(_input(run, need) != state for need, state in known.items() if need in notebook_names()):
        return True, "its inputs changed"
    if record.get("package_sha256") not in (None, package_sha256()):
        return False, f"finished before the package changed; alignsd run --preset {preset} --run {run} --force {name[:2]} redoes it"
    return False, "finished before"


def _input(run: str, need: str) -> str | None:
    return input_state(run, need) if (stage_dir(run, need) / "metrics.json").exists() else None
