"""A stage: what a notebook reads, makes and leaves behind."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignsd.base import commands, processes
from alignsd.base.atomic import made, replacing, sweep, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import shown, stage_dir, user_path
from alignsd.kit import lineage, locks, variations
from alignsd.kit.provenance import LOCATION, own_inputs, versions
from alignsd.kit.records import noted_preset, preset_of
from alignsd.kit.stage_record import (
    CONFIG,
    DIGESTS,
    METRICS,
    PEAK_MEMORY,
    SECONDS,
    changed_tables,
    config_in_run,
    config_of,
    configuration,
    input_state,
    is_finished,
    keys_of,
    read_metrics,
    refuse_other,
    table_digests,
)
from alignsd.kit.surroundings import has_person, peak_memory_mib, release_memory, require_docstrings
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_parameters
from alignsd.kit.values.parameters import Value, checked, same
from alignsd.kit.values.presets import preset_names, values_to_take

# Set where `alignsd run` starts a kernel: a changed value is refused there, not varied.
HEADLESS = "ALIGNSD_HEADLESS"


@dataclass(frozen=True)
class Stage:
    """A notebook's folder and settings.

    Attributes:
        name: the notebook's name, such as ``02_train_hps``.
        run: the run that the stage belongs to; differs from parameter ``run`` in a variation.
        folder: ``papermill_runs/<run>/stages/<name>``.
        settings: the values of the parameters cell.
        needs: the stages that the notebook reads from.
        live: the notebook's variables, to notice a value that is changed after ``begin``.
        lock: the hold on the stage's folder, until ``finish``; None in all processes but the first.
        inputs: digits of the stages and outside files that the stage is made from.
        rechecked: parameters that may change before the stage is finished, see ``begin``.
        started: when the stage was begun, in seconds of a clock that never goes back.
        read: what ``input`` returned so far: path -> name, such as
            ``02_train_hps/accuracy.parquet``.
    """

    name: str
    run: str
    folder: Path
    settings: dict[str, Value]
    needs: tuple[str, ...] = ()
    live: Mapping[str, Any] = field(default_factory=dict, repr=False)
    lock: locks.Lock | None = field(default=None, repr=False)
    inputs: Mapping[str, str] = field(default_factory=dict, repr=False)
    rechecked: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)
    read: dict[Path, str] = field(default_factory=dict, repr=False)

    def path(self, *parts: str) -> Path:
        """Return a path in the stage's own folder; folders above the path are made.

        Raises:
            Problem: if a parameter was changed after ``begin``.
        """
        self._refuse_changed_values()
        path = self.folder.joinpath(*parts)
        made(path.parent)
        return path

    def input(self, stage: str, *parts: str, instead: str = "") -> Path:
        """Return a file or folder that an earlier stage left.

        The stage belongs to this run, or to the run that this run varies.

        Args:
            stage: the earlier stage.
            parts: path in the earlier stage's folder.
            instead: a file or folder of the reader's own to return instead, unless empty.

        Raises:
            Problem: if there is no such file or folder, a table was changed, or the stage was not
                named in ``begin(..., needs=[...])``.
        """
        name = "/".join(parts)
        if instead:
            path = _own_file(instead, f"what {stage} would leave in {name}")
            self.read[path] = shown(path)
        else:
            self._refuse_unnamed(stage)
            path = self._left_by(stage, name)
            self.read[path] = "/".join((stage, *parts))
        return path

    def _refuse_unnamed(self, stage: str) -> None:
        if stage not in self.needs:
            raise Problem(
                f"{self.name} reads from {stage} without saying so.",
                found=str(list(self.needs)),
                expected=f"{stage} among begin's needs",
                cause="a new input",
                fix=f"add {stage!r} to needs=[...]",
            )

    def _left_by(self, stage: str, name: str) -> Path:
        """Return an unchanged file or folder of an earlier stage."""
        folder = stage_dir(lineage.holder(self.run, stage), stage)
        command = f"alignsd run --preset {preset_of(self.run)} --run {self.run} --force {stage[:2]}"
        path = folder / name
        if not path.exists():
            raise Problem(
                f"{name} of {stage} is missing.",
                expected=shown(path),
                found="no such file or folder",
                cause="it was deleted, or another version of the notebook made the stage",
                fix=command,
                notebook=stage,
            )
        changed = changed_tables(folder, name)
        if changed:
            raise Problem(
                f"{changed[0]} of {stage} is not as {stage} left it.",
                expected="the file that the notebook wrote",
                found=f"{len(changed)} changed or deleted: {', '.join(changed[:3])}",
                cause="an edit by hand, a copy over it, or a failing disk",
                fix=f"{command} makes the stage anew",
            )
        return path

    def files_of(self, *paths: Path) -> list[str]:
        """Return the names of what ``input`` returned, for the origin of a figure.

        Args:
            paths: what ``input`` returned.

        Returns:
            Such as ``["02_train_hps/accuracy.parquet"]``. A file of the reader's own has the name
            that messages show.

        Raises:
            Problem: if a path is not from ``input``.
        """
        for path in paths:
            if path not in self.read:
                raise Problem(
                    f"{shown(path)} was not read from an earlier stage.",
                    expected=", ".join(self.read.values()) or "a path that stage.input returned",
                    found=shown(path),
                    cause="the path was made by hand",
                    fix=f"take the path from stage.input(...) in {self.name}",
                )
        return [self.read[path] for path in paths]

    def reused(self, name: str, fits: Callable[[Path], bool]) -> Path:
        """Return a working file of this stage, such as a checkpoint, that saves earlier work.

        A variation without the file gets a copy of the parent's file, if the parent's file fits.
        Then a changed value on which the work does not depend costs no work.

        Args:
            name: the file's name in the stage's folder.
            fits: whether a file was made from exactly what this stage would use. Outside files and
                earlier stages are compared here already.
        """
        own = self.path(name)
        if processes.is_first():
            self._copy_of_an_ancestor(own, name, fits)
        processes.wait()
        return own

    def _copy_of_an_ancestor(self, own: Path, name: str, fits: Callable[[Path], bool]) -> None:
        for ancestor in lineage.lineage(self.run)[1:]:
            if own.exists():
                break
            folder = stage_dir(ancestor, self.name)
            file = folder / name
            if file.is_file() and self._made_from_thesame(folder, ancestor) and fits(file):
                with replacing(own) as part:
                    shutil.copyfile(file, part)

    def _made_from_thesame(self, folder: Path, run: str) -> bool:
        """Return whether a folder was made from the stages and outside files of this stage."""
        inputs = config_of(folder, run, self.name)["inputs"]
        rechecked = keys_of(self.rechecked)
        return all(
            inputs.get(key) == digits for key, digits in self.inputs.items() if key not in rechecked
        )

    def recorded(self, stage: str, parameter: str, own: Value = "") -> Value:
        """Return the value of a parameter that an earlier stage was made with.

        The recorded value makes the two notebooks agree.

        Args:
            stage: the earlier stage, which ``needs`` holds.
            parameter: the parameter's name in the earlier stage.
            own: this notebook's value; empty, or the same as the recorded value.

        Raises:
            Problem: if the earlier stage has no such parameter, or this notebook's value differs
                from the recorded value.
        """
        settings = config_in_run(self.run, stage, self.name)["settings"]
        if parameter not in settings:
            raise Problem(
                f"{stage} did not record {parameter!r}.",
                expected=f"one of {', '.join(settings)}",
                found="no such parameter",
                cause=f"{stage} was made by another version of its notebook",
                fix=f"alignsd run --run {self.run} --force {stage[:2]}",
            )
        value = settings[parameter]
        if own not in ("", value):
            raise Problem(
                f"{parameter} of {self.name} differs from that of {stage}.",
                expected=f"{parameter} = {value!r}, with which {stage} was made, or an empty text",
                found=f"{parameter} = {own!r}",
                cause="the value was changed in one notebook and not in the other",
                fix=f'set {parameter} = "" in {self.name}, which takes the value of {stage}',
            )
        return value

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write ``metrics.json``, which makes the stage finished, and give back the hold.

        Of several processes the first writes, once all processes are here.

        Args:
            metrics: the results. ``seconds`` since ``begin`` and ``peak_memory_mib`` of the process
                are added; of several processes, the largest peak.

        Raises:
            Problem: if a parameter was changed after ``begin``, or a result is not a finite number,
                text, list or dictionary.
        """
        self._refuse_changed_values()
        seconds = round(time.monotonic() - self.started, 1)
        peak = max(processes.gathered([peak_memory_mib()]))
        measured = {SECONDS: seconds, PEAK_MEMORY: peak}
        if processes.is_first():
            write_json(self.folder / DIGESTS, table_digests(self.folder))
            write_json(self.folder / METRICS, {**metrics, **measured})
        processes.wait()
        if self.lock:
            self.lock.release()
        if _is_interactive():
            release_memory()  # the notebook stays open beside others

    def _refuse_changed_values(self) -> None:
        """Compare the notebook's present values with the values that the stage was begun with."""
        if not self.live:
            return
        changed = [
            name for name, value in self.settings.items() if not same(self.live.get(name), value)
        ]
        if changed:
            raise Problem(
                f"Parameters were changed after {self.name} had begun.",
                expected=", ".join(f"{name} = {self.settings[name]!r}" for name in changed),
                found=", ".join(f"{name} = {self.live.get(name)!r}" for name in changed),
                cause="the parameters cell ran again, but not the cell with begin(...) below it",
                fix="run the cell with begin(...) and all cells below it, or use Run All Cells",
            )


