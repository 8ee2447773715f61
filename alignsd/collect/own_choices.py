"""Your own choices as HPD v1: from a table of prompts, images and which one was chosen."""

import ast
import math
import numbers
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.base.images import MISSING
from alignsd.base.paths import shown
from alignsd.base.reading import is_text, parse_json
from alignsd.collect import hpd
from alignsd.collect.choice_tables import FAULT, IMAGE_COLUMN, named_columns, read_table
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File, hash_user, user_key
from alignsd.collect.imported_folder import new_data_set
from alignsd.collect.splits import check_share, split_by_prompt, split_random

__all__ = ["import_choices", "read_table"]

# Why a row is left out.
NO_PROMPT, BAD_PROMPT = "no prompt", "the prompt is no text"
COUNT, MANY = "not two to four images", "more than four images: HPD v1 holds two to four"
NO_NAME, TWICE = "an image without a name", "one image named twice"
OUTSIDE = "an image outside the folder of images"
NO_CHOICE, NO_IMAGE = "no choice", "the choice is none of the images"
TIE = "a tie: HPD v1 holds one chosen image"
BAD_USER = "the user is neither text nor a number"
UNKNOWN_USERS = "of these, of users unknown"  # choices that were written
RANKS = "ranks"  # the key of a row's list of ranks, in place of a choice; 1 is the best
NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:[.,][0-9]{0,15})?")
PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".webp")
LONGEST_LIST = 10_000  # characters of a cell that is read as a list of Python
TELLING = 1 / 8  # share of the numbers that must speak against the first number assumed


@dataclass(frozen=True)
class _Row:
    """A row that can be a choice. ``chosen`` is an index from 0, or the number in the table."""

    prompt: str
    names: tuple[str, ...]
    chosen: int
    is_number: bool
    user: str


def import_choices(
    table: pd.DataFrame,
    images: Path,
    out: Path,
    test_share: float = 0.2,
    seed: int = 0,
    count_from: int | None = None,
) -> Counter:
    """Write a table of choices as an HPD v1 folder, for notebook 02's parameter ``data``.

    The folder is written whole or not at all. What an earlier import wrote there is replaced; other
    files stay, and are never overwritten.

    Args:
        table: ``prompt``; ``images``, two to four file names below ``images``, as a list, or
            separated by ``;`` or ``|``, or in columns ``image_1``, ``image_2`` ...; ``choice``, the
            number of the chosen image or its file name; and, if known, ``user``, of which only a
            hash is written, keyed by ``user.key`` beside the images. Tables of Pick-a-Pic,
            ImageRewardDB and HPD v2 are read too, see docs/data_formats.md.
        images: the images' folder.
        out: the data set's folder.
        test_share: share of the choices that go to the test part.
        seed: of the split.
        count_from: what the number of the first image is, 0 or 1. None: as in the image columns'
            names; 0 for a list.

    Returns:
        How many choices were written (``"choices"``), how many of these have no known user, and
        how many rows were left out for which reason.

    Raises:
        Problem: if a column is missing, too few choices are left for two parts (with the reasons),
            the numbers seem to be counted otherwise, or ``out`` cannot be written or holds another
            data set.
    """
    check_seed(seed)
    check_share(test_share)
    images, out = Path(images), Path(out)
    records, columns = _records(table)
    _check_folder(images)
    rows, first, left = _usable(records, columns, images, count_from)
    with new_data_set(out) as work:
        choices = _choices(rows, images, first)
        data, _, unread = hpd.write_pictures(choices, work)
        left += unread
        try:
            parts = _parts(data, test_share, seed)
        except Problem as problem:
            raise _too_few(len(records), len(data), left, images, problem, rows) from problem
        for (split, part), choices_of_part in parts.items():
            hpd.write_choices(choices_of_part, work, part, split)
    counts = Counter(choices=len(data))
    unknown = int((data["user_hash"] == "").sum())
    if unknown and any("user" in record for record in records):
        counts[UNKNOWN_USERS] = unknown
    return counts + left


