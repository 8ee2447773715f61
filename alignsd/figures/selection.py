"""Figures of the scored corpus and of what was selected from it."""

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignsd.figures import BLUE, GREY, ORANGE, VERMILLION
from alignsd.selection import BLUR_LIMIT, NEGATIVE, POSITIVE, SPARE

LABEL = 8.5  # points; prompts above pictures


def score_histogram(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draws how HPS is distributed over the corpus (``hps``, ``status``), with its mean and spread."""
    values = scores.loc[scores["status"] == "ok", "hps"].astype(float)
    ax.hist(values, bins=50, color=BLUE, alpha=0.8)
    ax.axvline(values.mean(), color=ORANGE, label=f"mean {values.mean():.2f}, standard deviation {values.std():.2f}")
    ax.set(xlabel="HPS (100 × cosine)", ylabel="images", title=f"n = {len(values):,} images")
    ax.set_ylim(0, ax.get_ylim()[1] * 1.15)
    ax.legend(loc="upper left")
    return ax


def sharpness_histogram(ax: Axes, scores: pd.DataFrame, limit: float = BLUR_LIMIT) -> Axes:
    """Draws how sharp the images are (``sharpness``, ``status``) and where the blur test cuts."""
    values = scores.loc[scores["status"] == "ok", "sharpness"].astype(float)
    ax.hist(values, bins=np.arange(0, 261, 5), color=BLUE, alpha=0.8)
    ax.axvline(limit, color=VERMILLION, linestyle="--", label=f"limit {limit:g}: {int((values < limit).sum())} images below")
    ax.set(xlabel="greatest difference of neighbouring pixels, 0-255", ylabel="images", yscale="symlog")
    ax.set_ylim(0, 6 * ax.get_ylim()[1])
    ax.legend(loc="upper left")
    return ax


def ranked_pictures(fig: Figure, groups: pd.DataFrame, pictures: dict[str, np.ndarray]) -> Figure:
    """Draws one row per prompt: its pictures from the lowest HPS to the highest.

    Args:
        fig: where to draw.
        groups: ``prompt``, ``image``, ``hps``, and ``role`` if known (framed); a few prompts.
        pictures: image id to pixels.
    """
    prompts = [(prompt, rows.sort_values(["hps", "image"])) for prompt, rows in groups.groupby("prompt", sort=False)]
    if not prompts:
        fig.text(0.5, 0.5, "no picture to show", ha="center")
        return fig
    axes = fig.subplots(len(prompts), max(len(rows) for _, rows in prompts), squeeze=False)
    for line, (prompt, rows) in zip(axes, prompts, strict=True):
        for ax, row in zip(line, rows.to_dict("records"), strict=False):
            _picture(ax, pictures[row["image"]], f"{row['hps']:.2f}", row.get("role", ""))
        line[0].set_ylabel(_wrapped(prompt), rotation=0, ha="right", va="center", fontsize=LABEL)
        for ax in line[len(rows):]:
            ax.set_axis_off()
    return fig


def funnel(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draws what each step of the selection left (``step``, ``images``, ``prompts``)."""
    rows = table.iloc[::-1]
    colours = {"positives": BLUE, "negatives": VERMILLION, "negatives kept": VERMILLION}
    ax.barh(rows["step"], rows["images"], color=[colours.get(step, GREY) for step in rows["step"]])
    for y, (images, prompts) in enumerate(zip(rows["images"], rows["prompts"], strict=True)):
        ax.text(images, y, f"  {images:,} of {prompts:,} prompts", va="center", fontsize=9)
    ax.set(xlabel="images", xlim=(0, max(1, table["images"].max()) * 1.38))
    ax.grid(axis="y", visible=False)
    return ax


def sensitivity(ax: Axes, table: pd.DataFrame, alpha: float) -> Axes:
    """Draws the counts against the threshold (``alpha``, ``positives``, ``negatives``), and this run's alpha."""
    ax.plot(table["alpha"], table["positives"], marker="o", color=BLUE, label="positives")
    ax.plot(table["alpha"], table["negatives"], marker="s", color=VERMILLION, label="negatives, before a share is kept")
    ax.axvline(alpha, color=GREY, linestyle="--", label=f"this run: {alpha:g}")
    ax.set(xlabel="alpha: selected if softmax > alpha / n", ylabel="images", ylim=(0, None))
    ax.legend(loc="upper right")
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
    ax.axhline(alpha, color=GREY, linestyle="--", label=f"alpha = {alpha:g}")
    ax.set(xlabel="n × softmax(HPS) of the best image", ylabel="n × softmax(-HPS) of the worst image",
           title=f"n = {len(most):,} prompts")
    ax.legend(loc="upper right")
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


def pair_grid(fig: Figure, pairs: pd.DataFrame, pictures: dict[str, np.ndarray], columns: int = 4) -> Figure:
    """Draws positives over negatives, one pair per prompt.

    Args:
        fig: where to draw.
        pairs: from ``pair_prompts``; ``hps`` besides.
        pictures: image id to pixels.
        columns: pairs side by side.
    """
    prompts = list(pairs.groupby("prompt", sort=True))
    if not prompts:
        fig.text(0.5, 0.5, "no prompt gave both a positive and a negative", ha="center")
        return fig
    lines = -(-len(prompts) // columns)
    axes = fig.subplots(2 * lines, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (prompt, rows) in enumerate(prompts):
        place = 2 * (i // columns), i % columns
        for row in rows.to_dict("records"):
            below = row["role"] != POSITIVE
            title = f"{row['hps']:.2f}" if below else f"{_wrapped(prompt)}\n{row['hps']:.2f}"
            _picture(axes[place[0] + below, place[1]], pictures[row["image"]], title, row["role"])
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


def _picture(ax: Axes, image: np.ndarray, title: str, role: str) -> None:
    """Shows a picture; a positive gets a solid blue frame, a negative a dashed vermillion one."""
    ax.set_axis_on()
    ax.imshow(image)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=LABEL)
    ax.spines[:].set_visible(role != "")
    colour, line = (BLUE, "-") if role == POSITIVE else (VERMILLION, "--")
    ax.spines[:].set(color=colour, linewidth=2.5, linestyle=line)


def _wrapped(prompt: str, width: int = 26, lines: int = 3) -> str:
    """Breaks a prompt into a few short lines; what does not fit is left off with an ellipsis."""
    parts = wrap(prompt, width) or [""]
    return "\n".join(parts[:lines]) + (" ..." if len(parts) > lines else "")
