"""A stage: what one notebook reads, makes and leaves behind, with a record of what it was made with."""

import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from alignsd.base import commands
from alignsd.base.atomic import made, replacing, sweep, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import shown, stage_dir, user_path
from alignsd.base.reading import listed, read_json
from alignsd.kit import lineage, locks
from alignsd.kit.parameters import (
    Value,
    checked,
    notebook_names,
    notebook_path,
    read_cells,
    read_parameters,
)
from alignsd.kit.provenance import PLACE, own_inputs
from alignsd.kit.records import preset_of
from alignsd.kit.surroundings import require_docstrings

HEADLESS = "ALIGNSD_HEADLESS"  # set where `alignsd run` starts a kernel: a changed value is refused there, not varied
TABLES = (".parquet", ".json", ".jsonl")  # what a stage's record vouches for, by suffix
TABLES_RECORD = "tables.json"
RECORDS = ("config.json", "metrics.json", TABLES_RECORD)
try:
    import resource
except ImportError:  # Windows has no such module
    resource = None

PACKAGES = ("alignsd", "torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "open_clip_torch",
            "torchmetrics", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Stage:
    """One notebook's folder and settings.

    Attributes:
        name: the notebook's name, such as ``02_train_hps``.
        run: the run that the stage belongs to. A variation's run differs from the parameter ``run``.
        folder: ``papermill_runs/<run>/stages/<name>``.
        settings: the values of the parameters cell.
        needs: the stages it reads from.
        live: the notebook's variables, to notice a value that is changed after ``begin``.
        lock: the hold on the stage's folder, until ``finish``.
        inputs: digits of the stages and outside files that the stage is made from.
        rechecked: parameters that may change before the stage is finished, see ``begin``.
        read: what ``input`` returned so far, each path with its name, such as
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
        """Return a file or folder that an earlier stage left, in this run or in the run that it varies.

        Args:
            stage: the earlier stage.
            parts: path in its folder.
            instead: a file or folder of the reader's own that takes its place, unless empty.

        Raises:
            Problem: if it is not there, or the stage was not named in ``begin(..., needs=[...])``.
        """
        if instead:
            own = user_path(instead)
            if not own.exists():
                raise Problem(f"{instead} is missing.", expected=f"what {stage} would leave in {'/'.join(parts)}",
                              found="no such file or folder", cause="a wrong path, or it was not downloaded yet",
                              fix="docs/data.md says how to get it; a path is relative to the repository")
            self.read[own] = shown(own)
            return own
        if stage not in self.needs:
            raise Problem(f"{self.name} reads from {stage} without saying so.", found=str(list(self.needs)),
                          expected=f"{stage} among begin's needs", cause="a new input", fix=f"add {stage!r} to needs=[...]")
        path = stage_dir(lineage.holder(self.run, stage), stage).joinpath(*parts)
        command = f"alignsd run --preset {preset_of(self.run)} --run {self.run} --force {stage[:2]}"
        if not path.exists():
            raise Problem(f"{'/'.join(parts)} of {stage} is missing.", expected=shown(path), found="no such file or folder",
                          cause="it was deleted, or another version of the notebook made the stage",
                          fix=command, notebook=stage)
        changed = changed_tables(stage_dir(lineage.holder(self.run, stage), stage), "/".join(parts))
        if changed:
            raise Problem(
                f"{changed[0]} of {stage} is not as {stage} left it.",
                expected="the file that the notebook wrote",
                found=f"{len(changed)} changed or deleted: {', '.join(changed[:3])}",
                cause="an edit by hand, a copy over it, or a failing disk",
                fix=f"{command} makes the stage anew",
            )
        self.read[path] = "/".join((stage, *parts))
        return path

    def files_of(self, *paths: Path) -> list[str]:
        """Return the names of files and folders that ``input`` returned, for the origin of a figure.

        Args:
            paths: what ``input`` returned.

        Returns:
            Such as ``["02_train_hps/accuracy.parquet"]``. A file of the reader's own has the name
            that messages show.

        Raises:
            Problem: if ``input`` did not return one of the paths.
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
        """Return a working file of this stage, such as a checkpoint, that saves work which was done before.

        A variation that has no such file yet gets a copy of its parent's, if that file fits: then a
        changed value on which the work does not depend costs no work.

        Args:
            name: the file's name in the stage's folder.
            fits: whether a file was made from exactly what this stage would make it from. Outside
                files and earlier stages are compared here already.
        """
        own = self.path(name)
        for run in lineage.lineage(self.run)[1:]:
            folder = stage_dir(run, self.name)
            if own.exists() or not (folder / name).is_file() or not self._made_from_the_same(folder, run):
                continue
            if fits(folder / name):
                with replacing(own) as part:
                    shutil.copyfile(folder / name, part)
        return own

    def _made_from_the_same(self, folder: Path, run: str) -> bool:
        """Return whether a stage's folder was made from the stages and outside files that this stage is made from."""
        there = config_of(folder, run, self.name)["inputs"]
        return all(
            there.get(key) == digits
            for key, digits in self.inputs.items()
            if key.rpartition(" of ")[2] not in self.rechecked
        )

    def recorded(self, stage: str, parameter: str, own: Value = "") -> Value:
        """Return the value of a parameter that an earlier stage was made with, so that the two notebooks agree.

        Args:
            stage: the earlier stage, one of ``needs``.
            parameter: the parameter's name there.
            own: this notebook's value; empty, or the same as the recorded value.

        Raises:
            Problem: if the earlier stage has no such parameter, or this notebook's value differs from it.
        """
        settings = _config(self.run, stage, self.name)["settings"]
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
        """Write ``metrics.json``: the results, ``seconds`` since ``begin`` and ``peak_memory_mib`` of the process.

        Raises:
            Problem: if a parameter was changed after ``begin``, or a result is not a finite number, text,
                list or dictionary.
        """
        self._refuse_changed_values()
        cost = {"seconds": round(time.monotonic() - self.started, 1), "peak_memory_mib": peak_memory_mib()}
        write_json(self.folder / TABLES_RECORD, table_digests(self.folder))
        write_json(self.folder / "metrics.json", {**metrics, **cost})
        if self.lock:
            self.lock.release()

    def _refuse_changed_values(self) -> None:
        """Compare the notebook's present values with those that the stage was begun with."""
        changed = {
            name: self.live.get(name)
            for name, value in self.settings.items()
            if self.live and not _same(self.live.get(name), value)
        }
        if changed:
            raise Problem(
                f"Parameters were changed after {self.name} had begun.",
                expected=", ".join(f"{name} = {self.settings[name]!r}" for name in changed),
                found=", ".join(f"{name} = {value!r}" for name, value in changed.items()),
                cause="the parameters cell ran again, but not the cell with begin(...) below it",
                fix="run the cell with begin(...) and all cells below it, or use Run All Cells",
            )


def begin(name: str, variables: Mapping[str, Any], needs: Sequence[str] = (), rechecked: Sequence[str] = ()) -> Stage:
    """Open a notebook's stage; called in the first cell after the parameters cell.

    A stage that was made with other values is neither refused nor overwritten: the notebook becomes a
    variation, a run of its own that reads the earlier stages of ``run``, and a sentence says so. A run
    of ``alignsd run`` never becomes a variation by itself: it is refused.

    Args:
        name: the notebook's name without suffix.
        variables: the notebook's ``globals()``; the parameters' values are taken from it.
        needs: the stages it reads from, which must be finished.
        rechecked: parameters on which nothing depends that an unfinished stage keeps: their value and
            their file may change before the stage is finished.

    Raises:
        Problem: for a parameter of the wrong kind, a needed stage that is not finished, a folder that was made with
            other settings or from other inputs, or a stage that another process is at work on.
    """
    require_docstrings()
    commands.remember_notebook(name)
    path = notebook_path(name)
    settings = _settings(path, variables)
    run = _run_to_use(name, settings)
    folder = stage_dir(run, name)
    writer = f"alignsd run --run {run}" if os.environ.get(HEADLESS) else "a notebook in JupyterLab"
    lock = locks.hold(locks.stage_lock(run, name), f"{writer}, notebook {name[:2]}")
    with ExitStack() as given_back_on_failure:
        given_back_on_failure.enter_context(lock)
        sweep(folder)  # temporary files of a process that was killed
        inputs = {need: _input_state(run, need, name) for need in needs} | own_inputs(settings)
        config = configuration(name, settings, inputs)
        finished = (folder / "metrics.json").exists()
        if (folder / "config.json").exists():
            refuse_other(folder, config, () if finished else rechecked)
        if not finished or not (folder / "config.json").exists():
            about = {"rechecked": list(rechecked), "versions": versions()}
            write_json(folder / "config.json", config | about)
        given_back_on_failure.pop_all()
    return Stage(name, run, folder, settings, tuple(needs), variables, lock, inputs, tuple(rechecked))


def _run_to_use(name: str, settings: Mapping[str, Value]) -> str:
    """Return the run that a notebook works in: the one it names, or a variation if its values differ from what is there."""
    run = str(settings["run"])
    there = stage_dir(lineage.holder(run, name), name) / "config.json"
    if os.environ.get(HEADLESS) or not there.exists():
        return run
    old = _config(run, name, name)["settings"]
    changes = {k: v for k, v in settings.items() if k not in PLACE and k in old and not _same(old[k], v)}
    if not changes:
        return run
    variation = lineage.variation_name(run, name[:2], changes)
    lineage.note_run(variation, preset_of(run), run, lineage.as_settings(name[:2], changes))
    before = ", ".join(f"{k} = {v!r} instead of {old[k]!r}" for k, v in changes.items())
    print(f"This is a variation of run {run}: {before}.\n"
          f"Run {run} stays as it is. The results of this notebook go to run {variation}.\n"
          f"To go on with them, set run = {variation!r} in the next notebook, or let all later notebooks follow:\n"
          f"    {commands.advice(f'alignsd run --run {variation}')}")
    return variation


def read_metrics(run: str, stage: str) -> dict[str, Any]:
    """Returns what a finished stage reported.

    Raises:
        Problem: if the stage was not finished.
    """
    return _read(stage_dir(lineage.holder(run, stage), stage) / "metrics.json", run, stage, "this")


def is_finished(run: str, stage: str) -> bool:
    """Return whether a stage is finished, in the run itself or in the run that it varies."""
    return (stage_dir(lineage.holder(run, stage), stage) / "metrics.json").exists()


def configuration(name: str, settings: Mapping[str, Value], inputs: Mapping[str, str]) -> dict[str, Any]:
    """Returns a stage's identity: name, settings, inputs and the fingerprint over them (not over ``run`` and ``device``)."""
    made_with = {k: v for k, v in settings.items() if k not in PLACE}
    identity = {"stage": name, "settings": made_with, "inputs": dict(inputs)}
    return identity | {"fingerprint": _sha256(identity)}


def refuse_other(folder: Path, config: Mapping[str, Any], rechecked: Sequence[str] = ()) -> None:
    """Compare a stage's folder with the configuration it is about to be used with.

    Args:
        folder: the stage's folder.
        config: the configuration, from ``configuration``.
        rechecked: parameters whose value and file may differ, see ``begin``.

    Raises:
        Problem: if the folder was made with other settings or from other inputs; names what differs.
    """
    run, name = folder.parent.parent.name, folder.name
    there = config_of(folder, run, name)
    differing = _differences(there["settings"], config["settings"]) + _differences(there["inputs"], config["inputs"])
    differing = [row for row in differing if row[0].rpartition(" of ")[2] not in rechecked]
    if differing:
        raise Problem(f"{shown(folder)} was made with other settings or from other inputs.",
                      expected="; ".join(f"{key} = {new!r}" for key, _, new in differing),
                      found="; ".join(f"{key} = {old!r}" for key, old, _ in differing),
                      cause="a parameter or a file of yours was changed, or an earlier notebook ran again with another result",
                      fix=f"keep both: alignsd run --run NEW-NAME --from-run {run} with the same --set; or start over: "
                          f"alignsd clean --run {run} --from {name[:2]} (deletes the stages from {name[:2]} on)")


def input_state(run: str, stage: str) -> str:
    """Returns 16 digits that change when a finished stage's settings, inputs or reported results change.

    Results whose name speaks of seconds or memory do not count.
    """
    config = _config(run, stage, "a later notebook")
    results = {k: v for k, v in read_metrics(run, stage).items() if "second" not in k and "memory" not in k}
    return _sha256([config["fingerprint"], results])[:16]


def table_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each table and each record in a stage's folder, by its path there.

    Pictures, models and working files (checkpoints, latents) are not among them: to read a stage's
    pictures takes minutes at full size, and each picture is checked where it is opened.
    """
    tables = [file for file in listed(folder, *TABLES, deep=True) if file.parent != folder or file.name not in RECORDS]
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in tables}


def changed_tables(folder: Path, below: str = "") -> list[str]:
    """Return the tables of a finished stage that were changed or deleted since the stage was finished.

    Args:
        folder: the stage's folder.
        below: only this file, or the files below this folder; all if empty.
    """
    record = folder / TABLES_RECORD
    if not record.exists() or not (folder / "metrics.json").exists():
        return []
    digests = read_json(record)
    if not isinstance(digests, dict):
        return [TABLES_RECORD]
    asked = {name: digest for name, digest in digests.items() if not below or name == below or name.startswith(f"{below}/")}
    return [name for name, digest in asked.items() if not _is_unchanged(folder / name, digest)]


def _is_unchanged(file: Path, digest: str) -> bool:
    return file.is_file() and file_sha256(file) == digest


def file_sha256(path: Path | str) -> str:
    """Returns a file's SHA-256 as 64 hex digits, to compare with a published one; a path is relative to the repository."""
    with open(user_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_sha256(path: Path) -> str:
    """Returns the SHA-256 of a notebook's code cells: outputs, numbers and prose do not count."""
    return _sha256([cell["source"] for cell in read_cells(path) if cell["cell_type"] == "code"])


def source_sha256(path: Path) -> str:
    """Returns the SHA-256 of a notebook's cells, prose included: outputs and execution counts do not count."""
    return _sha256([[cell["cell_type"], cell["source"]] for cell in read_cells(path)])


def package_sha256() -> str:
    """Returns the SHA-256 of the package's code, all its modules."""
    folder = Path(__file__).parents[1]
    return _sha256([[path.relative_to(folder).as_posix(), file_sha256(path)] for path in sorted(folder.rglob("*.py"))])


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that can move a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def peak_memory_mib() -> int:
    """Return the most memory that this process has held so far, in MiB."""
    if resource is None:
        import psutil  # on Linux psutil needs the module resource itself

        memory = psutil.Process().memory_info()
        return round(getattr(memory, "peak_wset", memory.rss) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def _settings(path: Path, variables: Mapping[str, Any]) -> dict[str, Value]:
    parameters = read_parameters(path)
    missing = [name for name in parameters if name not in variables]
    if missing:
        raise Problem(f"{path.stem} was begun without its parameters.", expected="all names of the parameters cell",
                      found="no " + ", ".join(missing), cause="the parameters cell was not run, or the notebook is unsaved",
                      fix="run the notebook from the top and save it")
    return {name: checked(parameter, variables[name], path.stem) for name, parameter in parameters.items()}


def _input_state(run: str, need: str, stage: str) -> str:
    """Return the state of a needed stage, which must be finished and made from the present earlier stages."""
    _read(stage_dir(lineage.holder(run, need), need) / "metrics.json", run, need, stage)
    for earlier, state in _config(run, need, stage)["inputs"].items():
        if earlier in notebook_names() and is_finished(run, earlier) and _input_state(run, earlier, need) != state:
            command = f"alignsd run --preset {preset_of(run)} --run {run} --from {need[:2]}"
            raise Problem(f"Stage {need} does not belong to the present stage {earlier} of run {run!r}.",
                          expected=f"{need} made from {earlier} as it is now", found="another state of its input",
                          cause=f"{earlier} was run again or varied, and {need} was not run since",
                          fix=command, notebook=need)
    return input_state(run, need)


def _config(run: str, stage: str, reader: str) -> dict[str, Any]:
    """Return the configuration of a stage, in the run itself or in the run that it varies."""
    return config_of(stage_dir(lineage.holder(run, stage), stage), run, reader)


def config_of(folder: Path, run: str, reader: str) -> dict[str, Any]:
    """Return a stage's configuration from its folder.

    Args:
        folder: the stage's folder.
        run: the run whose command is named in a message.
        reader: what needs the stage.

    Raises:
        Problem: if ``config.json`` is missing, damaged or no configuration.
    """
    config = _read(folder / "config.json", run, folder.name, reader)
    kinds = {"settings": dict, "inputs": dict, "fingerprint": str}
    wrong = [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]
    if wrong:
        raise Problem(f"{shown(folder / 'config.json')} is no record of a stage.", expected="settings, inputs, fingerprint",
                      found="no " + ", ".join(wrong), cause="an edit by hand",
                      fix=f"alignsd clean --run {run} --from {folder.name[:2]}, then run again")
    return config


def _same(one: Any, other: Any) -> bool:
    """Return whether two values of a parameter are equal; a whole number equals the same fraction, True is not 1."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return one == other


def _read(path: Path, run: str, stage: str, reader: str) -> dict[str, Any]:
    command = f"alignsd run --preset {preset_of(run)} --run {run} {stage[:2]}"
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__} in place of names and values")
        return value
    except FileNotFoundError:
        raise Problem(f"Stage {stage} of run {run!r} is not finished, and {reader} needs it.", expected=shown(path),
                      found="no such file", cause=f"notebook {stage}.ipynb has not run to its end in this run",
                      fix=command + _or_a_parent(run, stage), notebook=stage) from None
    except (ValueError, RecursionError, OSError) as error:
        raise Problem(f"{shown(path)} is damaged.", expected="JSON", found=str(error), cause="an edit, or a full disk",
                      fix=f"alignsd clean --run {run} --from {stage[:2]}, then {command}") from error


def _or_a_parent(run: str, stage: str) -> str:
    """Return the advice to vary a run that has the stage, where a run without a parent lacks it; else an empty text."""
    others = [other for other in lineage.runs_with(stage) if other != run]
    if not others or lineage.parent_of(run):
        return ""
    return f"; or read it from a run that has it: alignsd run --run {run} --from-run {others[0]}"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*old, *new])
    return [(k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
