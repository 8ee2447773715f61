"""Messages of a DiscordChatExporter JSON export: checked, and cut down to what we need.

``docs/data_formats.md`` lists the fields that we read. ``exports`` reads the files, ``dialects``
the words of a message, and ``channel`` makes choices of the messages.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignsd.base.reading import is_text
from alignsd.collect.dialects.answers import Echo, echo_in
from alignsd.collect.dialects.commands import command_of
from alignsd.collect.dialects.mentions import mentions_of, without_call

NUMBER_OF_IMAGES = {"n", "number", "images"}  # settings that say how many pictures to draw
UPLOADS = {"I", "init_image", "init-image", "init"}  # settings that name a picture to start from
# A picture to start from, as a link: Midjourney's image prompts stand in front of the words.
LINKED = re.compile(
    r"^<?https?://|--?[a-z_-]+[ =:]+<?https?://|https?://\S+\.(?:png|jpe?g|webp|gif)\b",
    re.IGNORECASE,
)
# 20 and 19 are Discord's numbers for an answered slash command and a reply; old exporters have no
# name for these types.
USERS_AND_BOTS = ("Default", "Reply", "ChatInputCommand", "20", "19")
SPOILER = "SPOILER_"  # Discord's own prefix of a hidden picture's file name
MESSAGE_ID = re.compile("[0-9]{1,20}")


@dataclass(frozen=True)
class File:
    """A picture of a message.

    Attributes:
        name: the name under which the picture was uploaded.
        url: where the exporter put the picture: a path below ``folder``, or a web address.
        folder: the export's folder.
        cell: ``(k, n)`` for the k-th picture, from 0, in a file that holds n pictures.
    """

    name: str
    url: str
    folder: Path
    cell: tuple[int, int] | None = None


@dataclass(frozen=True)
class Message:
    """What we need of a message.

    Attributes:
        id: Discord's id.
        user: the author's id.
        bot: whether a bot wrote the message.
        system: whether the message is a notice of Discord.
        text: the prompt, if the message is a command; otherwise all words.
        files: the pictures.
        reply_to: id of the message that this message answers, or ``""``.
        settings: what a command asks for besides the prompt.
        written: the time, as the exporter writes times; ``""`` if not known.
        edited: the time of the last edit, or ``""``.
        echo: what a bot's answer repeats of a slash command.
    """

    id: str
    user: str
    bot: bool
    system: bool
    text: str
    files: tuple[File, ...]
    reply_to: str
    settings: dict[str, str] = field(default_factory=dict)
    written: str = ""
    edited: str = ""
    echo: Echo = Echo()

    @property
    def asked_by(self) -> str:
        """Return whose slash command this message answers, or ``""`` if not known."""
        return self.echo.users[0] if len(self.echo.users) == 1 else ""

    @property
    def asked(self) -> str:
        """Return the prompt that a bot repeats, or ``""``."""
        return self.echo.prompt

    @property
    def images(self) -> int | None:
        """Return how many pictures the command asks for, or None if the command does not say."""
        numbers = [value for name, value in self.settings.items() if name in NUMBER_OF_IMAGES]
        if numbers and re.fullmatch("[0-9]{1,3}", numbers[0]):
            return int(numbers[0])
        return None

    @property
    def conditioned(self) -> bool:
        """Return whether the command came with a picture, uploaded or linked."""
        has_link = LINKED.search(self.text) or any(map(LINKED.match, self.settings.values()))
        return bool(self.files or has_link) or not UPLOADS.isdisjoint(self.settings)


class NotAMessage(ValueError):
    """An entry of an export that lacks a field of a message, or has a field of another type."""


def message_of(record: Any, folder: Path = Path()) -> Message:
    """Check a message of an export, and return what we need.

    Args:
        record: the message, as read from the export.
        folder: the export's folder, below which the pictures lie.

    Raises:
        NotAMessage: if a field is missing or of another type.
    """
    try:
        _check_types(record)
        return _read_message(record, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAMessage(repr(error)) from error


def number_of(message_id: Any) -> int | None:
    """Return a Discord id as a number, whose upper bits count time; None for no number."""
    if isinstance(message_id, str) and MESSAGE_ID.fullmatch(message_id):
        return int(message_id)
    return None


def _check_types(record: Any) -> None:
    """Do nothing if the fields that we need have the exporter's types.

    Raises:
        KeyError, TypeError, AttributeError: otherwise.
    """
    author = record["author"]
    texts = [record["id"], author["id"], record["type"], _reply_to(record)]
    for file in record["attachments"]:
        texts += [file["fileName"], file["url"]]
    if not all(is_text(text) for text in texts):
        raise TypeError("ids, types and file names are texts")
    if not isinstance(author["isBot"], bool):
        raise TypeError("isBot is true or false")
    if not isinstance(record["content"], str):
        raise TypeError("content is a text")


def _read_message(record: Mapping[str, Any], folder: Path) -> Message:
    author = record["author"]
    mentions = mentions_of(record)
    if author["isBot"]:
        prompt, _ = command_of(record["content"])
        echo = echo_in(record, mentions)
        settings = echo.settings
    else:
        called = without_call(record["content"], mentions)
        words = record["content"] if called is None else called
        prompt, settings = command_of(words, bare=called is not None)
        echo = Echo()
    files = [File(file["fileName"], file["url"], folder) for file in record["attachments"]]
    return Message(
        id=record["id"],
        user=author["id"],
        bot=author["isBot"],
        system=record["type"] not in USERS_AND_BOTS,
        text=prompt,
        files=tuple(files),
        reply_to=_reply_to(record),
        settings=settings,
        written=_text_or_empty(record, "timestamp"),
        edited=_text_or_empty(record, "timestampEdited"),
        echo=echo,
    )


def _reply_to(record: Mapping[str, Any]) -> Any:
    """Return the id of the message that a message answers, or ``""``; the type is not checked."""
    reference = record.get("reference") or {}
    return reference.get("messageId") or ""


def _text_or_empty(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
