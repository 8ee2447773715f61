"""Which notebooks a run executes, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignsd.base import commands
from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, stage_dir
from alignsd.kit import lineage, variations
from alignsd.kit.provenance import (
    LOCATION,
    Kind,
    OutsideInput,
    code_sha256,
    outside_inputs,
    package_sha256,
)
from alignsd.kit.records import preset_of, read_record
from alignsd.kit.stage_record import config_of, configuration, input_state, refuse_other
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, usual_names
from alignsd.kit.values.parameters import Parameter, Value
from alignsd.kit.values.presets import Offers, applied, read_offers, resolve

FORCED = "forced: its folder is emptied first"
NEW_MODELS = "the shipped models changed: its folder is emptied first"
BEGUN = "begun, not finished: goes on with what is there"


@dataclass(frozen=True)
class Request:
    """What the reader asks of a run.

    Attributes:
        run: the run's name.
        preset: name of a preset or path of a preset file; None takes the preset that the run or
            the run's parent was made with.
        only: names or numbers of the notebooks to choose; if empty, all notebooks but those in
            ``ON_REQUEST``.
        start: leave out the notebooks before this notebook.
        settings: values such as ``"05.steps=200"``, see ``presets.resolve``.
        force: run finished notebooks too, and empty the folder of each chosen stage first.
        parent: the run to vary; empty for a run without a parent, and for a variation that
            ``run.json`` knows already.
    """

    run: str
    preset: str | None = None
    only: Sequence[str] = ()
    start: str | None = None
    settings: Sequence[str] = ()
    force: bool = False
    parent: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether a notebook is run, and why.

    Attributes:
        todo: whether the notebook is run.
        reason: why, or why not, in a few words.
        afresh: whether the stage's folder is emptied first.
        inherited: whether the stage is read from the run that this run varies.
    """

    todo: bool
    reason: str
    afresh: bool = False
    inherited: bool = False