def _usable(
    records: list[dict], columns: list[str], images: Path, count_from: int | None
) -> tuple[list[_Row], int, Counter]:
    """Return the rows that can be choices, the number of a row's first image, and what is left out.

    Raises:
        Problem: if no row is left, or the numbers seem to be counted otherwise.
    """
    read = [_read_row(record, columns, images) for record in records]
    rows = [row for row in read if isinstance(row, _Row)]
    left = Counter(reason for reason in read if isinstance(reason, str))
    first = _first_number(rows, columns, count_from)
    rows, no_image = _in_range(rows, first)
    left += no_image
    if not rows:
        raise _too_few(len(records), 0, left, images)
    return rows, first, left


def _parts(
    data: pd.DataFrame, test_share: float, seed: int
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the choices of each ``(split, part)``."""
    parts = {}
    for split, divide in (("random", split_random), ("grouped", split_by_prompt)):
        parts[split, "train"], parts[split, "test"] = divide(data, test_share, seed)
    return parts


# --- from a table of any known shape to rows --------------------------------------------------


def _records(table: pd.DataFrame) -> tuple[list[dict], list[str]]:
    """Return rows with ``prompt``, ``images``, ``choice``, and the names of image columns."""
    names = named_columns(table.columns, "The table of choices")
    cells = table.itertuples(index=False, name=None)
    records = [dict(zip(names, row, strict=True)) for row in cells]
    if {"caption", "label_0", "label_1"} <= set(names):
        return _from_labels(records, names)
    if "images" not in names and {"prompt", "image_path", "rank"} <= set(names):
        return _from_ranks(records), []
    if {"prompt", "generations", "ranking"} <= set(names):
        renamed = {"generations": "images", "ranking": RANKS}
        return [{renamed.get(key, key): cell for key, cell in row.items()} for row in records], []
    columns = [] if "images" in names else _image_columns(names)
    for row in records if columns else ():
        row["images"] = _without_blank_end([row[column] for column in columns])
    have = {*names, "images"} if columns else set(names)
    absent = [name for name in ("prompt", "images", "choice") if name not in have]
    if absent:
        raise _no_column(absent, [*names, *table.attrs.get("other columns", ())])
    return records, columns


def _image_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that hold one image each, in the order of their numbers."""
    found = {}
    for name in names:
        match = IMAGE_COLUMN.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), name)
    numbered = sorted(found)
    in_a_row = numbered[:1] in ([0], [1]) and numbered == [
        *range(numbered[0], numbered[0] + len(numbered))
    ]
    return [found[number] for number in numbered] if in_a_row and len(numbered) > 1 else []


def _from_labels(records: list[dict], names: list[str]) -> tuple[list[dict], list[str]]:
    """Return rows of Pick-a-Pic: two images by id, and a label each: 1, 0, or 0.5 for a tie."""
    columns = _image_columns(names)
    if len(columns) != 2:
        found = [*names, "jpg_0, jpg_1 (pictures inside the table)"]
        raise _no_column(["image_0_uid and image_1_uid"], found)
    rows = []
    for record in records:
        identifiers = [_plain(record[column]) for column in columns]
        files = [
            f"{name}.jpg" if column.endswith("_uid") and name else name
            for column, name in zip(columns, identifiers, strict=True)
        ]
        marks = [_number(record["label_0"]), _number(record["label_1"])]
        row = {"prompt": record["caption"], "images": files, "choice": ""}
        if set(marks) == {0, 1}:
            row["choice"] = files[marks.index(1)]
        elif set(marks) == {0.5}:
            row["choice"] = "tie"
        if "user_id" in record:
            row["user"] = record["user_id"]
        rows.append(row | {key: record[key] for key in ("user", FAULT) if key in record})
    return rows, []


