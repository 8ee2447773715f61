"""Messages out of a DiscordChatExporter JSON export, read as a stream; ``choices`` makes sense of
them.

``docs/data_formats.md`` gives the fields we read, ``commands`` reads the words of a message.
"""

import hashlib
import heapq
import hmac
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from alignsd.base import reading
from alignsd.base.errors import Problem
from alignsd.base.json_stream import Damaged, entries
from alignsd.base.paths import shown, user_path
from alignsd.base.progress import track
from alignsd.collect.message_words import Told, command_of, mentions_of, told_by, without_call

HOW_MANY, CONDITIONING = {"n", "number", "images"}, {"I", "init_image", "init-image", "init"}
# 20 and 19 are Discord's numbers for an answered slash command and a reply; old exporters have no
# name for them.
USERS_AND_BOTS = ("Default", "Reply", "ChatInputCommand", "20", "19")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PART = re.compile(
    r"(?P<channel>.*?)(?: \[part (?P<part>\d{1,9})\])?\.json", re.IGNORECASE | re.DOTALL
)
OTHER_KINDS = (
    ".html",
    ".csv",
    ".txt",
    ".json.gz",
    ".gz",
    ".zip",
)  # what exporters write besides JSON
EXPORT = "DiscordChatExporter.Cli export --format Json --media --channel CHANNEL"
ENOUGH = 20  # messages after which an export that is newest first is told


@dataclass(frozen=True)
class File:
    """A picture: the name it was uploaded under, and where the exporter put it (a path below the
    export, or a URL).

    ``cell`` is ``(k, n)`` if it is the k-th of n pictures, from 0, in one file.
    """

    name: str
    url: str
    cell: tuple[int, int] | None = None


