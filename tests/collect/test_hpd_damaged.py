"""HPD folders of other people: missing parts, damaged lists, ties, keys that nobody needs."""

import json

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import hpd, hpd_checks, hpd_v2, privacy, splits


def row(number, **change):
    return {
        "human_preference": number % 2,
        "prompt": f"prompt {number}",
        "id": number,
        "file_path": [hpd.image_path(number, k) for k in range(2)],
        "user_hash": "0" * 64,
        "contain_name": False,
    } | change


@pytest.fixture
def release(tmp_path):
    """Write an HPD v1 of 6 train and 4 test choices, and return its folder."""
    for number in range(10):
        for k in range(2):
            save_png(tmp_path / hpd.image_path(number, k), np.zeros((4, 4, 3), np.uint8))
    write(tmp_path, "train", [row(number) for number in range(6)])
    write(tmp_path, "test", [row(number) for number in range(6, 10)])
    return tmp_path


def write(folder, part, rows):
    (folder / f"preference_{part}.json").write_text(json.dumps(rows))


# --- parts and pictures that are not there ---


def test_missing_pictures_are_counted(release):
    for number in range(3):
        (release / hpd.image_path(number, 1)).unlink()
    with pytest.raises(
        hpd_checks.Incomplete,
        match=r"(?s)3 faulty rows of 6.*3 of 12 pictures are missing; row 0: no picture",
    ):
        hpd.read_choices(release, "train")
    assert len(hpd.read_choices(release, "test")) == 4


def test_a_missing_folder_of_pictures_is_named(release):
    (release / "preference_images").rename(release / "pictures")
    with pytest.raises(
        hpd_checks.Incomplete,
        match=r"(?s)8 of 8 pictures are missing, there is no folder preference_images.*unpack",
    ):
        hpd.read_choices(release, "test")


def test_a_missing_folder_is_not_called_a_damaged_file(tmp_path):
    with pytest.raises(hpd_checks.Incomplete, match="(?s)no folder .*absent.*data=FOLDER"):
        hpd.read_choices(tmp_path / "absent", "train")


@pytest.mark.parametrize("gone", ["the list", "the pictures"])
def test_the_test_part_alone_is_read_and_the_train_part_left_aside(release, gone, capsys):
    """If it failed, released weights could not be evaluated without the train part."""
    if gone == "the list":
        (release / "preference_train.json").unlink()
    else:
        for number in range(6):
            (release / hpd.image_path(number, 0)).unlink()
    train = hpd.read_choices(release, "train", needed=False)
    test = hpd.read_choices(release, "test")
    assert len(train) == 0 and list(train) == list(hpd.KEYS) and len(test) == 4
    assert "The train part is left aside" in capsys.readouterr().out
    assert splits.prompt_leak(train, test)["leaked"] == 0
    with pytest.raises(hpd_checks.Incomplete):
        hpd.read_choices(release, "train")


def test_a_part_that_is_damaged_is_told_even_if_nobody_needs_it(release):
    write(release, "train", [row(0), row(1, prompt="")])
    with pytest.raises(Problem, match="the prompt is empty"):
        hpd.read_choices(release, "train", needed=False)
    assert len(hpd.read_choices(release, "test", needed=False)) == 4


def test_a_split_by_prompt_needs_both_parts(release):
    assert len(hpd.read_choices(release, "train", "grouped")) == 6
    (release / "preference_train.json").unlink()
    with pytest.raises(hpd_checks.Incomplete, match="not both random parts"):
        hpd.read_choices(release, "test", "grouped")


def test_parts_that_share_ids_are_not_joined(release):
    write(release, "test", [row(number) for number in range(4)])
    with pytest.raises(Problem, match="(?s)4 ids in both parts, such as 0"):
        hpd.read_choices(release, "test", "grouped")


# --- lists ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[]", "an empty list, no choice"),
        (b"{}", "JSON, but an object"),
        (b"null", "JSON, but null"),
        (b"[{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"<!DOCTYPE html><html>", "a web page was saved"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ('["caf\xe9"]'.encode("cp1252"), "another encoding.*WINDOWS-1252.*UTF-8"),
        ("[]".encode("utf-16"), "another encoding.*UTF-16"),
        (b"[" + b"9" * 5000 + b"]", "too many digits"),
    ],
)
def test_a_list_that_cannot_be_read_is_told_with_the_true_cause(release, content, words):
    (release / "preference_test.json").write_bytes(content)
    with pytest.raises(Problem, match=f"(?s)preference_test.json cannot be read.*{words}"):
        hpd.read_choices(release, "test")


def test_a_byte_order_mark_is_passed_over(release):
    path = release / "preference_test.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(hpd.read_choices(release, "test")) == 4


# --- rows ---


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt": "half \ud800 a character"}, "lone surrogate"),
        ({"id": 10**30}, "more than 64 bits"),
        ({"id": 2**63}, "more than 64 bits"),
        ({"human_preference": 10**400}, "more than 20 digits"),
        ({"human_preference": float("nan")}, "human_preference is float"),
        ({"file_path": ["a\0b.jpg", "b.jpg"]}, "no picture"),
        ({"file_path": ["x" * 5000, "b.jpg"]}, "no picture x"),
        ({"file_path": ["\ud800.jpg", "b.jpg"]}, "no picture"),
        ({"file_path": ["/etc/passwd", "/etc/hosts"]}, "no picture /etc/passwd"),
        ({"file_path": ["preference_images", "."]}, "no picture"),
        ({"file_path": ["a.jpg", "./a.jpg"]}, "one picture named twice"),
    ],
)
def test_impossible_values_are_faults(release, change, fault):
    write(release, "train", [row(0), row(1, **change)])
    with pytest.raises(Problem, match=f"(?s)1 faulty rows of 2.*row 1: .*{fault}") as told:
        hpd.read_choices(release, "train")
    assert len(str(told.value)) < 1500 and str(told.value).encode()


