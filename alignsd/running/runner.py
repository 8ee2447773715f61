"""Run the notebooks of a run in order, each into an executed copy and a record of its making."""

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
    LOCATION,
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
    CONFIG,
    METRICS,
    PEAK_MEMORY,
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


@dataclass(frozen=True)
class _Context:
    """What the tasks of one plan share.

    Attributes:
        preset: the preset the values come from.
        lineage: the run, its parent, its parent's parent and so on.
        offers: the parameters that each notebook offers.
        values: the parameters of all notebooks.
        force: whether finished notebooks run too.
    """

    preset: str
    lineage: list[str]
    offers: Offers
    values: dict[str, dict[str, Value]]
    force: bool

    @property
    def run(self) -> str:
        return self.lineage[0]


def prepare(
    preset: str | None,
    run: str,
    only: Sequence[str] = (),
    start: str | None = None,
    settings: Sequence[str] = (),
    force: bool = False,
    parent: str = "",
) -> Plan:
    """Return what a run would do, without doing it.

    A finished notebook is left alone: its stage reported results, with the same settings, inputs
    and code, and its executed copy is there. Once one notebook runs, all chosen later ones run too.
    A stage that was made with other shipped models starts anew, and so do the later ones.

    A variation (a run with a parent) takes the parent's values, and then its own settings, which
    ``run.json`` remembers. A stage that no changed value touches is read from the parent.

    Args:
        preset: name or file of a preset; None takes the run's own, or its parent's.
        run: the run's name.
        only: names or numbers of the notebooks to choose; all if empty.
        start: leave out the notebooks before this one.
        settings: values such as ``"05.steps=200"``, see ``presets.resolve``.
        force: run finished notebooks too, and empty the folder of each first.
        parent: the run to vary; empty for a run of its own, or one that ``run.json`` knows already.

    Raises:
        Problem: for an unknown name, a value of the wrong kind, or (without ``force``) a stage's
            folder that was made with other settings or from other files of the reader's own.
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
    context = _Context(preset, lineage.lineage(run, parent), offers, values, force)
    tasks: list[Task] = []
    for name in _chosen(only, start):
        tasks.append(_task(name, context, before=tasks))
    return Plan(run, preset, parent, list(settings), tasks, values)


def _task(name: str, context: _Context, before: Sequence[Task]) -> Task:
    """Return one notebook's task; ``before`` are the tasks of the chosen earlier notebooks."""
    has_parent = len(context.lineage) > 1
    has_own_stage = (stage_dir(context.run, name) / CONFIG).exists()
    if has_parent and not has_own_stage and not context.force:
        return _inherited_task(name, context, before)
    todo, reason = (True, FORCED) if context.force else _state(name, context)
    afresh = reason in (FORCED, NEW_MODELS) or any(task.afresh for task in before)
    if not todo and any(task.todo for task in before):
        todo, reason = True, "an earlier notebook runs again"
    return _new_task(name, context, todo, reason, afresh=afresh)


def _inherited_task(name: str, context: _Context, before: Sequence[Task]) -> Task:
    """Return the task of a notebook whose stage a variation may read from its ancestors."""
    running = [task.name for task in before if task.todo]
    reason = _why_not_inherited(name, context, running)
    if reason:
        return _new_task(name, context, True, reason)
    holder = lineage.first_holder(context.lineage, name)
    return _new_task(name, context, False, f"unchanged: read from run {holder}", inherited=True)


def _new_task(
    name: str,
    context: _Context,
    todo: bool,
    reason: str,
    afresh: bool = False,
    inherited: bool = False,
) -> Task:
    return Task(
        name=name,
        preset=context.preset,
        run=context.run,
        offered=context.offers[name],
        values=context.values[name],
        todo=todo,
        reason=reason,
        afresh=afresh,
        inherited=inherited,
    )


