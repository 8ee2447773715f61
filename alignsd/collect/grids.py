"""Pictures of an answer: read from where the exporter put them, cut out of a grid, and recognized
when one is sent back.

A grid is one file that holds all pictures of an answer, two by two or in a row along a long side.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
from PIL import Image

from alignsd.base.images import DAMAGED, LINKED, MISSING, BadImage, read_image
from alignsd.collect.discord import File

GRIDS = ("auto", "4", "2", "none")
SIDE = 32  # pixels; pictures are compared at this size, so that scaling and the codec do not matter
ALIKE = 12.0  # 0-255; mean difference up to which two pictures are the same one (our choice)
KEPT = 5000  # files whose small copies are kept: at most 60 MB
OUTSIDE = "picture outside the export's folder"
# Names that programs give every picture: such a name alone does not say which picture it is.
EVERY_PICTURE = re.compile(
    r"(?:image|img|picture|pic|photo|unknown|output|out|result|grid|file|download|untitled)"
    r"[ _-]?\d{0,3}\.\w{1,5}",
    re.IGNORECASE,
)
NOT_IN_FOLDER_NAMES = re.compile(
    r'[<>:"|?*]'
)  # of Windows; newer exporters and unpackers write "_" instead


def cells(files: tuple[File, ...], count: int | None) -> tuple[File, ...]:
    """Return one file per picture where one file holds ``count`` of them, 2 or 4; other files as
    they are.
    """
    if len(files) != 1 or count not in (2, 4):
        return files
    return tuple(replace(files[0], cell=(index, count)) for index in range(count))


class Thumbnails:
    """Small copies of pictures, by which pictures are compared; those of the last ``KEPT`` files
    are kept.
    """

    def __init__(self) -> None:
        self._of_file = lru_cache(maxsize=KEPT)(_small_copies)

    def of(self, folder: Path, file: File) -> np.ndarray | None:
        """Return ``(SIDE, SIDE, 3)`` uint8, or None if the picture cannot be read."""
        index, count = file.cell or (0, 1)
        return self._of_file(folder, file.url, count)[index]


def sent_back(
    uploads: Sequence[File],
    folder: Path,
    given: Sequence[File],
    given_folder: Path,
    thumbnails: Thumbnails | None = None,
) -> list[int]:
    """Return which of the pictures given in an answer a user's uploads are.

    Pictures with a file of their own are known by its name. Those of a grid have none: whoever goes
    on with one cuts it out, so the pixels are compared, at 32 x 32. Pictures that cannot be read
    are alike to nothing.

    Args:
        uploads: the user's files, in ``folder``.
        given: the answer's, in ``given_folder``; at least one.
        thumbnails: small copies, kept from call to call.
    """
    if given[0].cell is None:
        names = {file.name for file in uploads}
        return [index for index, file in enumerate(given) if file.name in names]
    thumbnails = thumbnails or Thumbnails()
    mine = [small for file in uploads if (small := thumbnails.of(folder, file)) is not None]
    theirs = [thumbnails.of(given_folder, file) for file in given] if mine else []
    return [
        index
        for index, cell in enumerate(theirs)
        if cell is not None and any(_difference(cell, small) <= ALIKE for small in mine)
    ]


def differ(
    upload: File, folder: Path, given: File, given_folder: Path, thumbnails: Thumbnails
) -> bool:
    """Return whether two files can both be read and hold different pictures."""
    mine, theirs = thumbnails.of(folder, upload), thumbnails.of(given_folder, given)
    if mine is None or theirs is None:
        return False
    return bool(_difference(mine, theirs) > ALIKE)


def is_name_of_every_picture(name: str) -> bool:
    """Return whether a file's name says nothing, such as ``image.png`` or ``unknown.png``."""
    return EVERY_PICTURE.fullmatch(name) is not None


def picture(folder: Path, file: File) -> np.ndarray:
    """Read a picture ``(height, width, 3)`` uint8, or cut it out of the grid that holds it.

    Raises:
        BadImage: if it was only linked, is missing, lies outside ``folder``, or is no whole
            picture.
    """
    image = read_image(_media(folder, file.url))
    if file.cell is None:
        return image
    cell = _cell(image, *file.cell)
    if 0 in cell.shape:
        raise BadImage(DAMAGED, f"{file.name} has fewer pixels than pictures")
    return cell


def _cell(image: np.ndarray, index: int, count: int) -> np.ndarray:
    """Return cell ``index`` of a grid of ``count``: two by two, or in a row if the picture is three
    times as long as wide.
    """
    height, width = image.shape[:2]
    square = count == 4 and max(height, width) < 3 * min(height, width)
    if square:
        down = 2
    else:
        down = 1 if width >= height else count
    row, column = divmod(index, count // down)
    tall, wide = height // down, width // (count // down)
    return image[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]


def _small_copies(folder: Path, url: str, count: int) -> list[np.ndarray | None]:
    """Return a picture, or each cell of a grid of ``count``, at ``SIDE`` x ``SIDE``; None for what
    cannot be read.
    """
    try:
        image = read_image(_media(folder, url))
    except BadImage:
        return [None] * count
    parts = [image] if count == 1 else [_cell(image, index, count) for index in range(count)]
    return [_small(part) for part in parts]


def _small(image: np.ndarray) -> np.ndarray | None:
    if 0 in image.shape:  # a cell of a grid that has fewer pixels than pictures
        return None
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return np.abs(one.astype(np.float32) - other.astype(np.float32)).mean()


def _media(folder: Path, url: str) -> Path:
    """Return where the exporter put a picture.

    Raises:
        BadImage: if the picture was not downloaded, or lies outside the export's folder: a path
            that leads out of the folder is not followed, since a foreign export could name any
            file.
    """
    if url.lower().startswith(("http://", "https://")):
        raise BadImage(LINKED, url)
    places = [place for place in _spellings(_below(folder, url)) if _is_inside(place)]
    if not places:
        raise BadImage(_outside(folder, url), url)
    return next(
        (folder / place for place in places if _is_file(folder / place)), folder / places[0]
    )


def _below(folder: Path, url: str) -> str:
    """Return a path relative to the folder, if it is an absolute path into the folder."""
    path, base = (
        PurePosixPath(url.replace("\\", "/")),
        PurePosixPath(Path(folder).absolute().as_posix()),
    )
    return (
        path.relative_to(base).as_posix()
        if path.is_absolute() and path.is_relative_to(base)
        else url
    )


def _spellings(url: str) -> Iterator[str]:
    """Yield a path as it stands, and as other systems and exporters write it."""
    slashes = url.replace("\\", "/")  # an export made on Windows
    yield from dict.fromkeys([url, slashes])
    for path in dict.fromkeys([slashes, unquote(slashes)]):  # old exporters write %20 for a space
        *folders, name = path.split("/")
        replaced = "/".join([*(NOT_IN_FOLDER_NAMES.sub("_", part) for part in folders), name])
        for spelling in (path, replaced):
            yield spelling
            yield unicodedata.normalize("NFD", spelling)  # macOS
            yield unicodedata.normalize("NFC", spelling)


def _is_inside(place: str) -> bool:
    """Return whether a path stays in its folder, on every system."""
    path = PurePosixPath(place.replace("\\", "/"))
    has_drive = re.match(r"[A-Za-z]:(?:[\\/]|$)", place) or (os.name == "nt" and ":" in place)
    return not path.is_absolute() and ".." not in path.parts and not has_drive


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _outside(folder: Path, url: str) -> str:
    """Return why a picture whose path leads out of the folder is not read."""
    return OUTSIDE if _is_file(folder / url.replace("\\", "/")) else MISSING
