"""Read tables of choices that other people's programs wrote; every cell stays unchanged.

No cell's type is guessed: cells of a text table are text, and a prompt may be the word ``null``.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import (
    UNPACKED_BY,
    page_or_pointer,
    parse_json,
    read_bytes,
    read_json_lines,
    read_text,
    unpacking,
)

SEPARATORS = (",", ";", "\t")
# A first line that Excel writes and reads.
NAMED_SEPARATOR = re.compile(r'"?sep=([^"\w\r\n ])"?[ \t]*[\r\n]', re.IGNORECASE)
IMAGE_COLUMN = re.compile(r"image[_ ]?([0-9]{1,2})(_uid|_path|_name|_file|_file_name)?")
# The columns of the kit's own tables, of Pick-a-Pic, of ImageRewardDB and of HPD v2.
KNOWN = (
    *("prompt", "images", "choice", "user"),
    *("caption", "label_0", "label_1", "user_id"),
    *("generations", "ranking", "image_path", "rank", "prompt_id"),
)
MOST_COLUMNS = 50  # columns of a table whose names no program that we know writes
FAULT = "left out"  # column that says why a row could not be read
# Why a row could not be read. import-choices prints these words.
MORE_CELLS = "more cells than the header has"
NO_JSON = "a line that is not JSON"
NO_OBJECT = "a line that is no JSON object"
TO_JSON = 'write the table with to_json("choices.jsonl", orient="records", lines=True)'
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers")


def read_choices_table(path: Path | str) -> pd.DataFrame:
    """Read a table of choices.

    Args:
        path: ``.csv``, ``.tsv`` or ``.txt`` with commas, semicolons or tabs between the cells;
            ``.jsonl``, ``.ndjson`` or ``.json`` with an object per choice; or ``.parquet``. The
            suffix may be in capitals.

    Returns:
        A row per choice, columns in lower case. Cells are text or what JSON and parquet hold.
        The column ``FAULT`` says why a row cannot be read; if all rows can be read, the table has
        no such column.

    Raises:
        Problem: if the file is of another kind, or cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in READERS:
        return READERS[suffix](path)
    found, cause = f"a {path.suffix or 'nameless'} file", "another format"
    fix = "see docs/data_formats.md for an example, and name the file .csv or .jsonl"
    if suffix in UNPACKED_BY:
        found, cause = "a compressed file", "the table was packed to save space"
        fix = f"{unpacking(path)} and then name the unpacked file"
    if suffix in SPREADSHEETS:
        found, cause = "a spreadsheet", "spreadsheets hold formats and formulas beside the cells"
        fix = "in Excel: File, Save As, CSV UTF-8 (Comma delimited)"
    raise Problem(
        f"{path.name} cannot be read as a table.",
        expected="one of " + ", ".join(READERS),
        found=found,
        cause=cause,
        fix=fix,
    )


def named_columns(columns: Iterable[Any], what: str) -> list[str]:
    """Return the names of columns in lower case, without spaces around; each name stands once.

    Half characters in a name are written as escapes.

    Raises:
        Problem: if two columns share a name.
    """
    plain = (str(column).encode("utf-8", "backslashreplace").decode() for column in columns)
    names = [name.strip().lower() for name in plain]
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    counts = Counter(names)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise Problem(
            f"{what} has two columns of one name.",
            expected="each name once; capitals and spaces around a name do not count",
            found=f"{counts[repeated[0]]} columns {repeated[0]!r:.60}",
            cause="a column that was copied, or two tables that were joined",
            fix="rename or delete one of the columns",
        )
    return names


def _read_separated(path: Path) -> pd.DataFrame:
    """Read a text table: a header, and a row per choice."""
    text = read_text(path)
    if not text.strip():
        raise _empty(path)
    mistaken = page_or_pointer(text)
    if mistaken:
        raise _no_table(path, "a header and rows", *mistaken, "fetch the file again")
    separator, text = _separator(text)
    rows: list[list[str | None]] = []
    faults: list[str | None] = []
    header: list[str] | None = None
    for cells in _cells(path, text, separator):
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = named_columns(_without_end(cells, 0), path.name)
            continue
        cells = _without_end(cells, len(header))
        if len(cells) > len(header):
            rows.append([None] * len(header))
            faults.append(MORE_CELLS)
        else:
            padding = [""] * (len(header) - len(cells))
            rows.append([*cells, *padding])
            faults.append(None)
    return _framed(header or [], zip(*rows, strict=True), faults)


