"""Reads HPD v2 (Wu et al., 2023, arXiv 2306.09341) into the table of HPD v1, so that every notebook takes either.

``train.json`` has pairs: ``{"prompt", "file_path": [two], "human_preference": [1, 0] or [0, 1]}``. ``test.json`` has ranked
images: ``{"prompt", "image_path": [n], "rank": [n]}``, 1 being the best; the best one counts as the chosen one.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

TEST_IDS = 10**9  # train and test are numbered apart, so that both can be joined


def as_v1(records: Sequence[Any], folder: Path, part: str) -> tuple[list[dict], list[tuple[int, str]]]:
    """Turns rows of HPD v2 into rows of HPD v1.

    Pictures may lie in ``folder`` or in its subfolder ``part``. The folder is listed once, since train has 433,760 images.

    Args:
        records: the file's list.
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.

    Returns:
        The rows that are whole, with HPD v1's six keys (``id`` is the row's number, ``user_hash`` is empty), and the faults
        of the others as ``(row, fault)``.
    """
    inside = part if (folder / part).is_dir() else ""
    present = _files(folder / inside)
    rows, faults = [], []
    for number, record in enumerate(records):
        try:
            files, chosen = _row(record, present)
        except ValueError as error:
            faults.append((number, str(error)))
            continue
        rows.append({"human_preference": chosen, "prompt": record["prompt"], "id": number + TEST_IDS * (part == "test"),
                     "file_path": [str(PurePosixPath(inside, name)) for name in files], "user_hash": "", "contain_name": False})
    return rows, faults


def _row(record: Any, present: set[str]) -> tuple[list[str], int]:
    """Returns a row's files and which of them is chosen, or raises ValueError with its fault."""
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object expected, found {type(record).__name__}")
    prompt, ranked = record.get("prompt"), "rank" in record
    files, marks = (record.get(key) for key in (("image_path", "rank") if ranked else ("file_path", "human_preference")))
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("no prompt")
    if not isinstance(files, list) or len(files) < 2 or not all(isinstance(name, str) for name in files):
        raise ValueError("at least two file names expected")
    if not isinstance(marks, list) or len(marks) != len(files) or not all(type(mark) is int for mark in marks):
        raise ValueError(f"one whole number per image expected, found {marks!r}"[:80])
    best = min(marks) if ranked else 1
    if marks.count(best) != 1 or not ranked and sum(marks) != 1:
        raise ValueError(f"one best image expected, found {marks}")
    if missing := [name for name in files if str(PurePosixPath(name)) not in present]:
        raise ValueError(f"no picture {missing[0]}")
    return files, marks.index(best)


def _files(folder: Path) -> set[str]:
    return {(Path(place) / name).relative_to(folder).as_posix() for place, _, names in os.walk(folder) for name in names}