def begin(
    name: str,
    variables: MutableMapping[str, Any],
    needs: Sequence[str] = (),
    rechecked: Sequence[str] = (),
) -> Stage:
    """Open a notebook's stage; called in the first cell after the parameters cell.

    A stage that was made with other values is neither refused nor overwritten: the notebook becomes
    a variation, a separate run that reads the earlier stages of ``run``, and a sentence says so.
    Under ``alignsd run`` a notebook never becomes a variation: other values are refused. Where
    several processes run the notebook, the first opens the stage while the others wait.

    Where a person sits at the notebook and the run belongs to another preset than ``mini``, the
    parameters that still have the notebook's own default get the preset's values. ``run = "class"``
    is enough to work with preset ``class``.

    Args:
        name: the notebook's name without suffix.
        variables: the notebook's ``globals()``, which hold the parameters' values. The preset's
            values are written into ``variables``.
        needs: the stages that the notebook reads from, which must be finished.
        rechecked: parameters on which nothing depends that an unfinished stage keeps: their value
            and their file may change before the stage is finished.

    Raises:
        Problem: for a parameter of the wrong kind, a needed stage that is not finished, a folder
            that was made with other settings or from other inputs, or a stage that another process
            is at work on.
    """
    require_docstrings()
    commands.remember_notebook(name)
    settings = _settings(notebook_path(name), variables)
    if _is_interactive():
        values = _values_of_preset(name, settings)
        variables.update(values)
        settings |= values
    run = _run_to_use(name, settings)
    folder = stage_dir(run, name)
    lock = _lock(run, name) if processes.is_first() else None
    with ExitStack() as given_back_on_failure:
        if lock is not None:
            given_back_on_failure.enter_context(lock)
            sweep(folder)  # temporary files of a process that was killed
        inputs = {need: _checked_state(run, need, name) for need in needs} | own_inputs(settings)
        if lock is not None:
            _write_config(folder, configuration(name, settings, inputs), rechecked)
        processes.wait()
        given_back_on_failure.pop_all()
    return Stage(
        name=name,
        run=run,
        folder=folder,
        settings=settings,
        needs=tuple(needs),
        live=variables,
        lock=lock,
        inputs=inputs,
        rechecked=tuple(rechecked),
    )


