"""The pictures of choices: a row per picture, and the choices whose pictures can all be read."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, read_image
from alignsd.base.paths import shown

READERS = 8  # threads that read pictures


def images_of(choices: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image of every choice.

    Args:
        choices: columns ``id``, ``prompt``, ``file_path`` (list) and ``human_preference``.

    Returns:
        ``id``, ``prompt``, ``file_path``, ``human_preference``, ``index`` (position of the image
        within its choice) and ``preferred`` (bool, whether the image was chosen).
    """
    columns = choices[["id", "prompt", "file_path", "human_preference"]]
    images = columns.explode("file_path", ignore_index=True)
    images["index"] = images.groupby("id").cumcount()
    images["preferred"] = images["index"] == images["human_preference"]
    return images


def readable_choices(
    choices: pd.DataFrame, folder: Path, needed: bool = True
) -> tuple[pd.DataFrame, Counter[str]]:
    """Open every picture once, and leave out each choice with a picture that cannot be used.

    Args:
        choices: with a column ``file_path`` (list of paths below ``folder``).
        folder: the data set's folder.
        needed: whether at least one choice must be left.

    Returns:
        The choices whose pictures can all be used, in their order; and reason -> number of choices
        left out. The reason is that of the choice's first bad picture, in the words of ``images``.

    Raises:
        Problem: if ``needed`` and no choice is left; the message counts the reasons.
    """
    paths = list(dict.fromkeys(path for row in choices["file_path"] for path in row))
    with ThreadPoolExecutor(max_workers=READERS) as reader:
        reasons = reader.map(lambda path: _fault(folder / path), paths)
        reason_of = dict(zip(paths, reasons, strict=True))
    faults = [_first_fault(row, reason_of) for row in choices["file_path"]]
    left_out = Counter(fault for fault in faults if fault)
    whole = choices[[fault is None for fault in faults]].reset_index(drop=True)
    if needed and whole.empty:
        raise _no_choice(len(choices), left_out, folder)
    return whole, left_out


def _fault(path: Path) -> str | None:
    """Return why a picture cannot be used, or None if the picture is whole."""
    try:
        read_image(path)
    except BadImage as error:
        return error.reason
    return None


def _first_fault(paths: Iterable[str], reason_of: Mapping[str, str | None]) -> str | None:
    """Return the fault of the first bad picture, or None if all pictures are whole."""
    for path in paths:
        if reason_of[path]:
            return reason_of[path]
    return None


def _no_choice(choices: int, left_out: Counter[str], folder: Path) -> Problem:
    counts = ", ".join(f"{reason}: {count}" for reason, count in left_out.most_common())
    return Problem(
        "No choice can be used.",
        expected="choices whose pictures are all there and whole",
        found=f"{choices} choices left out ({counts})" if counts else "no choices",
        cause="the pictures were not downloaded or unpacked, or lie in another folder",
        fix=f"put the pictures below {shown(folder)}; docs/data.md says where to get the pictures",
    )
