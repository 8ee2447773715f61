"""Fewer choices and wrong picks: nested, reproducible, and nothing changes by default."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.reward.curve import subsets
from alignsd.reward.fewer_or_wrong import fewer, with_wrong_picks


@pytest.fixture
def choices():
    """Sixty choices of two to four pictures."""
    counts = [2 + row % 3 for row in range(60)]
    paths = [[f"{row}-{i}.png" for i in range(count)] for row, count in enumerate(counts)]
    picks = [row % count for row, count in enumerate(counts)]
    return pd.DataFrame({"id": range(60), "file_path": paths, "human_preference": picks})


def wrong_rows(choices, share, seed=0):
    changed = with_wrong_picks(choices, share, seed)
    return np.flatnonzero(changed["human_preference"] != choices["human_preference"])


def test_by_default_nothing_changes(choices):
    assert fewer(choices, 0, 0) is choices
    assert with_wrong_picks(choices, 0.0, 0) is choices


def test_fewer_choices_are_those_of_the_learning_curve(choices):
    few = fewer(choices, 10, 3)
    assert few["id"].tolist() == subsets(60, [10], 3)[10].tolist()
    assert set(few["id"]) < set(fewer(choices, 20, 3)["id"])
    assert few.index.tolist() == list(range(10))


@pytest.mark.parametrize("count", [-1, 61])
def test_a_count_that_no_subset_has_is_refused(choices, count):
    with pytest.raises(Problem, match="1 to 60 choices, or 0 for all"):
        fewer(choices, count, 0)


def test_a_share_of_the_picks_is_wrong_and_names_a_picture_of_the_choice(choices):
    before = choices["human_preference"].tolist()
    assert len(wrong_rows(choices, 0.25)) == 15
    every = with_wrong_picks(choices, 1.0, 0)
    assert len(wrong_rows(choices, 1.0)) == 60, "each wrong pick is another picture"
    counts = every["file_path"].map(len)
    assert every["human_preference"].between(0, counts - 1).all()
    assert choices["human_preference"].tolist() == before, "the caller's table stays as it is"


def test_a_pick_that_is_wrong_at_a_small_share_is_wrong_in_the_same_way_at_a_large(choices):
    few, many = wrong_rows(choices, 0.2), wrong_rows(choices, 0.6)
    assert set(few) < set(many)
    small = with_wrong_picks(choices, 0.2, 0)["human_preference"]
    large = with_wrong_picks(choices, 0.6, 0)["human_preference"]
    assert small[few].tolist() == large[few].tolist()
    assert set(wrong_rows(choices, 0.2, seed=1)) != set(few)


def test_wrong_picks_are_spread_over_the_other_pictures():
    paths = [["a", "b", "c"]] * 3000
    choices = pd.DataFrame({"file_path": paths, "human_preference": 1})
    picks = with_wrong_picks(choices, 1.0, 0)["human_preference"].value_counts()
    assert set(picks.index) == {0, 2}
    assert abs(picks[0] - 1500) < 4 * np.sqrt(3000) / 2  # four standard deviations


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), 10])
def test_a_share_out_of_range_is_refused(choices, share):
    with pytest.raises(Problem, match="wrong picks is no share"):
        with_wrong_picks(choices, share, 0)


def test_a_choice_of_one_picture_cannot_be_wrong():
    alone = pd.DataFrame({"id": [7], "file_path": [["a"]], "human_preference": [0]})
    with pytest.raises(Problem, match="choice 7"):
        with_wrong_picks(alone, 1.0, 0)
    assert with_wrong_picks(alone, 0.4, 0)["human_preference"].tolist() == [0]
