"""The published numbers agree with each other, and differences keep their published digits."""

import pytest

from alignsd import paper


def test_the_parts_of_the_data_set_add_up():
    by_images = paper.TEST_CHOICES_BY_IMAGES
    assert paper.TRAIN_CHOICES + paper.TEST_CHOICES == paper.CHOICES
    assert sum(by_images.values()) == paper.TEST_CHOICES
    assert sum(images * choices for images, choices in by_images.items()) == paper.TEST_IMAGES
    assert sum(paper.CHOSEN_POSITIONS) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize(
    ("value", "other", "digits", "expected"),
    [
        (paper.TABLE_2["HPS"], paper.TABLE_2["CLIP"], 1, 10.6),
        (paper.TABLE_4["adapted_negative"]["fid"], paper.TABLE_4["original"]["fid"], 2, -0.37),
        (paper.TABLE_4["adapted_negative"]["hps"], paper.TABLE_4["original"]["hps"], 4, 0.0018),
        (paper.MAJORITIES["adapted"], paper.MAJORITIES["original"], 0, 52.0),
    ],
)
def test_a_difference_has_the_published_digits(value, other, digits, expected):
    assert paper.difference(value, other, digits) == expected
