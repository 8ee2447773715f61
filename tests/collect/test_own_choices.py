"""A table of one's own becomes a data set that the notebooks read, and what cannot is counted."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import hpd, own_choices


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for i in range(4):
        save_png(folder / f"{i}.png", np.full((8, 8, 3), 40 * i, dtype=np.uint8))
    (folder / "damaged.png").write_bytes(b"not a picture")
    return folder


def rows(n=10, **change):
    return [
        {"prompt": f"prompt {i}", "images": "0.png;1.png;2.png", "choice": 1} | change
        for i in range(n)
    ]


def test_choices_by_index_and_by_name_are_the_same_data_set(images, tmp_path):
    for name, choice in (("index", 1), ("name", "1.png")):
        assert own_choices.import_choices(
            pd.DataFrame(rows(choice=choice)), images, tmp_path / name
        ) == {"choices": 10}
    a, b = (hpd.read_choices(tmp_path / name, "train", "grouped") for name in ("index", "name"))
    assert a.equals(b) and (a["human_preference"] == 1).all() and len(a) == 8


def test_what_cannot_be_used_is_counted_by_reason(images, tmp_path):
    table = pd.DataFrame(
        [
            *rows(),
            *rows(1, choice=3),
            *rows(2, prompt=" "),
            *rows(1, images="0.png"),
            *rows(1, images="0.png;absent.png"),
            *rows(1, images="0.png;damaged.png"),
            *rows(1, choice="absent.png"),
        ]
    )
    counts = own_choices.import_choices(table, images, tmp_path / "out")
    assert (
        counts["choices"] == 10
        and counts["the choice is none of the images"] == 2
        and counts["no prompt"] == 2
    )
    assert counts["not two to four images"] == 1 and sum(counts.values()) == len(table)


def test_users_are_hashed_with_a_key_that_stays(images, tmp_path):
    table = pd.DataFrame([row | {"user": f"ann{i % 2}"} for i, row in enumerate(rows())])
    own_choices.import_choices(table, images, tmp_path / "out")
    users = hpd.read_choices(tmp_path / "out", "train")["user_hash"]
    assert users.nunique() == 2 and users.map(len).eq(64).all() and (images / "user.key").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_kind_of_table_is_read_alike(images, tmp_path, suffix):
    table, path = pd.DataFrame(rows(choice="1.png")), tmp_path / f"table.{suffix}"
    {
        "csv": lambda: table.to_csv(path, index=False),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "parquet": lambda: table.to_parquet(path),
    }[suffix]()
    assert own_choices.import_choices(
        own_choices.read_choices_table(path), images, tmp_path / "out"
    ) == {"choices": 10}


def test_a_table_without_the_columns_or_of_another_kind_is_told(images, tmp_path):
    with pytest.raises(Problem, match="no choice"):
        own_choices.import_choices(pd.DataFrame({"prompt": [], "images": []}), images, tmp_path)
    with pytest.raises(Problem, match=r"\.csv, \.parquet, \.jsonl"):
        own_choices.read_choices_table(tmp_path / "table.xlsx")
    (tmp_path / "table.parquet").write_bytes(b"cut off")
    with pytest.raises(Problem, match="cannot be read as a table"):
        own_choices.read_choices_table(tmp_path / "table.parquet")
