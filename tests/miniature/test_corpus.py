"""The simulated DiffusionDB and the simulated LAION."""

import json
import uuid
import zipfile

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.miniature import corpus, world
from alignsd.select import diffusiondb, imagefolder, rule

RECIPE = corpus.Recipe(prompts=40, parts=3, seed=5, blurred_share=0.1, few_share=0.2)


@pytest.fixture
def drawn(monkeypatch):
    """Stands in for the base model: noise that follows from the job's seed. Returns the ids drawn."""
    ids = []

    def generate(pipeline, jobs, drawing):
        for job in jobs:
            ids.append(job.id)
            yield job, np.random.default_rng(job.seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    monkeypatch.setattr("alignsd.models.stable_diffusion.load_pipeline", lambda model, device: None)
    monkeypatch.setattr("alignsd.models.stable_diffusion.generate", generate)
    return ids


def write(folder, recipe=RECIPE):
    return corpus.write_corpus(folder, recipe, "a model", 10, 3.0)


def test_plan_is_what_was_ordered():
    rows = corpus.plan(RECIPE)
    sizes = rows.groupby("prompt").size()
    assert len(sizes) == 40 and sizes.between(1, 6).all() and (sizes < 4).any() and (sizes >= 4).mean() > 0.6
    assert set(rows["part_id"]) == {1, 2, 3} and rows["image_name"].is_unique
    parts_of_prompt = rows.groupby("prompt")["part_id"].nunique()
    assert (parts_of_prompt == 1).any() and (parts_of_prompt > 1).any()
    assert all(uuid.UUID(name.removesuffix(".png")).version == 4 for name in rows["image_name"])
    assert all(world.scene_of(prompt) for prompt in sizes.index)
    pd.testing.assert_frame_equal(rows, corpus.plan(RECIPE))
    assert set(rows["image_name"]).isdisjoint(corpus.plan(corpus.Recipe(prompts=40, seed=6))["image_name"])


@pytest.mark.parametrize("wrong", [{"parts": 0}, {"parts": 9, "prompts": 8}, {"fewest": 5, "most": 4}, {"prompts": 10**6}])
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(Problem, match="cannot be made"):
        corpus.Recipe(**wrong)


def test_a_corpus_reads_as_diffusiondb(tmp_path, drawn):
    metadata = write(tmp_path)
    listed = pd.concat([diffusiondb.list_part(path) for path in diffusiondb.find_parts(tmp_path).values()])
    assert (listed["status"] == "ok").all() and len(listed) == len(metadata) == len(drawn)
    both = listed.merge(metadata, left_on="image", right_on="image_name", validate="one_to_one", suffixes=("", "_table"))
    assert len(both) == len(listed)
    assert (both["prompt"] == both["prompt_table"]).all() and (both["seed"] == both["seed_table"]).all()
    assert (both["part"] == both["part_id"].map(corpus.part_name)).all()
    assert {name: str(kind) for name, kind in diffusiondb.read_metadata(tmp_path / "metadata.parquet").dtypes.items()} == \
        diffusiondb.METADATA


def test_the_json_has_diffusiondbs_fields(tmp_path, drawn):
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "images" / "part-000001.zip") as archive:
        entry = next(iter(json.loads(archive.read("part-000001.json")).values()))
    assert {key: type(value) for key, value in entry.items()} == {"p": str, "se": int, "c": float, "st": int, "sa": str}


def test_safety_filter_blurs_what_the_metadata_says(tmp_path, drawn):
    metadata = write(tmp_path)
    rows = metadata.assign(part=metadata["part_id"].map(corpus.part_name), image=metadata["image_name"])
    sharp = pd.Series({name: rule.sharpness(image) for name, image in diffusiondb.read_pictures(tmp_path, rows)})
    flagged = metadata.set_index("image_name")["image_nsfw"] == 2.0
    assert 0 < flagged.sum() < len(flagged)
    assert (rule.is_blurred(sharp[flagged.index]) == flagged).all()


def test_the_blur_is_below_the_limit_even_for_the_hardest_edge():
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    assert rule.is_blurred(rule.sharpness(corpus.safety_blur(edge)))
    assert rule.is_blurred(rule.sharpness(corpus.safety_blur(edge.transpose(1, 0, 2))))


def test_a_stopped_run_draws_only_the_missing_parts_and_gives_equal_files(tmp_path, drawn):
    metadata = write(tmp_path / "a")
    write(tmp_path / "b")
    (tmp_path / "b" / "images" / "part-000002.zip").unlink()
    drawn.clear()
    write(tmp_path / "b")
    assert set(drawn) == set(metadata.loc[metadata["part_id"] == 2, "image_name"])
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_another_recipe_is_refused(tmp_path, drawn):
    write(tmp_path)
    with pytest.raises(Problem, match="another recipe"):
        write(tmp_path, corpus.Recipe(prompts=39, parts=3))


@pytest.fixture
def predictor(monkeypatch):
    """Stands in for the aesthetic predictor: rates a picture by its mean brightness."""
    class Head:
        def predict(self, embeddings):
            return embeddings[:, 0]

    monkeypatch.setattr("alignsd.models.clip.load_clip", lambda name, device="auto": None)
    monkeypatch.setattr("alignsd.models.clip.embed_images", lambda clip, images: np.array([[i.mean() / 25] for i in images]))
    monkeypatch.setattr("alignsd.models.aesthetic.load_aesthetic", lambda name: Head())
    monkeypatch.setattr(corpus, "CHUNK", 20)


def test_regularization_pictures_are_rated_high_and_captioned(tmp_path, predictor):
    corpus.write_regularization(tmp_path / "a", 12, 0, minimum_rating=6.0)
    table = imagefolder.read_table(tmp_path / "a")
    assert len(table) == 12 and (table["rating"] >= 6).all() and set(table["label"]) == {"regularization"}
    assert all(world.scene_of(text) for text in table["text"])
    corpus.write_regularization(tmp_path / "b", 6, 0, minimum_rating=6.0)
    pd.testing.assert_frame_equal(imagefolder.read_table(tmp_path / "b"), table.head(6))  # fewer are a part of more
    corpus.write_regularization(tmp_path / "c", 6, 1, minimum_rating=6.0)
    assert set(imagefolder.read_table(tmp_path / "c")["file_name"]).isdisjoint(table["file_name"])


def test_a_rating_out_of_reach_is_a_problem(tmp_path, predictor):
    with pytest.raises(Problem, match="too few pictures"):
        corpus.write_regularization(tmp_path, 1, 0, minimum_rating=11)
