"""Stages that were changed by hand and odd parameters: our own error, or counted rows."""

import math
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from stand_ins import Mean, OddIsWrong
from toys import NO_PICTURES

from alignsd import sources
from alignsd.base import atomic
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import DAMAGED, save_png
from alignsd.compare import arm_metrics, fid, generation, image_metrics, user_study
from alignsd.compare.features import picture_features
from alignsd.miniature.corpus import CorpusRecipe
from alignsd.models.stable_diffusion import Drawing, image_seed

pytest_plugins = ["measured_arms"]  # the fixtures plan and scorers


def test_rows_twice_no_rows_and_a_missing_column_are_told(plan, scorers):
    images, place = plan
    for changed, words in (
        (pd.concat([images, images.head(1)]), "repeated rows"),
        (images.head(0), "without rows"),
        (images.drop(columns="prompt"), "no prompt"),
        (images.assign(file=5), "column file"),
        (images.assign(prompt=None), "column prompt"),
    ):
        with pytest.raises(
            Problem,
            match="(?s)images.parquet is not the table that 06_generate writes"
            f".*{words}.*--force 06",
        ):
            image_metrics.measure(changed, place, scorers)


@pytest.mark.parametrize("arm", ["original", "adapted"])
def test_an_arm_whose_pictures_are_gone_is_told(plan, scorers, arm):
    images, place = plan
    shutil.rmtree(place / arm)
    with pytest.raises(
        Problem, match=f"(?s)No picture of the arm {arm}.*3 x missing file.*--force 06"
    ):
        image_metrics.measure(images, place, scorers)


def test_a_first_look_at_one_bad_picture_goes_on(plan, scorers):
    images, place = plan
    (place / images["file"][0]).write_bytes(b"\x89PNG cut")
    table, features = image_metrics.measure(images.groupby("arm").head(1), place, scorers)
    status = table.set_index("arm")["status"]
    assert status["original"] == DAMAGED and status["adapted"] == "ok" and len(features) == 1
    with pytest.raises(
        Problem, match="(?s)FID cannot be compared with the arm original.*--force 06"
    ):
        fid.table(features, np.random.default_rng(0).normal(size=(5, 3)), 0, 10)
    alone, none = image_metrics.measure(images.head(1), place, scorers)
    assert {"hps", "flawed", "match"} <= set(alone) and alone["hps"].isna().all() and none.empty
    assert arm_metrics.arm_table(alone, 0).empty


def test_a_picture_of_another_size_is_named(plan, scorers):
    from dataclasses import replace

    images, place = plan
    save_png(place / images["file"][1], np.zeros((32, 48, 3), np.uint8))
    network = sources.feature_network("miniature/judge")
    with pytest.raises(
        Problem,
        match=r"(?s)64 x 64.*48 x 32.*original/1.png has the size \(32, 48, 3\).*--force 06",
    ):
        image_metrics.measure(images, place, replace(scorers, network=network))


