"""Hostile and damaged shards, zips and imagefolders: our own error or rows that are right.

No file is written outside the folder.
"""

import io
import json
import os
import struct
import tarfile
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alignsd import sources
from alignsd.adapt import webshards
from alignsd.adapt.regularization import Rater, Wanted, regularization_pictures
from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, read_image, save_png
from alignsd.select import diffusiondb, imagefolder, rule
from alignsd.select import fetch as db
from alignsd.select.picks import picks

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)
NFC, NFD = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))
PART = "part-000001"


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, members, kind=tarfile.REGTYPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "/etc/hostname"
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked(folder: Path, *shards) -> tuple[dict, list[tuple[str, str, int]]]:
    """Returns the counts, and (file, caption, red of the picture) of each line."""
    for number, members in enumerate(shards):
        tar(folder / "in" / f"{number:05d}.tar", members)
    counts = webshards.unpack_shards(folder / "in", folder / "out")
    lines = [
        json.loads(line)
        for line in (folder / "out" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    rows = [
        (row["file_name"], row["text"], int(read_image(folder / "out" / row["file_name"])[0, 0, 0]))
        for row in lines
    ]
    return dict(counts), rows


def pair(key: str, value: int) -> list[tuple[str, bytes]]:
    return [(f"{key}.png", png(value)), (f"{key}.txt", f"text {value}".encode())]


# ---------------------------------------------------------------- shards


def test_files_of_operating_systems_are_passed_over(tmp_path):
    members = [
        ("._000.png", APPLE),
        *pair("000", 1)[:1],
        ("._000.txt", APPLE),
        *pair("000", 1)[1:],
        ("__MACOSX/._000.png", APPLE),
        ("__MACOSX/001.png", png(9)),
        ("Thumbs.db", b"x"),
        (".DS_Store", b"x"),
        ("desktop.ini", b"x"),
        *pair("001", 2),
    ]
    counts, rows = unpacked(tmp_path, members)
    assert counts == {"unpacked": 2}
    assert rows == [("00000/000.png", "text 1", 1), ("00000/001.png", "text 2", 2)]


def test_hidden_files_beside_the_shards_are_no_shards(tmp_path):
    tar(tmp_path / "in" / "00000.tar", pair("000", 1))
    (tmp_path / "in" / "._00000.tar").write_bytes(APPLE)
    (tmp_path / "in" / "00001.tar").mkdir()
    assert webshards.unpack_shards(tmp_path / "in", tmp_path / "out") == {"unpacked": 1}


def test_samples_of_one_name_in_two_folders_stay_apart(tmp_path):
    counts, rows = unpacked(
        tmp_path,
        [*pair("a/0", 1), *pair("b/0", 2), *pair("./c//0", 3), *pair("/d/0", 4), *pair("e\\0", 5)],
    )
    assert counts == {"unpacked": 5}
    assert [name for name, _, _ in rows] == [f"00000/{folder}/0.png" for folder in "abcde"]
    assert [(text, red) for _, text, red in rows] == [(f"text {i}", i) for i in range(1, 6)]


def test_of_two_samples_of_one_name_the_first_counts(tmp_path):
    counts, rows = unpacked(tmp_path, [*pair("0", 1), *pair("x", 2), *pair("0", 3), *pair("0", 4)])
    assert rows == [("00000/0.png", "text 1", 1), ("00000/x.png", "text 2", 2)]
    assert counts == {"unpacked": 2, webshards.NAME_IN_USE: 4}


def test_two_files_of_one_name_and_two_pictures_in_a_sample(tmp_path):
    members = [
        ("0.png", png(1)),
        ("0.PNG", png(2)),
        ("0.txt", b"one"),
        ("0.txt", b"two"),
        ("1.png", png(3)),
        ("1.jpg", png(4)),
        ("1.txt", b"three"),
    ]
    counts, rows = unpacked(tmp_path, members)
    assert rows == [("00000/0.png", "one", 1), ("00000/1.jpg", "three", 4)]
    assert counts == {"unpacked": 2, webshards.NAME_IN_USE: 2, "further picture of a sample": 1}


def test_accents_of_two_systems_are_one_name(tmp_path):
    counts, rows = unpacked(tmp_path, [(f"{NFD}.png", png(1)), (f"{NFC}.txt", b"x"), *pair("y", 2)])
    assert counts == {"unpacked": 2} and rows[0] == (f"00000/{NFC}.png", "x", 1)


def test_two_shards_of_one_name_are_told(tmp_path):
    tar(tmp_path / "in" / "0.tar", pair("0", 1))
    tar(tmp_path / "in" / "0.TAR", pair("0", 2))
    with pytest.raises(Problem, match="(?s)Two shards.*0.TAR"):
        webshards.unpack_shards(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../../0.png", png(1))], "name that leads out of the folder"),
        ([("x/../0.png", png(1))], "name that leads out of the folder"),
        ([("x" * 300 + ".png", png(1)), ("x" * 300 + ".txt", b"x")], "name that no file can have"),
        ([("\udcff.png", png(1))], "name that is not UTF-8"),
        ([("0.png", png(1)), ("0.txt", "caf\xe9".encode("cp1252"))], "caption that is not UTF-8"),
        ([("0.png", png(1)), ("0.txt", b" \n ")], "picture without caption"),
        (
            [("0.png", png(1)), ("0.txt", b"x" * 2**20)],
            f"caption of more than {imagefolder.LONGEST_TEXT:,} characters",
        ),
        ([("0.txt", b"x")], "caption without picture"),
        ([("0.json", b"{}")], "neither picture nor caption"),
    ],
)
def test_what_cannot_be_used_is_counted(tmp_path, members, reason):
    counts, rows = unpacked(tmp_path, [*members, *pair("good", 7)])
    assert rows == [("00000/good.png", "text 7", 7)]
    assert counts == {"unpacked": 1, reason: 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_counted(tmp_path, kind):
    tar(tmp_path / "in" / "0.tar", [("0.png", b"")], kind)
    assert webshards.unpack_shards(tmp_path / "in", tmp_path / "out") == {
        "link or device in place of a file": 1
    }


def test_a_caption_may_have_a_byte_order_mark(tmp_path):
    _, rows = unpacked(tmp_path, [("0.png", png(1)), ("0.txt", b"\xef\xbb\xbfa cat\r\n")])
    assert rows[0][1] == "a cat"


def test_a_member_that_claims_to_be_huge_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(webshards, "MAX_BYTES", 1000)
    counts, rows = unpacked(
        tmp_path,
        [("0.png", bytes(1001)), ("0.txt", b"x"), ("video.mp4", bytes(5000)), *pair("good", 7)],
    )
    assert (
        counts == {"unpacked": 1, "file of more than 1,000 bytes": 1, "caption without picture": 1}
        and len(rows) == 1
    )


@pytest.mark.parametrize(
    "described",
    [
        b"[" * 100_000,
        b'{"rating": 1' + b"0" * 400 + b"}",
        b'{"rating": Infinity}',
        b'{"rating": true}',
        b"\xff\xfe",
        b"null",
        b"",
        b'{"rating": {"a": 1}}',
    ],
)
def test_a_rating_that_is_no_number_is_none(tmp_path, described):
    members = [("0.png", png(1)), ("0.json", described), ("0.txt", b"x")]
    unpacked(tmp_path, members)
    assert "rating" not in (tmp_path / "out" / "metadata.jsonl").read_text()


@pytest.mark.parametrize(
    "stats",
    [
        "[" * 100_000,
        '{"failed_to_download": Infinity, "failed_to_resize": 0}',
        "[]",
        "null",
        "",
        '{"failed_to_download": -1, "failed_to_resize": 0}',
        '{"failed_to_download": "x"}',
        "{",
    ],
)
def test_statistics_that_cannot_be_read_are_counted(tmp_path, stats):
    tar(tmp_path / "in" / "0.tar", pair("0", 1))
    (tmp_path / "in" / "0_stats.json").write_text(stats)
    counts = webshards.unpack_shards(tmp_path / "in", tmp_path / "out")
    assert counts == {"unpacked": 1, "shard whose statistics cannot be read": 1}


@pytest.mark.parametrize("content", [None, "", "[", "[]", '{"unpacked": "x"}', "null"])
def test_a_record_of_the_unpacking_that_was_changed_is_told(tmp_path, content):
    unpacked(tmp_path, pair("0", 1))
    record = tmp_path / "out" / webshards.COUNTS
    record.unlink()
    if content is not None:
        record.write_text(content)
    with pytest.raises(Problem, match="(?s)unpacked.json cannot be used.*rm -r"):
        webshards.unpack_shards(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "web page"),
        (b"\x1f\x8b\x08" + bytes(600), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04" + bytes(600), "zip file"),
        (b"", "empty"),
        (APPLE * 9, "macOS"),
        (b"x" * 5000, "cut off"),
    ],
)
def test_what_stands_in_place_of_a_shard_is_named(tmp_path, content, words):
    (tmp_path / "0.tar").write_bytes(content)
    with pytest.raises(Problem, match=f"(?s)0.tar cannot be read.*{words}"):
        webshards.unpack_shards(tmp_path, tmp_path / "out")


@settings(max_examples=15 * CASES)
@given(st.data())
def test_any_change_of_a_shard(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("shard")
    content = bytearray(tar(folder / "in" / "0.tar", [*pair("0", 1), *pair("1", 2)]).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
    (folder / "in" / "0.tar").write_bytes(
        content[: data.draw(st.sampled_from([len(content), 700, 1024, 2500]))]
    )
    try:
        counts = webshards.unpack_shards(folder / "in", folder / "out")
    except Problem as problem:
        assert len(str(problem).splitlines()) == 5
    else:
        lines = (folder / "out" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == counts["unpacked"] <= 2
    assert sorted(path.name for path in folder.iterdir()) in (["in"], ["in", "out"])


# ---------------------------------------------------------------- imagefolders


def written(folder: Path, *rows, names=("a.png", "sub/b.png")) -> Path:
    for name in names:
        save_png(folder / name, np.zeros((4, 4, 3), np.uint8))
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / imagefolder.METADATA).write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("sub\\b.png", "sub/b.png"),
        (f"{NFC}.png", f"{NFD}.png"),
        (f"{NFD}.png", f"{NFC}.png"),
        (f"{NFC}/{NFD}.png", f"{NFD}/{NFC}.png"),
        (f"{NFC}\\{NFC}.png", f"{NFD}/{NFD}.png"),
        ("./sub/b.png", "sub/b.png"),
        ("back\\slash.png", "back\\slash.png"),
    ],
)
def test_names_of_other_systems_find_their_pictures(tmp_path, name, stored):
    written(tmp_path, {"file_name": name, "text": "x"}, names=(stored,))
    rows, left = imagefolder.read_rows(tmp_path)
    assert not left and (tmp_path / rows["file_name"][0]).samefile(tmp_path / stored)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"file_name": "..\\x.png", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "C:\\x.png", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "\\\\host\\share\\x.png", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "/etc/hostname", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "sub/../a.png", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": ".", "text": "x"}, "file_name leads out of the folder"),
        ({"file_name": "sub", "text": "x"}, "picture is missing"),
        ({"file_name": "x" * 5000, "text": "x"}, "picture is missing"),
        ({"file_name": "a\0.png", "text": "x"}, "picture is missing"),
        ({"file_name": "pipe.png", "text": "x"}, "picture is missing"),
        ({"file_name": "\ud800.png", "text": "x"}, "line holds half a character"),
        ({"file_name": "sub/b.png", "text": "\ud800 cat"}, "line holds half a character"),
        ({"file_name": "sub/b.png", "text": "x", "\ud800": 1}, "line holds half a character"),
        ({"file_name": "sub/b.png", "text": "  "}, "text is empty"),
        (
            {"file_name": "sub/b.png", "text": "x" * 2**20},
            f"text of more than {imagefolder.LONGEST_TEXT:,} characters",
        ),
        ({"file_name": "a.png", "text": "other"}, "file_name stands in an earlier line"),
        ({"file_name": ".\\a.png", "text": "other"}, "file_name stands in an earlier line"),
        ({"file_name": 5, "text": "x"}, "line lacks file_name or text"),
        ("[" * 100_000, "line is not JSON"),
        ("{'file_name': 1}", "line is not JSON"),
        ("1" * 5000, "line is not JSON"),
        ("null", "line lacks file_name or text"),
        ("NaN", "line lacks file_name or text"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted(tmp_path, row, reason):
    os.mkfifo(tmp_path / "pipe.png")
    written(tmp_path, {"file_name": "a.png", "text": "x"}, row)
    rows, left = imagefolder.read_rows(tmp_path)
    assert rows["file_name"].tolist() == ["a.png"] and left == {reason: 1}
    rows.to_parquet(tmp_path / "rows.parquet")


def test_captions_with_a_byte_order_mark_and_in_another_encoding(tmp_path):
    written(tmp_path)
    lines = "".join(
        json.dumps({"file_name": n, "text": "caf\xe9"}, ensure_ascii=False) + "\r\n"
        for n in ("a.png", "sub/b.png")
    )
    (tmp_path / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    rows, left = imagefolder.read_rows(tmp_path)
    assert rows["text"].tolist() == ["caf\xe9"] * 2 and not left
    for encoding in ("utf-16", "cp1252"):
        (tmp_path / "metadata.jsonl").write_bytes(lines.encode(encoding))
        with pytest.raises(Problem, match="UTF-8"):
            imagefolder.read_rows(tmp_path)


def test_a_metadata_file_that_is_none(tmp_path):
    for make in (Path.mkdir, os.mkfifo):
        make(tmp_path / imagefolder.METADATA)
        with pytest.raises(Problem, match="not a file"):
            imagefolder.read_rows(tmp_path)
        (tmp_path / imagefolder.METADATA).rmdir() if make is Path.mkdir else (
            tmp_path / imagefolder.METADATA
        ).unlink()


@pytest.mark.parametrize(
    "name",
    [
        "x" * 300 + ".png",
        "a\0.png",
        "a\n.png",
        "\ud800.png",
        "._a.png",
        "__MACOSX/a.png",
        ".",
        "/",
        "",
        5,
        None,
    ],
)
def test_names_that_no_picture_can_have_are_told_before_anything_is_written(tmp_path, name):
    rows = pd.DataFrame({"file_name": pd.Series(["good.png", name], dtype=object), "text": "x"})
    with pytest.raises(Problem, match="below the folder"):
        imagefolder.write_imagefolder(tmp_path / "out", rows, lambda missing: iter(()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), "\ud800"])
def test_values_that_json_cannot_hold_are_told_before_anything_is_written(tmp_path, value):
    rows = pd.DataFrame(
        {"file_name": ["a.png"], "text": "x", "hps": pd.Series([value], dtype=object)}
    )
    with pytest.raises(Problem, match="(?s)metadata.jsonl cannot be written.*'hps'"):
        imagefolder.write_imagefolder(tmp_path / "out", rows, lambda missing: iter(()))
    assert not (tmp_path / "out").exists()


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for source in ("x" * 5000, str(tmp_path / "file"), "a\0b"):
        with pytest.raises(Problem, match="does not exist"):
            sources.regularization(source, tmp_path / "own", 0, Wanted(1))


@pytest.mark.parametrize(
    ("rating", "taken"),
    [
        ("NaN", False),
        ("null", False),
        ("Infinity", False),
        ('"9"', False),
        ("true", False),
        ("1" + "0" * 400, False),
        ("9.5", True),
        ("9.4", False),
    ],
)
def test_a_rating_that_is_none_is_asked_of_the_predictor(tmp_path, monkeypatch, rating, taken):
    monkeypatch.setattr(Rater, "ratings", lambda self, pictures: np.full(len(pictures), 3.0))
    written(tmp_path, f'{{"file_name": "a.png", "text": "x", "rating": {rating}}}')
    if taken:
        assert len(regularization_pictures(tmp_path, Wanted(1, 9.5))[0]) == 1
        return
    with pytest.raises(Problem, match="(?s)too few.*rated below 9.5"):
        regularization_pictures(tmp_path, Wanted(1, 9.5))


def test_a_predictor_without_an_answer_and_a_minimum_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Rater, "ratings", lambda self, pictures: np.full(len(pictures), np.nan))
    written(tmp_path, {"file_name": "a.png", "text": "x"})
    with pytest.raises(Problem, match="(?s)too few.*rating that is no number"):
        regularization_pictures(tmp_path, Wanted(1, 6.5))
    with pytest.raises(Problem, match="minimum_rating is"):
        Wanted(1, float("nan"))
    with pytest.raises(Problem, match="regularization_images is"):
        Wanted(-1, 6.5)
    rows, left = regularization_pictures(tmp_path, Wanted(0, 6.5))
    assert len(rows) == 0 and {"file_name", "text", "label", "folder"} <= set(rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["file_name", "text", "rating", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@settings(max_examples=20 * CASES)
@given(st.lists(JSON, min_size=1, max_size=4))
def test_any_lines(tmp_path_factory, values):
    folder = written(
        tmp_path_factory.mktemp("lines"),
        {"file_name": "a.png", "text": "x"},
        *(json.dumps(value) for value in values),
    )
    rows, left = imagefolder.read_rows(folder)
    assert len(rows) + sum(left.values()) == 1 + len(values)
    assert rows["file_name"][0] == "a.png"


# ---------------------------------------------------------------- zips of DiffusionDB


def write_zip(path: Path, members, entries=None, method=zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that stands twice
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, method)
            if entries is not None:
                archive.writestr(
                    f"{path.stem}.json",
                    json.dumps(entries) if not isinstance(entries, str | bytes) else entries,
                )
    return path


def entry(prompt: str = "a cat") -> dict:
    return {"p": prompt, "se": 1}


def contents(path: Path) -> list[tuple[str, str, int | str]]:
    """Returns (image, status, red of the picture or the reason why there is none) of each row."""
    table = diffusiondb.list_part(path)
    table.to_parquet(path.parent / "table.parquet")
    usable = table[table["status"] == diffusiondb.OK]
    read = diffusiondb.read_members(path, usable["member"].tolist())
    pixels = {
        index: item if isinstance(item, BadImage) else int(item[0, 0, 0])
        for index, item in zip(usable.index, read, strict=True)
    }
    return [
        (row.image, row.status, getattr(pixels.get(row.Index), "reason", pixels.get(row.Index)))
        for row in table.itertuples()
    ]


def test_of_one_name_twice_the_first_is_read(tmp_path):
    path = write_zip(
        tmp_path / f"{PART}.zip",
        [("a.png", png(1)), ("a.png", png(2)), ("b/a.png", png(3))],
        {"a.png": entry()},
    )
    assert contents(path) == [
        ("a.png", "ok", 1),
        ("a.png", "repeated name", None),
        ("a.png", "repeated name", None),
    ]
    rows = pd.DataFrame({"part": [PART], "image": ["a.png"]})
    assert [int(image[0, 0, 0]) for _, image in diffusiondb.read_pictures(tmp_path, rows)] == [1]


def test_files_of_operating_systems_take_no_image_s_place(tmp_path):
    members = [
        ("__MACOSX/a.png", png(9)),
        ("._a.png", APPLE),
        (f"__MACOSX/{PART}.json", b"{}"),
        ("Thumbs.db", b"x"),
        ("a.png", png(1)),
    ]
    path = write_zip(tmp_path / f"{PART}.zip", members, {"a.png": entry()})
    found = contents(path)
    assert [row for row in found if row[1] != diffusiondb.FOREIGN] == [("a.png", "ok", 1)] and len(
        found
    ) == 5


def test_folders_of_windows_and_accents_of_a_mac(tmp_path):
    path = write_zip(
        tmp_path / f"{PART}.zip",
        [("images\\a.png", png(1)), (f"{NFD}.png", png(2))],
        {"a.png": entry(), f"{NFC}.png": entry()},
    )
    assert contents(path) == [("a.png", "ok", 1), (f"{NFC}.png", "ok", 2)]


def test_a_name_with_a_nul_byte_is_no_image_s(tmp_path):
    path = write_zip(
        tmp_path / f"{PART}.zip",
        [("aXb.png", png(9)), ("a", b""), ("b.png", png(2))],
        {"b.png": entry()},
    )
    path.write_bytes(path.read_bytes().replace(b"aXb.png", b"b.png\0\0"))
    assert [row for row in contents(path) if row[1] == "ok"] == [("b.png", "ok", 2)]


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ("", diffusiondb.BAD_ENTRY),
        (" \n", diffusiondb.BAD_ENTRY),
        (None, diffusiondb.BAD_ENTRY),
        (5, diffusiondb.BAD_ENTRY),
        ("word " * 10**6, diffusiondb.LONG_PROMPT),
        ("x" * diffusiondb.LONGEST_PROMPT, diffusiondb.OK),
    ],
)
def test_prompts_that_are_none_and_prompts_that_are_too_long(tmp_path, prompt, status):
    path = write_zip(
        tmp_path / f"{PART}.zip", [("a.png", png(1))], {"a.png": {"p": prompt, "se": True}}
    )
    table = diffusiondb.list_part(path)
    assert table["status"].tolist() == [status] and table["seed"].isna().all()


def test_names_that_no_file_can_have_are_foreign(tmp_path):
    members = [("x" * 250 + ".png", png(1)), ("", png(2)), ("a.png", png(3))]
    found = contents(
        write_zip(
            tmp_path / f"{PART}.zip", members, {"a.png": entry(), "x" * 250 + ".png": entry()}
        )
    )
    assert [(status, red) for _, status, red in found] == [
        ("foreign member", None),
        ("foreign member", None),
        ("ok", 3),
    ]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_method_is_read_and_its_damage_is_a_row(tmp_path, method):
    members = [("a.png", png(1)), ("b.png", png(2))]
    path = write_zip(
        tmp_path / f"{PART}.zip", members, {"a.png": entry(), "b.png": entry()}, method
    )
    assert [row[2] for row in contents(path)] == [1, 2]
    content = bytearray(path.read_bytes())
    start = 30 + len("a.png")
    content[start + 8 : start + 40] = bytes(32)
    path.write_bytes(content)
    assert [row[2] for row in contents(path)] == ["damaged picture", 2]


def test_a_member_that_holds_more_than_it_says_takes_no_memory(tmp_path):
    path = write_zip(
        tmp_path / f"{PART}.zip",
        [("a.png", bytes(2**26))],
        {"a.png": entry()},
        zipfile.ZIP_DEFLATED,
    )
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(mark) + place
        content[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(content)
    asked = []
    inner = zipfile.ZipExtFile._read1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            zipfile.ZipExtFile, "_read1", lambda self, n: asked.append(n) or inner(self, n)
        )
        assert contents(path) == [("a.png", "ok", "damaged picture")]
    assert max(asked) < 2**20


@pytest.mark.parametrize("name", ["a.png", f"{PART}.json"])
def test_a_member_that_claims_two_gibibytes_is_not_unpacked(tmp_path, name):
    path = write_zip(tmp_path / f"{PART}.zip", [("a.png", png(1))], {"a.png": entry()})
    content = bytearray(path.read_bytes())
    at = content.rindex(name.encode()) - 46 + 24
    content[at : at + 4] = struct.pack("<I", 2**31 - 1)
    path.write_bytes(content)
    if name == "a.png":
        assert contents(path)[0][2].startswith("more than")
    else:
        with pytest.raises(Problem, match=r"(?s)no usable part-000001\.json.*2,147,483,647 bytes"):
            diffusiondb.list_part(path)


@pytest.mark.parametrize(
    "entries",
    ["[" * 100_000, "1" * 5000, '"x"', "null", "<html>", "caf\xe9".encode("utf-16"), b"\xff", ""],
)
def test_json_that_is_none_is_told(tmp_path, entries):
    with pytest.raises(Problem, match=r"no usable part-000001\.json"):
        diffusiondb.list_part(write_zip(tmp_path / f"{PART}.zip", [("a.png", png(1))], entries))


def test_json_with_a_byte_order_mark(tmp_path):
    path = write_zip(
        tmp_path / f"{PART}.zip",
        [("a.png", png(1))],
        b"\xef\xbb\xbf" + json.dumps({"a.png": entry()}).encode(),
    )
    assert contents(path) == [("a.png", "ok", 1)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "web page"),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (APPLE, "macOS"),
        (b"\x1f\x8b" + bytes(90), "gzip"),
        (b"PK\x03\x04" + bytes(90), "cut off"),
    ],
)
def test_what_stands_in_place_of_a_part_is_named(tmp_path, content, words):
    (tmp_path / f"{PART}.zip").write_bytes(content)
    with pytest.raises(Problem, match=f"(?s)cannot be opened.*{words}"):
        diffusiondb.list_part(tmp_path / f"{PART}.zip")


