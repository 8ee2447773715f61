"""Privacy: users are known by keyed hashes only, and prompts with persons' names are flagged.

Anybody can try all Discord ids, so a hash without a secret would hide nobody.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.intervals import wilson
from alignsd.base.paths import shown, user_path
from alignsd.base.reading import read_text
from alignsd.kit.entries import read_entries

KEY_FILE = "user.key"
SHORTEST_KEY = 16  # characters


@dataclass(frozen=True)
class HiddenUser:
    """A user of a channel. The id never leaves this object; ``hash`` stands for the id."""

    id: str = field(repr=False)
    folder: Path

    def hash(self) -> str:
        """Return 64 hex digits that stand for the user.

        The first call makes ``user.key`` beside the export.

        Raises:
            Problem: if the key can be neither read nor made.
        """
        return hash_user(self.id, user_key(self.folder))


def hash_user(user: str, key: bytes) -> str:
    """Return 64 hex digits that stand for a user: HMAC-SHA-256, which cannot be reversed.

    The same user and key give the same digits.
    """
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()


def user_key(folder: Path) -> bytes:
    """Return the secret that keys the users' hashes: ``user.key`` beside the export.

    If there is no key, a key is drawn at random and written. The key lies with the export, which
    holds the ids themselves: keep both to yourself, and share only the data set.

    Raises:
        Problem: if the key can be neither read nor written, or has fewer than 16 characters.
    """
    path = Path(folder) / KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        key = read_text(path).strip()
    except (OSError, ValueError, Problem) as error:
        raise Problem(
            "The key that hides the users could not be read or made.",
            expected=f"a file {KEY_FILE} in {shown(path.parent)}",
            found=error.found if isinstance(error, Problem) else str(error),
            cause="the folder is missing or read-only, or the file is no key",
            fix=f"copy {shown(path.parent)} to a folder of yours, and name the copy",
        ) from error
    if len(key) < SHORTEST_KEY:
        raise Problem(
            "The key that hides the users is too short.",
            expected=f"at least {SHORTEST_KEY} characters",
            found=f"{len(key)}",
            cause=f"{KEY_FILE} was cut short",
            fix=f"delete {KEY_FILE}: a new key is drawn, and all hashes change",
        )
    return key.encode()


def read_names(source: str) -> list[str]:
    """Return persons' names from a text file with a name per line; no name for ``""``.

    A list of texts in JSON is read too.

    Raises:
        Problem: if the file cannot be read, is a table, or holds no name.
    """
    if not source:
        return []
    fix = '--set names_file=FILE; "" flags no prompt'
    names = read_entries(user_path(source), "The list of names", "name", fix)
    if not names:
        raise Problem(
            "The list of names is empty.",
            expected="a text file with one name per line",
            found=f"no name in {source}",
            cause="another file, or an interrupted copy",
            fix=fix,
        )
    return names


def name_finder(names: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that says whether a prompt holds any of the names.

    A prompt holds a name if the prompt has all words of the name, in sequence. Words are runs of
    letters and digits in lower case, so that ``O'Neill`` is two words, and ``Jean-Luc`` is found in
    ``jean luc``. A name without such a word is in no prompt. How the paper found names is not
    known.
    """
    words_of_names = [_words(name) for name in names]
    wanted = [words for words in words_of_names if words.strip()]

    def holds_a_name(prompt: str) -> bool:
        words = _words(prompt)
        return any(name in words for name in wanted)

    return holds_a_name


def name_quality(choices: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Measure how well a list of names flags prompts, against the flags of a release.

    Args:
        choices: from ``hpd.read_choices``, of a release whose ``contain_name`` does not come from
            this list.
        names: from ``read_names``.

    Returns:
        Index ``measure``: ``precision``, the share of the prompts flagged by the list that the
        release flags too, and ``recall``, the share of the prompts flagged by the release that the
        list flags too; ``value`` (0-1; NaN if n is 0), ``low``, ``high`` (Wilson's 95 %), ``n``.

    Raises:
        Problem: if a choice does not say whether the prompt holds a name.
    """
    unknown = int(choices["contain_name"].isna().sum())
    if unknown:
        raise Problem(
            "The list of names cannot be compared with the release.",
            expected="contain_name, true or false, in every row",
            found=f"{unknown:,} of {len(choices):,} rows without",
            cause="the choices come from a source that does not flag names",
            fix="compare with the released HPD v1",
        )
    theirs = choices["contain_name"].to_numpy(dtype=bool)
    ours = choices["prompt"].map(name_finder(names)).to_numpy(dtype=bool)
    hits = int((ours & theirs).sum())
    rows = []
    for measure, flags in (("precision", ours), ("recall", theirs)):
        n = int(flags.sum())
        value = hits / n if n else float("nan")
        rows.append((measure, value, *wilson(hits, n), n))
    columns = ["measure", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns).set_index("measure")


def _make_key(path: Path) -> None:
    """Write a new key, unless another process has made a key meanwhile."""
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))


def _words(text: str) -> str:
    """Return the words of a text, each between two spaces."""
    return " ".join(["", *re.findall(r"\w+", text.lower()), ""])
