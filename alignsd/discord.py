"""Messages out of a DiscordChatExporter JSON export, read as a stream; ``choices`` makes sense of them.

``docs/data_formats.md`` gives the fields we read.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ijson

from alignsd.errors import Problem
from alignsd.paths import user_path
from alignsd.progress import track

COMMAND = re.compile(r"^[!/]dream\b\s*(prompt:)?\s*", re.IGNORECASE)
# A setting is one letter after a dash, a word after two, or a slash command's "name: value"; "t-shirt" and " - " are none.
OPTIONS = "number|images|seed|steps|width|height|cfg_scale|sampler|init_image"
SETTING = rf"\s+(?:-(?P<letter>[A-Za-z])|--(?P<word>[A-Za-z][\w-]*)|(?P<option>{OPTIONS}):)" \
          r"(?:[ =]+(?P<value>-?\d\S*|[^\s-]\S*))?(?=\s|$)"
SETTINGS_AT_END = re.compile(f"(?:{re.sub(r'[?]P<[a-z]+>', '?:', SETTING)})+$")
QUOTED = re.compile(r"""(?:^|\s)["“](?P<prompt>.+)["”](?=\s+-|\s*$)""")
HOW_MANY, CONDITIONING = {"n", "number", "images"}, {"I", "init_image", "init-image", "init"}
BOLD, MENTION, PICKED = re.compile(r"\*\*(.+?)\*\*", re.DOTALL), re.compile(r"<@!?(\d+)>"), re.compile(r"\bimage #(\d)\b", re.IGNORECASE)
USERS_AND_BOTS = ("Default", "Reply", "ChatInputCommand", "20")  # 20 is Discord's number for an answered slash command
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class File:
    """A picture: the name it was uploaded under, and where the exporter put it (a path below the export, or a URL).

    ``cell`` is ``(k, n)`` if it is the k-th of n pictures, from 0, in one file.
    """

    name: str
    url: str
    cell: tuple[int, int] | None = None


@dataclass(frozen=True)
class Message:
    """What we need of one message.

    ``user`` is the author's id, ``reply_to`` a message id or ``""``, ``settings`` what a command asked for besides its prompt.
    A bot that answers a slash command says itself who asked (``asked_by``) and what (``asked``, and ``settings``), and which
    picture of an earlier answer this is a larger one of (``picked``, from 0).
    """

    id: str
    user: str
    bot: bool
    system: bool
    text: str
    files: tuple[File, ...]
    reply_to: str
    settings: dict[str, str] = field(default_factory=dict)
    asked_by: str = ""
    asked: str = ""
    picked: int | None = None

    @property
    def images(self) -> int | None:
        """How many pictures were asked for, if the command says so."""
        number = next((value for name, value in self.settings.items() if name in HOW_MANY), "")
        return int(number) if number.isdecimal() else None

    @property
    def conditioned(self) -> bool:
        """Whether the command came with a picture, uploaded or linked."""
        return bool(self.files) or not CONDITIONING.isdisjoint(self.settings)


def export_files(source: str, simulate: Callable[[], Path]) -> list[Path]:
    """Finds the export's files: a JSON file, all ``*.json`` of a folder, or, for ``"miniature"``, what ``simulate()`` wrote.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder.
    """
    path = simulate() if source == "miniature" else user_path(source)
    found = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise Problem(f"There is no Discord export at {source!r}.",
                      expected="a DiscordChatExporter JSON file, or a folder of them",
                      found="a folder without *.json" if path.is_dir() else "no such file", cause="a misspelt path",
                      fix="set notebook 01's parameter export; export a channel with "
                          "DiscordChatExporter.Cli export --format Json --media --channel CHANNEL")
    return found


def user_key(folder: Path) -> bytes:
    """Returns the secret that keys the users' hashes: ``user.key`` beside the export, drawn at random if there is none.

    Discord ids can be counted through, so a hash without a secret would hide nobody. The key lies with the export, which
    holds the ids themselves: keep both to yourself, and share only the data set.

    Raises:
        Problem: if the key can be neither read nor written, or has fewer than 16 characters.
    """
    path = folder / "user.key"
    try:
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("The key that hides the users could not be read or made.", found=str(error),
                      expected=f"a file {path.name} beside the export", cause="the export's folder is read-only",
                      fix="copy the export to a folder of yours") from error
    if len(key) < 16:
        raise Problem("The key that hides the users is too short.", expected="at least 16 characters", found=f"{len(key)}",
                      cause=f"{path.name} was cut short",
                      fix=f"delete {path.name}: a new one is drawn, and all hashes change")
    return key.encode()


def hash_user(user: str, key: bytes) -> str:
    """Returns 64 hex digits that stand for a user (HMAC-SHA-256): the same for the same user and key, and one-way."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()


