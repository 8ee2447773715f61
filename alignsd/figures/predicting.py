"""Figures of the Human Preference Score: Table 2, training-set size, score distributions, HPS against CLIP score."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from alignsd.base.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.paper import TABLE_2

LEVELS = {"random guess": (0, (1, 3)), "CLIP": "--", "another person": ":", "best possible": "-."}  # predictor: line


def accuracy_bars(ax: Axes, accuracy: pd.DataFrame) -> Axes:
    """Draws Table 2: this run's accuracy with 95 % interval, and the paper's where it gives one.

    Args:
        ax: where to draw.
        accuracy: ``predictor``, ``accuracy``, ``low``, ``high``, ``n``; fractions.
    """
    rows = accuracy.iloc[::-1].reset_index(drop=True)
    value, low, high = (100 * rows[c].to_numpy() for c in ("accuracy", "low", "high"))
    colours = [BLUE if name == "HPS" else GREY for name in rows["predictor"]]
    ax.barh(rows["predictor"], value, color=colours, xerr=[value - low, high - value],
            error_kw={"capsize": 3, "lw": 1.2, "zorder": 4})
    paper = np.array([TABLE_2.get(name, np.nan) for name in rows["predictor"]])
    ax.scatter(paper, np.arange(len(rows)), marker="|", s=400, linewidths=2.4, color=VERMILLION, zorder=3,
               label="the paper: real people, CLIP ViT-L/14, n = 5,000")
    ours = [f"{row.accuracy:.1f} [{row.low:.1f}, {row.high:.1f}]" for row in (100 * rows[["accuracy", "low", "high"]]).itertuples()]
    theirs = ["-" if np.isnan(number) else f"{number:.1f}" for number in paper]
    for points, title, texts, colour in ((100, "this run [95 %]", ours, BLACK), (145, "paper", theirs, VERMILLION)):
        for y, text in enumerate([*texts, title]):  # points from the axes' edge: a share of their width would need room that it takes
            ax.annotate(text, (1, y), (points, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points", ha="right",
                        va="center", weight="bold" if text == title else "normal", color=colour)
    ax.set(xlabel=f"choices predicted right, % (n = {int(rows['n'].max()):,}, 95 % interval)", xlim=(0, np.fmax(high, 0).max() + 3))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.04), markerscale=0.6)
    return ax


def size_curve(ax: Axes, curve: pd.DataFrame, accuracy: pd.DataFrame) -> Axes:
    """Draws accuracy against the number of training choices, between guessing and the best possible predictor.

    Args:
        ax: where to draw.
        curve: ``choices``, ``accuracy``, ``low``, ``high``, ``n``.
        accuracy: Table 2's rows, for the horizontal lines.
    """
    value, low, high = (100 * curve[c].to_numpy() for c in ("accuracy", "low", "high"))
    ax.errorbar(curve["choices"], value, yerr=[value - low, high - value], marker="o", color=BLUE, capsize=3,
                label=f"HPS, n = {int(curve['n'].max()):,} test choices, 95 % interval")
    levels = 100 * accuracy.set_index("predictor")["accuracy"].reindex(LEVELS).dropna()
    for name, level in levels.items():
        ax.axhline(level, color=GREY, linestyle=LEVELS[name])
    bottom, top = 5 * np.floor((min(low.min(), *levels) - 1) / 5), max(high.max(), *levels) + 2
    for level, (name, place) in zip(levels.sort_values(), _apart(levels.sort_values(), 0.055 * (top - bottom)), strict=True):
        ax.annotate(f"{name} {level:.1f}", (1.01, place), xycoords=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.set(xlabel="choices trained on, log scale", ylabel="accuracy, %", xscale="log", ylim=(bottom, top))
    ax.set_xticks(curve["choices"], [f"{size:,}" for size in curve["choices"]])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0))  # lines may lie anywhere inside
    return ax


def _apart(levels: pd.Series, gap: float) -> list[tuple[str, float]]:
    """Returns where to write the names of ascending levels so that they do not touch: each at least ``gap`` above the last."""
    places: list[tuple[str, float]] = []
    for name, level in levels.items():
        places.append((name, max(level, places[-1][1] + gap) if places else level))
    return places


def distribution(ax: Axes, parts: Mapping[str, tuple[pd.Series, str]], bins: int = 40) -> Axes:
    """Draws how HPS is distributed over some sets of images, as outlines with their means.

    Args:
        ax: where to draw.
        parts: name -> (scores, colour).
        bins: of the common histogram.
    """
    edges = np.histogram_bin_edges(np.concatenate([scores for scores, _ in parts.values()]), bins=bins)
    for name, (scores, colour) in parts.items():
        words = f"{name}: mean {scores.mean():.2f}, standard deviation {scores.std():.2f}, n = {len(scores):,}"
        ax.hist(scores, bins=edges, density=True, histtype="step", lw=1.8, color=colour, label=words)
        ax.axvline(scores.mean(), color=colour, lw=1.2, linestyle="--")
    ax.set(xlabel="HPS (100 × cosine)", ylabel="density of images")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def score_histogram(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draws how HPS is distributed over chosen and other images (``hps``, ``preferred``)."""
    chosen = scores["preferred"].astype(bool)
    return distribution(ax, {"chosen": (scores.loc[chosen, "hps"], BLUE), "not chosen": (scores.loc[~chosen, "hps"], VERMILLION)})


def hps_against_clip(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draws HPS against CLIP score (100 x cosine each), one dot per image in random order, with their correlation."""
    mixed = scores.sample(frac=1, random_state=0)  # in order, one kind of dots would cover the other
    ax.scatter(mixed["clip"], mixed["hps"], s=8, alpha=0.55, c=np.where(mixed["preferred"].astype(bool), BLUE, VERMILLION), linewidths=0)
    for name, colour in (("chosen", BLUE), ("not chosen", VERMILLION)):
        ax.scatter([], [], s=24, color=colour, label=name)
    r = np.corrcoef(scores["clip"], scores["hps"])[0, 1]
    ax.set(xlabel="CLIP score (100 × cosine)", ylabel="HPS (100 × cosine)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), title=f"correlation {r:.2f}, n = {len(scores):,} images", ncols=2)
    return ax


def loss_curve(ax: Axes, loss: pd.DataFrame) -> Axes:
    """Draws the training loss in nats, each step and its running mean (``step``, ``loss``)."""
    window = max(2, len(loss) // 20)
    ax.plot(loss["step"], loss["loss"], color=GREY, lw=0.6, alpha=0.6, label="each step")
    ax.plot(loss["step"], loss["loss"].rolling(window).mean(), color=BLUE, label=f"mean of {window} steps")
    ax.axhline(np.log(4), color=VERMILLION, linestyle="--", label="guessing among 4")
    ax.set(xlabel="step", ylabel="cross-entropy, nats")
    ax.legend(loc="best")
    return ax
