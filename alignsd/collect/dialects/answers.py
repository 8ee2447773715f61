"""A bot's answers to slash commands: what an answer repeats of the command.

Discord exports no message of a slash command. The prompt, the settings and the user stand only in
the bot's answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignsd.base.reading import is_text
from alignsd.collect.dialects.commands import command_of, settings_in
from alignsd.collect.dialects.mentions import (
    MENTION,
    Mention,
    ids_in,
    tokens_of,
    with_ids,
    with_names,
)

BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
ENLARGED = re.compile(r"\bimage #(\d{1,3})\b", re.IGNORECASE)
PROMPT_NAMES = ("prompt", "prompts", "positive", "query", "request", "text")
KINDS_OF_PROMPT = ("your", "full", "text", "positive", "the", "original", "user")
PROMPT_KEYS = frozenset([*PROMPT_NAMES, *(f"{kind}_prompt" for kind in KINDS_OF_PROMPT)])
PROMPT_LABEL = rf"(?:(?:{'|'.join(KINDS_OF_PROMPT)}) )?prompts?|positive|query|request|text"
USER_KEYS = (
    *("author", "user", "by", "requested_by", "requester", "asked_by"),
    *("creator", "artist", "member"),
)
OTHER_KEYS = (
    *USER_KEYS,
    *("seed", "steps", "model", "sampler", "size", "width", "height", "cfg", "cfg_scale"),
    *("scale", "guidance", "guidance_scale", "negative_prompt", "negative", "style"),
    *("number", "images", "status", "time"),
)
# "**Seed:** 5", "**Seed**: 5", and at the start of a line "Prompt: a cat".
LABEL = re.compile(
    r"\*\*(?P<inside>[^*:\n]{1,40}):\*\*|\*\*(?P<outside>[^*:\n]{1,40})\*\* ?:"
    rf"|^(?P<plain>{PROMPT_LABEL}) ?:",
    re.IGNORECASE | re.MULTILINE,
)
LABEL_IN_BOLD = re.compile(r"^(?P<name>[^\W\d][\w ]{0,30}): ?")
STATUS = re.compile(
    r"\W*(?:done|finished|completed?|ready|success|results?|generated|error|failed|queued|"
    r"processing|generating|"
    r"here (?:you go|it is|is your|are your)\b.*|"
    r"your (?:image|picture|art|generation|result|dream|request)s?\b.*)\W*",
    re.IGNORECASE,
)
LONGEST_STATUS = 60  # characters
# What follows a prompt on the same line: "- Image #2", "- <@7>", "by <@7>", "<@7>".
AFTER_PROMPT = re.compile(
    r" [-–—|•·] ?image #\d|(?: [-–—|•·]| by)? ?<@[^<>\s]{1,200}>", re.IGNORECASE
)
# Where the bold words of a prompt end that has bold words in it: "**a **red** cat** - <@7>".
END_OF_BOLD = re.compile(r"\*\*(?= [-–—] ?(?:image #\d|<@))", re.IGNORECASE)
# Below a prompt, lines in the words of AUTOMATIC1111's web UI: "Steps: 20, Sampler: Euler a, ...".
BELOW_PROMPT = re.compile(r"\n(?:negative prompt: |steps: \d+, )", re.IGNORECASE)
AROUND_VALUE = " \n*`"


@dataclass(frozen=True)
class Echo:
    """What a bot's answer repeats of a command.

    Attributes:
        users: ids of the users who may have asked; several if the answer does not tell which.
        prompt: the prompt, or ``""``.
        settings: of the command.
        enlarged: the number that the bot gives the picture shown larger, as written, or None.
        labelled: whether the prompt stands behind a label, and so cannot be a label.
        has_labels: whether labels or words such as "Done!" stand where we looked for a prompt.
    """

    users: tuple[str, ...] = ()
    prompt: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    enlarged: int | None = None
    labelled: bool = False
    has_labels: bool = False


def echo_in(record: Mapping[str, Any], mentions: Sequence[Mention]) -> Echo:
    """Return what a bot's answer repeats of a command.

    The prompt is, in this order: an embed's field named Prompt; the words behind a label Prompt in
    the message or in an embed; the first bold words that are neither label, status nor mention; an
    embed's title; an embed's description. Settings stand behind the prompt, behind bold words, in
    labels, or in the embeds' fields.

    Args:
        record: the answer, as read from the export.
        mentions: the answer's mentions, from ``mentions_of``.

    Raises:
        KeyError, TypeError, AttributeError: if a field of the embeds or of the interaction has
            another type than the exporter writes.
    """
    tokens = tokens_of(mentions)
    embeds = list(record.get("embeds") or ())
    fields = _fields_of(embeds, tokens)
    texts = _texts_of(embeds, tokens)
    message = _single_spaced(with_ids(record["content"], tokens))
    match = _find_prompt(message, texts, fields)
    words = BELOW_PROMPT.split(match.prompt, maxsplit=1)[0]
    prompt, settings = command_of(with_names(words, tokens), bare=True)
    named = match.labels | fields
    settings |= {name: value for name, value in named.items() if name not in PROMPT_KEYS}
    settings |= settings_in(match.behind)
    enlarged = ENLARGED.search(match.rest)
    return Echo(
        users=_users(record, match, named, mentions),
        prompt=prompt,
        settings=settings,
        enlarged=int(enlarged[1]) if enlarged else None,
        labelled=match.labelled,
        has_labels=match.passed_over or bool(match.labels),
    )


def _fields_of(embeds: Sequence[Any], tokens: Mapping[str, str]) -> dict[str, str]:
    """Return the named fields of a message's embeds: key -> value."""
    fields = {}
    for embed in embeds:
        for entry in embed.get("fields") or ():
            fields[_key(entry["name"])] = with_ids(entry["value"], tokens).strip()
    return fields


