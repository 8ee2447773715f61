"""Read HPD v2 (Wu et al., 2023, arXiv 2306.09341) into the table of HPD v1.

Every notebook takes either. ``train.json`` has pairs: ``{"prompt", "file_path": [two],
"human_preference": [1, 0] or [0, 1]}``. ``test.json`` has ranked images: ``{"prompt",
"image_path": [n], "rank": [n]}``, 1 being the best; the best one counts as the chosen one.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from alignsd.base.reading import is_text

TEST_IDS = 10**9  # train and test are numbered apart, so that both can be joined
# A choice's images pass through the CLIP together. HPD v2 has 9 at most.
MOST_IMAGES = 32
NO_PICTURE = "no picture"  # how the fault of a missing picture starts
NO_BEST = "one best image expected"  # how the fault of a tie starts


def as_v1(
    records: Sequence[Any], folder: Path, part: str
) -> tuple[list[dict], list[tuple[int, str]]]:
    """Turn rows of HPD v2 into rows of HPD v1.

    Pictures may lie in ``folder`` or in its subfolder ``part``. The folder is listed once, since
    train has 433,760 images.

    Args:
        records: the file's list.
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.

    Returns:
        The rows that are whole, with HPD v1's six keys (``id`` is the row's number, ``user_hash``
        is empty), and the faults of the others as ``(row, fault)``.
    """
    place = picture_folder(folder, part)
    inside = part if place != folder else ""
    present = _files(place)
    first_id = TEST_IDS if part == "test" else 0
    rows, faults = [], []
    for number, record in enumerate(records):
        try:
            files, chosen = _row(record, present, place)
        except ValueError as error:
            faults.append((number, str(error)))
            continue
        rows.append(
            {
                "human_preference": chosen,
                "prompt": record["prompt"],
                "id": first_id + number,
                "file_path": [str(PurePosixPath(inside, name)) for name in files],
                "user_hash": "",
                "contain_name": False,
            }
        )
    return rows, faults


def picture_folder(folder: Path, part: str) -> Path:
    """Return where a part's pictures lie: the folder ``part`` if there is one."""
    return folder / part if os.path.isdir(folder / part) else folder


def is_below(name: str) -> bool:
    """Return whether a picture's name stays inside its data set's folder."""
    return not name.startswith("/") and ".." not in name.split("/")


def shown_name(name: str) -> str:
    """Return a picture's name as messages print it: no half characters, not too long."""
    plain = name if is_text(name) else repr(name)
    return plain if len(plain) <= 120 else f"{plain[:60]}...{plain[-50:]}"


def _row(record: Any, present: set[str], folder: Path) -> tuple[list[str], int]:
    """Return a row's files and which of them is chosen.

    Raises:
        ValueError: with the row's fault.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object expected, found {type(record).__name__}")
    ranked = "rank" in record
    prompt = record.get("prompt")
    files = record.get("image_path" if ranked else "file_path")
    marks = record.get("rank" if ranked else "human_preference")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("no prompt")
    if not is_text(prompt):
        raise ValueError("the prompt holds half a character (a lone surrogate)")
    _check_files(files)
    if not isinstance(marks, list) or len(marks) != len(files):
        raise ValueError(f"one whole number per image expected, found {marks!r:.40}")
    if not all(type(mark) is int for mark in marks):
        raise ValueError(f"one whole number per image expected, found {marks!r:.40}")
    best = min(marks) if ranked else 1
    others_are_marks = ranked or set(marks) == {0, 1}
    if marks.count(best) != 1 or not others_are_marks:
        raise ValueError(f"{NO_BEST}, found {marks!r:.40}")
    missing = next((name for name in files if not _exists(name, present, folder)), None)
    if missing is not None:
        raise ValueError(f"{NO_PICTURE} {shown_name(missing)}")
    return files, marks.index(best)


def _check_files(files: Any) -> None:
    is_list = isinstance(files, list) and len(files) >= 2
    if not is_list or not all(isinstance(name, str) for name in files):
        raise ValueError("at least two file names expected")
    if len(files) > MOST_IMAGES:
        raise ValueError(f"at most {MOST_IMAGES} images of one prompt expected, found {len(files)}")


def _exists(name: str, present: set[str], folder: Path) -> bool:
    """Return whether a picture is there; behind a linked folder only its own path tells."""
    if name in present or str(PurePosixPath(name)) in present:
        return True
    return is_below(name) and os.path.isfile(os.path.join(folder, name))


def _files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to the folder."""
    start = len(str(folder).rstrip(os.sep)) + 1
    found = set()
    for place, _, names in os.walk(folder):
        prefix = f"{place[start:]}/".replace(os.sep, "/") if place[start:] else ""
        found.update(prefix + name for name in names)
    return found
