"""Read and write tables, each checked against the declaration in ``schemas.TABLES``.

A table that was edited by hand, or that another version of the kit wrote, is refused where the
table is read. The message names the file, the writing stage and the command that repairs the table.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types
from pyarrow import ArrowException

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import runs, shown
from alignsd.kit.records import preset_of
from alignsd.kit.schemas import (
    TABLES,
    TEXT,
    TEXTS,
    TRUTH,
    WHOLE,
    Table,
    kind_in_words,
    name_of,
)


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as parquet, without the index.

    Raises:
        Problem: if the file is declared in ``schemas.TABLES``, and the table is not as declared.
    """
    name = name_of(path)
    if name is not None:
        fault = _fault(table, TABLES[name])
        if fault is not None:
            raise Problem(
                f"{Path(path).name} would not be the table that {TABLES[name].stage} writes.",
                expected=fault.expected,
                found=fault.found,
                cause="the notebook or the package was changed, and the declaration was not",
                fix=f"mend what makes the table, or {name} in alignsd/kit/schemas.py",
            )
    with replacing(path) as part:
        table.to_parquet(part, index=False)


def read_table(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table that ``write_table`` wrote.

    Args:
        path: the parquet file.
        columns: the needed columns; None for all columns.

    Raises:
        Problem: if the table is missing or damaged, or not as declared in ``schemas.TABLES``.
    """
    name = name_of(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise ValueError("a folder, a pipe or a device in place of a file")
        table = pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        wanted = f" with {', '.join(columns)}" if columns else ""
        fix = f"delete {Path(path).name} and run the notebook that writes it again"
        if name is not None:
            fix = command_for(TABLES[name].stage, path)
        raise Problem(
            f"{Path(path).name} cannot be read.",
            expected=f"a whole parquet table{wanted}",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            cause="it was deleted, edited, cut off by a full disk, or written by another version",
            fix=fix,
        ) from error
    return table if name is None else checked_table(table, name, path, columns)


def checked_table(
    frame: pd.DataFrame,
    name: str,
    where: Path | str,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table if the table is what the stage writes.

    Args:
        frame: the table.
        name: a name in ``schemas.TABLES``.
        where: the file that the table comes from; text is shown unchanged.
        columns: the needed columns; None for all columns.

    Raises:
        Problem: if a column is missing or holds another kind of value, if rows are repeated, or if
            there is no row.
    """
    table = TABLES[name]
    fault = _fault(frame, table, columns)
    if fault is None:
        return frame
    file = where if isinstance(where, str) else shown(where)
    raise Problem(
        f"{file} is not the table that {table.stage} writes.",
        expected=fault.expected,
        found=fault.found,
        cause="an edit by hand, another file of this name, or another version of the kit",
        fix=command_for(table.stage, where),
    )


def command_for(stage: str, where: Path | str) -> str:
    """Return the command that makes a stage's files anew.

    Args:
        stage: the notebook's name.
        where: a file or folder of the run; the run's name is read from this path.
    """
    return f"{resume_command(where)} --force {stage[:2]}"


def resume_command(where: Path | str) -> str:
    """Return the command that goes on with a run.

    Args:
        where: a file or folder of the run; the run's name is read from this path.
    """
    try:
        run = Path(where).resolve().relative_to(runs().resolve()).parts[0]
    except (OSError, ValueError, IndexError, RuntimeError, Problem):
        return "alignsd run --run NAME"
    try:
        return f"alignsd run --preset {preset_of(run)} --run {run}"
    except Problem:
        return f"alignsd run --run {run}"


@dataclass(frozen=True)
class _Fault:
    """How a table differs from the declaration."""

    expected: str
    found: str


def _fault(
    frame: pd.DataFrame, table: Table, columns: Sequence[str] | None = None
) -> _Fault | None:
    """Return the first difference between a table and the declaration, or None."""
    fields = [field for field in table.schema if columns is None or field.name in columns]
    wanted = [field.name for field in fields]
    missing = [name for name in wanted if name not in frame and name not in table.optional]
    if missing:
        return _Fault("the columns " + ", ".join(wanted), "no " + ", ".join(missing))
    if len(frame) == 0 and not table.may_be_empty:
        return _Fault("at least one row", "a table without rows")
    for field in fields:
        if field.name not in frame:
            continue
        wrong = _wrong_values(frame[field.name], field)
        if len(wrong):
            return _Fault(
                f"{kind_in_words(field)} in every row of the column {field.name}",
                f"{len(wrong):,} other values, such as {wrong.iloc[0]!r}",
            )
    whole_key = bool(table.key) and all(name in wanted for name in table.key)
    return _repeated_rows(frame, table.key) if whole_key else None


def _repeated_rows(frame: pd.DataFrame, key: tuple[str, ...]) -> _Fault | None:
    repeated = frame[frame.duplicated(list(key))]
    if repeated.empty:
        return None
    example = ", ".join(str(repeated.iloc[0][name]) for name in key)
    return _Fault(
        f"each {' and '.join(key)} once", f"{len(repeated):,} repeated rows, such as {example}"
    )


def _wrong_values(values: pd.Series, field: pa.Field) -> pd.Series:
    """Return the values of a column that are not of the declared kind."""
    present = values.dropna()
    if not field.nullable and len(present) < len(values):
        return values[values.isna()]
    if field.type == TEXT:
        return _not_text(present)
    if field.type == TEXTS:
        return present[[not _is_list_of_texts(value) for value in present]]
    if field.type == TRUTH:
        return _not_truth(present)
    if types.is_bool_dtype(present) or not types.is_numeric_dtype(present):
        return present
    return present[present % 1 != 0] if field.type == WHOLE else present.iloc[:0]


def _not_text(present: pd.Series) -> pd.Series:
    if types.is_string_dtype(present) and not types.is_object_dtype(present):
        return present.iloc[:0]
    return present[[not isinstance(value, str) for value in present]]


def _not_truth(present: pd.Series) -> pd.Series:
    if types.is_bool_dtype(present) and not types.is_object_dtype(present):
        return present.iloc[:0]
    return present[[not isinstance(value, (bool, np.bool_)) for value in present]]


def _is_list_of_texts(value: object) -> bool:
    if not isinstance(value, (list, tuple, np.ndarray)):
        return False
    return all(isinstance(element, str) for element in value)