@dataclass(frozen=True)
class Message:
    """What we need of one message.

    ``user`` is the author's id, ``reply_to`` a message id or ``""``, ``settings`` what a command
    asked for besides its prompt, ``written`` and ``edited`` times as the exporter writes them.
    ``told`` is what a bot's answer to a slash command says of that command.
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
    told: Told = Told()

    @property
    def asked_by(self) -> str:
        """The user whose slash command this answers, or ``""`` if the answer does not tell one."""
        return self.told.users[0] if len(self.told.users) == 1 else ""

    @property
    def asked(self) -> str:
        """The prompt that a bot repeats, or ``""``."""
        return self.told.prompt

    @property
    def images(self) -> int | None:
        """How many pictures were asked for, if the command says so."""
        number = next((value for name, value in self.settings.items() if name in HOW_MANY), "")
        return int(number) if re.fullmatch("[0-9]{1,3}", number) else None

    @property
    def conditioned(self) -> bool:
        """Whether the command came with a picture, uploaded or linked."""
        return bool(self.files) or not CONDITIONING.isdisjoint(self.settings)


class NotAMessage(ValueError):
    """An entry of an export that lacks a field of a message, or has one of another type."""


@dataclass(frozen=True)
class Asker:
    """Who asked in a channel. The id never leaves this object; ``hash`` stands for it."""

    id: str = field(repr=False)
    folder: Path

    def hash(self) -> str:
        """Return 64 hex digits that stand for the user; the first call makes ``user.key`` beside
        the export.

        Raises:
            Problem: if the key can be neither read nor made.
        """
        return hash_user(self.id, user_key(self.folder))


def export_files(source: str, simulate: Callable[[], Path]) -> list[Path]:
    """Return the export's files: a JSON file, all ``*.json`` of a folder, or what ``simulate()``
    wrote.

    The parts of an export stand in their order: ``c.json``, ``c [part 2].json``, ``c [part
    10].json``.

    Args:
        source: the file or folder, or ``"miniature"``.
        simulate: writes the simulated server's export and returns its path.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder.
    """
    path = Path(simulate() if source == "miniature" else user_path(source))
    if _is(path, os.path.isdir):
        files = sorted(reading.listed(path, ".json"), key=_order_of_parts)
        found, cause, fix = _instead_of_json(path)
    else:
        files = [path] if _is(path, os.path.isfile) else []
        found, cause, fix = (
            "no such file",
            "a misspelt path",
            f"set notebook 01's parameter export; {EXPORT}",
        )
    if not files:
        raise Problem(
            f"There is no Discord export at {_short(source)}.",
            expected="a DiscordChatExporter JSON file, or a folder of them",
            found=found,
            cause=cause,
            fix=fix,
        )
    return files


def user_key(folder: Path) -> bytes:
    """Return the secret that keys the users' hashes: ``user.key`` beside the export, drawn at
    random if there is none.

    Discord ids can be counted through, so a hash without a secret would hide nobody. The key lies
    with the export, which holds the ids themselves: keep both to yourself, and share only the data
    set.

    Raises:
        Problem: if the key can be neither read nor written, or has fewer than 16 characters.
    """
    path = Path(folder) / "user.key"
    try:
        if not path.exists():
            _make_key(path)
        key = reading.read_text(path).strip()
    except (OSError, ValueError, Problem) as error:
        found = error.found if isinstance(error, Problem) else str(error)
        raise Problem(
            "The key that hides the users could not be read or made.",
            expected=f"a file {path.name} beside the export",
            found=found,
            cause="the export's folder is missing or read-only, or the file is no key",
            fix="copy the export to a folder of yours",
        ) from error
    if len(key) < 16:
        raise Problem(
            "The key that hides the users is too short.",
            expected="at least 16 characters",
            found=f"{len(key)}",
            cause=f"{path.name} was cut short",
            fix=f"delete {path.name}: a new one is drawn, and all hashes change",
        )
    return key.encode()


def hash_user(user: str, key: bytes) -> str:
    """Return 64 hex digits that stand for a user (HMAC-SHA-256): the same for the same user and
    key, and one-way.
    """
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()


def raw_messages(path: Path, silent: bool = True) -> Iterator[Any]:
    """Stream the export's messages as they stand in the file, holding one at a time.

    Args:
        path: the JSON file, of any size.
        silent: show no progress bar.

    Raises:
        Problem: if the file cannot be opened, is of another format, ends early, or has no list
            ``messages``.
    """
    count = 0
    with reading.open_bytes(path) as file:
        _refuse_other_formats(path, file)
        size = os.fstat(file.fileno()).st_size
        name = f"reading {path.name}"
        with track(total=size, what=name, unit="B", silent=silent) as bar:
            file.seek(0)
            try:
                for record in entries(file, "messages"):
                    yield record
                    count += 1
                    bar.update(file.tell() - bar.n)
            except Damaged as error:
                end = f"the file ends after {count:,} messages"
                raise _broken(
                    path, end if error.cut else f"{error} after {count:,} messages"
                ) from error


def messages_in_order(files: Sequence[Path], silent: bool = True) -> Iterator[tuple[Path, Any]]:
    """Yield ``(file, message)`` of several exports as one channel, by the time that Discord's ids
    count.

    Parts, overlapping exports and other channels need no order of their names. Within a file the
    order stays; a message without a number stays behind the one before it. A file is open only
    while its turn lasts, so that their number is not limited.

    Args:
        files: exports of any size.
        silent: show no progress bars.

    Raises:
        Problem: see ``raw_messages``; or if a file holds the newest message first.
    """
    first = {path: _first_number(path) if len(files) > 1 else -1 for path in files}
    waiting = deque(sorted(files, key=first.__getitem__))
    rank = 0
    heads: list[
        tuple[int, int, Any, Path, Iterator[Any]]
    ] = []  # rank is unique: records are never compared
    while waiting or heads:
        while waiting and (not heads or first[waiting[0]] <= heads[0][0]):
            path = waiting.popleft()
            rank += 1
            records = _oldest_first(path, raw_messages(path, silent or bool(heads)))
            _push(heads, -1, rank, path, records)
        if heads:
            number, its_rank, record, path, records = heapq.heappop(heads)
            yield path, record
            _push(heads, number, its_rank, path, records)


def message_of(record: Any) -> Message:
    """Check one message of the export and keep what we need.

    Raises:
        NotAMessage: if a field is missing or of another type.
    """
    try:
        author, files = record["author"], record["attachments"]
        reply = (record.get("reference") or {}).get("messageId") or ""
        texts = [record["id"], author["id"], record["type"], reply]
        texts += [file[name] for file in files for name in ("fileName", "url")]
        if not all(reading.is_text(text) for text in texts) or not isinstance(
            author["isBot"], bool
        ):
            raise TypeError("id, type and file names are texts, isBot is true or false")
        if not isinstance(record["content"], str):
            raise TypeError("content is a text")
        mentions = mentions_of(record)
        called = None if author["isBot"] else without_call(record["content"], mentions)
        prompt, settings = command_of(
            record["content"] if called is None else called, told=called is not None
        )
        told = told_by(record, mentions) if author["isBot"] else Told()
        return Message(
            id=record["id"],
            user=author["id"],
            bot=author["isBot"],
            system=record["type"] not in USERS_AND_BOTS,
            text=prompt,
            files=tuple(File(file["fileName"], file["url"]) for file in files),
            reply_to=reply,
            settings=told.settings if author["isBot"] else settings,
            written=_text_or_none(record, "timestamp"),
            edited=_text_or_none(record, "timestampEdited"),
            told=told,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAMessage(repr(error)) from error


def number_of(message_id: Any) -> int | None:
    """Return a Discord id as the number that it is (its upper bits count time), or None."""
    numeric = isinstance(message_id, str) and re.fullmatch("[0-9]{1,20}", message_id)
    return int(message_id) if numeric else None


def _text_or_none(record: dict, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Return whether a path is of a kind; a name that no file can have is of none."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _short(source: str) -> str:
    text = repr(str(source))
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"


def _order_of_parts(path: Path) -> tuple:
    match = PART.fullmatch(path.name)
    return reading.natural_key(match["channel"]), int(match["part"] or 1), path.name


def _instead_of_json(folder: Path) -> tuple[str, str, str]:
    """Return what a folder without JSON holds, and the cause and the fix that follow from it."""
    for kind in OTHER_KINDS:
        count = len(reading.listed(folder, kind))
        if count and kind.endswith((".gz", ".zip")):
            return (
                f"{count} *{kind} and no *.json",
                "the export is still packed",
                "unpack the export (gunzip, unzip)",
            )
        if count:
            return (
                f"{count} *{kind} and no *.json",
                "the channel was exported in another format",
                f"export it again: {EXPORT}",
            )
    deeper = reading.listed(folder, ".json", deep=True)
    if deeper:
        return (
            f"no *.json, but {len(deeper):,} in folders below, such as "
            f"{deeper[0].relative_to(folder).as_posix()}",
            "the exports lie in folders below",
            f"give the folder of one channel, such as {shown(deeper[0].parent)}",
        )
    return (
        "a folder without *.json",
        "a misspelt path",
        f"set notebook 01's parameter export; {EXPORT}",
    )


def _make_key(path: Path) -> None:
    """Write a new key, unless another process has made one in between."""
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))


def _first_number(path: Path) -> int:
    """Return the number of an export's first message that has one; -1 if none has."""
    for record in raw_messages(path):
        number = number_of(record.get("id")) if isinstance(record, dict) else None
        if number is not None:
            return number
    return -1


