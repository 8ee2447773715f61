"""Pictures as data URLs: a notebook has no server that would give it a file."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from alignsd.base.images import read_image
from alignsd.base.plotting.light_png import lighter_png
from alignsd.base.reading import read_bytes

LARGEST_FILE = 2**20  # bytes of a picture's file that is handed over unchanged
LARGEST_SIDE = 1024  # pixels of a picture that is handed over
QUALITY = 95  # of JPEG, as in HPD v1
TYPES = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"RIFF": "webp"}


def data_url(file: Path) -> str:
    """Return a picture as a data URL; the file's bytes are unchanged if the file is light.

    A heavy picture is scaled down to 1024 pixels and compressed as JPEG.

    Raises:
        BadImage: if the file holds no picture.
    """
    content = read_bytes(file)
    kind = next((kind for start, kind in TYPES.items() if content.startswith(start)), "")
    if kind and len(content) <= LARGEST_FILE:
        return _address(content, kind)
    return _address(_encoded(read_image(file), LARGEST_SIDE, "JPEG"), "jpeg")


def small_data_url(file: Path, side: int) -> str:
    """Return a picture as a small data URL, PNG, for a page that holds many pictures.

    Args:
        file: the picture.
        side: pixels; a larger picture is scaled down to this side.

    Raises:
        BadImage: if the file holds no picture.
    """
    return _address(lighter_png(_encoded(read_image(file), side, "PNG")), "png")


def _encoded(pixels: np.ndarray, side: int, kind: str) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    content = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    picture.save(content, kind, **options)
    return content.getvalue()


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