def _cells(path: Path, text: str, separator: str) -> list[list[str]]:
    """Return the cells of each row of a text table.

    Programs that write tabs often leave quotation marks as they are. If the rows only make sense
    so, quotation marks are part of the cells.

    Raises:
        Problem: if a quotation mark is not closed.
    """
    former = csv.field_size_limit(len(text) + 1)  # a cell may hold a whole picture as text
    try:
        rows, fault = _quoted_rows(text, separator)
        if separator == "\t" and (fault or any(map(_is_swallowed, rows))):
            lines = io.StringIO(text, newline="")
            plain = list(csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE))
            if len({len(row) for row in plain if row}) == 1:
                return plain
    finally:
        csv.field_size_limit(former)
    if fault is None:
        return rows
    raise Problem(
        f"{path.name} cannot be read as a table.",
        expected="quotation marks that are closed, and doubled inside a quoted cell",
        found=f"{fault[0]}, in the row that starts in line {fault[1]}",
        cause="a quotation mark in a prompt, in a file that was not written by a table program",
        fix=f'write the cell of line {fault[1]} as "a ""quoted"" word", or use .jsonl',
    )


def _quoted_rows(text: str, separator: str) -> tuple[list[list[str]], tuple[str, int] | None]:
    """Return the rows up to the first fault, and the fault with its line, or None."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    line = 1
    try:
        for cells in reader:
            rows.append(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        return rows, (str(error), line)
    return rows, None


def _is_swallowed(cells: list[str]) -> bool:
    """Return whether a cell holds whole rows: tabs and ends of lines."""
    return any("\t" in cell and "\n" in cell for cell in cells)


def _separator(text: str) -> tuple[str, str]:
    """Return the separator of the cells, and the text without Excel's line about separators."""
    named = NAMED_SEPARATOR.match(text)
    if named:
        return named[1], text[named.end() :]
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]

    def fitness(separator: str) -> tuple[int, int]:
        """Return how many known columns a separator gives, and how many columns in all."""
        names = [name.strip().strip('"') for name in header.split(separator)]
        known = [name for name in names if _is_known(name)]
        return len(known), len(names)

    return max(SEPARATORS, key=fitness), text


def _without_end(cells: list[str], length: int) -> list[str]:
    """Return cells without the empty cells at the end, but at least ``length`` cells."""
    end = len(cells)
    while end > length and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _read_json(path: Path) -> pd.DataFrame:
    """Read a list of objects, an object per line, or a single object."""
    text = read_text(path)
    if not text.strip():
        raise _empty(path)
    mistaken = page_or_pointer(text)
    if mistaken:
        raise _no_table(path, "JSON", *mistaken, "fetch the file again")
    listed = text.lstrip().startswith("[")
    try:
        whole = parse_json(text, shown(path))
    except Problem:
        if listed and path.suffix.lower() == ".json":
            raise
        return _read_objects(value for _, value in read_json_lines(path))
    if isinstance(whole, dict):
        _refuse_wrapped(path, whole)
    if isinstance(whole, list) and whole and not any(isinstance(row, dict) for row in whole):
        cause = 'pandas\' to_json with orient="values", or another file'
        raise _no_table(path, "an object per choice", "a list without objects", cause, TO_JSON)
    return _read_objects(whole if isinstance(whole, list) else [whole])


