"""Figures of the Human Preference Score: scored choices, Table 2, distributions, scatter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullLocator

from alignsd.base.plotting.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.pictures import CHOSEN_FRAME, LABEL, frame_legend, say, show_file
from alignsd.figures.style import Look
from alignsd.figures.text import shortened
from alignsd.paper import TABLE_2, TABLE_3
from alignsd.reward.scale import chances, choice_loss

# Line of each predictor in the learning curve.
LEVELS = {
    "random guess": (0, (1, 3)),
    "CLIP": "--",
    "another person": ":",
    "best possible": "-.",
}
LEAST_GAP = 0.055  # between the names of two lines, as a share of the axis
LARGEST_SCALE = 100  # of the logits, in CLIP
WHITE: Look = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # behind a number


def accuracy_bars(ax: Axes, accuracy: pd.DataFrame) -> Axes:
    """Draw Table 2: this run's accuracy with 95 % interval, and the paper's number where known.

    Args:
        ax: where to draw.
        accuracy: ``predictor``, ``accuracy``, ``low``, ``high``, ``n``; fractions.
    """
    table = accuracy.rename(columns={"accuracy": "value"})
    n = int(accuracy["n"].max())
    _bars_beside_the_paper(ax, table, TABLE_2, "the paper: real people, CLIP ViT-L/14, n = 5,000")
    ax.set(xlabel=f"choices predicted right, % (n = {n:,}, 95 % interval)")
    percents = alt.listed(accuracy["predictor"], 100 * accuracy["accuracy"])
    description = f"Bars: percent of {n:,} choices that each predictor predicts: {percents}."
    alt.describe(ax, description)
    return ax


def agreement_bars(ax: Axes, agreement: pd.DataFrame) -> Axes:
    """Draw Table 3: how often each predictor agrees with a person on pictures of two generators.

    Args:
        ax: where to draw.
        agreement: ``predictor``, ``value``, ``low``, ``high``, ``n``; fractions. Without rows, as
            where nobody was asked, the axes say so.
    """
    if agreement.empty:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "nobody was asked", ha="center")
        return ax
    n = int(agreement["n"].max())
    legend = "the paper: real people, Stable Diffusion and DALL-E, n = 398"
    _bars_beside_the_paper(ax, agreement, TABLE_3, legend)
    ax.axvline(50, color=BLACK, lw=0.8, ls=":")
    ax.set(xlabel=f"agreement with a person, % (n = {n:,} pairs, 95 % interval)")
    percents = alt.listed(agreement["predictor"], 100 * agreement["value"])
    alt.describe(ax, f"Bars: percent agreement with a person on {n:,} pairs: {percents}.")
    return ax


def _bars_beside_the_paper(
    ax: Axes, table: pd.DataFrame, paper: Mapping[str, float], legend: str
) -> None:
    """Draw a bar with an interval per predictor, and a mark at the paper's number.

    Args:
        ax: where to draw.
        table: ``predictor``, ``value``, ``low``, ``high``; fractions.
        paper: predictor -> published number, %; predictors may be absent.
        legend: who was asked in the paper.
    """
    upwards = table.iloc[::-1].reset_index(drop=True)
    predictors = upwards["predictor"]
    values, reach = percent(upwards, "value")
    colours = [BLUE if name == "HPS" else GREY for name in predictors]
    look: Look = {"capsize": 3, "lw": 1.2, "zorder": 4}
    ax.barh(predictors, values, color=colours, xerr=reach, error_kw=look)
    published = np.array([paper.get(name, np.nan) for name in predictors])
    ax.scatter(
        published,
        np.arange(len(upwards)),
        marker="|",
        s=400,
        linewidths=2.4,
        color=VERMILLION,
        zorder=3,
        label=legend,
    )
    ours = []
    for row in upwards.itertuples():
        ours.append(f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]")
    theirs = ["-" if np.isnan(number) else f"{number:.1f}" for number in published]
    _text_column(ax, [*ours, "this run [95 %]"], points=100, colour=BLACK)
    _text_column(ax, [*theirs, "paper"], points=145, colour=VERMILLION)
    highest = np.fmax(100 * upwards["high"], 0).max()
    ax.set_xlim(0, highest + 3)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.04), markerscale=0.6)


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
    description = f"Curve: percent predicted right after {percents}. Lines: {lines}."
    alt.describe(ax, description)
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
    description = f"Histogram of HPS. {'; '.join(described)}."
    alt.describe(ax, description)
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
    description = f"Dots: HPS against CLIP score, {title}."
    alt.describe(ax, description)
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
    description = (
        f"Curve: loss over {len(loss):,} steps; the mean of {window} steps goes from {ends}."
    )
    alt.describe(ax, description)
    return ax


def scored_choices(
    fig: Figure, choices: pd.DataFrame, folder: Path, scores: pd.DataFrame, names: Mapping[str, str]
) -> Figure:
    """Draw choices, one per row, with the scores below each picture; a frame marks the chosen one.

    Of each score, the highest of a choice stands in brackets.

    Args:
        fig: where to draw; about 2 inches of height per choice.
        choices: ``id``, ``prompt``, ``file_path``, ``human_preference``; a handful.
        folder: the data set's folder.
        scores: one row per image with ``id``, ``index`` and the scores.
        names: name of a score, as written -> column of ``scores``.
    """
    if choices.empty:
        say(fig, "no choice to show")
        return fig
    frame_legend(fig, CHOSEN_FRAME)
    panels = fig.subfigures(len(choices), 1, squeeze=False)[:, 0]
    for panel, choice in zip(panels, choices.to_dict("records"), strict=True):
        panel.suptitle(shortened(choice["prompt"], 90), fontsize=8.5, parse_math=False)
        scores_of_choice = scores[scores["id"] == choice["id"]].sort_values("index")
        words = _score_lines(scores_of_choice, names)
        _pictures_of_choice(panel, choice, folder, words)
    prompts = "; ".join(shortened(prompt, 90) for prompt in choices["prompt"])
    listed = ", ".join(names)
    description = f"Pictures of {len(choices)} choices with {listed} below. Prompts: {prompts}."
    alt.describe(fig, description)
    return fig


def _score_lines(scores: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Return a text per image of one choice: a line per score, the highest in brackets."""
    lines_of_image: list[list[str]] = [[] for _ in range(len(scores))]
    for name, column in names.items():
        values = scores[column].to_numpy()
        for lines, value in zip(lines_of_image, values, strict=True):
            text = f"{name} {value:.2f}"
            lines.append(f"[{text}]" if value == values.max() else text)
    return ["\n".join(lines) for lines in lines_of_image]


