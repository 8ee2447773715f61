"""Figures of the collected choices: examples, positions, prompt lengths, and Luce's rule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignsd.base.images import BadImage
from alignsd.base.intervals import wilson
from alignsd.base.plotting.colours import BLUE, GREY, ORANGE
from alignsd.choose.deck import Deck
from alignsd.collect.choices import Choice
from alignsd.collect.discord import Message, message_of
from alignsd.collect.grids import picture
from alignsd.figures import alt
from alignsd.figures.intervals import percent
from alignsd.figures.pictures import (
    CHOSEN_FRAME,
    LABEL,
    Frame,
    frame_legend,
    say,
    show,
    show_file,
    show_nothing,
)
from alignsd.figures.style import Look
from alignsd.figures.text import shortened
from alignsd.kit.views import Table
from alignsd.paper import CHOSEN_POSITIONS, TEST_CHOICES_BY_IMAGES

EXCHANGE = ("who", "prompt", "pictures")  # columns of the table of an exchange
MOST_BARS = 40  # of the prompt lengths
OURS, REAL = -0.2, 0.2  # where the bars of this run and of the real data stand, beside a tick
MOST_PICTURES = 4  # of a choice
YOUR_PICKS = {"your picks": "you and a simulated person"}  # a row of a table, in a figure
YOUR_FRAME = Frame("your pick", BLUE)
# (utilities (n,), share of careless clicks) -> chances (n,)
Rule = Callable[[np.ndarray, float], np.ndarray]


def images_per_choice(ax: Axes, choices: pd.DataFrame) -> Axes:
    """Draw the share of choices with 2, 3 and 4 images beside the real data's shares.

    Args:
        ax: where to draw.
        choices: ``file_path`` (list per choice).
    """
    numbers = list(TEST_CHOICES_BY_IMAGES)
    counts = choices["file_path"].map(len).value_counts().reindex(numbers, fill_value=0)
    real_counts = np.array(list(TEST_CHOICES_BY_IMAGES.values()))
    n = len(choices)
    real_n = sum(TEST_CHOICES_BY_IMAGES.values())
    _bars(ax, OURS, counts.to_numpy(), n, BLUE, f"this run (n = {n:,})")
    _bars(ax, REAL, real_counts, real_n, GREY, f"real test set (n = {real_n:,})")
    ax.set(xticks=range(3), xticklabels=numbers, xlabel="images per choice")
    ax.set(ylabel="choices, %", ylim=(0, 118))
    ax.legend(loc="upper left")
    ours = alt.listed(numbers, 100 * counts / max(n, 1))
    real = alt.listed(numbers, 100 * real_counts / real_n)
    description = f"Bars: percent of choices by number of images. This run: {ours}. Real: {real}."
    alt.describe(ax, description)
    return ax


def chosen_positions(ax: Axes, positions: pd.DataFrame) -> Axes:
    """Draw how often each of four positions is chosen beside the real data's shares.

    Args:
        ax: where to draw.
        positions: from ``hpd.positions``: ``position``, ``share``, ``high``, ``n``.
    """
    n = int(positions["n"].iloc[0])
    real_n = TEST_CHOICES_BY_IMAGES[4]
    counts = (positions["share"] * n).round().to_numpy()
    real_counts = np.round(np.array(CHOSEN_POSITIONS) * real_n)
    _bars(ax, OURS, counts, n, BLUE, f"this run (n = {n:,})")
    _bars(ax, REAL, real_counts, real_n, GREY, f"real test set (n = {real_n:,})")
    ax.axhline(25, color=ORANGE, linestyle="--", label="no bias: 25 %")
    ax.set(xticks=range(len(positions)), xticklabels=positions["position"])
    highest = max(32.5, 100 * positions["high"].max())
    ax.set(xlabel="position of the chosen image, of 4", ylabel="choices, %")
    ax.set_ylim(0, 1.45 * highest)
    ax.legend(loc="upper left")
    ours = alt.listed(positions["position"], 100 * positions["share"])
    real = alt.listed(positions["position"], 100 * np.array(CHOSEN_POSITIONS))
    description = f"Bars: percent of choices of each position. This run: {ours}. Real: {real}."
    alt.describe(ax, description)
    return ax


def _bars(ax: Axes, shift: float, counts: np.ndarray, n: int, colour: str, label: str) -> None:
    """Draw bars of shares in percent with Wilson intervals and their values above."""
    shares = 100 * counts / max(n, 1)
    low, high = 100 * np.array([wilson(int(count), n) for count in counts]).T
    places = np.arange(len(counts)) + shift
    ax.bar(
        places,
        shares,
        width=0.38,
        color=colour,
        label=label,
        yerr=[shares - low, high - shares],
        error_kw={"lw": 1.2, "capsize": 3},
    )
    for place, share, top in zip(places, shares, high, strict=True):
        ax.annotate(
            f"{share:.1f}",
            (place, top),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )


def prompt_lengths(ax: Axes, choices: pd.DataFrame) -> Axes:
    """Draw how many words the prompts have (``prompt``).

    There is a bar per number of words, or per few numbers where prompts are long.
    """
    words = choices["prompt"].str.split().map(len)
    fewest, most = words.min(), words.max()
    width = max(1, -(-(most - fewest + 1) // MOST_BARS))
    edges = np.arange(fewest, most + width + 1, width) - 0.5
    seaborn.histplot(words, bins=edges.tolist(), color=BLUE, edgecolor="white", ax=ax)
    median = words.median()
    ax.axvline(median, color=ORANGE, linestyle="--", label=f"median {median:.0f}")
    ax.set(xlabel="words per prompt", ylabel="choices", ylim=(0, ax.get_ylim()[1] * 1.2))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper right", title=f"n = {len(words):,}")
    description = (
        f"Histogram: words per prompt, from {fewest} to {most}, with the median {median:.0f}."
    )
    alt.describe(ax, description)
    return ax


def examples(fig: Figure, choices: pd.DataFrame, folder: Path, columns: int = 2) -> Figure:
    """Draw choices, each with the prompt above the images, as in the paper.

    A frame marks the chosen image.

    Args:
        fig: where to draw; about 1.7 inches of height per row.
        choices: ``prompt``, ``file_path``, ``human_preference``; a handful.
        folder: the data set's folder.
        columns: choices side by side.
    """
    frame_legend(fig, CHOSEN_FRAME)
    rows = -(-len(choices) // columns)
    panels = fig.subfigures(rows, columns, squeeze=False).flat
    for panel, choice in zip(panels, choices.to_dict("records"), strict=False):
        panel.suptitle(shortened(choice["prompt"], 68), fontsize=8.5, parse_math=False)
        axes = panel.subplots(1, 4)
        for ax in axes:
            ax.set_visible(False)
        for index, (ax, path) in enumerate(zip(axes, choice["file_path"], strict=False)):
            ax.set_visible(True)
            is_chosen = index == choice["human_preference"]
            show_file(ax, folder / path, CHOSEN_FRAME if is_chosen else None)
    words = "; ".join(map(_choice_in_words, choices.to_dict("records")))
    description = f"Pictures: {len(choices)} choices, the chosen picture framed. {words}."
    alt.describe(fig, description)
    return fig


def _choice_in_words(choice: Mapping[str, Any]) -> str:
    position = choice["human_preference"] + 1
    return f"{shortened(choice['prompt'], 68)}: picture {position} of {len(choice['file_path'])}"


def offered(fig: Figure, choices: Sequence[Choice]) -> Figure:
    """Draw choices of the export, one per row, each with a frame around the chosen picture.

    Args:
        fig: where to draw; about 1.7 inches of height per choice.
        choices: from ``channel.parse``; a handful.
    """
    if not choices:
        say(fig, "no choice to show")
        return fig
    frame_legend(fig, CHOSEN_FRAME)
    panels = fig.subfigures(len(choices), 1, squeeze=False)[:, 0]
    for panel, choice in zip(panels, choices, strict=True):
        panel.suptitle(shortened(choice.prompt, 110), fontsize=9, parse_math=False)
        axes = panel.subplots(1, len(choice.files), squeeze=False)[0]
        for index, (ax, file) in enumerate(zip(axes, choice.files, strict=True)):
            frame = CHOSEN_FRAME if index == choice.chosen else None
            try:
                show(ax, picture(file), frame)
            except BadImage as error:
                show_nothing(ax, error)
    words = "; ".join(
        f"{shortened(choice.prompt, 68)}: picture {choice.chosen + 1} of {len(choice.files)}"
        for choice in choices
    )
    description = f"Pictures: {len(choices)} choices, the chosen picture framed. {words}."
    alt.describe(fig, description)
    return fig


def your_picks(
    fig: Figure,
    deck: Deck,
    votes: pd.DataFrame,
    chances: Mapping[str, np.ndarray],
    columns: int = 3,
) -> Figure:
    """Draw each question of a deck with your pick, and what simulated people would pick.

    Under each picture stands the share of simulated people who would pick the picture.

    Args:
        fig: where to draw; about 1.6 inches of height per row.
        deck: the questions; repeats are left out.
        votes: from ``votes.read_votes``: ``question``, ``picked`` (index; missing for a skipped
            question). The last row of a question counts.
        chances: a question's id -> ``(n,)``; a question without chances has no shares.
        columns: questions side by side.
    """
    shares = "% of simulated people who would pick the picture" if chances else ""
    frame_legend(fig, YOUR_FRAME, extra=shares)
    picked = _last_picks(votes)
    questions = [question for question in deck.questions if not question.repeats]
    rows = -(-len(questions) // columns)
    panels = fig.subfigures(rows, columns, squeeze=False).flat
    made = 0
    for panel, question in zip(panels, questions, strict=False):
        panel.suptitle(shortened(question.prompt, 52), fontsize=LABEL, parse_math=False)
        axes = panel.subplots(1, MOST_PICTURES)
        pick = picked.get(question.id)
        made += pick is not None
        _show_pick(axes, [deck.folder / file for file in question.pictures], pick)
        _write_shares(axes, chances.get(question.id, ()))
    description = f"Pictures: {len(questions)} questions, with a frame around {made} picks."
    alt.describe(fig, description)
    return fig


def _last_picks(votes: pd.DataFrame) -> dict[str, int]:
    """Return the picked index of each question that was not skipped."""
    made = votes.dropna(subset="picked")
    by_question = made.set_index("question")
    return by_question["picked"].to_dict()


def _show_pick(axes: Sequence[Axes], files: Sequence[Path], pick: int | None) -> None:
    """Show pictures side by side, with a frame around the picked one; hide the other axes."""
    for ax in axes:
        ax.set_visible(False)
    for index, file in enumerate(files):
        frame = YOUR_FRAME if index == pick else None
        axes[index].set_visible(True)
        show_file(axes[index], file, frame)


def _write_shares(axes: Sequence[Axes], shares: Iterable[float]) -> None:
    """Write shares in percent below pictures."""
    for ax, share in zip(axes, shares, strict=False):
        words = f"{100 * share:.0f} %"
        ax.set_xlabel(words, fontsize=LABEL)


def agreement(ax: Axes, with_people: pd.DataFrame, with_yourself: pd.DataFrame) -> Axes:
    """Draw how often your picks agree with simulated people, and with yourself.

    Args:
        ax: where to draw.
        with_people: from ``analysis.agreement_with_chances``: ``who, value, low, high, n``.
        with_yourself: from ``analysis.with_yourself``: ``rater, value, low, high, n``; the last row
            counts, which is the row of all raters where there are several.
    """
    yourself = with_yourself.tail(1)
    yourself = yourself.assign(who="you, asked twice")
    tables = [table for table in (yourself, with_people) if len(table)]
    if not tables:
        words = "Nobody has chosen yet.\nChoose in the chooser above, then run this cell again."
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        ax.axis("off")
        alt.describe(ax, "No drawing: nobody has chosen yet.")
        return ax
    upwards = pd.concat(tables).iloc[::-1]
    values, reach = percent(upwards)
    who = upwards["who"].replace(YOUR_PICKS)
    names = who + " (n = " + upwards["n"].astype(str) + ")"
    is_yours = who.str.startswith("you")
    colours = np.where(is_yours, ORANGE, GREY)
    look: Look = {"capsize": 3, "lw": 1.2}
    ax.barh(names, values, 0.6, color=colours, xerr=reach, error_kw=look)
    ax.set_xlabel("same picture picked, % of questions, 95 % interval")
    ax.set_xlim(0, 103)
    ax.grid(axis="y", visible=False)
    description = f"Bars: same picture picked, percent: {alt.listed(names, values)}."
    alt.describe(ax, description)
    return ax


def luce_rule(
    rule: Rule, first: float, second: float, third: float, fourth: float, careless: float
) -> Figure:
    """Draw the chance that each of four pictures is picked, and return the figure.

    A bar has two parts: attentive clicks, which follow the utilities, and careless clicks, which
    follow the position.

    Args:
        rule: Luce's rule with careless clicks.
        first, second, third, fourth: utilities of the pictures, by position.
        careless: share of the clicks that are careless, 0-1.
    """
    utilities = np.array([first, second, third, fourth])
    attentive = 100 * (1 - careless) * rule(utilities, 0.0)
    chances = 100 * rule(utilities, careless)
    rest = chances - attentive
    fig, ax = plt.subplots(figsize=(6.5, 3.4))
    places = [f"picture {place}\nutility {worth:g}" for place, worth in enumerate(utilities, 1)]
    ax.bar(places, attentive, 0.6, color=BLUE, label="attentive clicks")
    ax.bar(places, rest, 0.6, attentive, color=ORANGE, label="careless clicks")
    above: Look = {"textcoords": "offset points", "ha": "center"}
    for place, chance in enumerate(chances):
        ax.annotate(f"{chance:.1f}", (place, chance), (0, 3), **above)
    ax.axhline(25, color=GREY, linestyle="--", linewidth=1)
    ax.set_ylabel("chance of a pick, %")
    ax.set_ylim(0, 118)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", ncols=2)
    description = f"Bars: chance of a pick, percent: {alt.listed(places, chances)}."
    alt.describe(ax, description)
    return fig


def exchange(records: Iterable[Any], choice: Choice | None) -> Table:
    """Return the messages between bot and person that led to one choice, without names.

    Args:
        records: messages of the export, unchanged, from ``exports.raw_messages``; a few dozen.
        choice: from ``channel.parse`` of the same messages; None gives an empty table.
    """
    messages: list[Message] = []
    answer = None
    if choice is not None:
        messages = _messages(records)
        answer = _message_with(choice.message_id, messages)
    if answer is None:
        return Table([], EXCHANGE, below="No choice was completed in the messages read so far.")
    between = _messages_between(messages, answer)
    return Table([_row(message) for message in between], EXCHANGE)


def _messages(records: Iterable[Any]) -> list[Message]:
    messages = []
    for record in records:
        with suppress(ValueError):  # malformed: counted where the whole channel is read
            messages.append(message_of(record))
    return messages


def _message_with(message_id: str, messages: Sequence[Message]) -> Message | None:
    for message in messages:
        if message.id == message_id:
            return message
    return None


def _messages_between(messages: Sequence[Message], answer: Message) -> list[Message]:
    """Return the bot's answer, the request before, and what the bot and the person said next."""
    request = _message_with(answer.reply_to, messages)
    shown_ids = {answer.id, answer.reply_to} - {""}
    for message in messages:
        by_person = request is not None and message.user == request.user
        is_repeated = request is not None and message.text == request.text
        is_pick = by_person and is_repeated and bool(message.files)
        is_reply = message.reply_to in shown_ids and (message.bot or by_person)
        if is_pick or is_reply:
            shown_ids.add(message.id)
    return [message for message in messages if message.id in shown_ids]


def _row(message: Message) -> tuple[str, str, str]:
    who = "the bot" if message.bot else "the person"
    files = ", ".join(file.name for file in message.files)
    return who, message.text or "-", files or "-"
