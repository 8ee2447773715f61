"""The one reader of text files: encodings, JSON, listings, and what is not a file."""

import gzip
import json
import os
import subprocess

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


WESTERN = [
    "une maison \xe0 c\xf4t\xe9",
    "gr\xf6\xdfe",
    "cora\xe7\xe3o, n\xe3o",
    "\u201ccaf\xe9\u201d",
]


@pytest.mark.parametrize("text", WESTERN)
def test_western_text_is_told(tmp_path, text):
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    with pytest.raises(Problem, match="(?s)WINDOWS-1252.*CP1250"):
        reading.read_text(tmp_path / "a.txt")


OTHERS = {
    "CP932": "\u8d64\u3044\u5bb6\u3068\u732b",
    "EUC-JP": "\u8d64\u3044\u5bb6\u3068\u732b",
    "GB18030": "\u7ea2\u8272\u7684\u623f\u5b50",
    "CP950": "\u7d05\u8272\u7684\u623f\u5b50",
    "CP949": "\ube68\uac04 \uc9d1",
    "CP1251": "\u043a\u0440\u0430\u0441\u043d\u044b\u0439 \u0434\u043e\u043c",
    "CP1250": "za\u017c\xf3\u0142\u0107 g\u0119\u015bl\u0105",
    "MACINTOSH": "une maison \xe0 c\xf4t\xe9",
}


@pytest.mark.parametrize(("encoding", "text"), OTHERS.items())
def test_an_encoding_that_bytes_do_not_tell_is_left_to_the_reader(tmp_path, encoding, text):
    file = tmp_path / "it's a.txt"
    file.write_bytes(b"a cat\n" + f"{text}, 1\n".encode(encoding))
    with pytest.raises(Problem, match=encoding) as caught:
        reading.read_text(file)
    assert "WINDOWS-1252" not in str(caught.value) and "in line 2" in caught.value.found
    look = caught.value.fix.partition("letters: ")[2].partition(" and then")[0]
    seen = subprocess.run(look, shell=True, capture_output=True, check=True).stdout
    assert f"{encoding}\n{text}, 1\n" in seen.decode("utf-8", "replace")


def test_an_encoding_is_told_by_the_line_that_holds_the_byte(tmp_path):
    russian = OTHERS["CP1251"].encode("CP1251")
    (tmp_path / "a.txt").write_bytes(b"a cat\n" * 20_000 + russian)
    with pytest.raises(Problem, match=r"(?s)in line 20001\).*CP1251"):
        reading.read_text(tmp_path / "a.txt")


def test_the_named_byte_is_the_first_wrong_byte_also_behind_a_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "caf\xe9".encode("cp1252"))
    with pytest.raises(Problem, match="byte 0xe9"):
        reading.read_text(tmp_path / "a.txt")


def test_text_in_utf8_that_was_cut_off_is_damaged_and_in_no_other_encoding(tmp_path):
    (tmp_path / "a.txt").write_bytes((OTHERS["CP932"] * 5).encode()[:-1])
    with pytest.raises(Problem, match="(?s)is damaged.*cut off.*mend line 1"):
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


def test_a_listing_follows_links_to_folders_and_lists_each_folder_once(tmp_path):
    for name in ("tree/a.png", "tree/deep/b.png", "far/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    tree = tmp_path / "tree"
    (tree / "linked").symlink_to(tmp_path / "far")
    (tree / "again").symlink_to(tmp_path / "far")
    (tree / "deep" / "up").symlink_to(tree)
    (tmp_path / "far" / "back").symlink_to(tree)
    files = reading.listed(tree, ".png", deep=True)
    assert [file.relative_to(tree).as_posix() for file in files] == [
        "a.png",
        "again/c.png",
        "deep/b.png",
    ]


def test_a_link_to_a_file_that_is_not_there_is_listed_on_demand_and_named(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").symlink_to("../blobs/5f")
    (tmp_path / "c.json").symlink_to("c.json")
    assert [file.name for file in reading.listed(tmp_path, ".json")] == ["a.json"]
    names = [file.name for file in reading.listed(tmp_path, ".json", lost=True)]
    assert names == ["a.json", "b.json", "c.json"]
    with pytest.raises(Problem, match=r"(?s)b\.json cannot.*a link to a file.*blobs.*cp -rL"):
        reading.read_json(tmp_path / "b.json")


def test_a_packed_file_counts_where_no_unpacked_file_stands_beside(tmp_path):
    for name in ("a.tar", "a.tar.gz", "b.TAR.GZ", "c.tgz", "d.tgz", "d.tar", "e.gz", "f.tar.zip"):
        (tmp_path / name).write_text("x")
    packed = reading.packed_alone(tmp_path, ".tar")
    assert [file.name for file in packed] == ["b.TAR.GZ", "c.tgz", "f.tar.zip"]
    (tmp_path / "it's.json.gz").write_bytes(gzip.compress(b"{}"))
    (packed,) = reading.packed_alone(tmp_path, ".json")
    subprocess.run(reading.unpacking(packed), shell=True, check=True)
    assert reading.read_json(tmp_path / "it's.json") == {}


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
