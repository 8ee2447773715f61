"""The selected pictures: what an imagefolder's rows carry, and what a judge says of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import scored

from alignsd.base.images import save_png
from alignsd.select import picks, rule


@pytest.fixture
def selected():
    """Return a selection of one prompt: image a is the positive, image d the negative."""
    return rule.select(rule.group(scored([30, 20, 20, 10])))


class DarkIsFlawed:
    """A judge that calls dark pictures flawed, and remembers how many it was shown at a time."""

    def __init__(self):
        self.batches = []

    def judge(self, pictures):
        self.batches.append(len(pictures))
        return SimpleNamespace(flawed=np.array([picture.max() < 100 for picture in pictures]))


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_picks_carry_what_was_compared(selected):
    rows = picks.picks(selected)
    assert rows["file_name"].tolist() == ["positive/p-a.png", "negative/p-d.png"]
    assert rows["label"].tolist() == ["positive", "negative"]
    assert rows["text"].tolist() == ["p", "p"]
    softmax = 1 / (1 + 2 * np.exp(-10) + np.exp(-20))
    assert rows["p"].to_numpy() == pytest.approx([softmax, softmax])


def test_flaw_rates_join_by_id(selected):
    flawed = pd.Series({"p-d.png": True, "p-a.png": False, "p-b.png": False, "x.png": True})
    rates = picks.flaw_rates(selected, flawed).set_index("group")
    assert rates["rate"].to_dict() == {
        "positives": 0,
        "all images": pytest.approx(1 / 3),
        "negatives": 1,
    }
    assert rates["n"].to_dict() == {"positives": 1, "all images": 3, "negatives": 1}
    assert (rates["low"] <= rates["rate"]).all()
    assert (rates["rate"] <= rates["high"]).all()


def test_without_a_judge_no_picture_is_read(selected):
    def pictures():
        raise AssertionError("a picture was read")
        yield

    verdicts = picks.flaws_by_judge(None, pictures())
    assert picks.flaw_rates(selected, verdicts).empty


def test_a_judge_sees_a_few_pictures_at_a_time():
    judge = DarkIsFlawed()
    pictures = ((name, picture(value)) for name, value in zip("abc", (0, 200, 50), strict=True))
    verdicts = picks.flaws_by_judge(judge, pictures, batch=2)
    assert verdicts.to_dict() == {"a": True, "b": False, "c": True}
    assert judge.batches == [2, 1]


def test_a_judge_looks_at_files(tmp_path):
    save_png(tmp_path / "dark.png", picture(0))
    save_png(tmp_path / "light.png", picture(200))
    files = ["light.png", "dark.png"]
    verdicts = picks.flawed_files(DarkIsFlawed(), tmp_path, files)
    assert verdicts == {"light.png": False, "dark.png": True}
    assert picks.flawed_files(None, tmp_path, files) == {}
