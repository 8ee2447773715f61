"""Each figure comes with words for readers who cannot see the figure."""

import base64

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.compare.arms import ARMS
from alignsd.figures import alt, comparing, pictures, predicting, selecting


@pytest.fixture
def fig():
    figure = plt.figure(figsize=(2, 1))
    yield figure
    plt.close(figure)


def test_the_words_of_the_figure_come_before_those_of_the_panels(fig):
    left, right = fig.subplots(1, 2)
    alt.describe(right, "Right.")
    alt.describe(left, "Left,\n  on two lines.")
    alt.describe(fig, "Two panels.")
    assert alt.alternative_text(fig) == "Two panels. Left, on two lines. Right."


def test_matplotlib_s_own_names_are_no_words(fig):
    ax = fig.subplots()
    fig.colorbar(ax.imshow(np.zeros((2, 2))))
    assert alt.alternative_text(fig) == ""


def test_a_picture_in_a_saved_notebook_has_words(fig):
    alt.describe(fig.subplots(), 'Bars: "a" < b.')
    png, metadata = alt.as_png(fig)
    assert base64.b64decode(png).startswith(b"\x89PNG")
    assert metadata == {"alt": 'Bars: "a" < b.'}


def test_a_person_sees_a_sharp_picture_whose_words_are_escaped(fig):
    alt.describe(fig.subplots(), 'Bars: "a" < b.')
    shown = alt.as_html(fig)
    assert 'alt="Bars: &quot;a&quot; &lt; b."' in shown
    width = int(shown.split('width="')[1].split('"')[0])
    png = base64.b64decode(shown.split("base64,")[1].split('"')[0])
    pixels = int.from_bytes(png[16:20], "big")
    assert abs(pixels - 2 * width) <= 1


def test_an_empty_figure_is_not_shown(fig):
    assert alt.as_png(fig) is None and alt.as_html(fig) is None


def test_the_words_of_table_2_hold_the_numbers(fig):
    rows = [("CLIP", 0.329, 0.3, 0.36, 780), ("HPS", 0.467, 0.43, 0.5, 780)]
    table = pd.DataFrame(rows, columns=["predictor", "accuracy", "low", "high", "n"])
    predicting.accuracy_bars(fig.subplots(), table)
    assert "CLIP 32.9, HPS 46.7" in alt.alternative_text(fig)


def test_the_words_of_arms_name_each_arm_with_its_value(fig):
    rows = [(arm.name, "flaw_rate", 0.1 * i, 0.0, 1.0, 9) for i, arm in enumerate(ARMS)]
    table = pd.DataFrame(rows, columns=["arm", "metric", "value", "low", "high", "n"])
    comparing.rate_bars(fig.subplots(), table, "flaw_rate", "drawn wrong")
    words = alt.alternative_text(fig)
    assert "original 0.0" in words and "regularization only 20.0" in words


def test_the_words_of_a_sheet_count_the_frames(fig):
    blank = np.zeros((4, 4, 3), np.uint8)
    pictures.sheet(fig, {"a": blank, "b": blank}, {"a": True, "b": False})
    assert "2 pictures" in fig.get_label() and fig.get_label().endswith("flaw in 1.")


def test_the_words_of_the_margins_count_the_prompts_beyond_the_threshold(fig):
    rows = [("x", 0.9, 0.4, 4), ("x", 0.1, 0.6, 4), ("y", 0.3, 0.3, 4)]
    table = pd.DataFrame(rows, columns=["prompt", "p_best", "p_worst", "n"])
    selecting.margin_scatter(fig.subplots(), table, 2.0)
    words = alt.alternative_text(fig)
    assert "1 prompts lie right" in words and "1 lie above" in words
