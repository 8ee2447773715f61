"""Read and write pictures.

Each unreadable file gives one of six reasons, whatever error the decoder raises.
"""

import io
import os
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from alignsd.base.atomic import temporary
from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import read_bytes

# The formats of Discord, HPD and DiffusionDB. Fewer decoders are fewer ways to be attacked.
FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")  # of these formats
OTHER_SUFFIXES = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl")
MAX_PIXELS = 64_000_000  # 8000 x 8000: a small file can claim a huge picture and fill the memory
MAX_BYTES = 2**28  # an uncompressed picture of MAX_PIXELS has 192 MB
MISSING = "missing file"
EMPTY = "empty file"
FOREIGN = "not a PNG, JPEG or WebP picture"
LINKED = "link to a picture that was not downloaded"
TOO_LARGE = f"more than {MAX_PIXELS:,} pixels or {MAX_BYTES:,} bytes"
DAMAGED = "damaged picture"
CAUSES = {
    MISSING: ("the file was moved, renamed or not fetched", "put the file there"),
    EMPTY: ("an interrupted download or copy, or a full disk", "fetch or unpack it again"),
    FOREIGN: ("another kind of file under the name of a picture", "save the picture as PNG"),
    LINKED: ("the pictures were not downloaded with the list", "download the pictures"),
    TOO_LARGE: ("a picture of another kind than a model draws", "scale the picture down"),
    DAMAGED: ("an interrupted download or copy", "fetch or unpack it again"),
}
ORIENTATION = 0x0112  # the EXIF tag that says how a stored picture is turned for viewing
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
EXIF = "exif"
EXIF_AS_TEXT = "Raw profile type exif"  # where ImageMagick puts EXIF in a PNG
XMP_AS_TEXT = "XML:com.adobe.xmp"
ORIENTED = (EXIF, EXIF_AS_TEXT, XMP_AS_TEXT, "xmp")
TEXTS_ABOUT_TURNS = (EXIF_AS_TEXT.encode(), XMP_AS_TEXT.encode())
CHUNKS_OF_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # of a PNG; the last is a colour profile
PNG = b"\x89PNG\r\n\x1a\n"
# What stands in place of a picture most often, told by how the file begins.
OTHER_KINDS = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF file"),
    (b"PK\x03\x04", "a zip file"),
    (b"\0\x05\x16\x07", "a companion file of macOS"),
    (b"version https://git-lfs", "a pointer of Git LFS, since git lfs pull was not run"),
    (b"<", "a web page or another text"),
)


class BadImage(Problem):
    """A picture cannot be used. A caller that tolerates damaged pictures counts the reasons.

    Attributes:
        reason: one of this module's six reasons.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        cause, fix = CAUSES.get(reason, CAUSES[DAMAGED])
        super().__init__(
            "A picture cannot be used.",
            expected="a whole PNG, JPEG or WebP picture",
            found=f"{reason}: {detail}" if detail else reason,
            cause=cause,
            fix=f"{fix}, or take it out of the file that lists it",
        )


def read_image(source: Path | str | bytes) -> np.ndarray:
    """Return a picture as people see it, in RGB.

    The first frame of a moving picture is read. Transparent parts are laid over white. The
    orientation in EXIF is applied. Colour profiles are not applied: CLIP and the official code take
    the stored values too.

    Args:
        source: a file's path, or a file's content.

    Returns:
        ``(height, width, 3)`` uint8.

    Raises:
        BadImage: if there is no file, or the file is empty, of another format, cut short or
            damaged, or has more than ``MAX_PIXELS`` pixels (exactly that many are read) or
            ``MAX_BYTES`` bytes.
    """
    content = source if isinstance(source, bytes) else _content(Path(source))
    if not content:
        raise BadImage(EMPTY, _name(source))
    try:
        return _decoded(content, source)
    except BadImage as error:
        texts_may_be_too_long = error.reason == DAMAGED and content.startswith(PNG)
        if not texts_may_be_too_long:
            raise
    # Pillow refuses long texts and colour profiles, which say nothing about the pixels.
    return _decoded(_without_texts(content), source)


def save_png(path: Path | str, picture: np.ndarray) -> None:
    """Write a picture ``(height, width, 3)`` uint8 as PNG, whole or not at all.

    Raises:
        Problem: if the file cannot be written.
    """
    _save(path, _encoded(picture, "PNG"))


def save_jpeg(path: Path | str, picture: np.ndarray, quality: int = 95) -> None:
    """Write a picture ``(height, width, 3)`` uint8 as JPEG, whole or not at all.

    Colours keep full resolution (4:4:4).

    Raises:
        Problem: if the file cannot be written.
    """
    _save(path, _encoded(picture, "JPEG", quality=quality, subsampling=0))


def check_pixels(picture: np.ndarray) -> None:
    """Do nothing if an array is a picture ``(height, width, 3)`` uint8.

    Raises:
        ValueError: otherwise. Floats from 0 to 1 would be taken for an almost black picture.
    """
    dtype = getattr(picture, "dtype", type(picture).__name__)
    shape = np.shape(picture)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"expected (height, width, 3) uint8, found {shape} {dtype}")


def _encoded(picture: np.ndarray, kind: str, **options: int) -> bytes:
    """Return the content of an image file; ``options`` go to Pillow's encoder."""
    check_pixels(picture)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format=kind, **options)
    return content.getvalue()


