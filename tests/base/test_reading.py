"""The one reader of text files: encodings, JSON, listings, and what is not a file."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignsd.base import reading
from alignsd.base.errors import Problem


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa cat\r\na dog\r\n")
    assert reading.read_lines(tmp_path / "a.txt") == ["a cat", "a dog"]


def test_only_line_ends_end_a_line(tmp_path):
    (tmp_path / "a.txt").write_text("a cat\u2028b\x0bc\nd", encoding="utf-8")
    assert reading.read_lines(tmp_path / "a.txt") == ["a cat\u2028b\x0bc", "d"]


ENCODINGS = {
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
    "utf-32": "UTF-32",
    "cp1252": "WINDOWS-1252",
}


@pytest.mark.parametrize(("encoding", "named"), ENCODINGS.items())
def test_another_encoding_is_named(tmp_path, encoding, named):
    (tmp_path / "a.txt").write_bytes("caf\xe9 au lait\n".encode(encoding))
    with pytest.raises(Problem, match=f"(?s)UTF-8.*{named}"):
        reading.read_text(tmp_path / "a.txt")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n\x1a\n\x01\x02\xff")
    with pytest.raises(Problem, match="is not text"):
        reading.read_text(tmp_path / "a.txt")


DAMAGED = {
    "": "empty",
    "<html></html>": "web page",
    "version https://git-lfs.github.com/spec/v1": "LFS",
    "[" * 100_000: "deep",
    "1" * 5000: "digits",
    '{"a": 1': "cut off",
    "<<<<<<< HEAD\n{}": "merge",
}


@pytest.mark.parametrize(("text", "words"), DAMAGED.items(), ids=DAMAGED.values())
def test_damaged_json_names_its_cause(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(Problem, match=words):
        reading.read_json(tmp_path / "a.json")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    messages = {".": "folder", "pipe": "pipe", "none": "no such", "a\0b": "null"}
    messages["x" * 5000] = "long"
    for name, words in messages.items():
        with pytest.raises(Problem, match=words):
            reading.read_bytes(tmp_path / name)


def test_too_large_a_file_is_refused_unread(tmp_path):
    with open(tmp_path / "sparse.json", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(Problem, match="too large"):
        reading.read_json(tmp_path / "sparse.json")


def test_listing_skips_what_systems_put_there_and_counts_naturally(tmp_path):
    ours = ("p10.json", "p2.json", "p1.JSON", "deep/p5.json")
    foreign = ("._p1.json", ".p3.json", "Thumbs.db", "__MACOSX/p4.json")
    for name in ours + foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "p6.json").mkdir()
    assert [f.name for f in reading.listed(tmp_path, ".json")] == ["p1.JSON", "p2.json", "p10.json"]
    assert [f.name for f in reading.listed(tmp_path, ".json", deep=True)][0] == "p5.json"


def test_lines_of_json_are_counted_where_they_are_damaged(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": \n[2]\n')
    rows = list(reading.read_json_lines(tmp_path / "a.jsonl"))
    assert [number for number, _ in rows] == [1, 3, 4]
    assert rows[0][1] == {"a": 1} and isinstance(rows[1][1], Problem) and rows[2][1] == [2]


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_problem(content):
    try:
        value = reading.parse_json(content, "x.json")
    except Problem:
        return
    assert json.dumps(value) is not None
