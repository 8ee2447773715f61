"""Light PNG files: a drawn figure needs far fewer colours than a file can hold."""

import io

import numpy as np
from PIL import Image

COLOURS = 256  # a PNG then stores a byte per pixel instead of three or four
SETTLED = 10_000  # pixels; the search for the best colours ends once fewer pixels change colour
# Greatest root mean square error of a channel, 0-255, over all that is not white background. This
# is a signal-to-noise ratio of 35 decibels, at which a figure looks the same at full size.
UNSEEN = 4.5
WHITE = 255


def lighter_png(content: bytes) -> bytes:
    """Return a PNG file that looks the same and weighs less.

    Size and resolution stay. The alpha channel (drawn on white) and texts go. Colours are merged
    to 256, unless the difference could be seen: a figure of photographs keeps every colour. Equal
    files give equal files.

    Args:
        content: the bytes of a PNG file.
    """
    picture = Image.open(io.BytesIO(content))
    resolution = picture.info.get("dpi", (72, 72))
    exact = _on_white(picture)
    merged = exact.quantize(COLOURS, Image.Quantize.MEDIANCUT, SETTLED, dither=Image.Dither.NONE)
    if _error(exact, merged) <= UNSEEN:
        light = _png(merged, resolution)
        if len(light) < len(content):  # a tiny picture may weigh less than a table of colours
            return light
    return _png(exact, resolution)


def _png(picture: Image.Image, resolution: tuple[float, float]) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True, dpi=resolution)
    return written.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency, RGB."""
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque.convert("RGB")


def _error(picture: Image.Image, other: Image.Image) -> float:
    """Return the root mean square difference of two pictures' channels where the first has ink."""
    pixels = np.asarray(picture, dtype=np.float32)
    others = np.asarray(other.convert("RGB"), dtype=np.float32)
    has_ink = (pixels != WHITE).any(axis=-1)
    if not has_ink.any():
        return 0.0
    difference = pixels[has_ink] - others[has_ink]
    return float(np.sqrt(np.mean(difference**2)))
