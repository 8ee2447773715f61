"""The user study of real people, and strengths, on votes counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from votes_tables import deck, of_raters, study, table

from alignsd.base.errors import Problem
from alignsd.choose import analysis
from alignsd.choose.questions import Question
from alignsd.compare import user_study

CHECKS = {f"check-{number}": "check" for number in range(4)}


def votes_of_three(tmp_path):
    """Return a study of three prompts with four checks: bob clicks at random, ann and cy do not."""
    wanted = {"ann": [1, 1, 0], "cy": [1, 0, None], "bob": [0, 0, 0]}
    right = {"ann": [0, 0, 0, 0], "cy": [0, 0, 0, 1], "bob": [0, 1, 1, 0]}
    picks = {}
    for rater, row in wanted.items():
        picks |= {(rater, f"p{number}"): picked for number, picked in enumerate(row)}
    for rater, row in right.items():
        picks |= {(rater, f"check-{number}"): picked for number, picked in enumerate(row)}
    return table(picks, "study", kinds=CHECKS), study(tmp_path, 3, checks=4)


def test_three_of_four_checks_pass_and_two_of_four_do_not(tmp_path):
    rows = analysis.attention(*votes_of_three(tmp_path)).set_index("rater")
    assert rows["right"].to_dict() == {"ann": 4, "bob": 2, "cy": 3}
    assert rows["n"].tolist() == [4, 4, 4]
    assert rows["passed"].to_dict() == {"ann": True, "bob": False, "cy": True}


def test_a_rater_who_answered_no_check_is_kept_and_told(tmp_path):
    rows = analysis.attention(
        of_raters({"p": [0]}).assign(question="p0"), study(tmp_path, checks=1)
    )
    assert rows[["right", "n", "passed"]].values.tolist() == [[0, 0, True]]


def test_votes_are_counted_without_raters_who_failed_the_checks(tmp_path):
    votes = analysis.study_votes(*votes_of_three(tmp_path))
    assert list(votes.columns) == user_study.VOTES
    assert votes.values.tolist() == [
        ["p0", 0, 2, 2, "ok"],
        ["p1", 1, 1, 2, "ok"],
        ["p2", 1, 0, 1, "ok"],
    ]
    assert votes.attrs == {"raters": 2, "left_out": 1}


def test_the_simulated_peoples_analysis_takes_the_votes(tmp_path):
    votes = analysis.study_votes(*votes_of_three(tmp_path))
    result = user_study.majorities(votes, seed=0).set_index("outcome")
    assert result["value"].to_dict() == pytest.approx(
        {"adapted": 1 / 3, "original": 1 / 3, "tie": 1 / 3, "lead": 0}
    )
    assert set(result["n"]) == {3}


def test_a_prompt_that_nobody_voted_on_keeps_its_row(tmp_path):
    votes = analysis.study_votes(table({("ann", "p1"): 1}, "study"), study(tmp_path, 3))
    assert votes["voters"].tolist() == [0, 1, 0]
    assert votes["status"].tolist() == ["nobody voted", "ok", "nobody voted"]
    assert user_study.majorities(votes, 0).set_index("outcome").loc["adapted", "n"] == 1


def test_repeated_pairs_do_not_vote_twice(tmp_path):
    picks = {("ann", "p0"): 1, ("ann", "p0-again"): 0}
    votes = table(picks, "study", repeats={"p0-again": "p0"})
    counted = analysis.study_votes(votes, study(tmp_path, 1, repeats=1))
    assert counted.values.tolist() == [["p0", 0, 1, 1, "ok"]]


def test_nobody_at_all(tmp_path):
    counted = analysis.study_votes(table({}), study(tmp_path, 2))
    assert counted["voters"].tolist() == [0, 0] and counted.attrs == {"raters": 0, "left_out": 0}
    assert len(user_study.majorities(counted, 0)) == 0
    assert len(analysis.bradley_terry(table({}), study(tmp_path, 2))) == 0


def test_votes_of_another_deck_are_refused(tmp_path):
    with pytest.raises(Problem, match="question p7"):
        analysis.study_votes(table({("ann", "p7"): 0}, "study"), study(tmp_path))
    with pytest.raises(Problem, match="picture 2 of question p0"):
        analysis.attention(table({("ann", "p0"): 2}, "study"), study(tmp_path))


def test_raw_votes_hold_every_answer_and_no_name(tmp_path):
    votes, questions = votes_of_three(tmp_path)
    file = analysis.raw_votes(votes, questions, tmp_path / "out/raw.csv")
    text = file.read_text()
    assert not any(name in text for name in ("ann", "bob", "cy,"))
    rows = pd.read_csv(file)
    assert len(rows) == len(votes) and set(rows["rater"]) == {"rater 1", "rater 2", "rater 3"}
    first, skipped = rows.iloc[0], rows[rows["picked"].isna()].iloc[0]
    assert first[["question", "picture"]].tolist() == ["p0", "adapted/p0.png"]
    assert skipped["question"] == "p2" and pd.isna(skipped["picture"])
    assert set(rows.loc[rows["kind"] == "check", "right"]) == {0}


def test_strengths_of_two_arms_are_known_exactly(tmp_path):
    """20 against 10 votes: the difference is the logarithm of (20 + 0.5) / (10 + 0.5)."""
    raters = {f"r{number}": [1 if number < 20 else 0] for number in range(30)}
    votes = of_raters(raters, "study").assign(question="p0")
    rows = analysis.bradley_terry(votes, study(tmp_path, 1))
    assert rows["item"].tolist() == ["adapted", "original"]
    difference = rows["strength"][0] - rows["strength"][1]
    assert difference == pytest.approx(math.log(20.5 / 10.5), abs=1e-6)
    assert rows["strength"].sum() == pytest.approx(0, abs=1e-9)
    assert rows["n"].tolist() == [30, 30]


def test_an_arm_that_always_wins_has_a_finite_strength(tmp_path):
    votes = of_raters({"ann": [1, 1, 1], "bob": [1, 1, 1]}, "study")
    votes["question"] = votes["question"].str.replace("q", "p")
    rows = analysis.bradley_terry(votes, study(tmp_path, 3)).set_index("item")
    assert rows.loc["adapted", "strength"] == pytest.approx(math.log(6.5 / 0.5) / 2, abs=1e-6)
    assert np.isfinite(rows[["low", "high"]].to_numpy()).all()


def test_strengths_of_three_models_are_found_again(tmp_path):
    """Picks drawn by Luce's rule from known strengths: the intervals hold the true values."""
    truth = pd.Series({"a": 0.8, "b": 0.0, "c": -0.8})
    names = list(truth.index)
    questions = [
        Question(f"q{n}", "a prompt", tuple(f"{n}/{name}.png" for name in names)) for n in range(60)
    ]
    chances = np.exp(truth.to_numpy()) / np.exp(truth.to_numpy()).sum()
    rng = np.random.default_rng(1)
    picks = {f"r{rater}": rng.choice(3, size=60, p=chances).tolist() for rater in range(10)}
    rows = analysis.bradley_terry(of_raters(picks), deck(tmp_path, questions)).set_index("item")
    assert rows.index.tolist() == names
    for name, value in truth.items():
        assert rows.loc[name, "low"] < value < rows.loc[name, "high"]
        assert rows.loc[name, "strength"] == pytest.approx(value, abs=0.15)


def test_strength_of_a_place(tmp_path):
    questions = [Question(f"q{n}", "a prompt", (f"{n}_0.png", f"{n}_1.png")) for n in range(3)]
    rows = analysis.bradley_terry(of_raters({"ann": [1, 1, 0]}), deck(tmp_path, questions), "place")
    assert rows["item"].tolist() == ["2", "1"]


def test_single_pictures_are_no_items(tmp_path):
    questions = [Question(f"q{n}", "a prompt", (f"{n}_0.png", f"{n}_1.png")) for n in range(30)]
    votes = of_raters({"ann": [0] * 30})
    with pytest.raises(Problem, match="60 items"):
        analysis.bradley_terry(votes, deck(tmp_path, questions))
    with pytest.raises(Problem, match="colour"):
        analysis.bradley_terry(votes, deck(tmp_path, questions), "colour")
