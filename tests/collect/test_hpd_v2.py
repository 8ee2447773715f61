"""HPD v2 becomes HPD v1's table, or says which rows cannot."""

import json

import pytest

from alignsd.base.errors import Problem
from alignsd.collect import hpd
from alignsd.collect.splits import same_prompt

PAIR = {"prompt": "a cat", "file_path": ["1.jpg", "2.jpg"], "human_preference": [0, 1]}
RANKED = {
    "prompt": "a dog",
    "image_path": ["3.jpg", "4.jpg", "5.jpg"],
    "rank": [2, 3, 1],
    "raw_annotations": [[0, 1, 2]],
}


@pytest.fixture
def release(tmp_path):
    """Writes a small HPD v2 and returns its folder."""

    def write(train=(PAIR,), test=(RANKED,)):
        for part, names in (("train", ("1.jpg", "2.jpg")), ("test", ("3.jpg", "4.jpg", "5.jpg"))):
            (tmp_path / part).mkdir()
            for name in names:
                (tmp_path / part / name).write_bytes(b"")
        for part, rows in (("train", train), ("test", test)):
            (tmp_path / f"{part}.json").write_text(json.dumps(list(rows)))
        return tmp_path

    return write


def test_pairs_and_rankings_are_read(release):
    folder = release()
    pair, ranked = (hpd.read_choices(folder, part).iloc[0] for part in ("train", "test"))
    assert pair["human_preference"] == 1 and pair["file_path"] == ["train/1.jpg", "train/2.jpg"]
    assert (
        ranked["human_preference"] == 2
        and ranked["prompt"] == "a dog"
        and len(ranked["file_path"]) == 3
    )
    assert pair["id"] != ranked["id"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"human_preference": [1, 1]}, "one best image"),
        ({"human_preference": [1]}, "one whole number per image"),
        ({"human_preference": [0.5, 0.5]}, "one whole number"),
        ({"file_path": ["1.jpg", "absent.jpg"]}, "no picture absent.jpg"),
        ({"file_path": ["1.jpg", "../1.jpg"]}, "no picture"),
        ({"file_path": ["1.jpg", "1.jpg"]}, "one picture named twice"),
        ({"file_path": ["1.jpg", "./1.jpg"]}, "one picture named twice"),
        ({"prompt": None}, "no prompt"),
        ({"file_path": "1.jpg"}, "two file names"),
    ],
)
def test_each_fault_is_told_with_its_row(release, change, fault):
    with pytest.raises(Problem, match=f"row 1: .*{fault}"):
        hpd.read_choices(release(train=(PAIR, PAIR | change)), "train")


def test_ties_at_the_top_are_faults_and_ties_below_are_not(release):
    folder = release(test=(RANKED | {"rank": [2, 2, 1]}, RANKED | {"rank": [1, 2, 1]}))
    with pytest.raises(Problem, match="1 faulty rows of 2"):
        hpd.read_choices(folder, "test")


def test_a_release_is_regrouped_by_prompt(release):
    folder = release(
        train=[PAIR | {"prompt": f"prompt {i // 2}"} for i in range(20)],
        test=[RANKED | {"prompt": f"prompt {i}"} for i in range(8)],
    )
    train, test = (hpd.read_choices(folder, part, "grouped") for part in ("train", "test"))
    assert len(train) + len(test) == 28 and 0 < len(test) <= 8
    assert not set(train["prompt"].map(same_prompt)) & set(test["prompt"].map(same_prompt))
    assert hpd.read_choices(folder, "test", "grouped").equals(test)
