"""Reading and writing pictures. A file that is not a whole picture gives one reason, whatever the decoder says."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from alignsd.errors import Problem

FORMATS = ("PNG", "JPEG", "WEBP")  # what Discord, HPD and DiffusionDB hold; fewer decoders, fewer ways to be attacked
MAX_PIXELS = 64_000_000  # 8000 x 8000: a small file can claim a huge picture and fill the memory
MISSING, EMPTY, FOREIGN = "missing file", "empty file", "not a PNG, JPEG or WebP picture"
LINKED = "link to a picture that was not downloaded"
TOO_LARGE, DAMAGED = f"more than {MAX_PIXELS:,} pixels", "damaged picture"


class BadImage(Problem):
    """A picture that cannot be used; ``reason`` is one of this module's six, to be counted. Where nobody counts, it is told."""

    def __init__(self, reason: str, detail: str = ""):
        self.reason = reason
        super().__init__("A picture cannot be used.", expected="a whole PNG, JPEG or WebP picture",
                         found=f"{reason}: {detail}" if detail else reason, cause="an interrupted download or copy",
                         fix="fetch or unpack it again, or take it out of the file that lists it")


def read_image(source: Path | str | bytes) -> np.ndarray:
    """Reads a picture, the first frame if it moves, as RGB; transparent parts are laid over white.

    Args:
        source: a file's path, or a file's content.

    Returns:
        ``(height, width, 3)`` uint8.

    Raises:
        BadImage: if there is no file, it is empty, of another format, cut short or damaged, or has more than
            ``MAX_PIXELS`` pixels (exactly that many are read).
    """
    content = source if isinstance(source, bytes) else _content(Path(source))
    if not content:
        raise BadImage(EMPTY, _name(source))
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImage(TOO_LARGE, _name(source)) from error
    except Exception as error:  # decoders raise a dozen unrelated types on damaged headers
        known = content.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF"))
        raise BadImage(DAMAGED if known else FOREIGN, _name(source)) from error
    return _pixels(picture, _name(source))


def save_png(path: Path | str, picture: np.ndarray) -> None:
    """Writes a picture ``(height, width, 3)`` uint8 as PNG, whole or not at all."""
    _save(path, picture, format="PNG")


def save_jpeg(path: Path | str, picture: np.ndarray, quality: int = 95) -> None:
    """Writes a picture ``(height, width, 3)`` uint8 as JPEG, whole or not at all; colours keep full resolution (4:4:4)."""
    _save(path, picture, format="JPEG", quality=quality, subsampling=0)


def _save(path: Path | str, picture: np.ndarray, **options) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"expected (height, width, 3) uint8, found {picture.shape} {picture.dtype}")
    encoded, path = io.BytesIO(), Path(path)
    Image.fromarray(picture).save(encoded, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        part.write_bytes(encoded.getvalue())
        os.replace(part, path)  # not forced to the disk, unlike atomic.replacing: ten thousand pictures would take minutes
    finally:
        part.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise BadImage(MISSING, path.name) from error
    except (OSError, ValueError) as error:  # no permission, a failing disk, a name no file can have
        raise BadImage(MISSING, f"{path.name}: {error}") from error


def _pixels(picture: Image.Image, name: str) -> np.ndarray:
    if picture.width * picture.height > MAX_PIXELS:
        raise BadImage(TOO_LARGE, name)
    try:
        if picture.mode.startswith("I"):  # 16-bit grey, which convert("RGB") would clip to white
            return np.repeat((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return np.array(picture.convert("RGB"))
    except Exception as error:  # as above, for damaged pixel data
        raise BadImage(DAMAGED, name) from error


def _name(source: Path | str | bytes) -> str:
    return f"{len(source)} bytes" if isinstance(source, bytes) else Path(source).name
