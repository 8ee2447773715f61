"""What a stage's folder records: settings and inputs, results, and the hashes of tables.

``config.json`` is a stage's identity. ``metrics.json`` holds the results and is written last, so a
stage with this file is finished. ``tables.json`` holds the hash of each table.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import shown, stage_dir
from alignsd.base.reading import listed, read_json
from alignsd.kit import lineage
from alignsd.kit.provenance import LOCATION, Kind, file_sha256, input_key, json_sha256
from alignsd.kit.records import preset_of
from alignsd.kit.values.parameters import Value

CONFIG, METRICS, DIGESTS = "config.json", "metrics.json", "tables.json"
HASHED = (".parquet", ".json", ".jsonl")  # which files have a hash in DIGESTS
# What `Stage.finish` measures of this machine. Measurements are no results and do not count in a
# state.
SECONDS, PEAK_MEMORY = "seconds", "peak_memory_mib"
MEASURED = (SECONDS, PEAK_MEMORY)


def configuration(
    name: str, settings: Mapping[str, Value], inputs: Mapping[str, str]
) -> dict[str, Any]:
    """Return a stage's identity: name, settings, inputs and a fingerprint of these three.

    The settings ``run`` and ``device`` do not count.

    Args:
        name: the notebook's name.
        settings: the values of the notebook's parameters.
        inputs: digits of the earlier stages and of the outside files.
    """
    made_with = {key: value for key, value in settings.items() if key not in LOCATION}
    identity = {"stage": name, "settings": made_with, "inputs": dict(inputs)}
    return identity | {"fingerprint": json_sha256(identity)}


def config_of(folder: Path, run: str, reader: str) -> dict[str, Any]:
    """Return a stage's configuration from the stage's folder.

    Args:
        folder: the stage's folder.
        run: the run whose command is named in a message.
        reader: what needs the stage.

    Raises:
        Problem: if ``config.json`` is missing, damaged or no configuration.
    """
    config = _read(folder / CONFIG, run, folder.name, reader)
    kinds = {"settings": dict, "inputs": dict, "fingerprint": str}
    wrong = [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]
    if wrong:
        raise Problem(
            f"{shown(folder / CONFIG)} is no record of a stage.",
            expected="settings, inputs, fingerprint",
            found="no " + ", ".join(wrong),
            cause="an edit by hand",
            fix=f"alignsd clean --run {run} --from {folder.name[:2]}, then run again",
        )
    return config


def config_in_run(run: str, stage: str, reader: str) -> dict[str, Any]:
    """Return a stage's configuration, in the run or in the run that this run varies."""
    return config_of(stage_dir(lineage.holder(run, stage), stage), run, reader)


def read_metrics(run: str, stage: str, reader: str = "this") -> dict[str, Any]:
    """Return what a finished stage reported.

    Args:
        run: the run; a variation also has the parent's stages.
        stage: the stage.
        reader: what needs the stage, for the message.

    Raises:
        Problem: if the stage was not finished.
    """
    folder = stage_dir(lineage.holder(run, stage), stage)
    return _read(folder / METRICS, run, stage, reader)


def is_finished(run: str, stage: str) -> bool:
    """Return whether a stage is finished, in the run or in the run that this run varies."""
    return (stage_dir(lineage.holder(run, stage), stage) / METRICS).exists()


def input_state(run: str, stage: str) -> str:
    """Return 16 digits that change when a finished stage's settings, inputs or results change.

    What was measured of the machine (``MEASURED``) does not count.
    """
    config = config_in_run(run, stage, "a later notebook")
    metrics = read_metrics(run, stage)
    results = {key: value for key, value in metrics.items() if key not in MEASURED}
    return json_sha256([config["fingerprint"], results])[:16]


def finished_states(run: str) -> dict[str, str]:
    """Return stage -> state for every finished stage that a variation of a run can read."""
    states = {}
    for ancestor in reversed(lineage.lineage(run)):
        for stage in lineage.finished_stages(ancestor):
            states[stage] = input_state(ancestor, stage)
    return states


