"""Simulated people: chances known by hand, and agreement as often as the paper's people agree."""

import numpy as np
import pytest

from alignsd.miniature import people
from alignsd.paper import CHOSEN_POSITIONS


def test_equal_pictures_are_chosen_as_often_as_in_the_real_data():
    # The published shares sum to 1.001.
    assert people.luce(np.zeros(4)) == pytest.approx(CHOSEN_POSITIONS, abs=1e-3)
    assert people.luce(np.zeros(2)) == pytest.approx([0.5, 0.5])


def test_careless_clicks_are_a_distribution():
    assert people.careless(4).min() >= 0 and people.careless(4).sum() == pytest.approx(1)
    assert people.careless(3) == pytest.approx([1 / 3] * 3)


def test_luce_by_hand():
    liked = np.array([np.e**2, 1.0]) / (np.e**2 + 1)
    expected = (1 - people.CARELESS) * liked + people.CARELESS * 0.5
    assert people.luce(np.array([2.0, 0.0])) == pytest.approx(expected)


def test_chances_sum_to_one_and_never_vanish():
    chances = people.luce(np.array([50.0, 0.0, 0.0]))
    assert chances.sum() == pytest.approx(1) and chances.min() > 0.03


def test_choices_follow_their_chances():
    rng, chances = np.random.default_rng(0), np.array([0.7, 0.2, 0.1])
    counts = np.bincount([people.choose(chances, rng) for _ in range(4000)], minlength=3) / 4000
    assert counts == pytest.approx(chances, abs=0.03)


def test_a_share_of_0_is_luce_s_rule_and_a_share_of_1_looks_at_the_place_alone():
    utilities = np.array([0.0, np.log(2), np.log(3), np.log(4)])
    assert people.luce(utilities, 0.0) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert people.luce(utilities, 1.0) == pytest.approx(people.careless(4))
    assert people.luce(utilities) == pytest.approx(people.luce(utilities, people.CARELESS))