def _why_not_inherited(name: str, context: _Context, running: Sequence[str]) -> str:
    """Return why a variation cannot read a stage from its ancestors, or an empty text."""
    holder = lineage.first_holder(context.lineage, name)
    if holder is None:
        return "not run yet"
    folder = stage_dir(holder, name)
    if not (folder / METRICS).exists():
        return f"not finished in run {holder}"
    config = config_of(folder, holder, name)
    known = config["inputs"]
    values = context.values[name]
    wanted = configuration(name, values, known | _digits(_present(known, values)))
    changed = [
        key for key, value in wanted["settings"].items() if config["settings"].get(key) != value
    ]
    if changed:
        return "other values: " + ", ".join(f"{key} = {values[key]!r}" for key in changed)
    if wanted["inputs"] != known:
        return "a file or a model of its own changed"
    touched = [need for need in known if need in running]
    if touched:
        return f"{touched[0]} runs again"
    other = _other_inputs(known, context.lineage)
    return f"its input {other[0]} is another" if other else ""


def _state(name: str, context: _Context) -> tuple[bool, str]:
    """Return whether a notebook has to run, and why.

    Raises:
        Problem: if the stage's folder was made with other settings or from other files.
    """
    run, values = context.run, context.values[name]
    folder, source = stage_dir(run, name), notebook_path(name)
    if not (folder / CONFIG).exists():
        return True, "not run yet"
    config = config_of(folder, run, name)
    known = config["inputs"]
    present = _present(known, values)
    models = [outside for outside in present if outside.kind is Kind.MODEL]
    if any(known[model.key] != model.digits for model in models):
        return True, NEW_MODELS
    finished = (folder / METRICS).exists()
    rechecked = [] if finished else config.get("rechecked", [])
    refuse_other(folder, configuration(name, values, known | _digits(present)), rechecked)
    if not finished:
        return True, "begun, not finished: goes on with what is there"
    record = read_record(run, name)
    if not (run_dir(run) / source.name).exists() or record is None:
        return True, "its executed copy or its record is missing"
    if record.get("code_sha256") != code_sha256(source):
        return True, "its code changed; --force would empty its folder first"
    if _other_inputs(known, lineage.lineage(run)):
        return True, "its inputs changed"
    if record.get("package_sha256") not in (None, package_sha256()):
        command = f"alignsd run --preset {context.preset} --run {run} --force {name[:2]}"
        pasted = commands.pasteable(command)
        return False, f"finished before the package changed; {pasted} redoes it"
    return False, "finished before"


def _present(known: Mapping[str, str], values: Mapping[str, Value]) -> list[OutsideInput]:
    """Return the outside files that a stage was made from, with their digits as they are now."""
    return [outside for outside in outside_inputs(values) if outside.key in known]


def _digits(inputs: Sequence[OutsideInput]) -> dict[str, str]:
    return {outside.key: outside.digits for outside in inputs}


def _other_inputs(known: Mapping[str, str], ancestors: Sequence[str]) -> list[str]:
    """Return the earlier stages whose state differs from the state that a stage was made from."""
    notebooks = notebook_names()
    return [
        need
        for need, state in known.items()
        if need in notebooks and _input(ancestors, need) != state
    ]


def _input(ancestors: Sequence[str], need: str) -> str | None:
    """Return the state of a finished stage in the nearest run that has begun it, or None."""
    holder = lineage.first_holder(ancestors, need)
    if holder is None or not (stage_dir(holder, need) / METRICS).exists():
        return None
    return input_state(holder, need)


def _values_of(run: str, preset: str, offers: Offers) -> dict[str, dict[str, Value]]:
    """Return the values that a run's stages were made with; else the values of its preset."""
    parent = lineage.parent_of(run)
    if parent:
        inherited = _values_of(parent, preset, offers)
        values = applied(lineage.settings_of(run), inherited, run, offers)
    else:
        values = resolve(preset, run, offers=offers)
    for name, own in values.items():
        folder = stage_dir(run, name)
        if (folder / CONFIG).exists():
            made_with = config_of(folder, run, name)["settings"]
        else:
            made_with = (read_record(run, name) or {}).get("parameters", {})
        for key, value in made_with.items():
            if key in own and key not in LOCATION:
                own[key] = value
    return values