def _from_ranks(records: list[dict]) -> list[dict]:
    """Return rows of ranked images: of HPD v2, or of ImageRewardDB, which has a row per image."""
    groups: dict[Any, dict] = {}
    rows = []
    for number, record in enumerate(records):
        path, rank = record["image_path"], record["rank"]
        if _is_list(path) or record.get(FAULT):
            rows.append(record | {"images": path, RANKS: rank})
            continue
        key = _plain(record.get("prompt_id")) or f"row {number}"
        if key not in groups:
            groups[key] = record | {"images": [], RANKS: []}
            rows.append(groups[key])
        groups[key]["images"].append(path)
        groups[key][RANKS].append(rank)
    return rows


def _no_column(absent: list[str], found: list[str]) -> Problem:
    listed = ", ".join(f"{name!s:.40}" for name in found[:30]) or "no column"
    alone = len(found) <= 1
    unseparated = "other separators than , ; and tab, or no header"
    return Problem(
        "The table of choices lacks a column.",
        expected="prompt, images (or image_1, image_2 ...), choice",
        found=listed,
        cause=f"no {absent[0]}"
        + (f", and one column in all: {unseparated}" if alone else ""),
        fix="rename the column; docs/data_formats.md shows each kind of table that is read",
    )


# --- cells -------------------------------------------------------------------------------------


def _read_row(record: dict, columns: list[str], folder: Path) -> _Row | str:
    """Return a row, or why it is no choice."""
    if isinstance(record.get(FAULT), str):
        return record[FAULT]
    if _is_blank(record["prompt"]):
        return NO_PROMPT
    if not is_text(record["prompt"]):
        return BAD_PROMPT
    names = _names(record["images"], folder)
    if isinstance(names, str):
        return names
    if RANKS in record:
        chosen = _best(record[RANKS], len(names))
    else:
        chosen = _chosen(record["choice"], names, columns)
    if isinstance(chosen, str):
        return chosen
    user = _plain(record.get("user"))
    if user is None:
        return BAD_USER
    index, is_number = chosen
    return _Row(" ".join(record["prompt"].split()), tuple(names), index, is_number, user)


def _names(cell: Any, folder: Path) -> list[str] | str:
    """Return the names of a row's images, or why the row is none."""
    if isinstance(cell, str):
        cell = _split(cell)
    if not _is_list(cell):
        return COUNT
    names = [name.strip() if is_text(name) else "" for name in cell]
    if len(names) > 4:
        return MANY
    if len(names) < 2:
        return COUNT
    if not all(names):
        return NO_NAME
    names = [_below(name, folder) for name in names]
    if "" in names:
        return OUTSIDE
    return names if len(set(map(_same, names))) == len(names) else TWICE


def _same(name: str) -> str:
    """Return one spelling of a path for all: ``./a.png`` and ``.\\a.png`` are ``a.png``."""
    return name if "://" in name else PurePosixPath(name.replace("\\", "/")).as_posix()


def _split(cell: str) -> list:
    """Return the names in a cell: a list as JSON or Python write lists, or text between ``;``,
    ``|``, or commas.
    """
    cell = cell.strip()
    if cell.startswith("[") and cell.endswith("]"):
        try:
            return parse_json(cell, "a cell")
        except Problem:  # a file may be called [1].png;[2].png]
            written = _list_of_python(cell)
            if written:
                return written
    for separator in (";", "|"):
        if separator in cell:
            return _without_blank_end(cell.split(separator))
    names = [name.strip() for name in cell.split(",")]
    return names if all(name.lower().endswith(PICTURE_NAMES) for name in names) else [cell]


def _list_of_python(cell: str) -> list | None:
    """Return the names of a list as pandas writes lists into CSV: ``['a.png', 'b.png']``."""
    if len(cell) > LONGEST_LIST:
        return None
    try:
        names = ast.literal_eval(cell)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return names if isinstance(names, list) and all(map(is_text, names)) else None