def _texts_of(embeds: Sequence[Any], tokens: Mapping[str, str]) -> list[str]:
    """Return the title and the description of each embed."""
    texts = []
    for embed in embeds:
        for key in ("title", "description"):
            texts.append(_single_spaced(with_ids(embed.get(key) or "", tokens)))
    return texts


@dataclass(frozen=True)
class _Match:
    """A prompt that was found in an answer.

    Attributes:
        prompt: as in the answer; ``""`` if no prompt was found.
        rest: the message without the prompt.
        behind: what follows the prompt in the message.
        labels: of the message and of the embed that holds the prompt: key -> value.
        labelled: whether the prompt stands behind a label.
        passed_over: whether words that cannot be a prompt stood in front.
    """

    prompt: str
    rest: str
    behind: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    labelled: bool = False
    passed_over: bool = False


def _find_prompt(message: str, texts: Sequence[str], fields: Mapping[str, str]) -> _Match:
    """Return where an answer's prompt stands, see ``echo_in`` for the order.

    Args:
        message: the words of the message.
        texts: titles and descriptions of the message's embeds.
        fields: named fields of the message's embeds.
    """
    labels, start, end = _labelled(message)
    for name, value in fields.items():
        if name in PROMPT_KEYS and value:
            return _Match(value, message, labels=labels, labelled=True)
    if start < end:
        return _cut_out(message, start, end, labels, labelled=True)
    for text in texts:
        labels_of_text, start, end = _labelled(text)
        if start < end:
            labels = labels | labels_of_text
            return _Match(text[start:end], message, labels=labels, labelled=True)
    bold, passed_over = _bold_prompt(message)
    if bold is not None:
        return _cut_out(message, *bold, labels, passed_over=passed_over)
    for text in texts:
        if text and not _is_status(text) and not LABEL.search(text):
            return _Match(text, message, labels=labels, passed_over=passed_over)
        passed_over = passed_over or bool(text)
    return _Match("", message, labels=labels, passed_over=passed_over)


def _cut_out(
    message: str,
    start: int,
    end: int,
    labels: dict[str, str],
    labelled: bool = False,
    passed_over: bool = False,
) -> _Match:
    """Return the prompt that stands from ``start`` to ``end`` of a message."""
    prompt = message[start:end]
    behind = message[end:]
    return _Match(
        prompt=prompt if labelled else prompt.strip("*"),
        rest=f"{message[:start]} {behind}",
        behind=behind,
        labels=labels,
        labelled=labelled,
        passed_over=passed_over,
    )


def _labelled(text: str) -> tuple[dict[str, str], int, int]:
    """Return the labels of a text (key -> value), and the prompt's start and end.

    Start and end are 0 if no label names a prompt.
    """
    matches = list(LABEL.finditer(text))
    starts_of_labels = [match.start() for match in matches]
    ends_of_values = [*starts_of_labels[1:], len(text)]
    labels: dict[str, str] = {}
    prompt = (0, 0)
    for match, end in zip(matches, ends_of_values, strict=False):
        key = _key(match["inside"] or match["outside"] or match["plain"])
        value = _value(text, match.end(), end)
        if key in PROMPT_KEYS and prompt == (0, 0):
            prompt = value
        first_line = text[value[0] : end].split("\n")[0]
        labels.setdefault(key, first_line.strip(" *`"))
    return labels, *prompt


