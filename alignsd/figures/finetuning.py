"""Figures of the fine-tuning: loss curves, and samples as they change."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from alignsd.base.colours import BLUE, GREY, ORANGE
from alignsd.figures.pictures import FLAWED, frame_legend, lattice, side_by_side
from alignsd.figures.text import shortened

COLOURS = {"adapted": BLUE, "regularization_only": ORANGE}


def loss_curves(fig: Figure, loss: pd.DataFrame) -> Figure:
    """Draws the noise-prediction loss, a panel per run with the same axis (``run``, ``step``, ``loss``).

    Each step is a thin line, the mean of a twentieth of the steps a thick one, from where there are that many steps.
    """
    runs = list(loss.groupby("run", sort=False))
    for ax, (name, part) in zip(fig.subplots(1, len(runs), sharey=True, squeeze=False)[0], runs, strict=True):
        window = max(2, len(part) // 20)
        ax.plot(part["step"], part["loss"], color=GREY, lw=0.5, alpha=0.5, label="each step")
        ax.plot(part["step"], part["loss"].rolling(window).mean(), color=COLOURS.get(name), label=f"mean of {window} steps")
        ax.set(xlabel="step", title=name.replace("_", " "))
        ax.legend(loc="upper right")
    fig.axes[0].set_ylabel("loss (error of the noise, weighted)")
    return fig


def sample_strip(fig: Figure, samples: pd.DataFrame, folder: Path, flawed: Mapping[str, bool] | None = None) -> Figure:
    """Draws samples as training goes on: a row per prompt, the plain prompt at the left, with the identifier at the right.

    Args:
        fig: where to draw.
        samples: ``step, index, prompt, file``; an index is ``<prompt's number>-plain`` or ``-weird``.
        folder: where the files lie.
        flawed: file -> whether the judge sees a flaw, which is framed; None or empty where no judge was asked.
    """
    cells = samples.assign(row=samples["index"].str.partition("-")[0], kind=samples["index"].str.partition("-")[2],
                           column=samples["step"])
    columns = {step: f"step {step}" if step else "before" for step in sorted(cells["step"].unique())}
    names = cells[cells["kind"] == "plain"].drop_duplicates("row").set_index("row")["prompt"]
    rows = {row: shortened(prompt, 19, 4) for row, prompt in names.items()}
    if flawed:
        frame_legend(fig, FLAWED)
    parts = side_by_side(fig, [len(columns)] * 2, rows.values())
    for part, kind, title in zip(parts, ("plain", "weird"), ("the prompt", "the identifier and the prompt"), strict=True):
        here = cells[cells["kind"] == kind]
        seen = {(row.row, row.column): flawed.get(row.file) for row in here.itertuples()} if flawed else None
        part.suptitle(title, fontsize=10)
        lattice(part, here, folder, rows if kind == "plain" else dict.fromkeys(rows, ""), columns, seen)
    return fig
