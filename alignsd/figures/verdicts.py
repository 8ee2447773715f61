"""The scorecard as a picture: a table of claims with coloured verdicts."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignsd.base.plotting.colours import GREEN, GREY, ORANGE, VERMILLION
from alignsd.compare.claims import OWN
from alignsd.compare.scorecard import (
    DIRECTION_ONLY,
    NOT_ATTEMPTED,
    NOT_REPRODUCED,
    REPRODUCED,
    published,
    span,
)
from alignsd.figures import alt
from alignsd.figures.style import Look
from alignsd.kit.views import NO_BREAK_SPACE

COLOURS = {
    REPRODUCED: GREEN,
    DIRECTION_ONLY: ORANGE,
    NOT_REPRODUCED: VERMILLION,
    NOT_ATTEMPTED: GREY,
}
CLAIM_WIDTH = 66  # characters per line
# Heights, in lines of text.
BETWEEN_ROWS = 0.55
BETWEEN_BLOCKS = 0.8
Row = Mapping[str, Any]  # of the scorecard


@dataclass(frozen=True)
class Column:
    """A column of the picture: heading, place from the left (0-1), and the aligned side."""

    heading: str
    x: float
    side: str


CLAIM = Column("", 0.0, "left")  # each block of claims has a separate heading
PAPER = Column("paper", 0.585, "right")
THIS_RUN = Column("this run, 95 % interval", 0.605, "left")
COUNT = Column("n", 0.85, "right")
VERDICT = Column("verdict", 0.865, "left")


def scorecard_picture(fig: Figure, rows: Sequence[Row]) -> Figure:
    """Draw the scorecard as a table, the paper's claims first, then the miniature's claims.

    A row has the claim, the published number with all published digits, this run's number with an
    interval, n, and the coloured verdict.

    Args:
        fig: where to draw.
        rows: from ``scorecard.score``.
    """
    ax = fig.subplots()
    for column in (PAPER, THIS_RUN, COUNT, VERDICT):
        ax.text(column.x, 0.0, column.heading, ha=column.side, va="center", weight="bold")
    papers = [row for row in rows if row["source"] != OWN]
    own = [row for row in rows if row["source"] == OWN]
    y = _block(ax, "Claims of the paper and its authors", papers, 0.0)
    y = _block(ax, "The miniature's own claims", own, y)
    ax.set(xlim=(0, 1), ylim=(y, -0.6))
    ax.axis("off")
    claims = "; ".join(f"{row['claim']}: {row['verdict']}" for row in rows)
    description = f"Table of {len(rows)} claims with their verdicts. {claims}."
    alt.describe(ax, description)
    return fig


def _block(ax: Axes, title: str, rows: Sequence[Row], y: float) -> float:
    """Draw claims below their title, and return where the next block begins."""
    if not rows:
        return y
    ax.text(CLAIM.x, y, title, ha=CLAIM.side, va="center", weight="bold")
    y += 1.0
    for row in rows:
        y = _row(ax, row, y)
    return y + BETWEEN_BLOCKS


def _row(ax: Axes, row: Row, y: float) -> float:
    """Draw one claim below ``y`` and return where the next claim begins."""
    lines = textwrap.wrap(row["claim"].replace(" %", f"{NO_BREAK_SPACE}%"), CLAIM_WIDTH)
    middle = y + len(lines) / 2 - 0.25
    texts = {
        CLAIM: "\n".join(lines),
        PAPER: published(row["paper"]),
        THIS_RUN: span(row),
        COUNT: "-" if row["n"] is None else str(row["n"]),
    }
    look: Look = {"va": "center", "fontsize": 9, "linespacing": 1.15}
    for column, text in texts.items():
        ax.text(column.x, middle, text, ha=column.side, **look)
    _verdict(ax, row["verdict"], middle)
    ax.axhline(y - 0.4, color="#D0D0D0", lw=0.7)
    return y + len(lines) + BETWEEN_ROWS


def _verdict(ax: Axes, verdict: str, y: float) -> None:
    """Write a verdict in white on the verdict's colour."""
    colour = COLOURS[verdict]
    box: Look = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": colour}
    look: Look = {"va": "center", "fontsize": 9, "color": "white", "weight": "bold"}
    ax.text(VERDICT.x + 0.008, y, verdict, bbox=box, **look)
