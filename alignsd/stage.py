"""A stage: what one notebook reads, makes and leaves behind, with a record of what it was made with."""

import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from alignsd.atomic import write_json
from alignsd.errors import Problem
from alignsd.inputs import PLACE, own_inputs
from alignsd.parameters import Value, checked, notebook_path, read_cells, read_parameters
from alignsd.paths import shown, stage_dir, user_path
from alignsd.records import preset_of

PACKAGES = ("alignsd", "torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "open_clip_torch",
            "torchmetrics", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Stage:
    """One notebook's folder and settings.

    Attributes:
        name: the notebook's name, such as ``02_train_hps``.
        run: the run it belongs to.
        folder: ``papermill_runs/<run>/stages/<name>``.
        settings: the values of the parameters cell.
        needs: the stages it reads from.
    """

    name: str
    run: str
    folder: Path
    settings: dict[str, Value]
    needs: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)

    def path(self, *parts: str) -> Path:
        """Returns a path in the stage's own folder; folders above it are made."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def input(self, stage: str, *parts: str, instead: str = "") -> Path:
        """Returns a file or folder that an earlier stage left.

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
            return own
        path = stage_dir(self.run, stage).joinpath(*parts)
        if stage not in self.needs:
            raise Problem(f"{self.name} reads from {stage} without saying so.", found=str(list(self.needs)),
                          expected=f"{stage} among begin's needs", cause="a new input", fix=f"add {stage!r} to needs=[...]")
        if not path.exists():
            raise Problem(f"{'/'.join(parts)} of {stage} is missing.", expected=shown(path), found="no such file or folder",
                          cause="it was deleted, or another version of the notebook made the stage",
                          fix=f"alignsd run --preset {preset_of(self.run)} --run {self.run} --force {stage[:2]}")
        return path

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Writes ``metrics.json``: the results, ``seconds`` since ``begin`` and ``peak_memory_mib`` of the process.

        Raises:
            Problem: if a result is not a finite number, text, list or dictionary.
        """
        cost = {"seconds": round(time.monotonic() - self.started, 1), "peak_memory_mib": peak_memory_mib()}
        write_json(self.folder / "metrics.json", {**metrics, **cost})


def begin(name: str, variables: Mapping[str, Any], needs: Sequence[str] = ()) -> Stage:
    """Opens a notebook's stage; called in the first cell after the parameters cell.

    Args:
        name: the notebook's name without suffix.
        variables: the notebook's ``globals()``; the parameters' values are taken from it.
        needs: the stages it reads from, which must be finished.

    Raises:
        Problem: for a parameter of the wrong kind, a needed stage that is not finished, or a folder that was made with
            other settings or from other inputs.
    """
    path = notebook_path(name)
    settings = _settings(path, variables)
    run = str(settings["run"])
    folder = stage_dir(run, name)
    config = configuration(name, settings, {need: _input_state(run, need, name) for need in needs} | own_inputs(settings))
    if (folder / "config.json").exists():
        refuse_other(folder, config)
    write_json(folder / "config.json", config | {"versions": versions()})
    return Stage(name, run, folder, settings, tuple(needs))


def read_metrics(run: str, stage: str) -> dict[str, Any]:
    """Returns what a finished stage reported.

    Raises:
        Problem: if the stage was not finished.
    """
    return _read(stage_dir(run, stage) / "metrics.json", run, stage, "this")


def configuration(name: str, settings: Mapping[str, Value], inputs: Mapping[str, str]) -> dict[str, Any]:
    """Returns a stage's identity: name, settings, inputs and the fingerprint over them (not over ``run`` and ``device``)."""
    made_with = {k: v for k, v in settings.items() if k not in PLACE}
    identity = {"stage": name, "settings": made_with, "inputs": dict(inputs)}
    return identity | {"fingerprint": _sha256(identity)}


def refuse_other(folder: Path, config: Mapping[str, Any]) -> None:
    """Compares a stage's folder with the configuration it is about to be used with.

    Raises:
        Problem: if the folder was made with other settings or from other inputs; names what differs.
    """
    run, name = folder.parent.parent.name, folder.name
    there = _read(folder / "config.json", run, name, name)
    differing = _differences(there["settings"], config["settings"]) + _differences(there["inputs"], config["inputs"])
    if differing:
        raise Problem(f"{shown(folder)} was made with other settings or from other inputs.",
                      expected="; ".join(f"{key} = {new!r}" for key, _, new in differing),
                      found="; ".join(f"{key} = {old!r}" for key, old, _ in differing),
                      cause="a parameter or a file of yours was changed, or an earlier notebook ran again with another result",
                      fix=f"alignsd clean --run {run} --from {name[:2]} (deletes the stages from {name[:2]} on), "
                          "or use another run name")


def input_state(run: str, stage: str) -> str:
    """Returns 16 digits that change when a finished stage's settings, inputs or reported results change.

    Results whose name speaks of seconds or memory do not count.
    """
    config = _read(stage_dir(run, stage) / "config.json", run, stage, "a later notebook")
    results = {k: v for k, v in read_metrics(run, stage).items() if "second" not in k and "memory" not in k}
    return _sha256([config["fingerprint"], results])[:16]


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
    folder = Path(__file__).parent
    return _sha256([[path.relative_to(folder).as_posix(), file_sha256(path)] for path in sorted(folder.rglob("*.py"))])


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that can move a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def peak_memory_mib() -> int:
    """Returns the most memory that this process has held so far, in MiB."""
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
    _read(stage_dir(run, need) / "metrics.json", run, need, stage)
    return input_state(run, need)


def _read(path: Path, run: str, stage: str, reader: str) -> dict[str, Any]:
    command = f"alignsd run --preset {preset_of(run)} --run {run} {stage[:2]}"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"Stage {stage} of run {run!r} is not finished, and {reader} needs it.", expected=shown(path),
                      found="no such file", cause=f"notebook {stage}.ipynb has not run to its end in this run",
                      fix=command) from None
    except ValueError as error:
        raise Problem(f"{shown(path)} is damaged.", expected="JSON", found=str(error), cause="an edit, or a full disk",
                      fix=f"alignsd clean --run {run} --from {stage[:2]}, then {command}") from error


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*old, *new])
    return [(k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
