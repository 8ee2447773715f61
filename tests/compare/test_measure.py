"""Metrics of images and arms on made-up tables, with stand-ins for the models, whose outputs can be worked out by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.base.images import MISSING, save_png
from alignsd.compare import measure
from alignsd.miniature.judge import load_judge
from alignsd.miniature.world import FLAWS
from alignsd.models.registry import resolve


class Mean(torch.nn.Module):
    """Features: the mean of each colour."""

    def forward(self, pictures):
        return pictures.float().mean((2, 3))


class OddIsWrong:
    """A judge that sees a missing arm where red is odd, and a match where the prompt says so."""

    def matches(self, prompts):
        return np.array(["match" in prompt for prompt in prompts])

    def judge(self, pictures):
        odd = np.stack(pictures)[:, 0, 0, 0] % 2 == 1
        return SimpleNamespace(flawed=odd, flaw=odd.astype(int), matches=self.matches)


@pytest.fixture
def scorers(monkeypatch):
    """Embeddings on a circle: an image's angle is its red value in degrees, a text's is 0."""
    def images(clip, pictures, batch=256):
        angles = np.radians([float(picture[0, 0, 0]) for picture in pictures])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def texts(clip, prompts, batch=256):
        return np.tile([1.0, 0.0], (len(prompts), 1))

    monkeypatch.setattr(measure, "embed_images", images)
    monkeypatch.setattr(measure, "embed_texts", texts)
    aesthetic = SimpleNamespace(predict=lambda embeddings: 5 + embeddings[:, 1])
    return measure.Scorers(None, None, aesthetic, OddIsWrong(), Mean(), "cpu")


@pytest.fixture
def plan(tmp_path):
    """Two arms of three images with red values 0, 1, 60 and 2, 4, 61; the adapted arm's last file is missing."""
    rows = []
    for arm, reds, prefix in (("original", (0, 1, 60), ""), ("adapted", (2, 4, 61), "Weird image. ")):
        for number, red in enumerate(reds):
            file = f"{arm}/{number}.png"
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[..., 0] = red
            if red != 61:
                save_png(tmp_path / file, picture)
            rows.append((arm, f"p{number}-0", f"{prefix}{'match' if number else 'no'}", file))
    return pd.DataFrame(rows, columns=["arm", "id", "prompt", "file"]), tmp_path


def test_images_are_measured_against_what_was_asked_for(plan, scorers):
    table, features = measure.measure(*plan, scorers, batch=2)
    rows = table.set_index(["arm", "id"])
    assert list(table["id"]) == ["p0-0", "p1-0", "p2-0"] * 2, "order of the plan"
    assert rows.loc[("original", "p2-0"), "hps"] == pytest.approx(50)  # 100 x cos 60 degrees
    assert rows.loc[("original", "p2-0"), "clip_score"] == pytest.approx(0.5)
    assert rows.loc[("original", "p2-0"), "aesthetic"] == pytest.approx(5 + 3**0.5 / 2)
    assert list(rows.loc["original", "flawed"]) == [False, True, False]
    assert rows.loc[("original", "p1-0"), "flaw"] == FLAWS[1]
    assert list(rows.loc["original", "match"]) == [False, True, True]
    np.testing.assert_allclose(features.set_index(["arm", "id"]).loc[("adapted", "p1-0"), "features"], [4, 0, 0])


def test_a_missing_image_keeps_its_row_and_is_counted(plan, scorers):
    table, features = measure.measure(*plan, scorers)
    bad = table.set_index(["arm", "id"]).loc[("adapted", "p2-0")]
    assert bad["status"] == MISSING and pd.isna(bad["hps"]) and pd.isna(bad["flawed"])
    counts = measure.left_out(table).set_index("arm")
    assert counts.loc["adapted"].to_list() == [2, 1] and counts.loc["original"].to_list() == [3, 0]
    assert len(features) == 5


def test_batches_do_not_change_results(plan, scorers):
    one, all_at_once = measure.measure(*plan, scorers, batch=1)[0], measure.measure(*plan, scorers)[0]
    pd.testing.assert_frame_equal(one, all_at_once, check_dtype=False)


