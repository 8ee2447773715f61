"""Read a list inside a JSON file of any size, one entry at a time.

Python's own decoder reads each entry. We do not use ijson here: the process crashes on a number of
more than 4,300 digits (ijson 3.6, backend yajl2_c), and nested brackets take time that grows with
the square of the depth.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

CHUNK = 2**16  # characters read at a time
LARGEST_ENTRY = 2**26  # characters; a message of Discord has a few thousand
SPACES = re.compile(r"[ \t\r\n]*")
NUMBER = re.compile(r"[-+.eE0-9]*")
# What a file that was cut may end in: spaces, a part of a word or of an escape, a sign.
BEGUN = re.compile(r"\s*|t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\\?u?[0-9a-fA-F]{0,4}")
DECODER = json.JSONDecoder()


class Damaged(ValueError):
    """A text is not the JSON that was expected.

    Args:
        what: the fault in words.
        cut: whether the text ends too early.
    """

    def __init__(self, what: str, cut: bool = False) -> None:
        self.cut = cut
        super().__init__(what)


def entries(file: BinaryIO, name: str) -> Iterator[Any]:
    """Yield the entries of a list that stands in the object at the top level of a JSON file.

    Args:
        file: in UTF-8, with or without byte order mark, read from the present place.
        name: the list's key.

    Raises:
        Damaged: if the file is no JSON object, has no such list, or ends early.
    """
    stream = _Stream(file)
    has_list = False
    stream.take("{")
    closed = stream.closes_with("}")
    while not closed:
        key = stream.value()
        stream.take(":")
        if key == name and stream.peek() == "[":
            has_list = True
            yield from stream.items()
        else:
            stream.value()
        closed = stream.take(",}") == "}"
    if not has_list:
        raise Damaged(f"no list named {name}")
    if stream.peek():
        raise Damaged("more text behind the end of the JSON")


class _Stream:
    """A text of which little more than the value at hand is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self.buffer = ""
        self.position = 0
        self.ended = False

    def peek(self) -> str:
        """Return the next character that is no space, ``""`` at the end."""
        while True:
            self.position = _end_of(SPACES, self.buffer, self.position)
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if self.ended:
                return ""
            self._read_on()

    def take(self, expected: str) -> str:
        """Pass one of the characters ``expected`` and return it."""
        character = self.peek()
        if not character:
            raise Damaged("the text ends", cut=True)
        if character not in expected:
            raise Damaged(f"{character!r} where {' or '.join(expected)} was expected")
        self.position += 1
        return character

    def closes_with(self, bracket: str) -> bool:
        """Pass a closing bracket and return True, or return False if another character is next."""
        if self.peek() != bracket:
            return False
        self.take(bracket)
        return True

    def items(self) -> Iterator[Any]:
        """Yield the entries of the list that begins here, and pass the list."""
        self.take("[")
        closed = self.closes_with("]")
        while not closed:
            yield self.value()
            closed = self.take(",]") == "]"

    def value(self) -> Any:
        """Return the value that begins here, and pass the value; read until the value is whole."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.buffer, self.position)
            except json.JSONDecodeError as error:
                self._refuse_if_hopeless(error)
            except RecursionError as error:
                raise Damaged("brackets nested too deeply") from error
            except ValueError as error:  # the only other error that Python's decoder raises
                raise Damaged("a number with too many digits") from error
            else:
                if self._is_whole(value, end):
                    self.position = end
                    return value
                if self.ended:
                    raise Damaged("the text ends", cut=True)
            self._read_on()

    def _is_whole(self, value: Any, end: int) -> bool:
        """Return whether no text that is still to come can change a value that ends at ``end``."""
        if isinstance(value, str | list | dict):
            return True
        # "0." may go on as "0.5"; the decoder took "0." for 0.
        is_number = isinstance(value, int | float)
        stop = _end_of(NUMBER, self.buffer, end) if is_number else end
        return stop < len(self.buffer)

    def _refuse_if_hopeless(self, error: json.JSONDecodeError) -> None:
        if len(self.buffer) - self.position > LARGEST_ENTRY:
            fault = f"{error.msg}, or an entry of more than {LARGEST_ENTRY:,} characters"
            raise Damaged(fault) from error
        if not self.ended:
            return
        may_go_on = BEGUN.fullmatch(self.buffer, error.pos) is not None
        if may_go_on or "Unterminated" in error.msg:
            raise Damaged("the text ends", cut=True) from error
        raise Damaged(error.msg) from error

    def _read_on(self) -> None:
        """Drop what was read, and double the rest, so that long values take linear time."""
        try:
            piece = self.text.read(max(CHUNK, len(self.buffer) - self.position))
        except UnicodeDecodeError as error:
            if "unexpected end" in error.reason:
                raise Damaged("the text ends", cut=True) from error
            raise Damaged(f"bytes that are not UTF-8 ({error.reason})") from error
        self.buffer = self.buffer[self.position :] + piece
        self.position = 0
        self.ended = not piece


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return where the longest match of a pattern at ``start`` ends; ``start`` if there is none."""
    match = pattern.match(text, start)
    return match.end() if match else start
