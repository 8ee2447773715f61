"""Figures: what is saved, that equal figures are equal files, and what plot functions draw."""

import io
import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alignsd.base.errors import Problem
from alignsd.compare import user_study
from alignsd.compare.arms import labels
from alignsd.figures import comparing, method, pictures, publish, verdicts
from alignsd.kit.provenance import code_sha256
from alignsd.kit.stage import begin
from alignsd.kit.stage_record import input_state

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

pytestmark = pytest.mark.usefixtures("style")

NOTE = "simulated people and pictures"


def small_figure():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.errorbar([1, 2], [3, 4], yerr=[0.5, 0.5])
    ax.set(xlabel="x", ylabel="y", title="fi ff ö")
    return fig


@pytest.fixture
def drawing(notebook):
    """The stage of a notebook that draws, and the path that it read."""
    notebook("07_evaluate", "seed = 0  # seed")
    evaluation = begin("07_evaluate", {"run": "trial", "seed": 0})
    evaluation.path("images").mkdir()
    evaluation.finish({"answer": 42})
    notebook("08_figures", "seed = 0  # seed", "print(seed)")
    stage = begin("08_figures", {"run": "trial", "seed": 0}, needs=["07_evaluate"])
    return stage, stage.input("07_evaluate", "images")


def test_a_figure_is_picture_pdf_and_numbers_with_their_origin(kit, drawing):
    stage, images = drawing
    data = {"table": pd.DataFrame({"x": [1, 2], "y": [0.5, np.nan]})}
    path = publish.publish(small_figure(), "small", data, [images], stage=stage, note=NOTE)
    assert path == kit / "figures" / "trial" / "small.png"
    files = sorted(file.name for file in path.parent.iterdir())
    assert files == ["small.json", "small.pdf", "small.png"]
    saved = json.loads((path.parent / "small.json").read_text())
    assert saved["data"] == {"table": [{"x": 1, "y": 0.5}, {"x": 2, "y": None}]}
    assert saved["origin"] == {
        "run": "trial",
        "preset": "mini",
        "notebook": "08_figures",
        "stage_files": ["07_evaluate/images"],
        "code_sha256": code_sha256(kit / "notebooks/08_figures.ipynb"),
        "stages": {"07_evaluate": input_state("trial", "07_evaluate")},
    }
    assert Image.open(path).width == 600


def test_a_figure_cannot_name_a_file_that_was_not_read(drawing, kit):
    stage, images = drawing
    with pytest.raises(Problem, match="not read"):
        publish.publish(small_figure(), "x", {}, [images / "a"], stage=stage, note=NOTE)
    assert not (kit / "figures/trial/x.png").exists()


def test_the_origin_names_stages_that_are_finished_and_files_of_all(notebook):
    notebook("08_figures", "seed = 0  # seed")
    origin = publish.origin("trial", "08_figures", ["07_evaluate/b", "06_generate/a"])
    assert origin["stage_files"] == ["06_generate/a", "07_evaluate/b"] and origin["stages"] == {}


SAVE = """
import sys, matplotlib; matplotlib.use("Agg")
from pathlib import Path
import numpy as np
from matplotlib import pyplot as plt
from alignsd.figures import pictures, publish, style
style.use()
fig, (left, right) = plt.subplots(1, 2, figsize=(3, 2))
left.plot([1, 3, 2]); left.set_title("fi ff ö"); left.set_xlabel("xyz")
pictures.show(right, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
publish.save(fig, "same", Path(sys.argv[1]), {"y": [1, 3, 2]}, {})
"""


def test_equal_figures_are_equal_files_in_any_process(tmp_path):
    package = str(Path(publish.__file__).parents[2])
    for number in (1, 2):
        environment = {"PYTHONHASHSEED": str(number), "PYTHONPATH": package}
        command = [sys.executable, "-c", SAVE, str(tmp_path / str(number))]
        subprocess.run(command, check=True, env=environment)
    for suffix in ("png", "pdf", "json"):
        one, two = ((tmp_path / n / f"same.{suffix}").read_bytes() for n in "12")
        assert one == two, suffix
        assert b"CreationDate" not in one and b"Matplotlib" not in one


def written(fig, folder):
    """The figure as matplotlib draws it, and as it is published."""
    content = io.BytesIO()
    fig.savefig(content, format="png")
    path = publish.save(fig, "f", folder, {}, {})
    drawn = np.asarray(Image.open(content).convert("RGB"), dtype=int)
    published = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    return drawn, published, len(content.getvalue()), path.stat().st_size


