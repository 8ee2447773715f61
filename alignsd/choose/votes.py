"""Keep what people pick: one event per line, appended at once, many raters in one file.

An event says that a rater picked a picture, skipped a question, or took the last answer back.
Events are never changed, so a crash, a reload or a second tab loses nothing. ``read_votes`` folds
the events into one row per answered question.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from alignsd.base.atomic import made, unwritable
from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import is_text, parse_json, read_bytes
from alignsd.choose.questions import Deck

PICK, SKIP, UNDO = "pick", "skip", "undo"
PATIENCE = 20.0  # seconds to wait for another writer; a writer holds the file for milliseconds
COLUMNS = (
    "rater",
    "question",
    "kind",
    "repeats",
    "prompt",
    "picked",
    "shown_at",
    "seconds",
    "time",
    "shown",
)
REMEMBERED = 2**16  # lines whose event is remembered: 20 raters answer 100 questions in 2,000 lines
LONGEST_NAME = 100  # characters of a rater's name

Event = dict[str, Any]


class Writer:
    """A file of votes that this process holds: no other process appends meanwhile."""

    def __init__(self, file: Path):
        self._file = file

    def append(self, event: Mapping[str, Any]) -> None:
        """Append one event as one line, and wait until the disk has the line.

        Raises:
            Problem: if the event is no event, or the file cannot be written.
        """
        fault = _fault(event)
        if fault:
            raise _no_event(f"This is no event of {shown(self._file)}.", fault)
        line = json.dumps(dict(event), ensure_ascii=False, allow_nan=False)
        try:
            _mend_end(self._file)
            _append_whole(self._file, f"{line}\n".encode())
        except OSError as error:
            raise unwritable(self._file, error) from error


@contextmanager
def writing(file: Path) -> Iterator[Writer]:
    """Hold a file of votes while the block reads the events and appends an event.

    Raises:
        Problem: if another process does not let go of the file, or the folder cannot be written.
    """
    file = Path(file)
    made(file.parent)
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    try:
        lock.acquire(timeout=PATIENCE, poll_interval=0.01)
    except Timeout:
        raise _in_use(file) from None
    except NotImplementedError:  # whole lines are appended even so
        text = f"The file system of {shown(file.parent)} has no locks: choose in one tab only."
        warnings.warn(text, stacklevel=3)
    except OSError as error:
        raise unwritable(file, error) from error
    try:
        yield Writer(file)
    finally:
        lock.release()


def append(file: Path, event: Mapping[str, Any]) -> None:
    """Append one event to a file of votes: the whole line or nothing.

    Args:
        file: see ``base.paths.votes_file``; the folder is made.
        event: ``time``, ``deck`` (fingerprint), ``rater``, ``question`` (id), ``event``
            (``"pick"``, ``"skip"`` or ``"undo"``), ``picked`` (index into the question's pictures,
            or None), ``shown`` (indices in the order of the places), ``seconds`` (or None).

    Raises:
        Problem: if the event is no event, or the file cannot be written.
    """
    with writing(file) as writer:
        writer.append(event)


def now() -> str:
    """Return the time of an event: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check_rater(rater: str) -> str:
    """Return a rater's name if the name can stand in a file of votes.

    Raises:
        Problem: if the name is empty, too long, or holds characters that nobody can see.
    """
    if is_text(rater) and rater.strip() and rater.isprintable() and len(rater) <= LONGEST_NAME:
        return rater
    raise Problem(
        "This cannot be the name of a rater.",
        expected=f"1 to {LONGEST_NAME} visible characters",
        found=f"{rater!r:.60}",
        cause="an empty field, or text that was pasted",
        fix="choose a short name, such as ann",
    )


def read_events(file: Path, deck: Deck, rater: str | None = None) -> tuple[list[Event], list[str]]:
    """Return the events of a deck in the order of the file, and notes on what does not count.

    Events of another deck under the same name do not count. Neither does a damaged last line,
    which a crash leaves.

    Args:
        file: the file of votes; a missing file holds no event.
        deck: the deck.
        rater: only events of this rater; None for all raters.

    Raises:
        Problem: if another line is damaged, or an event does not fit the deck.
    """
    events, is_cut = _all_events(Path(file))
    notes = []
    if is_cut:
        notes.append(f"The last line of {shown(file)} is cut off by a crash and does not count.")
    of_deck = [event for event in events if event["deck"] == deck.fingerprint]
    others = len(events) - len(of_deck)
    if others:
        notes.append(
            f"{others:,} of {len(events):,} events in {shown(file)} do not count: they belong to "
            f"other pictures, since the deck {deck.name} was made anew."
        )
    counts = {question.id: len(question.pictures) for question in deck.questions}
    for event in of_deck:
        _check_fit(event, counts, file)
    return [event for event in of_deck if rater is None or event["rater"] == rater], notes


def fold(events: list[Event]) -> dict[tuple[str, str], Event]:
    """Return the last event of each rater and question, without the answers taken back.

    The order is the order in which the questions were answered, by their last event.
    """
    last: dict[tuple[str, str], Event] = {}
    for event in events:
        key = event["rater"], event["question"]
        last.pop(key, None)
        if event["event"] != UNDO:
            last[key] = event
    return last


def read_votes(file: Path, deck: Deck) -> pd.DataFrame:
    """Return the answers to a deck's questions: the last event of a rater and question counts.

    A skipped question has a row without ``picked``. An answer that was taken back has no row.

    Args:
        file: the file of votes; a missing file holds no answer.
        deck: the deck; events of other decks do not count, and a line of text says how many.

    Returns:
        A row per rater and answered question: ``rater``, ``question`` (id), ``kind``, ``repeats``,
        ``prompt``, ``picked`` (index into the question's pictures; missing if skipped),
        ``shown_at`` (the place of the picked picture, from 0; missing if skipped), ``seconds``
        (until the answer; NaN if not known), ``time`` (UTC, text), ``shown`` (tuple of indices in
        the order of the places).

    Raises:
        Problem: if the file is damaged elsewhere than at its end.
    """
    events, notes = read_events(file, deck)
    for note in notes:
        print(note)
    return table_of(fold(events), deck)


