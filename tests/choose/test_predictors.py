"""Predictors and simulated people against picks, counted by hand."""

import numpy as np
import pytest
from votes_tables import of_raters, table

from alignsd.base.errors import Problem
from alignsd.base.intervals import wilson
from alignsd.choose import analysis

CHANCES = {
    "q0": np.array([0.7, 0.2, 0.1]),
    "q1": np.array([0.5, 0.5]),
    "q2": np.array([0.1, 0.2, 0.3, 0.4]),
}


def test_agreement_with_people_whose_chances_are_known():
    votes = of_raters({"you": [0, 1, 0]})
    rows = analysis.agreement_with_chances(votes, CHANCES).set_index("who")
    assert rows.loc["your picks", "value"] == pytest.approx((0.7 + 0.5 + 0.1) / 3)
    assert rows.loc["two simulated people", "value"] == pytest.approx((0.54 + 0.5 + 0.3) / 3)
    assert rows.loc["best possible", "value"] == pytest.approx((0.7 + 0.5 + 0.4) / 3)
    assert rows.loc["chance", "value"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 4) / 3)
    assert list(rows["n"]) == [3] * 4
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()


def test_someone_who_picks_like_the_simulated_people_agrees_like_two_of_them():
    rng = np.random.default_rng(0)
    p = np.array([0.6, 0.3, 0.1])
    votes = of_raters({"you": [int(pick) for pick in rng.choice(3, size=4000, p=p)]})
    chances = {f"q{number}": p for number in range(4000)}
    rows = analysis.agreement_with_chances(votes, chances).set_index("who")["value"]
    assert rows["your picks"] == pytest.approx(rows["two simulated people"], abs=0.01)


def test_questions_without_chances_and_skips_are_left_out():
    votes = of_raters({"you": [0, None, None]})
    rows = analysis.agreement_with_chances(votes, {"q0": CHANCES["q0"], "q1": CHANCES["q1"]})
    assert list(rows["n"]) == [1] * 4
    assert len(analysis.agreement_with_chances(votes, {"q9": CHANCES["q0"]})) == 0


def test_chances_that_do_not_fit_are_refused():
    votes = of_raters({"you": [2]})
    with pytest.raises(Problem, match="question q0"):
        analysis.agreement_with_chances(votes, {"q0": np.array([0.5, 0.5])})
    with pytest.raises(Problem, match="question q0"):
        analysis.agreement_with_chances(votes, {"q0": np.array([0.5, np.nan, 0.5])})


def test_accuracy_of_two_predictors_on_the_same_picks():
    votes = of_raters({"you": [0, 1, 3, 2]})
    scores = {
        "HPS": {
            "q0": np.array([3.0, 1.0]),
            "q1": np.array([3.0, 4.0]),
            "q2": np.array([1.0, 2.0, 3.0, 4.0]),
            "q3": np.array([9.0, 1.0, 2.0]),
        },
        "first": {f"q{n}": -np.arange(4.0 if n == 2 else 3.0) for n in range(4)},
    }
    rows = analysis.accuracy_on_votes(votes, scores).set_index("predictor")
    assert rows.loc["HPS", ["value", "n"]].tolist() == [3 / 4, 4]
    assert rows.loc["first", ["value", "n"]].tolist() == [1 / 4, 4]
    assert tuple(rows.loc["HPS", ["low", "high"]]) == pytest.approx(wilson(3, 4))


def test_a_predictor_that_ties_two_pictures_is_right_by_half():
    votes = of_raters({"you": [0, 2]})
    scores = {"tie": {"q0": np.array([1.0, 1.0, 0.0]), "q1": np.array([1.0, 1.0, 0.0])}}
    rows = analysis.accuracy_on_votes(votes, scores)
    assert rows["value"].tolist() == [0.25] and rows["n"].tolist() == [2]


def test_all_predictors_are_judged_by_the_questions_that_each_of_them_scored():
    votes = of_raters({"you": [0, 0]})
    right = np.array([1.0, 0.0])
    scores = {"both": {"q0": right, "q1": right}, "one": {"q1": 1 - right}}
    rows = analysis.accuracy_on_votes(votes, scores).set_index("predictor")
    assert rows["n"].tolist() == [1, 1] and rows["value"].tolist() == [1, 0]


def test_several_raters_count_within_their_question():
    """Two raters agree with the predictor on q0 and one of two on q1: 3 picks of 4."""
    votes = of_raters({"ann": [0, 0], "bob": [0, 1]})
    scores = {"first": {"q0": np.array([1.0, 0.0]), "q1": np.array([1.0, 0.0])}}
    rows = analysis.accuracy_on_votes(votes, scores)
    assert rows["value"].tolist() == [0.75] and rows["n"].tolist() == [4]


def test_repeats_are_not_counted_twice():
    votes = table({("you", "q0"): 0, ("you", "q0-again"): 0}, repeats={"q0-again": "q0"})
    right = np.array([1.0, 0.0])
    rows = analysis.accuracy_on_votes(votes, {"x": {"q0": right, "q0-again": right}})
    assert rows["n"].tolist() == [1]
