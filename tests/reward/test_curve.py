"""The learning curve: nested subsets, one training per size, and sizes that are refused."""

import numpy as np
import pytest
from toy import RECIPE, write_choices

from alignsd.base.errors import Problem
from alignsd.models.clip import load_clip
from alignsd.reward import hps
from alignsd.reward.accuracy import chance_right
from alignsd.reward.curve import Curve, learning_curve, subsets


def test_subsets_are_nested_and_never_larger_than_the_data():
    indices = subsets(50, [10, 20, 80], seed=0)
    assert set(indices) == {10, 20} and set(indices[10]) <= set(indices[20])


def test_a_curve_trains_anew_for_each_size(tmp_path):
    choices = write_choices(tmp_path)
    curve = Curve("miniature/clip", [3, 6, 99], RECIPE, device="cpu")
    right = learning_curve(curve, choices, choices.head(4), tmp_path)
    assert list(right) == [3, 6] and right.shape == (4, 2)
    clip = load_clip("miniature/clip", device="cpu")
    hps.unlock(clip.model, RECIPE.image_groups, RECIPE.text_layers)
    six = choices.iloc[subsets(8, [6], RECIPE.seed)[6]]
    list(hps.train_hps(clip, six, tmp_path, RECIPE, steps=3))  # 2 epochs of 6, 4 at a time
    by_hand = chance_right(hps.score_choices(clip, choices.head(4), tmp_path), "score")
    assert np.array_equal(right[6], by_hand)


@pytest.mark.parametrize("sizes", [[0], [10, -3], ["ten"], [2.5], [True]], ids=str)
def test_sizes_that_no_training_can_have_are_named(sizes):
    with pytest.raises(Problem, match="curve names a size"):
        Curve("miniature/clip", sizes, RECIPE)
