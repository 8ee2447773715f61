"""The simulated DiffusionDB."""

import json
import uuid
import zipfile

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.miniature import corpus, world
from alignsd.models.stable_diffusion import Drawing
from alignsd.select import diffusiondb
from alignsd.select.sharpness import is_blurred, sharpness

RECIPE = corpus.CorpusRecipe(prompts=40, parts=3, seed=5, blurred_share=0.1, few_share=0.2)
DRAWING = Drawing(steps=10, guidance=3.0)


@pytest.fixture
def drawn(monkeypatch):
    """Stand in for the base model: noise that follows from the job's seed. Return the ids drawn."""
    ids = []

    def generate(pipeline, jobs, drawing):
        for job in jobs:
            ids.append(job.id)
            rng = np.random.default_rng(job.seed)
            yield job, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)

    monkeypatch.setattr("alignsd.models.stable_diffusion.load_pipeline", lambda model, device: None)
    monkeypatch.setattr("alignsd.models.stable_diffusion.generate", generate)
    return ids


def write(folder, recipe=RECIPE):
    return corpus.write_corpus(folder, recipe, "a model", DRAWING)


def test_plan_is_what_was_ordered():
    pictures = corpus.plan(RECIPE)
    by_prompt = pictures.groupby("prompt")
    sizes = by_prompt.size()
    assert len(sizes) == 40
    assert sizes.between(1, 6).all()
    assert (sizes < 4).any()
    assert (sizes >= 4).mean() > 0.6
    assert set(pictures["part_id"]) == {1, 2, 3}
    parts_of_prompt = by_prompt["part_id"].nunique()
    assert (parts_of_prompt == 1).any()
    assert (parts_of_prompt > 1).any()
    assert all(world.scene_of(prompt) for prompt in sizes.index)


def test_pictures_have_random_names_that_follow_from_the_seed():
    pictures = corpus.plan(RECIPE)
    names = pictures["image_name"]
    assert names.is_unique
    assert all(uuid.UUID(name.removesuffix(".png")).version == 4 for name in names)
    pd.testing.assert_frame_equal(pictures, corpus.plan(RECIPE))
    other = corpus.plan(corpus.CorpusRecipe(prompts=40, seed=6))
    assert set(names).isdisjoint(other["image_name"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"parts": 0},
        {"parts": 9, "prompts": 8},
        {"fewest": 5, "most": 4},
        {"prompts": 10**6},
        {"few_share": 1.5},
    ],
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(Problem, match="cannot be made"):
        corpus.CorpusRecipe(**wrong)


def test_a_corpus_reads_as_diffusiondb(tmp_path, drawn):
    metadata = write(tmp_path)
    parts = diffusiondb.find_parts(tmp_path)
    listed = pd.concat([diffusiondb.list_part(path) for path in parts.values()])
    assert (listed["status"] == "ok").all()
    assert len(listed) == len(metadata) == len(drawn)
    both = listed.merge(
        metadata,
        left_on="image",
        right_on="image_name",
        validate="one_to_one",
        suffixes=("", "_table"),
    )
    assert len(both) == len(listed)
    assert (both["prompt"] == both["prompt_table"]).all()
    assert (both["seed"] == both["seed_table"]).all()
    assert (both["part"] == both["part_id"].map(corpus.part_name)).all()


def test_the_metadata_has_diffusiondbs_columns(tmp_path, drawn):
    write(tmp_path)
    table = diffusiondb.read_metadata(tmp_path / "metadata.parquet")
    assert {name: str(kind) for name, kind in table.dtypes.items()} == diffusiondb.METADATA
    assert set(table["width"]) == set(table["height"]) == {64}


def test_the_json_has_diffusiondbs_fields(tmp_path, drawn):
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "images" / "part-000001.zip") as archive:
        entries = json.loads(archive.read("part-000001.json"))
    entry = next(iter(entries.values()))
    kinds = {key: type(value) for key, value in entry.items()}
    assert kinds == {"p": str, "se": int, "c": float, "st": int, "sa": str}


def test_safety_filter_blurs_what_the_metadata_says(tmp_path, drawn):
    metadata = write(tmp_path)
    rows = metadata.assign(
        part=metadata["part_id"].map(corpus.part_name), image=metadata["image_name"]
    )
    sharp = {name: sharpness(image) for name, image in diffusiondb.read_pictures(tmp_path, rows)}
    flagged = metadata.set_index("image_name")["image_nsfw"] == 2.0
    assert 0 < flagged.sum() < len(flagged)
    assert (is_blurred(pd.Series(sharp)[flagged.index]) == flagged).all()


def test_the_blur_is_below_the_limit_even_for_the_hardest_edge():
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    for image in (edge, edge.transpose(1, 0, 2)):
        assert is_blurred(sharpness(corpus.safety_blur(image)))


def test_a_stopped_run_draws_only_the_missing_parts_and_gives_equal_files(tmp_path, drawn):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    metadata = write(whole)
    write(stopped)
    (stopped / "images" / "part-000002.zip").unlink()
    drawn.clear()
    write(stopped)
    assert set(drawn) == set(metadata.loc[metadata["part_id"] == 2, "image_name"])
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert len(files) == 5
    for file in files:
        assert (whole / file).read_bytes() == (stopped / file).read_bytes()


def test_another_recipe_is_refused(tmp_path, drawn):
    write(tmp_path)
    with pytest.raises(Problem, match="another recipe"):
        write(tmp_path, corpus.CorpusRecipe(prompts=39, parts=3))


def test_the_name_miniature_leads_to_a_corpus_and_a_path_to_its_folder(tmp_path, drawn):
    own = tmp_path / "own"
    assert sources.parts("miniature", own, RECIPE, "a model", DRAWING) == own
    assert len(diffusiondb.find_parts(own)) == 3
    drawn.clear()
    found = sources.parts(str(own), tmp_path / "unused", RECIPE, "a model", DRAWING)
    assert found == own
    assert drawn == []
    assert not (tmp_path / "unused").exists()
