"""Read a list of texts that other people made, such as prompts or names: one entry per line.

A list of texts in JSON is read as well. Tables and JSON objects are refused, since their lines are
no entries. The content tells a table, and a file's name only where the content agrees.
"""

import csv
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import is_text, page_or_pointer, parse_json, read_text

BEGINNING = 40  # lines that tell what a file is
TABLES = (".csv", ".tsv", ".tab")
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
# A column of this name holds the entries.
COLUMN = re.compile(r"prompts?|captions?|names?|(first|last)[ _]?name", re.IGNORECASE)
# So does a column of this name, which may also be a word of a prompt, in a file named as a table.
WORD = re.compile(
    r"(?:(?:prompt|image|full|user|given|family)[ _]?)?(?:prompts?|captions?|names?|texts?)"
    r"|surnames?|forenames?|titles?|descriptions?|sentences?|first|last",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*%?")
# A name and numbers in columns of fixed width, as statistical offices write them.
FIXED_WIDTH = re.compile(rf"\S+(?: +{NUMBER.pattern}){{2,}}")
JSON = "in JSON"
SHOWN = 10  # columns that a message lists


@dataclass(frozen=True)
class _Entries:
    """What a file of entries should hold, in words.

    Attributes:
        what: the entries, at the start of a sentence: ``"The prompts"``.
        entry: one entry: ``"prompt"``.
        otherwise: what the reader can do besides mending the file.
    """

    what: str
    entry: str
    otherwise: str

    def unreadable(self, found: str, cause: str, fix: str) -> Problem:
        """Return the error that says why a file cannot be read."""
        return Problem(
            f"{self.what} cannot be read.",
            expected=f"a text file with one {self.entry} per line, or a list of texts in JSON",
            found=found,
            cause=cause,
            fix=f"{fix}; or {self.otherwise}",
        )


def read_entries(path: Path | str, what: str, entry: str, otherwise: str) -> list[str]:
    """Return the entries of a text file with one entry per line, or of a list of texts in JSON.

    Blank entries do not count, and spaces around an entry are no part of the entry.

    Args:
        path: the file.
        what: the entries, at the start of a sentence: ``"The prompts"``.
        entry: one entry: ``"prompt"``.
        otherwise: what the reader can do besides mending the file.

    Raises:
        Problem: if the file cannot be read or has another encoding, or is a web page, a pointer to
            a large file, a table, or JSON other than a list of texts.
    """
    path, wanted = Path(path), _Entries(what, entry, otherwise)
    try:
        text = read_text(path)
    except Problem as problem:
        found = f"{problem.what} {problem.found}"
        raise wanted.unreadable(found, problem.cause, problem.fix) from problem
    lines = [line.strip() for line in text.split("\n")]
    entries = [line for line in lines if line]
    mistaken = page_or_pointer(text)
    if mistaken:
        raise wanted.unreadable(*mistaken, "fetch the file again")
    if entries and entries[0].startswith(("[", "{")):
        listed = _in_json(path, entries, wanted)
        return entries if listed is None else [text.strip() for text in listed if text.strip()]
    _refuse_table(path, text, wanted)
    cells = _one_column(path, text)
    return entries if cells is None else [cell.strip() for cell in cells if cell.strip()]


def _in_json(path: Path, lines: Sequence[str], wanted: _Entries) -> list[str] | None:
    """Return a list of texts in JSON; None if the lines are plain text, such as ``[a] {cat}``.

    Args:
        path: the file.
        lines: without blank lines; the first line starts with a bracket or a brace.
        wanted: what the file should hold.

    Raises:
        Problem: if the lines are other JSON, or JSON that is damaged.
    """
    records = [value for value in map(_object_in, lines[:BEGINNING]) if value]
    if len(lines) > 1 and len(records) > len(lines[:BEGINNING]) / 2:
        raise _objects(path, records[0], True, wanted)
    try:
        value = parse_json("\n".join(lines), shown(path))
    except Problem as problem:
        is_plain = lines[0] not in ("[", "{") and path.suffix.lower() != ".json"
        if is_plain:
            return None
        raise wanted.unreadable(problem.found, problem.cause, problem.fix) from problem
    if isinstance(value, list) and all(is_text(text) for text in value):
        return value
    if isinstance(value, list) and all(isinstance(record, dict) for record in value):
        raise _objects(path, value[0], False, wanted)
    if isinstance(value, dict):
        raise _object(path, value, wanted)
    found, cause = (
        "a list in JSON with entries that are no text",
        "another file, or a faulty export",
    )
    raise wanted.unreadable(found, cause, f"write each {wanted.entry} as a text in quotation marks")


def _object_in(line: str) -> dict[str, Any] | None:
    """Return the JSON object that a line holds, or None."""
    if not line.startswith("{"):
        return None
    try:
        value = parse_json(line, "a line")
    except Problem:
        return None
    return value if isinstance(value, dict) else None


def _objects(path: Path, record: dict[str, Any], by_line: bool, wanted: _Entries) -> Problem:
    """Return why objects are no entries.

    Args:
        path: the file.
        record: the first object.
        by_line: whether each line holds an object; or else a list holds the objects.
        wanted: what the file should hold.
    """
    kind = f"{'an object per line' if by_line else 'a list of objects'} {JSON}"
    options = ", lines=True" if by_line else ""
    return _columns(path, (kind, options), list(record), wanted)


def _object(path: Path, value: dict[str, Any], wanted: _Entries) -> Problem:
    """Return why one object of JSON is no list of entries."""
    found = f"an object of JSON with {_listed(list(value)) or 'nothing'}"
    if value and all(key.isdecimal() and is_text(text) for key, text in value.items()):
        script = "json.dump([*json.load(open(sys.argv[1], 'rb')).values()], open(sys.argv[2], 'w'))"
        fix = _command(path, f"import json, sys; {script}", [], wanted)
        return wanted.unreadable(found, f"the {wanted.entry}s have numbers, as pandas writes", fix)
    keys = _place_of_texts(value)
    if not keys:
        return wanted.unreadable(found, "another file", "write the list alone into the file")
    cause = f"the {wanted.entry}s lie {'one level' if len(keys) == 1 else 'two levels'} deeper"
    texts = "json.load(open(sys.argv[1], 'rb'))[sys.argv[2]]"
    if len(keys) > 1:
        texts = f"[record[sys.argv[3]] for record in {texts}]"
    script = f"import json, sys; json.dump({texts}, open(sys.argv[{len(keys) + 2}], 'w'))"
    return wanted.unreadable(found, cause, _command(path, script, keys, wanted))


def _place_of_texts(value: dict[str, Any]) -> list[str]:
    """Return the key of a list of texts, or of a list of objects and the objects' key; or none."""
    lists = {
        key: entries for key, entries in value.items() if isinstance(entries, list) and entries
    }
    for key, entries in lists.items():
        if all(map(is_text, entries)):
            return [key]
    for key, entries in lists.items():
        named = entries[0] if isinstance(entries[0], dict) else {}
        for name in filter(WORD.fullmatch, named):
            if all(isinstance(entry, dict) and is_text(entry.get(name)) for entry in entries):
                return [key, name]
    return []


def _refuse_table(path: Path, text: str, wanted: _Entries) -> None:
    """Do nothing unless the lines are rows of a table.

    A header that names a column of entries tells a table, where most rows have as many cells as the
    header. So do rows that all have the same number of cells, with tabs between the cells, with a
    column of numbers, or in a file whose name says that the file is a table. A single line is no
    table.

    Raises:
        Problem: if the lines are rows of a table.
    """
    is_named = path.suffix.lower() in TABLES
    lines = [line for line in text.split("\n") if line.strip()][:BEGINNING]
    name_of_column = WORD if is_named else COLUMN
    for separator, name in SEPARATORS.items():
        rows = _rows(lines, separator)
        header = rows[0] if rows else []
        as_long = sum(len(row) == len(header) for row in rows)
        if as_long < 2 or (len(header) < 2 and not is_named):
            continue
        has_known = any(name_of_column.fullmatch(cell.strip()) for cell in header)
        is_regular = len(header) > 1 and as_long == len(rows)
        is_table = is_named or separator == "\t" or _has_numbers(rows)
        if (has_known and as_long > len(rows) / 2) or (is_regular and is_table):
            kind = f"a table with {name}" if len(header) > 1 else "a table of one column"
            raise _columns(path, (kind, f"sep={separator!r}"), header, wanted)
    if len(lines) > 1 and all(FIXED_WIDTH.fullmatch(line.strip()) for line in lines):
        raise _columns(path, ("a table of fixed width", "sep='  *'"), lines[0].split(), wanted)


def _has_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a column has numbers in two rows or more: all, or all but a header."""
    for cells in zip(*rows, strict=False):
        are_numbers = [NUMBER.fullmatch(cell.strip()) is not None for cell in cells]
        if all(are_numbers[1:]) and sum(are_numbers) > 1:
            return True
    return False


def _one_column(path: Path, text: str) -> list[str] | None:
    """Return the cells of a file that is named as a table and has one column; or else None.

    Quotation marks around a cell are no part of the cell.
    """
    if path.suffix.lower() not in TABLES:
        return None
    for separator in SEPARATORS:
        rows = _rows([f"{line}\n" for line in text.split("\n")], separator)
        if not rows or any(len(row) > 1 for row in rows):
            return None
    return [row[0] for row in rows if row]


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Return the cells of each row; no row if the lines cannot be read as a table."""
    try:
        return list(csv.reader(lines, delimiter=separator))
    except csv.Error:
        return []


def _columns(
    path: Path, kind_and_options: tuple[str, str], names: list[str], wanted: _Entries
) -> Problem:
    """Return why a table is no list of entries, and the command that takes one column out.

    Args:
        path: the file.
        kind_and_options: what the file is, and the options with which pandas reads the file.
        names: the cells of the first row; for JSON, the names of the columns.
        wanted: what the file should hold.
    """
    kind, options = kind_and_options
    known = [name for name in names if WORD.fullmatch(name.strip())]
    in_json = kind.endswith(JSON)
    has_header = in_json or not any(NUMBER.fullmatch(name.strip()) for name in names)
    column = (known or names)[0] if has_header else str(_first_words(names))
    if in_json:
        reader = f"read_json(sys.argv[1], dtype=False{options})[sys.argv[2]]"
    else:
        reader = f"read_csv(sys.argv[1], {options}, dtype=str, keep_default_na=False"
        reader += ")[sys.argv[2]]" if has_header else ", header=None)[int(sys.argv[2])]"
    script = f"import pandas, sys; pandas.{reader}.to_json(sys.argv[3], orient='values')"
    fix = _command(path, script, [column], wanted)
    cause = f"a table was given in place of its column of {wanted.entry}s"
    if not (known and has_header):
        fix += f", with the column of {wanted.entry}s in place of {column:.40}"
        if not in_json:
            lines = "[*map(str.strip, open(sys.argv[1], encoding='utf-8-sig'))]"
            script = f"import json, sys; json.dump({lines}, open(sys.argv[2], 'w'))"
            fix += f"; or, if a line is one {wanted.entry}: {_command(path, script, [], wanted)}"
    header = "" if has_header else ", without a header"
    return wanted.unreadable(f"{kind}{header}, with {_listed(names)}", cause, fix)


def _first_words(cells: Sequence[str]) -> int:
    """Return the place of the first cell that is no number; 0 if all are numbers."""
    return next((i for i, cell in enumerate(cells) if not NUMBER.fullmatch(cell.strip())), 0)


def _command(path: Path, script: str, columns: Sequence[str], wanted: _Entries) -> str:
    """Return the command that writes texts of a file as a list of texts in JSON."""
    words = [shown(path), *columns, f"{wanted.entry}s_alone.json"]
    return f'python -c "{script}" {shlex.join(words)}'


def _listed(names: Sequence[str]) -> str:
    """Return the names of columns for messages."""
    more = " ..." if len(names) > SHOWN else ""
    return ", ".join(f"{name.strip():.40}" for name in names[:SHOWN]) + more
