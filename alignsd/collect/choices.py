"""Choices out of a channel's messages (section 3 of the paper).

A user sends a prompt, the bot answers with two to four pictures, the user sends the prompt again
with the picture to go on with, and the bot answers with a refinement: that is one choice.
Everything else is counted.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.images import DAMAGED, EMPTY, FOREIGN, LINKED, MISSING, TOO_LARGE
from alignsd.collect.discord import (
    EXPORT,
    Asker,
    File,
    Message,
    NotAMessage,
    message_of,
    messages_in_order,
)
from alignsd.collect.grids import (
    GRIDS,
    OUTSIDE,
    Thumbnails,
    cells,
    differ,
    is_name_of_every_picture,
    sent_back,
)

CHATTER, SYSTEM, BOT_TALK = "chatter", "system message", "other bot message"
REPEATED, NO_FILES = "repeated message", "answer without a picture"
LABELS, WHO, EDITED = "label in place of a prompt", "unclear who asked", "prompt edited later"
MALFORMED, CONDITIONED, NO_PROMPT, COUNT = (
    "malformed message",
    "image-conditioned",
    "no prompt",
    "not 2 to 4 pictures",
)
ABANDONED, UNREFINED, AMBIGUOUS, NSFW = (
    "abandoned prompt",
    "no refinement",
    "ambiguous choice",
    "NSFW",
)
NO_CELL = "picture of no cell"
REASONS = {  # what is left out -> (what is counted, why it cannot be used)
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
# Why nothing was left, by the reason that took most -> (cause, fix).
CAUSES = {
    CHATTER: (
        "users wrote, but no bot replied to them: another channel than the bot's",
        "export the channel in which the bot answers",
    ),
    BOT_TALK: (
        "the bot answers in a way that this parser does not know, or the requests are not here",
        "compare two messages of the export with the dialects in docs/data_formats.md",
    ),
    NO_FILES: (
        "the bot shows its pictures in another way than as attachments",
        "compare two messages of the export with the dialects in docs/data_formats.md",
    ),
    LABELS: (
        "the bot writes its prompts in a place that this parser does not know",
        "compare two messages of the export with the dialects in docs/data_formats.md",
    ),
    COUNT: (
        "the bot puts all pictures of an answer into one file, and does not say how many",
        "set the parameter grid of notebook 01 to 4 or 2",
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
    MALFORMED: (
        "another exporter wrote the file, or DiscordChatExporter in another version",
        AGAIN,
    ),
}
SAME_WORDS = 5  # choices from which on one prompt in most of a bot's answers is taken for a label
SPOILER = "SPOILER_"  # Discord's own prefix of a hidden picture's file name
HORIZON = 100_000  # requests, answers and picks waited for at a time: bounds the memory


@dataclass(frozen=True)
class Choice:
    """One prompt, its pictures in the bot's order, and which one the user went on with.

    Attributes:
        message_id: the bot's answer.
        by: who chose: 64 hex digits, or an ``Asker`` whose digits are computed when ``user`` is
            read.
        prompt: as HPD writes it.
        files: the pictures.
        chosen: an index into ``files``.
        folder: the export's.
    """

    message_id: str
    by: str | Asker
    prompt: str
    files: tuple[File, ...]
    chosen: int
    folder: Path

    @property
    def user(self) -> str:
        """64 hex digits that stand for the user. The first time, ``user.key`` is made beside the
        export.

        To parse an export therefore writes nothing; to write a data set, or to look at a user,
        does.
        """
        return self.by.hash() if isinstance(self.by, Asker) else self.by


@dataclass(frozen=True)
class Parsed:
    """The choices of an export, how many messages were read, and what was left out (reason ->
    count).
    """

    choices: list[Choice]
    messages: int
    left_out: Counter


def parse(
    files: Sequence[Path], nsfw_words: str = "", limit: int | None = None, grid: str = "auto"
) -> Parsed:
    """Read the choices of an export, in the order in which they are settled, and count everything
    that is left out.

    Nothing is written.

    Args:
        files: from ``discord.export_files``; several are read as one channel, by the time of their
            messages.
        nsfw_words: words that a prompt must not have, separated by commas.
        limit: number of messages after which to stop; None reads all. What is open then counts as
            abandoned or chatter.
        grid: what an answer with one attachment is: ``"auto"``, as many pictures as its command
            asked for, or as the answer says; ``"4"`` or ``"2"``, always so many; ``"none"``, one
            picture.

    Raises:
        Problem: if a file is not a whole export or holds the newest message first, or ``grid`` is
            something else.
    """
    if grid not in GRIDS:
        raise Problem(
            f"There is no grid {grid!r}.",
            expected=", ".join(GRIDS),
            found=repr(grid),
            cause="a misspelt parameter",
            fix="set the parameter grid of notebook 01",
        )
    channel = _Channel(nsfw_words, grid)
    for path, record in islice(messages_in_order(files, silent=limit is not None), limit):
        channel.add(record, path.parent)
    return channel.close()


def require_some(choices: Sized, left_out: Counter | dict[str, int]) -> None:
    """Do nothing if there are choices.

    Args:
        choices: ``parse(...).choices``, or the table of ``hpd.write_pictures``.
        left_out: reason -> count.

    Raises:
        Problem: that holds the table of what was left out and why, if there is no choice.
    """
    if len(choices):
        return
    table = left_out_table(left_out)
    table = table[table["count"] > 0]
    lines = [
        f"{row['count']:,} {row['of']}: {row['reason']} ({row['why']})"
        for row in table.to_dict("records")
    ]
    counted = Counter({reason: count for reason, count in left_out.items() if reason in CAUSES})
    if _labels_cause(left_out):
        counted = Counter({LABELS: 1})
    most = max(counted, key=counted.__getitem__, default=None)
    cause, fix = CAUSES.get(
        most, ("no user went on with a picture that can be used", "collect more choices")
    )
    raise Problem(
        "The export holds no choice.",
        expected="at least one prompt, its pictures, and the picture that a user went on with",
        found="0 choices; left out were" + "".join(f"\n      {line}" for line in lines)
        if lines
        else "no message",
        cause=cause
        if lines
        else "an export of an empty channel, or of a span of time in which nobody wrote",
        fix=fix if lines else AGAIN,
    )


def left_out_table(left_out: Counter | dict[str, int]) -> pd.DataFrame:
    """Return ``reason``, ``count``, ``of`` (messages, requests or choices) and ``why`` for every
    reason, zeros included.
    """
    others = {
        reason: ("choices", "a picture cannot be used")
        for reason in left_out
        if reason not in REASONS
    }
    reasons = REASONS | others
    rows = [(reason, left_out.get(reason, 0), *reasons[reason]) for reason in reasons]
    return pd.DataFrame(rows, columns=["reason", "count", "of", "why"])


@dataclass
class _Answer:
    """A bot's answer that waits for its user.

    ``tried`` are the pictures sent back so far, ``numbers`` those that the bot showed larger, by
    its own count.
    """

    message: Message
    request: Message
    folder: Path
    tried: set[int] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)
    refined: bool = False
    unclear: bool = False
    no_cell: bool = False


class _Channel:
    """What has been said so far and not been settled yet."""

    def __init__(self, nsfw_words: str, grid: str):
        self.grid = grid
        words = "|".join(
            re.escape(word.strip().lower()) for word in nsfw_words.split(",") if word.strip()
        )
        self.nsfw = re.compile(rf"\b(?:{words})\b" if words else r"(?!)")
        self.thumbnails = Thumbnails()
        # Ordered dictionaries: to take the first out of a plain dictionary takes longer the more
        # were taken out before.
        self.seen: OrderedDict[str, None] = OrderedDict()  # ids of the last messages
        self.requests: OrderedDict[str, Message] = OrderedDict()
        self.answers: OrderedDict[str, _Answer] = OrderedDict()
        self.asked: dict[tuple[str, str], dict[str, _Answer]] = {}  # (user, prompt) -> open answers
        self.picks: OrderedDict[str, list[_Answer]] = OrderedDict()
        self.first_numbers: dict[str, set[int]] = {}  # bot -> 0 or 1, as its buttons' numbers show
        self.choices: list[Choice] = []
        self.unlabelled: set[str] = (
            set()
        )  # choices whose prompt is the first bold words or an embed's title
        self.left: Counter = Counter()
        self.messages = 0

    def add(self, record: Any, folder: Path) -> None:
        """Take one message in: a request, an answer, a pick, a refinement, or a thing to count."""
        self.messages += 1
        try:
            message = message_of(record)
        except NotAMessage:
            self.left[MALFORMED] += 1
            return
        if message.id in self.seen:
            self.left[REPEATED] += 1
            return
        self.seen[message.id] = None
        if message.system:
            self.left[SYSTEM] += 1
        elif message.bot:
            self._bot(message, folder)
        else:
            self._user(message, folder)
        self._forget(HORIZON)

    def close(self) -> Parsed:
        """Settle all that is still open."""
        self._forget(0)
        self._leave_out_labels()
        return Parsed(self.choices, self.messages, +self.left)

    def _user(self, message: Message, folder: Path) -> None:
        """A pick uploads a picture that this user was given, as a reply to it or with its prompt;
        others may be requests.
        """
        asked = self._asked(message) if message.files else []
        matches = self._matches(message, folder, asked)
        for answer, index in matches:
            answer.tried.add(index)
            if len(matches) > 1:
                answer.unclear = True
        lost = []
        if not matches:
            lost = [answer for answer in asked if answer.message.files[0].cell and not answer.tried]
        for answer in lost:
            answer.no_cell = True
        if matches or lost:
            self.picks[message.id] = [answer for answer, _ in matches] or lost
        else:
            self.requests[message.id] = message

    def _matches(
        self, message: Message, folder: Path, asked: Sequence[_Answer]
    ) -> list[tuple[_Answer, int]]:
        """Return which pictures of which answers a user's uploads are.

        A file name that stands for several pictures, or that programs give to every picture, is
        not enough: what can be seen to be another picture is none of them.
        """
        matches = []
        for answer in asked:
            given = answer.message.files
            indices = sent_back(message.files, folder, given, answer.folder, self.thumbnails)
            matches += [(answer, index) for index in indices]
        if len(message.files) != 1:
            return matches
        upload = message.files[0]
        if len(matches) == 1 and not is_name_of_every_picture(upload.name):
            return matches
        return [
            (answer, index)
            for answer, index in matches
            if answer.message.files[index].cell
            or not differ(
                upload, folder, answer.message.files[index], answer.folder, self.thumbnails
            )
        ]

    def _asked(self, message: Message) -> list[_Answer]:
        """Return the open answers that a user's upload can be a picture of."""
        answer = self.answers.get(message.reply_to)
        if (
            answer
            and answer.request.user == message.user
            and message.text in ("", answer.request.text)
        ):
            return [answer]
        return list(self.asked.get((message.user, message.text), {}).values())

    def _bot(self, message: Message, folder: Path) -> None:
        """The refinement of a pick, a picture of an earlier answer made larger, the first answer to
        a request, or talk.
        """
        if message.reply_to in self.picks:
            for answer in self.picks[message.reply_to]:
                answer.refined = True
        elif message.told.picked is not None and message.reply_to in self.answers:
            self._enlarge(self.answers[message.reply_to], message.told.picked)
        elif message.reply_to in self.requests:
            self._first_answer(message, folder)
        else:
            self._answer_to_command(message, folder)

    def _first_answer(self, message: Message, folder: Path) -> None:
        """The bot replies to a user's message; "please wait" is no answer yet."""
        if not message.files:
            self.left[NO_FILES] += 1
            return
        self._open(message, self.requests.pop(message.reply_to), folder)

    def _answer_to_command(self, message: Message, folder: Path) -> None:
        """The bot tells a slash command itself; Discord exports no message of the command."""
        told = message.told
        if not message.files or not told.users or told.picked is not None:
            self.left[BOT_TALK] += 1
        elif not told.prompt:
            self.left[LABELS if told.labels else BOT_TALK] += 1
        elif len(told.users) > 1:
            self.left[WHO] += 1
        else:
            request = Message(
                message.id, told.users[0], False, False, told.prompt, (), "", message.settings
            )
            self._open(message, request, folder)

    def _open(self, message: Message, request: Message, folder: Path) -> None:
        """Let an answer wait for its user, or count why it cannot be used."""
        message = _cut(message, request, self.grid)
        reason = _unusable(request, message)
        if reason:
            self.left[reason] += 1
            return
        answer = _Answer(message, request, folder)
        self.answers[message.id] = answer
        self.asked.setdefault((request.user, request.text), {})[message.id] = answer

    def _enlarge(self, answer: _Answer, number: int) -> None:
        """A button's pick and its refinement in one. A bot that ever says "Image #0" counts from 0,
        others from 1.
        """
        answer.numbers.add(number)
        answer.refined = True
        if number in (0, len(answer.message.files)):
            self.first_numbers.setdefault(answer.message.user, set()).add(min(number, 1))

    def _count_buttons(self, answer: _Answer) -> None:
        """Turn a bot's numbers into pictures; a number that the answer has no picture for settles
        nothing.
        """
        first = self.first_numbers.get(answer.message.user, {1})
        if answer.numbers and len(first) > 1:  # it counts from 0 at one time and from 1 at another
            answer.unclear = True
        for number in answer.numbers:
            index = number - min(first)
            answer.tried.add(index)
            if not 0 <= index < len(answer.message.files):
                answer.unclear = True

    def _settle(self, message_id: str) -> None:
        """Turn an answer into a choice, or count why it is none."""
        answer = self.answers.pop(message_id)
        files, prompt, user = answer.message.files, answer.request.text, answer.request.user
        waiting = self.asked[user, prompt]
        del waiting[message_id]
        if not waiting:
            del self.asked[user, prompt]
        self._count_buttons(answer)
        if not answer.tried:
            self.left[NO_CELL if answer.no_cell else ABANDONED] += 1
        elif not answer.refined:
            self.left[UNREFINED] += 1
        elif answer.unclear or len(answer.tried) > 1 or _same_file_twice(files):
            self.left[AMBIGUOUS] += 1
        elif self.nsfw.search(prompt) or any(file.name.startswith(SPOILER) for file in files):
            self.left[NSFW] += 1
        else:
            asker = Asker(user, answer.folder)
            self.choices.append(
                Choice(message_id, asker, prompt, files, min(answer.tried), answer.folder)
            )
            if answer.request.id == message_id and not answer.message.told.labelled:
                self.unlabelled.add(message_id)

    def _leave_out_labels(self) -> None:
        """Leave out choices whose "prompt" is the same in most answers of three users or more: a
        label of the bot's.
        """
        told = [choice for choice in self.choices if choice.message_id in self.unlabelled]
        if len(told) < SAME_WORDS:
            return
        [(words, count)] = Counter(choice.prompt for choice in told).most_common(1)
        users = {choice.by for choice in told if choice.prompt == words}
        if 2 * count > len(told) and len(users) >= 3:
            self.choices = [
                choice
                for choice in self.choices
                if choice.message_id not in self.unlabelled or choice.prompt != words
            ]
            self.left[LABELS] += count

    def _forget(self, keep: int) -> None:
        """Give up waiting for the oldest, so that at most ``keep`` of each kind are held."""
        while len(self.requests) > keep:
            self.requests.popitem(last=False)
            self.left[CHATTER] += 1
        while len(self.answers) > keep:
            self._settle(next(iter(self.answers)))
        while len(self.picks) > keep:
            self.picks.popitem(last=False)
        while len(self.seen) > keep:
            self.seen.popitem(last=False)


