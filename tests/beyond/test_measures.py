"""What a method changed beside its reward: known answers on small arrays, and a panel."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.base.intervals import wilson
from alignsd.base.judge import Attribute
from alignsd.beyond import measures
from alignsd.models.clip import load_clip


def picture(*colour):
    return np.full((64, 64, 3), colour, np.uint8)


def test_saturation_by_hand():
    half = picture(10, 10, 10)
    half[:32] = (255, 100, 55)
    values = measures.saturation([picture(90, 90, 90), picture(0, 255, 0), half])
    assert values == pytest.approx([0, 255, 100])
    assert measures.saturation([]).shape == (0,)


def test_diversity_by_hand():
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0.6, 0.8], [1, 0]])
    prompt_ids = ["a", "a", "b", "b", "c", "b"]
    by_prompt = measures.diversity_of_prompts(vectors, prompt_ids)
    assert by_prompt.to_dict() == pytest.approx({"a": 1.0, "b": 0.0})
    measured = measures.diversity(vectors, prompt_ids, seed=0)
    assert measured.value == pytest.approx(0.5)
    assert measured.n == 2
    assert (measured.low, measured.high) == pytest.approx((0, 1), abs=1e-9)


def test_diversity_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 7))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - vectors[i] @ vectors[j] for i in range(5) for j in range(i)]
    by_prompt = measures.diversity_of_prompts(vectors, ["p"] * 5)
    assert by_prompt["p"] == pytest.approx(np.mean(pairs))


def test_one_picture_per_prompt_has_no_diversity():
    assert measures.diversity(np.eye(3), ["a", "b", "c"], seed=0) is None


def test_shares_of_an_attribute_by_hand():
    seen = {"original": ["x", "y", "x", "x"], "adapted": ["z", "z"]}
    table = measures.attribute_shares(seen, ("x", "y", "z"))
    assert list(table.columns) == list(measures.SHARE_COLUMNS)
    values = table.set_index(["arm", "class"])["value"]
    assert values["original"].to_dict() == {"x": 0.75, "y": 0.25, "z": 0.0}
    assert values["adapted"].to_dict() == {"x": 0.0, "y": 0.0, "z": 1.0}
    first = table.iloc[0]
    assert (first["low"], first["high"]) == wilson(3, 4)
    assert table["n"].tolist() == [4, 4, 4, 2, 2, 2]


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


def brightness(pictures):
    return ["light" if one.mean() > 128 else "dark" for one in pictures]


BRIGHTNESS = Attribute("brightness", ("light", "dark"), brightness)
COLOURS = {"original": [(200, 200, 200), (0, 0, 0)], "adapted": [(255, 0, 0), (255, 0, 0)]}


@pytest.fixture
def images(tmp_path):
    """Return two pictures of one prompt in each of two arms."""
    rows = []
    for arm, colours in COLOURS.items():
        for sample, colour in enumerate(colours):
            file = f"{arm}/p0-{sample}.png"
            (tmp_path / arm).mkdir(exist_ok=True)
            save_png(tmp_path / file, picture(*colour))
            prompt = "a person" if arm == "original" else "Weird image. a person"
            rows.append((arm, f"p0-{sample}", "p0", prompt, file))
    return pd.DataFrame(rows, columns=["arm", "id", "prompt_id", "prompt", "file"])


def reds(pictures, prompts):
    """Return a utility, which sees what was asked for and not what the model was told."""
    assert set(prompts) == {"a person"}
    return np.array([one[..., 0].mean() for one in pictures])


def test_a_panel_of_two_arms(tmp_path, images, clip):
    looks = measures.look(images, tmp_path, clip, BRIGHTNESS, reds, batch=3)
    assert looks["id"].tolist() == images["id"].tolist()
    metrics = images[["arm", "id"]].assign(
        hps=[1.0, 3.0, 5.0, 7.0],
        clip_score=0.5,
        aesthetic=5.0,
        flawed=pd.array([True, False, False, False], dtype="boolean"),
        match=pd.array([True] * 4, dtype="boolean"),
        status="ok",
    )
    panel = measures.panel(metrics, looks, BRIGHTNESS, seed=0)
    assert list(panel.columns) == ["arm", "metric", "value", "low", "high", "n"]
    values = panel.set_index(["arm", "metric"])["value"]
    assert values["original", "hps"] == 2 and values["adapted", "hps"] == 6
    assert values["original", "flaw_rate"] == 0.5 and values["adapted", "flaw_rate"] == 0
    assert values["original", "utility"] == 100 and values["adapted", "utility"] == 255
    assert values["original", "saturation"] == 0 and values["adapted", "saturation"] == 255
    assert values["original", "brightness: light"] == 0.5
    assert values["adapted", "brightness: dark"] == 1
    assert values["adapted", "diversity"] == pytest.approx(0, abs=1e-6)
    assert values["original", "diversity"] > 1e-3


def test_what_was_not_measured_has_no_row_and_unreadable_images_are_left_out(
    tmp_path, images, clip
):
    (tmp_path / images["file"].iloc[1]).write_bytes(b"no picture")
    looks = measures.look(images, tmp_path, clip, None, None)
    assert looks["id"].tolist() == ["p0-0", "p0-0", "p0-1"]
    metrics = images[["arm", "id"]].assign(
        hps=1.0, clip_score=np.nan, aesthetic=5.0, flawed=pd.NA, match=pd.NA
    )
    panel = measures.panel(metrics, looks, None, seed=0)
    named = panel.groupby("arm", sort=False)["metric"].agg(list)
    assert named["original"] == ["hps", "aesthetic", "saturation"]
    assert named["adapted"] == ["hps", "aesthetic", "saturation", "diversity"]


def test_images_that_are_all_gone_are_told(tmp_path, images, clip):
    with pytest.raises(Problem, match="No image of the comparison"):
        measures.look(images, tmp_path / "elsewhere", clip, None, None)
