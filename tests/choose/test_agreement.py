"""Agreement with yourself and between raters, on tables small enough to count by hand."""

import numpy as np
import pytest
from votes_tables import of_raters, table

from alignsd.base.errors import Problem
from alignsd.base.intervals import wilson
from alignsd.choose import analysis

NAN = None

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", data of section C: four
# observers, twelve units, five values, some missing. Nominal alpha there: 0.743.
KRIPPENDORFF = {
    "A": [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    "C": [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
}


def by_measure(votes):
    return analysis.between_raters(votes).set_index("measure")


def test_alpha_of_a_published_example():
    alpha = by_measure(of_raters(KRIPPENDORFF)).loc["Krippendorff's alpha"]
    assert alpha["value"] == pytest.approx(0.743, abs=5e-4)
    assert alpha["n"] == 11  # one unit was judged by one observer alone
    assert alpha["low"] < alpha["value"] < alpha["high"] <= 1


def test_two_raters_who_agree_on_three_of_four_questions():
    """Alpha by hand: 8 picks, 3 of place 0 and 5 of place 1; disagreement 2/8 against 30/56."""
    rows = by_measure(of_raters({"ann": [0, 1, 1, 0], "bob": [0, 1, 1, 1]}))
    assert rows.loc["pairwise agreement", "value"] == pytest.approx(3 / 4)
    assert rows.loc["Krippendorff's alpha", "value"] == pytest.approx(1 - (2 / 8) / (30 / 56))
    assert list(rows["n"]) == [4, 4]


def test_pairwise_agreement_counts_pairs_of_raters_within_a_question():
    """Three raters: all alike (3 of 3 pairs), then two against one (1 of 3 pairs)."""
    rows = by_measure(of_raters({"a": [0, 0], "b": [0, 0], "c": [0, 1]}))
    assert rows.loc["pairwise agreement", "value"] == pytest.approx((1 + 1 / 3) / 2)


def test_raters_who_never_differ_agree_fully():
    rows = by_measure(of_raters({"ann": [0, 1, 1, 0], "bob": [0, 1, 1, 0]}))
    assert list(rows["value"]) == [1, 1] and list(rows["low"]) == [1, 1]


def test_alpha_is_not_known_where_all_picks_are_alike():
    rows = by_measure(of_raters({"ann": [0, 0], "bob": [0, 0]}))
    assert np.isnan(rows.loc["Krippendorff's alpha", "value"])
    assert rows.loc["pairwise agreement", "value"] == 1


def test_raters_who_pick_at_random_have_an_alpha_of_about_zero():
    rng = np.random.default_rng(0)
    votes = of_raters({name: list(rng.integers(4, size=300)) for name in "abc"})
    rows = by_measure(votes)
    assert rows.loc["Krippendorff's alpha", "value"] == pytest.approx(0, abs=0.06)
    assert rows.loc["pairwise agreement", "value"] == pytest.approx(0.25, abs=0.04)


def test_one_rater_alone_agrees_with_nobody():
    assert len(analysis.between_raters(of_raters({"ann": [0, 1, 1]}))) == 0


def test_repeats_checks_and_skips_do_not_count_between_raters():
    picks = {(r, q): 0 for r in ("ann", "bob") for q in ("a", "b", "a-again", "check-0")}
    picks["bob", "b"] = 1
    picks["ann", "c"], picks["bob", "c"] = 0, None
    votes = table(picks, repeats={"a-again": "a"}, kinds={"check-0": "check"})
    assert list(by_measure(votes)["n"]) == [2, 2]  # a and b
    assert by_measure(votes).loc["pairwise agreement", "value"] == 0.5


def test_repeated_questions_are_compared_with_the_same_raters_first_answers():
    picks = {("ann", "a"): 0, ("ann", "b"): 1, ("ann", "c"): 2}
    picks |= {("ann", "a-again"): 0, ("ann", "b-again"): 0, ("ann", "c-again"): 2}
    picks |= {("bob", "a"): 1, ("bob", "a-again"): 1}
    repeats = {"a-again": "a", "b-again": "b", "c-again": "c"}
    rows = analysis.with_yourself(table(picks, repeats=repeats)).set_index("rater")
    assert list(rows.index) == ["ann", "bob", "all raters"]
    assert rows.loc["ann", ["value", "n"]].tolist() == [pytest.approx(2 / 3), 3]
    assert rows.loc["bob", ["value", "n"]].tolist() == [1, 1]
    assert rows.loc["all raters", ["value", "n"]].tolist() == [3 / 4, 4]
    assert tuple(rows.loc["ann", ["low", "high"]]) == pytest.approx(wilson(2, 3))


def test_a_repeat_counts_only_when_both_were_answered():
    picks = {("you", "a"): 0, ("you", "a-again"): None, ("you", "b-again"): 1}
    rows = analysis.with_yourself(table(picks, repeats={"a-again": "a", "b-again": "b"}))
    assert len(rows) == 0 and list(rows.columns) == ["rater", "value", "low", "high", "n"]


def test_one_rater_gets_one_row():
    picks = {("you", "a"): 0, ("you", "a-again"): 0}
    rows = analysis.with_yourself(table(picks, repeats={"a-again": "a"}))
    assert list(rows["rater"]) == ["you"]


def test_a_table_that_holds_a_pick_twice_is_refused():
    votes = of_raters({"ann": [0, 1]})
    doubled = votes.iloc[[0, 0, 1]]
    with pytest.raises(Problem, match="two picks of rater ann for question q0"):
        analysis.between_raters(doubled)
    with pytest.raises(Problem, match="no column picked"):
        analysis.with_yourself(votes.drop(columns="picked"))
