"""The data set's layout, its checks."""

import json

import numpy as np
import pandas as pd
import pytest

from alignsd.base import images
from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.collect import hpd, hpd_checks
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File


def flat(value):
    return np.full((16, 8, 3), value, dtype=np.uint8)


def choice(tmp_path, name, prompt="a cat", urls=None, chosen=0):
    files = [File(f"{name}{i}.png", f"media/{name}{i}.png", tmp_path) for i in range(2)]
    for i, file in enumerate(files):
        save_png(tmp_path / file.url, flat(50 * i))
    files = files if urls is None else [File(url, url, tmp_path) for url in urls]
    return Choice(f"answer {name}", "f" * 64, prompt, tuple(files), chosen)


def rows(prompts):
    n = len(prompts)
    return pd.DataFrame(
        {
            "human_preference": [i % 2 for i in range(n)],
            "prompt": prompts,
            "id": range(n),
            "file_path": [[hpd.image_path(i, 0), hpd.image_path(i, 1)] for i in range(n)],
            "user_hash": ["0" * 64] * n,
            "contain_name": [False] * n,
        }
    )


@pytest.fixture
def folder(tmp_path):
    """A data set of three choices, with pictures."""
    table = rows(["a cat", "a dog", "a cat"])
    for path in table["file_path"].explode():
        save_png(tmp_path / path, flat(0))
    hpd.write_choices(table, tmp_path, "train")
    return tmp_path


def test_pictures_are_copied_and_bad_choices_are_left_out_whole(tmp_path):
    good, late = choice(tmp_path, "g", chosen=1), choice(tmp_path, "l", "a photo of Ada")
    gone = choice(tmp_path, "m", urls=["media/g0.png", "media/gone.png"])
    (tmp_path / "media" / "cut.png").write_bytes((tmp_path / "media" / "g0.png").read_bytes()[:50])
    cut = choice(tmp_path, "c", urls=["media/g0.png", "media/cut.png"])
    table, origin, left = hpd.write_pictures(
        [good, gone, cut, late], tmp_path / "hpd", names=["ada"]
    )
    assert left == {images.MISSING: 1, images.DAMAGED: 1}
    assert list(table) == list(hpd.KEYS) and table["id"].tolist() == [0, 3]
    assert table["human_preference"].tolist() == [1, 0] and table["contain_name"].tolist() == [
        False,
        True,
    ]
    assert origin.to_dict("records")[1] == {
        "id": 3,
        "message_id": "answer l",
        "file_names": ["l0.png", "l1.png"],
    }
    written = sorted(path.name for path in (tmp_path / "hpd" / "preference_images").iterdir())
    assert written == ["0_0.jpg", "0_1.jpg", "3_0.jpg", "3_1.jpg"]
    assert (
        np.abs(
            read_image(tmp_path / "hpd" / "preference_images" / "3_1.jpg").astype(int) - 50
        ).max()
        <= 2
    )


@pytest.mark.parametrize(
    "url",
    ["ftp://example/a.png", "../media/g0.png", "/media/g0.png", "C:\\a.png", "..\\g0.png", ""],
)
def test_places_outside_the_export_are_not_followed(tmp_path, url):
    _, _, left = hpd.write_pictures(
        [choice(tmp_path, "g", urls=["media/g0.png", url])], tmp_path / "hpd"
    )
    assert left == {images.MISSING: 1}


def test_exports_made_on_windows(tmp_path):
    table, _, left = hpd.write_pictures(
        [choice(tmp_path, "g", urls=["media\\g0.png", "media\\g1.png"])], tmp_path / "hpd"
    )
    assert len(table) == 1 and not left


def test_no_choices_give_empty_tables(tmp_path):
    table, origin, left = hpd.write_pictures([], tmp_path)
    assert list(table) == list(hpd.KEYS) and len(origin) == len(left) == 0


def test_written_as_released_and_read_back(folder):
    records = json.loads((folder / "preference_train.json").read_text())
    assert records[1] == {
        "human_preference": 1,
        "prompt": "a dog",
        "id": 1,
        "user_hash": "0" * 64,
        "contain_name": False,
        "file_path": ["preference_images/1_0.jpg", "preference_images/1_1.jpg"],
    }
    assert hpd.read_choices(folder, "train").to_dict("records") == records


