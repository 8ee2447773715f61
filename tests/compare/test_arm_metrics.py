"""Metrics of arms and paired differences on made-up tables."""

import numpy as np
import pandas as pd
import pytest

from alignsd.compare import arm_metrics
from alignsd.compare.measurement import COLUMNS, Measurement


def made_up(n=200):
    """An arm with 1 less HPS on each image, and half of the original's flaws."""
    rng = np.random.default_rng(0)
    hps = rng.normal(20, 5, n)
    number = np.arange(n)
    wrong = number % 5 < 2
    base = pd.DataFrame(
        {
            "arm": "original",
            "id": [f"p{i}" for i in range(n)],
            "hps": hps,
            "clip_score": 0.3,
            "aesthetic": 6.0,
            "flawed": wrong,
            "match": True,
            "status": "ok",
        }
    )
    other = base.assign(arm="adapted", hps=hps - 1, flawed=wrong & (number % 5 == 0))
    shuffled = other.sample(frac=1, random_state=0)
    table = pd.concat([base, shuffled], ignore_index=True)
    return table.astype({"flawed": "boolean", "match": "boolean"})


def test_arm_table_has_values_intervals_and_n():
    table = arm_metrics.arm_table(made_up(), seed=0)
    assert list(table) == COLUMNS
    rows = table.set_index(["arm", "metric"])
    flaw = rows.loc[("original", "flaw_rate")]
    assert flaw["value"] == 0.4 and flaw["low"] < 0.4 < flaw["high"] and flaw["n"] == 200
    assert rows.loc[("original", "match_rate"), "value"] == 1.0
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_differences_join_by_id_and_are_paired():
    table = arm_metrics.against(made_up(), seed=0).set_index(["arm", "metric"])
    hps = table.loc[("adapted", "hps")].to_list()
    assert hps == pytest.approx([-1, -1, -1, 200]), "pairing leaves no spread"
    assert table.loc[("adapted", "flaw_rate"), "value"] == pytest.approx(-0.2)
    ratio = table.loc[("adapted", "flaw_ratio")]
    assert ratio["value"] == pytest.approx(0.5)
    assert 0.3 < ratio["low"] < 0.5 < ratio["high"] < 0.7


def test_the_papers_arm_is_compared_with_the_control_image_by_image():
    names = {"original": "regularization_only", "adapted": "adapted_negative"}
    table = made_up().replace({"arm": names})
    rng = np.random.default_rng(1)
    shifts = table["arm"] == "regularization_only"
    vectors = [rng.normal(float(shift), 1, 4) for shift in shifts]
    features = table[["arm", "id"]].assign(features=vectors)
    reference = rng.normal(0, 1, (200, 4))
    against = arm_metrics.against_control(table, features, reference, 0, resamples=20)
    rows = against.set_index("metric")
    assert set(rows["arm"]) == {"adapted_negative"}
    assert rows.loc["hps", "value"] == pytest.approx(-1)
    assert rows.loc["fid", "high"] < 0, "the control's features lie further from the reference"


def test_without_the_control_there_is_nothing_to_compare():
    table = made_up().replace({"arm": {"adapted": "adapted_negative"}})
    table = table[table["arm"] == "adapted_negative"]
    features = table[["arm", "id"]].assign(features=[np.zeros(4)] * len(table))
    against = arm_metrics.against_control(table, features, np.ones((9, 4)), 0, resamples=20)
    assert against.empty and list(against) == COLUMNS


def test_ratio_of_nothing_wrong_is_zero():
    wrong = np.array([1.0, 0, 1, 0, 1, 1, 1, 0] * 10)
    assert arm_metrics.ratio(np.zeros(80), wrong, seed=0) == Measurement(0.0, 0.0, 0.0, 80)
    assert arm_metrics.ratio(wrong, wrong, seed=0) == Measurement(1.0, 1.0, 1.0, 80)
