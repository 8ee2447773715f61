"""Mentions: users and bots whom a message names, as ``<@id>`` or as ``@Display Name``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignsd.base.reading import is_text

MENTION = re.compile(r"<@!?([^<>@&\s][^<>@\s]{0,200})>")


@dataclass(frozen=True)
class Mention:
    """A user or bot whom a message mentions.

    Attributes:
        id: Discord's id.
        names: how the exporter may write the mention after ``@``: the shown name first, then the
            name of the account.
        bot: whether a bot is mentioned.
    """

    id: str
    names: tuple[str, ...]
    bot: bool


def mentions_of(record: Mapping[str, Any]) -> list[Mention]:
    """Return whom a message of an export mentions. Entries of another form are ignored."""
    entries = record.get("mentions")
    if not isinstance(entries, list):
        return []
    mentions = []
    for entry in entries:
        if not isinstance(entry, dict) or not is_text(entry.get("id")):
            continue
        names = (entry.get("nickname"), entry.get("name"))
        written = tuple(name for name in names if isinstance(name, str) and name.strip())
        mentions.append(Mention(entry["id"], written, entry.get("isBot") is True))
    return mentions


def ids_in(mention: re.Match[str]) -> list[str]:
    """Return the users that a match of ``MENTION`` may mean: several for a shared name."""
    return mention[1].split(",")


def without_call(text: str, mentions: Sequence[Mention]) -> str | None:
    """Return the text behind a bot's mention at the start (``@Bot a cat``).

    None if the text does not start with a bot's mention.
    """
    bots = [mention for mention in mentions if mention.bot]
    tokens = tokens_of(bots)
    with_tokens = with_ids(text, tokens).strip()
    start = MENTION.match(with_tokens)
    if start is None:
        return None
    called = {bot.id for bot in bots}.intersection(ids_in(start))
    if not called:
        return None
    return with_names(with_tokens[start.end() :].strip(), tokens)


def tokens_of(mentions: Sequence[Mention]) -> dict[str, str]:
    """Return name -> ``<@id>`` for the names by which a message mentions users.

    Where two users share a name, the token is ``<@id,id>``.
    """
    ids: dict[str, list[str]] = {}
    for rank in (0, 1):  # names that are shown come before names of accounts
        known = set(ids)
        for mention in mentions:
            if rank >= len(mention.names):
                continue
            name = mention.names[rank]
            if name not in known and mention.id not in ids.get(name, ()):
                ids.setdefault(name, []).append(mention.id)
    return {name: f"<@{','.join(users)}>" for name, users in ids.items()}


def with_ids(text: str, tokens: Mapping[str, str]) -> str:
    """Return a text with ``@Display Name`` turned back into Discord's ``<@id>``.

    DiscordChatExporter replaces the id by the name. We undo this before we read anything else,
    since a name may hold ``**`` or ``:``.

    Args:
        text: as in the export.
        tokens: from ``tokens_of``.
    """
    if not tokens or "@" not in text:
        return text
    longest_first = sorted(tokens, key=len, reverse=True)
    patterns = [re.escape(name) + _end_of(name) for name in longest_first]
    return re.sub(f"@({'|'.join(patterns)})", lambda match: tokens[match[1]], text)


def with_names(text: str, tokens: Mapping[str, str]) -> str:
    """Undo ``with_ids``: a prompt keeps the words of the file."""
    for name, token in tokens.items():
        text = text.replace(token, f"@{name}")
    return text


def _end_of(name: str) -> str:
    """Return the pattern of what may not follow a name: ``@Annabel`` does not mention Ann."""
    return r"(?!\w)" if name[-1].isalnum() else ""
