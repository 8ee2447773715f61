"""Humps are counted as a reader of the histogram would count them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from alignsd.select.humps import count_humps


def normals(*means):
    """A thousand scores around each mean, with spread 1, without the luck of a random draw."""
    bell = norm.ppf(np.linspace(0.0005, 0.9995, 1000))
    return pd.Series(np.concatenate([mean + bell for mean in means]))


@pytest.mark.parametrize(
    ("means", "humps"),
    [((20,), 1), ((20, 28), 2), ((20, 20.5), 1), ((10, 20, 30), 3)],
)
def test_means_far_apart_make_a_hump_each(means, humps):
    assert count_humps(normals(*means)) == humps


def test_a_few_strays_are_no_hump():
    scores = pd.concat([normals(20), pd.Series([40.0] * 3)])
    assert count_humps(scores) == 1


def test_equal_scores_and_a_single_score_have_one_hump():
    assert count_humps(pd.Series([3.0, 3.0, 3.0])) == 1
    assert count_humps(pd.Series([3.0])) == 1


def test_more_scores_than_quantiles_count_the_same():
    scores = normals(20, 28)
    assert count_humps(pd.concat([scores] * 4)) == count_humps(scores)