def _save(path: Path | str, content: bytes) -> None:
    path = Path(path)
    unfinished = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        # Not forced to the disk, unlike atomic.replacing: ten thousand pictures would take minutes.
        os.replace(unfinished, path)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    finally:
        if os.path.lexists(unfinished):
            unfinished.unlink()


def _unwritable(path: Path, error: Exception) -> Problem:
    return Problem(
        f"{shown(path)} cannot be written.",
        expected="a place where a file can be written",
        found=getattr(error, "strerror", None) or str(error),
        cause="a folder or a file stands in the way, a name that no file can have, or a full disk",
        fix="move away what stands there, or choose another folder",
    )


def _content(path: Path) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
            with open(path, "rb", buffering=0) as file:
                return file.readall()
    except (OSError, ValueError, MemoryError):
        pass  # read_bytes meets the same error and tells the cause
    try:
        return read_bytes(path, MAX_BYTES)
    except Problem as problem:
        reason = TOO_LARGE if problem.what.endswith("too large.") else MISSING
        ordinary = problem.found == "no such file or folder"
        detail = _name(path) if ordinary else f"{_name(path)}: {problem.found}"
        raise BadImage(reason, detail) from problem


def _decoded(content: bytes, source: Path | str | bytes) -> np.ndarray:
    """Return the pixels of an encoded picture, see ``read_image``."""
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(TOO_LARGE, _name(source)) from error
    except Exception as error:  # decoders raise a dozen unrelated types on damaged headers
        raise _not_a_picture(content, _name(source)) from error
    if picture.width * picture.height > MAX_PIXELS:
        raise BadImage(TOO_LARGE, _name(source))
    try:
        if content.startswith(PNG) and "transparency" in picture.info:
            _scale_transparency(picture, bits=content[24])
        pixels = _over_white(picture)
        return np.array(_upright(pixels, picture))
    except Exception as error:  # as above, for damaged pixel data
        raise BadImage(DAMAGED, _name(source)) from error


def _not_a_picture(content: bytes, name: str) -> BadImage:
    webp = content.startswith(b"RIFF") and content[8:12] in (b"WEBP", b"")
    if webp or content.startswith((b"\x89PNG", b"\xff\xd8")):
        return BadImage(DAMAGED, name)
    if content[4:8] == b"ftyp":
        return BadImage(FOREIGN, f"{name} is a HEIC, AVIF or video file")
    start = content.lstrip()
    kind = next((kind for mark, kind in OTHER_KINDS if start.startswith(mark)), None)
    return BadImage(FOREIGN, f"{name} is {kind}" if kind else name)


def _scale_transparency(picture: Image.Image, bits: int) -> None:
    """Bring a PNG's transparent level to the scale of the pixels, which Pillow leaves as stored.

    Args:
        picture: a PNG with a transparent grey level or colour.
        bits: the bits of a stored sample.
    """
    level = picture.info["transparency"]
    if picture.mode == "1":
        picture.info["transparency"] = 255 if level else 0
    elif picture.mode == "L" and bits < 8:
        picture.info["transparency"] = level * 255 // (2**bits - 1)
    elif picture.mode == "RGB" and bits == 16:
        # Pillow gives the upper 8 bits of a 16-bit colour, so the colour is compared by these.
        picture.info["transparency"] = tuple(value >> 8 for value in level)


def _over_white(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB, with white in place of transparency."""
    if picture.mode.startswith("I"):  # 16-bit grey, which convert("RGB") would clip to white
        return _from_16_bits(picture)
    if picture.has_transparency_data:
        opaque = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(opaque, picture.convert("RGBA"))
    return picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    stored = np.asarray(picture).astype(np.int64)
    grey = (stored >> 8).clip(0, 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if transparent is not None:
        grey[stored == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _upright(pixels: Image.Image, picture: Image.Image) -> Image.Image:
    """Return the pixels turned as the picture's EXIF says.

    Args:
        pixels: in RGB, as stored.
        picture: the loaded picture of these pixels: EXIF may stand behind the pixels.
    """
    if not any(key in picture.info for key in ORIENTED):
        return pixels
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
        turn = TURNS.get(orientation)
    except Exception:  # damaged EXIF, a dozen types: such a picture is seen as stored
        return pixels
    if turn is None:
        return pixels
    return pixels.transpose(turn)


def _without_texts(content: bytes) -> bytes:
    """Return a PNG without texts and colour profile; the orientation stays."""
    kept = [PNG]
    start = len(PNG)
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        chunk = content[start : start + 12 + length]
        tells_turns = chunk[8:].startswith(TEXTS_ABOUT_TURNS)
        if kind not in CHUNKS_OF_TEXT or tells_turns:
            kept.append(chunk)
        start += len(chunk)
    return b"".join(kept)


def _name(source: Path | str | bytes) -> str:
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    name = Path(source).name
    return name if len(name) <= 200 else f"{name[:80]}...{name[-80:]}"
