"""The imagefolder: written whole, resumed without reading anew, and its faults counted."""

import json

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.adapt.regularization import Wanted
from alignsd.base.errors import Problem
from alignsd.base.images import FOREIGN, read_image
from alignsd.select import imagefolder


def rows(n: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file_name": [f"positive/{i}.png" for i in range(n)],
            "text": [f'a "cat"\nno. {i} é' for i in range(n)],
            "label": "positive",
            "hps": np.arange(n) / 3,
            "count": np.arange(n),
        }
    )


def reader(asked: list, leave_out: str = ""):
    def read(missing):
        for name in missing["file_name"]:
            asked.append(name)
            if name != leave_out:
                yield name, np.full((5, 7, 3), int(name[9]), np.uint8)

    return read


def test_round_trip(tmp_path):
    counts = imagefolder.write_imagefolder(tmp_path, rows(), reader([]))
    assert counts == {"written": 4, "there already": 0, "unreadable": 0}
    pd.testing.assert_frame_equal(imagefolder.read_imagefolder(tmp_path), rows(), check_dtype=False)
    assert (read_image(tmp_path / "positive" / "3.png") == 3).all()


def test_a_stopped_run_reads_only_what_is_missing(tmp_path):
    def stopping(missing):
        yield "positive/0.png", np.zeros((5, 7, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imagefolder.write_imagefolder(tmp_path, rows(), stopping)
    assert not (tmp_path / "metadata.jsonl").exists()
    asked = []
    counts = imagefolder.write_imagefolder(tmp_path, rows(), reader(asked))
    assert counts == {"written": 3, "there already": 1, "unreadable": 0}
    assert asked == ["positive/1.png", "positive/2.png", "positive/3.png"]
    at_once = tmp_path / "at once"
    imagefolder.write_imagefolder(at_once, rows(), reader([]))
    resumed = (tmp_path / "metadata.jsonl").read_bytes()
    assert resumed == (at_once / "metadata.jsonl").read_bytes()


def test_unreadable_pictures_are_counted_and_get_no_line(tmp_path):
    counts = imagefolder.write_imagefolder(tmp_path, rows(), reader([], "positive/2.png"))
    assert counts["unreadable"] == 1
    names = imagefolder.read_imagefolder(tmp_path)["file_name"].tolist()
    assert names == ["positive/0.png", "positive/1.png", "positive/3.png"]


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "a\\b.png", ""])
def test_file_names_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(Problem, match="below the folder"):
        imagefolder.write_imagefolder(tmp_path, rows(1).assign(file_name=name), reader([]))


def test_bad_lines_and_pictures_are_counted(tmp_path):
    imagefolder.write_imagefolder(tmp_path, rows(), reader([]))
    (tmp_path / "positive" / "1.png").write_bytes(b"no picture")
    (tmp_path / "positive" / "2.png").unlink()
    without_text = json.dumps({"file_name": "positive/0.png"})
    outside = json.dumps({"file_name": "../x.png", "text": "x"})
    extra = ["{", "[1]", without_text, outside, "", "[[", ""]
    with open(tmp_path / "metadata.jsonl", "a") as file:
        file.write("\n".join(extra))
    usable, reasons = imagefolder.read_rows(tmp_path)
    assert usable["file_name"].tolist() == ["positive/0.png", "positive/3.png"]
    assert reasons == {
        f"picture cannot be used: {FOREIGN}": 1,
        "picture is missing": 1,
        "line is not JSON": 2,
        "line lacks file_name or text": 2,
        "file_name leads out of the folder": 1,
    }
    with pytest.warns(UserWarning, match="7 of 9 lines left out"):
        imagefolder.read_imagefolder(tmp_path)


def test_a_folder_without_anything_usable_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="no imagefolder"):
        imagefolder.read_rows(tmp_path)
    (tmp_path / "metadata.jsonl").write_text("{\n")
    with pytest.raises(Problem, match="no usable picture"):
        imagefolder.read_rows(tmp_path)
    with pytest.raises(Problem, match="does not exist"):
        sources.regularization(str(tmp_path / "nowhere"), tmp_path, 0, Wanted(1))
