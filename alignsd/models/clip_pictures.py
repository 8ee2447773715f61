"""Turn pictures of any size into the squares that a CLIP takes."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from alignsd.base.errors import Problem

FITS = ("pad", "crop")


def check_fit(fit: str) -> None:
    """Do nothing if there is such a fit.

    Raises:
        Problem: otherwise.
    """
    if fit not in FITS:
        raise Problem(
            f"there is no fit {fit!r}",
            expected=" or ".join(FITS),
            found=repr(fit),
            cause="a misspelt parameter",
            fix="pad is the paper's training, crop the official scoring scripts'",
        )


def to_square(image: np.ndarray, size: int, fit: str = "pad") -> np.ndarray:
    """Scale an image to a square, ``(size, size, 3)`` uint8.

    Args:
        image: ``(height, width, 3)`` uint8.
        size: side of the square in pixels.
        fit: ``"pad"`` scales the longer side and pads with black (the paper's input of HPS);
            ``"crop"`` scales the shorter side and cuts the middle out (OpenAI's CLIP).
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    picture = Image.fromarray(image)
    return _cropped(picture, size) if fit == "crop" else _padded(picture, size)


def _cropped(picture: Image.Image, size: int) -> np.ndarray:
    """Scale the shorter side to ``size`` and cut the middle out, in one step."""
    side = min(picture.size)
    left = (picture.width - side) / 2
    top = (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _padded(picture: Image.Image, size: int) -> np.ndarray:
    """Scale the longer side to ``size`` and put the picture into the middle of a black square."""
    scale = size / max(picture.size)
    width = max(1, round(picture.width * scale))
    height = max(1, round(picture.height * scale))
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size))
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)


def check_pictures(images: Sequence[np.ndarray]) -> None:
    """Do nothing if all images are ``(height, width, 3)`` uint8.

    Raises:
        Problem: that says what the first unfit image is, and how to convert such an image.
    """
    for image in images:
        if not _is_picture(image):
            raise _no_picture(image)


def _is_picture(image: object) -> bool:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return False
    return image.ndim == 3 and image.shape[2] == 3 and 0 not in image.shape


def _no_picture(image: object) -> Problem:
    found = f"an object of type {type(image).__name__}"
    cause, fix = "a picture from another library", "numpy.asarray(picture.convert('RGB'))"
    if isinstance(image, np.ndarray):
        found = f"{image.shape} {image.dtype}"
        cause, fix = _cause_and_fix(image) or (cause, fix)
    return Problem(
        "This is not a picture that a CLIP can score.",
        expected="an array (height, width, 3) of uint8, 0 to 255, for each picture",
        found=found,
        cause=cause,
        fix=fix,
    )


def _cause_and_fix(image: np.ndarray) -> tuple[str, str] | None:
    """Return why an array is no picture and how to convert the array, or None."""
    if image.dtype.kind == "f":
        return (
            "a picture whose numbers go from 0 to 1, as torchvision and matplotlib give it",
            "(255 * picture).round().astype(numpy.uint8)",
        )
    if image.ndim == 3 and image.shape[2] == 4:
        return (
            "a picture with transparency",
            "read it with alignsd.base.images.read_image, which lays it over white",
        )
    if image.ndim == 3 and image.shape[0] == 3:
        return "a picture with its colours first, as torch has it", "picture.transpose(1, 2, 0)"
    if image.ndim == 2 or image.ndim == 3 and image.shape[2] == 1:
        return "a grey picture, or one picture in place of a list", "[picture], in RGB"
    return None
