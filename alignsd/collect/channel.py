"""Read a channel's messages in order and turn the messages into choices (section 3 of the paper).

A user sends a prompt, and the bot answers with two to four pictures. The user sends the prompt
again with one of these pictures, and the bot answers with a refinement. This makes one choice.
Everything else is counted. ``Channel`` holds what was said so far and is not settled yet.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.collect.choices import (
    ABANDONED,
    AMBIGUOUS,
    BOT_TALK,
    CHATTER,
    CONDITIONED,
    COUNT,
    EDITED,
    LABELS,
    MALFORMED,
    NO_CELL,
    NO_FILES,
    NO_PROMPT,
    NSFW,
    REPEATED,
    SYSTEM,
    UNREFINED,
    WHO,
    Choice,
)
from alignsd.collect.discord import SPOILER, File, Message, NotAMessage, message_of
from alignsd.collect.exports import messages_in_order
from alignsd.collect.grids import (
    GRIDS,
    Thumbnails,
    cells,
    differ,
    is_name_of_every_picture,
    sent_back,
)
from alignsd.collect.privacy import HiddenUser

SAME_WORDS = 5  # choices without labels; with fewer, no prompt is taken for a label
SAME_WORDS_USERS = 3  # users who must have such a prompt
HORIZON = 100_000  # requests, answers and picks waited for at a time: bounds the memory


@dataclass(frozen=True)
class Parsed:
    """What an export holds.

    Attributes:
        choices: in the order in which the channel settles choices.
        messages: how many messages were read.
        left_out: reason -> count.
    """

    choices: list[Choice]
    messages: int
    left_out: Counter[str]


def parse(
    files: Sequence[Path], nsfw_words: str = "", limit: int | None = None, grid: str = "auto"
) -> Parsed:
    """Read the choices of an export, and count everything that is left out. Nothing is written.

    Args:
        files: from ``exports.export_files``; several files are read as one channel, in the order of
            the messages' times.
        nsfw_words: words that a prompt must not have, separated by commas.
        limit: number of messages after which to stop; None reads all. Requests that are open then
            count as abandoned or as chatter.
        grid: how many pictures an answer with one attachment holds: ``"auto"``, as many as the
            command asked for, or as the answer says; ``"4"`` or ``"2"``, always 4 or 2; ``"none"``,
            a single picture.

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
            fix="--set grid=auto",
        )
    channel = Channel(nsfw_words, grid)
    messages = messages_in_order(files, silent=limit is not None)
    for path, record in islice(messages, limit):
        channel.add(record, path.parent)
    return channel.close()


@dataclass
class _Answer:
    """A bot's answer that waits for the user.

    Attributes:
        message: the answer, with a file per picture.
        request: the message with the prompt.
        sent_back: indices of the pictures that the user sent back.
        enlarged: numbers of the pictures that the bot showed larger, as the bot counts.
        refined: whether the bot went on with a picture.
        unclear: whether the meant picture is unclear.
        no_cell: whether the user sent back a picture that is no cell of the answer's grid.
    """

    message: Message
    request: Message
    sent_back: set[int] = field(default_factory=set)
    enlarged: set[int] = field(default_factory=set)
    refined: bool = False
    unclear: bool = False
    no_cell: bool = False


