"""The pictures with which FID compares: renders of the miniature, or a folder."""

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.base.images import FOREIGN, MISSING, save_png
from alignsd.compare.reference import pictures_in

PROMPTS = [
    "a person in a red shirt waving on the beach",
    "a running person at night with a hat, blue shirt",
]


def renders():
    pictures, left_out = sources.fid_reference("miniature", PROMPTS * 4, seed=0)
    assert not left_out
    return list(pictures)


def test_the_miniature_draws_a_picture_of_each_prompt():
    pictures = renders()
    assert len(pictures) == 8
    assert all(isinstance(picture, UInt8[np.ndarray, "64 64 3"]) for picture in pictures)
    np.testing.assert_array_equal(pictures, renders())
    assert (pictures[0] != pictures[2]).any(), "two pictures of one prompt are not the same"


def test_the_miniatures_pictures_show_the_prompts_scenes_without_flaws():
    verdicts = sources.judge("miniature/judge").judge(renders())
    assert not verdicts.flawed.any()
    assert verdicts.matches(PROMPTS * 4).all()


def test_a_folder_counts_what_is_left_out(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    pictures, left_out = sources.fid_reference(str(tmp_path), [], seed=0)
    assert len(list(pictures)) == 3 and left_out == {FOREIGN: 1}


def test_too_few_pictures_are_refused(tmp_path):
    pictures, _ = pictures_in(tmp_path / "nowhere")
    with pytest.raises(Problem, match="too few reference pictures"):
        list(pictures)
    save_png(tmp_path / "one.png", np.zeros((4, 4, 3), np.uint8))
    pictures, _ = pictures_in(tmp_path)
    with pytest.raises(Problem, match="(?s)too few reference pictures.*found: *1 in"):
        list(pictures)


def test_every_picture_that_the_folder_names_is_read_or_counted(tmp_path):
    for name in ("a.png", "far/b.png"):
        save_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    folder = tmp_path / "reference"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.jfif", "JPEG")
    Image.new("RGB", (4, 4)).save(folder / "b.gif")
    Image.new("RGB", (4, 4)).save(folder / "c.TIF", "TIFF")
    (folder / "d.png").symlink_to("nowhere.png")
    (folder / "more").symlink_to("no such folder")
    (folder / "notes.txt").write_text("x")
    (folder / "linked").symlink_to(tmp_path / "far")
    (folder / "circle").symlink_to(folder)
    pictures, left_out = pictures_in(folder)
    assert len(list(pictures)) == 2 and left_out == {FOREIGN: 2, MISSING: 2}


def test_foreign_files_are_passed_over(tmp_path):
    for name in ("a.png", "b.PNG", "deep/c.png"):
        save_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    for name in ("._a.png", "__MACOSX/a.png", ".hidden/a.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    pictures, left_out = pictures_in(tmp_path)
    assert len(list(pictures)) == 3 and not left_out