def test_a_published_figure_looks_as_drawn_and_weighs_less(tmp_path):
    drawn, published, before, after = written(small_figure(), tmp_path)
    assert drawn.shape == published.shape and after < 0.7 * before
    assert np.abs(drawn - published).max() <= 32
    assert (published[0, 0] == 255).all(), "white stays white"


def test_a_small_picture_is_stored_in_the_pdf_as_it_is_and_a_large_one_as_drawn(tmp_path):
    for side, stored in ((64, b"/Width 64"), (512, b"/Width 512")):
        fig, ax = plt.subplots(figsize=(2, 2))
        pictures.show(ax, np.zeros((side, side, 3), np.uint8))
        path = publish.save(fig, str(side), tmp_path, {}, {})
        assert (stored in path.with_suffix(".pdf").read_bytes()) == (side == 64)


def texts(fig):
    return [text.get_text() for text in fig.texts]


def test_every_run_but_the_papers_says_so_inside_the_figure(kit):
    labelled = publish.label_preset(small_figure(), "mini", NOTE)
    assert texts(labelled) == ["preset mini - simulated people and pictures"]
    without_note = publish.label_preset(small_figure(), "trial", "")
    assert texts(without_note) == ["preset mini, run trial"]
    record = kit / "papermill_runs" / "full" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"preset": "paper"}')
    assert texts(publish.label_preset(small_figure(), "full", NOTE)) == []


def test_the_label_is_below_everything_else(kit):
    fig = publish.label_preset(small_figure(), "mini", NOTE)
    fig.canvas.draw()
    label = fig.texts[-1].get_window_extent()
    assert label.y1 <= min(ax.get_tightbbox().y0 for ax in fig.axes) + 1
    assert label.x1 <= fig.bbox.x1 and label.y0 >= 0


def test_plain_knows_what_json_does_not():
    value = {
        "a": np.array([[1, 2]]),
        "b": [np.float32(0.5), np.inf, pd.NA],
        "c": pd.Series([True]),
        3: (None, "x"),
    }
    expected = {"a": [[1, 2]], "b": [0.5, None, None], "c": [True], "3": [None, "x"]}
    assert publish.plain(value) == expected