def _lock(run: str, name: str) -> locks.Lock:
    """Return the hold on a stage's folder, which tells other writers who holds the folder."""
    writer = f"alignsd run --run {run}" if os.environ.get(HEADLESS) else "a notebook in JupyterLab"
    return locks.hold(locks.stage_lock(run, name), f"{writer}, notebook {name[:2]}")


def _is_interactive() -> bool:
    """Return whether a person runs the notebook cell by cell, not ``alignsd run`` or papermill."""
    return not os.environ.get(HEADLESS) and has_person()


def _values_of_preset(name: str, settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that the run's preset gives to parameters that the reader has not changed.

    A run of which nothing is known belongs to the preset of the same name, if there is one. Then
    the preset is noted. A preset in a file of the reader's own gives no values.

    Args:
        name: the notebook's name.
        settings: the values in the notebook.
    """
    run = str(settings["run"])
    noted = noted_preset(run)
    preset = noted or run
    if preset not in preset_names():
        return {}
    if not noted:
        variations.note_run(run, preset)
    values = values_to_take(preset, name, settings)
    if values:
        listed = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        print(f"Preset {preset}: {listed}.")
    return values


def _settings(path: Path, variables: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of a notebook's parameters, each checked."""
    offered = read_parameters(path)
    missing = [name for name in offered if name not in variables]
    if missing:
        raise Problem(
            f"{path.stem} was begun without its parameters.",
            expected="all names of the parameters cell",
            found="no " + ", ".join(missing),
            cause="the parameters cell was not run, or the notebook is unsaved",
            fix="run the notebook from the top and save it",
        )
    return {
        name: checked(parameter, variables[name], path.stem) for name, parameter in offered.items()
    }


def _run_to_use(name: str, settings: Mapping[str, Value]) -> str:
    """Return the run that a notebook works in: the run in ``settings``, or a variation."""
    run = str(settings["run"])
    changes = _changes(run, name, settings)
    if not changes:
        return run
    variation = variations.variation_name(run, name[:2], changes)
    note = variations.as_settings(name[:2], changes)
    variations.note_run(variation, preset_of(run), run, note)
    old = config_in_run(run, name, name)["settings"]
    differences = [f"{key} = {value!r} instead of {old[key]!r}" for key, value in changes.items()]
    print(
        f"This is a variation of run {run}: {', '.join(differences)}.\n"
        f"Run {run} stays as it is. The results of this notebook go to run {variation}.\n"
        f"To go on with them, set run = {variation!r} in the next notebook, "
        "or let all later notebooks follow:\n"
        f"    {commands.advice(f'alignsd run --run {variation}')}"
    )
    return variation


def _changes(run: str, name: str, settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that differ from the values that a stage was made with.

    In a kernel of ``alignsd run`` no value counts: a stage of other values is refused later.
    """
    folder = stage_dir(lineage.holder(run, name), name)
    if os.environ.get(HEADLESS) or not (folder / CONFIG).exists():
        return {}
    old = config_in_run(run, name, name)["settings"]
    changes = {}
    for key, value in settings.items():
        if key not in LOCATION and key in old and not same(old[key], value):
            changes[key] = value
    return changes


def _write_config(folder: Path, config: dict[str, Any], rechecked: Sequence[str]) -> None:
    """Write ``config.json`` of a stage that is not finished; refuse a folder made otherwise."""
    finished = (folder / METRICS).exists()
    known = (folder / CONFIG).exists()
    if known:
        refuse_other(folder, config, () if finished else rechecked)
    if not finished or not known:
        about = {"rechecked": list(rechecked), "versions": versions()}
        write_json(folder / CONFIG, config | about)


def _checked_state(run: str, need: str, stage: str) -> str:
    """Return the state of a needed stage.

    Raises:
        Problem: if the needed stage is not finished, or was not made from the present earlier
            stages.
    """
    read_metrics(run, need, reader=stage)
    inputs = config_in_run(run, need, stage)["inputs"]
    for earlier, state in inputs.items():
        if earlier not in notebook_names() or not is_finished(run, earlier):
            continue
        if _checked_state(run, earlier, need) != state:
            raise Problem(
                f"Stage {need} does not belong to the present stage {earlier} of run {run!r}.",
                expected=f"{need} made from {earlier} as it is now",
                found="another state of its input",
                cause=f"{earlier} was run again or varied, and {need} was not run since",
                fix=f"alignsd run --preset {preset_of(run)} --run {run} --from {need[:2]}",
                notebook=need,
            )
    return input_state(run, need)


def _own_file(named: str, expected: str) -> Path:
    """Return a file or folder of the reader's own.

    Raises:
        Problem: if there is no such file or folder.
    """
    path = user_path(named)
    if not path.exists():
        raise Problem(
            f"{named} is missing.",
            expected=expected,
            found="no such file or folder",
            cause="a wrong path, or it was not downloaded yet",
            fix="docs/data.md says how to get it; a path is relative to the repository",
        )
    return path
