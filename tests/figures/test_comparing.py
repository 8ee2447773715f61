"""Figures of the user study and of single pictures show the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.base.images import save_png
from alignsd.compare import user_study
from alignsd.figures import comparing

pytestmark = pytest.mark.usefixtures("style")


@pytest.fixture
def pairs(tmp_path):
    """Two pairs of pictures."""
    rows = []
    for prompt_id in ("p0", "p1"):
        files = [f"{arm}/{prompt_id}.png" for arm in ("original", "adapted_negative")]
        for file in files:
            save_png(tmp_path / file, np.zeros((8, 8, 3), np.uint8))
        rows.append((prompt_id, f"a cat {prompt_id}", *files))
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "original", "adapted"])


def votes(*rows):
    columns = ["prompt_id", "original", "adapted", "voters", "status"]
    return pd.DataFrame(rows, columns=columns)


def test_each_group_s_votes_stand_under_the_picture_they_are_for(pairs, tmp_path):
    simulated = votes(("p1", 6, 14, 20, "ok"), ("p0", 20, 0, 20, "ok"))
    readers = votes(("p0", 1, 2, 3, "ok"), ("p1", 0, 0, 0, "nobody was asked"))
    studies = {"simulated people": simulated, "readers": readers}
    axes = comparing.studied_pairs(plt.figure(), pairs, tmp_path, studies).axes
    assert [ax.get_xlabel() for ax in axes] == [
        "20 of 20\n1 of 3",
        "6 of 20\n-",
        "0 of 20\n2 of 3",
        "14 of 20\n-",
    ]


def test_no_pair_is_said(pairs, tmp_path):
    fig = comparing.studied_pairs(plt.figure(), pairs.head(0), tmp_path, {})
    assert [text.get_text() for text in fig.texts] == ["no pair to show"]


def test_majorities_stand_beside_each_other_and_beside_the_paper_s():
    won = user_study.majorities(votes(("p0", 1, 3, 4, "ok"), ("p1", 2, 2, 4, "ok")), seed=0)
    nobody = user_study.majorities(votes(("p0", 0, 0, 0, "nobody was asked")), seed=0)
    ax = plt.figure().subplots()
    comparing.majorities_beside(ax, {"simulated people": won, "readers": nobody})
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [
        "simulated people\nn = 2 prompts",
        "readers\nnobody voted yet",
        "the paper\nn = 100 prompts",
    ]
    points = [line.get_xydata()[0] for line in ax.lines if line.get_marker() in ("o", "D")]
    shares = sorted((round(y), x) for x, y in points)
    assert shares == [(0, 0.0), (0, 50.0), (0, 50.0), (2, 22.0), (2, 74.0)]


def test_scores_stand_under_the_pictures_and_bad_pictures_have_no_flaw(tmp_path):
    save_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    images = pd.DataFrame({"arm": ["original", "adapted_negative"], "id": ["p0-0", "p0-0"]})
    images = images.assign(file=["a.png", "missing.png"])
    metrics = images[["arm", "id"]].iloc[::-1].assign(hps=[np.nan, 46.876], clip_score=0.4752)
    metrics = metrics.assign(aesthetic=6.08, flaw=[None, "two heads"])
    axes = comparing.scored_pictures(plt.figure(), images, tmp_path, metrics).axes
    assert [ax.get_title() for ax in axes] == ["original", "adapted, negative prompt"]
    lines = axes[0].get_xlabel().splitlines()
    assert lines == [
        "HPS 46.88, CLIP score 0.4752",
        "aesthetic score 6.08",
        "the judge sees: two heads",
    ]
    assert "judge" not in axes[1].get_xlabel()
