"""Figures of the evaluation: arms with intervals, Table 4, the user study's votes, the scorecard."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from alignsd.base.colours import BLUE, GREEN, GREY, ORANGE, VERMILLION
from alignsd.compare.claims import OWN
from alignsd.compare.scorecard import published, span
from alignsd.paper import TABLE_4

ARMS = {"original": "original", "original_negative": "original,\nnegative prompt",
        "regularization_only": "regularization\nonly", "adapted": "adapted", "adapted_negative": "adapted,\nnegative prompt",
        "adapted_negative_prompt": "adapted, identifier +\nprompt as negative",
        "adapted_identifier": "adapted, identifier +\nprompt as prompt"}
KINDS = {"original model": GREY, "control, no preferences": ORANGE, "adapted, as in the paper": BLUE, "adapted, other prompts": GREEN}
COLOURS = {"original": GREY, "original_negative": GREY, "regularization_only": ORANGE, "adapted_negative": BLUE}
METRICS = {"fid": "FID on {features},\nlower is better", "aesthetic": "aesthetic score, 1-10,\nhigher is better",
           "clip_score": "CLIP score, cosine,\nhigher is better", "hps": "HPS, raw cosine,\nhigher is better"}
ORIGINAL, ADAPTED = "original", "adapted_negative"
MODELS = (ORIGINAL, "regularization_only", ADAPTED)  # the rows of the paper's Table 4
DIGITS = {"fid": 2, "aesthetic": 2, "clip_score": 4, "hps": 4}
VERDICT_COLOURS = {"reproduced": GREEN, "direction only": ORANGE, "not reproduced": VERMILLION, "not attempted": GREY}
COLUMNS = {"claim": (0.0, "left"), "paper": (0.585, "right"), "this run, 95 % interval": (0.605, "left"),
           "n": (0.85, "right"), "verdict": (0.865, "left")}  # of the scorecard: place from left, 0-1, and side


def flaws_and_match(fig: Figure, arms: pd.DataFrame) -> Figure:
    """Draws every arm's flaw rate and prompt match by the judge, with what the colours mean (``arm, metric, value, low, high, n``)."""
    left, right = fig.subplots(1, 2, sharey=True)
    rate_bars(left, arms, "flaw_rate", "drawn wrong (judge)")
    rate_dots(right, arms, "match_rate", "shows what was asked for (judge)")
    fig.legend(handles=[Patch(color=colour, label=words) for words, colour in KINDS.items()], loc="outside upper center", ncols=4)
    return fig


def rate_bars(ax: Axes, arms: pd.DataFrame, metric: str, title: str) -> Axes:
    """Draws a share of images for every arm, in percent with 95 % intervals.

    Args:
        ax: where to draw.
        arms: ``arm, metric, value, low, high, n``; shares 0-1.
        metric: ``"flaw_rate"`` or ``"match_rate"``.
        title: above the axes.
    """
    rows = arms[arms["metric"] == metric].iloc[::-1]
    value, low, high = (100 * rows[column].to_numpy() for column in ("value", "low", "high"))
    ax.barh(_names(rows), value, height=0.62, color=_colours(rows), xerr=[value - low, high - value],
            error_kw={"capsize": 3, "lw": 1.2})
    for y, (middle, end) in enumerate(zip(value, high, strict=True)):
        ax.text(end + 0.02 * max(high), y, f"{middle:.1f}", va="center", fontsize=9)
    ax.set(title=title, xlabel=_counted(rows), xlim=(0, 1.14 * max([1, *high])))
    ax.grid(axis="y", visible=False)
    return ax