def _chosen(only: Sequence[str], start: str | None) -> list[str]:
    """Return the names of the notebooks that are chosen, in order."""
    wanted = {notebook_path(name).stem for name in only} or set(notebook_names())
    first = notebook_path(start).stem if start else ""
    chosen = [name for name in notebook_names() if name in wanted and name >= first]
    if not chosen:
        raise Problem(
            "No notebook is chosen.",
            expected="at least one notebook",
            found=f"{', '.join(only)} from {start} on",
            cause="--from leaves out all that were named",
            fix="leave out --from, or name a later notebook",
        )
    return chosen


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
    _make_ready(task)
    started, clock = datetime.now(UTC), time.monotonic()
    package = package_sha256()
    bars = work_file(task.run)
    bars.unlink(missing_ok=True)
    environment = {FILE: str(bars), HEADLESS: "1"}
    try:
        execute(source, run_dir(task.run) / source.name, _changed_values(task), environment)
    except BaseException:
        sweep(folder)  # a kernel that was killed leaves its temporary files
        raise
    if not (folder / METRICS).exists():
        raise Problem(
            f"{task.name} ended without a result.",
            expected=shown(folder / METRICS),
            found="no such file",
            cause="the notebook's last code cell does not finish its stage",
            fix="end the notebook with stage.finish({...})",
        )
    record = {
        "notebook": task.name,
        "source_sha256": source_sha256(source),
        "code_sha256": code_sha256(source),
        "package_sha256": package,
        "preset": task.preset,
        "parameters": task.values,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "versions": versions(),
        PEAK_MEMORY: read_metrics(task.run, task.name)[PEAK_MEMORY],
        "state": input_state(task.run, task.name),
        "work": {bar.what: round(bar.seconds, 1) for bar in read_work(bars)},
    }
    bars.unlink(missing_ok=True)
    write_json(record_path(task.run, task.name), record)
    return record


def _make_ready(task: Task) -> None:
    """Delete what must not be there when a notebook starts, unless its stage is open elsewhere."""
    folder = stage_dir(task.run, task.name)
    writer = f"alignsd run --run {task.run}, notebook {task.name[:2]}"
    with locks.hold(locks.stage_lock(task.run, task.name), writer):
        if task.afresh and folder.exists():
            remove_folder(folder)
        # Until the notebook is finished again, so that a failure is not taken for a result.
        (folder / METRICS).unlink(missing_ok=True)
        sweep(folder)
        sweep(run_dir(task.run), deep=False)
        sweep(figures_dir(task.run))


def _changed_values(task: Task) -> dict[str, Value]:
    """Return the values that differ from the notebook's own."""
    changed = {}
    for name, value in task.values.items():
        if value != task.offered[name].default:
            changed[name] = value
    return changed


def note(plan: Plan) -> None:
    """Write ``run.json`` before the first notebook runs, so that a stopped run keeps its values."""
    variations.note_run(plan.run, plan.preset, plan.parent, plan.settings)


def leave(task: Task) -> None:
    """Bring the prose of a finished notebook's executed copy up to date with the source.

    The code of the two is the same.
    """
    from alignsd.running.execution import refresh_prose  # takes seconds: not for a plan

    if task.inherited:
        return
    source = notebook_path(task.name)
    record = read_record(task.run, task.name) or {}
    present = source_sha256(source)
    if record.get("source_sha256") != present:
        refresh_prose(source, run_dir(task.run) / source.name)
        write_json(record_path(task.run, task.name), record | {"source_sha256": present})


def clean(run: str, start: str | None = None) -> Iterator[Path]:
    """Delete the stages of a run from notebook ``start`` on and yield the folders deleted.

    The executed copies, the records and the figures stay until the next run replaces them.

    Raises:
        Problem: for an unknown notebook, a run that does not exist, or a run or a stage that
            another process is at work on.
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