class Channel:
    """What has been said so far and is not settled yet.

    Args:
        nsfw_words: words that a prompt must not have, separated by commas.
        grid: what an answer with one attachment is, see ``parse``.
    """

    def __init__(self, nsfw_words: str, grid: str) -> None:
        self.grid = grid
        self.nsfw = _any_word_of(nsfw_words)
        self.thumbnails = Thumbnails()
        # Ordered dictionaries: taking the first entry out of a plain dictionary takes longer, the
        # more entries were taken out before.
        self.seen: OrderedDict[str, None] = OrderedDict()  # ids of the last messages
        self.requests: OrderedDict[str, Message] = OrderedDict()
        self.answers: OrderedDict[str, _Answer] = OrderedDict()
        self.picks: OrderedDict[str, list[_Answer]] = OrderedDict()
        self.open: dict[tuple[str, str], dict[str, _Answer]] = {}  # (user, prompt) -> answers
        self.first_numbers: dict[str, set[int]] = {}  # bot -> 0 or 1, as the buttons' numbers show
        self.unlabelled: set[str] = set()  # choices whose prompt a bot repeats without a label
        self.choices: list[Choice] = []
        self.left: Counter[str] = Counter()
        self.messages = 0

    def add(self, record: Any, folder: Path) -> None:
        """Take in a message: a request, an answer, a pick, a refinement, or a thing to count.

        Args:
            record: the message, as read from the export.
            folder: the export's folder.
        """
        self.messages += 1
        try:
            message = message_of(record, folder)
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
            self._add_of_bot(message)
        else:
            self._add_of_user(message)
        self._forget(HORIZON)

    def close(self) -> Parsed:
        """Settle everything that is still open, and return what the channel holds."""
        self._forget(0)
        self._leave_out_labels()
        return Parsed(self.choices, self.messages, +self.left)

    def _add_of_user(self, message: Message) -> None:
        """Take in a user's message: a pick, or what may be a request.

        A pick uploads a picture that this user was given, as a reply to the answer or with the
        answer's prompt.
        """
        candidates = self._candidates(message) if message.files else []
        matches = self._matches(message, candidates)
        for answer, index in matches:
            answer.sent_back.add(index)
            if len(matches) > 1:
                answer.unclear = True
        picked = [answer for answer, _ in matches]
        if not matches:
            picked = [answer for answer in candidates if _waits_for_a_cell(answer)]
            for answer in picked:
                answer.no_cell = True
        if picked:
            self.picks[message.id] = picked
        else:
            self.requests[message.id] = message

    def _candidates(self, message: Message) -> list[_Answer]:
        """Return the open answers that a user's upload can be a picture of."""
        answer = self.answers.get(message.reply_to)
        if answer is not None and answer.request.user == message.user:
            if message.text in ("", answer.request.text):
                return [answer]
        return list(self.open.get((message.user, message.text), {}).values())

    def _matches(
        self, message: Message, candidates: Sequence[_Answer]
    ) -> list[tuple[_Answer, int]]:
        """Return which pictures of which answers a user's uploads are: answers and indices.

        A file name that stands for several pictures, or that programs give to every picture, does
        not say enough. Then a picture that visibly differs from the upload is no match.
        """
        matches = []
        for answer in candidates:
            indices = sent_back(message.files, answer.message.files, self.thumbnails)
            matches += [(answer, index) for index in indices]
        if len(message.files) != 1:
            return matches
        upload = message.files[0]
        if len(matches) == 1 and not is_name_of_every_picture(upload.name):
            return matches
        kept = []
        for answer, index in matches:
            given = answer.message.files[index]
            if given.cell or not differ(upload, given, self.thumbnails):
                kept.append((answer, index))
        return kept

    def _add_of_bot(self, message: Message) -> None:
        """Take in a bot's message.

        The message is the refinement of a pick, a picture of an earlier answer made larger, the
        first answer to a request, the answer to a slash command, or talk.
        """
        if message.reply_to in self.picks:
            for answer in self.picks[message.reply_to]:
                answer.refined = True
        elif message.echo.enlarged is not None and message.reply_to in self.answers:
            self._enlarge(self.answers[message.reply_to], message.echo.enlarged)
        elif message.reply_to not in self.requests:
            self._answer_to_command(message)
        elif message.files:
            self._open(message, self.requests.pop(message.reply_to))
        else:
            self.left[NO_FILES] += 1  # "please wait" is no answer yet

    def _enlarge(self, answer: _Answer, number: int) -> None:
        """Take in a button's pick, which is the refinement at the same time.

        A bot that ever says "Image #0" counts from 0, other bots count from 1.
        """
        answer.enlarged.add(number)
        answer.refined = True
        first_numbers = self.first_numbers.setdefault(answer.message.user, set())
        if number == 0:
            first_numbers.add(0)
        elif number == len(answer.message.files):
            first_numbers.add(1)

    def _answer_to_command(self, message: Message) -> None:
        """Open a bot's answer to a slash command: Discord exports no message of the command."""
        echo = message.echo
        if not message.files or not echo.users or echo.enlarged is not None:
            self.left[BOT_TALK] += 1
        elif not echo.prompt:
            self.left[LABELS if echo.has_labels else BOT_TALK] += 1
        elif len(echo.users) > 1:
            self.left[WHO] += 1
        else:
            request = Message(
                id=message.id,
                user=echo.users[0],
                bot=False,
                system=False,
                text=echo.prompt,
                files=(),
                reply_to="",
                settings=message.settings,
            )
            self._open(message, request)

    def _open(self, message: Message, request: Message) -> None:
        """Let an answer wait for the user, or count why the answer cannot be used."""
        message = _with_cells(message, request, self.grid)
        reason = _unusable(request, message)
        if reason:
            self.left[reason] += 1
            return
        answer = _Answer(message, request)
        self.answers[message.id] = answer
        self.open.setdefault((request.user, request.text), {})[message.id] = answer

    def _settle(self, message_id: str) -> None:
        """Turn an answer into a choice, or count why the answer is no choice."""
        answer = self._take_out(message_id)
        self._count_buttons(answer)
        reason = self._no_choice(answer)
        if reason:
            self.left[reason] += 1
            return
        request, files = answer.request, answer.message.files
        user = HiddenUser(request.user, files[0].folder)
        choice = Choice(message_id, user, request.text, files, min(answer.sent_back))
        self.choices.append(choice)
        is_slash_command = request.id == message_id
        if is_slash_command and not answer.message.echo.labelled:
            self.unlabelled.add(message_id)

    def _take_out(self, message_id: str) -> _Answer:
        """Remove a waiting answer and return the answer."""
        answer = self.answers.pop(message_id)
        key = answer.request.user, answer.request.text
        del self.open[key][message_id]
        if not self.open[key]:
            del self.open[key]
        return answer

    def _count_buttons(self, answer: _Answer) -> None:
        """Turn a bot's numbers into pictures.

        A number without a picture in the answer settles nothing.
        """
        first_numbers = self.first_numbers.get(answer.message.user) or {1}
        if answer.enlarged and len(first_numbers) > 1:
            answer.unclear = True  # the bot sometimes counts from 0 and sometimes from 1
        for number in answer.enlarged:
            index = number - min(first_numbers)
            answer.sent_back.add(index)
            if not 0 <= index < len(answer.message.files):
                answer.unclear = True

    def _no_choice(self, answer: _Answer) -> str | None:
        """Return why an answer that waits no longer is no choice, or None."""
        files, prompt = answer.message.files, answer.request.text
        if not answer.sent_back:
            return NO_CELL if answer.no_cell else ABANDONED
        if not answer.refined:
            return UNREFINED
        if answer.unclear or len(answer.sent_back) > 1 or _same_file_twice(files):
            return AMBIGUOUS
        hidden = any(file.name.startswith(SPOILER) for file in files)
        return NSFW if hidden or self.nsfw.search(prompt) else None

    def _leave_out_labels(self) -> None:
        """Leave out the choices whose "prompt" is a label of the bot.

        A prompt that is in most answers without a label, and that several users have, is taken for
        a label.
        """
        unlabelled = [choice for choice in self.choices if choice.message_id in self.unlabelled]
        if len(unlabelled) < SAME_WORDS:
            return
        [(words, count)] = Counter(choice.prompt for choice in unlabelled).most_common(1)
        users = {choice.by for choice in unlabelled if choice.prompt == words}
        if 2 * count <= len(unlabelled) or len(users) < SAME_WORDS_USERS:
            return
        kept = []
        for choice in self.choices:
            is_label = choice.message_id in self.unlabelled and choice.prompt == words
            if not is_label:
                kept.append(choice)
        self.choices = kept
        self.left[LABELS] += count

    def _forget(self, keep: int) -> None:
        """Stop waiting for the oldest entries, so that at most ``keep`` of each kind are held."""
        while len(self.requests) > keep:
            self.requests.popitem(last=False)
            self.left[CHATTER] += 1
        while len(self.answers) > keep:
            self._settle(next(iter(self.answers)))
        while len(self.picks) > keep:
            self.picks.popitem(last=False)
        while len(self.seen) > keep:
            self.seen.popitem(last=False)


