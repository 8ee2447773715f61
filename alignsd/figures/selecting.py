"""Figures of the scored corpus and of the images that were selected."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from alignsd.base.plotting.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.pictures import (
    LABEL,
    NEGATIVE_FRAME,
    POSITIVE_FRAME,
    Frame,
    frame_legend,
    say,
    show,
)
from alignsd.figures.predicting import Group, distribution
from alignsd.figures.style import Look
from alignsd.figures.text import shortened
from alignsd.select.rule import BLUR_LIMIT, NEGATIVE, POSITIVE, SPARE, is_blurred, select

# Bars of the funnel and of the flaw rates; all other bars are grey.
COLOURS = {"positives": BLUE, "negatives": VERMILLION, "negatives kept": VERMILLION}
NUMBER_BELOW = {"hps": "HPS {:.2f}", "sharpness": "sharpness {:.0f}"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # names of pictures in a guess
Row = dict[str, Any]  # of a table: column -> value


def corpus_histogram(ax: Axes, scores: pd.DataFrame, limit: float = BLUR_LIMIT) -> Axes:
    """Draw how HPS is distributed over the sharp images, and count the blurred images.

    Blurred images match no prompt. Their few low scores would stretch the axis and hide how the
    other images differ.

    Args:
        ax: where to draw.
        scores: ``hps``, ``sharpness``, ``status``.
        limit: of the blur test.
    """
    usable = scores[scores["status"] == "ok"]
    blurred = np.asarray(is_blurred(usable["sharpness"].astype(float), limit))
    sharp_scores = usable.loc[~blurred, "hps"].astype(float)
    distribution(ax, {"corpus": Group(sharp_scores, BLUE)}, bins=50)
    ax.set_xlabel(f"HPS (100 × cosine); {int(blurred.sum()):,} blurred images left out")
    return ax


def sharpness_histogram(ax: Axes, scores: pd.DataFrame, limit: float = BLUR_LIMIT) -> Axes:
    """Draw how sharp the images are (``sharpness``, ``status``) and where the blur test cuts."""
    sharpness = scores.loc[scores["status"] == "ok", "sharpness"].astype(float)
    below = int((sharpness < limit).sum())
    seaborn.histplot(sharpness, bins=list(range(0, 261, 5)), color=BLUE, lw=0, ax=ax)
    words = f"limit {limit:g}: {below} images below"
    ax.axvline(limit, color=VERMILLION, linestyle="--", label=words)
    ax.set(xlabel="greatest difference of neighbouring pixels, 0-255", ylabel="images")
    ax.set_yscale("symlog")
    ax.set_ylim(0, 6 * ax.get_ylim()[1])
    # The usual labels of a logarithmic axis, powers of ten, are formulas.
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.legend(loc="upper center")
    description = f"Histogram: sharpness of {len(sharpness):,} images; {words}."
    alt.describe(ax, description)
    return ax


def ranked_pictures(
    fig: Figure, groups: pd.DataFrame, pictures: Mapping[str, np.ndarray]
) -> Figure:
    """Draw one row per prompt: the pictures from the lowest HPS to the highest HPS.

    Args:
        fig: where to draw.
        groups: ``prompt``, ``image``, ``hps``, and ``role`` if known (framed); a few prompts.
        pictures: image id -> pixels.
    """
    images_of_prompt = _by_prompt(groups)
    if not images_of_prompt:
        say(fig, "no picture to show")
        return fig
    columns = max(len(images) for images in images_of_prompt.values())
    axes = fig.subplots(len(images_of_prompt), columns, squeeze=False)
    look: Look = {"rotation": 0, "ha": "right", "va": "center", "fontsize": LABEL}
    for axes_of_row, (prompt, images) in zip(axes, images_of_prompt.items(), strict=True):
        ranked = sorted(images, key=_score_and_id)
        for ax, image in zip(axes_of_row, ranked, strict=False):
            show(ax, pictures[image["image"]], _frame(image.get("role", "")))
            ax.set_title(f"{image['hps']:.2f}", fontsize=LABEL)
        axes_of_row[0].set_ylabel(shortened(prompt, 26, 3), parse_math=False, **look)
        for ax in axes_of_row[len(images) :]:
            ax.set_axis_off()
    rows = []
    for prompt, images in images_of_prompt.items():
        scores = ", ".join(f"{image['hps']:.2f}" for image in sorted(images, key=_score_and_id))
        rows.append(f"{prompt}: {scores}")
    description = f"Pictures of each prompt from low to high HPS. {'; '.join(rows)}."
    alt.describe(fig, description)
    return fig


def lettered(
    fig: Figure, images: pd.DataFrame, pictures: Mapping[str, np.ndarray], with_scores: bool
) -> Figure:
    """Draw pictures of one prompt with a letter above each: a guess before the scores are known.

    Args:
        fig: where to draw.
        images: ``prompt``, ``image``, and ``hps`` if the scores are shown; at most 26 rows.
        pictures: image id -> pixels. A picture that could not be read is left out.
        with_scores: whether the HPS stands below each picture.
    """
    rows = [row for row in images.to_dict("records") if row["image"] in pictures]
    if not rows:
        say(fig, "no picture to show")
        return fig
    fig.suptitle(shortened(rows[0]["prompt"], 60, 2), fontsize=9, parse_math=False)
    axes = fig.subplots(1, len(rows), squeeze=False)[0]
    for ax, letter, row in zip(axes, LETTERS, rows, strict=False):
        show(ax, pictures[row["image"]])
        ax.set_title(letter)
        if with_scores:
            ax.set_xlabel(f"HPS {row['hps']:.2f}", fontsize=LABEL)
    letters = ", ".join(LETTERS[: len(rows)])
    description = f"Pictures {letters} of the prompt {rows[0]['prompt']}."
    if with_scores:
        description += f" HPS: {alt.listed(LETTERS[: len(rows)], [row['hps'] for row in rows], 2)}."
    alt.describe(fig, description)
    return fig


def strip(
    fig: Figure,
    images: pd.DataFrame,
    pictures: Mapping[str, np.ndarray],
    column: str,
    columns: int = 8,
) -> Figure:
    """Draw pictures in the order of the rows, with one of their numbers below each.

    Args:
        fig: where to draw; about 1.7 inches of height per row of pictures.
        images: ``image`` and the number; a handful of rows.
        pictures: image id -> pixels. A picture that could not be read is left out.
        column: the column of the number: ``"hps"`` or ``"sharpness"``.
        columns: pictures side by side.
    """
    rows = [row for row in images.to_dict("records") if row["image"] in pictures]
    if not rows:
        say(fig, "no picture to show")
        return fig
    lines = -(-len(rows) // columns)
    axes = list(fig.subplots(lines, columns, squeeze=False).flat)
    for ax, row in zip(axes, rows, strict=False):
        show(ax, pictures[row["image"]])
        ax.set_xlabel(NUMBER_BELOW[column].format(row[column]), fontsize=LABEL)
    for ax in axes[len(rows) :]:
        ax.set_axis_off()
    numbers = ", ".join(NUMBER_BELOW[column].format(row[column]) for row in rows)
    description = f"{len(rows)} pictures in order, with a number below each: {numbers}."
    alt.describe(fig, description)
    return fig


def _score_and_id(image: Row) -> tuple[float, str]:
    """Return the sort key of pictures: HPS, then the id, so that equal scores have an order."""
    return image["hps"], image["image"]


def funnel(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw what each step of the selection left (``step``, ``images``, ``prompts``)."""
    upwards = table.iloc[::-1]
    colours = [COLOURS.get(step, GREY) for step in upwards["step"]]
    ax.barh(upwards["step"], upwards["images"], color=colours)
    most = max(1, table["images"].max())
    for y, row in enumerate(upwards.itertuples()):
        words = f"{row.images:,} images of {row.prompts:,} prompts"
        _label_of_bar(ax, words, row.images, y, is_long=row.images > 0.6 * most)
    ax.set(xlabel="images", xlim=(0, 1.05 * most))
    ax.grid(axis="y", visible=False)
    counts = alt.listed(table["step"], table["images"], digits=0)
    description = f"Bars: images left after each step of the selection: {counts}."
    alt.describe(ax, description)
    return ax


