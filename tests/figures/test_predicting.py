"""The figures of HPS carry the numbers of their tables, and their labels can be read."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.base.images import save_png
from alignsd.figures import predicting as plots
from alignsd.reward import scale

pytestmark = pytest.mark.usefixtures("style")


@pytest.fixture
def accuracy():
    rows = [
        ("random guess", 0.255, 0.253, 0.257),
        ("CLIP", 0.26, 0.23, 0.30),
        ("HPS", 0.365, 0.327, 0.404),
        ("another person", 0.419, 0.40, 0.44),
        ("best possible", 0.425, 0.41, 0.46),
    ]
    return pd.DataFrame(rows, columns=["predictor", "accuracy", "low", "high"]).assign(n=600)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    hps = rng.normal(20, 1, 80)
    clip = rng.normal(28, 1, 80)
    return pd.DataFrame({"hps": hps, "clip": clip, "preferred": np.arange(80) % 4 == 0})


@pytest.fixture
def ax():
    return plt.figure(figsize=(7.5, 3.8)).subplots()


def texts(artists):
    return [text.get_text() for text in artists]


def test_table_2_keeps_this_runs_numbers_apart_from_the_papers(ax, accuracy):
    plots.accuracy_bars(ax, accuracy)
    columns = {}
    for text in ax.texts:
        columns.setdefault(text.get_position()[0], []).append(text.get_text())
    ours, paper = (columns[x] for x in sorted(columns))
    values = [text.split(" [")[0] for text in ours]
    assert values == ["42.5", "41.9", "36.5", "26.0", "25.5", "this run"]
    assert "36.5 [32.7, 40.4]" in ours
    assert paper == ["-", "42.0", "43.5", "32.9", "26.1", "paper"]
    assert min(columns) > 1, "beside the axes, where no mark is"


@pytest.fixture
def curve():
    sizes = {"choices": [100, 300, 900], "accuracy": [0.33, 0.35, 0.365]}
    return pd.DataFrame(sizes).assign(low=0.3, high=0.4, n=600)


def test_the_curve_names_its_lines_at_their_ends_without_overlap(ax, curve, accuracy):
    plots.size_curve(ax, curve, accuracy)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 4
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert min(box.x0 for box in boxes) >= ax.get_window_extent().x1
    assert max(box.x1 for box in boxes) <= ax.figure.bbox.x1


def test_the_curve_has_a_logarithmic_axis_and_tells_its_n(ax, curve, accuracy):
    plots.size_curve(ax, curve, accuracy)
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 20
    assert "n = 600" in texts(ax.get_legend().get_texts())[0]


def test_distributions_are_outlines_with_their_counts(ax, scores):
    plots.score_histogram(ax, scores)
    assert not any(patch.get_fill() for patch in ax.patches)
    words = texts(ax.get_legend().get_texts())
    assert [text.rsplit("n = ")[1] for text in words] == ["20", "60"]


def test_dots_are_mixed_the_same_way_every_time(scores):
    ordered = scores.sort_values("preferred")
    drawn = [plots.hps_against_clip(plt.figure().subplots(), ordered) for _ in range(2)]
    one, two = (ax.collections[0] for ax in drawn)
    assert len(one.get_offsets()) == len(scores)
    assert np.array_equal(one.get_offsets(), two.get_offsets())
    is_blue = one.get_facecolors()[:, 2] > 0.5
    assert 0 < is_blue[-20:].sum() < 20, "neither kind lies on top of the other"


def test_the_running_mean_needs_a_full_window(ax):
    plots.loss_curve(ax, pd.DataFrame({"step": range(100), "loss": 1.0}))
    assert np.isnan(ax.lines[1].get_ydata()).sum() == 4


@pytest.fixture
def folder(tmp_path):
    """Seven flat pictures, of which a choice takes the first three or the last four."""
    for number in range(7):
        save_png(tmp_path / f"{number}.png", np.full((8, 8, 3), 30 * number, np.uint8))
    return tmp_path


@pytest.fixture
def choices():
    files = [["0.png", "1.png", "2.png"], ["3.png", "4.png", "5.png", "6.png"]]
    rows = {"id": ["a", "b"], "prompt": ["a cat", "a dog"], "file_path": files}
    return pd.DataFrame(rows).assign(human_preference=[2, 0])


@pytest.fixture
def scores_of_choices():
    rows = [("a", index, value) for index, value in enumerate([20.0, 24.0, 22.0])]
    rows += [("b", index, value) for index, value in enumerate([30.0, 30.0, 30.0, 30.0])]
    table = pd.DataFrame(rows, columns=["id", "index", "score"])
    return table.sample(frac=1, random_state=0), table


def test_scores_stand_below_their_pictures_and_the_highest_in_brackets(
    folder, choices, scores_of_choices
):
    mixed, _ = scores_of_choices
    fig = plt.figure()
    plots.scored_choices(fig, choices.head(1), folder, mixed, {"CLIP": "score"})
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in shown] == ["CLIP 20.00", "[CLIP 24.00]", "CLIP 22.00"]
    assert [int(ax.images[0].get_array()[0, 0, 0]) for ax in shown] == [0, 30, 60]
    assert [ax.spines["top"].get_visible() for ax in shown] == [False, False, True]


def test_no_choice_to_show_is_said(folder, choices, scores_of_choices):
    fig = plt.figure()
    plots.scored_choices(fig, choices.head(0), folder, scores_of_choices[1], {"CLIP": "score"})
    assert texts(fig.texts) == ["no choice to show"]


def test_a_choice_at_a_scale_shows_its_softmax_and_its_loss(folder, choices, scores_of_choices):
    mixed, ordered = scores_of_choices
    preferred = ordered["index"] == ordered["id"].map({"a": 2, "b": 0})
    loss = scale.mean_loss(ordered.assign(preferred=preferred), [1, 50, 100])
    view = plots.ScaleView(choices, folder, mixed, loss)
    fig = plots.choice_at_scale(view, 50.0, "1")
    *pictures, bars, curve = fig.axes
    assert [ax.get_xlabel() for ax in pictures] == [
        "cosine 0.2000",
        "cosine 0.2400",
        "cosine 0.2200",
    ]
    weights = np.exp([0, 2, 1])
    heights = [bar.get_height() for bar in bars.patches]
    assert heights == pytest.approx(weights / weights.sum())
    expected = -np.log(heights[2])
    assert (
        f"the loss of this choice is {expected:.2f} nats"
        in curve.get_legend().get_title().get_text()
    )
    assert curve.lines[-1].get_xydata().tolist() == [[50.0, pytest.approx(expected)]]
    assert curve.lines[1].get_ydata().tolist() == loss["loss"].tolist()


def test_a_choice_of_equal_scores_is_at_the_line_of_guessing(folder, choices, scores_of_choices):
    mixed, _ = scores_of_choices
    view = plots.ScaleView(
        choices, folder, mixed, pd.DataFrame({"scale": [1], "loss": 1.0, "n": 2})
    )
    fig = plots.choice_at_scale(view, 100.0, "2")
    assert [bar.get_height() for bar in fig.axes[-2].patches] == pytest.approx([0.25] * 4)
    assert fig.axes[-1].lines[-1].get_ydata()[0] == pytest.approx(np.log(4))


def test_your_accuracy_has_bars_with_numbers_and_its_n(ax):
    rows = [("random guess", 0.25, 0.25, 0.25), ("HPS", 0.5, 0.25, 0.75)]
    table = pd.DataFrame(rows, columns=["predictor", "value", "low", "high"]).assign(n=12)
    plots.own_accuracy(ax, table)
    assert texts(ax.texts) == ["50 %", "25 %"]
    assert [bar.get_width() for bar in ax.patches] == [50, 25]
    assert "n = 12" in ax.get_xlabel()