FAULTS = {
    "human_preference": [2, -1, "0", True, 0.0, None],
    "prompt": ["", " ", 5, None],
    "id": ["1", 1.0, None, 0],
    "file_path": [
        [],
        ["preference_images/1_0.jpg"],
        ["preference_images/1_0.jpg"] * 5,
        "ab",
        [1, 2],
        ["no.jpg", "no.jpg"],
        ["../a.jpg", "/b.jpg"],
    ],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in FAULTS.items() for value in values]
)
def test_each_fault_is_found_and_named(folder, key, value):
    records = json.loads((folder / "preference_train.json").read_text())
    records[1][key] = value
    [(row, fault)] = hpd_checks.validate(records, folder)
    assert row == 1 and (key.split("_")[-1] in fault or "picture" in fault)


def test_missing_keys_and_foreign_rows(folder):
    records = json.loads((folder / "preference_train.json").read_text())
    for key in set(hpd.KEYS) - set(hpd_checks.OPTIONAL):
        assert hpd_checks.validate([{k: v for k, v in records[0].items() if k != key}], folder) == [
            (0, f"no {key}")
        ]
    assert [row for row, _ in hpd_checks.validate([None, [], records[0]], folder)] == [0, 1]
    assert hpd_checks.validate([records[0] | {"extra": 1}], folder) == []


def test_reading_lists_the_first_faults(folder):
    records = json.loads((folder / "preference_train.json").read_text()) * 3
    (folder / "preference_train.json").write_text(json.dumps(records))
    with pytest.raises(Problem, match="6 faulty rows of 9") as caught:
        hpd.read_choices(folder, "train")
    assert "row 3: id 0 stands in row 0 too" in str(caught.value) and "row 6" not in str(
        caught.value
    )


@pytest.mark.parametrize("text", ["", "[", "{}", "3", "\x00"])
def test_a_damaged_list_is_a_problem(folder, text):
    (folder / "preference_test.json").write_text(text)
    with pytest.raises(Problem, match="preference_test.json cannot be read"):
        hpd.read_choices(folder, "test")


def test_absent_and_misspelt_parts(folder):
    with pytest.raises(Problem, match="preference_train_grouped.json cannot be read"):
        hpd.read_choices(folder, "train", "grouped")
    for part, split in (("validation", "random"), ("train", "user")):
        with pytest.raises(Problem, match="no such part"):
            hpd.read_choices(folder, part, split)


def test_positions_by_hand():
    table = rows(["x"] * 3)
    table["file_path"] = [["a"] * 4, ["a"] * 4, ["a"] * 2]
    table["human_preference"] = [3, 3, 1]
    found = hpd.positions(table)
    assert (
        found["share"].tolist() == [0, 0, 0, 1]
        and found["n"].tolist() == [2] * 4
        and found["high"].iloc[3] == 1
    )


@pytest.mark.parametrize(
    ("shape", "count"), [((8, 8), 4), ((2, 16), 4), ((16, 2), 4), ((4, 8), 2), ((8, 4), 2)]
)
def test_a_grid_is_cut_into_its_pictures(tmp_path, shape, count):
    cells = [np.full((4, 4, 3), 60 * k, dtype=np.uint8) for k in range(count)]
    across = {(8, 8): 2, (2, 16): 4, (16, 2): 1, (4, 8): 2, (8, 4): 1}[shape]
    save_png(
        tmp_path / "grid.png",
        np.vstack([np.hstack(cells[i : i + across]) for i in range(0, count, across)]),
    )
    files = tuple(File("grid.png", "grid.png", tmp_path, (k, count)) for k in range(count))
    rows, _, left = hpd.write_pictures([Choice("1", "", "a cat", files, 0)], tmp_path / "hpd")
    found = [read_image(tmp_path / "hpd" / path) for path in rows["file_path"][0]]
    assert not left and [image.shape for image in found] == [(4, 4, 3)] * count
    assert [round(image.mean() / 60) for image in found] == list(range(count))


def test_pictures_that_were_only_linked_have_a_reason_of_their_own(tmp_path):
    files = tuple(
        File(name, f"https://cdn.example/{name}", tmp_path) for name in ("a.png", "b.png")
    )
    assert hpd.write_pictures([Choice("1", "", "a cat", files, 0)], tmp_path / "hpd")[2] == {
        images.LINKED: 1
    }
