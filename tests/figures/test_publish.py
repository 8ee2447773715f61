"""Figures: what is saved, that it is the same every time, and that plot functions draw what the tables say."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alignsd.compare import user_study
from alignsd.figures import comparing, method, publish
from alignsd.kit.provenance import code_sha256
from alignsd.kit.stage import begin
from alignsd.kit.stage_record import input_state

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

pytestmark = pytest.mark.usefixtures("style")


def small_figure():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.errorbar([1, 2], [3, 4], yerr=[0.5, 0.5])
    ax.set(xlabel="x", ylabel="y", title="fi ff ö")
    return fig


def test_a_figure_is_picture_pdf_and_numbers_with_their_origin(kit, notebook):
    source = notebook("08_figures", "seed = 0  # seed", "print(seed)")
    notebook("07_evaluate", "seed = 0  # seed")
    begin("07_evaluate", {"run": "trial", "seed": 0}).finish({"answer": 42})
    table = pd.DataFrame({"x": [1, 2], "y": [0.5, np.nan]})
    path = publish.publish(small_figure(), "small", {"table": table}, ["07_evaluate/arms.parquet", "06_generate/images"], run="trial")
    assert path == kit / "figures" / "trial" / "small.png"
    assert sorted(p.name for p in path.parent.iterdir()) == ["small.json", "small.pdf", "small.png"]
    saved = json.loads((path.parent / "small.json").read_text())
    assert saved["data"] == {"table": [{"x": 1, "y": 0.5}, {"x": 2, "y": None}]}
    assert saved["origin"] == {"run": "trial", "preset": "mini", "notebook": "08_figures",
                               "stage_files": ["06_generate/images", "07_evaluate/arms.parquet"],
                               "code_sha256": code_sha256(source), "stages": {"07_evaluate": input_state("trial", "07_evaluate")}}
    assert Image.open(path).width == 600


SAVE = """
import sys, matplotlib; matplotlib.use("Agg")
from matplotlib import pyplot as plt
from alignsd.figures import publish, style
style.use()
fig, ax = plt.subplots(figsize=(3, 2)); ax.plot([1, 3, 2]); ax.set_title("fi ff ö"); ax.set_xlabel("xyz")
publish.save(fig, "same", sys.argv[1], {"y": [1, 3, 2]}, {})
"""


def test_equal_figures_are_equal_files_in_any_process(tmp_path):
    for number in (1, 2):
        environment = {"PYTHONHASHSEED": str(number), "PYTHONPATH": str(Path(publish.__file__).parents[2])}
        subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / str(number))], check=True, env=environment)
    for suffix in ("png", "pdf", "json"):
        one, two = ((tmp_path / n / f"same.{suffix}").read_bytes() for n in "12")
        assert one == two, suffix
        assert b"CreationDate" not in one and b"Matplotlib" not in one


def texts(fig):
    return [text.get_text() for text in fig.texts]


def test_every_run_but_the_papers_says_so_inside_the_figure(kit):
    assert texts(publish.label_preset(small_figure(), "mini")) == ["preset mini - simulated people and pictures"]
    assert texts(publish.label_preset(small_figure(), "trial", "")) == ["preset mini, run trial"]
    record = kit / "papermill_runs" / "full" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"preset": "paper"}')
    assert texts(publish.label_preset(small_figure(), "full")) == []


def test_the_label_is_below_everything_else(kit):
    fig = publish.label_preset(small_figure(), "mini")
    fig.canvas.draw()
    label = fig.texts[-1].get_window_extent()
    assert label.y1 <= min(ax.get_tightbbox().y0 for ax in fig.axes) + 1
    assert label.x1 <= fig.bbox.x1 and label.y0 >= 0


def test_plain_knows_what_json_does_not():
    value = {"a": np.array([[1, 2]]), "b": [np.float32(0.5), np.inf, pd.NA], "c": pd.Series([True]), 3: (None, "x")}
    assert publish.plain(value) == {"a": [[1, 2]], "b": [0.5, None, None], "c": [True], "3": [None, "x"]}


def arms_table():
    rows = []
    for i, arm in enumerate(comparing.ARMS):
        rows += [(arm, "flaw_rate", 0.1 * i + 0.1, 0.1 * i, 0.1 * i + 0.15, 512), (arm, "match_rate", 0.98, 0.96, 1.0, 512),
                 (arm, "fid", 5.0 + i, 4.0 + i, 6.0 + i, 512), (arm, "hps", 19.0 + i, 18.0 + i, 20.0 + i, 512),
                 (arm, "clip_score", 0.28, 0.27, 0.29, 512), (arm, "aesthetic", 5.9, 5.8, 6.0, 512)]
    return pd.DataFrame(rows, columns=["arm", "metric", "value", "low", "high", "n"])


def test_bars_show_percent_with_their_interval():
    fig, ax = plt.subplots()
    comparing.rate_bars(ax, arms_table(), "flaw_rate", "drawn wrong")
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([70, 60, 50, 40, 30, 20, 10])
    assert "n = 512" in ax.get_xlabel()
    (bars,) = ax.collections
    first = bars.get_segments()[0]
    assert sorted(first[:, 0]) == pytest.approx([60, 75])


def test_every_colour_of_the_arms_stands_in_the_legend():
    fig = comparing.flaws_and_match(plt.figure(figsize=(9.5, 4.6)), arms_table())
    explained = {patch.get_facecolor() for patch in fig.legends[0].get_patches()}
    assert {bar.get_facecolor() for ax in fig.axes for bar in ax.patches} == explained


def test_table_4_prints_hps_as_the_raw_cosine_and_the_papers_rows():
    frame = comparing.table_4_frame(arms_table(), pd.DataFrame(columns=["arm", "metric", "value", "low", "high"]))
    assert frame.loc["original", "hps"] == "0.1900 [0.1800, 0.2000]"
    assert frame.loc["original", "fid"] == "5.00 [4.00, 6.00]"
    assert frame.loc["paper: adapted_negative"].to_list() == ["19.35", "6.06", "0.2831", "0.1916"]


def test_table_4_names_the_features_and_marks_axes_that_are_cut():
    for network, words in (("inception", "Inception's features"), ("miniature/judge", "the judge's features")):
        fig = comparing.table_4(plt.figure(figsize=(9.5, 3.2)), arms_table(), network)
        assert words in fig.axes[0].get_xlabel()
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()][-1] == "original"
    cut = [any(line.get_transform() == ax.transAxes for line in ax.lines) for ax in fig.axes]
    assert cut == [ax.get_xlim()[0] > 0 for ax in fig.axes] and not cut[0]
    assert "paper 19.35" in [text.get_text() for text in fig.axes[0].texts]


def test_the_table_says_where_the_control_is_as_good_as_the_papers_arm():
    rows = [("fid", -4, -5, -3), ("aesthetic", -0.5, -0.6, -0.4), ("hps", 1.5, -0.1, 3), ("flaw_rate", -0.2, -0.3, -0.1)]
    difference = pd.DataFrame([("adapted_negative", *row) for row in rows], columns=["arm", "metric", "value", "low", "high"])
    assert comparing.control_verdicts(difference) == {"fid": "worse", "aesthetic": "better", "hps": "no difference seen"}
    printed = comparing.table_4_frame(arms_table(), difference).loc["control against the paper's arm"]
    assert printed.to_list() == ["worse", "better", "-", "no difference seen"]


def test_votes_show_the_share_of_prompts_with_interval():
    votes = pd.DataFrame({"prompt_id": range(4), "original": [5, 5, 10, 15], "adapted": [15, 15, 10, 5], "voters": 20})
    fig, ax = plt.subplots()
    comparing.votes_histogram(ax, votes, user_study.majorities(votes, 0))
    labels = ax.get_legend_handles_labels()[1]
    assert labels[2].startswith("the adapted model wins: 50 % of prompts [") and labels[1].startswith("tie: 25 %")
    assert sum(bar.get_height() for bar in ax.patches) == 4


def test_a_study_without_people_says_so():
    votes = pd.DataFrame({"prompt_id": ["p0"], "original": 0, "adapted": 0, "voters": 0})
    fig, ax = plt.subplots()
    comparing.votes_histogram(ax, votes, user_study.majorities(votes, 0))
    assert [text.get_text() for text in ax.texts] == ["nobody was asked"]


def no_overlap(fig, artists):
    fig.canvas.draw()
    boxes = [artist.get_window_extent() for artist in artists]
    return not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_the_scorecards_texts_do_not_overlap():
    claim = "HPS predicts choices better than the aesthetic predictor (points of accuracy; 43.5 against 33.1 %), and more"
    rows = [{"claim": claim, "paper": 0.0018, "value": 0.0288, "low": -0.0299, "high": 0.0893, "n": 5000, "source": source,
             "verdict": verdict} for verdict in comparing.VERDICT_COLOURS for source in ("Table 2", "the miniature's own claim")]
    fig = comparing.scorecard_picture(plt.figure(figsize=(9.5, 4.6)), rows)
    assert no_overlap(fig, fig.axes[0].texts)


def test_the_scorecard_keeps_published_digits_and_puts_own_claims_below():
    rows = [{"claim": name, "paper": paper, "value": 1.0, "low": 0.0, "high": 2.0, "n": 9, "source": source, "verdict": "reproduced"}
            for name, paper, source in (("own", None, "the miniature's own claim"), ("theirs", 74.0, "Table 4"))]
    texts = {text.get_text(): text.get_position()[1] for text in comparing.scorecard_picture(plt.figure(), rows).axes[0].texts}
    assert "74" in texts and texts["theirs"] < texts["The miniature's own claims"] < texts["own"], "y grows downwards"


def test_the_schemes_texts_do_not_overlap_and_it_tells_this_runs_settings():
    fig, ax = plt.subplots(figsize=(9.5, 4.6))
    method.scheme(ax, method.steps(10, 6, 1.5, "Weird image. "))
    boxes = [text.get_bbox_patch() for text in ax.texts if text.get_bbox_patch()]
    assert no_overlap(fig, boxes + [text for text in ax.texts if text.get_text() and not text.get_bbox_patch()])
    words = " ".join(text.get_text().replace("\n", " ") for text in ax.texts)
    assert "last 10 image groups and 6 text layers" in words and "softmax > 1.5 / n" in words