def arms_table():
    rows = []
    for i, arm in enumerate(labels()):
        rows += [
            (arm, "flaw_rate", 0.1 * i + 0.1, 0.1 * i, 0.1 * i + 0.15),
            (arm, "match_rate", 0.98, 0.96, 1.0),
            (arm, "fid", 5.0 + i, 4.0 + i, 6.0 + i),
            (arm, "hps", 19.0 + i, 18.0 + i, 20.0 + i),
            (arm, "clip_score", 0.28, 0.27, 0.29),
            (arm, "aesthetic", 5.9, 5.8, 6.0),
        ]
    columns = ["arm", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(n=512)


def test_bars_show_percent_with_their_interval():
    fig, ax = plt.subplots()
    comparing.rate_bars(ax, arms_table(), "flaw_rate", "drawn wrong")
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == pytest.approx([70, 60, 50, 40, 30, 20, 10])
    assert "n = 512" in ax.get_xlabel()
    (bars,) = ax.collections
    first = bars.get_segments()[0]
    assert sorted(first[:, 0]) == pytest.approx([60, 75])


def test_every_colour_of_the_arms_stands_in_the_legend():
    fig = comparing.flaws_and_match(plt.figure(figsize=(9.5, 4.6)), arms_table())
    explained = {patch.get_facecolor() for patch in fig.legends[0].get_patches()}
    assert {bar.get_facecolor() for ax in fig.axes for bar in ax.patches} == explained


def test_table_4_prints_hps_as_the_raw_cosine_and_the_papers_rows():
    nothing = pd.DataFrame(columns=["arm", "metric", "value", "low", "high"])
    frame = comparing.table_4_frame(arms_table(), nothing)
    assert frame.loc["original", "hps"] == "0.1900 [0.1800, 0.2000]"
    assert frame.loc["original", "fid"] == "5.00 [4.00, 6.00]"
    published = frame.loc["paper: adapted_negative"].to_list()
    assert published == ["19.35", "6.06", "0.2831", "0.1916"]


@pytest.mark.parametrize(
    ("network", "words"),
    [("inception", "Inception's features"), ("miniature/judge", "the judge's features")],
)
def test_table_4_names_the_features(network, words):
    fig = comparing.table_4(plt.figure(figsize=(9.5, 3.2)), arms_table(), network)
    assert words in fig.axes[0].get_xlabel()


def test_table_4_marks_axes_that_are_cut():
    fig = comparing.table_4(plt.figure(figsize=(9.5, 3.2)), arms_table(), "miniature/judge")
    names = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert names[-1] == "original"
    is_cut = [any(line.get_transform() == ax.transAxes for line in ax.lines) for ax in fig.axes]
    assert is_cut == [ax.get_xlim()[0] > 0 for ax in fig.axes] and not is_cut[0]
    assert "paper 19.35" in texts(fig.axes[0])


def test_the_table_says_where_the_control_is_as_good_as_the_papers_arm():
    rows = [
        ("fid", -4, -5, -3),
        ("aesthetic", -0.5, -0.6, -0.4),
        ("hps", 1.5, -0.1, 3),
        ("flaw_rate", -0.2, -0.3, -0.1),
    ]
    difference = pd.DataFrame(rows, columns=["metric", "value", "low", "high"])
    difference = difference.assign(arm="adapted_negative")
    assert comparing.control_verdicts(difference) == {
        "fid": "worse",
        "aesthetic": "better",
        "hps": "no difference seen",
    }
    frame = comparing.table_4_frame(arms_table(), difference)
    printed = frame.loc["control against the paper's arm"].to_list()
    assert printed == ["worse", "better", "-", "no difference seen"]


def test_votes_show_the_share_of_prompts_with_interval():
    votes = pd.DataFrame({"original": [5, 5, 10, 15], "adapted": [15, 15, 10, 5]})
    votes = votes.assign(prompt_id=range(4), voters=20)
    fig, ax = plt.subplots()
    comparing.votes_histogram(ax, votes, user_study.majorities(votes, 0))
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words[2].startswith("the adapted model wins: 50 % of prompts [")
    assert words[1].startswith("tie: 25 %")
    assert sum(bar.get_height() for bar in ax.patches) == 4


def test_a_study_without_people_says_so():
    votes = pd.DataFrame({"prompt_id": ["p0"], "original": 0, "adapted": 0, "voters": 0})
    fig, ax = plt.subplots()
    comparing.votes_histogram(ax, votes, user_study.majorities(votes, 0))
    assert texts(ax) == ["nobody was asked"]


def no_overlap(fig, artists):
    fig.canvas.draw()
    boxes = [artist.get_window_extent() for artist in artists]
    return not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def claim(words, source, verdict, paper=0.0018):
    """A row of a scorecard."""
    numbers = {"paper": paper, "value": 0.0288, "low": -0.0299, "high": 0.0893, "n": 5000}
    return {"claim": words, "source": source, "verdict": verdict} | numbers


def test_the_scorecards_texts_do_not_overlap():
    words = "HPS predicts choices better than the aesthetic predictor "
    words += "(points of accuracy; 43.5 against 33.1 %), and more"
    rows = []
    for verdict in verdicts.COLOURS:
        for source in ("Table 2", "the miniature's own claim"):
            rows.append(claim(words, source, verdict))
    fig = verdicts.scorecard_picture(plt.figure(figsize=(9.5, 4.6)), rows)
    assert no_overlap(fig, fig.axes[0].texts)


def test_the_scorecard_keeps_published_digits_and_puts_own_claims_below():
    own = claim("own", "the miniature's own claim", "reproduced", paper=None)
    theirs = claim("theirs", "Table 4", "reproduced", paper=74.0)
    fig = verdicts.scorecard_picture(plt.figure(), [own, theirs])
    heights = {text.get_text(): text.get_position()[1] for text in fig.axes[0].texts}
    assert "74" in heights
    # y grows downwards.
    assert heights["theirs"] < heights["The miniature's own claims"] < heights["own"]


def test_the_schemes_texts_do_not_overlap_and_tell_this_runs_settings():
    fig, ax = plt.subplots(figsize=(9.5, 4.6))
    method.scheme(ax, method.steps(10, 6, 1.5, "Weird image. "))
    in_boxes = [text.get_bbox_patch() for text in ax.texts if text.get_bbox_patch()]
    others = [text for text in ax.texts if text.get_text() and not text.get_bbox_patch()]
    assert no_overlap(fig, in_boxes + others)
    words = " ".join(texts(ax)).replace("\n", " ")
    assert "last 10 image groups and 6 text layers" in words and "softmax > 1.5 / n" in words
