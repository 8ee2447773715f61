"""The names under which people rate: one browser per name, known by a secret token.

A name belongs to the browser that first takes the name. The browser keeps a token in a cookie; the
file beside the votes keeps the token's hash alone, so that the file opens nothing.
"""

import hashlib
import hmac
import secrets
import unicodedata
from pathlib import Path
from typing import Any

from filelock import FileLock

from alignsd.base.atomic import made, write_json
from alignsd.base.reading import read_json

LONGEST = 40  # characters
MOST = 1000  # names: a page that is open to a network must not fill the disk
RESERVED = ("you",)  # the rater of the notebooks
RULE = f"1 to {LONGEST} letters, digits, - or _, beginning with a letter or a digit"


class BadName(ValueError):
    """A name that nobody can rate under; the text says why."""


class Taken(Exception):
    """A name that belongs to another browser."""


def checked_name(text: str) -> str:
    """Return a rater's name in one spelling, without spaces around the name.

    Letters of all scripts count, with their marks. Devices spell an accented letter in two ways;
    the name has the composed letter.

    Raises:
        BadName: if the name is empty, too long, reserved, or holds other characters.
    """
    name = unicodedata.normalize("NFC", text.strip())
    is_known = all(_is_part_of_a_name(character) for character in name)
    if not 1 <= len(name) <= LONGEST or not is_known or not name[0].isalnum():
        raise BadName(f"A name has {RULE}.")
    if name.casefold() in RESERVED:
        raise BadName(f"The name {name} belongs to the notebooks. Please choose another name.")
    return name


def _is_part_of_a_name(character: str) -> bool:
    return character in "-_" or unicodedata.category(character)[0] in "LM" or character.isdecimal()


class Names:
    """The names in use, in a small file; every call reads the file anew.

    Args:
        file: the JSON file, ``<deck>.raters.json`` beside the votes.
    """

    def __init__(self, file: Path):
        self._file = Path(file)

    def spelling(self, name: str) -> str | None:
        """Return a name as it was first typed, whatever its capitals; None if nobody has it."""
        entry = self._entries().get(name.casefold())
        return None if entry is None else str(entry["name"])

    def is_owner(self, name: str, token: str | None) -> bool:
        """Return whether a browser's token is the token of a name."""
        entry = self._entries().get(name.casefold())
        if entry is None or not token:
            return False
        return hmac.compare_digest(str(entry["token"]), _hashed(token))

    def claim(self, name: str) -> str:
        """Take a name and return its secret token.

        Raises:
            Taken: if the name is in use.
            BadName: if a thousand names are in use.
            Problem: if the file cannot be read or written.
        """
        token = secrets.token_urlsafe(32)
        with self._held():
            entries = self._entries()
            if name.casefold() in entries:
                raise Taken(name)
            if len(entries) >= MOST:
                raise BadName(f"{MOST:,} names are in use, and there can be no more.")
            entries[name.casefold()] = {"name": name, "token": _hashed(token)}
            write_json(self._file, {"raters": entries})
        return token

    def free(self, name: str) -> bool:
        """Let another browser take a name, and go on with its votes; False if nobody has it."""
        with self._held():
            entries = self._entries()
            entry = entries.pop(name.casefold(), None)
            if entry is not None:
                write_json(self._file, {"raters": entries})
        return entry is not None

    def _held(self) -> FileLock:
        """Return the lock under which this process alone changes the file."""
        made(self._file.parent)
        return FileLock(self._file.with_name(f".{self._file.name}.lock"), timeout=20)

    def _entries(self) -> dict[str, dict[str, Any]]:
        if not self._file.exists():
            return {}
        return dict(read_json(self._file)["raters"])


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