def _pictures_of_choice(
    panel: Figure | SubFigure, choice: Mapping[Any, Any], folder: Path, words: list[str]
) -> None:
    """Draw the pictures of a choice side by side, in at least four places, with words below."""
    axes = panel.subplots(1, max(4, len(words)), squeeze=False)[0]
    for ax in axes[len(words) :]:
        ax.set_visible(False)
    _show_choice(axes[: len(words)], choice, folder, words)


def _show_choice(
    axes: Sequence[Axes], choice: Mapping[Any, Any], folder: Path, words: Sequence[str]
) -> None:
    """Show each picture of a choice, with words below and a frame around the chosen one."""
    for index, (ax, text) in enumerate(zip(axes, words, strict=True)):
        is_chosen = index == choice["human_preference"]
        show_file(ax, folder / choice["file_path"][index], CHOSEN_FRAME if is_chosen else None)
        ax.set_xlabel(text, fontsize=LABEL)


@dataclass(frozen=True)
class ScaleView:
    """What ``choice_at_scale`` draws: a few choices, and the loss of many choices.

    Attributes:
        choices: as for ``scored_choices``; each was made by a person.
        folder: the data set's folder.
        scores: one row per image with ``id``, ``index`` and ``score`` (100 x cosine).
        loss: of many choices, from ``reward.scale.mean_loss``: ``scale``, ``loss``, ``n``.
    """

    choices: pd.DataFrame
    folder: Path
    scores: pd.DataFrame
    loss: pd.DataFrame