@dataclass(frozen=True)
class Task:
    """A notebook of a run, with parameters and the decision whether to run the notebook.

    Attributes:
        name: the notebook's name.
        preset: the preset that the values come from.
        run: the run's name.
        offered: the parameters that the notebook offers.
        values: the values of all the notebook's parameters.
        decision: whether the notebook is run, and why.
    """

    name: str
    preset: str
    run: str
    offered: Mapping[str, Parameter]
    values: dict[str, Value]
    decision: Decision

    @property
    def todo(self) -> bool:
        """Return whether the notebook is run."""
        return self.decision.todo

    @property
    def reason(self) -> str:
        """Return in a few words why the notebook is run or left alone."""
        return self.decision.reason


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        run: the run's name.
        preset: the preset that the values come from.
        parent: the run that this run varies; empty if there is none.
        settings: what a variation changes against the parent, such as ``["05.steps=200"]``.
        tasks: the chosen notebooks in order.
        values: the parameters of all notebooks, chosen or not.
    """

    run: str
    preset: str
    parent: str
    settings: list[str]
    tasks: list[Task]
    values: dict[str, dict[str, Value]]


def prepare(request: Request) -> Plan:
    """Return what a run would do; change nothing.

    A notebook is finished if the stage reported results, with the same settings, inputs and code,
    and the executed copy exists. A finished notebook is left alone. Once a notebook runs, all
    chosen later notebooks run too. If the shipped models changed since a stage was made, the stage
    starts anew, and so do the later stages.

    A variation (a run with a parent) takes the parent's values, and then the variation's settings,
    which ``run.json`` remembers. A stage that no changed value touches is read from the parent.

    Raises:
        Problem: for an unknown name, a value of the wrong kind, or (without ``force``) a stage's
            folder that was made with other settings or from other files of the reader's own.
    """
    run = request.run
    if request.parent:
        variations.check_parent(run, request.parent)
    parent = request.parent or lineage.parent_of(run)
    preset = request.preset
    if preset is None:
        preset = preset_of(run if lineage.read_run(run) else parent or run)
    offers = read_offers()
    settings = list(request.settings)
    if parent:
        settings = lineage.merged(lineage.settings_of(run), settings)
        values = applied(settings, values_of(parent, preset, offers), run, offers)
    else:
        values = resolve(preset, run, settings, offers)
    planner = _Planner(preset, lineage.lineage(run, parent), request.force)
    tasks: list[Task] = []
    for name in chosen(request.only, request.start):
        decision = planner.decide(name, values[name], tasks)
        tasks.append(Task(name, preset, run, offers[name], values[name], decision))
    return Plan(run, preset, parent, settings, tasks, values)


def chosen(only: Sequence[str], start: str | None) -> list[str]:
    """Return the names of the chosen notebooks in order, see ``Request``.

    Raises:
        Problem: for an unknown name, or if no notebook is chosen.
    """
    first = notebook_path(start).stem if start else ""
    usual = {*usual_names(), first}
    wanted = {notebook_path(name).stem for name in only} or usual
    names = [name for name in notebook_names() if name in wanted and name >= first]
    if not names:
        raise Problem(
            "No notebook is chosen.",
            expected="at least one notebook",
            found=f"{', '.join(only)} from {start} on",
            cause="--from leaves out all that were named",
            fix="leave out --from, or name a later notebook",
        )
    return names


def values_of(run: str, preset: str, offers: Offers) -> dict[str, dict[str, Value]]:
    """Return the values that a run's stages were made with.

    Where a stage was not made, the preset gives the values.
    """
    parent = lineage.parent_of(run)
    if parent:
        inherited = values_of(parent, preset, offers)
        values = applied(lineage.settings_of(run), inherited, run, offers)
    else:
        values = resolve(preset, run, offers=offers)
    for name, own in values.items():
        for key, value in _made_with(run, name).items():
            if key in own and key not in LOCATION:
                own[key] = value
    return values


def _made_with(run: str, name: str) -> dict[str, Value]:
    """Return the values that a stage was made with, as far as the stage's files tell."""
    if _config_file(run, name).exists():
        return config_of(stage_dir(run, name), run, name)["settings"]
    record = read_record(run, name) or {}
    return record.get("parameters", {})


def _config_file(run: str, name: str) -> Path:
    """Return the file that a stage writes at the beginning."""
    return stage_dir(run, name) / "config.json"


def _is_finished(run: str, name: str) -> bool:
    return (stage_dir(run, name) / "metrics.json").exists()


