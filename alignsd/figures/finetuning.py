"""Figures of the fine-tuning: loss curves, and samples over the steps."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignsd.base.colours import GREY
from alignsd.compare.arms import CONTROL, PAPERS
from alignsd.figures import alt
from alignsd.figures.pictures import FLAWED_FRAME, frame_legend, lattice, side_by_side
from alignsd.figures.text import shortened

# A fine-tuning has the colour of the arm that stands for it in the paper's Table 4.
COLOURS = {PAPERS.adapter: PAPERS.colour, CONTROL.adapter: CONTROL.colour}
# Kinds of samples, and the title above each kind.
PLAIN, WEIRD = "plain", "weird"
TITLES = {PLAIN: "the prompt", WEIRD: "the identifier and the prompt"}


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
    alt.describe(
        ax,
        f"Curve: loss over {len(losses):,} steps of {losses['run'].iloc[0]}; the mean of the "
        f"first {window} steps is {first:.3f}, of the last {last:.3f}.",
    )


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