def choice_at_scale(view: ScaleView, scale: float, choice: str = "1") -> Figure:
    """Draw one choice at a scale of the logits: pictures, softmax, and the loss of the chosen one.

    Args:
        view: the choices, and the mean loss of many choices.
        scale: the factor of the cosines.
        choice: which choice of the view: ``"1"``, ``"2"`` and so on.
    """
    row = view.choices.iloc[int(choice) - 1].to_dict()
    is_of_choice = view.scores["id"] == row["id"]
    cosines = view.scores[is_of_choice].sort_values("index")["score"].to_numpy() / 100
    chosen = int(row["human_preference"])
    fig = Figure(figsize=(9.5, 3.8))
    left, right = fig.subfigures(1, 2, width_ratios=[3, 2], squeeze=False)[0]
    grid = left.add_gridspec(2, len(cosines))
    axes = [left.add_subplot(grid[0, column]) for column in range(len(cosines))]
    words = [f"cosine {cosine:.4f}" for cosine in cosines]
    _show_choice(axes, row, view.folder, words)
    left.suptitle(shortened(row["prompt"], 60), fontsize=8.5, parse_math=False)
    _softmax_bars(left.add_subplot(grid[1, :]), chances(cosines, scale), chosen)
    _loss_by_scale(right.subplots(), cosines, chosen, scale, view.loss)
    numbers = [f"picture {number}" for number in range(1, len(cosines) + 1)]
    shares = alt.listed(numbers, chances(cosines, scale), digits=2)
    loss = choice_loss(cosines, chosen, scale)
    description = f"One choice at scale {scale:g}. Softmax: {shares}. The person chose picture "
    description += f"{chosen + 1}; the loss is {loss:.2f} nats."
    alt.describe(fig, description)
    return fig


def _softmax_bars(ax: Axes, shares: np.ndarray, chosen: int) -> None:
    """Draw the softmax of each image below its picture."""
    colours = [BLUE if index == chosen else GREY for index in range(len(shares))]
    ax.bar(np.arange(len(shares)), shares, color=colours, width=0.6)
    for x, share in enumerate(shares):
        ax.text(x, share + 0.04, f"{share:.2f}", ha="center", fontsize=9, bbox=WHITE)
    ax.axhline(1 / len(shares), color=VERMILLION, linestyle="--", label="guessing")
    ax.set(xlim=(-0.5, len(shares) - 0.5), ylim=(0, 1.15), xticks=[], ylabel="softmax")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper right")


def _loss_by_scale(
    ax: Axes, cosines: np.ndarray, chosen: int, scale: float, many: pd.DataFrame
) -> None:
    """Draw the loss against the scale: of this choice, and of many choices."""
    scales = np.linspace(1, LARGEST_SCALE, 100)
    losses = [choice_loss(cosines, chosen, value) for value in scales]
    loss = choice_loss(cosines, chosen, scale)
    ax.plot(scales, losses, color=BLUE, label="this choice")
    n = int(many["n"].iloc[0])
    ax.plot(many["scale"], many["loss"], color=BLACK, lw=1.2, label=f"mean of {n:,} choices")
    ax.axhline(np.log(len(cosines)), color=VERMILLION, linestyle="--", label="guessing")
    ax.plot([scale], [loss], marker="o", color=BLUE)
    highest = max(np.log(4), *losses, many["loss"].max())
    ax.set(xlabel="scale of the cosines", ylabel="loss, nats", ylim=(0, 1.1 * highest))
    title = f"scale {scale:g}: the loss of this choice is {loss:.2f} nats"
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), title=title)


def own_accuracy(ax: Axes, accuracy: pd.DataFrame) -> Axes:
    """Draw how often each predictor names what the readers of the notebooks chose.

    Args:
        ax: where to draw.
        accuracy: ``predictor``, ``value``, ``low``, ``high``, ``n``; fractions.
    """
    upwards = accuracy.iloc[::-1]
    values, reach = percent(upwards)
    colours = [BLUE if name == "HPS" else GREY for name in upwards["predictor"]]
    error_look: Look = {"capsize": 3, "lw": 1.2}
    ax.barh(upwards["predictor"], values, color=colours, xerr=reach, error_kw=error_look)
    for y, (value, high) in enumerate(zip(values, 100 * upwards["high"], strict=True)):
        ax.text(high + 2, y, f"{value:.0f} %", va="center")
    n = int(upwards["n"].max())
    ax.set(xlabel=f"your choices predicted right, % (n = {n:,}, 95 % interval)", xlim=(0, 115))
    ax.grid(axis="y", visible=False)
    percents = alt.listed(accuracy["predictor"], 100 * accuracy["value"])
    description = f"Bars: percent of your {n:,} choices that each predictor names: {percents}."
    alt.describe(ax, description)
    return ax
