"""Make a variation: a run that changes values of another run, the parent."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, shown
from alignsd.base.reading import read_json
from alignsd.kit.lineage import check_run, lineage, parent_of
from alignsd.kit.stage_record import finished_states
from alignsd.kit.values.parameters import Value

LONGEST_NAME = 60  # characters of a variation's name; a longer name is cut and gets six digits
PLAIN = re.compile(r"[A-Za-z0-9._]+")  # text that a name holds unchanged


def note_run(run: str, preset: str, parent: str = "", settings: Sequence[str] = ()) -> None:
    """Write ``run.json``: the preset, and a variation's parent, changes and the parent's stages.

    Args:
        run: the run.
        preset: the preset that the run's values come from.
        parent: the run that this run varies; empty for a run without a parent.
        settings: values that differ from the parent's values, such as ``"05.steps=200"``.
    """
    record: dict[str, Any] = {"preset": preset}
    if parent:
        record["parent"] = parent
        record["settings"] = list(settings)
        record["parent_stages"] = finished_states(parent)
    path = run_dir(run) / "run.json"
    if not path.exists() or read_json(path) != record:
        write_json(path, record)


def check_parent(run: str, parent: str) -> None:
    """Do nothing if a run can be a variation of another run.

    Raises:
        Problem: if the parent does not exist, or the run has another parent or stages without a
            parent.
    """
    check_run(parent, " to start from")
    known = parent_of(run)
    begun = any((run_dir(run) / "stages").glob("*/config.json"))
    if known and known != parent:
        raise Problem(
            f"Run {run!r} is a variation of another run.",
            expected=f"--from-run {known}",
            found=f"--from-run {parent}",
            cause="a run has one parent, which the run keeps",
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
    lineage(run, parent)  # refuses a circle


def as_settings(number: str, changes: Mapping[str, Value]) -> list[str]:
    """Return changed values in the form of ``--set``, such as ``["04.alpha=3.0"]``."""
    return [f"{number}.{name}={value!r}" for name, value in changes.items()]


def variation_name(run: str, number: str, changes: Mapping[str, Value]) -> str:
    """Return a name for a variation: run, notebook, changed parameters and their values.

    The same changes give the same name. ``mini`` with ``alpha = 3.0`` in notebook 04 becomes
    ``mini-04-alpha-3.0``.
    """
    words = [run, number]
    for name, value in changes.items():
        words += [name, str(value)]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-.")
    if len(text) <= LONGEST_NAME and all(_is_plain(value) for value in changes.values()):
        return text
    # The text is cut, or two values can give the same text: digits tell the variations apart.
    exact = "-".join([run, number, *as_settings(number, changes)])
    digits = hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{text[: LONGEST_NAME - 7].rstrip('-.')}-{digits}"


def _is_plain(value: Value) -> bool:
    return isinstance(value, (bool, int, float)) or PLAIN.fullmatch(str(value)) is not None
