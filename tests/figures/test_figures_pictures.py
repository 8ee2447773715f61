"""Figures of pictures: what is framed, by which rule pictures are chosen, and that no caption is cut off."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.base.colours import VERMILLION
from alignsd.base.images import read_image, save_png
from alignsd.compare.arms import TABLE_4, labels
from alignsd.figures import finetuning, pictures, publish, qualitative
from alignsd.figures.text import shortened
from alignsd.miniature import WEIGHTS
from alignsd.miniature.samples import samples

PROMPT = "portrait of a person cheering in the meadow with a hat in a yellow shirt, trending on artstation"


pytestmark = pytest.mark.usefixtures("style")


@pytest.fixture
def images(tmp_path):
    rows = [
        (arm, f"p{p}-{s}", s, PROMPT, f"{arm}-p{p}-{s}.png")
        for arm in ("original", "adapted_negative")
        for p in range(5)
        for s in (0, 1)
    ]
    for row in rows:
        save_png(tmp_path / row[4], np.zeros((8, 8, 3), np.uint8))
    return pd.DataFrame(rows, columns=["arm", "id", "sample", "prompt", "file"])


@pytest.fixture
def metrics(images):
    wrong = {
        ("original", "p1-0"),
        ("original", "p2-1"),
        ("original", "p3-0"),
        ("adapted_negative", "p3-0"),
        ("adapted_negative", "p4-1"),
    }
    flawed = pd.array(
        [key in wrong for key in zip(images["arm"], images["id"], strict=True)], dtype="boolean"
    )
    return images[["arm", "id"]].assign(
        status="ok", flawed=flawed, flaw=np.where(flawed, "two heads", "none")
    )


def framed(fig):
    return [ax.spines["left"].get_visible() for ax in fig.axes]


def test_shortened():
    assert shortened("a cat", 5) == "a cat"
    assert shortened("a black cat", 10) == "a black …"
    assert shortened("a black cat on a mat", 7, 2) == "a black\ncat …"


def test_the_grid_frames_what_the_judge_calls_wrong(images, tmp_path):
    wrong = {("adapted_negative", "p1-0"): True}
    fig = pictures.picture_grid(plt.figure(), images, tmp_path, ["p0-0", "p1-0"], labels(), wrong)
    assert framed(fig) == [False, False, False, True], "arms that were not drawn have no row"
    assert fig.axes[3].spines["left"].get_edgecolor() == matplotlib.colors.to_rgba(VERMILLION)
    empty = pictures.picture_grid(plt.figure(), images, tmp_path, [], labels())
    assert [text.get_text() for text in empty.texts] == ["no picture to show"]


def test_groups_are_the_first_by_the_originals_verdict_and_say_what_they_stand_for(images, metrics):
    groups = qualitative.groups_by_original(images, metrics, 2)
    assert list(groups.values()) == [["p1-0", "p3-0"], ["p0-0", "p2-0"]]
    wrong, right = groups
    assert (
        "wrong: 3 of 10 pictures (30 %)" in wrong
        and "prompt: 2 of these are right (67 %)" in wrong
        and "first 2 prompts" in wrong
    )
    assert (
        "right: 7 of 10 pictures (70 %)" in right and "prompt: 6 of these are right (86 %)" in right
    )


def test_groups_leave_out_what_is_not_good_in_every_arm(images, metrics):
    metrics.loc[(metrics["arm"] == "adapted_negative") & (metrics["id"] == "p1-0"), "status"] = (
        "missing"
    )
    assert "p1-0" not in sum(qualitative.groups_by_original(images, metrics, 9).values(), [])


def test_without_a_judge_the_first_prompts_are_shown_without_legend(images, metrics, tmp_path):
    groups = qualitative.groups_by_original(
        images, metrics.assign(flawed=pd.array([pd.NA] * len(metrics), dtype="boolean")), 2
    )
    assert groups == {"the first prompts": ["p0-0", "p1-0", "p2-0", "p3-0"]}
    assert not qualitative.qualitative(plt.figure(), images, tmp_path, groups, TABLE_4, {}).legends


def test_the_qualitative_figure_explains_its_frames_and_has_pictures_of_one_size(
    images, metrics, tmp_path
):
    flawed = metrics.set_index(["arm", "id"])["flawed"].to_dict()
    groups = qualitative.groups_by_original(images, metrics, 2)
    fig = qualitative.qualitative(
        plt.figure(figsize=(9.5, 6)), images, tmp_path, groups, TABLE_4, flawed
    )
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["the judge sees a flaw"]
    assert framed(fig) == [True, True, False, True, False, False, False, False]
    fig.canvas.draw()
    widths = [ax.get_window_extent().width for ax in fig.axes]
    assert max(widths) < 1.1 * min(widths)


def test_failures_name_the_flaw_and_cut_off_no_caption(images, metrics, tmp_path):
    fig = qualitative.failures(
        plt.figure(figsize=(9.5, 2.5)),
        metrics[metrics["arm"] == "original"].head(8),
        images,
        tmp_path,
    )
    publish.label_preset(fig, "mini", "simulated people")
    fig.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert [ax.get_xlabel() for ax in fig.axes][1:3] == ["none", "two heads"]
    assert (
        max(box.y1 for box in boxes) < fig.bbox.y1
        and min(box.y0 for box in boxes) > fig.texts[-1].get_window_extent().y1
    )


def test_samples_stand_beside_those_with_the_identifier_and_begin_before_training(tmp_path):
    rows = [
        (step, f"{p}-{kind}", PROMPT, f"{p}-{kind}-{step}.png")
        for step in (0, 3)
        for p in range(2)
        for kind in ("plain", "weird")
    ]
    samples = pd.DataFrame(rows, columns=["step", "index", "prompt", "file"])
    for file in samples["file"]:
        save_png(tmp_path / file, np.zeros((8, 8, 3), np.uint8))
    fig = finetuning.sample_strip(plt.figure(), samples, tmp_path, {"1-weird-3.png": True})
    assert framed(fig) == [False] * 7 + [True] and fig.legends
    assert [ax.get_title() for ax in fig.axes[:2]] == ["before", "step 3"]
    assert not finetuning.sample_strip(plt.figure(), samples, tmp_path).legends


def test_loss_panels_share_an_axis_and_average_full_windows_only():
    loss = pd.DataFrame(
        {
            "run": ["adapted"] * 100 + ["regularization_only"] * 100,
            "step": [*range(100)] * 2,
            "loss": 0.02,
        }
    )
    left, right = finetuning.loss_curves(plt.figure(), loss).axes
    assert left.get_ylim() == right.get_ylim() and (left.get_title(), right.get_title()) == (
        "adapted",
        "regularization only",
    )
    assert np.isnan(left.lines[1].get_ydata()).sum() == 4


def test_a_sheet_shows_all_pictures_in_order_and_frames_what_the_judge_calls_wrong():
    shown = {str(i): np.full((4, 4, 3), i, np.uint8) for i in range(11)}
    fig = pictures.sheet(plt.figure(), shown, {"0": True, "3": False, "10": True}, columns=8)
    assert [int(ax.get_images()[0].get_array()[0, 0, 0]) for ax in fig.axes[:11]] == list(range(11))
    assert framed(fig)[:11] == [True] + [False] * 9 + [True]
    assert [ax.axison for ax in fig.axes] == [True] * 11 + [False] * 5


def test_the_shipped_sheet_is_cut_into_its_pictures():
    drawn = samples()
    assert len(drawn) == 32 and {picture.shape for picture in drawn.values()} == {(64, 64, 3)}
    sheet = read_image(WEIGHTS / "samples.png")
    assert (drawn["0"] == sheet[:64, :64]).all() and (drawn["9"] == sheet[64:128, 64:128]).all()


def test_a_picture_that_is_gone_leaves_the_grid_as_it_is(images, tmp_path):
    (tmp_path / "original-p1-0.png").unlink()
    (tmp_path / "original-p0-0.png").write_bytes(b"no picture")
    fig = pictures.picture_grid(plt.figure(), images, tmp_path, ["p0-0", "p1-0", "p2-0"], labels())
    said = [[text.get_text() for text in ax.texts] for ax in fig.axes[:3]]
    assert (
        said[2] == []
        and all(len(words) == 1 and words[0] for words in said[:2])
        and said[1] == ["missing file"]
    )
