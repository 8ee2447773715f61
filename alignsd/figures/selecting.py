"""Figures of the scored corpus and of what was selected from it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from alignsd.base.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.figures import pictures
from alignsd.figures.pictures import LABEL, frame_legend, show
from alignsd.figures.predicting import distribution
from alignsd.figures.text import shortened
from alignsd.select.rule import BLUR_LIMIT, NEGATIVE, POSITIVE, SPARE, is_blurred


def corpus_histogram(ax: Axes, scores: pd.DataFrame, limit: float = BLUR_LIMIT) -> Axes:
    """Draws how HPS is distributed over the corpus (``hps``, ``sharpness``, ``status``), without blurred images, and counts those.

    Blurred images match no prompt: their few low scores would stretch the axis and hide how the others differ.
    """
    usable = scores[scores["status"] == "ok"]
    blurred = is_blurred(usable["sharpness"].astype(float), limit)
    distribution(ax, {"corpus": (usable.loc[~blurred, "hps"].astype(float), BLUE)}, bins=50)
    ax.set_xlabel(f"HPS (100 × cosine); {int(blurred.sum()):,} blurred images left out")
    return ax


def sharpness_histogram(ax: Axes, scores: pd.DataFrame, limit: float = BLUR_LIMIT) -> Axes:
    """Draws how sharp the images are (``sharpness``, ``status``) and where the blur test cuts."""
    values = scores.loc[scores["status"] == "ok", "sharpness"].astype(float)
    ax.hist(values, bins=np.arange(0, 261, 5), color=BLUE, alpha=0.8)
    ax.axvline(limit, color=VERMILLION, linestyle="--", label=f"limit {limit:g}: {int((values < limit).sum())} images below")
    ax.set(xlabel="greatest difference of neighbouring pixels, 0-255", ylabel="images", yscale="symlog")
    ax.set_ylim(0, 6 * ax.get_ylim()[1])
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))  # a power of ten is a formula
    ax.legend(loc="upper left")
    return ax


def ranked_pictures(fig: Figure, groups: pd.DataFrame, found: dict[str, np.ndarray]) -> Figure:
    """Draws one row per prompt: its pictures from the lowest HPS to the highest.

    Args:
        fig: where to draw.
        groups: ``prompt``, ``image``, ``hps``, and ``role`` if known (framed); a few prompts.
        found: image id to pixels.
    """
    prompts = _by_prompt(groups)
    if not prompts:
        fig.text(0.5, 0.5, "no picture to show", ha="center")
        return fig
    axes = fig.subplots(len(prompts), max(len(rows) for rows in prompts.values()), squeeze=False)
    for line, (prompt, rows) in zip(axes, prompts.items(), strict=True):
        ranked = sorted(rows, key=lambda row: (row["hps"], row["image"]))
        for ax, row in zip(line, ranked, strict=False):
            show(ax, found[row["image"]], _frame(row.get("role", "")))
            ax.set_title(f"{row['hps']:.2f}", fontsize=LABEL)
        label = shortened(prompt, 26, 3)
        look = {"rotation": 0, "ha": "right", "va": "center", "fontsize": LABEL}
        line[0].set_ylabel(label, parse_math=False, **look)
        for ax in line[len(rows):]:
            ax.set_axis_off()
    return fig


def funnel(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draws what each step of the selection left (``step``, ``images``, ``prompts``)."""
    rows = table.iloc[::-1]
    colours = {"positives": BLUE, "negatives": VERMILLION, "negatives kept": VERMILLION}
    ax.barh(rows["step"], rows["images"], color=[colours.get(step, GREY) for step in rows["step"]])
    most = max(1, table["images"].max())
    for y, (images, prompts) in enumerate(zip(rows["images"], rows["prompts"], strict=True)):
        words, inside = f"{images:,} images of {prompts:,} prompts", images > 0.6 * most
        ax.annotate(words, (images, y), (-5 if inside else 5, 0), textcoords="offset points", va="center", fontsize=9,
                    ha="right" if inside else "left", color="white" if inside else BLACK)
    ax.set(xlabel="images", xlim=(0, 1.05 * most))
    ax.grid(axis="y", visible=False)
    return ax


def sensitivity(ax: Axes, table: pd.DataFrame, alpha: float) -> Axes:
    """Draws the counts against the threshold (``alpha``, ``positives``, ``negatives``), and this run's alpha."""
    ax.plot(table["alpha"], table["positives"], marker="o", color=BLUE, label="positives")
    ax.plot(table["alpha"], table["negatives"], marker="s", color=VERMILLION, label="negatives, all")
    ax.axvline(alpha, color=GREY, linestyle="--", label=f"this run: {alpha:g}")
    ax.set(xlabel="alpha: selected if softmax > alpha / n", ylabel="images", ylim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0, handletextpad=0.5)
    return ax


