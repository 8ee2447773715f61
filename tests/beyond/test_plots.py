"""Figures of the other ways, drawn from tables whose numbers are known."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from alignsd.base.images import save_png
from alignsd.beyond import plots
from alignsd.figures.alt import alternative_text

COLUMNS = ["arm", "metric", "value", "low", "high", "n"]


def measured(*rows):
    return pd.DataFrame([(*row, 9) for row in rows], columns=COLUMNS)


def axes():
    return Figure().add_subplot()


def test_a_line_per_score_falls_with_the_number_of_pictures():
    rows = [("hps", n, "flaw_rate", 0.4 / n, 0.1 / n, 0.5 / n, 30) for n in (1, 2, 4)]
    rows += [("random", n, "flaw_rate", 0.4, 0.3, 0.5, 30) for n in (1, 2, 4)]
    names = ["by", "n", "metric", "value", "low", "high", "count"]
    ax = plots.best_of_lines(axes(), pd.DataFrame(rows, columns=names))
    first, *_ = ax.containers[0].lines
    assert first.get_ydata() == pytest.approx([40, 20, 10])
    assert "HPS 40.0, 20.0, 10.0" in alternative_text(ax.figure)
    assert "30 prompts" in ax.get_title()


def test_bars_of_the_metrics_that_there_are():
    table = measured(
        ("original", "flaw_rate", 0.3, 0.2, 0.4),
        ("dpo_hps", "flaw_rate", 0.1, 0.05, 0.2),
        ("original", "hps", 50.0, 49.0, 51.0),
        ("dpo_hps", "hps", 54.0, 53.0, 55.0),
    )
    fig = plots.bars(Figure(), table, ["flaw_rate", "match_rate", "hps"])
    assert len(fig.axes) == 2, "no judge, no match"
    assert [bar.get_width() for bar in fig.axes[0].patches] == pytest.approx([10, 30])
    assert "original 30.0" in alternative_text(fig)
    assert "does not begin at 0" in fig.axes[1].get_xlabel()


def strengths():
    return measured(
        ("dpo_hps@0", "hps", 50.0, 49.0, 51.0),
        ("dpo_hps@1", "hps", 54.0, 53.0, 55.0),
        ("dpo_hps@0.5", "hps", 52.0, 51.0, 53.0),
        ("dpo_hps@0", "flaw_rate", 0.3, 0.2, 0.4),
        ("dpo_hps@1", "flaw_rate", 0.1, 0.0, 0.2),
        ("dpo_hps@0.5", "flaw_rate", 0.2, 0.1, 0.3),
    )


def test_the_panel_has_a_place_per_metric_in_the_order_of_the_strength():
    fig = plots.panel(Figure(), strengths())
    assert [ax.get_title() for ax in fig.axes] == ["HPS", "drawn wrong, %"]
    (line,) = fig.axes[1].lines
    assert line.get_xdata().tolist() == [0, 0.5, 1]
    assert line.get_ydata() == pytest.approx([30, 20, 10])
    assert "from 30 to 10" in alternative_text(fig)


def test_the_truth_stands_against_the_reward():
    ax = plots.reward_and_truth(axes(), strengths())
    path, *points, original = ax.lines
    assert list(path.get_xdata()) == [50, 52, 54]
    assert list(path.get_ydata()) == pytest.approx([30, 20, 10])
    sizes = [point.get_markersize() for point in points]
    assert sizes[-1] > sizes[0], "the largest strength is the large dot"
    assert list(original.get_xdata()) == [50] and original.get_label() == "original"
    assert "dpo_hps at HPS 54.0 and 10" in alternative_text(ax.figure)


def test_shares_of_an_attribute_fill_the_bar():
    table = measured(
        ("original", "tone: light", 0.6, 0.5, 0.7), ("original", "tone: dark", 0.4, 0.3, 0.5)
    )
    ax = plots.attribute_bars(axes(), table, "tone", ["light", "dark"])
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([60, 40])
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0, 60])
    empty = plots.attribute_bars(axes(), table, "", [])
    assert alternative_text(empty.figure)


def test_curves_of_the_trainings_on_pairs():
    curve = pd.DataFrame({"step": [0, 1], "accuracy": [0.5, 0.9], "winner": 0.1, "loser": 0.2})
    fig = plots.curves(Figure(), {"dpo_hps": curve}, window=1)
    assert len(fig.axes) == 3
    assert fig.axes[0].lines[0].get_ydata().tolist() == [50, 90]


def test_the_reward_rises():
    ax = plots.reward_curve(axes(), pd.DataFrame({"step": [0, 1], "loss": [-50.0, -52.0]}))
    assert ax.lines[0].get_ydata().tolist() == [50, 52]
    assert "from 50.0 to 52.0" in alternative_text(ax.figure)


def test_pairs_of_two_sources_stand_side_by_side(tmp_path):
    for name in ("a", "b"):
        save_png(tmp_path / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    pairs = pd.DataFrame({"prompt": ["x", "y"], "winner": "a.png", "loser": "b.png"})
    pairs["folder"] = str(tmp_path)
    tables = {"dpo_people": pairs, "dpo_hps": pairs.head(0)}
    fig = plots.pairs_of_sources(Figure(figsize=(8, 2)), tables, columns=2)
    assert sum(bool(ax.images) for ax in fig.axes) == 4
    assert "winner above the loser" in alternative_text(fig)
