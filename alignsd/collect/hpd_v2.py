"""HPD v2 (Wu et al., 2023, arXiv 2306.09341), read into the table of HPD v1.

``train.json`` has pairs: ``{"prompt", "file_path": [two],
"human_preference": [1, 0] or [0, 1]}``. ``test.json`` has ranked images: ``{"prompt",
"image_path": [n], "rank": [n]}``, 1 being the best; the best image counts as the chosen image.
"""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from alignsd.base.reading import is_text

TEST_IDS = 10**9  # train and test are numbered apart, so that both can be joined
MOST_IMAGES = 32  # a choice's images pass through CLIP together; HPD v2 has at most 9
NO_PICTURE = "no picture"  # how the fault of a missing picture starts
TWICE = "one picture named twice"  # the fault of a choice between a picture and itself
NO_BEST = "one best image expected"  # how the fault of a tie starts


def as_v1(
    records: Sequence[Any], folder: Path, part: str
) -> tuple[list[dict], list[tuple[int, str]]]:
    """Turn rows of HPD v2 into rows of HPD v1.

    Pictures may lie in ``folder`` or in the subfolder ``part``. The folder is listed once, since
    train has 433,760 images.

    Args:
        records: the file's list.
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.

    Returns:
        The rows that are whole, with HPD v1's six keys (``id`` is the row's number, ``user_hash``
        is empty), and the faults of the other rows as ``(row, fault)``.
    """
    pictures = picture_folder(folder, part)
    subfolder = part if pictures != folder else ""
    present = _files(pictures)
    first_id = TEST_IDS if part == "test" else 0
    rows = []
    faults = []
    for number, record in enumerate(records):
        try:
            files, chosen = _read_row(record, present, pictures)
        except ValueError as error:
            faults.append((number, str(error)))
            continue
        rows.append(
            {
                "human_preference": chosen,
                "prompt": record["prompt"],
                "id": first_id + number,
                "file_path": [str(PurePosixPath(subfolder, name)) for name in files],
                "user_hash": "",
                "contain_name": False,
            }
        )
    return rows, faults


def picture_folder(folder: Path, part: str) -> Path:
    """Return where a part's pictures lie: in the subfolder ``part`` if present."""
    return folder / part if os.path.isdir(folder / part) else folder


def is_below(name: str) -> bool:
    """Return whether a picture's name stays inside the data set's folder."""
    return not name.startswith("/") and ".." not in name.split("/")


def names_twice(names: Sequence[str]) -> bool:
    """Return whether two names are one picture: ``a.png`` and ``./a.png`` are."""
    return len({posixpath.normpath(name) for name in names}) < len(names)


def shown_name(name: str) -> str:
    """Return a picture's name for messages: no half characters, not too long."""
    plain = name if is_text(name) else repr(name)
    return plain if len(plain) <= 120 else f"{plain[:60]}...{plain[-50:]}"


def _read_row(record: Any, present: set[str], folder: Path) -> tuple[list[str], int]:
    """Return a row's files and the index of the chosen file.

    Args:
        record: the row.
        present: the files below ``folder``.
        folder: the folder of the part's pictures.

    Raises:
        ValueError: with the row's fault.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object expected, found {type(record).__name__}")
    is_ranked = "rank" in record
    prompt = record.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("no prompt")
    if not is_text(prompt):
        raise ValueError("the prompt holds half a character (a lone surrogate)")
    files = _checked_files(record.get("image_path" if is_ranked else "file_path"))
    marks = record.get("rank" if is_ranked else "human_preference")
    chosen = _best(marks, len(files), is_ranked)
    for name in files:
        if not _exists(name, present, folder):
            raise ValueError(f"{NO_PICTURE} {shown_name(name)}")
    return files, chosen


def _checked_files(files: Any) -> list[str]:
    """Return a row's file names.

    Raises:
        ValueError: if there are fewer than two names, or too many, if a name is no text, or if two
            names are one picture.
    """
    is_list = isinstance(files, list) and len(files) >= 2
    if not is_list or not all(isinstance(name, str) for name in files):
        raise ValueError("at least two file names expected")
    if len(files) > MOST_IMAGES:
        raise ValueError(f"at most {MOST_IMAGES} images of one prompt expected, found {len(files)}")
    if names_twice(files):
        raise ValueError(TWICE)
    return files


def _best(marks: Any, count: int, is_ranked: bool) -> int:
    """Return the index of the best image.

    Args:
        marks: ranks, 1 being the best; or 0 and 1, 1 being the best.
        count: the number of images.
        is_ranked: whether the marks are ranks.

    Raises:
        ValueError: if there is not one whole number per image, or not exactly one best image.
    """
    is_list = isinstance(marks, list) and len(marks) == count
    if not is_list or not all(type(mark) is int for mark in marks):
        raise ValueError(f"one whole number per image expected, found {marks!r:.40}")
    best = min(marks) if is_ranked else 1
    are_marks = is_ranked or set(marks) == {0, 1}
    if marks.count(best) != 1 or not are_marks:
        raise ValueError(f"{NO_BEST}, found {marks!r:.40}")
    return marks.index(best)


def _exists(name: str, present: set[str], folder: Path) -> bool:
    """Return whether a picture exists; ``present`` lacks the files behind a linked folder."""
    if name in present or str(PurePosixPath(name)) in present:
        return True
    return is_below(name) and os.path.isfile(os.path.join(folder, name))


def _files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to the folder."""
    start = len(str(folder).rstrip(os.sep)) + 1
    paths: set[str] = set()
    for parent, _, names in os.walk(folder):
        below = parent[start:].replace(os.sep, "/")
        prefix = f"{below}/" if below else ""
        paths.update(prefix + name for name in names)
    return paths
