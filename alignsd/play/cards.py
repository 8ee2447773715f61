"""Pictures with what the kit says about each: as HTML for a widget, and as a figure for a batch."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from alignsd.base.plotting.colours import BLACK, VERMILLION
from alignsd.figures import alt
from alignsd.figures.pictures import FLAWED_FRAME, frame_legend, show
from alignsd.figures.style import DARK_GREY
from alignsd.figures.text import shortened
from alignsd.kit.views import NO_FORMULAS, readable
from alignsd.play.studio import Picture

SIDE = 176  # pixels of a small picture in HTML; a class sees the picture on a projector
CAPTION = 9  # points
CHARACTER = 0.088  # inches; about the width of a bold character of a title
INCHES_OF_CAPTION = 0.75
LARGEST = 512  # pixels; a larger picture is scaled down before it travels to the browser


@dataclass(frozen=True)
class Card:
    """A picture with a title and lines below the picture.

    Attributes:
        title: above the picture.
        pixels: ``(height, width, 3)`` uint8.
        lines: below the picture.
        colour: of the title, such as an arm's.
        flawed: whether the judge sees a flaw: the picture is framed.
    """

    title: str
    pixels: np.ndarray
    lines: tuple[str, ...] = ()
    colour: str = BLACK
    flawed: bool = False


def card(picture: Picture, title: str, colour: str = BLACK) -> Card:
    """Return the card of a picture, with HPS, CLIP score and the judge's verdict."""
    lines = (picture.scores, *picture.verdict)
    return Card(title, picture.pixels, lines, colour, picture.is_flawed)


def as_html(cards: Iterable[Card]) -> str:
    """Return cards side by side, as HTML; the text is escaped, and dollar signs are no formulas."""
    figures = "".join(map(_html_of, cards))
    look = "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-end"
    return f'<div class="{NO_FORMULAS}" style="{look}">{figures}</div>'


def _html_of(card: Card) -> str:
    lines = "".join(f"<div>{html.escape(readable(line))}</div>" for line in card.lines)
    title = html.escape(readable(card.title))
    spoken = html.escape(readable(", ".join((card.title, *card.lines))), quote=True)
    frame = f"4px solid {VERMILLION}" if card.flawed else "4px solid transparent"
    picture = f"width:{SIDE}px;border:{frame};image-rendering:pixelated;display:block"
    return (
        f'<figure style="margin:0;width:{SIDE + 8}px;font-size:14px;line-height:1.35">'
        f'<div style="border-bottom:4px solid {card.colour};font-weight:600;'
        f'margin:0 4px 4px 4px">{title}</div>'
        f'<img alt="{spoken}" style="{picture}" src="{data_url(card.pixels)}">'
        f'<figcaption style="margin:0 4px">{lines}</figcaption></figure>'
    )


def data_url(pixels: np.ndarray) -> str:
    """Return a picture ``(height, width, 3)`` uint8 as a PNG within an address."""
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST))
    content = io.BytesIO()
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def figure_size(count: int, columns: int, width: float = 9.5) -> tuple[float, float]:
    """Return width and height in inches of a figure of square pictures with captions."""
    rows = -(-count // columns)
    return width, rows * (width / columns + INCHES_OF_CAPTION) + 0.6


def as_figure(
    fig: Figure,
    cards: Sequence[Card],
    columns: int,
    rows: Sequence[str] = (),
) -> Figure:
    """Draw cards in rows, and frame the pictures in which the judge sees a flaw.

    Args:
        fig: where to draw, see ``figure_size``.
        cards: row after row.
        columns: pictures side by side.
        rows: the names of the rows, at the left; none if empty.
    """
    if any(card.flawed for card in cards):
        frame_legend(fig, FLAWED_FRAME)
    count = -(-len(cards) // columns)
    axes = fig.subplots(count, columns, squeeze=False)
    room = int(fig.get_figwidth() / columns / CHARACTER)
    for ax, card in zip(axes.flat, cards, strict=False):
        show(ax, card.pixels, FLAWED_FRAME if card.flawed else None)
        title = shortened(card.title, room, 3)
        ax.set_title(title, fontsize=CAPTION + 1, color=card.colour, weight="bold")
        words = "\n".join(shortened(line, room, 2) for line in card.lines)
        ax.set_xlabel(words, fontsize=CAPTION, color=DARK_GREY)
    for ax in axes.flat[len(cards) :]:
        ax.set_axis_off()
    for ax, name in zip(axes[:, 0], rows, strict=False):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=CAPTION + 1)
    told = "; ".join(", ".join((card.title, *card.lines)) for card in cards)
    by_row = f", a row each of {', '.join(rows)}" if rows else ""
    description = f"{len(cards)} pictures{by_row}: {told}."
    alt.describe(fig, description)
    return fig


def as_output(fig: Figure, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a figure as an object's output in a notebook: the contents, and the figure's words.

    Args:
        fig: the figure.
        text: what stands below the pictures, and what a terminal shows.
    """
    width = int(fig.get_figwidth() / CHARACTER)
    fig.supxlabel(shortened(text, width, 4), fontsize=CAPTION, color=DARK_GREY)
    shown = alt.as_png(fig)
    assert shown is not None, "a figure with a size has a picture"
    png, words = shown
    return {"image/png": png, "text/plain": text}, {"image/png": words}