def one_picture_an_arm(tmp_path, count=1):
    rng, rows = np.random.default_rng(0), []
    for arm in ("original", "adapted", "adapted_negative", "regularization_only"):
        for number in range(count):
            file = f"{arm}/p{number}-0.png"
            save_png(tmp_path / file, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
            rows.append((arm, f"p{number}-0", f"p{number}", 0, "match", file))
    return pd.DataFrame(rows, columns=["arm", "id", "prompt_id", "sample", "prompt", "file"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_arms_of_few_pictures_go_through_notebook_07(tmp_path, scorers, style, count):
    from matplotlib import pyplot as plt

    from alignsd.figures import comparing as plots

    images = one_picture_an_arm(tmp_path, count)
    metrics, features = image_metrics.measure(images, tmp_path, scorers)
    reference = np.random.default_rng(1).normal(size=(4, 3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fid_arms, fid_against = fid.table(features, reference, 0, 20)
        control = arm_metrics.against_control(metrics, features, reference, 0, 20)
    assert any("no FID" in str(warning.message) for warning in told) == (count == 1)
    assert len(fid_arms) == (0 if count == 1 else 4) and len(fid_against) == (
        0 if count == 1 else 3
    )
    table = pd.concat([arm_metrics.arm_table(metrics, 0), fid_arms], ignore_index=True)
    against = pd.concat([arm_metrics.against(metrics, 0), fid_against], ignore_index=True)
    for rows in (table, against, control):
        assert (
            rows["value"].notna().all() and rows["low"].notna().all() and rows["high"].notna().all()
        )
    plots.table_4(plt.figure(figsize=(9.5, 3.2)), table, "miniature/judge")
    plots.table_4_frame(table, control)
    plots.metric_frame(against)
    atomic.write_json(tmp_path / "metrics.json", {"arms": table.to_dict("records")})


def test_a_ratio_of_few_pictures_is_a_number():
    wrong = np.array([1.0, 0.0, 0.0])
    ratio = arm_metrics.ratio(np.ones(3), wrong, 0)
    assert ratio.value == pytest.approx(3) and ratio.low == 1 and ratio.high == 3


def features_of(**counts: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"arm": arm, "id": f"p{i}", "features": rng.normal(size=4)}
            for arm, n in counts.items()
            for i in range(n)
        ]
    )


def test_fid_leaves_out_arms_that_are_too_small_and_says_so():
    reference = np.random.default_rng(1).normal(size=(6, 4))
    with pytest.warns(UserWarning, match="adapted has 1"):
        own, differences = fid.table(features_of(original=9, adapted=1, other=9), reference, 0, 30)
    assert own["arm"].tolist() == ["original", "other"] and differences["arm"].tolist() == ["other"]
    with pytest.warns(UserWarning, match="original has 1"):
        own, differences = fid.table(features_of(original=1, adapted=9), reference, 0, 30)
    assert own["arm"].tolist() == ["adapted"] and differences.empty
    with pytest.warns(UserWarning, match="reference pictures"):
        own, differences = fid.table(features_of(original=9, adapted=9), reference[:1], 0, 30)
    assert own.empty and differences.empty


def test_an_arm_with_two_of_many_pictures_has_an_interval():
    own, _ = fid.table(
        features_of(original=40, adapted=2), np.random.default_rng(1).normal(size=(40, 4)), 0, 60
    )
    assert own[["value", "low", "high"]].notna().all(axis=None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_are_told(value):
    features = features_of(original=5, adapted=5)
    features["features"].iloc[7][2] = value
    with pytest.raises(Problem, match="(?s)no numbers.*adapted"):
        fid.table(features, np.random.default_rng(1).normal(size=(6, 4)), 0, 10)


NAN = math.nan
IMAGES = pd.DataFrame(
    [
        ("original", "p0-0", "p0", 0, "x", "a.png"),
        ("adapted_negative", "p0-0", "p0", 0, "x", "b.png"),
    ],
    columns=["arm", "id", "prompt_id", "sample", "prompt", "file"],
)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        *[(lambda seed=seed: check_seed(seed), "(?i)seed") for seed in (-1, 2**32, 10**40)],
        (lambda: CorpusRecipe(seed=-1), "(?i)seed"),
        (lambda: CorpusRecipe(seed=2**32), "(?i)seed"),
        (lambda: CorpusRecipe(prompts=0), "cannot be made"),
        (lambda: CorpusRecipe(fewest=0), "cannot be made"),
        (lambda: CorpusRecipe(parts=-1), "cannot be made"),
        (lambda: CorpusRecipe(few_share=NAN), "cannot be made"),
        (lambda: CorpusRecipe(blurred_share=-0.1), "cannot be made"),
        (lambda: image_seed(-1, "x"), "(?i)seed"),
        (lambda: generation.plan(["a"], "", 1, -1, [""]), "(?i)seed"),
        (lambda: generation.plan(["a"], "", 1, 2**32, [""]), "(?i)seed"),
        (lambda: generation.plan(["a"], "", -1, 0, [""]), "samples is"),
        (lambda: generation.plan(["a"], "\ud800", 1, 0, [""]), "identifier is no text"),
        (lambda: Drawing(1, 1.0, batch=0), "batch is"),
        (lambda: Drawing(1, 1.0, batch=-1), "batch is"),
        (lambda: Drawing(0, 1.0), "steps is"),
        (lambda: Drawing(-5, 1.0), "steps is"),
        (lambda: Drawing(1, -1.0), "guidance is"),
        (lambda: Drawing(1, NAN), "guidance is"),
        (lambda: picture_features(Mean(), [], batch=0), "batch is"),
        (
            lambda: fid.table(features_of(original=3), np.ones((3, 4)), 0, 0),
            "fid_resamples is",
        ),
        (lambda: fid.table(features_of(original=3), np.ones((3, 4)), -1, 5), "(?i)seed"),
        (lambda: sources.fid_reference("miniature", [], 2**32), "(?i)seed"),
        (lambda: image_metrics.measure(IMAGES, None, None, batch=-1), "batch is"),
        (lambda: user_study.pairs(IMAGES, 0), "study_prompts is"),
        (lambda: user_study.pairs(IMAGES, -1), "study_prompts is"),
        (lambda: user_study.pairs(pd.concat([IMAGES, IMAGES]), 1), "repeated rows"),
        (lambda: user_study.pairs(IMAGES.drop(columns="sample"), 1), "no sample"),
        (lambda: user_study.hold(IMAGES, None, None, -1, 0), "voters is"),
        (lambda: user_study.hold(IMAGES, None, None, 5, -1), "(?i)seed"),
        (lambda: at_least(1, batch=NAN), "batch is"),
    ],
)
def test_an_odd_value_is_named(call, words):
    with pytest.raises(Problem, match=words):
        call()


@pytest.mark.parametrize("picture", NO_PICTURES)
def test_pictures_of_other_kinds_are_refused(picture):
    with pytest.raises(ValueError, match="uint8"):
        picture_features(Mean(), [picture], device="cpu")


def test_a_pair_of_two_sizes_is_not_voted_on(tmp_path):
    save_png(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    save_png(tmp_path / "b.png", np.zeros((4, 5, 3), np.uint8))
    votes = user_study.hold(
        user_study.pairs(IMAGES, 1), tmp_path, lambda pictures, prompt: np.ones(2), 5, 0
    )
    assert votes["status"].tolist() == [user_study.TWO_SIZES] and votes["voters"].tolist() == [0]
    assert user_study.majorities(votes, 0).empty


def test_the_judge_of_these_tests_sees_what_it_should():
    assert OddIsWrong().judge(np.full((1, 2, 2, 3), 3, np.uint8)).flawed.tolist() == [True]