@dataclass(frozen=True)
class _Planner:
    """Decide for each notebook in turn whether a run executes the notebook.

    Attributes:
        preset: the preset that the values come from.
        line: the run, the run's parent, the parent's parent and so on.
        force: see ``Request``.
    """

    preset: str
    line: list[str]
    force: bool

    @property
    def run(self) -> str:
        """The name of the run."""
        return self.line[0]

    def decide(self, name: str, values: dict[str, Value], before: Sequence[Task]) -> Decision:
        """Return the decision about a notebook.

        Args:
            name: the notebook.
            values: the values of the notebook's parameters.
            before: the tasks of the chosen earlier notebooks.
        """
        is_variation = len(self.line) > 1
        if is_variation and not self.force and not _config_file(self.run, name).exists():
            return self._inherit(name, values, before)
        if self.force:
            decision = Decision(True, FORCED, afresh=True)
        else:
            decision = self._look(name, values)
        if any(task.decision.afresh for task in before):
            decision = replace(decision, afresh=True)
        if not decision.todo and any(task.todo for task in before):
            decision = replace(decision, todo=True, reason="an earlier notebook runs again")
        return decision

    def _inherit(self, name: str, values: dict[str, Value], before: Sequence[Task]) -> Decision:
        """Return the decision about a stage that a variation has not begun."""
        holders = [run for run in self.line if _config_file(run, name).exists()]
        if not holders:
            return Decision(True, "not run yet")
        holder = holders[0]
        if not _is_finished(holder, name):
            return Decision(True, f"not finished in run {holder}")
        config = config_of(stage_dir(holder, name), holder, name)
        running = [task.name for task in before if task.todo]
        reason = _changed_values(name, values, config) or self._changed_inputs(config, running)
        if reason:
            return Decision(True, reason)
        return Decision(False, f"unchanged: read from run {holder}", inherited=True)

    def _changed_inputs(self, config: Mapping[str, Any], running: Sequence[str]) -> str:
        """Return which of the stages that a stage was made from has changed; empty if none has."""
        for need in config["inputs"]:
            if need in running:
                return f"{need} runs again"
        other = self._other_stages(config["inputs"])
        return f"its input {other[0]} is another" if other else ""

    def _look(self, name: str, values: dict[str, Value]) -> Decision:
        """Return the decision about a stage from the stage's own files.

        Raises:
            Problem: if the stage's folder was made with other settings, or from other files of the
                reader's own.
        """
        if not _config_file(self.run, name).exists():
            return Decision(True, "not run yet")
        folder = stage_dir(self.run, name)
        config = config_of(folder, self.run, name)
        known = config["inputs"]
        present = _present(known, values)
        models = [outside for outside in present if outside.kind is Kind.MODEL]
        if any(known[model.key] != model.digits for model in models):
            return Decision(True, NEW_MODELS, afresh=True)
        finished = _is_finished(self.run, name)
        rechecked = [] if finished else config.get("rechecked", [])
        wanted = configuration(name, values, known | _digits(present))
        refuse_other(folder, wanted, rechecked)
        if not finished:
            return Decision(True, BEGUN)
        return self._look_at_finished(name, known)

    def _look_at_finished(self, name: str, known: Mapping[str, str]) -> Decision:
        """Return the decision about a finished stage, which was made from the inputs ``known``."""
        source = notebook_path(name)
        record = read_record(self.run, name)
        if record is None or not (run_dir(self.run) / source.name).exists():
            return Decision(True, "its executed copy or its record is missing")
        if record.get("code_sha256") != code_sha256(source):
            return Decision(True, "its code changed; --force would empty its folder first")
        if self._other_stages(known):
            return Decision(True, "its inputs changed")
        if record.get("package_sha256") in (None, package_sha256()):
            return Decision(False, "finished before")
        again = f"alignsd run --preset {self.preset} --run {self.run} --force {name[:2]}"
        command = commands.pasteable(again)
        return Decision(False, f"finished before the package changed; {command} redoes it")

    def _other_stages(self, known: Mapping[str, str]) -> list[str]:
        """Return the stages among known inputs whose state has changed."""
        names = notebook_names()
        stages = [need for need in known if need in names]
        return [need for need in stages if _state(self.line, need) != known[need]]


def _changed_values(name: str, values: dict[str, Value], config: Mapping[str, Any]) -> str:
    """Return which values or outside files of a stage have changed; empty if none have."""
    made_with = config["settings"]
    present = _digits(_present(config["inputs"], values))
    wanted = configuration(name, values, config["inputs"] | present)
    changed = []
    for key, value in wanted["settings"].items():
        if made_with.get(key) != value:
            changed.append(f"{key} = {values[key]!r}")
    if changed:
        return f"other values: {', '.join(changed)}"
    if wanted["inputs"] != config["inputs"]:
        return "a file or a model of its own changed"
    return ""


def _present(known: Mapping[str, str], values: dict[str, Value]) -> list[OutsideInput]:
    """Return the outside files that a stage was made from, in their present state."""
    return [outside for outside in outside_inputs(values) if outside.key in known]


def _digits(outside_files: Sequence[OutsideInput]) -> dict[str, str]:
    return {outside.key: outside.digits for outside in outside_files}


def _state(line: Sequence[str], need: str) -> str | None:
    """Return the state of a stage in a run or in the nearest ancestor that has begun the stage.

    Returns:
        The state, or None if the stage is not finished there.
    """
    holders = [run for run in line if _config_file(run, need).exists()]
    if not holders or not _is_finished(holders[0], need):
        return None
    return input_state(holders[0], need)
