"""The pictures with which FID compares the images of an arm."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alignsd.base.errors import Problem
from alignsd.base.images import OTHER_SUFFIXES, SUFFIXES, BadImage, read_image
from alignsd.base.reading import is_lost_link, listed

FEWEST = 2  # pictures: one picture has no covariance


def pictures_in(folder: Path) -> tuple[Iterator[np.ndarray], Counter[str]]:
    """Return the pictures of a folder and of the folders below, and a count of unreadable files.

    Folders that links lead to count as folders below. Pictures of formats that are not read, such
    as GIF, and links to files or folders that are not there count as unreadable files.

    Returns:
        An iterator of pictures ``(h, w, 3)`` uint8, read one at a time, and the number of files
        that were left out for each reason. The counts are complete when all pictures were taken.

    Raises:
        Problem: when all pictures were taken, if fewer than two were readable.
    """
    left_out: Counter[str] = Counter()
    return _readable(folder, left_out), left_out


def _readable(folder: Path, left_out: Counter[str]) -> Iterator[np.ndarray]:
    """Yield the readable pictures of a folder, and count the other files in ``left_out``."""
    try:
        files = [file for file in listed(folder, deep=True, lost=True) if _is_named_picture(file)]
    except Problem as problem:
        raise _too_few(folder, problem.found, problem.cause, left_out) from problem
    readable = 0
    for path in files:
        try:
            picture = read_image(path)
        except BadImage as error:
            left_out[error.reason] += 1
            continue
        readable += 1
        yield picture
    if readable < FEWEST:
        raise _too_few(folder, str(readable), "a wrong path, or damaged files", left_out)


def _is_named_picture(file: Path) -> bool:
    """Return whether a file is a picture by its name, or a lost link, perhaps to a folder."""
    return file.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES) or is_lost_link(file)


def _too_few(folder: Path, found: str, cause: str, left_out: Counter[str]) -> Problem:
    return Problem(
        "There are too few reference pictures for FID.",
        expected=f"a folder with at least {FEWEST} readable images",
        found=f"{found} in {folder}, left out: {dict(left_out) or 'none'}",
        cause=cause,
        fix="--set fid_reference=FOLDER with a folder of images, "
        "or --set fid_reference=miniature; docs/data.md",
    )
