"""Sharpness: what each rule sees and misses, and the blur test at its limit."""

import numpy as np
import pytest

from alignsd.base.errors import Problem
from alignsd.select.sharpness import (
    compare_rules,
    greatest_difference,
    is_blurred,
    official_difference,
    sharpness,
)


def stripes(level: bool) -> np.ndarray:
    """Black and white stripes, level or upright, ``(8, 8, 3)``."""
    bands = np.repeat(np.arange(8)[:, None] % 2 * 255, 8, axis=1).astype(np.uint8)
    pixels = bands if level else bands.T
    return np.repeat(pixels[..., None], 3, axis=2)


def test_official_blur_rule_is_blind_to_level_edges():
    level, upright = stripes(level=True), stripes(level=False)
    assert sharpness(level) == 255
    assert sharpness(upright) == 255
    assert sharpness(level, "official") == 0
    assert sharpness(upright, "official") == 255


def test_official_blur_rule_is_blind_to_pictures_that_get_brighter_to_the_right():
    row = np.array([0, 200], np.uint8)
    rising = np.repeat(row[None, :, None], 3, axis=2)
    falling = rising[:, ::-1]
    assert sharpness(rising) == 200
    assert sharpness(rising, "official") == -200
    assert sharpness(falling, "official") == 200


def test_blur_rules_are_compared_and_no_picture_counts_as_none():
    flat = np.zeros((8, 8, 3), np.uint8)
    table = compare_rules([stripes(level=True), flat])
    assert list(table) == ["pictures", "blurred", "by this rule alone"]
    assert table.loc["official"].tolist() == [2, 2, 1]
    assert table.loc["both directions"].tolist() == [2, 1, 0]
    assert (compare_rules([]) == 0).all(axis=None)


def test_sharpness_at_its_limits():
    step = np.zeros((1, 2, 3), np.uint8)
    step[0, 1] = 10
    assert sharpness(step) == 10
    assert not is_blurred(10.0)
    assert is_blurred(9.99)
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert sharpness(pixel) == 0
    assert sharpness(pixel, "official") == 0
    with pytest.raises(Problem, match="blur rule"):
        sharpness(step, "vertical")


def test_two_greys_by_hand():
    halves = np.full((4, 6, 3), 100, np.uint8)
    halves[:, 3:] = 112
    assert greatest_difference(halves) == 12 == sharpness(halves)
    assert official_difference(halves) == 0 == sharpness(halves, "official")
    assert official_difference(halves[:, ::-1]) == 12
