"""The pictures of choices: a row per picture, and choices with bad pictures left out."""

import pandas as pd
import pytest
from toy import write_choices

from alignsd.base import images
from alignsd.base.errors import Problem
from alignsd.reward.pictures import images_of, readable_choices


def test_a_row_per_picture():
    choices = pd.DataFrame(
        {
            "id": [7, 8],
            "prompt": ["a", "b"],
            "file_path": [["7_0.png", "7_1.png"], ["8_0.png", "8_1.png", "8_2.png"]],
            "human_preference": [1, 2],
        }
    )
    rows = images_of(choices)
    assert rows["id"].tolist() == [7, 7, 8, 8, 8]
    assert rows["index"].tolist() == [0, 1, 0, 1, 2]
    assert rows["preferred"].tolist() == [False, True, False, False, True]


def test_choices_with_bad_pictures_are_left_out_whole_and_counted(tmp_path):
    choices = write_choices(tmp_path)
    same, none = readable_choices(choices, tmp_path)
    pd.testing.assert_frame_equal(same, choices)
    assert not none
    whole = (tmp_path / "1_0.png").read_bytes()
    (tmp_path / "1_0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "3_1.png").unlink()
    (tmp_path / "3_0.png").write_bytes(b"")
    (tmp_path / "5_0.png").write_text("<html>")
    left, reasons = readable_choices(choices, tmp_path)
    assert left["id"].tolist() == [0, 2, 4, 6, 7] and left.index.tolist() == [0, 1, 2, 3, 4]
    assert reasons == {images.DAMAGED: 1, images.EMPTY: 1, images.FOREIGN: 1}
    with pytest.raises(Problem, match="8 choices left out .missing file: 8"):
        readable_choices(choices, tmp_path / "elsewhere")
    assert readable_choices(choices, tmp_path / "elsewhere", needed=False)[0].empty