def _push(heads: list, number: int, rank: int, path: Path, records: Iterator[Any]) -> None:
    """Put a file's next message among the heads, at its own number but never before the file's last
    one.
    """
    for record in records:
        own = number_of(record.get("id")) if isinstance(record, dict) else None
        heapq.heappush(
            heads, (number if own is None else max(number, own), rank, record, path, records)
        )
        return


def _oldest_first(path: Path, records: Iterator[Any]) -> Iterator[Any]:
    """Pass messages on.

    Raises:
        Problem: if most numbers fall instead of rising.
    """
    last, rising, falling = None, 0, 0
    for record in records:
        yield record
        number = number_of(record.get("id")) if isinstance(record, dict) else None
        if number is not None and last is not None:
            rising += number > last
            falling += number < last
        last = last if number is None else number
        if rising + falling == ENOUGH:
            _refuse_newest_first(path, rising, falling)
    _refuse_newest_first(path, rising, falling)


def _refuse_newest_first(path: Path, rising: int, falling: int) -> None:
    if falling > rising:
        raise Problem(
            f"{shown(path)} holds the newest message first.",
            expected="messages in the order in which they were written, oldest first",
            found=f"{falling:,} of the first {rising + falling:,} messages are older than the last",
            cause="the channel was exported with --reverse",
            fix=f"export it again without --reverse: {EXPORT}",
        )


def _refuse_other_formats(path: Path, file: BinaryIO) -> None:
    """Raise a Problem that names the format, if a file's first bytes show that it is no JSON
    object.
    """
    start = file.read(4096).removeprefix(BYTE_ORDER_MARK)
    again = f"export the channel again: {EXPORT}; or move {path.name} away if it is no export"
    text = start.lstrip().lower()
    if not text and os.fstat(file.fileno()).st_size < 4096:
        raise _broken(path, "an empty file")
    if start.startswith(
        (b"\x1f\x8b", b"PK\x03\x04", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
    ):
        raise _broken(
            path,
            "a packed file",
            "the export was packed to save space",
            f"unpack {shown(path)} first (gunzip, unzip)",
        )
    mark = next((name for mark, name in reading.BYTE_ORDER_MARKS if start.startswith(mark)), None)
    if mark or start[:2] in (b"{\0", b"\0{"):
        mark = mark or "UTF-16"
        raise _broken(
            path,
            f"text in the encoding {mark}",
            "another program saved the file again",
            f"iconv -f {mark} -t UTF-8 '{shown(path)}' > utf8.json",
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _broken(
            path,
            "an HTML page",
            "an export with --format HtmlDark, or a web page saved in its place",
            again,
        )
    if text.startswith((b"authorid,", b'"authorid"', b"author,", b'"author"')):
        raise _broken(
            path, "a CSV table", "an export with --format Csv, which has no replies", again
        )
    if text.startswith((b"=====", b"guild:")):
        raise _broken(
            path, "plain text", "an export with --format PlainText, which has no replies", again
        )
    if text.startswith(b"version https://git-lfs"):
        raise _broken(path, "a pointer of Git LFS", "git lfs pull was not run", "git lfs pull")
    if text.startswith(b"["):
        raise _broken(
            path,
            "a list where an object was expected",
            "another exporter, or Discord's own data package, which holds one user's messages",
            again,
        )


def _broken(
    path: Path,
    found: str,
    cause: str = "the export was interrupted, or is of another format",
    fix: str = "export the channel again with --format Json, or give the right file; a file that "
    "is no export is moved out of the folder",
) -> Problem:
    return Problem(
        f"{shown(path)} is not a whole DiscordChatExporter export.",
        expected='JSON with a list "messages" that is closed',
        found=found,
        cause=cause,
        fix=fix,
    )
