"""Webdataset shards of img2dataset become an imagefolder; what is missing is counted."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from alignsd import sources
from alignsd.adapt.regularization import Rater, Wanted, regularization_pictures
from alignsd.adapt.webshards import unpack_shards
from alignsd.base.errors import Problem
from alignsd.select import imagefolder


def jpeg(value):
    file = io.BytesIO()
    Image.fromarray(np.full((6, 9, 3), value, dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Two shards: four good pictures, and what img2dataset leaves behind of others.

    A damaged picture, a picture without caption, a caption without picture, three dead links.
    """
    folder = tmp_path / "laion"
    folder.mkdir()
    write_shard(
        folder / "00000.tar",
        {
            "000000000": ("a cat", jpeg(10)),
            "000000001": ("a dog é", jpeg(20)),
            "000000002": ("cut", jpeg(30)[:200]),
        },
    )
    write_shard(
        folder / "00001.tar",
        {
            "000010000": ("a house", jpeg(40)),
            "000010001": (None, jpeg(50)),
            "000010002": ("gone", None),
            "000010003": ("a tree", jpeg(60)),
        },
    )
    stats = {"count": 6, "successes": 3, "failed_to_download": 3, "failed_to_resize": 0}
    (folder / "00000_stats.json").write_text(json.dumps(stats))
    return folder


def write_shard(path, samples):
    """Write a shard of ``key -> (caption, picture)``; None is left out."""
    with tarfile.open(path, "w") as archive:
        for key, (caption, picture) in samples.items():
            encoded = None if caption is None else caption.encode()
            for suffix, content in (("jpg", picture), ("json", b"{}"), ("txt", encoded)):
                if content is not None:
                    add(archive, f"{key}.{suffix}", content)


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


EXPECTED = {
    "unpacked": 5,
    "dead link": 3,
    "picture without caption": 1,
    "caption without picture": 1,
}


def test_pictures_captions_and_losses(shards, tmp_path):
    assert unpack_shards(shards, tmp_path / "out") == EXPECTED
    with pytest.warns(UserWarning, match="1 x picture is damaged"):
        table = imagefolder.read_imagefolder(tmp_path / "out")
    assert list(table["text"]) == ["a cat", "a dog é", "a house", "a tree"]
    assert (tmp_path / "out" / table["file_name"][0]).read_bytes() == jpeg(10)


def test_a_packed_shard_is_counted_where_it_is_not_unpacked_beside(shards, tmp_path):
    for name in ("00000.tar.gz", "00002.tar.gz", "00003.tgz"):
        (shards / name).write_bytes(b"x")
    packed = {"packed shard (only .tar is unpacked)": 2}
    assert unpack_shards(shards, tmp_path / "out") == EXPECTED | packed


def test_a_shard_that_is_a_link_to_nothing_is_told(shards, tmp_path):
    (shards / "00002.tar").symlink_to("nowhere")
    with pytest.raises(Problem, match="(?s)00002.tar cannot be read.*a link to a file"):
        unpack_shards(shards, tmp_path / "out")


def test_captions_in_json_alone_are_the_named_reason_for_too_few_pictures(tmp_path):
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        for key in "01":
            add(archive, f"{key}.jpg", jpeg(10))
            add(archive, f"{key}.json", b'{"caption": "a cat", "rating": 7}')
        add(archive, "2.jpg", jpeg(10))
        add(archive, "2.json", b'{"caption": null}')
    with pytest.warns(UserWarning, match="2 x picture whose caption stands in the .json alone"):
        folder = sources.regularization(str(tmp_path), tmp_path / "own", 0, Wanted(1))
    words = r"(?s)stands in the .json alone.*: 2.*without captions as .txt.*KEY.txt"
    with pytest.raises(Problem, match=words):
        regularization_pictures(folder, Wanted(1))


def members(folder, names):
    """Write one shard of files whose content is their name, in this order."""
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as archive:
        for name in names:
            add(archive, name, name.encode())
    return folder / "0.tar"


PAIRS = [f"{i:04}.{suffix}" for i in range(6) for suffix in ("png", "txt")]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole, at: whole[: at + 3] + b"~" + whole[at + 4 :], "which tar cannot read"),
        (lambda whole, at: whole[: at + 300], "damaged or unfinished download"),
        (lambda whole, at: whole[:at] + bytes(512) + whole[at + 512 :], "joined with cat"),
        (lambda whole, at: whole + whole, "(?s)joined with cat.*tar -xif .*0.tar"),
    ],
    ids=["a changed byte", "cut in a header", "a hole", "two archives"],
)
def test_a_shard_that_cannot_be_read_to_its_end_is_told(tmp_path, damage, words):
    """If it failed, everything behind the first damaged header would be lost without a word."""
    shard = members(tmp_path / "in", PAIRS)
    whole = shard.read_bytes()
    shard.write_bytes(damage(whole, whole.find(b"0003.png")))
    with pytest.raises(Problem, match=words):
        unpack_shards(shard.parent, tmp_path / "out")


