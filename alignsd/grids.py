"""Pictures of an answer: read from where the exporter put them, cut out of a grid, and recognized when one is sent back.

A grid is one file that holds all pictures of an answer, two by two or in a row along a long side.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from alignsd.discord import File
from alignsd.images import LINKED, MISSING, BadImage, read_image

GRIDS = ("auto", "4", "2", "none")
SIDE = 32  # pixels; pictures are compared at this size, so that scaling and the codec do not matter
ALIKE = 12.0  # 0-255; mean difference up to which two pictures are the same one (our choice)


def cells(files: tuple[File, ...], count: int | None) -> tuple[File, ...]:
    """Returns one file per picture where one file holds ``count`` of them, 2 or 4; other files as they are."""
    if len(files) != 1 or count not in (2, 4):
        return files
    return tuple(replace(files[0], cell=(index, count)) for index in range(count))


def sent_back(uploads: Sequence[File], folder: Path, given: Sequence[File], given_folder: Path) -> list[int]:
    """Returns which of the pictures given in an answer a user's uploads are.

    Pictures with a file of their own are known by its name. Those of a grid have none: whoever goes on with one cuts it out, so
    the pixels are compared, at 32 x 32. Pictures that cannot be read are alike to nothing.

    Args:
        uploads: the user's files, in ``folder``.
        given: the answer's, in ``given_folder``; at least one.
    """
    if given[0].cell is None:
        names = {file.name for file in uploads}
        return [index for index, file in enumerate(given) if file.name in names]
    mine = [small for file in uploads if (small := _small(folder, file)) is not None]
    theirs = [_small(given_folder, file) for file in given] if mine else []
    return [index for index, cell in enumerate(theirs)
            if cell is not None and any(np.abs(cell - small).mean() <= ALIKE for small in mine)]


def _small(folder: Path, file: File) -> np.ndarray | None:
    try:
        image = Image.fromarray(picture(folder, file))
    except BadImage:
        return None
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)


def picture(folder: Path, file: File) -> np.ndarray:
    """Reads a picture ``(height, width, 3)`` uint8, or cuts it out of the grid that holds it.

    Raises:
        BadImage: if it was only linked, is missing, or is no whole picture.
    """
    image = read_image(_media(folder, file.url))
    if file.cell is None:
        return image
    index, count = file.cell
    height, width = image.shape[:2]
    down = 2 if count == 4 and max(height, width) < 3 * min(height, width) else 1 if width >= height else count
    row, column = divmod(index, count // down)
    tall, wide = height // down, width // (count // down)
    return image[row * tall:(row + 1) * tall, column * wide:(column + 1) * wide]


def _media(folder: Path, url: str) -> Path:
    """Where the exporter put a picture; a URL was not downloaded, and a path out of the export is not followed."""
    path = PurePosixPath(url.replace("\\", "/"))  # an export made on Windows
    if url.startswith(("http://", "https://")):
        raise BadImage(LINKED, url)
    if path.is_absolute() or ".." in path.parts or ":" in url:
        raise BadImage(MISSING, url)
    return folder / path