def rate_dots(ax: Axes, arms: pd.DataFrame, metric: str, title: str) -> Axes:
    """Draws what ``rate_bars`` draws as dots, for shares near 100 % in every arm: the axis is cut, and marked so."""
    rows = arms[arms["metric"] == metric].iloc[::-1]
    value, low, high = (100 * rows[column].to_numpy() for column in ("value", "low", "high"))
    for y, (name, colour) in enumerate(zip(_names(rows), _colours(rows), strict=True)):
        ax.errorbar(value[y], name, xerr=[[value[y] - low[y]], [high[y] - value[y]]], fmt="o", ms=6, color=colour)
        ax.annotate(f"{value[y]:.1f}", (value[y], y), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    ax.set(title=title, xlabel=_counted(rows))
    ax.margins(x=0.08)
    ax.grid(axis="y", visible=False)
    _from_zero_or_cut(ax, from_zero=False)
    return ax


def _names(rows: pd.DataFrame) -> list[str]:
    return [ARMS.get(arm, arm) for arm in rows["arm"]]


def _colours(rows: pd.DataFrame) -> list[str]:
    return [COLOURS.get(arm, GREEN) for arm in rows["arm"]]


def _counted(rows: pd.DataFrame) -> str:
    return f"% of images (n = {rows['n'].min()} per arm, 95 % interval)" if len(rows) else "not measured"


def table_4(fig: Figure, arms: pd.DataFrame, fid_features: str, which: Sequence[str] = MODELS) -> Figure:
    """Draws Table 4 of the paper: its four metrics, one panel each, with 95 % intervals and the paper's values in words.

    Args:
        fig: where to draw.
        arms: ``arm, metric, value, low, high, n``; ``hps`` as 100 x cosine.
        fid_features: the network of FID, as in notebook 07; ``"inception"`` is the paper's, any other a judge.
        which: arms to show, from top to bottom.
    """
    rows, features = _as_printed(arms), "Inception's features" if fid_features == "inception" else "the judge's features"
    order = [arm for arm in which if arm in set(rows["arm"])][::-1]
    axes = fig.subplots(1, len(METRICS), sharey=True)
    for ax, (metric, title) in zip(axes, METRICS.items(), strict=True):
        part = rows[rows["metric"] == metric].set_index("arm").reindex(order)
        for y, row in enumerate(part.itertuples()):
            ax.errorbar(row.value, y, xerr=[[row.value - row.low], [row.high - row.value]], fmt="o", ms=4.5,
                        color=COLOURS.get(row.Index, GREEN))
            ax.text(row.value, y + 0.16, f"{row.value:.{DIGITS[metric]}f}", ha="center", va="bottom")
            if row.Index in TABLE_4:
                ax.text(row.value, y - 0.16, f"paper {TABLE_4[row.Index][metric]:.{DIGITS[metric]}f}", ha="center",
                        va="top", fontsize=8.5, color="#555555")
        ax.set(xlabel=title.format(features=features), ylim=(-0.65, len(order) - 0.4))
        ax.margins(x=0.45)
        ax.locator_params(axis="x", nbins=3)
        ax.grid(axis="y", visible=False)
        _from_zero_or_cut(ax, from_zero=metric == "fid")
    axes[0].set_yticks(range(len(order)), [ARMS.get(arm, arm) for arm in order])
    fig.suptitle(f"n = {rows['n'].min()} images per model, 95 % intervals; axes with // do not start at 0", fontsize=10)
    return fig


def _from_zero_or_cut(ax: Axes, from_zero: bool) -> None:
    """Lets the x axis start at 0, or marks it as cut by two strokes where it does not."""
    if from_zero:
        ax.set_xlim(0, 0.9 * ax.get_xlim()[1])  # less room at the right moves low values, and their labels, off the axis
    elif ax.get_xlim()[0] > 0:
        ax.plot([0.035, 0.065], [0, 0], transform=ax.transAxes, marker=[(-1, -2), (1, 2)], ms=9, ls="none", color="black",
                mew=1.2, clip_on=False, zorder=5)


def metric_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of arms in text: a row per arm, a column per metric, ``value [low, high]``.

    Args:
        table: ``arm, metric, value, low, high``.
    """
    digits = table["metric"].map(DIGITS).fillna(3).astype(int)
    text = [f"{row.value:.{d}f} [{row.low:.{d}f}, {row.high:.{d}f}]"
            for row, d in zip(table.itertuples(), digits, strict=True)]
    return table.assign(text=text).pivot_table(index="arm", columns="metric", values="text", aggfunc="first", sort=False)


def table_4_frame(arms: pd.DataFrame, against_control: pd.DataFrame) -> pd.DataFrame:
    """Returns Table 4 in text: an arm per row, ``value [low, high]``, then whether the control keeps up, then the paper's rows.

    Args:
        arms: ``arm, metric, value, low, high``.
        against_control: from ``evaluation.against_control``.
    """
    here = metric_frame(_as_printed(arms))
    verdict = pd.DataFrame(control_verdicts(against_control), index=["control against the paper's arm"])
    there = pd.DataFrame({f"paper: {arm}": {metric: f"{value:.{DIGITS[metric]}f}" for metric, value in values.items()}
                          for arm, values in TABLE_4.items()}).T
    return pd.concat([here, verdict, there]).reindex(columns=list(METRICS)).fillna("-")


def control_verdicts(against_control: pd.DataFrame) -> dict[str, str]:
    """Says for each metric of Table 4 whether regularization alone does better than the paper's arm, worse, or neither.

    Neither means that the interval of the paired difference (paper's arm - control) holds 0; what was not measured is left out.
    """
    found = {}
    for row in against_control[against_control["metric"].isin(METRICS)].itertuples():
        if row.low <= 0 <= row.high:
            found[row.metric] = "no difference seen"
        else:
            found[row.metric] = "better" if (row.value < 0) != (row.metric == "fid") else "worse"
    return found


def _as_printed(arms: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of Table 4's metrics, with HPS as the raw cosine that the paper prints there."""
    rows = arms[arms["metric"].isin(METRICS)].reset_index(drop=True)
    scale = np.where(rows["metric"] == "hps", 0.01, 1.0)
    return rows.assign(**{column: scale * rows[column] for column in ("value", "low", "high")})


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
    """Draws the scorecard as a table, the paper's claims first, then the miniature's own: claim, published number with its
    published digits, this run's with its interval, n, and the coloured verdict."""
    ax, y = fig.subplots(), 0.0
    blocks = {"Claims of the paper and its authors": [row for row in rows if row["source"] != OWN],
              "The miniature's own claims": [row for row in rows if row["source"] == OWN]}
    for title, part in blocks.items():
        for (name, (x, side)), head in zip(COLUMNS.items(), (title, *list(COLUMNS)[1:]), strict=True):
            if part and (name == "claim" or y == 0):
                ax.text(x, y, head, ha=side, va="center", weight="bold")
        y += 1.0 if part else 0.0
        for row in part:
            y = _scorecard_row(ax, row, y)
        y += 0.8 if part else 0.0
    ax.set(xlim=(0, 1), ylim=(y, -0.6))
    ax.axis("off")
    return fig


def _scorecard_row(ax: Axes, row: Mapping, y: float) -> float:
    """Draws one row of the scorecard below ``y`` and returns where the next begins."""
    lines = textwrap.wrap(row["claim"].replace(" %", "\u00a0%"), 66)
    middle = y + len(lines) / 2 - 0.25
    cells = ("\n".join(lines), published(row["paper"]), span(row), "-" if row["n"] is None else str(row["n"]))
    for (x, side), text in zip(COLUMNS.values(), cells, strict=False):
        ax.text(x, middle, text, ha=side, va="center", fontsize=9, linespacing=1.15)
    colour = VERDICT_COLOURS[row["verdict"]]
    ax.text(COLUMNS["verdict"][0] + 0.008, middle, row["verdict"], va="center", fontsize=9, color="white", weight="bold",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": colour})
    ax.axhline(y - 0.4, color="#D0D0D0", lw=0.7)
    return y + len(lines) + 0.55
