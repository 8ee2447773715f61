"""Cells of tables that other people's programs wrote: texts, numbers, lists, and image names."""

import ast
import math
import numbers
import os
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.images import SUFFIXES
from alignsd.base.reading import is_text, parse_json

NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:[.,][0-9]{0,15})?")
LARGEST_NUMBER = 10**15
LONGEST_USER = 10**40  # numbers below are users; larger numbers are none
QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
LIST_OF_NUMPY = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))*\s*\]""")
LONGEST_LIST = 10_000  # characters of a cell that is read as a list of Python


def is_blank(cell: Any) -> bool:
    """Return whether a cell holds nothing: an empty text, None or NaN."""
    if cell is None or cell is pd.NaT or cell is pd.NA:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float) and math.isnan(cell)


def is_list(cell: Any) -> bool:
    """Return whether a cell holds a list."""
    return isinstance(cell, (list, tuple)) or getattr(cell, "ndim", 0) == 1


def number_in(cell: Any) -> float | None:
    """Return a cell as a number, written with a point or a comma; None if the cell is no number."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text.replace(",", ".")) if NUMBER.fullmatch(text) else None
    if isinstance(cell, bool) or not isinstance(cell, (numbers.Real, Decimal)):
        return None
    if isinstance(cell, numbers.Integral) and abs(int(cell)) > LARGEST_NUMBER:
        return None
    value = float(cell)
    return value if math.isfinite(value) else None


def text_in(cell: Any) -> str | None:
    """Return a cell as text, ``""`` if blank; None if the cell is neither text nor a number."""
    if is_blank(cell):
        return ""
    if isinstance(cell, str):
        return cell.strip() if is_text(cell) else None
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        cell = int(cell)  # databases write whole numbers as decimals
    if isinstance(cell, bool) or not isinstance(cell, (numbers.Real, Decimal)):
        return None
    if isinstance(cell, numbers.Integral):
        return str(int(cell)) if abs(int(cell)) < LONGEST_USER else None
    return f"{float(cell):.17g}" if math.isfinite(cell) else None


def names_in(cell: str) -> list[Any]:
    """Return the names in a cell of text.

    The cell is a list as JSON or Python write lists, or holds names between ``;``, ``|`` or commas.
    """
    cell = cell.strip()
    if cell.startswith("[") and cell.endswith("]"):
        try:
            return parse_json(cell, "a cell")
        except Problem:  # two files may be called "[1].png;[2].png]"
            names = _list_of_python(cell)
            if names:
                return names
    for separator in (";", "|"):
        if separator in cell:
            return without_blank_end(cell.split(separator))
    names = [name.strip() for name in cell.split(",")]
    if all(name.lower().endswith(SUFFIXES) for name in names):
        return names
    return [cell]


def without_blank_end(cells: Sequence[Any]) -> list[Any]:
    """Return cells without the blank cells at the end."""
    end = len(cells)
    while end and is_blank(cells[end - 1]):
        end -= 1
    return list(cells[:end])


def plain_name(name: str) -> str:
    """Return the common spelling of a path: ``./a.png`` and ``.\\a.png`` become ``a.png``."""
    return name if "://" in name else with_slashes(name).as_posix()


def last_part(name: str) -> str:
    """Return the last part of a path, without the folders."""
    return with_slashes(name).name


def with_slashes(name: str) -> PurePosixPath:
    """Return a path with slashes, as every system except Windows writes paths."""
    return PurePosixPath(name.replace("\\", "/"))


def name_below(name: str, folder: Path) -> str | None:
    """Return an image's name relative to the folder, or None if the image is not below."""
    if name.startswith(("http://", "https://")):
        return name  # counted as a link that was not downloaded
    path = with_slashes(name)
    if ".." in path.parts or re.match(r"[A-Za-z]:", name):
        return None
    if not path.is_absolute():
        return name
    base = folder.absolute().as_posix()
    if path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    # The folder, or one above, may be a link, or may have been named with "..".
    real = PurePosixPath(os.path.realpath(path.parent), path.name)
    base = os.path.realpath(folder)
    return real.relative_to(base).as_posix() if real.is_relative_to(base) else None


def _list_of_python(cell: str) -> list[str] | None:
    """Return the names of a list as pandas writes lists into CSV: ``['a.png', 'b.png']``.

    Arrays of numpy are written without commas.
    """
    if len(cell) > LONGEST_LIST:
        return None
    if LIST_OF_NUMPY.fullmatch(cell):
        return [single or double for single, double in QUOTED.findall(cell)]
    try:
        names = ast.literal_eval(cell)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return names if isinstance(names, list) and all(map(is_text, names)) else None
