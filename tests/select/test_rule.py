"""The selection rule: hand-computed cases, its limits, ties, and independence of order."""

import math

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.select import rule


def scored(hps, prompt="p", sharp=50.0, status="ok", first=0) -> pd.DataFrame:
    """Scores of one prompt's images, named a, b, c ... from ``first``."""
    names = [f"{prompt}-{chr(97 + first + i)}.png" for i in range(len(hps))]
    return pd.DataFrame({"part": "part-000001", "image": names, "prompt": prompt, "hps": np.asarray(hps, float),
                         "sharpness": sharp, "status": status})


def roles(hps, alpha=2.0) -> list[str]:
    return rule.select(rule.group(scored(hps)), alpha)["role"].tolist()


def test_softmax_by_hand():
    rows = rule.group(scored([0, math.log(2), math.log(3), math.log(4)]))
    assert rows["p_best"].to_numpy() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rows["p_worst"].to_numpy() == pytest.approx(np.array([12, 6, 4, 3]) / 25)
    assert rows["n"].tolist() == [4] * 4


def test_softmax_is_over_one_prompt_and_does_not_overflow():
    rows = rule.group(pd.concat([scored([1e5, 0, 0, 0], "p"), scored([3, 3, 3, 3], "q")]))
    assert rows["p_best"].tolist() == [1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]


def test_best_and_worst_are_selected():
    assert roles([30, 20, 20, 10]) == ["positive", "", "", "negative"]
    assert roles([30, 20, 20, 20]) == ["positive", "", "", ""]
    assert roles([10, 20, 20, 20]) == ["negative", "", "", ""]


def test_at_exactly_the_threshold_nothing_is_selected():
    # Two tied images have p = 1/2 = alpha / n each: softmax(1000, 1000, 0, 0) is exact in floating point.
    assert roles([1000, 1000, 0, 0]) == [""] * 4
    # One image with weight 3 against three of weight 1: p = 1/2; just above and below.
    assert roles([math.log(3) + 1e-6, 0, 0, 0])[0] == "positive"
    assert roles([math.log(3) - 1e-6, 0, 0, 0])[0] == ""


def test_equal_scores_give_exactly_one_over_n_and_no_role():
    for n in (4, 5, 6, 7, 49):
        assert set(rule.group(scored([21.7] * n))["p_best"]) == {1 / n}
        assert roles([21.7] * n, alpha=1.0) == [""] * n


def test_tied_images_go_to_the_first_id_whatever_the_order():
    tied = scored([20, 30, 30, 0, 0, 0, 0, 0])  # p = 1/2 each, above 2/8
    for order in (tied, tied.iloc[::-1], tied.sample(frac=1, random_state=1)):
        rows = rule.select(rule.group(order)).set_index("image")["role"]
        assert rows[rows == "positive"].index.tolist() == ["p-b.png"]


def test_no_image_is_both_and_a_prompt_gives_at_most_one_of_each():
    rng = np.random.default_rng(0)
    parts = [scored(rng.normal(20, 3, rng.integers(4, 9)), f"p{i}") for i in range(200)]
    for alpha in (1.0, 1.3, 2.0):
        rows = rule.select(rule.group(pd.concat(parts)), alpha)
        counts = rows[rows["role"] != ""].groupby(["prompt", "role"]).size()
        assert counts.max() == 1 and len(counts) > 100
    assert rows["image"].is_unique


def test_selection_follows_ids_not_positions():
    rng = np.random.default_rng(1)
    table = pd.concat([scored(rng.normal(20, 2, 5), f"p{i}") for i in range(30)], ignore_index=True)
    shuffled = table.sample(frac=1, random_state=3)
    for rows in (table, shuffled):
        rows.attrs["picks"] = rule.picks(rule.keep_negatives(rule.select(rule.group(rows)), 0.5, 7))
    pd.testing.assert_frame_equal(table.attrs["picks"], shuffled.attrs["picks"])


@pytest.mark.parametrize("n, kept", [(3, 0), (4, 4)])
def test_a_prompt_needs_four_images(n, kept):
    assert len(rule.group(scored(range(n)))) == kept


def test_blurred_and_unreadable_images_do_not_count_towards_the_four():
    blurred = scored([5], sharp=9.99, first=3)
    at_limit = scored([5], sharp=10.0, first=3)
    damaged = scored([math.nan], status="damaged image", first=3)
    assert len(rule.group(pd.concat([scored([1, 2, 3]), blurred]))) == 0
    assert len(rule.group(pd.concat([scored([1, 2, 3]), damaged]))) == 0
    assert len(rule.group(pd.concat([scored([1, 2, 3]), at_limit]))) == 4


