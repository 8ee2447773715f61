"""Say what the tables hold that one stage leaves for another, and check a table where it is read.

A table that was edited by hand, or that another version of the kit wrote, is told here: once, with
the file, the stage that wrote it and the command that makes it anew.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
from pandas.api import types
from pyarrow import ArrowException

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import runs, shown
from alignsd.kit.records import preset_of

TEXT, TEXT_OR_NOTHING = "text", "text or nothing"
NUMBER, NUMBER_OR_NOTHING = "a number", "a number or nothing"
WHOLE = "a whole number"
TRUTH_OR_NOTHING = "true, false or nothing"
OR_NOTHING = (TEXT_OR_NOTHING, NUMBER_OR_NOTHING, TRUTH_OR_NOTHING)


@dataclass(frozen=True)
class Table:
    """What a stage's table must hold.

    Attributes:
        stage: the notebook that writes the table.
        file: the name of its file, or a pattern of names.
        columns: column -> kind, one of this module's.
        key: the columns that together name a row; no two rows have the same values there.
        may_be_empty: whether a table without rows is right.
    """

    stage: str
    file: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()
    may_be_empty: bool = False


_MEASURED = {
    "arm": TEXT,
    "metric": TEXT,
    "value": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "n": WHOLE,
}
_SCORED = {"part": TEXT, "image": TEXT, "prompt": TEXT, "hps": NUMBER}

TABLES = {
    "scores": Table(
        "03_score_diffusiondb",
        "part-*.parquet",
        _SCORED
        | {
            "prompt": TEXT_OR_NOTHING,
            "hps": NUMBER_OR_NOTHING,
            "sharpness": NUMBER_OR_NOTHING,
            "status": TEXT,
        },
        may_be_empty=True,
    ),
    "groups": Table(
        "04_select_images",
        "groups.parquet",
        _SCORED | {"n": WHOLE, "p_best": NUMBER, "p_worst": NUMBER, "role": TEXT},
        key=("image",),
        may_be_empty=True,
    ),
    "images": Table(
        "06_generate",
        "images.parquet",
        {
            "arm": TEXT,
            "id": TEXT,
            "prompt_id": TEXT,
            "sample": WHOLE,
            "prompt": TEXT,
            "negative": TEXT,
            "seed": WHOLE,
            "file": TEXT,
        },
        key=("arm", "id"),
    ),
    "image_metrics": Table(
        "07_evaluate",
        "image_metrics.parquet",
        {
            "arm": TEXT,
            "id": TEXT,
            "status": TEXT,
            "hps": NUMBER_OR_NOTHING,
            "clip_score": NUMBER_OR_NOTHING,
            "aesthetic": NUMBER_OR_NOTHING,
            "flawed": TRUTH_OR_NOTHING,
            "flaw": TEXT_OR_NOTHING,
            "match": TRUTH_OR_NOTHING,
        },
        key=("arm", "id"),
    ),
    "arms": Table("07_evaluate", "arms.parquet", _MEASURED, key=("arm", "metric")),
    "against_original": Table(
        "07_evaluate", "against_original.parquet", _MEASURED, ("arm", "metric"), may_be_empty=True
    ),
    "against_control": Table(
        "07_evaluate", "against_control.parquet", _MEASURED, ("arm", "metric"), may_be_empty=True
    ),
    "votes": Table(
        "07_evaluate",
        "votes.parquet",
        {"prompt_id": TEXT, "original": WHOLE, "adapted": WHOLE, "voters": WHOLE, "status": TEXT},
        key=("prompt_id",),
        may_be_empty=True,
    ),
    "majorities": Table(
        "07_evaluate",
        "majorities.parquet",
        {"outcome": TEXT, "value": NUMBER, "low": NUMBER, "high": NUMBER, "n": WHOLE},
        key=("outcome",),
        may_be_empty=True,
    ),
}


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as parquet, without its index."""
    with replacing(path) as part:
        table.to_parquet(part, index=False)