def _without_blank_end(cells: list) -> list:
    while cells and _is_blank(cells[-1]):
        cells = cells[:-1]
    return cells


def _below(name: str, folder: Path) -> str:
    """Return an image's name relative to the folder, or ``""`` if the image is not below."""
    if name.startswith(("http://", "https://")):
        return name  # counted as a link that was not downloaded
    plain = PurePosixPath(name.replace("\\", "/"))
    if ".." in plain.parts or re.match(r"[A-Za-z]:", name):
        return ""
    if not plain.is_absolute():
        return name
    below = plain.is_relative_to(folder.absolute().as_posix())
    return plain.relative_to(folder.absolute().as_posix()).as_posix() if below else ""


def _chosen(cell: Any, names: list[str], columns: list[str]) -> tuple[int, bool] | str:
    """Return which image was chosen, and whether that is a number of the table; or why none was."""
    if _is_blank(cell):
        return NO_CHOICE
    if isinstance(cell, str):
        word = cell.strip()
        spellings = [_same(name) for name in names]
        if _same(word) in spellings:
            return spellings.index(_same(word)), False
        ends = [PurePosixPath(name.replace("\\", "/")).name for name in names]
        if ends.count(word) == 1:
            return ends.index(word), False
        if word.lower() in columns[: len(names)]:
            return columns.index(word.lower()), False
        if word.lower() in ("tie", "draw"):
            return TIE
    number = _number(cell)
    if number == 0.5:
        return TIE
    if number is None or number != int(number):
        return NO_IMAGE
    return int(number), True


def _best(ranks: Any, count: int) -> tuple[int, bool] | str:
    """Return the image of the smallest rank, or why there is none."""
    values = [_number(rank) for rank in ranks] if _is_list(ranks) else []
    if len(values) != count or None in values:
        return NO_IMAGE
    best = min(values)
    return TIE if values.count(best) > 1 else (values.index(best), False)


