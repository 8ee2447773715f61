"""Pictures side by side: the lattice and the frames of all figures of generated images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from alignsd.base.images import BadImage, read_image
from alignsd.base.plotting.colours import BLUE, VERMILLION
from alignsd.figures import alt
from alignsd.figures.style import Look
from alignsd.figures.text import shortened

LABEL = 8  # points; prompts and numbers at pictures
SMALL = 128  # pixels; a PDF keeps the pixels of pictures up to this side, and resamples the rest
NAME_MARGIN = 0.12  # inches left of the names of rows
NAME_CHARACTER = 0.062  # inches; about the width of a character in such a name


@dataclass(frozen=True)
class Frame:
    """A frame around a picture, and what the frame says about the picture."""

    words: str
    colour: str
    line: Literal["-", "--"] = "-"


FLAWED_FRAME = Frame("the judge sees a flaw", VERMILLION)
CHOSEN_FRAME = Frame("the image that the person chose", BLUE)
POSITIVE_FRAME = Frame("positive", BLUE)
NEGATIVE_FRAME = Frame("negative", VERMILLION, "--")


def column_title(prompt: str) -> str:
    """Return a prompt in lines that fit above a column, at about eight columns."""
    return shortened(prompt, 14, 6)


def show(ax: Axes, image: np.ndarray, frame: Frame | None = None) -> Axes:
    """Show a picture without ticks, with a frame or without."""
    # "none" keeps a small picture's pixels in a PDF; "nearest" would store enlarged pixels.
    ax.imshow(image, interpolation="none" if max(image.shape[:2]) <= SMALL else "nearest")
    ax.grid(False)
    # A square may leave room in the axes. The room is below, where the layout needs no room.
    ax.set(xticks=[], yticks=[], anchor="N")
    ax.spines[:].set_visible(frame is not None)
    if frame is not None:
        ax.spines[:].set(color=frame.colour, linestyle=frame.line, linewidth=2.8)
    return ax


def show_file(ax: Axes, path: Path, frame: Frame | None = None) -> Axes:
    """Show the picture of a file, or the reason why the picture is missing or damaged."""
    try:
        return show(ax, read_image(path), frame)
    except BadImage as error:
        return show_nothing(ax, error)


def show_nothing(ax: Axes, error: BadImage) -> Axes:
    """Write in the place of a missing picture why the picture is missing."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.text(
        0.5,
        0.5,
        shortened(error.reason, 14, 4),
        transform=ax.transAxes,
        parse_math=False,
        ha="center",
        va="center",
        fontsize=LABEL,
    )
    return ax


def say(fig: Figure | SubFigure, words: str) -> None:
    """Write a sentence in the middle of a figure that has nothing to show."""
    fig.text(0.5, 0.5, words, ha="center")
    if isinstance(fig, Figure):
        description = f"No drawing: {words}."
        alt.describe(fig, description)


