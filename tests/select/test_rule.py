"""The selection rule: hand-computed cases, its limits, ties, and independence of order."""

import math

import numpy as np
import pandas as pd
import pytest
from builders import roles, scored

from alignsd.base.errors import Problem
from alignsd.select import picks, rule


def test_softmax_by_hand():
    groups = rule.group(scored([0, math.log(2), math.log(3), math.log(4)]))
    assert groups["p_best"].to_numpy() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert groups["p_worst"].to_numpy() == pytest.approx(np.array([12, 6, 4, 3]) / 25)
    assert groups["n"].tolist() == [4] * 4


def test_softmax_is_over_one_prompt_and_does_not_overflow():
    scores = pd.concat([scored([1e5, 0, 0, 0], "p"), scored([3, 3, 3, 3], "q")])
    assert rule.group(scores)["p_best"].tolist() == [1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]


def test_best_and_worst_are_selected():
    assert roles([30, 20, 20, 10]) == ["positive", "", "", "negative"]
    assert roles([30, 20, 20, 20]) == ["positive", "", "", ""]
    assert roles([10, 20, 20, 20]) == ["negative", "", "", ""]


def test_at_exactly_the_threshold_nothing_is_selected():
    # Two tied images have p = 1/2 = alpha / n each: softmax(1000, 1000, 0, 0) is exact.
    assert roles([1000, 1000, 0, 0]) == [""] * 4
    # One image with weight 3 against three of weight 1: p = 1/2; just above and below.
    assert roles([math.log(3) + 1e-6, 0, 0, 0])[0] == "positive"
    assert roles([math.log(3) - 1e-6, 0, 0, 0])[0] == ""


@pytest.mark.parametrize("n", [4, 5, 6, 7, 49])
def test_equal_scores_give_exactly_one_over_n_and_no_role(n):
    groups = rule.group(scored([21.7] * n))
    assert set(groups["p_best"]) == {1 / n}
    assert roles([21.7] * n, alpha=1.0) == [""] * n


def test_tied_images_go_to_the_first_id_whatever_the_order():
    tied = scored([20, 30, 30, 0, 0, 0, 0, 0])  # p = 1/2 each, above 2/8
    for order in (tied, tied.iloc[::-1], tied.sample(frac=1, random_state=1)):
        selected = rule.select(rule.group(order))
        positives = selected[selected["role"] == "positive"]
        assert positives["image"].tolist() == ["p-b.png"]


@pytest.mark.parametrize("alpha", [1.0, 1.3, 2.0])
def test_no_image_is_both_and_a_prompt_gives_at_most_one_of_each(alpha):
    rng = np.random.default_rng(0)
    prompts = [scored(rng.normal(20, 3, rng.integers(4, 9)), f"p{i}") for i in range(200)]
    selected = rule.select(rule.group(pd.concat(prompts)), alpha)
    counts = selected[selected["role"] != ""].groupby(["prompt", "role"]).size()
    assert counts.max() == 1
    assert len(counts) > 100
    assert selected["image"].is_unique


def test_selection_follows_ids_not_positions():
    rng = np.random.default_rng(1)
    prompts = [scored(rng.normal(20, 2, 5), f"p{i}") for i in range(30)]
    table = pd.concat(prompts, ignore_index=True)
    shuffled = table.sample(frac=1, random_state=3)

    def picked(scores):
        selected = rule.select(rule.group(scores))
        return picks.picks(rule.keep_negatives(selected, 0.5, 7))

    pd.testing.assert_frame_equal(picked(table), picked(shuffled))


@pytest.mark.parametrize(("n", "kept"), [(3, 0), (4, 4)])
def test_a_prompt_needs_four_images(n, kept):
    assert len(rule.group(scored(range(n)))) == kept


def test_blurred_and_unreadable_images_do_not_count_towards_the_four():
    three = scored([1, 2, 3])
    blurred = scored([5], sharp=9.99, first=3)
    at_limit = scored([5], sharp=10.0, first=3)
    damaged = scored([math.nan], status="damaged image", first=3)
    assert len(rule.group(pd.concat([three, blurred]))) == 0
    assert len(rule.group(pd.concat([three, damaged]))) == 0
    assert len(rule.group(pd.concat([three, at_limit]))) == 4


def test_nothing_left_is_no_error():
    scores = scored([1, 2])
    selected = rule.keep_negatives(rule.select(rule.group(scores)), 0.5, 0)
    assert len(selected) == 0
    assert len(picks.picks(selected)) == 0
    assert rule.funnel(scores, selected)["images"].tolist() == [2, 2, 2, 0, 0, 0, 0]


def test_unclear_scores_are_refused():
    with pytest.raises(Problem, match="more than one score"):
        rule.group(pd.concat([scored([1, 2, 3, 4]), scored([9])]))
    with pytest.raises(Problem, match="no score"):
        rule.group(scored([1, 2, 3, math.nan]))


@pytest.mark.parametrize("alpha", [0.99, 0, -1, math.nan])
def test_alpha_below_one_is_refused(alpha):
    with pytest.raises(Problem, match="alpha"):
        roles([1, 2, 3, 4], alpha)


def many_negatives() -> pd.DataFrame:
    """Return a selection of 25 prompts, with one negative each."""
    prompts = [scored([0, 20, 20, 20], f"p{i:02d}") for i in range(25)]
    return rule.select(rule.group(pd.concat(prompts)))


@pytest.mark.parametrize(("share", "kept"), [(0, 0), (0.5, 13), (0.1, 3), (1, 25)])
def test_share_of_negatives_is_rounded_half_up(share, kept):
    selected = rule.keep_negatives(many_negatives(), share, 0)
    assert (selected["role"] == "negative").sum() == kept
    assert (selected["role"] == "negative, not kept").sum() == 25 - kept


def test_which_negatives_are_kept_follows_from_seed_and_id():
    def kept(share, seed):
        selected = rule.keep_negatives(many_negatives(), share, seed)
        return set(picks.picks(selected)["image"])

    assert kept(0.2, 0) < kept(0.5, 0)
    assert kept(0.5, 0) != kept(0.5, 1)
    with pytest.raises(Problem, match="share"):
        rule.keep_negatives(many_negatives(), 50, 0)


def test_sensitivity_falls_with_alpha():
    rng = np.random.default_rng(2)
    prompts = [scored(rng.normal(20, 1, 5), f"p{i}") for i in range(60)]
    groups = rule.group(pd.concat(prompts))
    table = rule.sensitivity(groups, [1.0, 2.0, 3.0, 5.0])
    assert table["positives"].is_monotonic_decreasing
    assert table["positives"].iloc[[0, 3]].tolist() == [60, 0]
    chosen = rule.select(groups, 2.0)["role"].value_counts()
    at_two = table.loc[1, ["positives", "negatives"]].tolist()
    assert at_two == [chosen["positive"], chosen["negative"]]


def test_the_core_of_the_rule_names_one_image_of_each_clear_prompt():
    images = pd.DataFrame(
        {
            "prompt": ["a"] * 4 + ["b"] * 4,
            "n": 4,
            "p_best": [0.1, 0.6, 0.2, 0.1, 0.4, 0.4, 0.1, 0.1],
        }
    )
    assert rule.clear_extremes(images, "p_best", 2.0).tolist() == [1]
    assert rule.clear_extremes(images, "p_best", 1.5).tolist() == [1, 4]
    assert rule.clear_extremes(images, "p_best", 2.4).tolist() == [], "at 0.6 = 2.4 / 4, none"
