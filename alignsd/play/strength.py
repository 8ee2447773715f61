"""A LoRA at part of its strength: W + strength x B A in place of W + B A."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alignsd.play.studio import Picture, Wish


def strengths(wish: Wish, count: int = 5) -> list[Wish]:
    """Return one wish at evenly spaced strengths of its LoRA, from 0 to 1.

    Args:
        wish: with an adapter.
        count: of strengths, at least 2.
    """
    return [replace(wish, strength=float(value)) for value in np.linspace(0, 1, count)]


def largest_jump(pictures: Sequence[Picture]) -> float:
    """Return the largest change between two neighbours, as a share of all changes.

    A change is the mean absolute difference of the pixels. If each of four changes is the same, the
    share is 1/4. If nothing changes, the share is 0.

    Args:
        pictures: at growing strengths.
    """
    pixels = np.stack([picture.pixels for picture in pictures]).astype(float)
    changes = np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3))
    return float(changes.max() / changes.sum()) if changes.any() else 0.0
