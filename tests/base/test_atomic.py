import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsd.base.atomic import made, remove_folder, replacing, sweep, write_json
from alignsd.base.errors import Problem
from alignsd.kit.tables import read_table, write_table


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


def test_processes_of_one_run_write_under_different_names(tmp_path, monkeypatch):
    """Two machines may give their processes the same id."""
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    with replacing(tmp_path / "a.json") as first:
        monkeypatch.setenv("RANK", "1")
        with replacing(tmp_path / "a.json") as second:
            assert first != second
            first.write_text("0")
            second.write_text("1")
            assert sweep(tmp_path) == []
        monkeypatch.setenv("RANK", "0")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_takes_numpy_and_refuses_what_is_not_finite(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": np.int64(3), "x": np.float32(0.5), "list": np.arange(2), "ü": None})
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written == {"n": 3, "x": 0.5, "list": [0, 1], "ü": None}
    for bad in (float("nan"), np.float64("inf"), {1, 2}):
        with pytest.raises(Problem, match=r"a\.json could not be written"):
            write_json(path, {"bad": bad})
    assert json.loads(path.read_text(encoding="utf-8"))["n"] == 3


def test_table_comes_back(tmp_path):
    table = pd.DataFrame({"id": [3, 1], "names": [["a", "b"], []]}, index=[5, 6])
    write_table(tmp_path / "t.parquet", table)
    back = pd.read_parquet(tmp_path / "t.parquet")
    assert back["id"].tolist() == [3, 1]
    assert list(back["names"][0]) == ["a", "b"]
    assert back.index.tolist() == [0, 1]


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


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_temporary_files_of_dead_processes_are_swept(tmp_path, dead):
    names = [
        f".part-000003.{dead}.part.zip",
        f"deep/er/.a b.{dead}.part.png",
        f".no_suffix.{dead}.part",
        f".x.y.{dead}.part.tar.gz",
        f".huge.{10**30}.part.txt",
        f".line\nbreak.{dead}.part.txt",
    ]
    kept = [
        f".living.{os.getpid()}.part.zip",
        "part-000003.zip",
        f"visible.{dead}.part.zip",
        ".hidden",
        f".a.{dead}.parts.zip",
        ".a.part.zip",
        f".a.{dead}x.part.zip",
        "deep/b.txt",
    ]
    for name in names + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(sweep(tmp_path, deep=False)) == len(names) - 1
    assert [path.relative_to(tmp_path).as_posix() for path in sweep(tmp_path)] == [names[1]]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).as_posix() for path in left} == set(kept)
    assert sweep(tmp_path) == [] and sweep(tmp_path / "none") == []


def test_a_process_number_that_was_used_again_protects_no_file(tmp_path):
    path = tmp_path / f".a.{os.getpid()}.part.zip"
    path.write_text("x")
    os.utime(path, (0, 0))  # long before this process began
    assert sweep(tmp_path) == [path]


def test_what_lies_behind_a_link_is_not_swept(tmp_path, dead):
    other = tmp_path / "other" / f".a.{dead}.part.zip"
    other.parent.mkdir()
    other.write_text("x")
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "link").symlink_to(other.parent)
    assert sweep(tmp_path / "stage") == [] and other.exists()


def test_a_killed_writer_leaves_what_is_swept(tmp_path):
    code = (
        "import os, sys; from alignsd.base.atomic import replacing\n"
        "with replacing(sys.argv[1]) as part: part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.zip")])
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