def _label_of_bar(ax: Axes, words: str, length: float, y: float, is_long: bool) -> None:
    """Write words at the end of a horizontal bar: inside a long bar, beside a short bar."""
    ax.annotate(
        words,
        (length, y),
        (-5 if is_long else 5, 0),
        textcoords="offset points",
        va="center",
        ha="right" if is_long else "left",
        fontsize=9,
        color="white" if is_long else BLACK,
    )


def sensitivity(ax: Axes, table: pd.DataFrame, alpha: float) -> Axes:
    """Draw the counts against the threshold, and mark this run's threshold.

    Args:
        ax: where to draw.
        table: ``alpha``, ``positives``, ``negatives``.
        alpha: this run's threshold.
    """
    thresholds = table["alpha"]
    ax.plot(thresholds, table["positives"], marker="o", color=BLUE, label="positives")
    ax.plot(thresholds, table["negatives"], marker="s", color=VERMILLION, label="negatives, all")
    ax.axvline(alpha, color=GREY, linestyle="--", label=f"this run: {alpha:g}")
    ax.set(xlabel="alpha: selected if softmax > alpha / n", ylabel="images", ylim=(0, None))
    look: Look = {"ncols": 3, "columnspacing": 1.0, "handletextpad": 0.5}
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), **look)
    names = [f"alpha {threshold:g}" for threshold in thresholds]
    positives = alt.listed(names, table["positives"], digits=0)
    description = f"Curves: selected images against the threshold. Positives: {positives}."
    alt.describe(ax, description)
    return ax