def _refuse_wrapped(path: Path, record: dict[str, Any]) -> None:
    """Do nothing if an object is a choice.

    Raises:
        Problem: if the object holds columns, rows by number, or a list of choices.
    """
    columns = [name for name in record if _is_known(name)]
    of_prompts = [record[name] for name in columns if name.strip().lower() in ("prompt", "caption")]
    orient = _orient_of(record)
    if orient or any(isinstance(value, (list, dict)) for value in of_prompts):
        found = "a table in one object" if orient else "an object of columns"
        cause = f"pandas' to_json {orient or 'without orient'}"
        raise _no_table(path, "an object per choice", found, cause, TO_JSON)
    lists = [name for name, value in record.items() if isinstance(value, list) and value]
    if not columns and lists:
        found = f"a list inside {lists[0]!r:.60}"
        cause = "the choices lie one level deeper"
        fix = "write that list alone into a .json file"
        raise _no_table(path, "a list of choices, or an object per line", found, cause, fix)


def _orient_of(record: dict[str, Any]) -> str:
    """Return the option with which pandas wrote a table as one object; empty for other objects."""
    columns, rows = record.get("columns"), record.get("data")
    if isinstance(columns, list) and isinstance(rows, list):
        return 'with orient="split"'
    rows_by_number = [isinstance(row, dict) and any(map(_is_known, row)) for row in record.values()]
    return 'with orient="index"' if rows_by_number and all(rows_by_number) else ""


def _read_objects(values: Iterable[Any]) -> pd.DataFrame:
    """Return a table with a row per value; a value that is no object has a fault."""
    records: list[dict[str, Any]] = []
    faults: list[str | None] = []
    names: dict[str, None] = {}  # of the columns that are kept, unchanged
    for value in values:
        if not isinstance(value, dict):
            records.append({})
            faults.append(NO_JSON if isinstance(value, Problem) else NO_OBJECT)
            continue
        records.append(value)
        faults.append(None)
        for name in value:
            if len(names) < MOST_COLUMNS or _is_known(name):
                names[name] = None
    columns = named_columns(names, "The table")
    cells_of_columns = [[record.get(name) for record in records] for name in names]
    return _framed(columns, cells_of_columns, faults)


def _is_known(name: str) -> bool:
    plain = name.strip().lower()
    return plain in KNOWN or bool(IMAGE_COLUMN.fullmatch(plain))


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read the known columns of a parquet file."""
    content = read_bytes(path)
    if not content:
        raise _empty(path)
    try:
        file = pa.parquet.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        wanted = [name for name in names if _is_known(name)]
        arrow = file.read(columns=wanted)
        cells_of_columns = [column.to_pylist() for column in arrow.columns]
        columns = named_columns(arrow.column_names, path.name)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Problem(
            f"{path.name} cannot be read as a table.",
            expected="a whole parquet file",
            found=words,
            cause="another kind of file than its name says, or a download or copy that was cut off",
            fix="fetch or write the file again",
        ) from error
    table = _framed(columns, cells_of_columns, [])
    others = [name for name in names if name not in wanted]
    table.attrs["other columns"] = others[:MOST_COLUMNS]  # for messages; the cells are not read
    return table


def _framed(
    columns: list[str], cells_of_columns: Iterable[Iterable[Any]], faults: list[str | None]
) -> pd.DataFrame:
    """Return a table whose cells stay unchanged.

    Args:
        columns: the columns' names.
        cells_of_columns: the cells of each column; empty if there is no row.
        faults: why each row could not be read, or None; nothing if all rows could be read.
    """
    cells = dict(zip(columns, cells_of_columns, strict=False))
    series = {name: pd.Series(list(cells.get(name, ())), dtype=object) for name in columns}
    table = pd.DataFrame(series)
    if any(faults):
        table[FAULT] = pd.Series(faults, dtype=object)
    return table


def _no_table(path: Path, expected: str, found: str, cause: str, fix: str) -> Problem:
    return Problem(
        f"{path.name} cannot be read as a table.",
        expected=expected,
        found=found,
        cause=cause,
        fix=fix,
    )


def _empty(path: Path) -> Problem:
    return Problem(
        f"{path.name} is empty.",
        expected="a table of choices",
        found="an empty file",
        cause="an interrupted download, copy or export, or a full disk",
        fix="fetch or write the file again",
    )


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_separated,
    ".parquet": _read_parquet,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".tsv": _read_separated,
    ".tab": _read_separated,
    ".txt": _read_separated,
}
