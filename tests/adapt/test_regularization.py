"""Regularization pictures: whole pictures that rate high enough; the others are counted."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.adapt import regularization
from alignsd.adapt.regularization import Rater, Wanted, regularization_pictures
from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.miniature.web_pictures import write_regularization
from alignsd.select import imagefolder


def flat(red):
    return np.full((6, 9, 3), red, np.uint8)


def write_folder(folder, pictures):
    """Write pictures ``(red, rating)``: no rating stands in no line, no red is a damaged file."""
    lines = []
    for number, (red, rating) in enumerate(pictures):
        name = f"{number}.png"
        save_png(folder / name, flat(red or 0))
        if red is None:
            (folder / name).write_bytes(b"\x89PNG cut")
        line = {"file_name": name, "text": f"picture {number}"}
        if rating is not None:
            line["rating"] = rating
        lines.append(json.dumps(line) + "\n")
    (folder / imagefolder.METADATA).write_text("".join(lines))
    return folder


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened, with a predictor that rates a picture by a tenth of its red."""
    files = []

    def watched(path):
        files.append(path.name)
        return read_image(path)

    def reds(clip, pictures):
        return np.array([picture[0, 0, 0] for picture in pictures])

    predictor = SimpleNamespace(predict=lambda reds: reds / 10)
    monkeypatch.setattr(regularization, "read_image", watched)
    monkeypatch.setattr(regularization, "load_aesthetic", lambda name: predictor)
    monkeypatch.setattr(regularization, "load_clip", lambda name, device: None)
    monkeypatch.setattr(regularization, "embed_images", reds)
    return files


REDS = (70, 60, None, 65, 80, 90, 99)
PICTURES = [(red, None) for red in REDS]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_first_that_rate_high_enough_are_taken_and_the_others_counted(tmp_path, opened, batch):
    folder = write_folder(tmp_path, PICTURES)
    rows, left = regularization_pictures(folder, Wanted(3, 6.5, batch=batch))
    assert rows["text"].tolist() == ["picture 0", "picture 3", "picture 4"]
    assert left == {"rated below 6.5": 1, "picture is damaged": 1}
    assert set(rows["label"]) == {"regularization"} and set(rows["folder"]) == {tmp_path}


def test_no_batch_behind_the_last_one_needed_is_opened(tmp_path, opened):
    regularization_pictures(write_folder(tmp_path, PICTURES), Wanted(3, 6.5, batch=5))
    assert sorted(opened) == ["0.png", "1.png", "2.png", "3.png", "4.png"]


def test_a_line_s_own_rating_counts_and_a_low_one_is_not_even_opened(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(regularization, "load_clip", lambda name, device: 1 / 0)
    folder = write_folder(tmp_path, [(0, 7.5), (99, 6.4), (None, 8), (0, 6.5)])
    rows, left = regularization_pictures(folder, Wanted(2, 6.5))
    assert rows["rating"].tolist() == [7.5, 6.5]
    assert left == {"rated below 6.5": 1, "picture is damaged": 1}
    assert "1.png" not in opened


def test_without_a_predictor_pictures_without_a_rating_are_taken(tmp_path, opened):
    folder = write_folder(tmp_path, [(1, None), (1, 2.0), (1, None)])
    rows, left = regularization_pictures(folder, Wanted(2, 6.5, Rater(aesthetic="")))
    assert rows["text"].tolist() == ["picture 0", "picture 2"]
    assert left == {"rated below 6.5": 1}


def test_too_few_are_a_problem_with_the_counts(tmp_path, opened):
    with pytest.raises(Problem, match="too few regularization pictures") as problem:
        regularization_pictures(write_folder(tmp_path, PICTURES), Wanted(6, 6.5))
    assert "5; left out" in str(problem.value) and "'rated below 6.5': 1" in str(problem.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match="no imagefolder"):
        regularization_pictures(tmp_path / "empty", Wanted(1))


def test_none_are_a_table_without_rows(tmp_path, opened):
    rows, left = regularization_pictures(write_folder(tmp_path, PICTURES), Wanted(0))
    assert rows.empty and not left and not opened


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": -1}, "regularization_images is"),
        ({"minimum_rating": float("nan")}, "minimum_rating is"),
        ({"batch": 0}, "batch is"),
    ],
    ids=str,
)
def test_wishes_out_of_their_range_are_named(change, words):
    with pytest.raises(Problem, match=words):
        Wanted(**{"n": 1} | change)


def test_the_miniature_s_pictures_are_those_of_its_folder(tmp_path):
    wanted, own = Wanted(12), tmp_path / "own"
    folder = sources.regularization("miniature", own, 0, wanted)
    rows, left = regularization_pictures(folder, wanted)
    assert folder == own
    expected = imagefolder.read_imagefolder(own).assign(label="regularization", folder=own)
    pd.testing.assert_frame_equal(rows, expected)
    assert len(rows) == 12 and not left


def test_a_folder_of_one_s_own_is_filtered_as_the_miniature_s_web_is(tmp_path):
    write_regularization(tmp_path / "web", 0, Wanted(60, 1.0))
    table = imagefolder.read_imagefolder(tmp_path / "web")
    expected = table.loc[table["rating"] >= 5.5, "file_name"].tolist()
    lines = [json.dumps(row) + "\n" for row in table[["file_name", "text"]].to_dict("records")]
    (tmp_path / "web" / imagefolder.METADATA).write_text("".join(lines))
    folder = sources.regularization(str(tmp_path / "web"), tmp_path / "own", 0, Wanted(1))
    rows, left = regularization_pictures(folder, Wanted(len(expected), 5.5))
    assert 0 < len(expected) < 60
    assert rows["file_name"].tolist() == expected and left["rated below 5.5"] > 0
