"""Choices out of a channel's messages (section 3 of the paper).

A user sends a prompt, the bot answers with two to four pictures, the user sends the prompt again with the picture to go
on with, and the bot answers with a refinement: that is one choice. Everything else is counted.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.discord import File, Message, hash_user, message_of, raw_messages, user_key
from alignsd.errors import Problem
from alignsd.grids import GRIDS, cells, sent_back
from alignsd.images import DAMAGED, EMPTY, FOREIGN, LINKED, MISSING, TOO_LARGE

CHATTER, SYSTEM, BOT_TALK = "chatter", "system message", "other bot message"
MALFORMED, CONDITIONED, NO_PROMPT, COUNT = "malformed message", "image-conditioned", "no prompt", "not 2 to 4 pictures"
ABANDONED, UNREFINED, AMBIGUOUS, NSFW = "abandoned prompt", "no refinement", "ambiguous choice", "NSFW"
NO_CELL = "picture of no cell"
REASONS = {  # what is left out -> (what is counted, why it cannot be used)
    CHATTER: ("messages", "written by a user; no bot answered it"),
    SYSTEM: ("messages", "joins, pins and other notices of Discord itself"),
    BOT_TALK: ("messages", "written by a bot; answers no request that we know"),
    MALFORMED: ("messages", "lacks a field that we need, or has one of another type"),
    CONDITIONED: ("requests", "came with an upload, so the pictures do not come from the prompt alone"),
    NO_PROMPT: ("requests", "had no words"),
    COUNT: ("requests", "answered with one picture, or with more than four"),
    ABANDONED: ("requests", "the user went on with none of the pictures"),
    UNREFINED: ("requests", "a picture was sent back, but the bot never answered"),
    AMBIGUOUS: ("requests", "several pictures were sent back, or one file name stands for several"),
    NO_CELL: ("requests", "what was sent back is no cell of the answer's grid, or either cannot be read"),
    NSFW: ("requests", "a picture is hidden as a spoiler, or the prompt has a word of the list"),
    MISSING: ("choices", "a picture was deleted, or never downloaded"),
    LINKED: ("choices", "a picture is a web address; export with --media"),
    EMPTY: ("choices", "a picture's file is empty"),
    FOREIGN: ("choices", "a picture's file holds something else"),
    DAMAGED: ("choices", "a picture's file is cut short or damaged"),
    TOO_LARGE: ("choices", "a picture is too large to be one of the bot's"),
}
SPOILER = "SPOILER_"  # Discord's own prefix of a hidden picture's file name
HORIZON = 100_000  # requests, answers and picks waited for at a time: bounds the memory on exports of any size


@dataclass(frozen=True)
class Choice:
    """One prompt, its pictures in the bot's order, and which one the user went on with.

    ``message_id`` is the bot's answer, ``user`` 64 hex digits, ``chosen`` an index into ``files``, ``folder`` the export's.
    """

    message_id: str
    user: str
    prompt: str
    files: tuple[File, ...]
    chosen: int
    folder: Path


@dataclass(frozen=True)
class Parsed:
    """The choices of an export, how many messages were read, and what was left out (reason -> count)."""

    choices: list[Choice]
    messages: int
    left_out: Counter


def parse(files: Sequence[Path], nsfw_words: str = "", limit: int | None = None, grid: str = "auto") -> Parsed:
    """Reads the choices of an export, in the order in which they are settled, and counts everything that is left out.

    Args:
        files: from ``discord.export_files``; several are read on as one channel.
        nsfw_words: words that a prompt must not have, separated by commas.
        limit: number of messages after which to stop; None reads all. What is open then counts as abandoned or chatter.
        grid: what an answer with one attachment is: ``"auto"``, as many pictures as its command asked for, or as the answer says;
            ``"4"`` or ``"2"``, always so many; ``"none"``, one picture.

    Raises:
        Problem: if a file is not a whole export, or ``grid`` is something else.
    """
    if grid not in GRIDS:
        raise Problem(f"There is no grid {grid!r}.", expected=", ".join(GRIDS), found=repr(grid), cause="a misspelt parameter",
                      fix="set the parameter grid of notebook 01")
    channel = _Channel(nsfw_words, grid)
    for path in files:
        key = user_key(path.parent)
        rest = None if limit is None else limit - channel.messages
        for record in islice(raw_messages(path, silent=limit is not None), rest):
            channel.add(record, path.parent, key)
    return channel.close()


def left_out_table(left_out: Counter | dict[str, int]) -> pd.DataFrame:
    """Returns ``reason``, ``count``, ``of`` (messages, requests or choices) and ``why`` for every reason, zeros included."""
    rows = [(reason, left_out.get(reason, 0), *REASONS[reason]) for reason in REASONS]
    return pd.DataFrame(rows, columns=["reason", "count", "of", "why"])


@dataclass
class _Answer:
    """A bot's answer that waits for its user: ``tried`` are the pictures sent back so far."""

    message: Message
    request: Message
    folder: Path
    user: str
    tried: set[int] = field(default_factory=set)
    refined: bool = False
    unclear: bool = False
    no_cell: bool = False


