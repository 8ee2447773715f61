"""Tell blurred images from sharp images: the Discord bot blurs what the safety filter catches.

The official code drops an image when no two neighbouring pixels differ by at least 10.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.images import check_pixels

BLUR_RULES = ("both directions", "official")
BLUR_LIMIT = 10.0  # official code; in steps of the 0-255 scale


def sharpness(image: np.ndarray, rule: str = "both directions") -> float:
    """Return the greatest difference between neighbouring pixels, any channel, 0-255.

    Args:
        image: ``(height, width, 3)`` uint8.
        rule: ``"both directions"``, or ``"official"`` for the greatest signed difference, left
            pixel minus right pixel, alone.

    Returns:
        At least 0; an image of one pixel has 0. With the official rule the value can be below 0.

    Raises:
        Problem: if the rule is unknown.
        ValueError: if the image is no such array.
    """
    check_pixels(image)
    if rule not in BLUR_RULES:
        raise Problem(
            "There is no such blur rule.",
            expected=" or ".join(BLUR_RULES),
            found=repr(rule),
            cause="a misspelt parameter",
            fix=f"--set 'blur_rule={BLUR_RULES[0]}'",
        )
    if rule == "official":
        return official_difference(image)
    return greatest_difference(image)


def greatest_difference(image: np.ndarray) -> float:
    """Return the greatest absolute difference of two neighbouring pixels, in any channel, 0-255.

    Args:
        image: ``(height, width, 3)`` uint8. An image of one pixel has 0.
    """
    values = image.astype(np.int16)  # a difference of two uint8 numbers would wrap around
    across = np.abs(values[:, :-1] - values[:, 1:])
    down = np.abs(values[:-1] - values[1:])
    return float(max(across.max(initial=0), down.max(initial=0)))


def official_difference(image: np.ndarray) -> float:
    """Return the greatest signed difference, left pixel minus right pixel, in any channel.

    Deviation: the official code compares horizontal neighbours twice and vertical neighbours never,
    and takes signed differences. So a picture of level stripes counts as blurred there, and so does
    a picture that only gets brighter to the right.

    Args:
        image: ``(height, width, 3)`` uint8. An image of one column has 0.
    """
    values = image.astype(np.int16)
    across = values[:, :-1] - values[:, 1:]
    return float(across.max()) if across.size else 0.0


def is_blurred(sharp: np.ndarray | float, limit: float = BLUR_LIMIT) -> np.ndarray | bool:
    """Return which images are as blurred as images that the safety filter blurred.

    Args:
        sharp: the sharpness of one image, or of several images, ``(n,)``.
        limit: images below the limit are blurred; an image at exactly the limit is not.
    """
    return sharp < limit


def compare_rules(pictures: Iterable[np.ndarray], limit: float = BLUR_LIMIT) -> pd.DataFrame:
    """Return how many pictures each rule drops.

    Args:
        pictures: each ``(height, width, 3)`` uint8.
        limit: see ``is_blurred``.

    Returns:
        Index ``rule``; columns ``pictures``, ``blurred`` and ``by this rule alone``.
    """
    measured = [[sharpness(picture, rule) for rule in BLUR_RULES] for picture in pictures]
    values = pd.DataFrame(measured, columns=list(BLUR_RULES), dtype=float)
    blurred = pd.DataFrame({rule: is_blurred(values[rule], limit) for rule in BLUR_RULES})
    by_one_rule = blurred.sum(axis=1) == 1
    table = pd.DataFrame(
        {
            "pictures": len(blurred),
            "blurred": blurred.sum(),
            "by this rule alone": blurred[by_one_rule].sum(),
        }
    )
    return table.rename_axis("rule")
