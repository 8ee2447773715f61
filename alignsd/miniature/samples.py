"""The sheet ``samples.png`` beside the shipped models: drawn by these models, not chosen."""

import numpy as np

from alignsd.base.images import read_image
from alignsd.miniature import WEIGHTS
from alignsd.miniature.renderer import SIZE


def samples() -> dict[str, np.ndarray]:
    """Return the sheet's pictures as drawn: number -> ``(64, 64, 3)`` uint8."""
    sheet = read_image(WEIGHTS / "samples.png")
    height, width = sheet.shape[:2]
    pictures = []
    for top in range(0, height, SIZE):
        for left in range(0, width, SIZE):
            pictures.append(sheet[top : top + SIZE, left : left + SIZE])
    return {str(number): picture for number, picture in enumerate(pictures)}