class _Channel:
    """What has been said so far and not been settled yet."""

    def __init__(self, nsfw_words: str, grid: str):
        self.grid = grid
        words = "|".join(re.escape(word.strip().lower()) for word in nsfw_words.split(",") if word.strip())
        self.nsfw = re.compile(rf"\b(?:{words})\b" if words else r"(?!)")
        self.requests: dict[str, Message] = {}
        self.answers: dict[str, _Answer] = {}
        self.of_user: dict[str, dict[str, _Answer]] = {}
        self.picks: dict[str, list[_Answer]] = {}
        self.choices: list[Choice] = []
        self.left: Counter = Counter()
        self.messages = 0

    def add(self, record: Any, folder: Path, key: bytes) -> None:
        """Takes one message in: a request, an answer, a pick, a refinement, or something to count."""
        self.messages += 1
        try:
            message = message_of(record)
        except ValueError:
            self.left[MALFORMED] += 1
            return
        if message.system:
            self.left[SYSTEM] += 1
        elif message.bot:
            self._bot(message, folder, key)
        else:
            self._user(message, folder)
        self._forget(HORIZON)

    def close(self) -> Parsed:
        """Settles all that is still open."""
        self._forget(0)
        return Parsed(self.choices, self.messages, +self.left)

    def _user(self, message: Message, folder: Path) -> None:
        """A pick uploads a picture that this user was given, as a reply to it or with its prompt; others may be requests."""
        asked = self._asked(message) if message.files else []
        matches = [(answer, index) for answer in asked
                   for index in sent_back(message.files, folder, answer.message.files, answer.folder)]
        for answer, index in matches:
            answer.tried.add(index)
            answer.unclear |= len(matches) > 1
        lost = [] if matches else [answer for answer in asked if answer.message.files[0].cell and not answer.tried]
        for answer in lost:
            answer.no_cell = True
        if matches or lost:
            self.picks[message.id] = [answer for answer, _ in matches] or lost
        else:
            self.requests[message.id] = message

    def _asked(self, message: Message) -> list[_Answer]:
        mine = self.of_user.get(message.user, {})
        if message.reply_to in mine and message.text in ("", mine[message.reply_to].request.text):
            return [mine[message.reply_to]]
        return [answer for answer in mine.values() if answer.request.text == message.text]

    def _bot(self, message: Message, folder: Path, key: bytes) -> None:
        """The refinement of a pick, a picture of an earlier answer made larger, the first answer to a request, or talk."""
        if message.reply_to in self.picks:
            for answer in self.picks[message.reply_to]:
                answer.refined = True
        elif message.picked is not None and message.reply_to in self.answers:
            self._enlarge(self.answers[message.reply_to], message.picked)
        elif (request := self.requests.pop(message.reply_to, None) or _told_request(message)) is None:
            self.left[BOT_TALK] += 1
        elif reason := _unusable(request, message := _cut(message, request, self.grid)):
            self.left[reason] += 1
        else:
            answer = _Answer(message, request, folder, hash_user(request.user, key))
            self.answers[message.id] = self.of_user.setdefault(request.user, {})[message.id] = answer

    def _enlarge(self, answer: _Answer, index: int) -> None:
        """A button's pick and its refinement in one; a number that the answer has no picture for settles nothing."""
        answer.tried.add(index)
        answer.refined = True
        answer.unclear |= index >= len(answer.message.files)

    def _settle(self, message_id: str) -> None:
        """Turns an answer into a choice, or counts why it is none."""
        answer = self.answers.pop(message_id)
        del self.of_user[answer.request.user][message_id]
        files, prompt = answer.message.files, answer.request.text
        if not answer.tried:
            self.left[NO_CELL if answer.no_cell else ABANDONED] += 1
        elif not answer.refined:
            self.left[UNREFINED] += 1
        elif answer.unclear or len(answer.tried) > 1:
            self.left[AMBIGUOUS] += 1
        elif self.nsfw.search(prompt) or any(file.name.startswith(SPOILER) for file in files):
            self.left[NSFW] += 1
        else:
            self.choices.append(Choice(message_id, answer.user, prompt, files, min(answer.tried), answer.folder))

    def _forget(self, keep: int) -> None:
        """Gives up waiting for the oldest, so that at most ``keep`` of each kind are held."""
        while len(self.requests) > keep:
            del self.requests[next(iter(self.requests))]
            self.left[CHATTER] += 1
        while len(self.answers) > keep:
            self._settle(next(iter(self.answers)))
        while len(self.picks) > keep:
            del self.picks[next(iter(self.picks))]


def _unusable(request: Message, answer: Message) -> str | None:
    if request.conditioned:
        return CONDITIONED
    if not request.text:
        return NO_PROMPT
    return None if 2 <= len(answer.files) <= 4 else COUNT


def _told_request(answer: Message) -> Message | None:
    """The request that a bot's answer to a slash command tells of; Discord exports no message of it."""
    if not answer.asked_by or not answer.asked or not answer.files:
        return None
    return Message(answer.id, answer.asked_by, False, False, answer.asked, (), "", answer.settings)


def _cut(answer: Message, request: Message, grid: str) -> Message:
    """Returns an answer with one file per picture where a grid holds them all."""
    count = request.images or answer.images if grid == "auto" else int(grid) if grid.isdecimal() else None
    return replace(answer, files=cells(answer.files, count))
