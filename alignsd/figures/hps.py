"""Figures of the Human Preference Score: Table 2, training-set size, score distributions, HPS against CLIP score."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alignsd.figures import BLUE, GREY, VERMILLION

PAPER_TABLE_2 = {"random guess": 26.1, "CLIP": 32.9, "aesthetic predictor": 33.1, "another person": 42.0, "HPS": 43.5}


def accuracy_bars(ax: Axes, accuracy: pd.DataFrame) -> Axes:
    """Draws Table 2: this run's accuracy with 95 % interval, and the paper's where it gives one.

    Args:
        ax: where to draw.
        accuracy: ``predictor``, ``accuracy``, ``low``, ``high``, ``n``; fractions.
    """
    rows = accuracy.iloc[::-1].reset_index(drop=True)
    value, low, high = (100 * rows[c].to_numpy() for c in ("accuracy", "low", "high"))
    colours = [BLUE if name == "HPS" else GREY for name in rows["predictor"]]
    ax.barh(rows["predictor"], value, color=colours, xerr=[value - low, high - value], error_kw={"capsize": 3, "lw": 1.2})
    paper = np.array([PAPER_TABLE_2.get(name, np.nan) for name in rows["predictor"]])
    ax.scatter(paper, np.arange(len(rows)), marker="D", s=30, color=VERMILLION, edgecolor="white", zorder=3,
               label="paper, real people")
    for y, (v, right) in enumerate(zip(value, np.fmax(high, paper), strict=True)):
        ax.text(right + 1.2, y, f"{v:.1f}", va="center")
    ax.set(xlabel=f"choices predicted right, % (n = {int(rows['n'].max())}, 95 % interval)", xlim=(0, np.fmax(high, 0).max() + 9))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def size_curve(ax: Axes, curve: pd.DataFrame, accuracy: pd.DataFrame) -> Axes:
    """Draws accuracy against the number of training choices, between CLIP and the best possible predictor.

    Args:
        ax: where to draw.
        curve: ``choices``, ``accuracy``, ``low``, ``high``.
        accuracy: Table 2's rows, for the horizontal lines.
    """
    value, low, high = (100 * curve[c].to_numpy() for c in ("accuracy", "low", "high"))
    ax.errorbar(curve["choices"], value, yerr=[value - low, high - value], marker="o", color=BLUE, capsize=3, label="HPS")
    levels = accuracy.set_index("predictor")["accuracy"] * 100
    for name, style in (("CLIP", "--"), ("another person", ":"), ("best possible", "-.")):
        if name in levels:
            ax.axhline(levels[name], color=GREY, linestyle=style, label=name)
    ax.set(xlabel="choices trained on", ylabel="accuracy, %")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)  # lines may lie anywhere inside
    return ax


def score_histogram(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draws how HPS is distributed over chosen and other images (``hps``, ``preferred``)."""
    bins = np.histogram_bin_edges(scores["hps"], bins=40)
    for preferred, name, colour in ((True, "chosen", BLUE), (False, "not chosen", VERMILLION)):
        part = scores.loc[scores["preferred"] == preferred, "hps"]
        ax.hist(part, bins=bins, density=True, alpha=0.55, color=colour, label=f"{name} (mean {part.mean():.2f}, n = {len(part)})")
        ax.axvline(part.mean(), color=colour, lw=1.6)
    ax.set(xlabel="HPS", ylabel="density", ylim=(0, ax.get_ylim()[1] * 1.25))
    ax.legend(loc="upper left")
    return ax


def hps_against_clip(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draws HPS against CLIP score (100 x cosine each), one dot per image, with their correlation."""
    for preferred, name, colour in ((False, "not chosen", VERMILLION), (True, "chosen", BLUE)):
        part = scores[scores["preferred"] == preferred]
        ax.scatter(part["clip"], part["hps"], s=7, alpha=0.45, color=colour, label=name, linewidths=0)
    r = np.corrcoef(scores["clip"], scores["hps"])[0, 1]
    ax.set(xlabel="CLIP score x 100", ylabel="HPS", title=f"correlation {r:.2f}, n = {len(scores)} images")
    ax.legend(loc="upper left", markerscale=2)
    return ax


def loss_curve(ax: Axes, loss: pd.DataFrame) -> Axes:
    """Draws the training loss in nats, each step and its running mean (``step``, ``loss``)."""
    window = max(2, len(loss) // 20)
    ax.plot(loss["step"], loss["loss"], color=GREY, lw=0.6, alpha=0.6, label="each step")
    ax.plot(loss["step"], loss["loss"].rolling(window, min_periods=1).mean(), color=BLUE, label=f"mean of {window} steps")
    ax.axhline(np.log(4), color=VERMILLION, linestyle="--", label="guessing among 4")
    ax.set(xlabel="step", ylabel="cross-entropy, nats")
    ax.legend(loc="best")
    return ax
