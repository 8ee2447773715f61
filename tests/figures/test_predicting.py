"""The figures of HPS carry the numbers of their tables, and their labels can be read."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.figures import predicting as plots

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
