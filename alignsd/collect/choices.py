"""Choices that people made in a channel, and everything that was left out and why.

A choice is a prompt, the pictures that a bot drew for the prompt, and the picture that the user
went on with (section 3 of the paper). ``channel`` finds the choices.
"""

from collections import Counter
from collections.abc import Mapping, Sized
from dataclasses import dataclass

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.images import DAMAGED, EMPTY, FOREIGN, LINKED, MISSING, TOO_LARGE
from alignsd.collect.discord import File
from alignsd.collect.exports import EXPORT
from alignsd.collect.grids import OUTSIDE
from alignsd.collect.privacy import HiddenUser

# Why something is left out. left_out.json holds these words.
CHATTER = "chatter"
SYSTEM = "system message"
BOT_TALK = "other bot message"
NO_FILES = "answer without a picture"
MALFORMED = "malformed message"
REPEATED = "repeated message"
CONDITIONED = "image-conditioned"
NO_PROMPT = "no prompt"
LABELS = "label in place of a prompt"
WHO = "unclear who asked"
EDITED = "prompt edited later"
COUNT = "not 2 to 4 pictures"
ABANDONED = "abandoned prompt"
UNREFINED = "no refinement"
AMBIGUOUS = "ambiguous choice"
NO_CELL = "picture of no cell"
NSFW = "NSFW"
REASONS = {  # what is left out -> (unit of the count, why such a thing cannot be used)
    CHATTER: ("messages", "written by a user; no bot answered it"),
    SYSTEM: ("messages", "joins, pins and other notices of Discord itself"),
    BOT_TALK: ("messages", "written by a bot; answers no request that we know"),
    NO_FILES: (
        "messages",
        "a bot's reply to a request, but no picture is attached; the request waits for another",
    ),
    MALFORMED: ("messages", "lacks a field that we need, or has one of another type"),
    REPEATED: (
        "messages",
        "has the id of an earlier message: exports overlap; the first of the two is kept",
    ),
    CONDITIONED: (
        "requests",
        "came with an upload, so the pictures do not come from the prompt alone",
    ),
    NO_PROMPT: ("requests", "had no words"),
    LABELS: (
        "requests",
        "in the prompt's place, the bot writes a label or a status, such as Author: or Done!",
    ),
    WHO: ("requests", "the bot's answer mentions several users, or a name that several users have"),
    EDITED: ("requests", "the user changed the prompt after the bot had answered"),
    COUNT: ("requests", "answered with one picture, or with more than four"),
    ABANDONED: ("requests", "the user went on with none of the pictures"),
    UNREFINED: ("requests", "a picture was sent back, but the bot never answered"),
    AMBIGUOUS: (
        "requests",
        "several pictures were sent back, one file name stands for several, "
        "or a button's number fits none",
    ),
    NO_CELL: (
        "requests",
        "what was sent back is no cell of the answer's grid, or either cannot be read",
    ),
    NSFW: ("requests", "a picture is hidden as a spoiler, or the prompt has a word of the list"),
    MISSING: (
        "choices",
        "a picture is not where the export says: deleted, never downloaded, or not copied along",
    ),
    OUTSIDE: (
        "choices",
        "a picture lies outside the export's folder (--media-dir), where no path is followed",
    ),
    LINKED: ("choices", "a picture is a web address; export with --media"),
    EMPTY: ("choices", "a picture's file is empty"),
    FOREIGN: ("choices", "a picture's file holds something else"),
    DAMAGED: ("choices", "a picture's file is cut short or damaged"),
    TOO_LARGE: ("choices", "a picture is too large to be one of the bot's"),
}
AGAIN = f"export the channel again: {EXPORT}"
COMPARE = "compare two messages of the export with the dialects in docs/data_formats.md"
# Why no choice was found, by the reason with the largest count -> (cause, fix).
CAUSES = {
    CHATTER: (
        "users wrote, but no bot replied to them: another channel than the bot's",
        "export the channel in which the bot answers",
    ),
    BOT_TALK: (
        "the bot answers in a way that this parser does not know, or the requests are not here",
        COMPARE,
    ),
    NO_FILES: ("the bot shows its pictures in another way than as attachments", COMPARE),
    LABELS: ("the bot writes its prompts in a place that this parser does not know", COMPARE),
    COUNT: (
        "the bot puts all pictures of an answer into one file, and does not say how many",
        "--set grid=4, or --set grid=2",
    ),
    LINKED: ("the channel was exported without --media", AGAIN),
    MISSING: (
        "the folder of pictures was not copied along with the JSON file",
        "put the folder beside the JSON file",
    ),
    OUTSIDE: (
        "the export's --media-dir is not below the folder of the JSON file",
        "export again with a --media-dir below that folder",
    ),
    MALFORMED: ("another exporter, or another version of it, wrote the file", AGAIN),
}


@dataclass(frozen=True)
class Choice:
    """A prompt, the drawn pictures, and the picture that the user went on with.

    Attributes:
        message_id: id of the bot's answer.
        by: who chose: 64 hex digits, or a ``HiddenUser`` whose digits are computed when ``user`` is
            read.
        prompt: as HPD writes prompts.
        files: the pictures, in the bot's order.
        chosen: an index into ``files``.
    """

    message_id: str
    by: str | HiddenUser
    prompt: str
    files: tuple[File, ...]
    chosen: int

    @property
    def user(self) -> str:
        """Return 64 hex digits that stand for the user.

        The first call makes ``user.key`` beside the export. So reading an export writes nothing,
        but writing a data set or looking at a user makes the key.
        """
        return self.by if isinstance(self.by, str) else self.by.hash()


def require_some(choices: Sized, left_out: Mapping[str, int]) -> None:
    """Do nothing if there are choices.

    Args:
        choices: of ``channel.parse``, or the table of ``hpd.write_pictures``.
        left_out: reason -> count.

    Raises:
        Problem: if there is no choice; lists what was left out and why.
    """
    if len(choices):
        return
    table = left_out_table(left_out)
    rows = table[table["count"] > 0].to_dict("records")
    lines = [f"{row['count']:,} {row['of']}: {row['reason']} ({row['why']})" for row in rows]
    if lines:
        found = "\n      ".join(["0 choices; left out were", *lines])
        cause, fix = _likely_cause(left_out)
    else:
        found = "no message"
        cause = "an export of an empty channel, or of a span of time in which nobody wrote"
        fix = AGAIN
    raise Problem(
        "The export holds no choice.",
        expected="at least one prompt, its pictures, and the picture that a user went on with",
        found=found,
        cause=cause,
        fix=fix,
    )


def left_out_table(left_out: Mapping[str, int]) -> pd.DataFrame:
    """Return a table of what was left out, with a row for every reason, zeros included.

    Args:
        left_out: reason -> count.

    Returns:
        ``reason``, ``count``, ``of`` (messages, requests or choices), ``why``.
    """
    reasons = dict(REASONS)
    for reason in left_out:
        reasons.setdefault(reason, ("choices", "a picture cannot be used"))
    rows = [(reason, left_out.get(reason, 0), *about) for reason, about in reasons.items()]
    return pd.DataFrame(rows, columns=["reason", "count", "of", "why"])


def _likely_cause(left_out: Mapping[str, int]) -> tuple[str, str]:
    """Return why no choice was found, and how to fix the cause."""
    if left_out.get(LABELS, 0) > 0:  # few labels say more than much talk
        return CAUSES[LABELS]
    counts = Counter({reason: n for reason, n in left_out.items() if reason in CAUSES})
    for reason, _ in counts.most_common(1):
        return CAUSES[reason]
    return "no user went on with a picture that can be used", "collect more choices"