def test_a_newer_zip_and_a_name_that_is_not_utf_8(tmp_path):
    path = write_zip(tmp_path / f"{PART}.zip", [("caf\xe9.png", png(1))], {"caf\xe9.png": entry()})
    whole = path.read_bytes()
    at = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[: at + 6] + struct.pack("<H", 90) + whole[at + 8 :])
    with pytest.raises(Problem, match="(?s)cannot be opened.*version 9.0"):
        diffusiondb.list_part(path)
    path.write_bytes(whole.replace("caf\xe9".encode(), b"caf\xff\xff"))
    with pytest.raises(Problem, match="cannot be opened"):
        diffusiondb.list_part(path)


def test_a_pipe_in_place_of_a_part_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / f"{PART}.zip")
    (tmp_path / "folder.zip").mkdir()
    for path in (tmp_path / f"{PART}.zip", tmp_path / "folder.zip", tmp_path / "gone.zip"):
        with pytest.raises(Problem, match="cannot be opened"):
            diffusiondb.list_part(path)
    with pytest.raises(Problem, match="no DiffusionDB parts"):
        diffusiondb.find_parts(tmp_path)


def test_which_files_are_parts(tmp_path):
    for name in (
        f"{PART}.zip",
        f"._{PART}.zip",
        f"{PART} (1).zip",
        "part-1.zip",
        "part-000002.ZIP",
        "part-000003.zip.part",
    ):
        write_zip(tmp_path / "images" / name, [], {})
    (tmp_path / "images" / "part-000004.zip").mkdir()
    assert list(diffusiondb.find_parts(tmp_path)) == [PART, "part-000002"]
    write_zip(tmp_path / "images" / f"{PART}.ZIP", [], {})
    with pytest.raises(Problem, match=f"(?s)is there twice.*{PART}"):
        diffusiondb.find_parts(tmp_path)


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b", "~nobody-there/x"])
def test_a_folder_of_parts_that_is_none(source):
    with pytest.raises(Problem, match="does not exist"):
        diffusiondb.parts_folder(source)


