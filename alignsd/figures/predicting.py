"""Figures of the Human Preference Score: Table 2, training-set size, distributions, scatter."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from alignsd.base.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.style import Look
from alignsd.paper import TABLE_2

# Line of each predictor in the learning curve.
LEVELS = {
    "random guess": (0, (1, 3)),
    "CLIP": "--",
    "another person": ":",
    "best possible": "-.",
}
LEAST_GAP = 0.055  # between the names of two lines, as a share of the axis


def accuracy_bars(ax: Axes, accuracy: pd.DataFrame) -> Axes:
    """Draw Table 2: this run's accuracy with 95 % interval, and the paper's number where known.

    Args:
        ax: where to draw.
        accuracy: ``predictor``, ``accuracy``, ``low``, ``high``, ``n``; fractions.
    """
    upwards = accuracy.iloc[::-1].reset_index(drop=True)
    predictors = upwards["predictor"]
    values, reach = percent(upwards, "accuracy")
    colours = [BLUE if name == "HPS" else GREY for name in predictors]
    look: Look = {"capsize": 3, "lw": 1.2, "zorder": 4}
    ax.barh(predictors, values, color=colours, xerr=reach, error_kw=look)
    published = np.array([TABLE_2.get(name, np.nan) for name in predictors])
    ax.scatter(
        published,
        np.arange(len(upwards)),
        marker="|",
        s=400,
        linewidths=2.4,
        color=VERMILLION,
        zorder=3,
        label="the paper: real people, CLIP ViT-L/14, n = 5,000",
    )
    ours = []
    for row in upwards.itertuples():
        ours.append(f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]")
    theirs = ["-" if np.isnan(number) else f"{number:.1f}" for number in published]
    _text_column(ax, [*ours, "this run [95 %]"], points=100, colour=BLACK)
    _text_column(ax, [*theirs, "paper"], points=145, colour=VERMILLION)
    n = int(upwards["n"].max())
    highest = np.fmax(100 * upwards["high"], 0).max()
    ax.set(xlabel=f"choices predicted right, % (n = {n:,}, 95 % interval)")
    ax.set_xlim(0, highest + 3)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.04), markerscale=0.6)
    percents = alt.listed(accuracy["predictor"], 100 * accuracy["accuracy"])
    alt.describe(ax, f"Bars: percent of {n:,} choices that each predictor predicts: {percents}.")
    return ax


def _text_column(ax: Axes, texts: list[str], points: float, colour: str) -> None:
    """Write a column of texts at the right of horizontal bars, the last text as the title above.

    ``points`` is the distance from the axes' edge. A share of the axes' width would depend on the
    room for this very column.
    """
    for y, text in enumerate(texts):
        is_title = y == len(texts) - 1
        ax.annotate(
            text,
            (1, y),
            (points, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="center",
            weight="bold" if is_title else "normal",
            color=colour,
        )


def size_curve(ax: Axes, curve: pd.DataFrame, accuracy: pd.DataFrame) -> Axes:
    """Draw accuracy against the number of training choices.

    Horizontal lines show guessing, the best possible predictor, and what lies between.

    Args:
        ax: where to draw.
        curve: ``choices``, ``accuracy``, ``low``, ``high``, ``n``.
        accuracy: Table 2's rows, for the horizontal lines.
    """
    values, reach = percent(curve, "accuracy")
    n = int(curve["n"].max())
    words = f"HPS, n = {n:,} test choices, 95 % interval"
    look: Look = {"marker": "o", "color": BLUE, "capsize": 3}
    ax.errorbar(curve["choices"], values, yerr=reach, label=words, **look)
    levels = 100 * accuracy.set_index("predictor")["accuracy"].reindex(list(LEVELS)).dropna()
    for name, level in levels.items():
        ax.axhline(level, color=GREY, linestyle=LEVELS[name])
    lowest = min(100 * curve["low"].min(), *levels)
    highest = max(100 * curve["high"].max(), *levels)
    bottom = 5 * np.floor((lowest - 1) / 5)
    top = highest + 2
    ascending = levels.sort_values()
    places = _apart(ascending.tolist(), LEAST_GAP * (top - bottom))
    edge = ax.get_yaxis_transform()
    for (name, level), place in zip(ascending.items(), places, strict=True):
        ax.annotate(f"{name} {level:.1f}", (1.01, place), xycoords=edge, va="center", fontsize=9)
    ax.set(xlabel="choices trained on, log scale", ylabel="accuracy, %", xscale="log")
    ax.set_ylim(bottom, top)
    ax.set_xticks(curve["choices"], [f"{size:,}" for size in curve["choices"]])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0))  # lines may lie anywhere inside
    sizes = [f"{size:,} choices" for size in curve["choices"]]
    percents = alt.listed(sizes, values)
    lines = alt.listed(levels.index, levels)
    alt.describe(ax, f"Curve: percent predicted right after {percents}. Lines: {lines}.")
    return ax


def _apart(levels: list[float], gap: float) -> list[float]:
    """Return where to write the names of ascending levels, each at least ``gap`` above the last."""
    places: list[float] = []
    for level in levels:
        place = level
        if places:
            place = max(level, places[-1] + gap)
        places.append(place)
    return places


@dataclass(frozen=True)
class Group:
    """Scores of one kind of images, and the colour of these scores."""

    scores: pd.Series
    colour: str


def distribution(ax: Axes, groups: Mapping[str, Group], bins: int = 40) -> Axes:
    """Draw how HPS is distributed over groups of images, as outlines with their means.

    Args:
        ax: where to draw.
        groups: name -> scores and colour.
        bins: bins of the common histogram.
    """
    scores = pd.concat({name: group.scores for name, group in groups.items()}, names=["group"])
    seaborn.histplot(
        scores.rename("hps").reset_index(),
        x="hps",
        hue="group",
        palette={name: group.colour for name, group in groups.items()},
        bins=bins,
        stat="density",
        common_norm=False,
        element="step",
        fill=False,
        legend=False,
        ax=ax,
    )
    described = []
    for name, group in groups.items():
        mean = group.scores.mean()
        words = f"{name}: mean {mean:.2f}, standard deviation {group.scores.std():.2f}"
        words += f", n = {len(group.scores):,}"
        ax.axvline(mean, color=group.colour, lw=1.2, linestyle="--", label=words)
        described.append(words)
    ax.set(xlabel="HPS (100 × cosine)", ylabel="density of images")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    alt.describe(ax, f"Histogram of HPS. {'; '.join(described)}.")
    return ax


def score_histogram(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draw how HPS is distributed over chosen and other images (``hps``, ``preferred``)."""
    is_chosen = scores["preferred"].astype(bool)
    groups = {
        "chosen": Group(scores.loc[is_chosen, "hps"], BLUE),
        "not chosen": Group(scores.loc[~is_chosen, "hps"], VERMILLION),
    }
    return distribution(ax, groups)