def sheet(
    fig: Figure,
    pictures: Mapping[str, np.ndarray],
    flawed: Mapping[str, bool],
    columns: int = 8,
) -> Figure:
    """Draw many pictures in the given order, and frame the pictures in which the judge sees a flaw.

    Args:
        fig: where to draw; about 1.1 inches of height per row.
        pictures: name -> pixels.
        flawed: name -> the judge's verdict; empty frames nothing, and explains no frame.
        columns: pictures side by side.
    """
    if len(flawed):
        frame_legend(fig, FLAWED_FRAME)
    rows = -(-len(pictures) // columns)
    axes = list(fig.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.set_axis_off()
    for ax, (name, pixels) in zip(axes, pictures.items(), strict=False):
        ax.set_axis_on()
        show(ax, pixels, FLAWED_FRAME if flawed.get(name) else None)
    words = f"{len(pictures)} pictures, {columns} side by side"
    if len(flawed):
        framed = sum(bool(flawed.get(name)) for name in pictures)
        words += f"; the judge sees a flaw in {framed}"
    description = f"{words}."
    alt.describe(fig, description)
    return fig


def frame_legend(fig: Figure, *frames: Frame, extra: str = "") -> None:
    """Write above everything else what the frames mean, and ``extra`` beside the meanings."""
    handles = []
    for frame in frames:
        look: Look = {"edgecolor": frame.colour, "linestyle": frame.line, "linewidth": 2}
        handles.append(Patch(facecolor="none", label=frame.words, **look))
    if extra:
        handles.append(Patch(facecolor="none", edgecolor="none", label=extra))
    fig.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        handlelength=1.4,
        handleheight=1.2,
    )


def side_by_side(fig: Figure, columns: Sequence[int], names: Iterable[str]) -> list[SubFigure]:
    """Divide a figure into panels whose pictures have one size.

    Args:
        fig: the figure to divide.
        columns: the number of pictures side by side in each panel.
        names: the names of the rows, which stand left of the first panel.
    """
    lines = [line for name in names for line in name.splitlines()]
    longest = max((len(line) for line in lines), default=0)
    room_for_names = NAME_MARGIN + NAME_CHARACTER * longest
    width = (fig.get_figwidth() - room_for_names) / sum(columns)
    widths = [width * count for count in columns]
    widths[0] += room_for_names
    panels = fig.subfigures(1, len(columns), width_ratios=widths, squeeze=False)
    return list(panels[0])


def lattice(
    fig: Figure | SubFigure,
    cells: pd.DataFrame,
    folder: Path,
    rows: Mapping[str, str],
    columns: Mapping[str, str],
    flawed: Mapping[tuple[str, str], bool] | None = None,
) -> np.ndarray:
    """Draw pictures in rows and columns, and return the axes, ``(rows, columns)``.

    Args:
        fig: where to draw.
        cells: ``row, column, file``; a place without a cell stays empty.
        folder: the folder of the files.
        rows: row -> name at the left, from top to bottom.
        columns: column -> title, from left to right.
        flawed: (row, column) -> whether the judge sees a flaw, which is framed; None frames
            nothing.
    """
    files = cells.set_index(["row", "column"])["file"].to_dict()
    verdicts = flawed or {}
    axes = fig.subplots(len(rows), len(columns), squeeze=False)
    for axes_of_row, row in zip(axes, rows, strict=True):
        for ax, column in zip(axes_of_row, columns, strict=True):
            file = files.get((row, column))
            if file is None:
                ax.set_axis_off()
                continue
            show_file(ax, folder / file, FLAWED_FRAME if verdicts.get((row, column)) else None)
    for ax, title in zip(axes[0], columns.values(), strict=True):
        ax.set_title(title, fontsize=LABEL, va="bottom", parse_math=False)
    look: Look = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
    for ax, name in zip(axes[:, 0], rows.values(), strict=True):
        ax.set_ylabel(name, parse_math=False, **look)
    return axes


def picture_grid(
    fig: Figure | SubFigure,
    images: pd.DataFrame,
    folder: Path,
    ids: Sequence[str],
    labels: Mapping[str, str],
    flawed: Mapping[tuple[str, str], bool] | None = None,
) -> Figure | SubFigure:
    """Draw the same prompts and seeds in several arms: a row per arm, a column per id.

    Above each column stands the prompt in the first arm that is drawn.

    Args:
        fig: where to draw.
        images: ``arm, id, prompt, file``.
        folder: the folder of the files.
        ids: the images to show.
        labels: arm -> label, from top to bottom, from ``arms.labels``. An arm without images
            is left out.
        flawed: (arm, id) -> whether the judge sees a flaw, which is framed; None frames nothing.
    """
    if not len(ids):
        say(fig, "no picture to show")
        return fig
    drawn_arms = set(images["arm"])
    rows = {arm: label for arm, label in labels.items() if arm in drawn_arms}
    first = next(iter(rows))
    prompts = images[images["arm"] == first].set_index("id")["prompt"]
    columns = {key: column_title(prompts[key]) for key in ids}
    cells = images.rename(columns={"arm": "row", "id": "column"})
    lattice(fig, cells, folder, rows, columns, flawed)
    if isinstance(fig, Figure):
        names = ", ".join(" ".join(label.split()) for label in rows.values())
        prompts_in_words = "; ".join(prompts[key] for key in ids)
        words = f"Pictures of {len(ids)} prompts in {len(rows)} rows: {names}."
        description = f"{words} Prompts: {prompts_in_words}."
        alt.describe(fig, description)
    return fig