def _any_word_of(words: str) -> re.Pattern[str]:
    """Return the pattern of a text that has any of the words, which are separated by commas."""
    escaped = [re.escape(word.strip().lower()) for word in words.split(",") if word.strip()]
    if not escaped:
        return re.compile(r"(?!)")  # matches nothing
    return re.compile(rf"\b(?:{'|'.join(escaped)})\b")


def _waits_for_a_cell(answer: _Answer) -> bool:
    """Return whether an answer is a grid of which no picture was sent back yet."""
    return bool(answer.message.files[0].cell) and not answer.sent_back


def _unusable(request: Message, answer: Message) -> str | None:
    """Return why an answer cannot become a choice, or None."""
    if request.conditioned:
        return CONDITIONED
    if not request.text:
        return NO_PROMPT
    if not 2 <= len(answer.files) <= 4:
        return COUNT
    return EDITED if _is_later(request.edited, answer.written) else None


def _is_later(one: str, other: str) -> bool:
    """Return whether a time is later than another; False if either is unknown."""
    try:
        return datetime.fromisoformat(one) > datetime.fromisoformat(other)
    except (ValueError, TypeError):  # no time, or a zone in only one of the two
        return False


def _same_file_twice(files: Sequence[File]) -> bool:
    """Return whether two pictures of an answer share a file.

    The reason is an exporter that shortened two names to the same name.
    """
    return len({(file.url, file.cell) for file in files}) < len(files)


def _with_cells(answer: Message, request: Message, grid: str) -> Message:
    """Return an answer with a file per picture where a grid holds all pictures."""
    if grid == "auto":
        count = request.images or answer.images
    else:
        count = int(grid) if grid.isdecimal() else None
    return replace(answer, files=cells(answer.files, count))
