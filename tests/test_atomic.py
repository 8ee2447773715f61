import json

import numpy as np
import pandas as pd
import pytest

from alignsd.atomic import read_table, replacing, write_json, write_table
from alignsd.errors import Problem


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with replacing(path) as part:
        assert part.suffix == ".txt" and part.parent == path.parent
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_json_takes_numpy_and_refuses_what_is_not_finite(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": np.int64(3), "x": np.float32(0.5), "list": np.arange(2), "ü": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"n": 3, "x": 0.5, "list": [0, 1], "ü": None}
    for bad in (float("nan"), np.float64("inf"), {1, 2}):
        with pytest.raises(Problem, match=r"a\.json could not be written"):
            write_json(path, {"bad": bad})
    assert json.loads(path.read_text(encoding="utf-8"))["n"] == 3


def test_table_comes_back(tmp_path):
    table = pd.DataFrame({"id": [3, 1], "names": [["a", "b"], []]}, index=[5, 6])
    write_table(tmp_path / "t.parquet", table)
    back = pd.read_parquet(tmp_path / "t.parquet")
    assert back["id"].tolist() == [3, 1] and list(back["names"][0]) == ["a", "b"] and back.index.tolist() == [0, 1]


def test_a_table_that_cannot_be_read_gives_a_reason(tmp_path):
    write_table(tmp_path / "a.parquet", pd.DataFrame({"id": [1]}))
    assert list(read_table(tmp_path / "a.parquet", ["id"])["id"]) == [1]
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    for name, columns in (("a", ["id", "prompt"]), ("b", None), ("c", None)):
        with pytest.raises(Problem, match=f"{name}.parquet cannot be read"):
            read_table(tmp_path / f"{name}.parquet", columns)