def read_table(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table that ``write_table`` wrote.

    A table that a stage left for another one is checked against ``TABLES``.

    Args:
        path: the parquet file.
        columns: those that are needed; None for all there are.

    Raises:
        Problem: if the table is missing or damaged, lacks a column, or was changed by hand.
    """
    name = name_of(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise ValueError("a folder, a pipe or a device in place of a file")
        table = pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        stage = None if name is None else TABLES[name].stage
        again = f"delete {Path(path).name} and run the notebook that writes it again"
        raise Problem(
            f"{Path(path).name} cannot be read.",
            expected="a whole parquet table" + (f" with {', '.join(columns)}" if columns else ""),
            found=next(iter(str(error).splitlines()), type(error).__name__),
            cause="it was deleted, edited, cut off by a full disk, or written by another version",
            fix=again if stage is None else command_for(stage, path),
        ) from error
    return table if name is None else checked_table(table, name, path, columns)


def name_of(path: Path | str) -> str | None:
    """Return the name in ``TABLES`` of a stage's file, or None if nothing is declared."""
    path = Path(path)
    folders = path.parts[-3:-1]
    matching = (
        name
        for name, table in TABLES.items()
        if table.stage in folders and fnmatch(path.name, table.file)
    )
    return next(matching, None)


def checked_table(
    frame: pd.DataFrame,
    name: str,
    where: Path | str,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table if it is what its stage writes.

    Args:
        frame: the table.
        name: one of ``TABLES``.
        where: the file that the table comes from; text is shown as it is.
        columns: the columns that are needed; None for all.

    Raises:
        Problem: if a column is missing or holds another kind of value, if rows are repeated, or if
            there is no row.
    """
    table = TABLES[name]
    wanted = {
        column: kind
        for column, kind in table.columns.items()
        if columns is None or column in columns
    }
    missing = [column for column in wanted if column not in frame]
    if missing:
        raise _changed(table, where, "the columns " + ", ".join(wanted), "no " + ", ".join(missing))
    if not len(frame) and not table.may_be_empty:
        raise _changed(table, where, "at least one row", "a table without rows")
    for column, kind in wanted.items():
        wrong = _wrong_values(frame[column], kind)
        if len(wrong):
            found = f"{len(wrong):,} other values, such as {wrong.iloc[0]!r}"
            raise _changed(table, where, f"{kind} in every row of the column {column}", found)
    key = [column for column in table.key if column in wanted]
    if key and len(key) == len(table.key):
        twice = frame[frame.duplicated(key)]
        if len(twice):
            example = ", ".join(str(twice.iloc[0][column]) for column in key)
            found = f"{len(twice):,} repeated rows, such as {example}"
            raise _changed(table, where, f"each {' and '.join(key)} once", found)
    return frame


def command_for(stage: str, where: Path | str) -> str:
    """Return the command that makes a stage's files anew.

    Args:
        stage: the notebook's name.
        where: a file or folder of the run; the run's name is read from this path.
    """
    number = stage[:2]
    try:
        run = Path(where).resolve().relative_to(runs().resolve()).parts[0]
    except (OSError, ValueError, IndexError, RuntimeError, Problem):
        return f"alignsd run --run NAME --force {number}"
    try:
        return f"alignsd run --preset {preset_of(run)} --run {run} --force {number}"
    except Problem:
        return f"alignsd run --run {run} --force {number}"


def _changed(table: Table, where: Path | str, expected: str, found: str) -> Problem:
    name = where if isinstance(where, str) else shown(where)
    return Problem(
        f"{name} is not the table that {table.stage} writes.",
        expected=expected,
        found=found,
        cause="an edit by hand, another file of this name, or another version of the kit",
        fix=command_for(table.stage, where),
    )


def _wrong_values(values: pd.Series, kind: str) -> pd.Series:
    """Return the values of a column that are not of its kind."""
    present = values.dropna()
    if kind not in OR_NOTHING and len(present) < len(values):
        return values[values.isna()]
    if kind in (TEXT, TEXT_OR_NOTHING):
        return _other_than(present, types.is_string_dtype(present), str)
    if kind == TRUTH_OR_NOTHING:
        return _other_than(present, types.is_bool_dtype(present), bool)
    if types.is_bool_dtype(present) or not types.is_numeric_dtype(present):
        return present
    return present[present % 1 != 0] if kind == WHOLE else present.iloc[:0]


def _other_than(present: pd.Series, all_right: bool, kind: type) -> pd.Series:
    if all_right and not types.is_object_dtype(present):
        return present.iloc[:0]
    right = [isinstance(value, kind) for value in present]
    return present[[not one for one in right]]
