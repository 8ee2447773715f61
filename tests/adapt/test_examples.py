"""Examples: pictures encoded once, damaged latents named, and sizes that are refused."""

import numpy as np
import pandas as pd
import pytest

from alignsd.adapt.examples import encode_examples, read_latents
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.models.stable_diffusion import load_pipeline

GOOD = np.zeros((2, 8, 16, 16), np.float32)
ARRAYS = {
    "one picture": GOOD[:1],
    "whole numbers": GOOD.astype(int),
    "odd channels": GOOD[:, :7],
    "pickled": np.array([{}, {}], dtype=object),
}


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("miniature/stable-diffusion", device="cpu")


@pytest.mark.parametrize("damage", [*ARRAYS, "empty", "cut", "text", "archive"])
def test_damaged_latents_are_named(tmp_path, damage):
    path = tmp_path / "00000.npy"
    np.save(path, ARRAYS.get(damage, GOOD))
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "text":
        path.write_bytes(b"<html>" * 99)
    elif damage == "archive":
        np.savez(tmp_path / "a.npz", GOOD)
        (tmp_path / "a.npz").replace(path)
    with pytest.raises(Problem, match="(?s)latents 00000.npy.*delete"):
        read_latents(path, 2)


def test_latents_that_are_not_finite_are_named(pipeline, tmp_path):
    """If it failed, the message would blame the learning rate."""
    examples = encode_examples(pipeline, _pictures(tmp_path, 2), 64, 0, tmp_path / "latents")
    files = [np.full_like(file, np.nan) for file in examples.files]
    examples.files[:] = files
    with pytest.raises(Problem, match="latents of a picture are no finite"):
        examples.moments(np.array([0]))


def test_pictures_are_encoded_once_and_taken_in_part(pipeline, tmp_path):
    table, store = _pictures(tmp_path, 3), tmp_path / "latents"
    first = encode_examples(pipeline, table, 64, 0, store)
    for file in tmp_path.glob("*.png"):
        file.unlink()
    again = encode_examples(pipeline, table, 64, 0, store)
    index = np.arange(3)
    assert (first.moments(index) == again.moments(index)).all()
    assert first.negative.tolist() == [True, False, False]
    last = first.take(1, 9)
    assert last.captions == ["picture 1", "picture 2"]
    assert (last.moments(np.array([0])) == first.moments(np.array([1]))).all()


@pytest.mark.parametrize("size", [-1, 0, 1, 7, 1_000_000])
def test_a_resolution_out_of_its_range_is_named(pipeline, tmp_path, size):
    with pytest.raises(Problem, match="resolution is"):
        encode_examples(pipeline, _pictures(tmp_path, 1), size, 0, tmp_path / "latents")


def test_no_pictures_are_named(pipeline, tmp_path):
    with pytest.raises(Problem, match="no pictures to train on"):
        encode_examples(pipeline, _pictures(tmp_path, 1).head(0), 64, 0, tmp_path / "latents")


def _pictures(folder, n):
    for i in range(n):
        save_png(folder / f"{i}.png", np.full((64, 64, 3), 60 * i, np.uint8))
    return pd.DataFrame(
        {
            "folder": str(folder),
            "file_name": [f"{i}.png" for i in range(n)],
            "text": [f"picture {i}" for i in range(n)],
            "label": ["negative", "positive", "regularization"][:n],
        }
    )