def test_rows_with_one_picture_twice_are_listed_to_be_taken_out(release):
    name = hpd.image_path(1, 0)
    write(release, "train", [row(0), row(1, file_path=[name, name])])
    with pytest.raises(Problem, match="take the rows with one picture twice out of .*: 1"):
        hpd.read_choices(release, "train")


@pytest.mark.parametrize("user", [None, 5, "", ["a"], "\ud800", "absent"])
@pytest.mark.parametrize("named", [None, 0, "no", "absent", True])
def test_keys_that_no_computation_needs_refuse_no_file(release, user, named):
    record = row(0)
    for key, value in (("user_hash", user), ("contain_name", named)):
        record[key] = value
        if value == "absent":
            del record[key]
    write(release, "train", [record, row(1)])
    read = hpd.read_choices(release, "train")
    assert read["user_hash"].tolist() == ["", "0" * 64]
    assert read["contain_name"].tolist() == [True if named is True else None, False]


# --- HPD v2 ---


def test_flags_that_are_not_known_measure_no_list_of_names(release):
    write(release, "train", [row(0), {k: v for k, v in row(1).items() if k != "contain_name"}])
    with pytest.raises(Problem, match="(?s)cannot be compared.*1 of 2 rows"):
        privacy.name_quality(hpd.read_choices(release, "train"), ["ada"])


@pytest.fixture
def ranked(tmp_path):
    """Return what writes an HPD v2 test part of three pictures from rows."""
    for k in range(3):
        save_png(tmp_path / "test" / f"{k}.png", np.zeros((4, 4, 3), np.uint8))

    def written(rows, part="test"):
        (tmp_path / f"{part}.json").write_text(json.dumps(rows))
        return tmp_path

    return written


V2 = {"prompt": "a", "image_path": ["0.png", "1.png", "2.png"], "rank": [1, 2, 2]}
PAIR = {"prompt": "a", "file_path": ["0.png", "1.png"], "human_preference": [0, 1]}


def test_a_tie_is_called_a_tie(ranked):
    folder = ranked([V2, V2 | {"rank": [1, 1, 2]}, V2, V2 | {"rank": [3, 2, 2]}])
    with pytest.raises(
        Problem, match=r"(?s)2 faulty rows of 4.*share the best place.*: 1, 3$"
    ) as told:
        hpd.read_choices(folder, "test")
    assert "interrupted" not in told.value.cause
    assert len(hpd.read_choices(ranked([V2] * 4), "test")) == 4


@pytest.mark.parametrize(
    "marks", [[1, 1], [0, 0], [2, -1], [1, 5], [True, False], [1.0, 0.0], [10**30, 1]]
)
def test_pairs_have_one_1_and_one_0(ranked, marks):
    folder = ranked([PAIR | {"human_preference": marks}], "train")
    with pytest.raises(Problem, match="1 faulty rows of 1"):
        hpd.read_choices(folder, "train")


def test_missing_pictures_of_v2_are_counted(ranked):
    folder = ranked([V2, V2 | {"image_path": ["0.png", "8.png", "9.png"]}])
    with pytest.raises(hpd_checks.Incomplete, match="2 of 5 pictures are missing"):
        hpd.read_choices(folder, "test")


def test_more_images_than_a_model_takes_at_once_are_a_fault(ranked):
    """If it failed, one row of 1,000 pictures would fill the memory or run for minutes."""
    many = V2 | {"image_path": ["0.png"] * 1000, "rank": list(range(1000))}
    with pytest.raises(Problem, match=f"at most {hpd_v2.MOST_IMAGES} images"):
        hpd.read_choices(ranked([many]), "test")


def test_pictures_behind_a_linked_folder_are_found(ranked, tmp_path):
    folder = ranked([V2 | {"image_path": ["more/0.png", "1.png", "./2.png"]}])
    (tmp_path / "elsewhere").mkdir()
    (folder / "test/0.png").rename(tmp_path / "elsewhere/0.png")
    (folder / "test/more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert hpd.read_choices(folder, "test")["file_path"][0][0] == "test/more/0.png"


def test_an_empty_release_is_refused_where_it_enters(ranked):
    folder = ranked([])
    with pytest.raises(Problem, match="an empty list"):
        hpd.read_choices(folder, "test")
    ranked([], "train")
    with pytest.raises(Problem, match="an empty list"):
        hpd.read_choices(folder, "train", "grouped")


def test_what_we_write_is_what_we_read(release):
    """Bytes of both: a data set of the miniature must not change on its way."""
    before = (release / "preference_train.json").read_text()
    read = hpd.read_choices(release, "train")
    assert read["contain_name"].dtype == bool and pd.api.types.is_integer_dtype(read["id"])
    assert json.loads(before) == read.to_dict("records")
    again = hpd.write_choices(read, release / "again", "train")
    assert again.read_text() == json.dumps(json.loads(before), indent=2) + "\n"
