"""Hostile and damaged pictures: our own error or a picture, no waiting, no memory for a claim."""

import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alignsd.adapt import examples
from alignsd.base import images
from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, read_image, save_jpeg, save_png

REASONS = {images.MISSING, images.EMPTY, images.FOREIGN, images.TOO_LARGE, images.DAMAGED}


def whole(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, exif=exif)
    return buffer.getvalue()


WHOLE = {kind: whole(kind) for kind in ("PNG", "JPEG", "WEBP")}


def picture_or_reason(source) -> None:
    try:
        pixels = read_image(source)
    except BadImage as error:
        assert error.reason in REASONS
        assert len(str(error).splitlines()) == 5
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.flags["C_CONTIGUOUS"]


@settings(max_examples=40 * CASES)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_changed_bytes(kind, data):
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    picture_or_reason(bytes(content))
    picture_or_reason(bytes(content[:cut]))
    picture_or_reason(bytes(content) + data.draw(st.binary(max_size=30)))


@settings(max_examples=20 * CASES)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"RIFF\x40\0\0\0WEBPVP8X"]),
    st.binary(max_size=200),
)
def test_any_bytes_behind_the_mark_of_a_format(mark, rest):
    picture_or_reason(mark + rest)


@settings(max_examples=30 * CASES)
@given(
    st.sampled_from(
        [
            b"tRNS",
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"eXIf",
            b"PLTE",
            b"gAMA",
            b"acTL",
            b"fcTL",
            b"sBIT",
            b"pHYs",
            b"teSt",
        ]
    ),
    st.binary(max_size=40),
    st.booleans(),
)
def test_any_chunk_in_a_png(name, data, behind):
    content = WHOLE["PNG"]
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    place = content.index(b"IEND") - 4 if behind else content.index(b"IDAT") - 4
    picture_or_reason(content[:place] + chunk + content[place:])


@settings(max_examples=20 * CASES)
@given(st.binary(max_size=60), st.sampled_from(["PNG", "JPEG", "WEBP"]))
def test_any_exif(exif, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2)).save(buffer, kind, exif=b"Exif\0\0" + exif)
    assert read_image(buffer.getvalue()).shape in ((2, 4, 3), (4, 2, 3))


@pytest.mark.parametrize("side", [1, 65535, 2**31 - 1])
def test_sizes_that_are_only_claimed(side):
    content = bytearray(WHOLE["PNG"])
    content[16:24] = struct.pack(">II", side, 1_000_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    with pytest.raises(BadImage):
        read_image(bytes(content))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s.png"))
    names = (
        "pipe.png",
        "folder.png",
        "circle.png",
        "s.png",
        "x" * 5000,
        "a\0b",
        "\ud800.png",
        "gone/a.png",
        "s.png/a.png",
    )
    for name in names:
        with pytest.raises(BadImage) as caught:
            read_image(tmp_path / name)
        assert caught.value.reason == images.MISSING
        assert len(caught.value.found) < 400
    server.close()


def test_a_file_that_claims_to_be_huge_is_not_read(tmp_path):
    with open(tmp_path / "sparse.png", "wb") as file:
        file.write(WHOLE["PNG"])
        file.truncate(2**40)
    with pytest.raises(BadImage) as caught:
        read_image(tmp_path / "sparse.png")
    assert caught.value.reason == images.TOO_LARGE


def test_a_text_bomb_takes_no_memory():
    bomb = zlib.compress(b"\0" * 2**26)
    data = b"workflow\0\0" + bomb
    chunk = (
        struct.pack(">I", len(data))
        + b"zTXt"
        + data
        + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    )
    place = WHOLE["PNG"].index(b"IDAT") - 4
    assert np.array_equal(
        read_image(WHOLE["PNG"][:place] + chunk + WHOLE["PNG"][place:]), read_image(WHOLE["PNG"])
    )


@pytest.mark.parametrize("save", [save_png, save_jpeg])
def test_places_where_nothing_can_be_written(tmp_path, save):
    picture = np.zeros((4, 4, 3), np.uint8)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for name in ("folder.png", "file/a.png", "x" * 300 + ".png", "a\0.png", "\ud800.png"):
        with pytest.raises(Problem, match="cannot be written"):
            save(tmp_path / name, picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_the_longest_name_that_a_disk_takes_is_written(tmp_path):
    name = "x" * 251 + ".png"
    save_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("shape", [(1, 65535), (1, 1_000_000), (1_000_000, 1), (2, 100_000)])
@pytest.mark.parametrize("size", [64, 512])
def test_a_picture_one_pixel_wide_is_cropped_without_being_blown_up(monkeypatch, shape, size):
    asked = []
    scaled = examples._scaled

    def noted(image, new, box=None):
        asked.append(new)
        return scaled(image, new, box)

    monkeypatch.setattr(examples, "_scaled", noted)
    picture = np.full((*shape, 3), 7, np.uint8)
    square = examples.crop(picture, size, np.random.default_rng(0))
    assert square.shape == (size, size, 3) and (square == 7).all()
    assert all(width * height <= images.MAX_PIXELS for width, height in asked)


@pytest.mark.parametrize("shape", [(30, 400), (64, 64), (200, 90)])
def test_cropping_before_scaling_gives_about_the_same(monkeypatch, shape):
    ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1]))[..., None].repeat(3, 2)
    picture = (ramp % 256 // 2).astype(np.uint8)
    usual = examples.crop(picture, 64, np.random.default_rng(3))
    monkeypatch.setattr(examples, "MAX_PIXELS", 0)
    narrow = examples.crop(picture, 64, np.random.default_rng(3))
    close = np.abs(usual.astype(int) - narrow) <= 3
    assert close[2:-2, 2:-2].mean() > 0.95  # where the ramp starts anew neighbours differ
