"""What the UNet sees in training: the signal-to-noise ratio, and pictures with noise."""

import numpy as np
import pytest

from alignsd.adapt import noising
from alignsd.adapt.examples import Examples
from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("miniature/stable-diffusion", device="cpu")


@pytest.fixture
def examples():
    """Two examples of the miniature's size."""
    moments = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    return Examples([moments], np.arange(2), ["a", "b"], np.array([True, False]))


def test_the_ratio_is_that_of_stable_diffusion_s_noise(pipeline):
    ratios = noising.signal_to_noise(pipeline)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    np.testing.assert_allclose(ratios, signal / (1 - signal), rtol=1e-3)
    assert (np.diff(ratios) < 0).all()


def test_a_picture_is_its_own_at_the_first_time_step_and_noise_at_the_last(pipeline, examples):
    times = [0, 400, 999]
    pictures = noising.noised_pictures(pipeline, examples, 0, times, seed=0)
    other = noising.noised_pictures(pipeline, examples, 1, times, seed=0)
    again = noising.noised_pictures(pipeline, examples, 0, times, seed=1)
    assert pictures.shape == (3, 64, 64, 3) and pictures.dtype == np.uint8

    def apart(one, two):
        return np.abs(one.astype(float) - two).mean(axis=(1, 2, 3))

    by_example, by_noise = apart(pictures, other), apart(pictures, again)
    assert by_example[0] > by_example[1] > 5 * by_example[2], "the picture drowns in the noise"
    assert 5 * by_noise[0] < by_noise[1] < by_noise[2], "the noise decides in the end"
    np.testing.assert_array_equal(
        pictures[1], noising.noised_pictures(pipeline, examples, 0, [400], seed=0)[0]
    )


def test_a_seed_out_of_range_is_named(pipeline, examples):
    with pytest.raises(Problem, match="seed"):
        noising.noised_pictures(pipeline, examples, 0, [0], seed=-1)
