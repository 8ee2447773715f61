"""Find the files of a Discord channel's exports, and read the messages as a stream.

DiscordChatExporter writes the exports. A channel may fill a single file, several parts, or exports
that overlap.
"""

import heapq
import os
import re
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
from alignsd.collect.discord import number_of

EXPORT = "DiscordChatExporter.Cli export --format Json --media --channel CHANNEL"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PART = re.compile(
    r"(?P<channel>.*?)(?: \[part (?P<part>\d{1,9})\])?\.json", re.IGNORECASE | re.DOTALL
)
PACKED = (".json.gz", ".gz", ".zip")
OTHER_KINDS = (".html", ".csv", ".txt", *PACKED)  # what exporters write besides JSON
PACKED_STARTS = (
    *(b"\x1f\x8b", b"PK\x03\x04", b"7z\xbc\xaf"),
    *(b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
)
START = 4096  # bytes by which we tell a file's format
ENOUGH = 20  # messages after which we can tell that an export has the newest message first


def export_files(source: str) -> list[Path]:
    """Return the files of an export: a JSON file, or all ``*.json`` of a folder.

    Parts come in their order: ``c.json``, ``c [part 2].json``, ``c [part 10].json``.

    Args:
        source: the file or the folder.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder, or if a part is packed,
            such as ``c [part 2].json.gz``, and not unpacked beside.
    """
    path = user_path(source)
    if _is(path, os.path.isdir):
        files = sorted(reading.listed(path, ".json", lost=True), key=_order_of_parts)
        if not files:
            raise _no_export(source, *_instead_of_json(path))
        _refuse_packed_parts(path)
        return files
    if _is(path, os.path.isfile):
        return [path]
    raise _no_export(source, "no such file", "a misspelt path", f"--set export=FILE; {EXPORT}")


def raw_messages(path: Path, silent: bool = True) -> Iterator[Any]:
    """Yield the messages of an export unchanged. Only one message is in memory at a time.

    Args:
        path: the JSON file, of any size.
        silent: whether to show no progress bar.

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
                fault = "the file ends" if error.cut else str(error)
                raise _broken(path, f"{fault} after {count:,} messages") from error


def messages_in_order(files: Sequence[Path], silent: bool = True) -> Iterator[tuple[Path, Any]]:
    """Yield ``(file, message)`` of several exports as one channel, in the order of the ids.

    Discord's ids count time, so that parts, overlapping exports and other channels need no order of
    names. Within a file the order stays; a message without a number stays behind the preceding
    message. A file is open only during the file's turn, so the number of files is not limited.

    Args:
        files: exports of any size.
        silent: whether to show no progress bars.

    Raises:
        Problem: see ``raw_messages``; or if a file holds the newest message first.
    """
    starts = {path: _first_number(path) if len(files) > 1 else -1 for path in files}
    waiting = deque(sorted(files, key=starts.__getitem__))
    heads: list[_Head] = []
    rank = 0
    while waiting or heads:
        while waiting and (not heads or starts[waiting[0]] <= heads[0].number):
            path = waiting.popleft()
            rank += 1
            records = _oldest_first(path, raw_messages(path, silent or bool(heads)))
            _push_next(heads, -1, rank, path, records)
        if heads:
            head = heapq.heappop(heads)
            yield head.path, head.record
            _push_next(heads, head.number, head.rank, head.path, head.records)


@dataclass(order=True)
class _Head:
    """The next message of an open file. Heads are compared by number, then by the files' rank."""

    number: int
    rank: int
    record: Any = field(compare=False)
    path: Path = field(compare=False)
    records: Iterator[Any] = field(compare=False)


def _push_next(
    heads: list[_Head], number: int, rank: int, path: Path, records: Iterator[Any]
) -> None:
    """Put a file's next message among the heads; nothing happens at the end of the file.

    Args:
        heads: a heap.
        number: the number of the file's last message, before which no later message may come.
        rank: the rank of the file.
        path: the file.
        records: the messages to come.
    """
    for record in records:
        own_number = _number_in(record)
        if own_number is not None:
            number = max(number, own_number)
        heapq.heappush(heads, _Head(number, rank, record, path, records))
        return


def _first_number(path: Path) -> int:
    """Return the first number of a message in an export; -1 if no message has a number."""
    for record in raw_messages(path):
        number = _number_in(record)
        if number is not None:
            return number
    return -1


def _number_in(record: Any) -> int | None:
    """Return the number of an unchecked message, or None."""
    return number_of(record.get("id")) if isinstance(record, dict) else None


def _oldest_first(path: Path, records: Iterator[Any]) -> Iterator[Any]:
    """Pass messages on.

    Raises:
        Problem: if most numbers fall instead of rising.
    """
    last = None
    rising = falling = 0
    for record in records:
        yield record
        number = _number_in(record)
        if number is None:
            continue
        if last is not None and number > last:
            rising += 1
        elif last is not None and number < last:
            falling += 1
        last = number
        if rising + falling == ENOUGH:
            _refuse_newest_first(path, rising, falling)
    _refuse_newest_first(path, rising, falling)


def _refuse_newest_first(path: Path, rising: int, falling: int) -> None:
    if falling > rising:
        raise Problem(
            f"{shown(path)} holds the newest message first.",
            expected="messages in the order in which they were written, oldest first",
            found=f"{falling:,} of the first {rising + falling:,} messages are older than the "
            "message before",
            cause="the channel was exported with --reverse",
            fix=f"export the channel again without --reverse: {EXPORT}",
        )


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Return whether a path is of a kind; False for a name that no file can have."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _order_of_parts(path: Path) -> tuple[list[tuple[int, int, str]], int, str]:
    match = PART.fullmatch(path.name)
    channel, part = (match["channel"], match["part"]) if match else (path.name, None)
    return reading.natural_key(channel), int(part or 1), path.name


def _no_export(source: str, found: str, cause: str, fix: str) -> Problem:
    name = repr(str(source))
    if len(name) > 200:
        name = f"{name[:80]}...{name[-80:]}"
    return Problem(
        f"There is no Discord export at {name}.",
        expected="a DiscordChatExporter JSON file, or a folder of them",
        found=found,
        cause=cause,
        fix=fix,
    )


def _instead_of_json(folder: Path) -> tuple[str, str, str]:
    """Return what a folder without JSON files holds, the likely cause, and the fix."""
    for kind in OTHER_KINDS:
        count = len(reading.listed(folder, kind))
        if not count:
            continue
        found = f"{count} *{kind} and no *.json"
        if kind in PACKED:
            return found, "the export is still packed", "unpack the export (gunzip, unzip)"
        cause = "the channel was exported in another format"
        return found, cause, f"export the channel again: {EXPORT}"
    deeper = reading.listed(folder, ".json", deep=True)
    if deeper:
        example = deeper[0].relative_to(folder).as_posix()
        found = f"no *.json, but {len(deeper):,} in folders below, such as {example}"
        fix = f"give the folder of one channel, such as {shown(deeper[0].parent)}"
        return found, "the exports lie in folders below", fix
    return "a folder without *.json", "a misspelt path", f"--set export=FOLDER; {EXPORT}"


def _refuse_packed_parts(folder: Path) -> None:
    """Do nothing if each packed JSON file of a folder is unpacked beside itself.

    Raises:
        Problem: otherwise.
    """
    packed = reading.packed_alone(folder, ".json")
    if not packed:
        return
    name = packed[0].name
    raise Problem(
        f"{shown(folder)} holds files that are still packed.",
        expected="an export whose parts are all unpacked",
        found=f"{len(packed):,} packed, such as {name}, without {packed[0].stem}",
        cause="some parts were packed to save space, or unpacking was stopped",
        fix=f"{reading.unpacking(packed[0])}; or move {name} away if it is no part of the export",
    )


def _refuse_other_formats(path: Path, file: BinaryIO) -> None:
    """Do nothing if the first bytes of a file can begin a JSON object.

    Raises:
        Problem: otherwise; names the format.
    """
    start = file.read(START).removeprefix(BYTE_ORDER_MARK)
    text = start.lstrip().lower()
    if not text and os.fstat(file.fileno()).st_size < START:
        raise _broken(path, "an empty file")
    if start.startswith(PACKED_STARTS):
        cause = "the export was packed to save space"
        fix = f"unpack {shown(path)} first (gunzip, unzip)"
        raise _broken(path, "a packed file", cause, fix)
    encoding = _encoding_of(start)
    if encoding is not None:
        cause = "another program saved the file again"
        fix = f"iconv -f {encoding} -t UTF-8 '{shown(path)}' > utf8.json"
        raise _broken(path, f"text in the encoding {encoding}", cause, fix)
    if text.startswith(b"version https://git-lfs"):
        raise _broken(path, "a pointer of Git LFS", "git lfs pull was not run", "git lfs pull")
    other = _other_format(text)
    if other is not None:
        again = f"export the channel again: {EXPORT}; or move {path.name} away if it is no export"
        raise _broken(path, *other, again)


def _encoding_of(start: bytes) -> str | None:
    """Return the encoding of a text by the first bytes; None if the text may be UTF-8."""
    for mark, name in reading.BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return name
    return "UTF-16" if start[:2] in (b"{\0", b"\0{") else None


def _other_format(text: bytes) -> tuple[str, str] | None:
    """Return which other format a text has, and how the format comes about; None for JSON."""
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        cause = "an export with --format HtmlDark, or a web page saved in its place"
        return "an HTML page", cause
    if text.startswith((b"authorid,", b'"authorid"', b"author,", b'"author"')):
        return "a CSV table", "an export with --format Csv, which has no replies"
    if text.startswith((b"=====", b"guild:")):
        return "plain text", "an export with --format PlainText, which has no replies"
    if text.startswith(b"["):
        cause = "another exporter, or Discord's own data package, which holds one user's messages"
        return "a list where an object was expected", cause
    return None


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
