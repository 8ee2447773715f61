"""Guidance as an arrow: known answers on small arrays, and the sampler's own sum."""

import math

import numpy as np
import pytest
import torch
from studio_of_tests import PROMPT

from alignsd.models.stable_diffusion import Drawing
from alignsd.play import drawings, guidance, strength, ways
from alignsd.play.studio import Picture, Wish, plan_seed

pytest_plugins = ["studio_of_tests"]


def test_guidance_starts_at_the_negative_prediction():
    negative, prompt = np.array([1.0, 2.0]), np.array([3.0, 1.0])
    np.testing.assert_allclose(guidance.guided(negative, prompt, 0.0), negative)
    np.testing.assert_allclose(guidance.guided(negative, prompt, 1.0), prompt)
    np.testing.assert_allclose(guidance.guided(negative, prompt, 2.0), [5.0, 0.0])


def test_points_keep_all_distances():
    """Four numbers, so the unit is 2: a distance of 6 becomes 3."""
    negative = torch.zeros(4)
    prompt = torch.tensor([6.0, 0.0, 0.0, 0.0])
    empty = torch.tensor([2.0, 0.0, 4.0, 0.0])
    points = guidance.points(negative, prompt, empty, 1.5)
    assert points == {
        "negative": (0, 0),
        "prompt": (3, 0),
        "guided": (4.5, 0),
        "empty": (1, 2),
    }


def test_points_keep_all_distances_of_random_predictions():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 4, 8, 8, generator=generator)
    named = dict(zip(("negative", "prompt", "empty"), drawn, strict=True))
    points = guidance.points(**named, scale=2.5)
    named["guided"] = guidance.guided(named["negative"], named["prompt"], 2.5)
    for one in named:
        for other in named:
            true = float((named[one] - named[other]).norm()) / 16
            assert math.dist(points[one], points[other]) == pytest.approx(true, abs=1e-5)


def test_equal_predictions_are_one_point():
    same = torch.ones(4)
    assert set(guidance.points(same, same, same, 3.0).values()) == {(0.0, 0.0)}


def test_predictions_are_those_of_the_drawing(studio):
    wish, drawing = Wish(PROMPT, 5, "adapted", negative="at night"), Drawing(2, 2.0)
    three = guidance.predictions(studio, wish, drawing)
    calls = studio.watch(wish, drawing)
    assert len(three) == 2 and three.times.tolist() == [call.time for call in calls]
    for step, call in enumerate(calls):
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(three.negative[step], call.predictions[0], **close)
        torch.testing.assert_close(three.prompt[step], call.predictions[1], **close)
    assert (three.empty - three.negative).abs().max() > 0


def test_an_empty_negative_prompt_lies_on_the_empty_prompt(studio):
    three = guidance.predictions(studio, Wish(PROMPT, 5), Drawing(1, 2.0))
    x, y = guidance.points(three.negative[0], three.prompt[0], three.empty[0], 2.0)["empty"]
    assert abs(x) < 1e-4 and abs(y) < 1e-4


@pytest.mark.parametrize("scale", [0.0, 1.0, 6.0])
def test_the_arrow_is_drawn_at_true_angles(studio, style, scale):
    three = guidance.predictions(studio, Wish(PROMPT, 5, negative="at night"), Drawing(2, 2.0))
    fig = drawings.guidance_arrow(studio, three, 2, scale)
    fig.draw_without_rendering()
    plane, *pictures = fig.axes
    assert len(pictures) == 4
    box = plane.get_window_extent()
    (left, right), (low, high) = plane.get_xlim(), plane.get_ylim()
    assert box.width / (right - left) == pytest.approx(box.height / (high - low), rel=0.02)
    assert f"scale {scale:g}" in fig.get_label()


def picture(wish, value, flaw="none", hps=50.0):
    pixels = np.full((2, 2, 3), value, np.uint8)
    return Picture(wish, pixels, hps, hps / 100, 5.0, flaw, True)


def test_the_identifier_is_used_in_six_ways():
    wishes = ways.all_ways(["one", "two"], "W. ", 3)
    assert len(wishes) == 2 * ways.PER_PROMPT
    texts = [(w.adapter, w.prompt, w.negative, w.wanted) for w in wishes[:6]]
    for adapter, three in (("", texts[:3]), ("adapted", texts[3:])):
        assert three == [
            (adapter, "one", "", "one"),
            (adapter, "W. one", "", "one"),
            (adapter, "one", "W. ", "one"),
        ]
    assert {w.seed for w in wishes[:6]} == {plan_seed(3, 0)}
    assert {w.seed for w in wishes[6:]} == {plan_seed(3, 1)}


def test_flaws_are_counted_by_model_and_way():
    wishes = ways.all_ways(["one", "two"], "W. ", 3)
    flaws = ["none"] * 12
    flaws[4] = flaws[10] = flaws[0] = "missing arm"  # adapted as prompt, twice; original once
    pictures = [
        picture(wish, 0, flaw, hps)
        for hps, (wish, flaw) in enumerate(zip(wishes, flaws, strict=True))
    ]
    table = ways.flaw_table(pictures).set_index(["model", "identifier"])
    assert table["n"].eq(2).all()
    assert table.loc[("adapted", ways.AS_PROMPT), "share"] == 1
    assert table.loc[("original", ways.NOWHERE), "flawed"] == 1
    assert table["flawed"].sum() == 3
    assert table.loc[("adapted", ways.AS_NEGATIVE), "hps"] == (5 + 11) / 2
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()


def test_without_a_judge_no_share_is_told():
    wishes = ways.all_ways(["one"], "W. ", 3)
    table = ways.flaw_table([picture(wish, 0, None) for wish in wishes])
    assert table["share"].isna().all() and table["low"].isna().all()


def test_pairs_are_the_original_and_the_paper_s_picture():
    wishes = ways.all_ways(["one", "two"], "W. ", 3)
    pictures = [picture(wish, number) for number, wish in enumerate(wishes)]
    values = [[int(pixels[0, 0, 0]) for pixels in pair] for pair in ways.pairs(pictures)]
    assert values == [[0, 5], [6, 11]]
    assert list(ways.by_name(pictures[:6])) == [
        "original, no identifier",
        "original, identifier as prompt",
        "original, identifier as negative prompt",
        "adapted, no identifier",
        "adapted, identifier as prompt",
        "adapted, identifier as negative prompt",
    ]


def test_the_largest_jump_is_a_share_of_all_changes():
    wish = Wish(PROMPT, 5, "adapted")
    wishes = strength.strengths(wish)
    assert [w.strength for w in wishes] == [0, 0.25, 0.5, 0.75, 1]
    even = [picture(wish, value) for value in (0, 10, 20, 30, 40)]
    jump = [picture(wish, value) for value in (0, 10, 90, 90, 100)]
    still = [picture(wish, 7)] * 5
    assert strength.largest_jump(even) == pytest.approx(0.25)
    assert strength.largest_jump(jump) == pytest.approx(0.8)
    assert strength.largest_jump(still) == 0
