"""Read the skin tone of a picture: an attribute that no caption names and nobody asks for.

An alignment method may change such an attribute without anybody noticing. The renderer draws each
of four tones equally often.
"""

from collections.abc import Sequence

import numpy as np

from alignsd.miniature.judge import check_size
from alignsd.miniature.renderer import BACKGROUND_COLOURS, SKINS, Colour

TONES = ("lightest", "light", "dark", "darkest")  # in the order of ``renderer.SKINS``
HEAD_ROWS = 24  # a head, with or without a hat, is above this row
SATURATIONS = np.linspace(0.4, 1.6, 9)  # of a picture; the renderer's are 0.55 to 1.35
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, by which Pillow makes grey
SPREAD = 15.0  # grey levels by which a pixel of the face may miss its colour
EDGE = 25.0  # grey levels by which neighbours differ on an edge
NO_VOTE = -1000.0  # a vote as a logarithm
BATCH = 64  # pictures at a time


def skin_tones(pictures: Sequence[np.ndarray] | np.ndarray) -> list[str]:
    """Return the skin tone of each picture's person, one of ``TONES``.

    Each pixel of the upper part votes for the tones whose colours are near the pixel's colour. A
    pixel does not vote if a background's colour is nearer, or if the pixel lies on an edge: between
    a light face and the outline, colours pass through the darker tones. The tone with most votes is
    the tone of the face. A picture without a face has a tone too, which means nothing.

    Args:
        pictures: each ``(64, 64, 3)`` uint8.

    Raises:
        Problem: if a picture has another size.
    """
    check_size(pictures)
    tones: list[str] = []
    for start in range(0, len(pictures), BATCH):
        stacked = np.stack(list(pictures[start : start + BATCH]))
        likeliest = _votes(stacked).argmax(axis=1)
        tones += [TONES[tone] for tone in likeliest]
    return tones


def _votes(pictures: np.ndarray) -> np.ndarray:
    """Return the votes ``(n, 4)`` for each tone in pictures ``(n, 64, 64, 3)``, as logarithms."""
    upper = pictures[:, :HEAD_ROWS].astype(np.float32)
    pixels = upper.reshape(len(pictures), -1, 3)
    backgrounds = [colour for colours in BACKGROUND_COLOURS.values() for colour in colours]
    to_tones = _squares(pixels, SKINS)
    to_background = _squares(pixels, backgrounds).min(axis=-1, keepdims=True)
    votes = -to_tones / (2 * SPREAD**2)
    silent = (to_tones >= to_background) | _on_edge(upper)[..., None]
    votes[silent] = NO_VOTE
    return np.logaddexp.reduce(votes, axis=1)


def _on_edge(pictures: np.ndarray) -> np.ndarray:
    """Return which pixels differ from a neighbour, ``(n, pixels)`` bool."""
    steepest = np.zeros(pictures.shape[:3], dtype=np.float32)
    for axis in (1, 2):
        for shift in (1, -1):
            difference = np.abs(pictures - np.roll(pictures, shift, axis)).max(axis=-1)
            steepest = np.maximum(steepest, difference)
    return steepest.reshape(len(pictures), -1) > EDGE


def _squares(pixels: np.ndarray, colours: Sequence[Colour]) -> np.ndarray:
    """Return the squared distance of pixels to colours ``(n, pixels, colours)``.

    The distance is the distance to the colour at the nearest saturation.
    """
    nearest = []
    lengths = (pixels**2).sum(axis=-1, keepdims=True)
    for colour in colours:
        saturated = _saturated(colour)
        products = pixels @ saturated.T  # (n, pixels, saturations)
        squares = lengths - 2 * products + (saturated**2).sum(axis=-1)
        nearest.append(squares.min(axis=-1))
    return np.stack(nearest, axis=-1)


def _saturated(colour: Colour) -> np.ndarray:
    """Return a colour at each saturation, ``(saturations, 3)``."""
    plain = np.array(colour, dtype=np.float32)
    grey = plain @ np.array(LUMINANCE, dtype=np.float32)
    saturated = grey + SATURATIONS[:, None] * (plain - grey)
    return saturated.clip(0, 255).astype(np.float32)
