"""Pictures of a grid are cut out and compared; shapes are checked."""

import numpy as np
from jaxtyping import UInt8

from alignsd.base.images import save_png
from alignsd.collect.discord import File
from alignsd.collect.grids import Thumbnails, cells, picture, sent_back


def four(folder):
    """Write a grid of four grey squares of 40 x 40 pixels, and return its cells."""
    squares = [np.full((40, 40, 3), 60 * index, np.uint8) for index in range(4)]
    save_png(
        folder / "grid.png",
        np.vstack([np.hstack(squares[:2]), np.hstack(squares[2:])]),
    )
    return cells((File("grid.png", "grid.png", folder),), 4)


def test_a_cell_is_a_picture_of_its_own(tmp_path):
    for index, file in enumerate(four(tmp_path)):
        pixels = picture(file)
        assert isinstance(pixels, UInt8[np.ndarray, "40 40 3"])
        assert (pixels == 60 * index).all()


def test_a_thumbnail_has_one_size_and_none_stands_for_what_cannot_be_read(tmp_path):
    thumbnails = Thumbnails()
    small = thumbnails.of(four(tmp_path)[1])
    assert isinstance(small, UInt8[np.ndarray, "32 32 3"])
    assert thumbnails.of(File("gone.png", "gone.png", tmp_path)) is None


def test_a_cell_that_is_sent_back_is_known_by_its_pixels(tmp_path):
    given = four(tmp_path)
    save_png(tmp_path / "mine.png", np.full((20, 20, 3), 121, np.uint8))
    assert sent_back([File("mine.png", "mine.png", tmp_path)], given) == [2]
    save_png(tmp_path / "other.png", np.full((20, 20, 3), 90, np.uint8))
    assert sent_back([File("other.png", "other.png", tmp_path)], given) == []


def test_files_of_their_own_are_known_by_their_names(tmp_path):
    given = [File(name, f"media/{name}", tmp_path) for name in ("a.png", "b.png")]
    assert sent_back([File("b.png", "elsewhere/b.png", tmp_path)], given) == [1]
