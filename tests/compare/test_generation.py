"""The arms, the plan of their images, and the drawing."""

import numpy as np
import pytest

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.base.images import read_image
from alignsd.compare import arms, generation
from alignsd.models.stable_diffusion import Drawing, load_pipeline

IDENTIFIER = "Weird image. "
ADAPTERS = ["", "adapted", "regularization_only"]


def plan(prompts, samples=2):
    return generation.plan(prompts, IDENTIFIER, samples, seed=0, adapters=ADAPTERS)


def test_an_arm_draws_the_prompt_with_the_identifier_where_the_arm_says_so():
    texts = {arm.name: arm.texts("a {cat}", IDENTIFIER) for arm in arms.ARMS}
    assert texts == {
        "original": ("a {cat}", ""),
        "original_negative": ("a {cat}", "Weird image. "),
        "regularization_only": ("a {cat}", ""),
        "adapted": ("a {cat}", ""),
        "adapted_negative": ("a {cat}", "Weird image. "),
        "adapted_negative_prompt": ("a {cat}", "Weird image. a {cat}"),
        "adapted_identifier": ("Weird image. a {cat}", ""),
    }


def test_an_arm_that_is_not_ours_is_its_own_label():
    assert arms.named("adapted_negative") is arms.PAPERS
    assert arms.named("mine").label == "mine"
    assert arms.labels([arms.ORIGINAL, arms.PAPERS]) == {
        "original": "original",
        "adapted_negative": "adapted,\nnegative prompt",
    }


def test_arms_share_prompts_and_seeds_and_more_prompts_change_none():
    prompts = sources.prompts("miniature", 5, seed=0)
    table = plan(prompts)
    longer = plan([*prompts, "x"], samples=3)
    assert (table.groupby("id")["seed"].nunique() == 1).all()
    assert len(table) == len(arms.ARMS) * 10
    same = table.merge(longer, on=["arm", "id", "seed", "prompt", "negative"])
    assert len(same) == len(table)
    original = table[table["arm"] == "original"]
    papers = table[table["arm"] == "adapted_negative"]
    assert (papers["negative"] == IDENTIFIER).all()
    assert list(papers["prompt"]) == list(original["prompt"])


def test_an_arm_without_its_adapter_has_no_images():
    table = generation.plan(["a cat"], IDENTIFIER, 1, 0, adapters=["", "adapted"])
    assert "regularization_only" not in set(table["arm"])


def test_drawing_again_keeps_what_exists(tmp_path):
    prompts = sources.prompts("miniature", 1, seed=0)
    original = plan(prompts).query("arm == 'original'")
    settings = {
        "model": "miniature/stable-diffusion",
        "adapters": {"": None},
        "folder": tmp_path,
        "drawing": Drawing(steps=2, guidance=3.0, batch=2),
        "device": "cpu",
    }
    generation.draw(original, **settings)
    before = [read_image(tmp_path / file) for file in original["file"]]
    (tmp_path / original["file"].iloc[1]).unlink()
    generation.draw(original, **settings)
    after = [read_image(tmp_path / file) for file in original["file"]]
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("missing", ["stable_diffusion", "identifier"])
def test_a_lora_of_your_own_needs_its_model_and_identifier(missing):
    values = {"stable_diffusion": "miniature/stable-diffusion", "identifier": IDENTIFIER}
    values[missing] = ""
    with pytest.raises(Problem, match=f"(?s){missing} is empty.*{missing}=\\.\\.\\."):
        generation.check_adapters(*values.values(), {"": None}, "cpu")


def test_a_scale_of_guidance_of_1_leaves_the_negative_prompt_out():
    """eps = eps_negative + s (eps_prompt - eps_negative): with s = 1 the negative drops out."""
    prompts = sources.prompts("miniature", 1, seed=0)
    table = plan(prompts, samples=1)
    pipeline = load_pipeline("miniature/stable-diffusion", device="cpu")
    drawn = {}
    for arm in ("original", "original_negative"):
        rows = table[table["arm"] == arm]
        drawn[arm] = generation.at_scales(pipeline, rows, steps=2, scales=[1.0, 6.0])
    original, negative = drawn["original"], drawn["original_negative"]
    assert list(original) == [1.0, 6.0] and original[1.0][0].shape == (64, 64, 3)
    np.testing.assert_array_equal(original[1.0], negative[1.0])
    assert (original[6.0][0] != negative[6.0][0]).any()
