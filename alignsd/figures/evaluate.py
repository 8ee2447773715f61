"""Figures of the evaluation: arms with intervals, Table 4, picture grids, the user study's votes, the scorecard."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignsd.figures import BLUE, GREEN, GREY, ORANGE, VERMILLION
from alignsd.images import read_image
from alignsd.scorecard import number, span

ARMS = {"original": "original", "original_negative": "original,\nnegative prompt",
        "regularization_only": "regularization\nonly", "adapted": "adapted", "adapted_negative": "adapted,\nnegative prompt",
        "adapted_negative_prompt": "adapted, identifier +\nprompt as negative",
        "adapted_identifier": "adapted, identifier +\nprompt as prompt"}
COLOURS = {"original": GREY, "original_negative": GREY, "regularization_only": ORANGE, "adapted_negative": BLUE}
METRICS = {"fid": "FID, lower is better", "aesthetic": "aesthetic, 1-10", "clip_score": "CLIP score, cosine",
           "hps": "HPS, raw cosine"}
MODELS = ("original", "regularization_only", "adapted_negative")  # the rows of the paper's Table 4
PAPER_TABLE_4 = {"original": {"fid": 19.72, "aesthetic": 5.90, "clip_score": 0.2816, "hps": 0.1898},
                 "adapted_negative": {"fid": 19.35, "aesthetic": 6.06, "clip_score": 0.2831, "hps": 0.1916}}
DIGITS = {"fid": 2, "aesthetic": 2, "clip_score": 4, "hps": 4}
VERDICT_COLOURS = {"reproduced": GREEN, "direction only": ORANGE, "not reproduced": VERMILLION, "not attempted": GREY}


def rate_bars(ax: Axes, arms: pd.DataFrame, metric: str, title: str) -> Axes:
    """Draws a share of images for every arm, in percent with 95 % intervals, the paper's arm in blue.

    Args:
        ax: where to draw.
        arms: ``arm, metric, value, low, high, n``; shares 0-1.
        metric: ``"flaw_rate"`` or ``"match_rate"``.
        title: above the axes.
    """
    rows = arms[arms["metric"] == metric].iloc[::-1]
    value, low, high = (100 * rows[column].to_numpy() for column in ("value", "low", "high"))
    names = [ARMS.get(arm, arm) for arm in rows["arm"]]
    ax.barh(names, value, height=0.62, color=[COLOURS.get(arm, GREEN) for arm in rows["arm"]],
            xerr=[value - low, high - value], error_kw={"capsize": 3, "lw": 1.2})
    for y, (middle, end) in enumerate(zip(value, high, strict=True)):
        ax.text(end + 1.5, y, f"{middle:.1f}", va="center", fontsize=9)
    counts = f"n = {rows['n'].min()}" if len(rows) else "not measured"
    ax.set(title=title, xlabel=f"% of images ({counts} per arm)", xlim=(0, 118), xticks=range(0, 101, 20))
    ax.grid(axis="y", visible=False)
    return ax


def table_4(fig: Figure, arms: pd.DataFrame, which: Sequence[str] = MODELS) -> Figure:
    """Draws Table 4 of the paper: its four metrics, one panel each, with 95 % intervals.

    Args:
        fig: where to draw.
        arms: ``arm, metric, value, low, high, n``; ``hps`` as 100 x cosine.
        which: arms to show, from top to bottom.
    """
    rows = _as_printed(arms)
    order = [arm for arm in which if arm in set(rows["arm"])][::-1]
    axes = fig.subplots(1, len(METRICS), sharey=True)
    for ax, (metric, title) in zip(axes, METRICS.items(), strict=True):
        part = rows[rows["metric"] == metric].set_index("arm").reindex(order)
        for y, row in enumerate(part.itertuples()):
            ax.errorbar(row.value, y, xerr=[[row.value - row.low], [row.high - row.value]], fmt="o", ms=7,
                        color=COLOURS.get(row.Index, GREEN))
            ax.text(row.value, y + 0.16, f"{row.value:.{DIGITS[metric]}f}", ha="center", va="bottom")
        ax.set(xlabel=title, ylim=(-0.5, len(order) - 0.35))
        ax.margins(x=0.3)
        ax.locator_params(axis="x", nbins=3)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(order)), [ARMS.get(arm, arm) for arm in order])
    fig.suptitle(f"n = {rows['n'].min()} images per model, 95 % intervals", fontsize=10)
    return fig


def metric_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of arms in text: a row per arm, a column per metric, ``value [low, high]``.

    Args:
        table: ``arm, metric, value, low, high``.
    """
    digits = table["metric"].map(DIGITS).fillna(3).astype(int)
    text = [f"{row.value:.{d}f} [{row.low:.{d}f}, {row.high:.{d}f}]"
            for row, d in zip(table.itertuples(), digits, strict=True)]
    return table.assign(text=text).pivot_table(index="arm", columns="metric", values="text", aggfunc="first", sort=False)


def table_4_frame(arms: pd.DataFrame) -> pd.DataFrame:
    """Returns Table 4 in text: a row per arm, a column per metric, ``value [low, high]``, and the paper's rows below."""
    here = metric_frame(_as_printed(arms))
    there = pd.DataFrame(PAPER_TABLE_4).T.map(str).rename(index=lambda arm: f"paper: {arm}")
    return pd.concat([here, there]).reindex(columns=list(METRICS)).fillna("-")