def hps_against_clip(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draw HPS against CLIP score, one dot per image in random order, and the correlation.

    Args:
        ax: where to draw.
        scores: ``clip`` and ``hps`` (100 x cosine each), ``preferred``.
    """
    # Without the shuffle, one kind of dots would cover the other kind.
    mixed = scores.sample(frac=1, random_state=0)
    colours = np.where(mixed["preferred"].astype(bool), BLUE, VERMILLION)
    ax.scatter(mixed["clip"], mixed["hps"], s=8, alpha=0.55, c=colours, linewidths=0)
    for name, colour in (("chosen", BLUE), ("not chosen", VERMILLION)):
        ax.scatter([], [], s=24, color=colour, label=name)
    correlation = np.corrcoef(scores["clip"], scores["hps"])[0, 1]
    ax.set(xlabel="CLIP score (100 × cosine)", ylabel="HPS (100 × cosine)")
    title = f"correlation {correlation:.2f}, n = {len(scores):,} images"
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), title=title, ncols=2)
    alt.describe(ax, f"Dots: HPS against CLIP score, {title}.")
    return ax


def loss_curve(ax: Axes, loss: pd.DataFrame) -> Axes:
    """Draw the training loss in nats, each step and the running mean (``step``, ``loss``)."""
    window = max(2, len(loss) // 20)
    running_mean = loss["loss"].rolling(window).mean()
    ax.plot(loss["step"], loss["loss"], color=GREY, lw=0.6, alpha=0.6, label="each step")
    ax.plot(loss["step"], running_mean, color=BLUE, label=f"mean of {window} steps")
    ax.axhline(np.log(4), color=VERMILLION, linestyle="--", label="guessing among 4")
    ax.set(xlabel="step", ylabel="cross-entropy, nats")
    ax.legend(loc="best")
    ends = f"{running_mean.dropna().head(1).mean():.2f} to {running_mean.tail(1).mean():.2f}"
    alt.describe(
        ax, f"Curve: loss over {len(loss):,} steps; the mean of {window} steps goes from {ends}."
    )
    return ax