def test_a_shard_that_ends_between_two_files_is_counted(tmp_path):
    shard = members(tmp_path / "in", PAIRS)
    whole = shard.read_bytes()
    shard.write_bytes(whole[: whole.find(b"0003.png")])
    counts = unpack_shards(shard.parent, tmp_path / "out")
    assert counts == {"unpacked": 3, "shard without the mark of its end (maybe cut off)": 1}


def test_a_shard_that_is_cut_in_a_file_that_is_not_read_is_told(tmp_path):
    shard = members(tmp_path / "in", ["0.jpg", "0.txt", "0.cls"])
    whole = shard.read_bytes()
    content = whole.find(b"0.cls", whole.find(b"0.cls") + 1)
    shard.write_bytes(whole[: content + 2])
    with pytest.raises(Problem, match="0.tar cannot be read"):
        unpack_shards(shard.parent, tmp_path / "out")


def test_fields_that_are_not_read_do_not_end_a_sample(tmp_path):
    """webdataset's writer puts the fields of a sample in the order of their names."""
    names = ["0.jpg", "0.mask.png", "0.tags.txt", "0.txt", "my.cat.jpg", "my.cat.txt"]
    counts = unpack_shards(members(tmp_path / "in", names).parent, tmp_path / "out")
    assert counts == {"unpacked": 2, "further picture of a sample": 1}


def test_pictures_before_all_captions_are_the_named_reason_for_too_few_pictures(tmp_path):
    shard = members(tmp_path / "in", sorted(PAIRS, key=lambda name: name[-3:]))
    counts = unpack_shards(shard.parent, tmp_path / "out")
    apart = "file that does not follow the other files of its sample"
    assert counts == {"picture without caption": 6, apart: 6}
    assert "repeated name" not in counts
    with pytest.warns(UserWarning, match=f"6 x {apart}"):
        folder = sources.regularization(str(shard.parent), tmp_path / "own", 0, Wanted(1))
    with pytest.raises(Problem, match="(?s)do not follow each other.*tar --sort=name"):
        regularization_pictures(folder, Wanted(1))


def test_what_was_unpacked_is_not_unpacked_again(shards, tmp_path):
    first = unpack_shards(shards, tmp_path / "out")
    for shard in shards.glob("*.tar"):
        shard.unlink()
    assert unpack_shards(shards, tmp_path / "out") == first


def test_a_stopped_unpacking_goes_on_and_ends_the_same(shards, tmp_path):
    second = shards / "00001.tar"
    whole = second.read_bytes()
    second.write_bytes(whole[:700])
    with pytest.raises(Problem, match="00001.tar cannot be read"):
        unpack_shards(shards, tmp_path / "out")
    assert not (tmp_path / "out" / imagefolder.METADATA).exists()
    second.write_bytes(whole)
    assert unpack_shards(shards, tmp_path / "out") == EXPECTED


def test_regularization_takes_shards_and_says_what_is_missing(shards, tmp_path):
    wanted = Wanted(4, rater=Rater(aesthetic=""))
    with pytest.warns(UserWarning, match="5 pictures unpacked; left out: 3 x dead link"):
        folder = sources.regularization(str(shards), tmp_path / "own", 0, wanted)
    rows, left = regularization_pictures(folder, wanted)
    assert len(rows) == 4 and left == {"picture is damaged": 1}


@pytest.mark.parametrize(
    ("described", "rating"),
    [
        (b'{"AESTHETIC_SCORE": 6.75}', 6.75),
        (b'{"aesthetic": 7}', 7),
        (b'{"rating": 6.5, "aesthetic": 9}', 6.5),
        (b'{"aesthetic": null}', None),
        (b'{"aesthetic": NaN}', None),
        (b'{"aesthetic": "7"}', None),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_a_rating_in_a_picture_s_json_is_kept(tmp_path, described, rating):
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        add(archive, "0.jpg", jpeg(10))
        add(archive, "0.json", described)
        add(archive, "0.txt", b"a cat")
    unpack_shards(tmp_path, tmp_path / "out")
    assert imagefolder.read_imagefolder(tmp_path / "out").iloc[0].get("rating") == rating