def table_of(answers: Mapping[tuple[str, str], Event], deck: Deck) -> pd.DataFrame:
    """Return answers as the table that ``read_votes`` returns.

    Args:
        answers: of ``fold``.
        deck: the deck of the answers.
    """
    rows = []
    for (rater, name), event in answers.items():
        question = deck.question(name)
        picked = event["picked"]
        shown_at = None if picked is None else event["shown"].index(picked)
        about = question.kind, question.repeats, question.prompt
        when = event["seconds"], event["time"]
        rows.append((rater, name, *about, picked, shown_at, *when, tuple(event["shown"])))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kinds = {"picked": "Int64", "shown_at": "Int64", "seconds": "float64"}
    return table.astype(kinds)


def _all_events(file: Path) -> tuple[list[Event], bool]:
    """Return the events of all decks in a file, and whether the last line is cut off.

    Raises:
        Problem: if another line is damaged.
    """
    if not os.path.lexists(file):
        return [], False
    content = read_bytes(file)
    name = shown(file)
    whole, _, rest = content.rpartition(b"\n")
    events = []
    for number, line in enumerate(whole.split(b"\n"), 1):
        if line.strip():
            events.append(_event_in(line, f"line {number} of {name}"))
    if not rest.strip():
        return events, False
    try:
        last = _event_in(rest, f"the last line of {name}")
    except Problem:
        return events, True
    return [*events, last], False  # an editor that saved the file without the last line's end


def _event_in(line: bytes, name: str) -> Event:
    """Return the event of a line. Do not change the event: all readers of a line share it.

    Raises:
        Problem: if the line holds no event.
    """
    event, fault = _parsed(line)
    if fault:
        raise _no_event(f"The votes in {name} cannot be read.", fault)
    return event


@lru_cache(maxsize=REMEMBERED)
def _parsed(line: bytes) -> tuple[Event, str]:
    """Return the event of a line, and what is wrong with the line or an empty text.

    A server reads the whole file at each click of each rater, and nearly all lines are known.
    """
    try:
        event = parse_json(line, "an event")
    except Problem as problem:
        return {}, problem.found
    return event, _fault(event)


def _fault(event: Any) -> str:
    """Return what is wrong with an event, or an empty text."""
    if not isinstance(event, Mapping):
        return "no object"
    for name in ("time", "deck", "rater", "question"):
        if not is_text(event.get(name)):
            return f"{name} {event.get(name)!r:.60}"
    if event.get("event") not in (PICK, SKIP, UNDO):
        return f"event {event.get('event')!r:.60}"
    shown_order = event.get("shown")
    if not isinstance(shown_order, list) or not all(type(index) is int for index in shown_order):
        return f"shown {shown_order!r:.60}"
    seconds = event.get("seconds")
    if seconds is not None and type(seconds) not in (int, float):
        return f"seconds {seconds!r:.60}"
    picked = event.get("picked")
    if event["event"] == PICK:
        is_shown = type(picked) is int and picked in shown_order
        return "" if is_shown else f"picked {picked!r:.60}, of pictures {shown_order}"
    return "" if picked is None else f"picked {picked!r:.60} in an event {event['event']}"


def _check_fit(event: Event, counts: Mapping[str, int], file: Path) -> None:
    """Raise a Problem if an event does not fit the deck's questions.

    Args:
        event: an event of the deck.
        counts: the number of pictures of each question.
        file: the file of votes.
    """
    count = counts.get(event["question"])
    if count is None:
        fault = f"question {event['question']!r:.60}, which the deck does not have"
    elif sorted(event["shown"]) != list(range(count)):
        fault = f"pictures {event['shown']} of question {event['question']}, which has {count}"
    else:
        return
    raise _no_event(f"The votes in {shown(file)} do not fit the deck.", fault)


def _append_whole(file: Path, line: bytes) -> None:
    """Append a line with one call of the system; nothing is left of a line that does not fit.

    Raises:
        OSError: if the disk is full, or the file cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(file, flags, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, size)
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mend_end(file: Path) -> None:
    """Make a file end with a whole line, so that the next line does not join a piece of a line.

    A last line that a crash cut off is taken away; a line of text says so. A whole last line
    without an end gets its end.
    """
    if not os.path.exists(file):
        return
    content = file.read_bytes()
    if not content or content.endswith(b"\n"):
        return
    rest = content.rpartition(b"\n")[2]
    try:
        _event_in(rest, "the last line")
    except Problem:
        os.truncate(file, len(content) - len(rest))
        print(f"The last line of {shown(file)} was cut off by a crash; the line is taken away.")
        return
    _append_whole(file, b"\n")


def _no_event(what: str, fault: str) -> Problem:
    return Problem(
        what,
        expected="time, deck, rater, question, event, picked, shown and seconds of one answer",
        found=fault,
        cause="an edit by hand, a merge of two files, or a failing disk",
        fix="mend or delete the line, and keep a copy of the file",
    )


def _in_use(file: Path) -> Problem:
    return Problem(
        f"{shown(file)} is in use.",
        expected=f"other writers to let go within {PATIENCE:g} seconds",
        found="a process that holds the file",
        cause="a process that was stopped while it wrote (Ctrl+Z), or a very slow disk",
        fix="end the other kernel or server, then choose again",
    )
