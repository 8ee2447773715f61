import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsd.atomic import made, read_table, remove_folder, replacing, write_json, write_table
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


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(Problem, match=r"(?s)a\.json cannot be written.*MiB are free.*is full"):
        with replacing(path) as part:
            part.write_text("half")
            raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="input"), replacing(tmp_path / "a.txt"):
        raise FileNotFoundError(errno.ENOENT, "no input")


def test_what_lies_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    for name, words in (("link", "dangling link"), ("file", "is a file, not a folder")):
        for write in (made, lambda folder: write_json(folder / "deep" / "a.json", {})):
            with pytest.raises(Problem, match=words):
                write(tmp_path / name)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(Problem, match="is a folder, not a file"):
        write_json(tmp_path / "folder.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.json", "link"]


def test_a_read_only_disk_is_told_with_another_place(tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Problem, match="(?s)Read-only file system.*read-only disk.*ALIGNSD_OUTPUT"):
        made(tmp_path / "runs" / "mini")


def test_long_names_have_short_temporary_ones(tmp_path):
    path = tmp_path / ("x" * 240 + ".json")
    write_json(path, 1)
    assert path.read_text() == "1\n"
    for name in ("x" * 300 + ".json", "é" * 200):
        with pytest.raises(Problem, match="cannot be written"):
            write_json(tmp_path / name, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_no_file_can_hold_is_told(tmp_path):
    endless: list = []
    endless.append(endless)
    for value, words in (("\ud800", "surrogate"), (endless, "could not be written")):
        with pytest.raises(Problem, match=words):
            write_json(tmp_path / "a.json", value)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_emptied(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "kept.txt").write_text("x")
    (tmp_path / "stage").symlink_to(tmp_path / "shared")
    with pytest.raises(Problem, match="(?s)is a link.*keeps the folder that it leads to"):
        remove_folder(tmp_path / "stage")
    assert (tmp_path / "stage" / "kept.txt").exists()
    remove_folder(tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
