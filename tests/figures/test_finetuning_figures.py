"""The figures of the fine-tuning: training pictures, noise, weights and matrices."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from alignsd.adapt.low_rank import LowRank
from alignsd.base.images import save_png
from alignsd.figures import finetuning as plots
from alignsd.figures import qualitative
from alignsd.figures.pictures import NEGATIVE_FRAME, POSITIVE_FRAME

RATIOS = np.geomspace(100, 0.01, 1000)
TIMES = [100, 300, 500, 700, 900]


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (len(TIMES), 8, 8, 3), np.uint8)


def weights_drawn(fig):
    (line, *_) = fig.axes[-1].lines
    return line.get_ydata()


def test_training_pictures_stand_under_their_captions_in_the_frames_of_their_kind(tmp_path):
    rows = []
    for number, label in enumerate(["positive", "positive", "negative", "web"]):
        save_png(tmp_path / f"{number}.png", np.full((8, 8, 3), 9, np.uint8))
        rows.append({"folder": tmp_path, "file_name": f"{number}.png", "label": label})
    captions = ["one", "two $5", "Weird image. three", "four"]
    fig = plots.training_pictures(Figure(), pd.DataFrame(rows), captions)
    shown = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in shown] == captions
    edges = [ax.spines["top"].get_edgecolor() for ax in shown]
    assert edges[0] == to_rgba(POSITIVE_FRAME.colour)
    assert edges[2] == to_rgba(NEGATIVE_FRAME.colour)
    assert not shown[3].spines["top"].get_visible()
    assert [ax.get_ylabel() for ax in fig.axes][::2] == ["positive", "negative", "web"]


def test_noise_levels_name_time_step_and_ratio(pictures):
    fig = plots.noise_levels(Figure(), pictures, TIMES, RATIOS)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[0] == f"t = 100\nSNR {RATIOS[100]:.2g}" and len(titles) == len(TIMES)
    np.testing.assert_array_equal(fig.axes[3].images[0].get_array(), pictures[3])


@pytest.mark.parametrize("gamma", [0.5, 5.0])
def test_the_weight_is_min_snr(pictures, gamma):
    fig = plots.snr_weights(Figure(), pictures, TIMES, RATIOS, gamma)
    weights = weights_drawn(fig)
    expected = [min(ratio, gamma) / ratio for ratio in RATIOS]
    np.testing.assert_allclose(weights, expected)
    assert weights[0] == pytest.approx(gamma / 100) and weights[-1] == 1


def test_gamma_0_weighs_all_time_steps_alike(pictures):
    np.testing.assert_array_equal(
        weights_drawn(plots.snr_weights(Figure(), pictures, TIMES, RATIOS, 0.0)), np.ones(1000)
    )


def test_the_matrices_of_a_layer_and_their_product_have_one_scale_of_colours():
    rng = np.random.default_rng(0)
    layer = LowRank("to_q", rng.normal(size=(6, 4)), rng.normal(size=(2, 4)), np.ones((6, 2)), 0.5)
    fig = plots.low_rank(Figure(), layer)
    weight, up, down, product = [ax.images[0] for ax in fig.axes[:4]]
    np.testing.assert_allclose(product.get_array(), 0.5 * np.ones((6, 2)) @ layer.down)
    assert weight.get_array().shape == (6, 4) and up.get_array().shape == (6, 2)
    assert down.get_array().shape == (2, 4)
    assert len({image.get_clim() for image in (weight, up, down, product)}) == 1


def test_scales_of_guidance_are_columns_and_pictures_rows():
    drawn = {1.0: [np.zeros((8, 8, 3), np.uint8)] * 2, 7.5: [np.ones((8, 8, 3), np.uint8)] * 2}
    fig = qualitative.guidance_scales(Figure(), drawn, ["a cat", "a dog"])
    assert [ax.get_title() for ax in fig.axes] == ["guidance 1", "guidance 7.5", "", ""]
    assert [ax.get_ylabel() for ax in fig.axes] == ["a cat", "", "a dog", ""]
    assert [int(ax.images[0].get_array().max()) for ax in fig.axes] == [0, 1, 0, 1]