def margin_scatter(ax: Axes, selected: pd.DataFrame, alpha: float) -> Axes:
    """Draw each prompt's greatest softmax(HPS) and softmax(-HPS), times n, with the threshold.

    Args:
        ax: where to draw.
        selected: ``prompt``, ``p_best``, ``p_worst``, ``n``.
        alpha: this run's threshold.
    """
    best = selected["p_best"] * selected["n"]
    worst = selected["p_worst"] * selected["n"]
    margins = selected.assign(best=best, worst=worst)
    greatest = margins.groupby("prompt")[["best", "worst"]].max()
    ax.scatter(greatest["best"], greatest["worst"], s=16, alpha=0.5, color=BLUE, linewidths=0)
    words = f"alpha = {alpha:g}; n = {len(greatest):,} prompts"
    ax.axvline(alpha, color=GREY, linestyle="--")
    ax.axhline(alpha, color=GREY, linestyle="--", label=words)
    ax.set_xlabel("n × softmax(HPS) of the best image")
    ax.set_ylabel("n × softmax(-HPS) of the worst image")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))  # above: dots may lie anywhere
    right = int((greatest["best"] > alpha).sum())
    above = int((greatest["worst"] > alpha).sum())
    description = (
        f"Dots: one per prompt, with lines at {words}. {right} prompts lie right of the line and "
        f"give a positive, {above} lie above and give a negative."
    )
    alt.describe(ax, description)
    return ax


def rule_at(
    groups: pd.DataFrame, pictures: Mapping[str, np.ndarray], alpha: float, prompt: str
) -> Figure:
    """Draw the rule on one prompt at a threshold, and count what all prompts give.

    Above stand the pictures from the lowest HPS to the highest; a selected picture has a frame.
    Below stand softmax(HPS) and softmax(-HPS) of each picture against alpha / n.

    Args:
        groups: all prompts, from ``rule.group``.
        pictures: image id -> pixels, of the prompt's pictures that can be read.
        alpha: the threshold.
        prompt: the prompt to draw.
    """
    selected = select(groups, alpha)
    images = selected[selected["prompt"] == prompt].to_dict("records")
    ranked = sorted(images, key=_score_and_id)
    fig = Figure(figsize=(8.5, 4.6))
    fig.suptitle(f"alpha = {alpha:g}: {_count_roles(selected)}", weight="bold")
    grid = fig.add_gridspec(2, len(ranked), height_ratios=[1, 1.1])
    for column, image in enumerate(ranked):
        ax = fig.add_subplot(grid[0, column])
        ax.set_title(f"HPS {image['hps']:.2f}", fontsize=LABEL)
        if image["image"] in pictures:
            show(ax, pictures[image["image"]], _frame(image["role"]))
        else:
            ax.set_axis_off()
    lower = fig.add_subplot(grid[1, :])
    _softmax_against_threshold(lower, ranked, alpha)
    lower.set_xlabel(shortened(prompt, 90), fontsize=9, parse_math=False)
    scores = ", ".join(f"{image['hps']:.2f}" for image in ranked)
    description = f"Pictures of {prompt} from low to high HPS: {scores}. At alpha {alpha:g} all "
    description += f"prompts give {_count_roles(selected)}."
    alt.describe(fig, description)
    return fig


def _count_roles(selected: pd.DataFrame) -> str:
    """Return how many positives and negatives the prompts gave, in words."""
    positives = int((selected["role"] == POSITIVE).sum())
    negatives = int((selected["role"] == NEGATIVE).sum())
    prompts = selected["prompt"].nunique()
    return f"{positives:,} positives and {negatives:,} negatives of {prompts:,} prompts"


