"""Figures of the fine-tuning: training pictures, noise, matrices, loss curves, and samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignsd.base.plotting.colours import BLUE, GREY, VERMILLION
from alignsd.compare.arms import CONTROL, PAPERS
from alignsd.figures import alt
from alignsd.figures.pictures import (
    FLAWED_FRAME,
    LABEL,
    NEGATIVE_FRAME,
    POSITIVE_FRAME,
    frame_legend,
    lattice,
    show,
    show_file,
    side_by_side,
)
from alignsd.figures.text import shortened

if TYPE_CHECKING:  # the module loads torch
    from alignsd.adapt.low_rank import LowRank

# A fine-tuning has the colour of the arm that stands for it in the paper's Table 4.
COLOURS = {PAPERS.adapter: PAPERS.colour, CONTROL.adapter: CONTROL.colour}
# Kinds of samples, and the title above each kind.
PLAIN, WEIRD = "plain", "weird"
TITLES = {PLAIN: "the prompt", WEIRD: "the identifier and the prompt"}
FRAMES = {"positive": POSITIVE_FRAME, "negative": NEGATIVE_FRAME}
DIVERGING = "RdBu_r"  # red above 0, blue below 0, white at 0


def training_pictures(fig: Figure, pictures: pd.DataFrame, captions: Sequence[str]) -> Figure:
    """Draw training pictures under their captions, a row for each kind of picture.

    Args:
        fig: where to draw; about 1.7 inches of height per row.
        pictures: ``folder``, ``file_name`` and ``label`` (``positive``, ``negative`` or other).
        captions: the caption of each picture in the training.
    """
    rows = list(pictures.assign(caption=list(captions)).groupby("label", sort=False))
    columns = max(len(group) for _, group in rows)
    axes = fig.subplots(len(rows), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for axes_of_row, (label, group) in zip(axes, rows, strict=True):
        for ax, picture in zip(axes_of_row, group.itertuples(), strict=False):
            ax.set_axis_on()
            show_file(ax, Path(picture.folder) / picture.file_name, FRAMES.get(label))
            title = shortened(picture.caption, 24, 4)
            ax.set_title(title, fontsize=LABEL, va="bottom", parse_math=False)
        axes_of_row[0].set_ylabel(label, fontsize=10)
    counts = ", ".join(f"{len(group)} of kind {label}" for label, group in rows)
    alt.describe(fig, f"Pictures: training pictures under their captions, {counts}.")
    return fig


def noise_levels(
    fig: Figure, pictures: np.ndarray, times: Sequence[int], ratios: np.ndarray
) -> Figure:
    """Draw one picture at several time steps, with the signal-to-noise ratio of each.

    Args:
        fig: where to draw; about 9.5 x 1.7 inches.
        pictures: ``(k, height, width, 3)`` uint8, from ``noising.noised_pictures``.
        times: the k time steps.
        ratios: the signal-to-noise ratio of every time step.
    """
    axes = fig.subplots(1, len(times), squeeze=False)[0]
    _noised_row(axes, pictures, times, ratios)
    alt.describe(
        fig,
        f"Pictures: one picture with more and more noise, at {len(times)} time steps from "
        f"{times[0]} to {times[-1]}; the signal-to-noise ratio falls from {ratios[times[0]]:.2g} "
        f"to {ratios[times[-1]]:.2g}.",
    )
    return fig


def _noised_row(
    axes: np.ndarray, pictures: np.ndarray, times: Sequence[int], ratios: np.ndarray
) -> None:
    for ax, picture, time in zip(axes, pictures, times, strict=True):
        show(ax, picture)
        ax.set_title(f"t = {time}\nSNR {ratios[time]:.2g}", fontsize=LABEL)


def snr_weights(
    fig: Figure,
    pictures: np.ndarray,
    times: Sequence[int],
    ratios: np.ndarray,
    gamma: float,
) -> Figure:
    """Draw the weight of each time step in the loss below a picture noised at some time steps.

    The weight is min(SNR, gamma) / SNR; at gamma = 0 all time steps weigh 1, as in
    ``lora.snr_weight`` for a UNet that predicts the noise.

    Args:
        fig: where to draw; about 9.5 x 4.2 inches.
        pictures: ``(k, height, width, 3)`` uint8, from ``noising.noised_pictures``.
        times: the k time steps, evenly spaced.
        ratios: the signal-to-noise ratio of every time step.
        gamma: ratio above which the weight falls.
    """
    weights = np.minimum(ratios, gamma) / ratios if gamma else np.ones(len(ratios))
    grid = fig.add_gridspec(2, len(times), height_ratios=(1, 1.7))
    top = np.array([fig.add_subplot(grid[0, column]) for column in range(len(times))])
    _noised_row(top, pictures, times, ratios)
    ax = fig.add_subplot(grid[1, :])
    ax.fill_between(np.arange(len(weights)), weights, color=BLUE, alpha=0.15, lw=0)
    ax.plot(weights, color=BLUE, label="weight of the time step")
    ax.plot(times, weights[list(times)], "o", color=BLUE)
    full = np.flatnonzero(weights >= 1)
    if gamma and len(full) and full[0] > 0:
        ax.axvline(full[0], color=VERMILLION, ls="--", label=f"SNR = gamma = {gamma:g}")
    ax.set(
        xlim=(0, len(weights)), ylim=(0, 1.08), xlabel="time step t", ylabel="weight in the loss"
    )
    ax.legend(loc="lower right")
    shown = alt.listed((f"t = {time}:" for time in times), weights[list(times)], 2)
    alt.describe(
        fig,
        "Above, one picture with the noise of several time steps. Below, a curve: the weight of "
        f"each time step in the loss at gamma = {gamma:g}. {shown}.",
    )
    return fig


def low_rank(fig: Figure, layer: "LowRank") -> Figure:
    """Draw the matrices of a layer with LoRA, all to the same scale of lengths and of colours.

    Args:
        fig: where to draw; about 9.5 x 3 inches.
        layer: from ``low_rank.first_layer``.
    """
    product = layer.scale * layer.up @ layer.down
    matrices = {
        "W (frozen)": layer.weight,
        "B": layer.up,
        "A": layer.down,
        f"{layer.scale:g} × B A": product,
    }
    heights = [matrix.shape[0] for matrix in matrices.values()]
    widths = [matrix.shape[1] for matrix in matrices.values()]
    axes = fig.subplots(1, len(matrices), width_ratios=widths)
    limit = float(np.abs(layer.weight).max())
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(matrix, cmap=DIVERGING, vmin=-limit, vmax=limit)
        ax.set_title(f"{name}\n{matrix.shape[0]} × {matrix.shape[1]}", fontsize=9)
        ax.set(ylim=(max(heights) - 0.5, -0.5), xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=axes, label="value", shrink=0.7)
    spreads = alt.listed(matrices, (matrix.std() for matrix in matrices.values()), 3)
    alt.describe(
        fig, f"Heat maps: the matrices of one layer with LoRA. Spread of the values: {spreads}."
    )
    return fig


def loss_curves(fig: Figure, loss: pd.DataFrame) -> Figure:
    """Draw the noise-prediction loss, a panel per fine-tuning, all with the same axis.

    A thin line shows each step. A thick line shows the mean of a twentieth of the steps, from where
    there are that many steps.

    Args:
        fig: where to draw.
        loss: ``run``, ``step``, ``loss``.
    """
    losses_of_run = list(loss.groupby("run", sort=False))
    axes = fig.subplots(1, len(losses_of_run), sharey=True, squeeze=False)[0]
    for ax, (run, losses) in zip(axes, losses_of_run, strict=True):
        _loss_curve(ax, losses, COLOURS.get(run))
        ax.set_title(run.replace("_", " "))
    axes[0].set_ylabel("loss (error of the noise, weighted)")
    return fig


def _loss_curve(ax: Axes, losses: pd.DataFrame, colour: str | None) -> None:
    window = max(2, len(losses) // 20)
    running_mean = losses["loss"].rolling(window).mean()
    ax.plot(losses["step"], losses["loss"], color=GREY, lw=0.5, alpha=0.5, label="each step")
    ax.plot(losses["step"], running_mean, color=colour, label=f"mean of {window} steps")
    ax.set_xlabel("step")
    ax.legend(loc="upper right")
    last = losses["loss"].tail(window).mean()
    first = losses["loss"].head(window).mean()
    description = (
        f"Curve: loss over {len(losses):,} steps of {losses['run'].iloc[0]}; the mean of the "
        f"first {window} steps is {first:.3f}, of the last {last:.3f}."
    )
    alt.describe(ax, description)


def sample_strip(
    fig: Figure,
    samples: pd.DataFrame,
    folder: Path,
    flawed: Mapping[str, bool] | None = None,
) -> Figure:
    """Draw samples as training goes on, a row per prompt.

    At the left is the plain prompt, at the right the prompt with the identifier in front.

    Args:
        fig: where to draw.
        samples: ``step, index, prompt, file``; an index is ``<prompt's number>-plain`` or
            ``-weird``.
        folder: the folder of the files.
        flawed: file -> whether the judge sees a flaw, which is framed; None or empty where no judge
            was asked.
    """
    index = samples["index"].str.partition("-")
    cells = samples.assign(row=index[0], kind=index[2], column=samples["step"])
    columns = {step: _step_title(step) for step in sorted(cells["step"].unique())}
    first_of_row = cells[cells["kind"] == PLAIN].drop_duplicates("row")
    prompts = first_of_row.set_index("row")["prompt"]
    names = {row: shortened(prompt, 19, 4) for row, prompt in prompts.items()}
    no_names = dict.fromkeys(names, "")
    verdicts_of_files = flawed or {}
    if verdicts_of_files:
        frame_legend(fig, FLAWED_FRAME)
    panels = side_by_side(fig, [len(columns)] * len(TITLES), names.values())
    for panel, (kind, title) in zip(panels, TITLES.items(), strict=True):
        panel.suptitle(title, fontsize=10)
        cells_of_kind = cells[cells["kind"] == kind]
        verdicts = {}
        for cell in cells_of_kind.itertuples():
            verdicts[cell.row, cell.column] = verdicts_of_files.get(cell.file, False)
        rows = names if kind == PLAIN else no_names
        lattice(panel, cells_of_kind, folder, rows, columns, verdicts)
    steps = ", ".join(columns.values())
    words = f"Pictures: samples of {len(names)} prompts, {steps}. "
    words += "Left the prompt alone, right with the identifier in front."
    framed = cells[cells["file"].map(lambda file: verdicts_of_files.get(file, False))]
    if verdicts_of_files:
        plain = int((framed["kind"] == PLAIN).sum())
        words += f" Flawed: {plain} at the left, {len(framed) - plain} at the right."
    alt.describe(fig, words)
    return fig


def _step_title(step: int) -> str:
    """Return the title of the samples drawn at a step; step 0 is before the training."""
    return f"step {step}" if step else "before"
