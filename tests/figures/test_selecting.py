"""The figures of scores and selection: they draw what they are given, and the hard cases too."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from alignsd.figures import selecting as plots
from alignsd.select import picks, rule


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    rows = [
        ("part-000001", f"{p}-{i}.png", f"prompt {p} of a person", rng.normal(20, 2), 80.0, "ok")
        for p in range(9)
        for i in range(4 + p % 3)
    ]
    return pd.DataFrame(rows, columns=["part", "image", "prompt", "hps", "sharpness", "status"])


@pytest.fixture
def selected(scores):
    return rule.keep_negatives(rule.select(rule.group(scores)), 0.5, 0)


@pytest.fixture
def pictures(scores):
    return {name: np.full((8, 8, 3), 99, np.uint8) for name in scores["image"]}


def test_bars_and_lines_carry_the_numbers(scores, selected):
    axes = Figure().subplots(3)
    table = rule.funnel(scores, selected)
    assert [bar.get_width() for bar in plots.funnel(axes[0], table).patches] == table[
        "images"
    ].tolist()[::-1]
    curve = rule.sensitivity(selected, [1.0, 2.0])
    assert (
        plots.sensitivity(axes[1], curve, 2.0).lines[0].get_ydata().tolist()
        == curve["positives"].tolist()
    )
    assert (
        len(plots.margin_scatter(axes[2], selected, 2.0).collections[0].get_offsets())
        == scores["prompt"].nunique()
    )
    assert plots.funnel(axes[0], table).texts[-1].get_text() == "45 images of 9 prompts"


def test_blurred_images_do_not_stretch_the_corpus_and_are_counted(scores):
    blurred = scores["image"].isin(["0-0.png", "3-1.png"])
    ax = plots.corpus_histogram(
        Figure().subplots(),
        scores.assign(sharpness=80.0 - 75 * blurred, hps=scores["hps"] - 60 * blurred),
    )
    assert (
        "2 blurred images left out" in ax.get_xlabel()
        and f"n = {len(scores) - 2}" in ax.get_legend().get_texts()[0].get_text()
    )
    assert ax.patches[0].get_xy()[:, 0].min() > 0


def test_blur_limit_is_counted(scores):
    ax = plots.sharpness_histogram(
        Figure().subplots(), scores.assign(sharpness=[9.0] + [80.0] * (len(scores) - 1))
    )
    assert "1 images below" in ax.get_legend().get_texts()[0].get_text()


def test_flaw_rates_have_error_bars_or_say_why_not(selected):
    flawed = pd.Series(selected["role"].eq("negative").to_numpy(), index=selected["image"])
    rates = picks.flaw_rates(selected, flawed)
    ax = plots.flaw_rates(Figure().subplots(), rates)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx((100 * rates["rate"]).tolist())
    assert len(ax.collections) == 1, "the intervals"
    empty = plots.flaw_rates(Figure().subplots(), rates.head(0))
    assert "not attempted" in empty.texts[0].get_text()


def test_pictures_stand_in_order_of_their_score(selected, pictures):
    fig = plots.ranked_pictures(Figure(), selected.head(10), pictures)
    titles = [float(ax.get_title()) for ax in fig.axes[:4]]
    assert titles == sorted(titles)


def test_pairs_have_one_of_each_and_follow_from_the_seed(selected, pictures):
    pairs = plots.pair_prompts(selected, 3, 0)
    roles = pairs["role"].str.split(",").str[0]
    assert (
        pairs.assign(role=roles).groupby("prompt")["role"].agg(set).tolist()
        == [{"positive", "negative"}] * 3
    )
    again = plots.pair_prompts(selected.sample(frac=1, random_state=1), 3, 0)
    assert again["image"].tolist() == pairs["image"].tolist()
    fig = plots.pair_grid(Figure(), pairs, pictures)
    labels = [ax.get_xlabel() for ax in fig.axes if ax.get_visible()]
    assert sorted(labels) == sorted(f"HPS {hps:.2f}" for hps in pairs["hps"])
    assert [text.get_text() for text in fig.legends[0].get_texts()][:2] == ["positive", "negative"]


def test_nothing_to_show_is_said(selected, pictures):
    assert plots.pair_grid(Figure(), plots.pair_prompts(selected.head(0), 3, 0), pictures).texts
    assert plots.ranked_pictures(Figure(), selected.head(0), pictures).texts