def command_of(text: str, told: bool = False) -> tuple[str, dict[str, str]]:
    """Returns a message's prompt as HPD writes it (lower-case, one line, without quotes) and the settings of a ``!dream`` command.

    ``!dream "a cat" -n 4 -S 1`` and ``/dream prompt: a cat number: 4`` give ``a cat``; only at a command's ends are words taken
    for settings, so that hyphens in a prompt stay. With ``told``, the text is a command's prompt as a bot repeats it, without
    ``/dream`` but perhaps with the settings at its end.
    """
    whole = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())  # JSON can escape half a character, no file can
    command, settings = COMMAND.match(whole), ""
    prompt = whole[command.end():] if command else whole
    if command and (quoted := QUOTED.search(prompt)):
        settings = f" {prompt[:quoted.start()]} {prompt[quoted.end():]}"
        prompt = quoted["prompt"].replace('\\"', '"')
    elif (command or told) and (last := SETTINGS_AT_END.search(prompt)):
        prompt, settings = prompt[:last.start()], last[0]
    return prompt.strip("\"'“”` ").lower(), _settings(settings)


def _settings(text: str) -> dict[str, str]:
    return {match["letter"] or match["word"] or match["option"]: match["value"] or "" for match in re.finditer(SETTING, text)}


def raw_messages(path: Path, silent: bool = True) -> Iterator[Any]:
    """Streams the export's messages as they stand in the file, holding one at a time.

    Args:
        path: the JSON file, of any size.
        silent: show no progress bar.

    Raises:
        Problem: if the file is not JSON, ends early, or has no list ``messages``.
    """
    with open(path, "rb") as file, track(total=path.stat().st_size, what=f"reading {path.name}", unit="B", scaled=True,
                                         silent=silent) as bar:
        try:
            if not _has_messages(_from_start(file)):
                raise _broken(path, "no list named messages")
            for record in ijson.items(_from_start(file), "messages.item", use_float=True):
                yield record
                bar.update(file.tell() - bar.n)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise _broken(path, " ".join(str(error).split())[:120]) from error


def message_of(record: Any) -> Message:
    """Checks one message of the export and keeps what we need.

    Raises:
        ValueError: if a field is missing or of another type.
    """
    try:
        author, files = record["author"], record["attachments"]
        reply = (record.get("reference") or {}).get("messageId") or ""
        texts = [record["id"], author["id"], record["content"], record["type"], reply]
        texts += [file[name] for file in files for name in ("fileName", "url")]
        if not all(isinstance(text, str) for text in texts) or not isinstance(author["isBot"], bool):
            raise TypeError("id, content, type and file names are texts, isBot is true or false")
        prompt, settings = command_of(record["content"])
        asked_by, asked, picked = "", "", None
        if author["isBot"]:
            asked_by, asked, settings, picked = _told(record)
        return Message(record["id"], author["id"], author["isBot"], record["type"] not in USERS_AND_BOTS, prompt,
                       tuple(File(file["fileName"], file["url"]) for file in files), reply, settings, asked_by, asked, picked)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {error!r}") from error


def _told(record: dict) -> tuple[str, str, dict[str, str], int | None]:
    """Returns who asked, what, with which settings, and which picture is shown larger, as a bot's answer to a command tells it.

    Settings stand behind the prompt, behind its bold words, or in fields of the embed.
    """
    text, embed = record["content"], next(iter(record.get("embeds") or ()), {})
    fields = {entry["name"].strip().lower().replace(" ", "_"): entry["value"].strip() for entry in embed.get("fields") or ()}
    bold, mention, picked = (pattern.search(text) for pattern in (BOLD, MENTION, PICKED))
    user = ((record.get("interaction") or {}).get("user") or {}).get("id") or (mention[1] if mention else "")
    asked = bold[1] if bold else fields.pop("prompt", "") or embed.get("title") or embed.get("description") or ""
    prompt, settings = command_of(asked, told=True)
    settings |= fields | _settings(text[bold.end():] if bold else "")
    return user, prompt, settings, int(picked[1]) - 1 if picked else None


def _from_start(file):
    file.seek(0)
    file.seek(len(BYTE_ORDER_MARK) if file.read(3) == BYTE_ORDER_MARK else 0)
    return file


def _has_messages(file) -> bool:
    """Whether the top level has a list ``messages``; reads no further than its start."""
    return any(prefix == "messages" and event == "start_array" for prefix, event, _ in ijson.parse(file))


def _broken(path: Path, found: str) -> Problem:
    return Problem(f"{path.name} is not a whole DiscordChatExporter export.", found=found,
                   expected='JSON with a list "messages" that is closed',
                   cause="the export was interrupted, or is of another format",
                   fix="export the channel again with --format Json, or give the right file")
