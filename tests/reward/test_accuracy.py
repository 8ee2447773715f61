"""How often predictors are right: known answers on two choices."""

import numpy as np
import pandas as pd
import pytest

from alignsd.models.aesthetic import Aesthetic
from alignsd.reward import accuracy


def two_choices() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [1, 1, 2, 2, 2],
            "index": [0, 1, 0, 1, 2],
            "preferred": [False, True, True, False, False],
            "s": [0.1, 0.9, 0.5, 0.5, 0.2],
            "p": [0.4, 0.6, 0.2, 0.5, 0.3],
        }
    )


def test_accuracy_by_hand():
    right = accuracy.right_by_predictor(two_choices(), {"S": "s"})
    assert right["S"].tolist() == [1.0, 0.5]  # in the second choice two images tie
    assert right[accuracy.RANDOM].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert right[accuracy.LAST].tolist() == [1.0, 0.0]
    assert right[accuracy.PERSON].tolist() == [0.6, 0.2]
    assert right[accuracy.BEST].tolist() == [1.0, 0.0]


def test_the_gap_to_the_best_possible_predictor_by_hand():
    images = two_choices()
    value, low, high = accuracy.short_of_best(images, "s", seed=0)
    # First choice: 0.6 against 0.6. Second choice: a tie of 0.2 and 0.5 against 0.5.
    assert value == pytest.approx((0 + (0.35 - 0.5)) / 2)
    assert low <= value <= high <= 0
    assert accuracy.short_of_best(images, "p", seed=0) == (0, 0, 0)
    assert accuracy.short_of_best(images.drop(columns="p"), "s", seed=0) is None


def test_tables_hold_a_row_per_predictor():
    right = accuracy.right_by_predictor(two_choices(), {"S": "s"})
    table = accuracy.accuracy_table(right, seed=0)
    assert table["predictor"].tolist() == list(right)
    assert table["accuracy"].tolist() == pytest.approx(right.mean().tolist())
    assert (table["n"] == 2).all()
    leads = accuracy.lead_table(right, "S", seed=0).set_index("over")
    assert list(leads.index) == [name for name in right if name != "S"]
    assert leads.loc[accuracy.LAST, "lead"] == pytest.approx(0.75 - 0.5)


def test_three_predictors_stand_side_by_side_joined_by_image():
    clip = pd.DataFrame({"id": [1, 1], "index": [0, 1], "preferred": [True, False]})
    clip = clip.assign(score=[30.0, 31.0], embedding=[np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    hps = clip.assign(score=[20.0, 18.0]).iloc[::-1]
    table = accuracy.beside(clip, hps, Aesthetic(weight=np.array([2.0, 3.0]), bias=1.0))
    assert list(table) == ["id", "index", "preferred", "clip", "aesthetic", "hps"]
    assert table["aesthetic"].tolist() == [3.0, 4.0]
    assert table["hps"].tolist() == [20.0, 18.0] and table["clip"].tolist() == [30.0, 31.0]
