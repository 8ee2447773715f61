"""Your own choices as HPD v1: from a table of prompts, images and which one was chosen."""

from collections import Counter
from pathlib import Path

import pandas as pd

from alignsd import hpd
from alignsd.choices import Choice
from alignsd.discord import File, hash_user, user_key
from alignsd.errors import Problem
from alignsd.splits import split_by_prompt, split_random

READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False)}
COLUMNS = ("prompt", "images", "choice")


def import_choices(table: pd.DataFrame, images: Path, out: Path, test_share: float = 0.2, seed: int = 0) -> Counter:
    """Writes a table of choices as an HPD v1 folder, which notebook 02 takes as its parameter ``data``.

    Args:
        table: ``prompt``; ``images``, two to four file names below ``images``, as a list or separated by ``;``; ``choice``, the
            index of the chosen one, from 0, or its file name; and, if known, ``user``, of which only a hash is written, keyed by
            ``user.key`` beside the images.
        images: the images' folder.
        out: the data set's folder.
        test_share: share of the choices that go to the test part.
        seed: of the split.

    Returns:
        How many choices were written (``"choices"``), and how many were left out for which reason.

    Raises:
        Problem: if a column is missing, or too few choices are left for two parts.
    """
    if absent := [name for name in COLUMNS if name not in table]:
        raise Problem("The table of choices lacks a column.", expected=", ".join(COLUMNS),
                      found=", ".join(map(str, table.columns)), cause=f"no {absent[0]}", fix="rename the column")
    key = user_key(images) if "user" in table else b""
    choices, left = [], Counter()
    for row in table.to_dict("records"):
        found = _choice(row, images, key)
        if isinstance(found, Choice):
            choices.append(found)
        else:
            left[found] += 1
    rows, _, unread = hpd.write_pictures(choices, out)
    for split, divide in (("random", split_random), ("grouped", split_by_prompt)):
        for part, some in zip(("train", "test"), divide(rows, test_share, seed), strict=True):
            hpd.write_choices(some, out, part, split)
    return Counter(choices=len(rows)) + left + unread


def read_table(path: Path) -> pd.DataFrame:
    """Reads a table of choices from ``.csv``, ``.jsonl`` or ``.parquet``.

    Raises:
        Problem: if the file is of another kind or cannot be read.
    """
    try:
        return READERS[path.suffix](path)
    except KeyError:
        found = f"a {path.suffix or 'nameless'} file"
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
    raise Problem(f"{path.name} cannot be read as a table.", expected="one of " + ", ".join(READERS), found=found,
                  cause="another format, or a damaged file", fix="see docs/data_formats.md for an example")


def _choice(row: dict, folder: Path, key: bytes) -> Choice | str:
    """Returns a row as a choice, or why it is none."""
    names, prompt, choice = row["images"], row["prompt"], row["choice"]
    names = names.split(";") if isinstance(names, str) else list(names) if hasattr(names, "__len__") else []
    names = [str(name).strip() for name in names]
    if not isinstance(prompt, str) or not prompt.strip():
        return "no prompt"
    if not 2 <= len(names) <= 4:
        return "not two to four images"
    if str(choice).strip() in names:
        chosen = names.index(str(choice).strip())
    else:
        try:
            chosen = int(choice)
        except (TypeError, ValueError):
            chosen = -1
    if not 0 <= chosen < len(names):
        return "the choice is none of the images"
    user = hash_user(str(row["user"]), key) if key else ""
    return Choice("", user, " ".join(prompt.split()), tuple(File(name, name) for name in names), chosen, folder)
