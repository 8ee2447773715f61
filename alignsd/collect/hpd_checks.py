"""Checks of HPD's rows: every fault is counted, and a message names the likely cause."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import is_text
from alignsd.collect import hpd_v2

KEYS = {
    "human_preference": int,
    "prompt": str,
    "id": int,
    "file_path": list,
    "user_hash": str,
    "contain_name": bool,
}
OPTIONAL = ("user_hash", "contain_name")  # no computation needs these keys
LARGEST_ID = 2**63 - 1  # what a table of 64-bit integers holds
SHOWN = 3  # faults that a message lists
SHOWN_ROWS = 20  # numbers of rows to take out that a message lists


class Incomplete(Problem):
    """A part of a data set is missing: the file, or some of the pictures."""


def validate(records: Sequence[Any], folder: Path) -> list[tuple[int, str]]:
    """Return the faults of an HPD v1 list as ``(row, fault)``; empty for a list without faults.

    Types, pictures, index and ids are checked. ``user_hash`` and ``contain_name`` are not: no
    computation needs these keys.

    Args:
        records: the list, as read from the JSON file.
        folder: the data set's folder.
    """
    row_of_id: dict[int, int] = {}
    faults = []
    for row, record in enumerate(records):
        fault = _fault(record, folder)
        if fault is None and record["id"] in row_of_id:
            fault = f"id {record['id']} stands in row {row_of_id[record['id']]} too"
        if fault is None:
            row_of_id[record["id"]] = row
        else:
            faults.append((row, fault))
    return faults


def faulty(path: Path, records: Sequence[Any], faults: Sequence[tuple[int, str]]) -> Problem:
    """Return what is wrong with a part's rows, and the likely cause.

    Args:
        path: the part's file.
        records: the part's rows.
        faults: ``(row, fault)``, not empty.

    Returns:
        ``Incomplete`` if nothing but pictures is missing.
    """
    listed = [f"row {row}: {fault}" for row, fault in faults[:SHOWN]]
    found = "; ".join(listed) + (" ..." if len(faults) > SHOWN else "")
    cause, fix = _cause_and_fix(path, faults)
    lost = _rows_with(hpd_v2.NO_PICTURE, faults)
    if lost:
        found = f"{_count_missing(path, records)}; {found}"
    kind = Incomplete if len(lost) == len(faults) else Problem
    rows_with_faults = {row for row, _ in faults}
    return kind(
        f"{path.name} has {len(rows_with_faults)} faulty rows of {len(records)}.",
        expected="HPD v1 or v2: pictures that exist, one of them chosen, ids used once",
        found=found,
        cause=cause,
        fix=fix,
    )


def _cause_and_fix(path: Path, faults: Sequence[tuple[int, str]]) -> tuple[str, str]:
    """Return the likely cause of a part's faults, and how to mend the faults."""
    if _rows_with(hpd_v2.NO_PICTURE, faults):
        cause = "the pictures were not unpacked, lie in another folder, or the copy was interrupted"
        return cause, f"unpack all of the release's pictures into {shown(path.parent)}"
    tied = _rows_with(hpd_v2.NO_BEST, faults)
    if tied:
        cause = "two images share the best place: neither HPD v1 nor the loss has a place for ties"
        return cause, f"take the rows without one best image out of {path.name}: {_shown(tied)}"
    twice = _rows_with(hpd_v2.TWICE, faults)
    if twice:
        cause = "the file was edited, or a program named one image of a choice twice"
        return cause, f"take the rows with one picture twice out of {path.name}: {_shown(twice)}"
    cause = "the file was edited, or another program made it"
    return cause, "collect the choices again, or unpack the release again"


def _rows_with(start: str, faults: Sequence[tuple[int, str]]) -> list[int]:
    """Return the rows whose fault starts with some words."""
    return [row for row, fault in faults if fault.startswith(start)]


def _shown(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:SHOWN_ROWS])) + (" ..." if len(rows) > SHOWN_ROWS else "")


def is_picture(folder: Path, name: str) -> bool:
    """Return whether a row's picture is a file below the data set's folder."""
    return hpd_v2.is_below(name) and os.path.isfile(os.path.join(folder, name))


def _fault(record: Any, folder: Path) -> str | None:
    """Return the first fault of a single row."""
    if not isinstance(record, dict):
        return f"a JSON object expected, found {type(record).__name__}"
    for key, kind in KEYS.items():
        if key in OPTIONAL:
            continue
        if key not in record:
            return f"no {key}"
        if type(record[key]) is not kind:
            return f"{key} is {type(record[key]).__name__}, not {kind.__name__}"
    return _fault_in_values(record) or _fault_in_pictures(record["file_path"], folder)


def _fault_in_values(record: dict[str, Any]) -> str | None:
    """Return the first fault of a row whose keys have the right types."""
    paths, chosen, number = record["file_path"], record["human_preference"], record["id"]
    if not 2 <= len(paths) <= 4 or not all(isinstance(path, str) for path in paths):
        return f"file_path must name 2 to 4 pictures, found {len(paths)}"
    if hpd_v2.names_twice(paths):
        return hpd_v2.TWICE
    if not 0 <= chosen < len(paths):
        return f"human_preference is {_short(chosen)}, with {len(paths)} pictures"
    if not -LARGEST_ID <= number <= LARGEST_ID:
        return f"id is {_short(number)}, more than 64 bits"
    if not record["prompt"].strip():
        return "the prompt is empty"
    if not is_text(record["prompt"]):
        return "the prompt holds half a character (a lone surrogate)"
    return None


def _fault_in_pictures(paths: Sequence[str], folder: Path) -> str | None:
    """Return the fault of a row's first missing picture."""
    for path in paths:
        if not is_picture(folder, path):
            return f"{hpd_v2.NO_PICTURE} {hpd_v2.shown_name(path)}"
    return None


def _count_missing(path: Path, records: Sequence[Any]) -> str:
    """Return how many of the pictures that a part names are missing, in words."""
    is_v2 = path.stem in ("train", "test")
    folder = hpd_v2.picture_folder(path.parent, path.stem) if is_v2 else path.parent
    names = set(_named_pictures(records))
    missing = [name for name in names if not is_picture(folder, name)]
    counts = f"{len(missing):,} of {len(names):,} pictures are missing"
    parent = os.path.dirname(min(missing, default=""))
    if hpd_v2.is_below(parent) and not os.path.isdir(os.path.join(folder, parent)):
        counts += f", there is no folder {hpd_v2.shown_name(parent)}"
    return counts


def _named_pictures(records: Sequence[Any]) -> Iterator[str]:
    """Yield the pictures that the rows name."""
    for record in records:
        if not isinstance(record, dict):
            continue
        for key in ("file_path", "image_path"):
            names = record.get(key)
            if isinstance(names, list):
                yield from (name for name in names if is_text(name))


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**20 else "a number of more than 20 digits"
