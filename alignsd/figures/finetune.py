"""Figures of the fine-tuning: loss curves, and samples as they change."""

from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignsd.figures import BLUE, ORANGE
from alignsd.images import read_image

COLOURS = {"adapted": BLUE, "regularization_only": ORANGE}


def loss_curves(ax: Axes, loss: pd.DataFrame) -> Axes:
    """Draws the noise-prediction loss of each run, as a mean over a twentieth of its steps (``run``, ``step``, ``loss``)."""
    for name, part in loss.groupby("run"):
        window = max(2, len(part) // 20)
        ax.plot(part["step"], part["loss"].rolling(window, min_periods=1).mean(), color=COLOURS.get(name),
                label=f"{name.replace('_', ' ')} (mean of {window} steps)")
    ax.set(xlabel="step", ylabel="loss (error of the noise, weighted)")
    ax.legend(loc="best")
    return ax


def sample_strip(fig: Figure, samples: pd.DataFrame, folder: Path) -> Figure:
    """Draws samples as training goes on: a row per prompt, a column per step (``step``, ``index``, ``prompt``, ``file``)."""
    steps, rows = sorted(samples["step"].unique()), sorted(samples["index"].unique())
    axes = fig.subplots(len(rows), len(steps), squeeze=False)
    for (step, index), part in samples.set_index(["step", "index"]).groupby(level=[0, 1]):
        ax = axes[rows.index(index)][steps.index(step)]
        ax.imshow(read_image(folder / part["file"].iloc[0]))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if index == rows[0]:
            ax.set_title(f"step {step}")
        if step == steps[0]:
            ax.set_ylabel(fill(part["prompt"].iloc[0], 22), rotation=0, ha="right", va="center", fontsize=8)
    return fig


def arm_grid(fig: Figure, plan: pd.DataFrame, folder: Path, images: int) -> Figure:
    """Draws the first images of every arm, a row per arm, a column per prompt and seed (``arm``, ``id``, ``file``)."""
    arms = list(plan["arm"].unique())
    axes = fig.subplots(len(arms), images, squeeze=False)
    for row, arm in zip(axes, arms, strict=True):
        for ax, file in zip(row, plan.loc[plan["arm"] == arm, "file"], strict=False):
            ax.imshow(read_image(folder / file))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(arm.replace("_", "\n"), rotation=0, ha="right", va="center")
    return fig
