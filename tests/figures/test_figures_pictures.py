"""Figures of pictures: what is framed, how pictures are chosen, and that no caption is cut off."""

from itertools import product

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from alignsd.base.images import read_image, save_png
from alignsd.base.plotting.colours import VERMILLION
from alignsd.compare.arms import TABLE_4, labels
from alignsd.figures import finetuning, pictures, publish, qualitative
from alignsd.figures.text import shortened
from alignsd.miniature import WEIGHTS
from alignsd.miniature.samples import samples

PROMPT = (
    "portrait of a person cheering in the meadow with a hat in a yellow shirt, "
    "trending on artstation"
)
BLACK = np.zeros((8, 8, 3), np.uint8)

pytestmark = pytest.mark.usefixtures("style")


@pytest.fixture
def images(tmp_path):
    rows = []
    for arm, prompt, sample in product(("original", "adapted_negative"), range(5), (0, 1)):
        key = f"p{prompt}-{sample}"
        rows.append((arm, key, sample, PROMPT, f"{arm}-{key}.png"))
        save_png(tmp_path / f"{arm}-{key}.png", BLACK)
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
    keys = zip(images["arm"], images["id"], strict=True)
    flawed = pd.array([key in wrong for key in keys], dtype="boolean")
    flaws = np.where(flawed, "two heads", "none")
    return images[["arm", "id"]].assign(status="ok", flawed=flawed, flaw=flaws)


def texts(artist):
    return [text.get_text() for text in artist.texts]


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
    assert texts(empty) == ["no picture to show"]


def test_groups_are_the_first_by_the_originals_verdict_and_say_what_they_stand_for(images, metrics):
    groups = qualitative.groups_by_original(images, metrics, 2)
    assert list(groups.values()) == [["p1-0", "p3-0"], ["p0-0", "p2-0"]]
    wrong, right = groups
    assert "wrong: 3 of 10 pictures (30 %)" in wrong
    assert "prompt: 2 of these are right (67 %)" in wrong
    assert "first 2 prompts" in wrong
    assert "right: 7 of 10 pictures (70 %)" in right
    assert "prompt: 6 of these are right (86 %)" in right


def test_groups_leave_out_what_is_not_good_in_every_arm(images, metrics):
    is_gone = (metrics["arm"] == "adapted_negative") & (metrics["id"] == "p1-0")
    metrics.loc[is_gone, "status"] = "missing"
    groups = qualitative.groups_by_original(images, metrics, 9)
    assert [ids for ids in groups.values() if "p1-0" in ids] == []


def test_without_a_judge_the_first_prompts_are_shown_without_legend(images, metrics, tmp_path):
    nobody_knows = pd.array([pd.NA] * len(metrics), dtype="boolean")
    groups = qualitative.groups_by_original(images, metrics.assign(flawed=nobody_knows), 2)
    assert groups == {"the first prompts": ["p0-0", "p1-0", "p2-0", "p3-0"]}
    fig = qualitative.qualitative(plt.figure(), images, tmp_path, groups, TABLE_4, {})
    assert not fig.legends


def test_the_qualitative_figure_explains_its_frames_and_has_pictures_of_one_size(
    images, metrics, tmp_path
):
    flawed = metrics.set_index(["arm", "id"])["flawed"].to_dict()
    groups = qualitative.groups_by_original(images, metrics, 2)
    fig = plt.figure(figsize=(9.5, 6))
    qualitative.qualitative(fig, images, tmp_path, groups, TABLE_4, flawed)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["the judge sees a flaw"]
    assert framed(fig) == [True, True, False, True, False, False, False, False]
    fig.canvas.draw()
    widths = [ax.get_window_extent().width for ax in fig.axes]
    assert max(widths) < 1.1 * min(widths)


def test_failures_name_the_flaw_and_cut_off_no_caption(images, metrics, tmp_path):
    originals = metrics[metrics["arm"] == "original"].head(8)
    fig = plt.figure(figsize=(9.5, 2.5))
    qualitative.failures(fig, originals, images, tmp_path)
    publish.label_preset(fig, "mini", "simulated people")
    fig.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert [ax.get_xlabel() for ax in fig.axes][1:3] == ["none", "two heads"]
    label = fig.texts[-1].get_window_extent()
    assert max(box.y1 for box in boxes) < fig.bbox.y1
    assert min(box.y0 for box in boxes) > label.y1


def test_samples_stand_beside_those_with_the_identifier_and_begin_before_training(tmp_path):
    rows = []
    for step, prompt, kind in product((0, 3), range(2), ("plain", "weird")):
        rows.append((step, f"{prompt}-{kind}", PROMPT, f"{prompt}-{kind}-{step}.png"))
    samples = pd.DataFrame(rows, columns=["step", "index", "prompt", "file"])
    for file in samples["file"]:
        save_png(tmp_path / file, BLACK)
    fig = finetuning.sample_strip(plt.figure(), samples, tmp_path, {"1-weird-3.png": True})
    assert framed(fig) == [False] * 7 + [True] and fig.legends
    assert [ax.get_title() for ax in fig.axes[:2]] == ["before", "step 3"]
    assert not finetuning.sample_strip(plt.figure(), samples, tmp_path).legends


def test_loss_panels_share_an_axis_and_average_full_windows_only():
    runs = ["adapted"] * 100 + ["regularization_only"] * 100
    loss = pd.DataFrame({"run": runs, "step": [*range(100)] * 2, "loss": 0.02})
    left, right = finetuning.loss_curves(plt.figure(), loss).axes
    assert left.get_ylim() == right.get_ylim()
    assert [left.get_title(), right.get_title()] == ["adapted", "regularization only"]
    assert np.isnan(left.lines[1].get_ydata()).sum() == 4


def test_a_sheet_shows_all_pictures_in_order_and_frames_what_the_judge_calls_wrong():
    shown = {str(i): np.full((4, 4, 3), i, np.uint8) for i in range(11)}
    fig = pictures.sheet(plt.figure(), shown, {"0": True, "3": False, "10": True}, columns=8)
    first_pixels = [ax.get_images()[0].get_array()[0, 0, 0] for ax in fig.axes[:11]]
    assert first_pixels == list(range(11))
    assert framed(fig)[:11] == [True] + [False] * 9 + [True]
    assert [ax.axison for ax in fig.axes] == [True] * 11 + [False] * 5
    assert len(fig.legends) == 1
    assert not pictures.sheet(plt.figure(), shown, {}).legends, "no frame needs no words"


def test_the_shipped_sheet_is_cut_into_its_pictures():
    drawn = samples()
    shapes = [picture.shape for picture in drawn.values()]
    assert shapes == 32 * [(64, 64, 3)]
    sheet = read_image(WEIGHTS / "samples.png")
    assert (drawn["0"] == sheet[:64, :64]).all()
    assert (drawn["9"] == sheet[64:128, 64:128]).all()


def test_a_picture_that_is_gone_leaves_the_grid_as_it_is(images, tmp_path):
    (tmp_path / "original-p1-0.png").unlink()
    (tmp_path / "original-p0-0.png").write_bytes(b"no picture")
    fig = pictures.picture_grid(plt.figure(), images, tmp_path, ["p0-0", "p1-0", "p2-0"], labels())
    damaged, missing, whole = (texts(ax) for ax in fig.axes[:3])
    assert len(damaged) == 1 and damaged[0]
    assert missing == ["missing file"] and whole == []