def keys_of(parameters: Collection[str]) -> set[str]:
    """Return the names that parameters and their files have in a configuration."""
    keys = set(parameters)
    for parameter in parameters:
        keys |= {input_key(kind, parameter) for kind in Kind}
    return keys


def refuse_other(folder: Path, config: Mapping[str, Any], rechecked: Sequence[str] = ()) -> None:
    """Compare a stage's folder with the configuration of the stage's next use.

    Args:
        folder: the stage's folder.
        config: the configuration, from ``configuration``.
        rechecked: parameters whose value and file may differ, see ``stage.begin``.

    Raises:
        Problem: if the folder was made with other settings or from other inputs; the message names
            what differs.
    """
    run, name = folder.parent.parent.name, folder.name
    known = config_of(folder, run, name)
    differing = _differences(known["settings"], config["settings"])
    differing += _differences(known["inputs"], config["inputs"])
    allowed = keys_of(rechecked)
    differing = [difference for difference in differing if difference[0] not in allowed]
    if differing:
        raise Problem(
            f"{shown(folder)} was made with other settings or from other inputs.",
            expected="; ".join(f"{key} = {new!r}" for key, _, new in differing),
            found="; ".join(f"{key} = {old!r}" for key, old, _ in differing),
            cause="a parameter or a file of yours was changed, "
            "or an earlier notebook ran again with another result",
            fix=f"keep both: alignsd run --run NEW-NAME --from-run {run} with the same --set; "
            f"or start over: alignsd clean --run {run} --from {name[:2]} "
            f"(deletes the stages from {name[:2]} on)",
        )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*old, *new])
    return [(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def table_digests(folder: Path) -> dict[str, str]:
    """Return path in a stage's folder -> SHA-256, for each table and each record.

    Pictures, models and working files (checkpoints, latents) have no hash: to read a stage's
    pictures takes minutes at full size, and each picture is checked when opened.
    """
    own_records = [folder / name for name in (CONFIG, METRICS, DIGESTS)]
    files = [file for file in listed(folder, *HASHED, deep=True) if file not in own_records]
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}


def changed_tables(folder: Path, below: str = "") -> list[str]:
    """Return the tables of a finished stage that were changed or deleted since the stage's end.

    Args:
        folder: the stage's folder.
        below: only this file, or the files below this folder; all if empty.
    """
    record = folder / DIGESTS
    if not record.exists() or not (folder / METRICS).exists():
        return []
    digests = read_json(record)
    if not isinstance(digests, dict):
        return [DIGESTS]
    changed = []
    for name, digest in digests.items():
        asked = not below or name == below or name.startswith(f"{below}/")
        if asked and not _is_unchanged(folder / name, digest):
            changed.append(name)
    return changed


def _is_unchanged(file: Path, digest: str) -> bool:
    return file.is_file() and file_sha256(file) == digest


def _read(path: Path, run: str, stage: str, reader: str) -> dict[str, Any]:
    command = f"alignsd run --preset {preset_of(run)} --run {run} {stage[:2]}"
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__} in place of names and values")
        return value
    except FileNotFoundError:
        raise Problem(
            f"Stage {stage} of run {run!r} is not finished, and {reader} needs it.",
            expected=shown(path),
            found="no such file",
            cause=f"notebook {stage}.ipynb has not run to its end in this run",
            fix=command + _or_a_parent(run, stage),
            notebook=stage,
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise Problem(
            f"{shown(path)} is damaged.",
            expected="JSON",
            found=str(error),
            cause="an edit, or a full disk",
            fix=f"alignsd clean --run {run} --from {stage[:2]}, then {command}",
        ) from error


def _or_a_parent(run: str, stage: str) -> str:
    """Return the advice to vary a run with the stage, which this run without a parent lacks.

    Return an empty text if no other run has the stage, or if this run has a parent.
    """
    others = [other for other in lineage.runs_with(stage) if other != run]
    if not others or lineage.parent_of(run):
        return ""
    return f"; or read it from a run that has it: alignsd run --run {run} --from-run {others[0]}"
