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
    rows = []
    for prompt in range(9):
        for index in range(4 + prompt % 3):
            words = f"prompt {prompt} of a person"
            rows.append((f"{prompt}-{index}.png", words, rng.normal(20, 2)))
    table = pd.DataFrame(rows, columns=["image", "prompt", "hps"])
    return table.assign(part="part-000001", sharpness=80.0, status="ok")


@pytest.fixture
def selected(scores):
    groups = rule.group(scores)
    return rule.keep_negatives(rule.select(groups), 0.5, 0)


@pytest.fixture
def pictures(scores):
    return {name: np.full((8, 8, 3), 99, np.uint8) for name in scores["image"]}


@pytest.fixture
def ax():
    return Figure().subplots()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_funnels_bars_carry_the_numbers(ax, scores, selected):
    table = rule.funnel(scores, selected)
    plots.funnel(ax, table)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == table["images"].tolist()[::-1]
    assert ax.texts[-1].get_text() == "45 images of 9 prompts"


def test_the_lines_of_the_thresholds_carry_the_numbers(ax, selected):
    curve = rule.sensitivity(selected, [1.0, 2.0])
    plots.sensitivity(ax, curve, 2.0)
    assert ax.lines[0].get_ydata().tolist() == curve["positives"].tolist()


def test_the_margins_have_a_dot_per_prompt(ax, scores, selected):
    plots.margin_scatter(ax, selected, 2.0)
    (dots,) = ax.collections
    assert len(dots.get_offsets()) == scores["prompt"].nunique()


def test_blurred_images_do_not_stretch_the_corpus_and_are_counted(ax, scores):
    is_blurred = scores["image"].isin(["0-0.png", "3-1.png"])
    sharpness = np.where(is_blurred, 5.0, 80.0)
    hps = np.where(is_blurred, scores["hps"] - 60, scores["hps"])
    plots.corpus_histogram(ax, scores.assign(sharpness=sharpness, hps=hps))
    assert "2 blurred images left out" in ax.get_xlabel()
    assert f"n = {len(scores) - 2}" in legend(ax)[0]
    (outline, _) = ax.lines  # the histogram's outline, and the mean
    assert outline.get_xdata().min() > 0


def test_blur_limit_is_counted(ax, scores):
    sharpness = [9.0] + [80.0] * (len(scores) - 1)
    plots.sharpness_histogram(ax, scores.assign(sharpness=sharpness))
    assert "1 images below" in legend(ax)[0]


def test_flaw_rates_have_error_bars_or_say_why_not(ax, selected):
    is_negative = selected["role"].eq("negative").to_numpy()
    flawed = pd.Series(is_negative, index=selected["image"])
    rates = picks.flaw_rates(selected, flawed)
    plots.flaw_rates(ax, rates)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx((100 * rates["rate"]).tolist())
    assert len(ax.collections) == 1, "the intervals"
    empty = plots.flaw_rates(Figure().subplots(), rates.head(0))
    assert "not attempted" in empty.texts[0].get_text()


def test_pictures_stand_in_order_of_their_score(selected, pictures):
    fig = plots.ranked_pictures(Figure(), selected.head(10), pictures)
    titles = [float(ax.get_title()) for ax in fig.axes[:4]]
    assert titles == sorted(titles)


def test_pairs_have_one_of_each_and_follow_from_the_seed(selected, pictures):
    pairs = plots.pair_prompts(selected, 3, 0)
    kinds = pairs.assign(kind=pairs["role"].str.split(",").str[0])
    kinds_of_prompt = kinds.groupby("prompt")["kind"].agg(set)
    assert kinds_of_prompt.tolist() == [{"positive", "negative"}] * 3
    again = plots.pair_prompts(selected.sample(frac=1, random_state=1), 3, 0)
    assert again["image"].tolist() == pairs["image"].tolist()
    fig = plots.pair_grid(Figure(), pairs, pictures)
    labels = [ax.get_xlabel() for ax in fig.axes if ax.get_visible()]
    assert sorted(labels) == sorted(f"HPS {hps:.2f}" for hps in pairs["hps"])
    assert [text.get_text() for text in fig.legends[0].get_texts()][:2] == ["positive", "negative"]


def test_nothing_to_show_is_said(selected, pictures):
    no_pairs = plots.pair_prompts(selected.head(0), 3, 0)
    assert plots.pair_grid(Figure(), no_pairs, pictures).texts
    assert plots.ranked_pictures(Figure(), selected.head(0), pictures).texts


def test_a_guess_shows_letters_and_no_scores_before(scores, pictures):
    pair = scores.head(2)
    before = plots.lettered(Figure(), pair, pictures, with_scores=False)
    after = plots.lettered(Figure(), pair, pictures, with_scores=True)
    assert [ax.get_title() for ax in before.axes] == ["A", "B"]
    assert [ax.get_xlabel() for ax in before.axes] == ["", ""]
    assert [ax.get_xlabel() for ax in after.axes] == [f"HPS {hps:.2f}" for hps in pair["hps"]]


def test_a_strip_keeps_the_order_of_the_rows(scores, pictures):
    rows = scores.head(5).iloc[::-1]
    fig = plots.strip(Figure(), rows, pictures, "sharpness", columns=3)
    assert len(fig.axes) == 6
    assert [ax.get_xlabel() for ax in fig.axes] == ["sharpness 80"] * 5 + [""]
    fig = plots.strip(Figure(), rows, pictures, "hps")
    assert [ax.get_xlabel() for ax in fig.axes[:5]] == [f"HPS {hps:.2f}" for hps in rows["hps"]]


def test_pictures_that_could_not_be_read_are_left_out(scores, pictures):
    some = {name: pixels for name, pixels in pictures.items() if name != scores["image"].iloc[0]}
    assert len(plots.lettered(Figure(), scores.head(2), some, with_scores=False).axes) == 1
    assert plots.strip(Figure(), scores.head(1), some, "hps").texts


@pytest.fixture
def four():
    """Return the groups of two prompts: one with a clear best image, one with equal images."""
    rows = []
    for prompt, values in (("a cat", [20.0, 20.0, 20.0, 23.0]), ("a dog", [20.0] * 4)):
        for index, hps in enumerate(values):
            rows.append(("part-000001", f"{prompt}-{index}.png", prompt, hps, 80.0, "ok"))
    columns = ["part", "image", "prompt", "hps", "sharpness", "status"]
    return rule.group(pd.DataFrame(rows, columns=columns))


def test_the_rule_at_a_threshold_frames_what_it_selects(four):
    pixels = {name: np.zeros((8, 8, 3), np.uint8) for name in four["image"]}
    fig = plots.rule_at(four, pixels, 2.0, "a cat")
    *images, bars = fig.axes
    assert [ax.get_title() for ax in images][-1] == "HPS 23.00"
    assert [ax.spines["top"].get_visible() for ax in images] == [False, False, False, True]
    assert fig.get_suptitle() == "alpha = 2: 1 positives and 0 negatives of 2 prompts"
    best = np.exp([0, 0, 0, 3]) / (3 + np.exp(3))
    worst = np.exp([0, 0, 0, -3]) / (3 + np.exp(-3))
    heights = [bar.get_height() for bar in bars.patches]
    assert heights == pytest.approx([*best, *worst])
    assert bars.lines[0].get_ydata()[0] == 0.5
    assert "alpha / n = 0.50" in legend(bars)


def test_a_threshold_that_nothing_passes_stays_in_sight(four):
    fig = plots.rule_at(four, {}, 4.0, "a cat")
    bars = fig.axes[-1]
    assert bars.get_ylim()[1] > 1 and "0 positives" in fig.get_suptitle()