def test_nothing_left_is_no_error():
    rows = rule.keep_negatives(rule.select(rule.group(scored([1, 2]))), 0.5, 0)
    assert len(rows) == 0 and len(rule.picks(rows)) == 0
    assert rule.funnel(scored([1, 2]), rows)["images"].tolist() == [2, 2, 2, 0, 0, 0, 0]


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
    return rule.select(rule.group(pd.concat([scored([0, 20, 20, 20], f"p{i:02d}") for i in range(25)])))


@pytest.mark.parametrize("share, kept", [(0, 0), (0.5, 13), (0.1, 3), (1, 25)])
def test_share_of_negatives_is_rounded_half_up(share, kept):
    rows = rule.keep_negatives(many_negatives(), share, 0)
    assert (rows["role"] == "negative").sum() == kept
    assert (rows["role"] == "negative, not kept").sum() == 25 - kept


def test_which_negatives_are_kept_follows_from_seed_and_id():
    kept = {(share, seed): set(rule.picks(rule.keep_negatives(many_negatives(), share, seed))["image"])
            for share in (0.2, 0.5) for seed in (0, 1)}
    assert kept[0.2, 0] < kept[0.5, 0] and kept[0.5, 0] != kept[0.5, 1]
    with pytest.raises(Problem, match="share"):
        rule.keep_negatives(many_negatives(), 50, 0)


def test_picks_carry_what_was_compared():
    rows = rule.picks(rule.select(rule.group(scored([30, 20, 20, 10]))))
    assert rows["file_name"].tolist() == ["positive/p-a.png", "negative/p-d.png"]
    assert rows["label"].tolist() == ["positive", "negative"] and rows["text"].tolist() == ["p", "p"]
    assert (rows["p"] > 0.99).all()


def test_sensitivity_falls_with_alpha():
    rng = np.random.default_rng(2)
    groups = rule.group(pd.concat([scored(rng.normal(20, 1, 5), f"p{i}") for i in range(60)]))
    table = rule.sensitivity(groups, [1.0, 2.0, 3.0, 5.0])
    assert table["positives"].is_monotonic_decreasing and table["positives"].tolist()[::3] == [60, 0]
    chosen = rule.select(groups, 2.0)["role"].value_counts()
    assert table.loc[1, ["positives", "negatives"]].tolist() == [chosen["positive"], chosen["negative"]]


def stripes(level: bool) -> np.ndarray:
    """Black and white stripes, level or upright, ``(8, 8, 3)``."""
    bands = np.repeat(np.arange(8)[:, None] % 2 * 255, 8, axis=1).astype(np.uint8)
    return np.repeat((bands if level else bands.T)[..., None], 3, axis=2)


def test_official_blur_rule_is_blind_to_level_edges():
    level, upright = stripes(True), stripes(False)
    assert rule.sharpness(level) == rule.sharpness(upright) == 255
    assert rule.sharpness(level, "official") == 0 and rule.sharpness(upright, "official") == 255


def test_official_blur_rule_is_blind_to_pictures_that_get_brighter_to_the_right():
    rising = np.repeat((np.arange(2) * 200).astype(np.uint8)[None, :, None], 3, axis=2)
    assert rule.sharpness(rising, "official") == -200 and rule.sharpness(rising) == 200
    assert rule.sharpness(rising[:, ::-1], "official") == 200


def test_blur_rules_are_compared_and_no_picture_counts_as_none():
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[::2] = 255
    table = rule.compare_rules([stripes, np.zeros((4, 4, 3), np.uint8)])
    assert table.loc["official"].tolist() == [2, 2, 1] and table.loc["both directions"].tolist() == [2, 1, 0]
    assert (rule.compare_rules([]) == 0).all(axis=None)


def test_sharpness_at_its_limits():
    step = np.zeros((1, 2, 3), np.uint8)
    step[0, 1] = 10
    assert rule.sharpness(step) == 10 and not rule.is_blurred(10.0) and rule.is_blurred(9.99)
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert rule.sharpness(pixel) == rule.sharpness(pixel, "official") == 0
    with pytest.raises(Problem, match="blur rule"):
        rule.sharpness(step, "vertical")


def test_flaw_rates_join_by_id():
    rows = rule.select(rule.group(scored([30, 20, 20, 10])))
    rates = rule.flaw_rates(rows, pd.Series({"p-d.png": True, "p-a.png": False, "p-b.png": False, "x.png": True}))
    assert rates.set_index("group")["rate"].to_dict() == {"positives": 0, "all images": pytest.approx(1 / 3), "negatives": 1}
    assert rates.set_index("group")["n"].to_dict() == {"positives": 1, "all images": 3, "negatives": 1}
    assert ((rates["low"] <= rates["rate"]) & (rates["rate"] <= rates["high"])).all()


def test_without_a_judge_no_picture_is_read():
    def pictures():
        raise AssertionError("a picture was read")
        yield
    verdicts = rule.flaws_by_judge("", pictures())
    assert rule.flaw_rates(rule.select(rule.group(scored([30, 20, 20, 10]))), verdicts).empty
