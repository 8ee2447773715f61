"""Pictures side by side: one lattice for every figure of generated images, its frames and the legend that explains them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from alignsd.base.colours import BLUE, VERMILLION
from alignsd.base.images import BadImage, read_image
from alignsd.figures.text import shortened

LABEL = 8  # points; prompts and numbers at pictures
FRAMES = {"flawed": ("the judge sees a flaw", VERMILLION, "-"), "chosen": ("the image that the person chose", BLUE, "-"),
          "positive": ("positive", BLUE, "-"), "negative": ("negative", VERMILLION, "--")}
FLAWED, CHOSEN, POSITIVE, NEGATIVE = FRAMES


def column_title(prompt: str) -> str:
    """Returns a prompt as it stands above one of about eight columns."""
    return shortened(prompt, 14, 6)


def show(ax: Axes, image: np.ndarray, frame: str | None = None) -> None:
    """Shows a picture without ticks, framed as ``FRAMES`` says, or not at all."""
    ax.imshow(image, interpolation="none")
    ax.grid(False)
    ax.set(xticks=[], yticks=[], anchor="N")  # room that a square leaves is below it, where the layout does not need it
    ax.spines[:].set_visible(frame is not None)
    if frame is not None:
        _, colour, line = FRAMES[frame]
        ax.spines[:].set(color=colour, linestyle=line, linewidth=2.8)


def show_file(ax: Axes, path: Path, frame: str | None = None) -> None:
    """Show the picture of a file, or in its place why the picture is missing or damaged."""
    try:
        show(ax, read_image(path), frame)
    except BadImage as error:
        show_nothing(ax, error)


def show_nothing(ax: Axes, error: BadImage) -> None:
    """Say in the place of a picture why there is none."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    reason = shortened(error.reason, 14, 4)
    look = {"ha": "center", "va": "center", "fontsize": LABEL}
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, parse_math=False, **look)


def sheet(
    fig: Figure,
    pictures: Mapping[str, np.ndarray],
    flawed: Mapping[str, bool],
    columns: int = 8,
) -> Figure:
    """Draw many pictures in the order given, and frame those in which the judge sees a flaw.

    Args:
        fig: where to draw; about 1.1 inches of height per row.
        pictures: name -> pixels.
        flawed: name -> the judge's verdict; empty frames nothing.
        columns: pictures side by side.
    """
    frame_legend(fig, FLAWED)
    rows = -(-len(pictures) // columns)
    places = list(fig.subplots(rows, columns, squeeze=False).flat)
    for ax in places:
        ax.set_axis_off()
    for ax, (name, pixels) in zip(places, pictures.items(), strict=False):
        ax.set_axis_on()
        show(ax, pixels, FLAWED if flawed.get(name) else None)
    return fig


def frame_legend(fig: Figure, *frames: str, extra: str = "") -> None:
    """Says above everything else what the frames mean; ``extra`` is said beside them."""
    handles = [Patch(facecolor="none", edgecolor=colour, linestyle=line, linewidth=2, label=words)
               for words, colour, line in (FRAMES[frame] for frame in frames)]
    if extra:
        handles.append(Patch(facecolor="none", edgecolor="none", label=extra))
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=1.4, handleheight=1.2)


def side_by_side(fig: Figure, columns: Sequence[int], names: Iterable[str]) -> list[SubFigure]:
    """Divides a figure into parts whose pictures have one size, given each part's columns and the names left of the first."""
    label = 0.12 + 0.062 * max((len(line) for name in names for line in name.splitlines()), default=0)  # inches
    column = (fig.get_figwidth() - label) / sum(columns)
    widths = [column * count + (label if place == 0 else 0) for place, count in enumerate(columns)]
    return list(fig.subfigures(1, len(columns), width_ratios=widths, squeeze=False)[0])


def lattice(fig: Figure | SubFigure, cells: pd.DataFrame, folder: Path, rows: Mapping[str, str], columns: Mapping[str, str],
            flawed: Mapping[tuple[str, str], bool] | None = None) -> np.ndarray:
    """Draws pictures in rows and columns and returns their axes, ``(rows, columns)``.

    Args:
        fig: where to draw.
        cells: ``row, column, file``; a place without a cell stays empty.
        folder: where the files lie.
        rows: row -> its name at the left, from top to bottom.
        columns: column -> its title, from left to right.
        flawed: (row, column) -> whether the judge sees a flaw, which is framed; None frames nothing.
    """
    files = cells.set_index(["row", "column"])["file"].to_dict()
    axes = fig.subplots(len(rows), len(columns), squeeze=False)
    for (line, row), (place, column) in ((r, c) for r in enumerate(rows) for c in enumerate(columns)):
        ax = axes[line, place]
        if (row, column) not in files:
            ax.set_axis_off()
            continue
        frame = FLAWED if flawed and flawed.get((row, column)) else None
        show_file(ax, folder / files[row, column], frame)
    for ax, title in zip(axes[0], columns.values(), strict=True):
        ax.set_title(title, fontsize=LABEL, va="bottom", parse_math=False)
    for ax, name in zip(axes[:, 0], rows.values(), strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
    return axes


def picture_grid(fig: Figure | SubFigure, images: pd.DataFrame, folder: Path, ids: Sequence[str], arms: Mapping[str, str],
                 flawed: Mapping[tuple[str, str], bool] | None = None) -> Figure | SubFigure:
    """Draws the same prompts and seeds in several arms: a row per arm, a column per id, the prompt above its column.

    Args:
        fig: where to draw.
        images: rows of notebook 06 (``arm, id, prompt, file``).
        folder: where the files lie.
        ids: images to show.
        arms: arm -> its name, from top to bottom; those without images are left out, the first one's prompts are printed.
        flawed: ``(arm, id)`` -> whether the judge sees a flaw, which is framed; None frames nothing.
    """
    if not len(ids):
        fig.text(0.5, 0.5, "no picture to show", ha="center")
        return fig
    drawn = {arm: name for arm, name in arms.items() if arm in set(images["arm"])}
    prompts = images[images["arm"] == next(iter(drawn))].set_index("id")["prompt"]
    cells = images.rename(columns={"arm": "row", "id": "column"})
    lattice(fig, cells, folder, drawn, {key: column_title(prompts[key]) for key in ids}, flawed)
    return fig
