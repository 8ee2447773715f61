"""Rows of a table of choices: a prompt, two to four images, and which image was chosen.

Tables of Pick-a-Pic, ImageRewardDB and HPD v2 are turned into the same rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.reading import is_text
from alignsd.collect.own.cells import (
    is_blank,
    is_list,
    last_part,
    name_below,
    names_in,
    number_in,
    plain_name,
    text_in,
    without_blank_end,
)
from alignsd.collect.own.tables import FAULT, IMAGE_COLUMN, named_columns

# Why a row is left out. import-choices prints these words.
NO_PROMPT = "no prompt"
BAD_PROMPT = "the prompt is no text"
COUNT = "not two to four images"
MANY = "more than four images: HPD v1 holds two to four"
NO_NAME = "an image without a name"
TWICE = "one image named twice"
OUTSIDE = "an image outside the folder of images"
NO_CHOICE = "no choice"
NO_IMAGE = "the choice is none of the images"
TIE = "a tie: HPD v1 holds one chosen image"
BAD_USER = "the user is neither text nor a number"

RANKS = "ranks"  # the key of a row's list of ranks, in place of a choice; 1 is the best
SHOWN = 30  # columns that a message lists


@dataclass(frozen=True)
class Row:
    """A row that can be a choice.

    Attributes:
        prompt: in single spaces.
        names: two to four image names, relative to the folder of images.
        chosen: an index from 0, or the number in the table.
        is_number: whether ``chosen`` is the number in the table, which may count from 0 or 1.
        user: the user's name, or ``""``.
    """

    prompt: str
    names: tuple[str, ...]
    chosen: int
    is_number: bool
    user: str


class Unusable(Exception):
    """A row that is no choice; the text is the reason."""


def records_of(table: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a table's rows in the kit's form, and the names of the columns of single images.

    Args:
        table: of the kit's own form, or of Pick-a-Pic, ImageRewardDB or HPD v2.

    Returns:
        Rows with ``prompt``, ``images`` and ``choice``, or ``ranks`` in place of ``choice``; and
        the image columns, empty if a single column names all images.

    Raises:
        Problem: if a column is missing, or two columns share a name.
    """
    names = named_columns(table.columns, "The table of choices")
    cells = table.itertuples(index=False, name=None)
    records = [dict(zip(names, row, strict=True)) for row in cells]
    known = set(names)
    if {"caption", "label_0", "label_1"} <= known:
        return _from_labels(records, names), []
    if "images" not in known and {"prompt", "image_path", "rank"} <= known:
        return _from_ranks(records), []
    if {"prompt", "generations", "ranking"} <= known:
        return [_from_ranking(record) for record in records], []
    columns = [] if "images" in known else _image_columns(names)
    if columns:
        known.add("images")
        for record in records:
            record["images"] = without_blank_end([record[column] for column in columns])
    absent = [name for name in ("prompt", "images", "choice") if name not in known]
    if absent:
        raise _no_column(absent[0], [*names, *table.attrs.get("other columns", ())])
    return records, columns


def read_row(record: Mapping[str, Any], columns: Sequence[str], folder: Path) -> Row:
    """Return the row that a record of ``records_of`` holds.

    Args:
        record: with ``prompt``, ``images`` and ``choice`` or ``ranks``.
        columns: the image columns.
        folder: the images' folder.

    Raises:
        Unusable: if the record is no choice.
    """
    if isinstance(record.get(FAULT), str):
        raise Unusable(record[FAULT])
    prompt = record["prompt"]
    if is_blank(prompt):
        raise Unusable(NO_PROMPT)
    if not is_text(prompt):
        raise Unusable(BAD_PROMPT)
    names = _names(record["images"], folder)
    if RANKS in record:
        chosen, is_number = _best(record[RANKS], len(names)), False
    else:
        chosen, is_number = _chosen(record["choice"], names, columns)
    user = text_in(record.get("user"))
    if user is None:
        raise Unusable(BAD_USER)
    return Row(" ".join(prompt.split()), tuple(names), chosen, is_number, user)


def _image_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that hold one image each, ordered by number.

    The numbers must count up from 0 or 1; otherwise there are no such columns.
    """
    columns: dict[int, str] = {}
    for name in names:
        match = IMAGE_COLUMN.fullmatch(name)
        if match:
            columns.setdefault(int(match[1]), name)
    if len(columns) < 2 or min(columns) > 1:
        return []
    expected = range(min(columns), min(columns) + len(columns))
    if sorted(columns) != list(expected):
        return []
    return [columns[number] for number in expected]


def _from_labels(records: Sequence[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return rows of Pick-a-Pic: two images by id, and a label each: 1, 0, or 0.5 for a tie."""
    columns = _image_columns(names)
    if len(columns) != 2:
        found = [*names, "jpg_0, jpg_1 (pictures inside the table)"]
        raise _no_column("image_0_uid and image_1_uid", found)
    rows = []
    for record in records:
        files = [_file_of(record, column) for column in columns]
        labels = [number_in(record["label_0"]), number_in(record["label_1"])]
        row: dict[str, Any] = {"prompt": record["caption"], "images": files, "choice": ""}
        if set(labels) == {0, 1}:
            row["choice"] = files[labels.index(1)]
        elif set(labels) == {0.5}:
            row["choice"] = "tie"
        if "user_id" in record:
            row["user"] = record["user_id"]
        for key in ("user", FAULT):
            if key in record:
                row[key] = record[key]
        rows.append(row)
    return rows