def test_an_arm_with_other_ids_is_refused(plan, scorers):
    images, folder = plan
    with pytest.raises(Problem, match="no counterpart"):
        measure.measure(images.iloc[1:], folder, scorers)


def test_a_judge_is_not_asked_about_pictures_it_does_not_know(plan, scorers):
    images, folder = plan
    save_png(folder / images["file"][0], np.zeros((32, 32, 3), np.uint8))
    judge = load_judge(Path(resolve("miniature/judge")))
    with pytest.raises(Problem, match="(?s)cannot judge.*64 x 64.*32, 32, 3"):
        measure.measure(images, folder, replace(scorers, judge=judge))


def test_without_a_judge_flaws_are_not_measured(plan, scorers):
    blind = measure.Scorers(None, None, scorers.aesthetic, None, scorers.network, "cpu")
    table, _ = measure.measure(*plan, blind)
    assert table["flawed"].isna().all()
    assert set(measure.arm_table(table, 0)["metric"]) == {"hps", "clip_score", "aesthetic"}
    assert "flaw_rate" not in set(measure.against(table, 0)["metric"])


def made_up(n=200):
    """An arm that is worse by one in HPS on each image, and wrong on half of the images on which the original is."""
    rng, ids = np.random.default_rng(0), [f"p{i}" for i in range(n)]
    hps, wrong = rng.normal(20, 5, n), np.arange(n) % 5 < 2
    base = pd.DataFrame({"arm": "original", "id": ids, "hps": hps, "clip_score": 0.3, "aesthetic": 6.0, "flawed": wrong,
                         "match": True, "status": "ok"})
    other = base.assign(arm="adapted", hps=hps - 1, flawed=wrong & (np.arange(n) % 5 == 0))
    table = pd.concat([base, other.sample(frac=1, random_state=0)], ignore_index=True)
    return table.astype({"flawed": "boolean", "match": "boolean"})


def test_arm_table_has_values_intervals_and_n():
    table = measure.arm_table(made_up(), seed=0).set_index(["arm", "metric"])
    flaw = table.loc[("original", "flaw_rate")]
    assert flaw["value"] == 0.4 and flaw["low"] < 0.4 < flaw["high"] and flaw["n"] == 200
    assert table.loc[("original", "match_rate")].to_list()[:1] == [1.0]
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_differences_join_by_id_and_are_paired():
    table = measure.against(made_up(), seed=0).set_index(["arm", "metric"])
    assert table.loc[("adapted", "hps")].to_list() == pytest.approx([-1, -1, -1, 200]), "pairing leaves no spread"
    assert table.loc[("adapted", "flaw_rate"), "value"] == pytest.approx(-0.2)
    ratio = table.loc[("adapted", "flaw_ratio")]
    assert ratio["value"] == pytest.approx(0.5) and 0.3 < ratio["low"] < 0.5 < ratio["high"] < 0.7


def test_the_papers_arm_is_compared_with_the_control_image_by_image():
    table = made_up().replace({"arm": {"original": "regularization_only", "adapted": "adapted_negative"}})
    rng = np.random.default_rng(1)
    features = table[["arm", "id"]].assign(features=[rng.normal(arm == "regularization_only", 1, 4) for arm in table["arm"]])
    found = measure.against_control(table, features, rng.normal(0, 1, (200, 4)), 0, resamples=20).set_index("metric")
    assert set(found["arm"]) == {"adapted_negative"} and found.loc["hps", "value"] == pytest.approx(-1)
    assert found.loc["fid", "high"] < 0, "the control's features lie further from the reference"
    alone = table["arm"] == "adapted_negative"
    assert measure.against_control(table[alone], features[alone], rng.normal(0, 1, (9, 4)), 0, resamples=20).empty


def test_ratio_of_nothing_wrong_is_zero():
    wrong = np.array([1.0, 0, 1, 0, 1, 1, 1, 0] * 10)
    assert measure.ratio(np.zeros(80), wrong, seed=0) == (0.0, 0.0, 0.0)
    assert measure.ratio(wrong, wrong, seed=0) == (1.0, 1.0, 1.0)
