"""Pictures: what is read, and every way in which a file is no picture."""

import io
import zlib

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from alignsd.base import images
from alignsd.base.images import BadImage, read_image, save_jpeg, save_png

RAMP = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def noise(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def test_png_is_exact_and_leaves_no_other_file(tmp_path):
    save_png(tmp_path / "new" / "a.png", RAMP)
    pixels = read_image(tmp_path / "new" / "a.png")
    assert isinstance(pixels, UInt8[np.ndarray, "height width 3"])
    assert np.array_equal(pixels, RAMP)
    assert np.array_equal(read_image((tmp_path / "new" / "a.png").read_bytes()), RAMP)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_jpeg_keeps_sharp_colours(tmp_path):
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    # Red and blue columns: colour of half the resolution would mix them.
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    save_jpeg(tmp_path / "a.jpg", stripes)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - stripes).max() < 12


CHANNELS_FIRST = np.zeros((3, 5, 7), dtype=np.uint8)


@pytest.mark.parametrize("bad", [RAMP.astype(float), RAMP[..., 0], CHANNELS_FIRST])
def test_only_rgb_bytes_are_written(tmp_path, bad):
    with pytest.raises(ValueError, match="uint8"):
        save_png(tmp_path / "a.png", bad)
    assert not list(tmp_path.iterdir())


def test_transparent_parts_are_white_and_grey_becomes_rgb():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert read_image(encoded(clear, "PNG")).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    assert read_image(encoded(Image.new("L", (1, 1), 7), "PNG")).tolist() == [[[7, 7, 7]]]
    assert read_image(encoded(Image.new("1", (1, 1), 1), "PNG")).tolist() == [[[255, 255, 255]]]
    deep = Image.fromarray(np.array([[0, 256 * 128, 65535]], dtype=np.uint16))
    assert read_image(encoded(deep, "PNG"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.95])
def test_cut_short(kind, keep):
    content = noise(kind)
    with pytest.raises(BadImage) as caught:
        read_image(content[: int(len(content) * keep)])
    assert caught.value.reason == images.DAMAGED


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_flipped_bytes_give_a_picture_or_a_reason(kind):
    rng = np.random.default_rng(1)
    for _ in range(60):
        content = bytearray(noise(kind))
        for place in rng.integers(0, 200, 4):
            content[place] ^= int(rng.integers(1, 256))
        try:
            assert read_image(bytes(content)).shape[2] == 3
        except BadImage as error:
            assert error.reason in (images.DAMAGED, images.FOREIGN, images.TOO_LARGE)


def test_reasons(tmp_path, monkeypatch):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "moving.gif").write_bytes(encoded(Image.new("RGB", (2, 2)), "GIF"))
    reasons = {
        "gone.png": images.MISSING,
        ".": images.MISSING,
        "a\0b": images.MISSING,
        "empty.png": images.EMPTY,
        "page.png": images.FOREIGN,
        "moving.gif": images.FOREIGN,
    }
    for name, reason in reasons.items():
        with pytest.raises(BadImage) as caught:
            read_image(tmp_path / name)
        assert caught.value.reason == reason
    monkeypatch.setattr(images, "MAX_PIXELS", 35)
    assert read_image(encoded(Image.new("RGB", (5, 7)), "PNG")).shape == (7, 5, 3)
    with pytest.raises(BadImage) as caught:
        read_image(encoded(Image.new("RGB", (6, 6)), "PNG"))
    assert caught.value.reason == images.TOO_LARGE


def test_a_picture_that_only_claims_to_be_huge():
    content = bytearray(encoded(Image.new("RGB", (1, 1)), "PNG"))
    content[16:24] = (30000).to_bytes(4, "big") * 2  # its header says 30,000 x 30,000
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    with pytest.raises(BadImage) as caught:
        read_image(bytes(content))
    assert caught.value.reason == images.TOO_LARGE