def _file_of(record: Mapping[str, Any], column: str) -> str | None:
    """Return the image that a column of Pick-a-Pic names: the id is the file's name."""
    name = text_in(record[column])
    return f"{name}.jpg" if name and column.endswith("_uid") else name


def _from_ranks(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of ranked images: of HPD v2, or of ImageRewardDB, which has a row per image."""
    groups: dict[str, dict[str, Any]] = {}
    rows = []
    for number, record in enumerate(records):
        path, rank = record["image_path"], record["rank"]
        if is_list(path) or record.get(FAULT):
            rows.append(record | {"images": path, RANKS: rank})
            continue
        key = text_in(record.get("prompt_id")) or f"row {number}"
        if key not in groups:
            groups[key] = record | {"images": [], RANKS: []}
            rows.append(groups[key])
        groups[key]["images"].append(path)
        groups[key][RANKS].append(rank)
    return rows


def _from_ranking(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ImageRewardDB's list of prompts, which has all images in a single cell."""
    new_names = {"generations": "images", "ranking": RANKS}
    return {new_names.get(name, name): cell for name, cell in record.items()}


def _no_column(absent: str, found: Sequence[str]) -> Problem:
    cause = f"no {absent}"
    if len(found) <= 1:
        cause += ", and one column in all: other separators than , ; and tab, or no header"
    return Problem(
        "The table of choices lacks a column.",
        expected="prompt, images (or image_1, image_2 ...), choice",
        found=", ".join(f"{name!s:.40}" for name in found[:SHOWN]) or "no column",
        cause=cause,
        fix="rename the column; docs/data_formats.md shows each kind of table that is read",
    )


def _names(cell: Any, folder: Path) -> list[str]:
    """Return the names of a row's images, relative to the folder.

    Raises:
        Unusable: if the names are not two to four images below the folder.
    """
    if isinstance(cell, str):
        cell = names_in(cell)
    if not is_list(cell):
        raise Unusable(COUNT)
    names = [name.strip() if is_text(name) else "" for name in cell]
    if len(names) > 4:
        raise Unusable(MANY)
    if len(names) < 2:
        raise Unusable(COUNT)
    if not all(names):
        raise Unusable(NO_NAME)
    below = [name_below(name, folder) for name in names]
    inside = [name for name in below if name]
    if len(inside) < len(names):
        raise Unusable(OUTSIDE)
    if len({plain_name(name) for name in inside}) < len(inside):
        raise Unusable(TWICE)
    return inside


def _chosen(cell: Any, names: Sequence[str], columns: Sequence[str]) -> tuple[int, bool]:
    """Return which image was chosen, and whether the result is a number of the table.

    Raises:
        Unusable: if no image was chosen.
    """
    if is_blank(cell):
        raise Unusable(NO_CHOICE)
    if isinstance(cell, str):
        index = _index_of(cell.strip(), names, columns)
        if index is not None:
            return index, False
        if cell.strip().lower() in ("tie", "draw"):
            raise Unusable(TIE)
    number = number_in(cell)
    if number == 0.5:
        raise Unusable(TIE)
    if number is None or number != int(number):
        raise Unusable(NO_IMAGE)
    return int(number), True


def _index_of(word: str, names: Sequence[str], columns: Sequence[str]) -> int | None:
    """Return the index of the image that a word names: by path, by file name or by column."""
    paths = [plain_name(name) for name in names]
    if plain_name(word) in paths:
        return paths.index(plain_name(word))
    file_names = [last_part(name) for name in names]
    if file_names.count(word) == 1:
        return file_names.index(word)
    columns_of_row = list(columns[: len(names)])
    if word.lower() in columns_of_row:
        return columns_of_row.index(word.lower())
    return None


def _best(ranks: Any, count: int) -> int:
    """Return the index of the image with the smallest rank.

    Raises:
        Unusable: if a rank is no number, or several images have the smallest rank.
    """
    numbers = [number_in(rank) for rank in ranks] if is_list(ranks) else []
    values = [number for number in numbers if number is not None]
    if len(values) != count or len(values) != len(numbers):
        raise Unusable(NO_IMAGE)
    best = min(values)
    if values.count(best) > 1:
        raise Unusable(TIE)
    return values.index(best)