def _as_printed(arms: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of Table 4's metrics, with HPS as the raw cosine that the paper prints there."""
    rows = arms[arms["metric"].isin(METRICS)].reset_index(drop=True)
    scale = np.where(rows["metric"] == "hps", 0.01, 1.0)
    return rows.assign(**{column: scale * rows[column] for column in ("value", "low", "high")})


def picture_grid(fig: Figure, images: pd.DataFrame, folder: Path, ids: Sequence[str], arms: Sequence[str],
                 flawed: Mapping[tuple[str, str], bool] | None = None) -> Figure:
    """Draws the same prompts and seeds in several arms: a row per arm, a column per id, the prompt above its column.

    Args:
        fig: where to draw.
        images: rows of notebook 06 (``arm, id, prompt, file``).
        folder: where the files lie.
        ids: images to show; taken in order, not picked by looks.
        arms: rows, from top to bottom; the first one's prompts are printed.
        flawed: ``(arm, id)`` -> whether the judge sees a flaw, which is framed; None frames nothing.
    """
    if not len(ids):
        fig.text(0.5, 0.5, "no picture to show", ha="center")
        return fig
    rows, axes = images.set_index(["arm", "id"]), fig.subplots(len(arms), len(ids), squeeze=False)
    for (line, arm), (column, key) in ((a, i) for a in enumerate(arms) for i in enumerate(ids)):
        ax = axes[line][column]
        ax.imshow(read_image(folder / rows.loc[(arm, key), "file"]))
        ax.set(xticks=[], yticks=[])
        wrong = bool(flawed and flawed.get((arm, key)))
        for spine in ax.spines.values():
            spine.set(visible=True, color=VERMILLION if wrong else "white", linewidth=3.5)
        if line == 0:
            ax.set_title(textwrap.fill(rows.loc[(arm, key), "prompt"], 17, max_lines=5, placeholder=" ..."), fontsize=8, va="bottom")
        if column == 0:
            ax.set_ylabel(ARMS.get(arm, arm), rotation=0, ha="right", va="center")
    return fig


def votes_histogram(ax: Axes, votes: pd.DataFrame, majorities: pd.DataFrame) -> Axes:
    """Draws how many prompts gave the adapted picture how many votes, and the share of prompts each side wins.

    Args:
        ax: where to draw.
        votes: ``prompt_id, original, adapted, voters``.
        majorities: ``outcome, value, low, high, n``.
    """
    counted, result = votes[votes["voters"] > 0], majorities.set_index("outcome")
    if counted.empty:
        ax.text(0.5, 0.5, "nobody was asked", ha="center", va="center", transform=ax.transAxes)
        return ax
    voters = int(counted["voters"].max())
    sides = {"original": ("the original wins", GREY), "tie": ("tie", ORANGE), "adapted": ("the adapted model wins", BLUE)}
    sign = np.sign(counted["adapted"] - counted["original"]).map({-1: "original", 0: "tie", 1: "adapted"})
    for side, (words, colour) in sides.items():
        value, low, high = (100 * result.loc[side, column] for column in ("value", "low", "high"))
        ax.hist(counted.loc[sign == side, "adapted"], bins=np.arange(-0.5, voters + 1), color=colour, rwidth=0.88,
                label=f"{words}: {value:.0f} % of prompts [{low:.0f}, {high:.0f}]")
    ax.set(xlabel=f"votes for the adapted model's picture, of {voters}", ylabel="prompts", xlim=(-0.7, voters + 0.7),
           ylim=(0, 1.42 * ax.get_ylim()[1]), xticks=range(0, voters + 1, max(1, voters // 10)))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", title=f"n = {len(counted)} prompts, 95 % intervals", alignment="left")
    return ax


def scorecard_picture(fig: Figure, rows: Sequence[Mapping]) -> Figure:
    """Draws the scorecard as a table: claim, published number, this run's with its interval, n, and the coloured verdict."""
    ax = fig.subplots()
    claims = [textwrap.wrap(row["claim"].replace(" %", "\u00a0%"), 78) for row in rows]
    top = np.cumsum([0, *(len(lines) + 0.55 for lines in claims)])
    columns = {"claim": (0.0, "left"), "paper": (0.575, "right"), "this run, 95 % interval": (0.605, "left"),
               "n": (0.845, "right"), "verdict": (0.87, "left")}
    for name, (x, side) in columns.items():
        ax.text(x, -1.0, name, ha=side, va="center", weight="bold")
    for y, row, lines in zip(top, rows, claims, strict=False):
        colour, middle = VERDICT_COLOURS[row["verdict"]], y + len(lines) / 2 - 0.25
        cells = ("\n".join(lines), number(row["paper"]), span(row), "-" if row["n"] is None else str(row["n"]))
        for (x, side), text in zip(columns.values(), cells, strict=False):
            ax.text(x, middle, text, ha=side, va="center", fontsize=9, linespacing=1.15)
        ax.text(0.87, middle, row["verdict"], va="center", fontsize=9, color="white", weight="bold",
                bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": colour})
        ax.axhline(y - 0.5, color="#D0D0D0", lw=0.7)
    ax.set(xlim=(0, 1), ylim=(top[-1], -1.6))
    ax.axis("off")
    return fig
