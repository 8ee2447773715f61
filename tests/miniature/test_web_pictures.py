"""The simulated LAION: captioned pictures of the web that rate high."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.miniature import web_pictures, world
from alignsd.select.imagefolder import read_imagefolder


class Brightness:
    """A rater that rates a picture by its mean brightness."""

    def ratings(self, pictures):
        return np.array([picture.mean() / 25 for picture in pictures])


@dataclass(frozen=True)
class Wanted:
    """What ``adapt.regularization.Wanted`` says, with a rater that needs no model."""

    n: int
    minimum_rating: float
    rater: Brightness = Brightness()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(web_pictures, "CHUNK", 20)


def written(folder, n, seed=0):
    web_pictures.write_regularization(folder, seed, Wanted(n, 6.0))
    return read_imagefolder(folder)


def test_pictures_are_rated_high_and_captioned(tmp_path):
    table = written(tmp_path, 12)
    assert len(table) == 12
    assert (table["rating"] >= 6).all()
    assert set(table["label"]) == {"regularization"}
    assert all(world.scene_of(text) for text in table["text"])


def test_fewer_pictures_are_a_part_of_more_and_each_seed_has_its_own(tmp_path):
    table = written(tmp_path / "a", 12)
    pd.testing.assert_frame_equal(written(tmp_path / "b", 6), table.head(6))
    other = written(tmp_path / "c", 6, seed=1)
    assert set(other["file_name"]).isdisjoint(table["file_name"])


def test_a_rating_out_of_reach_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="too few pictures"):
        web_pictures.write_regularization(tmp_path, 0, Wanted(1, 11.0))