def _softmax_against_threshold(ax: Axes, images: Sequence[Row], alpha: float) -> None:
    """Draw two bars per picture, softmax(HPS) and softmax(-HPS), and the line alpha / n."""
    places = np.arange(len(images))
    best = [image["p_best"] for image in images]
    worst = [image["p_worst"] for image in images]
    ax.bar(places - 0.18, best, width=0.34, color=BLUE, label="softmax(HPS)")
    ax.bar(places + 0.18, worst, width=0.34, color=VERMILLION, label="softmax(-HPS)")
    threshold = alpha / len(images)
    words = f"alpha / n = {threshold:.2f}"
    ax.axhline(threshold, color=BLACK, linestyle="--", label=words)
    ax.set(xlim=(-0.5, len(images) - 0.5), ylim=(0, max(1.0, 1.05 * threshold)), xticks=[])
    ax.set_ylabel("share of the softmax")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def pair_prompts(selected: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Choose prompts that gave both a positive and a negative, and return both rows of each.

    Args:
        selected: ``prompt``, ``image``, ``role``.
        n: number of prompts; all such prompts if there are fewer.
        seed: fixes the choice.
    """
    has_role = selected["role"].isin((POSITIVE, NEGATIVE, SPARE))
    with_role = selected[has_role].sort_values(["prompt", "image"])
    pairs = with_role.groupby("prompt").filter(lambda images: len(images) == 2)
    rng = np.random.default_rng(seed)
    prompts = rng.permutation(pairs["prompt"].unique())[:n]
    return pairs[pairs["prompt"].isin(prompts)]


def pair_grid(
    fig: Figure, pairs: pd.DataFrame, pictures: Mapping[str, np.ndarray], columns: int = 4
) -> Figure:
    """Draw positives over negatives, one pair per prompt.

    Args:
        fig: where to draw.
        pairs: from ``pair_prompts``, with ``hps``.
        pictures: image id -> pixels.
        columns: pairs side by side.
    """
    prompts = sorted(_by_prompt(pairs).items())
    if not prompts:
        say(fig, "no prompt gave both a positive and a negative")
        return fig
    extra = "one pair per prompt, chosen by seed"
    frame_legend(fig, POSITIVE_FRAME, NEGATIVE_FRAME, extra=extra)
    lines = -(-len(prompts) // columns)
    panels = fig.subfigures(lines, 1, squeeze=False)[:, 0]
    for line, panel in enumerate(panels):
        prompts_of_line = prompts[line * columns : (line + 1) * columns]
        axes = panel.subplots(2, columns, squeeze=False)
        for index in range(columns):
            if index < len(prompts_of_line):
                prompt, images = prompts_of_line[index]
                _pair(axes[0, index], axes[1, index], prompt, images, pictures)
            else:
                axes[0, index].set_visible(False)
                axes[1, index].set_visible(False)
    shown = "; ".join(prompt for prompt, _ in prompts)
    description = f"Pairs of pictures, the positive above the negative, of: {shown}."
    alt.describe(fig, description)
    return fig


def _pair(
    above: Axes,
    below: Axes,
    prompt: str,
    images: Sequence[Row],
    pictures: Mapping[str, np.ndarray],
) -> None:
    """Draw the positive of a prompt above and the negative below, with the prompt on top."""
    for image in images:
        ax = above if image["role"] == POSITIVE else below
        show(ax, pictures[image["image"]], _frame(image["role"]))
        ax.set_xlabel(f"HPS {image['hps']:.2f}", fontsize=LABEL)
    above.set_title(shortened(prompt, 24, 3), fontsize=LABEL, va="bottom", parse_math=False)


def flaw_rates(ax: Axes, rates: pd.DataFrame) -> Axes:
    """Draw the share of flawed pictures with a 95 % interval, or say that no share is known.

    Args:
        ax: where to draw.
        rates: ``group``, ``rate``, ``low``, ``high``, ``n``, from ``rule.flaw_rates``; may be
            empty.
    """
    if rates.empty:
        words = "not attempted: no judge was given"
        ax.text(0.5, 0.5, words, ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        description = f"No drawing: {words}."
        alt.describe(ax, description)
        return ax
    values, reach = percent(rates, "rate")
    high = 100 * rates["high"].to_numpy()
    colours = [COLOURS.get(group, GREY) for group in rates["group"]]
    names = [f"{group}\nn = {n:,}" for group, n in zip(rates["group"], rates["n"], strict=True)]
    ax.bar(names, values, yerr=reach, color=colours, capsize=4, width=0.6)
    for x, (value, top) in enumerate(zip(values, high, strict=True)):
        ax.text(x, top + 1.5, f"{value:.1f} %", ha="center")
    ax.set(ylabel="flawed by the judge, %", ylim=(0, min(112, high.max() + 12)))
    ax.grid(axis="x", visible=False)
    description = f"Bars: percent of flawed pictures: {alt.listed(rates['group'], values)}."
    alt.describe(ax, description)
    return ax


def _by_prompt(table: pd.DataFrame) -> dict[str, list[Row]]:
    """Return the rows of each prompt, in the table's order.

    pandas cannot group by a prompt that no file can hold, such as half of a surrogate pair.
    """
    rows_of_prompt: dict[str, list[Row]] = {}
    for row in table.to_dict("records"):
        rows_of_prompt.setdefault(row["prompt"], []).append(row)
    return rows_of_prompt


def _frame(role: str) -> Frame | None:
    """Return the frame of a picture with a role; kept and other negatives have the same frame."""
    if not role:
        return None
    return POSITIVE_FRAME if role == POSITIVE else NEGATIVE_FRAME
