"""Pictures are read as people see them: turned, over white, of all colour modes and depths."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from alignsd.base import images
from alignsd.base.images import BadImage, read_image

ORIENTATION = 0x0112


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: np.ndarray, colour_type: int, bits: int, before: bytes = b"", behind: bytes = b""
) -> bytes:
    """A PNG of any colour type and depth, which Pillow cannot write.

    ``before`` and ``behind`` are chunks around the pixels.
    """
    height, width = samples.shape[:2]
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in samples]
    elif bits == 8:
        lines = [row.astype(np.uint8).tobytes() for row in samples]
    else:
        each = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        lines = [np.packbits(row.reshape(-1)).tobytes() for row in each]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return images.PNG + chunk(b"IHDR", header) + before + pixels + behind + chunk(b"IEND", b"")


LOSSLESS = {"lossless": True}
BEST = {"WEBP": LOSSLESS, "JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}}


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


SCENE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind, orientation):
    content = encoded(Image.fromarray(SCENE), kind, exif=turned(orientation), **BEST[kind])
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    pixels = read_image(content)
    assert np.array_equal(pixels, np.asarray(upright.convert("RGB")))
    is_on_its_side = orientation > 4
    assert pixels.shape == ((6, 4, 3) if is_on_its_side else (4, 6, 3))


def test_a_quarter_turn_by_hand():
    picture = Image.new("RGB", (64, 32), "blue")
    picture.paste("red", (0, 0, 32, 32))  # stored: red left; shown: red above
    pixels = read_image(encoded(picture, "PNG", exif=turned(6)))
    assert pixels.shape == (64, 32, 3)
    assert (pixels[:32] == (255, 0, 0)).all() and (pixels[32:] == (0, 0, 255)).all()


def test_orientation_may_stand_behind_the_pixels_of_a_png():
    exif = turned(6).removeprefix(b"Exif\0\0")
    content = png(SCENE, 2, 8, behind=chunk(b"eXIf", exif))
    assert np.array_equal(read_image(content), np.rot90(SCENE, -1))


def test_orientation_in_the_text_of_imagemagick():
    exif = turned(3)
    text = f"\nexif\n{len(exif):8d}\n{exif.hex()}\n"
    content = png(SCENE, 2, 8, before=chunk(b"tEXt", b"Raw profile type exif\0" + text.encode()))
    assert np.array_equal(read_image(content), SCENE[::-1, ::-1])


def test_orientation_is_kept_where_a_long_text_is_passed_over():
    long_text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2**21))
    exif = chunk(b"eXIf", turned(6).removeprefix(b"Exif\0\0"))
    content = png(SCENE, 2, 8, before=long_text + exif)
    assert np.array_equal(read_image(content), np.rot90(SCENE, -1))


@pytest.mark.parametrize(
    "exif",
    [
        turned(0),
        turned(9),
        turned(65535),
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0" + b"\xff" * 40,
        b"garbage",
        b"Exif\0\0MM\0*\0\0\xff\xff",
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_exif_that_says_nothing_leaves_the_picture_as_stored(kind, exif):
    content = encoded(Image.fromarray(SCENE), kind, exif=exif)
    plain = encoded(Image.fromarray(SCENE), kind)
    assert np.array_equal(read_image(content), read_image(plain))


def test_transparency_and_orientation_together():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert read_image(encoded(clear, "PNG", exif=turned(6))).tolist() == [
        [[255, 255, 255]],
        [[255, 0, 0]],
    ]


def test_a_moving_picture_of_a_camera_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    for kind, options in (("MPO", {}), ("PNG", {}), ("WEBP", LOSSLESS)):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        red, green, blue = read_image(content)[0, 0].tolist()
        assert red > 250 and green < 5 and blue < 5, kind


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iCCP", "behind"])
def test_long_texts_and_profiles_do_not_matter(kind):
    text = "x" * 2**21
    info = PngImagePlugin.PngInfo()
    extra = {}
    if kind in ("tEXt", "zTXt"):
        info.add_text("workflow", text, zip=kind == "zTXt")
    elif kind == "iTXt":
        info.add_itxt("workflow", text, zip=True)
    elif kind == "iCCP":
        extra["icc_profile"] = b"\0" * 2**21
    if kind == "behind":
        packed = zlib.compress(text.encode())
        content = png(SCENE, 2, 8, behind=chunk(b"zTXt", b"workflow\0\0" + packed))
    else:
        content = encoded(Image.fromarray(SCENE), "PNG", pnginfo=info, **extra)
    assert np.array_equal(read_image(content), SCENE)
    with pytest.raises(BadImage) as caught:
        read_image(content[: content.index(b"IDAT") + 10])
    assert caught.value.reason == images.DAMAGED


def test_many_texts_together_do_not_matter():
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**20))
    assert np.array_equal(read_image(png(SCENE, 2, 8, before=text * 70)), SCENE)


@pytest.mark.parametrize(
    ("bits", "levels"), [(1, [0, 1]), (2, [0, 1, 2, 3]), (4, [0, 5, 10, 15]), (8, [0, 1, 128, 255])]
)
def test_a_transparent_level_of_grey_at_any_depth(bits, levels):
    samples = np.array([levels])
    for level in levels:
        content = png(samples, 0, bits, before=chunk(b"tRNS", struct.pack(">H", level)))
        expected = [255 if value == level else value * 255 // (2**bits - 1) for value in levels]
        assert read_image(content)[0, :, 1].tolist() == expected


def test_sixteen_bits():
    grey = np.array([[0, 32768, 65535]])
    assert read_image(png(grey, 0, 16))[0, :, 0].tolist() == [0, 128, 255]
    content = png(grey, 0, 16, before=chunk(b"tRNS", struct.pack(">H", 32768)))
    assert read_image(content)[0, :, 0].tolist() == [0, 255, 255]
    colour = np.array([[[0, 32768, 65535], [65535, 256, 255]]])
    assert read_image(png(colour, 2, 16)).tolist() == [[[0, 128, 255], [255, 1, 0]]]
    content = png(colour, 2, 16, before=chunk(b"tRNS", struct.pack(">HHH", 0, 32768, 65535)))
    assert read_image(content).tolist() == [[[255, 255, 255], [255, 1, 0]]]
    alpha = np.array([[[65535, 0, 0, 0], [65535, 0, 0, 65535]]])
    assert read_image(png(alpha, 6, 16)).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    assert read_image(png(np.array([[[0, 0], [0, 65535]]]), 4, 16))[0, :, 0].tolist() == [255, 0]
    content = png(grey, 0, 16, before=chunk(b"eXIf", turned(6).removeprefix(b"Exif\0\0")))
    assert read_image(content)[:, 0, 0].tolist() == [0, 128, 255]


def test_palettes_with_transparency():
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0] + [0] * 750)
    palette.putpixel((1, 0), 1)
    assert read_image(encoded(palette, "PNG")).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert read_image(encoded(palette, "PNG", transparency=0)).tolist() == [
        [[255, 255, 255], [0, 255, 0]]
    ]
    half = read_image(encoded(palette, "PNG", transparency=bytes([128, 255])))
    assert half.tolist() == [[[255, 127, 127], [0, 255, 0]]]


def test_grey_with_alpha_and_one_bit():
    clear = Image.new("LA", (2, 1), (0, 0))
    clear.putpixel((1, 0), (0, 255))
    assert read_image(encoded(clear, "PNG"))[0, :, 0].tolist() == [255, 0]
    assert read_image(encoded(Image.new("1", (1, 1), 1), "PNG")).tolist() == [[[255, 255, 255]]]


def test_cmyk_with_and_without_the_mark_of_adobe():
    content = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in content, "Pillow writes the mark, and the inks inverted"
    assert read_image(content)[0, 0].tolist() == [255, 0, 0]
    place = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[place + 2 : place + 4])[0]
    plain = content[:place] + content[place + 2 + length :]
    assert read_image(plain)[0, 0].tolist() == [255, 0, 0], (
        "no mark: read as Adobe's programs write"
    )


def test_colour_profiles_are_not_applied():
    """CLIP's training and the official code take the stored values; a profile would move scores."""
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for kind, options in (("PNG", {}), ("WEBP", LOSSLESS)):
        content = encoded(Image.fromarray(SCENE), kind, icc_profile=wide, **options)
        assert np.array_equal(read_image(content), SCENE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"BM" + bytes(20), "BMP"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"PK\x03\x04" + bytes(20), "zip"),
        (b"\0\x05\x16\x07" + bytes(20), "macOS"),
        (b"RIFF\0\0\0\0WAVE", "not a PNG"),
    ],
)
def test_what_stands_in_place_of_a_picture_is_named(content, words):
    with pytest.raises(BadImage, match=words) as caught:
        read_image(content)
    assert caught.value.reason == images.FOREIGN


def test_each_reason_has_its_own_cause(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_bytes(b"<html>")
    causes = set()
    for name in ("gone.png", "empty.png", "page.png"):
        with pytest.raises(BadImage) as caught:
            read_image(tmp_path / name)
        causes.add(caught.value.cause)
    assert len(causes) == 3
