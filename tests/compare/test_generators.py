"""Agreement with people on pictures of two generators, with people whose chances are known."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.compare.arms import CONTROL, ORIGINAL
from alignsd.compare.beside import generators

BOTH = (ORIGINAL, CONTROL)


@pytest.fixture
def images(tmp_path):
    """Two prompts with two samples in two arms; a picture's grey value is its name."""
    rows, grey = [], 0
    for arm in ("original", "adapted", "regularization_only"):
        for prompt in range(2):
            for sample in range(2):
                grey += 10
                file = f"{arm}/p{prompt}-{sample}.png"
                save_png(tmp_path / file, np.full((4, 4, 3), grey, np.uint8))
                rows.append((arm, f"p{prompt}-{sample}", f"p{prompt}", sample, "a man", file))
    columns = ["arm", "id", "prompt_id", "sample", "prompt", "file"]
    return pd.DataFrame(rows, columns=columns), tmp_path


def by_light(pictures, prompt):
    """The share of the brightness, and 0.1 more for the last place."""
    light = np.array([float(picture.mean()) for picture in pictures])
    return light / light.sum() + np.array([-0.1, 0.1])


def test_a_pair_has_one_prompt_two_generators_and_two_seeds(images):
    table, _ = images
    pairs = generators.pairs(table, *BOTH, 10)
    assert pairs[["first", "second"]].to_numpy().tolist() == [
        ["original/p0-0.png", "regularization_only/p0-1.png"],
        ["original/p0-1.png", "regularization_only/p0-0.png"],
        ["original/p1-0.png", "regularization_only/p1-1.png"],
        ["original/p1-1.png", "regularization_only/p1-0.png"],
    ]
    assert len(generators.pairs(table, *BOTH, 3)) == 3
    assert generators.pairs(table[table["arm"] == "original"], *BOTH, 3).empty


def test_one_sample_stands_beside_the_same_sample(images):
    table, _ = images
    pairs = generators.pairs(table[table["sample"] == 0], *BOTH, 10)
    assert pairs["second"].tolist() == [
        "regularization_only/p0-0.png",
        "regularization_only/p1-0.png",
    ]


def test_less_than_one_pair_is_refused(images):
    with pytest.raises(Problem, match="generator_pairs"):
        generators.pairs(images[0], *BOTH, 0)


def test_the_place_of_a_picture_does_not_count(images):
    table, folder = images
    pairs = generators.pairs(table, *BOTH, 1)  # grey 10 beside grey 100
    chance = generators.chances_of_first(pairs, folder, by_light)
    assert chance.tolist() == pytest.approx([10 / 110])


def test_a_bad_picture_and_nobody_have_no_chance(images):
    table, folder = images
    pairs = generators.pairs(table, *BOTH, 2)
    (folder / pairs["second"].iloc[0]).write_bytes(b"no picture")
    assert generators.chances_of_first(pairs, folder, by_light).isna().tolist() == [True, False]
    assert generators.chances_of_first(pairs, folder, None).isna().all()


def test_agreement_is_the_chance_of_the_picture_that_is_named():
    pairs = pd.DataFrame({"first_id": ["a", "b", "c"], "second_id": ["b", "a", "c"]})
    chance = pd.Series([0.9, 0.2, np.nan])
    scores = {
        "right": [5.0, 1.0, 0.0, 2.0, 4.0, 0.0],  # names a of the first arm, then a of the second
        "same": [1.0] * 6,
    }
    metrics = pd.DataFrame(
        {"arm": ["original"] * 3 + ["regularization_only"] * 3, "id": list("abc") * 2} | scores
    )
    predictors = {"right": "right", "same": "same"}
    table = generators.agreement(pairs, chance, metrics, predictors, BOTH, seed=0)
    values = table.set_index("predictor")["value"]
    assert values["right"] == pytest.approx((0.9 + 0.8) / 2)
    assert values["same"] == pytest.approx(0.5)
    assert values["another person"] == pytest.approx((0.82 + 0.68) / 2)
    assert table["n"].tolist() == [2, 2, 2], "a pair without a chance is left out"
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_without_people_there_are_no_rows():
    pairs = pd.DataFrame({"first_id": ["a"], "second_id": ["a"]})
    metrics = pd.DataFrame({"arm": ["original", "regularization_only"], "id": ["a", "a"]})
    metrics["hps"] = 1.0
    chance = pd.Series([np.nan])
    table = generators.agreement(pairs, chance, metrics, {"HPS": "hps"}, BOTH, seed=0)
    assert table.empty and list(table) == ["predictor", "value", "low", "high", "n"]
