"""Read a list inside a JSON file of any size, one entry at a time.

Python's own decoder reads each entry. We do not use ijson here: the process crashes on a number of
more than 4,300 digits (ijson 3.6, backend yajl2_c), and nested brackets take time that grows with
the square of their depth.
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
    """A text that is not the JSON that was expected; ``cut`` if the text ends too early."""

    def __init__(self, what: str, cut: bool = False):
        self.cut = cut
        super().__init__(what)


def entries(file: BinaryIO, name: str) -> Iterator[Any]:
    """Yield the entries of a list that stands in the object at the top level of a JSON file.

    Args:
        file: in UTF-8, with or without byte order mark, read from its present place.
        name: the list's key.

    Raises:
        Damaged: if the file is no JSON object, has no such list, or ends early.
    """
    stream = _Stream(file)
    found = False
    stream.take("{")
    closed = stream.peek() == "}" and stream.take("}")
    while not closed:
        key = stream.value()
        stream.take(":")
        if key == name and stream.peek() == "[":
            found = True
            yield from stream.items()
        else:
            stream.value()
        closed = stream.take(",}") == "}"
    if not found:
        raise Damaged(f"no list named {name}")
    if stream.peek():
        raise Damaged("more text behind the end of the JSON")


class _Stream:
    """A text of which little more than the value at hand is in memory."""

    def __init__(self, file: BinaryIO):
        self.text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self.buffer, self.place, self.ended = "", 0, False

    def peek(self) -> str:
        """Return the next character that is no space, ``""`` at the end."""
        while True:
            self.place = SPACES.match(self.buffer, self.place).end()
            if self.place < len(self.buffer):
                return self.buffer[self.place]
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
        self.place += 1
        return character

    def items(self) -> Iterator[Any]:
        """Yield the entries of the list that begins here, and pass the list."""
        self.take("[")
        closed = self.peek() == "]" and self.take("]")
        while not closed:
            yield self.value()
            closed = self.take(",]") == "]"

    def value(self) -> Any:
        """Return the value that begins here, and pass it. More is read until the value is whole."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.buffer, self.place)
                # "0." may go on as "0.5", which the decoder took for 0.
                stop = (
                    NUMBER.match(self.buffer, end).end() if isinstance(value, int | float) else end
                )
                if stop < len(self.buffer) or isinstance(value, str | list | dict):
                    self.place = end
                    return value
                if self.ended:
                    raise Damaged("the text ends", cut=True)
            except Damaged:
                raise
            except json.JSONDecodeError as error:
                self._refuse_if_hopeless(error)
            except RecursionError as error:
                raise Damaged("brackets nested too deeply") from error
            except ValueError as error:  # the only other one that Python's decoder raises
                raise Damaged("a number with too many digits") from error
            self._read_on()

    def _refuse_if_hopeless(self, error: json.JSONDecodeError) -> None:
        if len(self.buffer) - self.place > LARGEST_ENTRY:
            raise Damaged(
                f"{error.msg}, or an entry of more than {LARGEST_ENTRY:,} characters"
            ) from error
        if self.ended:
            cut = "Unterminated" in error.msg or BEGUN.fullmatch(self.buffer, error.pos) is not None
            raise Damaged("the text ends" if cut else error.msg, cut) from error

    def _read_on(self) -> None:
        """Drop what was read, and double the rest, so that long values take linear time."""
        try:
            piece = self.text.read(max(CHUNK, len(self.buffer) - self.place))
        except UnicodeDecodeError as error:
            cut = "unexpected end" in error.reason
            raise Damaged(
                "the text ends" if cut else f"bytes that are not UTF-8 ({error.reason})", cut
            ) from error
        self.buffer = self.buffer[self.place :] + piece
        self.place = 0
        self.ended = not piece
