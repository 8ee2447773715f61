"""Figures of the collected choices: images per choice, position of the chosen image, prompt lengths, examples."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignsd.base.colours import BLUE, GREY, ORANGE
from alignsd.base.images import BadImage
from alignsd.base.intervals import wilson
from alignsd.collect.choices import Choice
from alignsd.collect.discord import Message, message_of
from alignsd.collect.grids import picture
from alignsd.figures.pictures import CHOSEN, frame_legend, show, show_file, show_nothing
from alignsd.figures.text import shortened
from alignsd.kit.views import Table
from alignsd.paper import CHOSEN_POSITIONS, TEST_CHOICES_BY_IMAGES

EXCHANGE = ("who", "prompt", "pictures")  # columns of the table of an exchange



def images_per_choice(ax: Axes, choices: pd.DataFrame) -> Axes:
    """Draws the share of choices with 2, 3 and 4 images beside the real data's, with 95 % intervals.

    Args:
        ax: where to draw.
        choices: ``file_path`` (list per choice).
    """
    counts = choices["file_path"].map(len).value_counts().reindex(list(TEST_CHOICES_BY_IMAGES), fill_value=0)
    _bars(ax, -0.2, counts.to_numpy(), len(choices), BLUE, f"this run (n = {len(choices):,})")
    _bars(ax, 0.2, np.array(list(TEST_CHOICES_BY_IMAGES.values())), sum(TEST_CHOICES_BY_IMAGES.values()), GREY, "real test set (n = 5,000)")
    ax.set(xticks=range(3), xticklabels=list(TEST_CHOICES_BY_IMAGES), xlabel="images per choice", ylabel="choices, %", ylim=(0, 118))
    ax.legend(loc="upper left")
    return ax


def chosen_positions(ax: Axes, positions: pd.DataFrame) -> Axes:
    """Draws how often each of four positions is chosen beside the real data's, with 95 % intervals.

    Args:
        ax: where to draw.
        positions: from ``hpd.positions``: ``position``, ``share``, ``high``, ``n``.
    """
    n, real = int(positions["n"].iloc[0]), TEST_CHOICES_BY_IMAGES[4]
    _bars(ax, -0.2, (positions["share"] * n).round().to_numpy(), n, BLUE, f"this run (n = {n:,})")
    _bars(ax, 0.2, np.round(np.array(CHOSEN_POSITIONS) * real), real, GREY, f"real test set (n = {real:,})")
    ax.axhline(25, color=ORANGE, linestyle="--", label="no bias: 25 %")
    ax.set(xticks=range(len(positions)), xticklabels=positions["position"], xlabel="position of the chosen image, of 4",
           ylabel="choices, %", ylim=(0, 1.45 * max(32.5, 100 * positions["high"].max())))
    ax.legend(loc="upper left")
    return ax


def prompt_lengths(ax: Axes, choices: pd.DataFrame) -> Axes:
    """Draws how many words the prompts have (``prompt``), one bar per number of words, or per few where prompts are long."""
    words = choices["prompt"].str.split().map(len)
    width = max(1, -(-(words.max() - words.min() + 1) // 40))
    edges = np.arange(words.min(), words.max() + width + 1, width) - 0.5
    ax.hist(words, bins=edges, color=BLUE, edgecolor="white", linewidth=0.4)
    ax.axvline(words.median(), color=ORANGE, linestyle="--", label=f"median {words.median():.0f}")
    ax.set(xlabel="words per prompt", ylabel="choices", ylim=(0, ax.get_ylim()[1] * 1.2))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper right", title=f"n = {len(words):,}")
    return ax


def examples(fig: Figure, choices: pd.DataFrame, folder: Path, columns: int = 2) -> Figure:
    """Draws choices, each with its prompt above its images and a frame around the chosen one, as in the paper.

    Args:
        fig: where to draw; about 1.7 inches of height per row.
        choices: ``prompt``, ``file_path``, ``human_preference``; a handful.
        folder: the data set's folder.
        columns: choices side by side.
    """
    frame_legend(fig, CHOSEN)
    cells = fig.subfigures(-(-len(choices) // columns), columns, squeeze=False).flat
    for cell, row in zip(cells, choices.to_dict("records"), strict=False):
        cell.suptitle(shortened(row["prompt"], 68), fontsize=8.5, parse_math=False)
        for index, (ax, path) in enumerate(zip(cell.subplots(1, 4), row["file_path"] + [None] * 4, strict=False)):
            if path is None:
                ax.set_visible(False)
            else:
                show_file(ax, folder / path, CHOSEN if index == row["human_preference"] else None)
    return fig


def offered(fig: Figure, choices: Sequence[Choice]) -> Figure:
    """Draw choices of the export, one per row, each with a frame around the chosen picture.

    Args:
        fig: where to draw; about 1.7 inches of height per choice.
        choices: from ``channel.parse``; a handful.
    """
    if not choices:
        fig.text(0.5, 0.5, "no choice to show", ha="center")
        return fig
    frame_legend(fig, CHOSEN)
    rows = fig.subfigures(len(choices), 1, squeeze=False)[:, 0]
    for row, choice in zip(rows, choices, strict=True):
        row.suptitle(shortened(choice.prompt, 110), fontsize=9, parse_math=False)
        places = row.subplots(1, len(choice.files), squeeze=False)[0]
        for index, (ax, file) in enumerate(zip(places, choice.files, strict=True)):
            try:
                show(ax, picture(file), CHOSEN if index == choice.chosen else None)
            except BadImage as error:
                show_nothing(ax, error)
    return fig


def exchange(records: Iterable[Any], choice: Choice | None) -> Table:
    """Return the messages between the bot and the person that made one choice, without names.

    Args:
        records: messages as they stand in the export, from ``exports.raw_messages``; a few dozen.
        choice: from ``channel.parse`` of the same messages; None gives an empty table.
    """
    messages = _messages(records) if choice else []
    answer = next((message for message in messages if message.id == choice.message_id), None)
    if answer is None:
        return Table([], EXCHANGE, below="No choice was completed in the messages read so far.")
    request = next((message for message in messages if message.id == answer.reply_to), None)
    told = {answer.id, answer.reply_to} - {""}
    for message in messages:
        by_person = request is not None and message.user == request.user
        repeats_request = by_person and message.files and message.text == request.text
        if repeats_request or (message.reply_to in told and (message.bot or by_person)):
            told.add(message.id)
    return Table([_told(message) for message in messages if message.id in told], EXCHANGE)


def _messages(records: Iterable[Any]) -> list[Message]:
    messages = []
    for record in records:
        with suppress(ValueError):  # malformed: it is counted where the whole channel is read
            messages.append(message_of(record))
    return messages


def _told(message: Message) -> tuple[str, str, str]:
    who = "the bot" if message.bot else "the person"
    files = ", ".join(file.name for file in message.files)
    return who, message.text or "-", files or "-"


def _bars(ax: Axes, shift: float, counts: np.ndarray, n: int, colour: str, label: str) -> None:
    """Bars of shares in percent with Wilson intervals and their values above."""
    share = 100 * counts / max(n, 1)
    low, high = 100 * np.array([wilson(int(k), n) for k in counts]).T
    places = np.arange(len(counts)) + shift
    ax.bar(places, share, width=0.38, color=colour, label=label, yerr=[share - low, high - share],
           error_kw={"lw": 1.2, "capsize": 3})
    for place, value, top in zip(places, share, high, strict=True):
        ax.annotate(f"{value:.1f}", (place, top), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})
