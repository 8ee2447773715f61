"""Metrics of images on made-up pictures, with stand-ins for the models."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.base.images import MISSING, save_png
from alignsd.compare import arm_metrics, image_metrics
from alignsd.miniature.world import FLAWS

pytest_plugins = ["measured_arms"]  # the fixtures plan and scorers


def test_images_are_measured_against_what_was_asked_for(plan, scorers):
    table, features = image_metrics.measure(*plan, scorers, batch=2)
    assert list(table["id"]) == ["p0-0", "p1-0", "p2-0"] * 2, "order of the plan"
    rows = table.set_index(["arm", "id"])
    last = rows.loc[("original", "p2-0")]
    assert last["hps"] == pytest.approx(50)  # 100 x cos 60 degrees
    assert last["clip_score"] == pytest.approx(0.5)
    assert last["aesthetic"] == pytest.approx(5 + 3**0.5 / 2)
    assert list(rows.loc["original", "flawed"]) == [False, True, False]
    assert rows.loc[("original", "p1-0"), "flaw"] == FLAWS[1]
    assert list(rows.loc["original", "match"]) == [False, True, True]
    of_image = features.set_index(["arm", "id"]).loc[("adapted", "p1-0"), "features"]
    np.testing.assert_allclose(of_image, [4, 0, 0])


def test_a_missing_image_keeps_its_row_and_is_counted(plan, scorers):
    table, features = image_metrics.measure(*plan, scorers)
    bad = table.set_index(["arm", "id"]).loc[("adapted", "p2-0")]
    assert bad["status"] == MISSING and pd.isna(bad["hps"]) and pd.isna(bad["flawed"])
    counts = image_metrics.left_out(table).set_index("arm")
    assert counts.loc["adapted"].to_list() == [2, 1]
    assert counts.loc["original"].to_list() == [3, 0]
    assert len(features) == 5


def test_batches_do_not_change_results(plan, scorers):
    one_by_one, _ = image_metrics.measure(*plan, scorers, batch=1)
    all_at_once, _ = image_metrics.measure(*plan, scorers)
    pd.testing.assert_frame_equal(one_by_one, all_at_once, check_dtype=False)


def test_an_arm_with_other_ids_is_refused(plan, scorers):
    images, folder = plan
    with pytest.raises(Problem, match="no counterpart"):
        image_metrics.measure(images.iloc[1:], folder, scorers)


def test_a_judge_is_not_asked_about_pictures_it_does_not_know(plan, scorers):
    images, folder = plan
    save_png(folder / images["file"][0], np.zeros((32, 32, 3), np.uint8))
    judge = sources.judge("miniature/judge")
    with pytest.raises(Problem, match="(?s)cannot judge.*64 x 64.*32, 32, 3"):
        image_metrics.measure(images, folder, replace(scorers, judge=judge))


def test_without_a_judge_flaws_are_not_measured(plan, scorers):
    table, _ = image_metrics.measure(*plan, replace(scorers, judge=None))
    assert table["flawed"].isna().all()
    measured = arm_metrics.arm_table(table, 0)
    assert set(measured["metric"]) == {"hps", "clip_score", "aesthetic"}
    assert "flaw_rate" not in set(arm_metrics.against(table, 0)["metric"])
