"""Read an answer's pictures, cut pictures out of a grid, and recognize a picture sent back.

A grid is a file that holds all pictures of an answer, two by two or in a row along a long side.
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
ALIKE = 12.0  # 0-255; mean difference up to which two pictures count as equal (our choice)
KEPT = 5000  # files whose small copies are kept: at most 60 MB
OUTSIDE = "picture outside the export's folder"
# Names that programs give every picture: such a name alone does not identify a picture.
EVERY_PICTURE = re.compile(
    r"(?:image|img|picture|pic|photo|unknown|output|out|result|grid|file|download|untitled)"
    r"[ _-]?\d{0,3}\.\w{1,5}",
    re.IGNORECASE,
)
# Newer exporters and unpackers write "_" in place of these characters.
NOT_IN_FOLDER_NAMES = re.compile(r'[<>:"|?*]')  # of Windows


def cells(files: tuple[File, ...], count: int | None) -> tuple[File, ...]:
    """Return a ``File`` per picture where a single file holds ``count`` pictures, 2 or 4.

    Other files are returned unchanged.
    """
    if len(files) != 1 or count not in (2, 4):
        return files
    return tuple(replace(files[0], cell=(index, count)) for index in range(count))


class Thumbnails:
    """Small copies of pictures, by which pictures are compared.

    The copies of the last ``KEPT`` files are kept.
    """

    def __init__(self) -> None:
        self._of_file = lru_cache(maxsize=KEPT)(_small_copies)

    def of(self, file: File) -> np.ndarray | None:
        """Return ``(SIDE, SIDE, 3)`` uint8, or None if the picture cannot be read."""
        index, count = file.cell or (0, 1)
        return self._of_file(file.folder, file.url, count)[index]


def sent_back(
    uploads: Sequence[File], given: Sequence[File], thumbnails: Thumbnails | None = None
) -> list[int]:
    """Return which of an answer's pictures a user's uploads are, as indices into ``given``.

    Pictures in separate files are known by the file's name. A picture of a grid has no file. A user
    who goes on with such a picture cuts the picture out, so we compare the pixels, at 32 x 32. A
    picture that cannot be read matches no other picture.

    Args:
        uploads: the user's files.
        given: the answer's files, not empty.
        thumbnails: small copies, kept from call to call.
    """
    if given[0].cell is None:
        names = {file.name for file in uploads}
        return [index for index, file in enumerate(given) if file.name in names]
    thumbnails = thumbnails or Thumbnails()
    copies = [thumbnails.of(file) for file in uploads]
    uploaded = [copy for copy in copies if copy is not None]
    if not uploaded:  # then the grid need not be read
        return []
    indices = []
    for index, file in enumerate(given):
        cell = thumbnails.of(file)
        if cell is not None and any(_difference(cell, copy) <= ALIKE for copy in uploaded):
            indices.append(index)
    return indices


def differ(upload: File, given: File, thumbnails: Thumbnails) -> bool:
    """Return whether two files can both be read and hold different pictures."""
    uploaded, offered = thumbnails.of(upload), thumbnails.of(given)
    if uploaded is None or offered is None:
        return False
    return _difference(uploaded, offered) > ALIKE


def is_name_of_every_picture(name: str) -> bool:
    """Return whether a file's name identifies no picture, such as ``image.png``."""
    return EVERY_PICTURE.fullmatch(name) is not None


def picture(file: File) -> np.ndarray:
    """Read a picture ``(height, width, 3)`` uint8, cut out of a grid if need be.

    Raises:
        BadImage: if the picture was only linked, is missing, lies outside the export's folder, or
            is no whole picture.
    """
    image = read_image(_path_of(file.folder, file.url))
    if file.cell is None:
        return image
    cell = _cell(image, *file.cell)
    if 0 in cell.shape:
        raise BadImage(DAMAGED, f"{file.name} has fewer pixels than pictures")
    return cell


def _cell(image: np.ndarray, index: int, count: int) -> np.ndarray:
    """Return cell ``index`` of a grid of ``count``.

    The cells of a grid stand two by two, or in a row if the picture is three times as long as wide.
    """
    height, width = image.shape[:2]
    is_square = count == 4 and max(height, width) < 3 * min(height, width)
    if is_square:
        rows = 2
    elif width >= height:
        rows = 1
    else:
        rows = count
    columns = count // rows
    row, column = divmod(index, columns)
    cell_height, cell_width = height // rows, width // columns
    top, left = row * cell_height, column * cell_width
    return image[top : top + cell_height, left : left + cell_width]


def _small_copies(folder: Path, url: str, count: int) -> list[np.ndarray | None]:
    """Return a picture, or each cell of a grid of ``count``, at ``SIDE`` x ``SIDE``.

    A picture that cannot be read gives None.
    """
    try:
        image = read_image(_path_of(folder, url))
    except BadImage:
        return [None] * count
    if count == 1:
        return [_small(image)]
    return [_small(_cell(image, index, count)) for index in range(count)]


def _small(image: np.ndarray) -> np.ndarray | None:
    if 0 in image.shape:  # a cell of a grid that has fewer pixels than pictures
        return None
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of two pictures of equal size, 0 to 255."""
    difference = one.astype(np.float32) - other.astype(np.float32)
    return float(np.abs(difference).mean())


def _path_of(folder: Path, url: str) -> Path:
    """Return where the exporter put a picture.

    Raises:
        BadImage: if the picture was not downloaded, or lies outside the export's folder. A path
            that leads out of the folder is not followed, since somebody else's export could name
            any file.
    """
    if url.lower().startswith(("http://", "https://")):
        raise BadImage(LINKED, url)
    spellings = [name for name in _spellings(_below(folder, url)) if _is_inside(name)]
    if not spellings:
        raise BadImage(_why_outside(folder, url), url)
    for name in spellings:
        if _is_file(folder / name):
            return folder / name
    return folder / spellings[0]


def _below(folder: Path, url: str) -> str:
    """Return a path relative to the folder, if the path is an absolute path into the folder."""
    path = PurePosixPath(url.replace("\\", "/"))
    base = PurePosixPath(Path(folder).absolute().as_posix())
    if path.is_absolute() and path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    return url


def _spellings(url: str) -> Iterator[str]:
    """Yield a path unchanged, and in the spellings of other systems and exporters."""
    slashes = url.replace("\\", "/")  # an export made on Windows
    yield from dict.fromkeys([url, slashes])
    for path in dict.fromkeys([slashes, unquote(slashes)]):  # old exporters write %20 for a space
        *folders, name = path.split("/")
        writable = [NOT_IN_FOLDER_NAMES.sub("_", folder) for folder in folders]
        for spelling in (path, "/".join([*writable, name])):
            yield spelling
            yield unicodedata.normalize("NFD", spelling)  # macOS
            yield unicodedata.normalize("NFC", spelling)


def _is_inside(name: str) -> bool:
    """Return whether a path stays in the folder, on every system."""
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = re.match(r"[A-Za-z]:(?:[\\/]|$)", name) or (os.name == "nt" and ":" in name)
    return not path.is_absolute() and ".." not in path.parts and not has_drive


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _why_outside(folder: Path, url: str) -> str:
    """Return why a picture whose path leads out of the folder is not read."""
    return OUTSIDE if _is_file(folder / url.replace("\\", "/")) else MISSING