def margin_scatter(ax: Axes, selected: pd.DataFrame, alpha: float) -> Axes:
    """Draws each prompt's greatest softmax(HPS) and softmax(-HPS), times n, with the threshold.

    Args:
        ax: where to draw.
        selected: ``prompt``, ``p_best``, ``p_worst``, ``n``.
        alpha: this run's threshold.
    """
    most = selected.assign(best=selected["p_best"] * selected["n"], worst=selected["p_worst"] * selected["n"])
    most = most.groupby("prompt")[["best", "worst"]].max()
    ax.scatter(most["best"], most["worst"], s=16, alpha=0.5, color=BLUE, linewidths=0)
    ax.axvline(alpha, color=GREY, linestyle="--")
    ax.axhline(alpha, color=GREY, linestyle="--", label=f"alpha = {alpha:g}; n = {len(most):,} prompts")
    ax.set(xlabel="n × softmax(HPS) of the best image", ylabel="n × softmax(-HPS) of the worst image")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))  # above: dots may lie anywhere
    return ax


def pair_prompts(selected: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Chooses prompts that gave both a positive and a negative, by seed, and returns those two rows of each.

    Args:
        selected: ``prompt``, ``image``, ``role``.
        n: number of prompts; fewer if there are fewer.
        seed: fixes which.
    """
    rows = selected[selected["role"].isin((POSITIVE, NEGATIVE, SPARE))].sort_values(["prompt", "image"])
    both = rows.groupby("prompt").filter(lambda pair: len(pair) == 2)
    chosen = np.random.default_rng(seed).permutation(both["prompt"].unique())[:n]
    return both[both["prompt"].isin(chosen)]


def pair_grid(fig: Figure, pairs: pd.DataFrame, found: dict[str, np.ndarray], columns: int = 4) -> Figure:
    """Draws positives over negatives, one pair per prompt.

    Args:
        fig: where to draw.
        pairs: from ``pair_prompts``; ``hps`` besides.
        found: image id to pixels.
        columns: pairs side by side.
    """
    prompts = sorted(_by_prompt(pairs).items())
    if not prompts:
        fig.text(0.5, 0.5, "no prompt gave both a positive and a negative", ha="center")
        return fig
    frame_legend(fig, pictures.POSITIVE, pictures.NEGATIVE, extra="one pair per prompt, chosen by seed")
    lines = -(-len(prompts) // columns)
    for line, block in enumerate(fig.subfigures(lines, 1, squeeze=False)[:, 0]):
        axes = block.subplots(2, columns, squeeze=False)
        for place, ax in enumerate(axes.flat):
            ax.set_visible(line * columns + place % columns < len(prompts))
        for pair, (prompt, rows) in zip(axes.T, prompts[line * columns:(line + 1) * columns], strict=False):
            for row in rows:
                ax = pair[int(row["role"] != POSITIVE)]
                show(ax, found[row["image"]], _frame(row["role"]))
                ax.set_xlabel(f"HPS {row['hps']:.2f}", fontsize=LABEL)
            title = shortened(prompt, 24, 3)
            pair[0].set_title(title, fontsize=LABEL, va="bottom", parse_math=False)
    return fig


def flaw_rates(ax: Axes, rates: pd.DataFrame) -> Axes:
    """Draws the share of flawed pictures with its 95 % interval, or says that there is none.

    Args:
        ax: where to draw.
        rates: ``group``, ``rate``, ``low``, ``high``, ``n``, from ``selection.flaw_rates``; may be empty.
    """
    if rates.empty:
        ax.text(0.5, 0.5, "not attempted: no judge was given", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax
    value, low, high = (100 * rates[c].to_numpy() for c in ("rate", "low", "high"))
    colours = [{"positives": BLUE, "negatives": VERMILLION}.get(name, GREY) for name in rates["group"]]
    names = [f"{name}\nn = {n:,}" for name, n in zip(rates["group"], rates["n"], strict=True)]
    ax.bar(names, value, yerr=[value - low, high - value], color=colours, capsize=4, width=0.6)
    for x, (v, h) in enumerate(zip(value, high, strict=True)):
        ax.text(x, h + 1.5, f"{v:.1f} %", ha="center")
    ax.set(ylabel="flawed by the judge, %", ylim=(0, min(112, high.max() + 12)))
    ax.grid(axis="x", visible=False)
    return ax


def _by_prompt(table: pd.DataFrame) -> dict[str, list[dict]]:
    """Return the rows of each prompt, in the table's order.

    pandas cannot group by a prompt that no file can hold, such as half of a surrogate pair.
    """
    rows_of: dict[str, list[dict]] = {}
    for row in table.to_dict("records"):
        rows_of.setdefault(row["prompt"], []).append(row)
    return rows_of


def _frame(role: str) -> str | None:
    """Returns how a picture of that role is framed; negatives that are not kept look like those that are."""
    return None if not role else pictures.POSITIVE if role == POSITIVE else pictures.NEGATIVE