@settings(max_examples=30 * CASES)
@given(st.data())
def test_any_change_of_a_zip(tmp_path_factory, data):
    method = data.draw(
        st.sampled_from(
            [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        )
    )
    entries = {"a.png": entry(), "b.png": entry("a dog")}
    path = write_zip(
        tmp_path_factory.mktemp("zip") / f"{PART}.zip",
        [("a.png", png(1)), ("b.png", png(2))],
        entries,
        method,
    )
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    for _ in range(data.draw(st.integers(1, 4))):
        in_directory = data.draw(st.booleans())
        place = data.draw(st.integers(central if in_directory else 0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        rows = contents(path)
    except Problem as problem:
        assert len(str(problem).splitlines()) == 5
        return
    for image, status, red in rows:
        if status == diffusiondb.OK and isinstance(red, int) and image in entries:
            assert red in (1, 2)


# ---------------------------------------------------------------- fetching and selection


@pytest.mark.parametrize(
    "name",
    [
        "2m_first_" + "9" * 5000 + "k",
        "2m_first_\u0665k",
        "2m_first_0k",
        "2m_first_-1k",
        "",
        "\ud800",
    ],
)
def test_subsets_that_are_none(name):
    with pytest.raises(Problem, match="no subset"):
        db.subset_parts(name)


@pytest.mark.parametrize(
    "some", ["9" * 5000 + "-2", "2-" + "9" * 5000, "\u0662-3", "3-2", "-", "2", "0-1"]
)
def test_ranges_of_parts_that_are_none(some):
    with pytest.raises(Problem, match="no such parts"):
        db.choose("2m_first_10k", some)


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "{}", '{"commit": 5}', '{"commit": "../main"}', "null"]
)
def test_a_note_of_the_revision_that_was_changed(tmp_path, content):
    (tmp_path / db.PINNED).write_text(content)
    with pytest.raises(Problem, match=r"revision\.json does not say"):
        db.pinned_revision(tmp_path, "main")


def test_metadata_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "metadata.parquet")
    with pytest.raises(Problem, match="(?s)not DiffusionDB's metadata.*pipe"):
        diffusiondb.read_metadata(tmp_path / "metadata.parquet")


def test_images_that_differ_in_their_suffix_alone_are_two_files():
    rows = pd.DataFrame(
        {
            "part": PART,
            "image": ["a.png", "a.webp", "b.png"],
            "prompt": ["x", "y", "z"],
            "hps": 1.0,
            "n": 4,
            "p_best": 0.6,
            "p_worst": 0.1,
            "role": rule.POSITIVE,
        }
    )
    names = picks(rows)["file_name"].tolist()
    assert names == ["positive/a.png.png", "positive/a.webp.png", "positive/b.png"]
