"""Scoring of parts: the right prompt for each image, faults as rows, and the same after a stop."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from test_diffusiondb import ENTRY, encoded, write_zip

from alignsd.base.errors import Problem
from alignsd.select import scoring


@pytest.fixture
def embeddings(monkeypatch):
    """Stand in for CLIP: brightness gives an image's vector, the last digit gives a text's."""
    texts = []

    def unit(angle):
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def embed_texts(clip, given):
        texts.extend(given)
        return unit(np.array([int(text[-1]) for text in given], float) / 10)

    def embed_images(clip, images):
        return unit(np.array([image.mean() for image in images]) / 100)

    monkeypatch.setattr("alignsd.models.clip.embed_images", embed_images)
    monkeypatch.setattr("alignsd.models.clip.embed_texts", embed_texts)
    return texts


@pytest.fixture
def folder(tmp_path):
    """Write two parts: image ``i.png`` has brightness i and prompt ``cat (i mod 3)``.

    The first part has faults.
    """
    for number in (1, 2):
        names = {f"{number}{i}.png": i for i in range(7)}
        entries = {name: ENTRY | {"p": f"cat {i % 3}"} for name, i in names.items()}
        faults = {"x.png": encoded()[:30], "y.txt": b""} if number == 1 else {}
        members = {name: encoded(i) for name, i in names.items()} | faults
        entries |= {name: ENTRY | {"p": "cat 0"} for name in faults}
        write_zip(tmp_path / "db" / "images" / f"part-00000{number}.zip", members, entries)
    return tmp_path / "db"


def test_each_image_is_scored_against_its_own_prompt(folder, embeddings):
    table = scoring.score_part(folder / "images" / "part-000002.zip", None, batch=3)
    expected = [100 * np.cos(i / 100 - (i % 3) / 10) for i in range(7)]
    assert table["hps"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert embeddings == ["cat 0", "cat 1", "cat 2"], "each prompt is embedded once"
    assert (table["sharpness"] == 0).all() and list(table) == list(scoring.COLUMNS)


@pytest.mark.parametrize("readers", [1, 2, 3, 5])
def test_the_number_of_readers_does_not_change_the_table(folder, embeddings, monkeypatch, readers):
    part = folder / "images" / "part-000001.zip"
    expected = scoring.score_part(part, None, batch=100)
    monkeypatch.setattr(scoring, "reader_count", lambda batch: readers)
    for batch in (1, 4, 100):
        pd.testing.assert_frame_equal(scoring.score_part(part, None, batch=batch), expected)


def test_faults_are_rows_without_a_score(folder, embeddings):
    table = scoring.score_part(folder / "images" / "part-000001.zip", None).set_index("image")
    assert table.loc["x.png", "status"] == "damaged image"
    assert table.loc["y.txt", "status"] == "foreign member"
    assert table.loc[["x.png", "y.txt"], ["hps", "sharpness"]].isna().all(axis=None)
    assert table.loc[table["status"] == "ok", "hps"].notna().all()


def test_batches_and_stopping_do_not_change_the_tables(folder, embeddings, tmp_path):
    at_once, in_two = tmp_path / "at once", tmp_path / "in two"
    whole = scoring.score_parts(folder, at_once, None)
    scoring.score_parts(folder, in_two, None)
    (in_two / "part-000002.parquet").unlink()
    written = (in_two / "part-000001.parquet").stat().st_mtime_ns
    resumed = scoring.score_parts(folder, in_two, None)
    kept = (in_two / "part-000001.parquet").stat().st_mtime_ns
    assert kept == written, "a finished part is not scored again"
    for name in ("part-000001.parquet", "part-000002.parquet"):
        assert (in_two / name).read_bytes() == (at_once / name).read_bytes()
    pd.testing.assert_frame_equal(whole, resumed)
    small_batches = scoring.score_parts(folder, tmp_path / "small", None, batch=2)
    pd.testing.assert_frame_equal(whole, small_batches)


def test_status_counts(folder, embeddings, tmp_path):
    counts = scoring.status_counts(scoring.score_parts(folder, tmp_path / "out", None))
    assert counts.loc["ok"].tolist() == [7, 7]
    assert counts.loc["damaged image"].tolist() == [1, 0]


def test_a_few_rows_first(folder, embeddings):
    assert len(scoring.score_part(folder / "images" / "part-000001.zip", None, only=2)) == 2


def test_a_folder_without_scores_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="no scores"):
        scoring.read_scores(tmp_path)
    pd.DataFrame({"image": ["a"]}).to_parquet(tmp_path / "part-000001.parquet")
    with pytest.raises(Problem, match="cannot be read"):
        scoring.read_scores(tmp_path)


def test_parts_are_remembered_relative_to_the_stage(tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    (run / "db").mkdir(parents=True)
    scoring.remember_parts(run / "parts.json", run / "db")
    run.rename(moved)
    assert scoring.recall_parts(moved / "parts.json") == moved / "db"
    scoring.remember_parts(moved / "parts.json", tmp_path / "elsewhere")
    assert scoring.recall_parts(moved / "parts.json") == tmp_path / "elsewhere"


PEAK = """
import io, json, resource, sys, zipfile
from pathlib import Path
import numpy as np
from PIL import Image
from alignsd.models.clip import load_clip
from alignsd.select.scoring import score_part

def webp(seed):
    # Large shapes with a grain, 512 x 512: about as hard to decode as the release's lossless WebP.
    rng = np.random.default_rng(seed)
    shapes = rng.integers(40, 215, size=(16, 16, 3)).repeat(32, 0).repeat(32, 1)
    grain = rng.integers(-6, 7, size=(512, 512, 3))
    file = io.BytesIO()
    pixels = (shapes + grain).astype(np.uint8)
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, method=0)
    return file.getvalue()

pictures = [webp(seed) for seed in range(4)]
clip = load_clip("miniature/clip", device="cpu")
folder = Path(sys.argv[1])
for number, images in ((1, 200), (2, 1000)):
    path = folder / f"part-{number:06d}.zip"
    with zipfile.ZipFile(path, "w") as part:
        entries = {f"{i}.webp": {"p": f"cat {i % 9}", "se": i} for i in range(images)}
        for i, name in enumerate(entries):
            part.writestr(name, pictures[i % 4])
        part.writestr(f"{path.stem}.json", json.dumps(entries))
    scored = score_part(path, clip, batch=64)
    good = int((scored["status"] == "ok").sum())
    print(good, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
"""


def test_peak_memory_follows_the_batch_and_not_the_part(tmp_path):
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    (few, small), (many, large) = (map(float, line.split()) for line in out.stdout.splitlines())
    assert (few, many) == (200, 1000)
    # MiB; 800 more images of 512 x 512 would be 600 if they were held.
    assert large - small < 100


def test_a_batch_is_scored_row_by_row(embeddings):
    images = [np.full((2, 2, 3), grey, np.uint8) for grey in (0, 50)]
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    scores = scoring.hps_of_batch(None, images, texts)
    assert scores == pytest.approx([100, 100 * np.sin(0.5)], abs=1e-4)
