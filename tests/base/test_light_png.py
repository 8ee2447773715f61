"""Light PNG files: what is kept, what goes, and when colours are merged."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from alignsd.base.plotting.light_png import UNSEEN, lighter_png


def png(pixels, **keywords):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **keywords)
    return content.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content))


def pixels_of(content):
    return np.asarray(opened(content).convert("RGB"), dtype=int)


@pytest.fixture
def gradient():
    """256 shades of grey, without noise."""
    row = np.arange(256, dtype=np.uint8)
    return np.repeat(np.tile(row, (64, 1))[..., None], 3, axis=2)


def test_few_colours_stay_exact(gradient):
    mixed = np.random.default_rng(0).permuted(gradient, axis=1)
    mixed[..., 1:] = mixed[..., :1]
    light = lighter_png(png(mixed))
    assert opened(light).mode == "P" and (pixels_of(light) == mixed).all()
    assert len(light) < 0.6 * len(png(mixed))


def test_a_file_is_never_heavier_than_one_with_every_colour(gradient):
    assert len(lighter_png(png(gradient))) <= len(png(gradient, optimize=True, dpi=(72, 72)))


def test_noise_keeps_every_colour():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    light = lighter_png(png(noise))
    assert opened(light).mode == "RGB" and (pixels_of(light) == noise).all()


def test_a_white_margin_hides_no_damage_to_a_photograph():
    page = np.full((512, 512, 3), 255, np.uint8)
    page[:64, :64] = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (pixels_of(lighter_png(png(page))) == page).all()


def test_merged_colours_stay_close_and_white_stays_white():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(200.0), np.arange(200.0))
    smooth = np.stack([x, y, (x + y) / 2], axis=-1) + rng.normal(0, 1, (200, 200, 3))
    page = np.full((300, 300, 3), 255, np.uint8)
    page[50:250, 50:250] = smooth.clip(0, 250)
    light = lighter_png(png(page))
    difference = (pixels_of(light) - page)[50:250, 50:250]
    assert np.sqrt((difference**2).mean()) <= UNSEEN
    assert (pixels_of(light)[:50] == 255).all()


def test_size_and_resolution_stay_and_texts_go(gradient):
    texts = PngInfo()
    texts.add_text("Software", "a program")
    light = opened(lighter_png(png(gradient, dpi=(200, 200), pnginfo=texts)))
    assert light.size == (256, 64) and "Software" not in light.info
    assert light.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_transparency_becomes_white(gradient):
    clear = np.dstack([gradient, np.zeros(gradient.shape[:2], np.uint8)])
    assert (pixels_of(lighter_png(png(clear))) == 255).all()


def test_equal_files_give_equal_files(gradient):
    assert lighter_png(png(gradient)) == lighter_png(png(gradient))
