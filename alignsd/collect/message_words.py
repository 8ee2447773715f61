"""The words of a message: a command's prompt and settings, and what a bot's answer says of them.

Bots speak many dialects; ``docs/data_formats.md`` lists those that we read. Every pattern of this
module takes time that grows linearly with the text: a message may hold megabytes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alignsd.base.reading import is_text

VERBS = (
    "dream|imagine|draw|paint|generate|generation|gen|create|diffuse|diffusion|stable|sdxl|sd|"
    "txt2img|text2img|t2i|image|img|picture|pic|render|make|art|prompt|visualize|midjourney|mj|"
    "dalle|flux|craiyon"
)
COMMAND = re.compile(
    rf"^[!/.$?%&>;~+=]{{1,2}}(?:{VERBS})\b[:,]? ?(?:prompt ?[:=] ?)?", re.IGNORECASE
)
OPTIONS = (
    "number|images|seed|steps|width|height|cfg_scale|guidance_scale|aspect_ratio|sampler|"
    "init_image|num_images|num_outputs|num_inference_steps|prompt_strength"
)
# Telephones turn "--" into a long dash. Prose has such dashes too: only names of settings follow.
DASHED = "aspect|ar|version|v|quality|q|stylize|style|seed|steps|s|no|chaos|c|niji|iw|stop|n|w|h"
LONG_DASH = rf"(?:--|[—–](?=(?:{DASHED})(?![A-Za-z])))"
NEXT = rf"(?!--?[A-Za-z]|[—–][a-z]|(?:{OPTIONS}|negative_prompt):)"
VALUE = rf"(?:-?\d\S*|(?!(?:{OPTIONS}|negative_prompt):)[^\s-]\S*)"
# A setting is one letter after a dash, a word after two, or a slash command's "name: value";
# "t-shirt"
# and " - " are none. A number may stand right behind the name ("-n4", "--v5"), but "-b52" is a
# word.
SETTING = re.compile(
    rf" (?:(?:{LONG_DASH}(?:no|neg|negative(?:[_-]prompt)?)[ =]|negative_prompt: ?)"
    rf"(?P<unwanted>{NEXT}\S+(?: {NEXT}\S+)*)"
    r"|-(?P<short>[nsSCWHfgGUv])(?P<digits>\d+(?:\.\d+)?)"
    rf"|{LONG_DASH}(?P<long>[A-Za-z][A-Za-z_-]*)[:=]?(?P<number>\d[\d.:]*)"
    rf"|(?P<option>{OPTIONS}): ?(?P<chosen>{VALUE})?"
    rf"|(?:-(?P<letter>[A-Za-z])|{LONG_DASH}(?P<word>[A-Za-z][\w-]*))"
    rf"(?:(?: ?= ?| )(?P<value>{VALUE}))?"
    r")(?=\s|$)"
)
SETTINGS_AHEAD = re.compile(r"^(?:(?:-[A-Za-z] ?|--[A-Za-z][A-Za-z_-]*[ =]?)\d[\d.:]*(?: |$))+")
OPENING_QUOTE = re.compile(r"""(?:^| )["“]""")
CLOSING_QUOTE = re.compile(r"""["”](?= [-—–]| ?$)""")
QUOTES = "\"'“”` "

BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
MENTION = re.compile(r"<@!?([^<>@&\s][^<>@\s]{0,200})>")
PICKED = re.compile(r"\bimage #(\d{1,3})\b", re.IGNORECASE)
PROMPT_NAMES = ("prompt", "prompts", "positive", "query", "request", "text")
PROMPT_LABEL = (
    r"(?:(?:your|full|text|positive|the|original|user) )?prompts?|positive|query|request|text"
)
ASKER_LABELS = (
    "author",
    "user",
    "by",
    "requested_by",
    "requester",
    "asked_by",
    "creator",
    "artist",
    "member",
)
OTHER_LABELS = (
    *ASKER_LABELS,
    "seed",
    "steps",
    "model",
    "sampler",
    "size",
    "width",
    "height",
    "cfg",
    "cfg_scale",
    "scale",
    "guidance",
    "guidance_scale",
    "negative_prompt",
    "negative",
    "style",
    "number",
    "images",
    "status",
    "time",
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
# What follows a prompt on its line: "- Image #2", "- <@7>", "by <@7>", "<@7>".
AFTER_PROMPT = re.compile(
    r" [-–—|•·] ?image #\d|(?: [-–—|•·]| by)? ?<@[^<>\s]{1,200}>", re.IGNORECASE
)


@dataclass(frozen=True)
class Mention:
    """A user whom a message mentions, and how the exporter writes the name after ``@``."""

    id: str
    names: tuple[str, ...]
    bot: bool


@dataclass(frozen=True)
class Told:
    """What a bot's answer says of a command.

    Attributes:
        users: ids of those who may have asked; several if the answer does not tell which.
        prompt: the prompt, or ``""``.
        settings: of the command.
        picked: the number that the bot gives the picture it shows larger, as written, or None.
        labelled: the prompt stands behind a label, so that it is no label itself.
        labels: the answer holds labels or words such as "Done!" where a prompt was looked for.
    """

    users: tuple[str, ...] = ()
    prompt: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    picked: int | None = None
    labelled: bool = False
    labels: bool = False


def command_of(text: str, told: bool = False) -> tuple[str, dict[str, str]]:
    """Return the prompt as HPD writes it (lower-case, one line, no quotes) and a command's
    settings.

    ``!dream "a cat" -n 4 -S 1``, ``/imagine prompt: a cat --ar 3:2`` and ``/dream prompt: a cat
    number: 4`` give ``a cat``. Only at a command's ends are words taken for settings, so that
    hyphens in a prompt stay.

    Args:
        text: a message, or what a bot repeats of one.
        told: the text is a command without its name, as a bot repeats it.
    """
    # JSON can escape half a character, which no file can hold.
    whole = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    command = COMMAND.match(whole)
    if command is None and not told:
        return whole.strip(QUOTES).lower(), {}
    asked = whole[command.end() :] if command else whole
    quoted = _quoted(asked) if command else None
    if quoted is not None:
        start, end = quoted
        settings = f" {asked[: start - 1]} {asked[end + 1 :]}"
        prompt = asked[start:end].replace('\\"', '"')
    else:
        ahead = SETTINGS_AHEAD.match(asked) if command else None
        behind = asked[ahead.end() :] if ahead else asked
        prompt, settings = _without_settings(behind)
        settings = (f" {ahead[0]}" if ahead else "") + settings
    return prompt.strip(QUOTES).lower(), settings_in(settings)


def settings_in(text: str) -> dict[str, str]:
    """Return the settings that stand anywhere in a text: name -> value, ``""`` for a bare name."""
    return dict(_setting(match) for match in SETTING.finditer(f" {' '.join(text.split())}"))


def mentions_of(record: dict[str, Any]) -> list[Mention]:
    """Return the users whom a message of an export mentions; what is no mention is passed over."""
    entries = record.get("mentions")
    mentions = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not is_text(entry.get("id")):
            continue
        names = (entry.get("nickname"), entry.get("name"))
        named = tuple(name for name in names if isinstance(name, str) and name.strip())
        mentions.append(Mention(entry["id"], named, entry.get("isBot") is True))
    return mentions


def without_call(text: str, mentions: Sequence[Mention]) -> str | None:
    """Return the text behind a bot's mention at its start (``@Bot a cat``), or None if there is
    none.
    """
    bots = [mention for mention in mentions if mention.bot]
    tokens = _tokens(bots)
    named = _with_ids(text.strip(), tokens)
    start = MENTION.match(named)
    if start is None or not set(start[1].split(",")) & {bot.id for bot in bots}:
        return None
    return _with_names(named[start.end() :].strip(), tokens)


def told_by(record: dict[str, Any], mentions: Sequence[Mention]) -> Told:
    """Return what a bot's answer says of a command.

    The prompt is, in this order: an embed's field named Prompt; the words behind a label Prompt in
    the message or in an embed; the first bold words that are neither label, status nor mention; an
    embed's title; an embed's description. Settings stand behind the prompt, behind bold words, in
    labels, or in the embeds' fields.

    Raises:
        KeyError, TypeError, AttributeError: if a field of the embeds or of the interaction has
            another type than the exporter writes.
    """
    tokens = _tokens(mentions)
    embeds = list(record.get("embeds") or ())
    fields = {
        _key(entry["name"]): _with_ids(entry["value"].strip(), tokens)
        for embed in embeds
        for entry in embed.get("fields") or ()
    }
    texts = [
        _with_ids(_lines(embed.get(part) or ""), tokens)
        for embed in embeds
        for part in ("title", "description")
    ]
    found = _prompt_in(_with_ids(_lines(record["content"]), tokens), texts, fields)
    prompt, settings = command_of(_with_names(found.prompt, tokens), told=True)
    named = found.labels | fields
    settings |= {name: value for name, value in named.items() if name not in PROMPT_KEYS}
    settings |= settings_in(found.behind)
    picked = PICKED.search(found.rest)
    return Told(
        users=_askers(record, found, named, mentions),
        prompt=prompt,
        settings=settings,
        picked=int(picked[1]) if picked else None,
        labelled=found.labelled,
        labels=found.passed_over or bool(found.labels),
    )


@dataclass(frozen=True)
class _Found:
    """Where a prompt was found: ``rest`` is the message without the prompt, ``behind`` what follows
    it.
    """

    prompt: str
    rest: str
    behind: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    labelled: bool = False
    passed_over: bool = False


PROMPT_KEYS = frozenset(
    [*PROMPT_NAMES]
    + [
        f"{which}_prompt"
        for which in ("your", "full", "text", "positive", "the", "original", "user")
    ]
)


def _prompt_in(text: str, texts: Sequence[str], fields: dict[str, str]) -> _Found:
    labels, start, end = _labelled(text)
    field_prompt = next(
        (value for name, value in fields.items() if name in PROMPT_KEYS and value), ""
    )
    if field_prompt:
        return _Found(field_prompt, text, labels=labels, labelled=True)
    if start < end:
        return _Found(
            text[start:end], f"{text[:start]} {text[end:]}", text[end:], labels, labelled=True
        )
    for other in texts:
        its_labels, start, end = _labelled(other)
        if start < end:
            return _Found(other[start:end], text, labels=labels | its_labels, labelled=True)
    bold, passed_over = _bold_prompt(text)
    if bold is not None:
        start, end = bold
        return _Found(
            text[start:end].strip("*"),
            f"{text[:start]} {text[end:]}",
            text[end:],
            labels,
            False,
            passed_over,
        )
    for other in texts:
        if other and not _is_status(other) and not LABEL.search(other):
            return _Found(other, text, labels=labels, passed_over=passed_over)
        passed_over = passed_over or bool(other)
    return _Found("", text, labels=labels, passed_over=passed_over)


def _labelled(text: str) -> tuple[dict[str, str], int, int]:
    """Return the labels of a text (name -> value), and where the prompt stands; 0, 0 if nowhere."""
    matches = list(LABEL.finditer(text))
    labels: dict[str, str] = {}
    place = (0, 0)
    for number, match in enumerate(matches, 1):
        end = matches[number].start() if number < len(matches) else len(text)
        name = _key(match["inside"] or match["outside"] or match["plain"])
        start, stop = _value(text, match.end(), end)
        if name in PROMPT_KEYS and place == (0, 0):
            place = (start, stop)
        labels.setdefault(name, text[start:end].split("\n")[0].strip(" *`"))
    return labels, *place


def _value(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where a label's value stands: a block of code, or the first line that is not empty."""
    while start < end and text[start] in " \n*`":
        start += 1
    fenced = text[max(0, start - 4) : start].replace("\n", "").endswith("```")
    stop = text.find("```" if fenced else "\n", start, end)
    if stop < 0:
        stop = end
    after = None if fenced else AFTER_PROMPT.search(text, start, stop)
    if after:
        stop = after.start()
    while stop > start and text[stop - 1] in " \n*`":
        stop -= 1
    return start, stop


def _bold_prompt(text: str) -> tuple[tuple[int, int] | None, bool]:
    """Return where the first bold words that can be a prompt stand, and whether others were passed
    over.
    """
    labels = {match.start() for match in LABEL.finditer(text)}
    passed_over = False
    for match in BOLD.finditer(text):
        words = match[1].strip("* ")
        label = LABEL_IN_BOLD.match(words)
        name = _key(label["name"]) if label else ""
        if name in PROMPT_KEYS:
            start = text.index(words, match.start()) + label.end()
            return (start, match.end(1)), passed_over
        if MENTION.fullmatch(words):
            continue
        if (
            match.start() in labels
            or name in OTHER_LABELS
            or _is_status(words)
            or words.endswith(":")
        ):
            passed_over = True
            continue
        return match.span(1), passed_over
    return None, passed_over


def _askers(
    record: dict[str, Any], found: _Found, named: dict[str, str], mentions: Sequence[Mention]
) -> tuple[str, ...]:
    """Return who may have asked: the interaction's user, a user named in a label or a field, a user
    named outside the prompt, or all other users who are mentioned."""
    user = ((record.get("interaction") or {}).get("user") or {}).get("id")
    if user is not None and not is_text(user):
        raise TypeError("the id of an interaction's user is text")
    if user:
        return (user,)
    bots = {mention.id for mention in mentions if mention.bot}
    places = [value for name, value in named.items() if name in ASKER_LABELS] + [found.rest]
    for place in places:
        for match in MENTION.finditer(place):
            ids = tuple(name for name in match[1].split(",") if name not in bots)
            if ids:
                return ids
    inside = {name for match in MENTION.finditer(found.prompt) for name in match[1].split(",")}
    ids = dict.fromkeys(
        mention.id for mention in mentions if not mention.bot and mention.id not in inside
    )
    return tuple(ids)


def _tokens(mentions: Sequence[Mention]) -> dict[str, str]:
    """Return ``name -> <@id>`` for the names by which a message mentions users; ``<@id,id>`` if two
    share a name.
    """
    ids: dict[str, list[str]] = {}
    for rank in (0, 1):  # names that are shown come before names of accounts
        known = set(ids)
        for mention in mentions:
            name = mention.names[rank] if len(mention.names) > rank else ""
            if name and name not in known and mention.id not in ids.get(name, ()):
                ids.setdefault(name, []).append(mention.id)
    return {name: f"<@{','.join(users)}>" for name, users in ids.items()}


def _with_ids(text: str, tokens: dict[str, str]) -> str:
    """Return a text with ``@Display Name`` turned back into Discord's ``<@id>``.

    DiscordChatExporter replaces the id by the name. The name is taken out before anything else is
    read, since a name may hold ``**`` or ``:``.
    """
    if not tokens or "@" not in text:
        return text
    longest_first = sorted(tokens, key=len, reverse=True)
    words = [re.escape(name) + (r"(?!\w)" if name[-1].isalnum() else "") for name in longest_first]
    return re.sub(f"@({'|'.join(words)})", lambda match: tokens[match[1]], text)


def _with_names(text: str, tokens: dict[str, str]) -> str:
    """Undo ``_with_ids``: a prompt keeps the words that stand in the file."""
    for name, token in tokens.items():
        text = text.replace(token, f"@{name}")
    return text


def _lines(text: str) -> str:
    """Return a text with single spaces and without empty lines: no pattern meets long gaps."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _is_status(words: str) -> bool:
    return len(words) <= 60 and STATUS.fullmatch(words) is not None


def _key(name: str) -> str:
    """Return a label's name: ``"📝 Negative Prompt:"`` is ``negative_prompt``."""
    return re.sub(r"^\W+|\W+$", "", name.strip()[:100]).lower().replace(" ", "_")


def _quoted(text: str) -> tuple[int, int] | None:
    """Return where the words between a command's outer quotes start and end, or None."""
    opening = OPENING_QUOTE.search(text)
    if opening is None:
        return None
    closings = [match.start() for match in CLOSING_QUOTE.finditer(text, opening.end() + 1)]
    # The last quote closes: a prompt may hold quotes.
    return (opening.end(), closings[-1]) if closings else None


def _without_settings(text: str) -> tuple[str, str]:
    """Return a text without the unbroken row of settings at its end, and that row."""
    padded = f" {text}"
    start = end = None
    for match in SETTING.finditer(padded):
        if match.start() != end:
            start = match.start()
        end = match.end()
    if end != len(padded):
        return text, ""
    return padded[1:start], padded[start:]


def _setting(match: re.Match) -> tuple[str, str]:
    if match["unwanted"]:
        return "no", match["unwanted"]
    if match["short"]:
        return match["short"], match["digits"]
    if match["long"]:
        return match["long"], match["number"]
    if match["option"]:
        return match["option"], match["chosen"] or ""
    return match["letter"] or match["word"], match["value"] or ""