def _number(cell: Any) -> float | None:
    """Return a cell as a number, written with a point or a comma; None if the cell is none."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text.replace(",", ".")) if NUMBER.fullmatch(text) else None
    if isinstance(cell, bool) or not isinstance(cell, (numbers.Real, Decimal)):
        return None
    if isinstance(cell, numbers.Integral) and abs(int(cell)) > 10**15:
        return None
    value = float(cell)
    return value if math.isfinite(value) else None


def _plain(cell: Any) -> str | None:
    """Return a cell as text, ``""`` if blank; None if the cell is neither text nor a number."""
    if _is_blank(cell):
        return ""
    if isinstance(cell, str):
        return cell.strip() if is_text(cell) else None
    if isinstance(cell, bool) or not isinstance(cell, numbers.Real):
        return None
    if isinstance(cell, numbers.Integral):
        return str(int(cell)) if abs(int(cell)) < 10**40 else None
    return f"{float(cell):.17g}" if math.isfinite(cell) else None


def _is_blank(cell: Any) -> bool:
    if cell is None or cell is pd.NaT or cell is pd.NA:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float) and math.isnan(cell)


def _is_list(cell: Any) -> bool:
    return isinstance(cell, (list, tuple)) or getattr(cell, "ndim", 0) == 1


# --- numbers to images -------------------------------------------------------------------------


def _first_number(rows: list[_Row], columns: list[str], count_from: int | None) -> int:
    """Return the number of the first image, 0 or 1.

    Raises:
        Problem: if the table's numbers speak against what they would be taken for.
    """
    if count_from is not None:
        if count_from in (0, 1):
            return int(count_from)
        raise Problem(
            "The choices cannot be counted so.",
            expected="count_from 0 or 1",
            found=f"{count_from!r:.40}",
            cause="a slip",
            fix="--count-from 1 if the first image has number 1",
        )
    match = IMAGE_COLUMN.fullmatch(columns[0]) if columns else None
    first = int(match[1]) if match else 0
    numbered = [row for row in rows if row.is_number]
    zeros = sum(row.chosen == 0 for row in numbered)
    lasts = sum(row.chosen == len(row.names) for row in numbered)
    for_it, against = (zeros, lasts) if first == 0 else (lasts, zeros)
    if for_it == 0 and against > 0 and against >= TELLING * len(numbered):
        other = 1 - first
        written = "as many as there are images" if other else "0"
        raise Problem(
            f"The choices seem to be counted from {other}.",
            expected=f"numbers from {first}: the first image has number {first}",
            found=f"{against:,} of {len(numbered):,} numbers are {written} ({NO_IMAGE}), "
            f"and none is {'0' if other else 'the number of the last image'}",
            cause=f"the program that made the table counts from {other}",
            fix=f"--count-from {other}, or --count-from {first} if the table is right",
        )
    return first


def _in_range(rows: list[_Row], first: int) -> tuple[list[_Row], Counter]:
    """Return the rows whose number is that of an image, and how many have another."""
    kept = [
        row for row in rows if not row.is_number or 0 <= row.chosen - first < len(row.names)
    ]
    return kept, Counter({NO_IMAGE: len(rows) - len(kept)})


def _choices(rows: list[_Row], folder: Path, first: int) -> list[Choice]:
    key = user_key(folder) if any(row.user for row in rows) else b""
    choices = []
    for row in rows:
        user = hash_user(row.user, key) if row.user else ""
        chosen = row.chosen - first if row.is_number else row.chosen
        files = tuple(File(name, name) for name in row.names)
        choices.append(Choice("", user, row.prompt, files, chosen, folder))
    return choices


# --- the folder of images ----------------------------------------------------------------------


def _check_folder(images: Path) -> None:
    if os.path.isdir(images):
        return
    raise Problem(
        "The folder of images is not there.",
        expected="a folder that holds the images that the table names",
        found=f"{'a file' if os.path.exists(images) else 'no folder'} at {shown(images)}",
        cause="a misspelt path after --images; without --images it is the table's own folder",
        fix="--images FOLDER",
    )


# --- what was left out -------------------------------------------------------------------------


def _too_few(
    rows: int,
    choices: int,
    left: Counter,
    folder: Path,
    problem: Problem | None = None,
    read: Sequence[_Row] = (),
) -> Problem:
    """Return why too few choices are left, with the table of reasons.

    Args:
        rows, choices: of the table, and those that are left.
        left: reason -> rows.
        folder: of the images.
        problem: what the split says of the choices that are left, if they came so far.
        read: the rows whose images were looked for.
    """
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left.most_common())
    found = f"{choices:,} choices in {rows:,} rows; left out: {reasons or 'none'}"
    expected, cause = "at least one choice in train and one in test", "too few rows"
    fix = "collect more choices; docs/data_formats.md shows what a row must hold"
    if problem is not None:
        found, expected = f"{found}; {problem.found}", problem.expected
        cause, fix = problem.cause, problem.fix
    if left.total() > choices:
        main_reason = left.most_common(1)[0][0]
        cause = f"most rows are left out: {main_reason}"
        fix = "mend the rows; docs/data_formats.md shows what a row must hold"
        if main_reason == MISSING:
            cause, fix = _why_missing(read, folder)
    return Problem(
        "Too few choices are left for a data set.",
        expected=expected,
        found=found,
        cause=cause,
        fix=fix,
    )


def _why_missing(rows: Sequence[_Row], folder: Path) -> tuple[str, str]:
    """Return the cause of missing images, and what mends it."""
    names = [name for row in rows for name in row.names]
    lost = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
    example = f"{lost[0]:.200}" if lost else names[0]
    cause = f"{len(lost):,} of {len(names):,} images are not in {shown(folder)}"
    if len(lost) == len(names):
        cause = f"the images lie elsewhere: none of the names is a file below {shown(folder)}"
    return cause, f"--images FOLDER, so that FOLDER/{example} exists"