def _value(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where a label's value stands: a block of code, or the first line that is not empty.

    Args:
        text: the whole text.
        start, end: where the value may stand.
    """
    while start < end and text[start] in AROUND_VALUE:
        start += 1
    fenced = text[max(0, start - 4) : start].replace("\n", "").endswith("```")
    stop = text.find("```" if fenced else "\n", start, end)
    if stop < 0:
        stop = end
    after = None if fenced else AFTER_PROMPT.search(text, start, stop)
    if after:
        stop = after.start()
    while stop > start and text[stop - 1] in AROUND_VALUE:
        stop -= 1
    return start, stop


def _bold_prompt(text: str) -> tuple[tuple[int, int] | None, bool]:
    """Return where the first bold words that can be a prompt stand.

    Returns:
        Start and end, or None; and whether bold words that are no prompt stood in front.
    """
    starts_of_labels = {match.start() for match in LABEL.finditer(text)}
    passed_over = False
    for match in BOLD.finditer(text):
        words = match[1].strip("* ")
        label = LABEL_IN_BOLD.match(words)
        key = _key(label["name"]) if label else ""
        if label and key in PROMPT_KEYS:
            start = text.index(words, match.start()) + label.end()
            return (start, match.end(1)), passed_over
        if MENTION.fullmatch(words):
            continue
        is_label = match.start() in starts_of_labels or key in OTHER_KEYS or words.endswith(":")
        if is_label or _is_status(words):
            passed_over = True
            continue
        return (match.start(1), _end_of_bold(text, match)), passed_over
    return None, passed_over


def _end_of_bold(text: str, match: re.Match[str]) -> int:
    """Return where a bold prompt ends; the prompt may hold bold words itself.

    Args:
        text: the message.
        match: of ``BOLD``: the prompt up to the first two stars.
    """
    first, end = match.end(1), match.end()
    begins_line = match.start() == 0 or text[match.start() - 1] == "\n"
    # Stars in front of a word open bold words; stars in front of a space close bold words.
    opens = not text[end : end + 1].isspace()
    if not begins_line or not opens or AFTER_PROMPT.match(text, end):
        return first
    end_of_line = text.find("\n", end)
    line = text[: end_of_line if end_of_line >= 0 else len(text)]
    closing = END_OF_BOLD.search(line, end)
    return closing.start() if closing else first


def _users(
    record: Mapping[str, Any],
    match: _Match,
    named: Mapping[str, str],
    mentions: Sequence[Mention],
) -> tuple[str, ...]:
    """Return the ids of the users who may have asked.

    In this order: the interaction's user; the user whom a label or a field names; the user whom
    the message names outside the prompt; all users who are mentioned, but not in the prompt.
    """
    interaction = record.get("interaction") or {}
    user = (interaction.get("user") or {}).get("id")
    if user is not None and not is_text(user):
        raise TypeError("the id of an interaction's user is text")
    if user:
        return (user,)
    bots = {mention.id for mention in mentions if mention.bot}
    texts = [value for key, value in named.items() if key in USER_KEYS]
    for text in [*texts, match.rest]:
        for token in MENTION.finditer(text):
            people = [name for name in ids_in(token) if name not in bots]
            if people:
                return tuple(people)
    in_prompt: set[str] = set()
    for token in MENTION.finditer(match.prompt):
        in_prompt.update(ids_in(token))
    people = [mention.id for mention in mentions if not mention.bot]
    return tuple(dict.fromkeys(person for person in people if person not in in_prompt))


def _single_spaced(text: str) -> str:
    """Return a text with single spaces and without empty lines: no pattern meets long gaps."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _is_status(words: str) -> bool:
    return len(words) <= LONGEST_STATUS and STATUS.fullmatch(words) is not None


def _key(name: str) -> str:
    """Return a label's key: ``"📝 Negative Prompt:"`` has the key ``negative_prompt``."""
    return re.sub(r"^\W+|\W+$", "", name.strip()[:100]).lower().replace(" ", "_")