def _labels_cause(left_out: Counter | dict[str, int]) -> bool:
    """Return whether labels, not other talk, are why no choice was found: few labels say more than
    much talk.
    """
    return left_out.get(LABELS, 0) > 0


def _unusable(request: Message, answer: Message) -> str | None:
    if request.conditioned:
        return CONDITIONED
    if not request.text:
        return NO_PROMPT
    if not 2 <= len(answer.files) <= 4:
        return COUNT
    return EDITED if _later(request.edited, answer.written) else None


def _later(one: str, other: str) -> bool:
    """Return whether a time is later than another; False if either is unknown."""
    try:
        return datetime.fromisoformat(one) > datetime.fromisoformat(other)
    except (ValueError, TypeError):  # no time, or only one of the two with a zone
        return False


def _same_file_twice(files: Sequence[File]) -> bool:
    """Return whether two pictures of an answer have one file, where an exporter shortened their
    names to the same.
    """
    return len({(file.url, file.cell) for file in files}) < len(files)


def _cut(answer: Message, request: Message, grid: str) -> Message:
    """Return an answer with one file per picture where a grid holds them all."""
    if grid == "auto":
        count = request.images or answer.images
    else:
        count = int(grid) if grid.isdecimal() else None
    return replace(answer, files=cells(answer.files, count))
