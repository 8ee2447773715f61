"""Messages out of a DiscordChatExporter JSON export, read as a stream; ``choices`` makes sense of them.

``docs/data_formats.md`` gives the fields we read.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson
from tqdm import tqdm

from alignsd.errors import Problem

COMMAND = re.compile(r"^[!/]dream\b\s*(prompt:)?\s*", re.IGNORECASE)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class File:
    """An attachment: the name it was uploaded under, and where the exporter put it (a path below the export, or a URL)."""

    name: str
    url: str


@dataclass(frozen=True)
class Message:
    """What we need of one message; ``user`` is the author's id, ``reply_to`` a message id or ``""``."""

    id: str
    user: str
    bot: bool
    system: bool
    text: str
    files: tuple[File, ...]
    reply_to: str


def export_files(source: str, simulate: Callable[[], Path]) -> list[Path]:
    """Finds the export's files: a JSON file, all ``*.json`` of a folder, or, for ``"miniature"``, what ``simulate()`` wrote.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder.
    """
    path = simulate() if source == "miniature" else Path(source)
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


def prompt_of(text: str) -> str:
    """Returns a message's prompt as HPD writes it: lower-case, one line, without ``!dream`` and the quotes around it."""
    whole = text.encode("utf-8", "replace").decode("utf-8")  # JSON can escape half a character, which no file can hold
    return COMMAND.sub("", " ".join(whole.split())).strip("\"'“”` ").lower()


def raw_messages(path: Path, silent: bool = True) -> Iterator[Any]:
    """Streams the export's messages as they stand in the file, holding one at a time.

    Args:
        path: the JSON file, of any size.
        silent: show no progress bar.

    Raises:
        Problem: if the file is not JSON, ends early, or has no list ``messages``.
    """
    with open(path, "rb") as file, tqdm(total=path.stat().st_size, desc=f"reading {path.name}", unit="B", unit_scale=True,
                                        mininterval=5, disable=silent) as bar:
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
        return Message(record["id"], author["id"], author["isBot"], record["type"] not in ("Default", "Reply"),
                       prompt_of(record["content"]), tuple(File(file["fileName"], file["url"]) for file in files), reply)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {error!r}") from error


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
