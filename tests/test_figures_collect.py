"""The collection's figures show the numbers of their tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer

from alignsd import hpd
from alignsd.figures import collect
from alignsd.images import save_png


@pytest.fixture
def choices(tmp_path):
    counts = [4] * 8 + [3, 2]
    table = pd.DataFrame({"file_path": [[hpd.image_path(i, k) for k in range(n)] for i, n in enumerate(counts)],
                          "human_preference": [3, 3, 3, 3, 0, 1, 2, 2, 0, 1],
                          "prompt": ["a cat on a hat"] * 9 + ["cat " * 60]})
    for path in table["file_path"].explode():
        save_png(tmp_path / path, np.zeros((8, 8, 3), dtype=np.uint8))
    return table


def heights(ax):
    return [[round(bar.get_height(), 1) for bar in bars] for bars in ax.containers if isinstance(bars, BarContainer)]


def test_images_per_choice(choices):
    ours, real = heights(collect.images_per_choice(plt.figure().subplots(), choices))
    assert ours == [10.0, 10.0, 80.0] and real == [1.9, 3.3, 94.7]


def test_positions_beside_the_real_ones(choices):
    ours, real = heights(collect.chosen_positions(plt.figure().subplots(), hpd.positions(choices)))
    assert ours == [12.5, 12.5, 25.0, 50.0] and real == [22.7, 22.4, 23.9, 31.1]


def test_no_choice_with_four_images_draws_empty_bars(choices):
    ours, _ = heights(collect.chosen_positions(plt.figure().subplots(), hpd.positions(choices.tail(2))))
    assert ours == [0, 0, 0, 0]


def test_prompt_lengths_counts_every_prompt(choices):
    ax = collect.prompt_lengths(plt.figure().subplots(), choices)
    assert sum(bar.get_height() for bar in ax.patches) == 10 and len(ax.patches) <= 41


def test_examples_frame_the_chosen_image(choices, tmp_path):
    fig = collect.examples(plt.figure(), choices.tail(3), tmp_path)
    axes = [[ax for ax in cell.axes if ax.get_visible()] for cell in fig.subfigs]
    assert [len(cell) for cell in axes] == [4, 3, 2, 0]
    framed = [[ax.spines["top"].get_visible() for ax in cell] for cell in axes[:3]]
    assert framed == [[False, False, True, False], [True, False, False], [False, True]]
