"""Write and read the paper's data set in the released layout, HPD v1 (section 3 of the paper).

A folder holds ``preference_images/{id}_{i}.jpg`` and a JSON list of choices per part:
``preference_train.json`` and ``preference_test.json`` as released, and the same two with
``_grouped``, where no prompt is in both parts. ``hpd_checks`` checks every row that is read.
"""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, save_jpeg
from alignsd.base.intervals import wilson
from alignsd.base.paths import shown
from alignsd.base.processes import first_does, gathered, share
from alignsd.base.progress import track
from alignsd.base.reading import is_text, read_json
from alignsd.collect import hpd_v2
from alignsd.collect.choices import Choice
from alignsd.collect.grids import picture
from alignsd.collect.hpd_checks import KEYS, Incomplete, faulty, is_picture, validate
from alignsd.collect.privacy import name_finder
from alignsd.collect.splits import split_by_prompt

SUFFIX = {"random": "", "grouped": "_grouped"}
ORIGIN = ["id", "message_id", "file_names"]
KINDS = {dict: "an object", str: "text", bool: "true or false", type(None): "null"}


def write_pictures(
    choices: Sequence[Choice], folder: Path, names: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, Counter[str]]:
    """Copy each choice's pictures to ``preference_images/`` as JPEG (quality 95, 4:4:4).

    A choice's ``id`` is the position in ``choices``. If a picture of a choice cannot be read, the
    whole choice is left out: we would not know what the person chose among. Several processes
    divide the choices.

    Args:
        choices: from ``channel.parse``.
        folder: the data set's folder.
        names: persons' names; a prompt with any of these names is flagged ``contain_name``.

    Returns:
        The choices with HPD's six keys as columns; their origin ``id``, ``message_id``,
        ``file_names``; and what was left out (reason -> count).
    """

    # One process alone reads the key that hides the users, or makes the key.
    users = first_does(lambda: [choice.user for choice in choices])

    def copy(number: int) -> str | None:
        return _copy_pictures(number, choices[number], folder)

    own = share(range(len(choices)))
    with ThreadPoolExecutor(max_workers=8) as pool:  # decoding releases the interpreter lock
        copied = pool.map(copy, own)
        bar = track(copied, total=len(own), what="copying pictures", unit="choice")
        reasons = gathered(list(bar))
    rows = []
    origin = []
    left: Counter[str] = Counter()
    has_name = name_finder(names)
    for number, reason in enumerate(reasons):
        if reason:
            left[reason] += 1
            continue
        choice = choices[number]
        count = len(choice.files)
        rows.append(
            {
                "human_preference": choice.chosen,
                "prompt": choice.prompt,
                "id": number,
                "file_path": [image_path(number, index) for index in range(count)],
                "user_hash": users[number],
                "contain_name": has_name(choice.prompt),
            }
        )
        origin.append((number, choice.message_id, [file.name for file in choice.files]))
    return pd.DataFrame(rows, columns=list(KEYS)), pd.DataFrame(origin, columns=ORIGIN), left


def image_path(choice: int, index: int) -> str:
    """Return where the release keeps picture ``index`` of a choice, relative to the data set."""
    return f"preference_images/{choice}_{index}.jpg"


def write_choices(choices: pd.DataFrame, folder: Path, part: str, split: str = "random") -> Path:
    """Write a part as released, a JSON list with six keys per choice, and return the path."""
    path = folder / f"preference_{part}{SUFFIX[split]}.json"
    write_json(path, choices[list(KEYS)].to_dict("records"))
    return path


def read_choices(
    folder: Path, part: str, split: str = "random", needed: bool = True
) -> pd.DataFrame:
    """Read a part of an HPD v1 folder, released or our own, or of HPD v2, and check all rows.

    Args:
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.
        split: ``"random"``, as in the paper, or ``"grouped"``, where no prompt is in both parts.
            The releases have no grouped split, so the split is made of both released parts, always
            in the same way.
        needed: if False, a part whose file or pictures are missing gives a table without rows, and
            a line of text says why. Nobody needs the train part to evaluate released weights.

    Returns:
        One row per choice: ``human_preference`` (index), ``prompt``, ``id``, ``file_path`` (list,
        relative to ``folder``), ``user_hash`` (``""`` if not known), ``contain_name`` (None if not
        known).

    Raises:
        Incomplete: if the part's file or some of the pictures are missing; says how many.
        Problem: if the file is damaged or empty, or any row has a fault; says how many and lists
            the first.
    """
    if part not in ("train", "test") or split not in SUFFIX:
        raise Problem(
            "There is no such part of the data set.",
            expected="part train or test, split random or grouped",
            found=f"part {part!r}, split {split!r}",
            cause="a misspelt parameter",
            fix="--set split=random, or --set split=grouped",
        )
    try:
        return _read_part(Path(folder), part, split)
    except Incomplete as problem:
        if needed:
            raise
        print(f"The {part} part is left aside. {problem.what} {problem.found}")
        return pd.DataFrame(columns=list(KEYS))


def positions(choices: pd.DataFrame, images: int = 4) -> pd.DataFrame:
    """Return how often each position is chosen, among the choices of ``images`` pictures.

    Args:
        choices: ``human_preference`` (index), ``file_path`` (list).
        images: pictures per choice; choices of other sizes do not count.

    Returns:
        ``position`` (from 1), ``share`` (0-1), ``low``, ``high`` (Wilson's 95 %), ``n`` (choices).
    """
    chosen = choices.loc[choices["file_path"].map(len) == images, "human_preference"]
    n = len(chosen)
    rows = []
    for index in range(images):
        count = int((chosen == index).sum())
        rows.append((index + 1, count / max(n, 1), *wilson(count, n), n))
    return pd.DataFrame(rows, columns=["position", "share", "low", "high", "n"])


def _copy_pictures(number: int, choice: Choice, folder: Path) -> str | None:
    """Copy a choice's pictures, all or none; return why copying failed."""
    try:
        pictures = [picture(file) for file in choice.files]
    except BadImage as error:
        return error.reason
    for index, pixels in enumerate(pictures):
        save_jpeg(folder / image_path(number, index), pixels)
    return None


def _read_part(folder: Path, part: str, split: str) -> pd.DataFrame:
    path = folder / f"preference_{part}{SUFFIX[split]}.json"
    if split == "grouped" and not os.path.exists(path):
        random_parts = [_random_path(folder, name) for name in ("train", "test")]
        if all(os.path.exists(random_part) for random_part in random_parts):
            return _regrouped(folder, part)
    elif not os.path.exists(path):
        path = _random_path(folder, part)
    records = [_with_slashes(record, path.parent) for record in _read_list(path)]
    if path.name == f"{part}.json":
        rows, faults = hpd_v2.as_v1(records, folder, part)
    else:
        rows, faults = records, validate(records, folder)
    if faults:
        raise faulty(path, records, faults)
    return pd.DataFrame([_with_optional_keys(row) for row in rows], columns=list(KEYS))


def _random_path(folder: Path, part: str) -> Path:
    """Return where a part of the random split lies: in HPD v1's file, or in HPD v2's."""
    v1 = folder / f"preference_{part}.json"
    v2 = folder / f"{part}.json"
    return v2 if os.path.isfile(v2) and not os.path.exists(v1) else v1


def _regrouped(folder: Path, part: str) -> pd.DataFrame:
    """Return a part of the grouped split of a release without such a split.

    Both random parts are joined, and split again by prompt.
    """
    train = read_choices(folder, "train")
    test = read_choices(folder, "test")
    both = pd.concat([train, test], ignore_index=True)
    twice = both["id"][both["id"].duplicated()]
    if len(twice):
        raise Problem(
            "The two parts cannot be joined to be split by prompt.",
            expected="ids that are used once in train and test together",
            found=f"{len(twice):,} ids in both parts, such as {twice.iloc[0]}",
            cause="the parts are of two data sets, or one part was copied onto the other",
            fix="--set split=random, or unpack the release again",
        )
    grouped_train, grouped_test = split_by_prompt(both, len(test) / len(both), seed=0)
    return grouped_train if part == "train" else grouped_test


def _read_list(path: Path) -> list[Any]:
    """Return the rows of a part's file; there must be a row."""
    what = f"The choices in {path.name} cannot be read."
    expected = f"a JSON list of choices at {shown(path)}"
    again = "collect the choices again, or unpack the release again"
    if not os.path.isdir(path.parent):
        raise Incomplete(
            what,
            expected=expected,
            found=f"no folder {shown(path.parent)}",
            cause="a misspelt folder, or a data set that was not unpacked there",
            fix="--set data=FOLDER, or unpack the release there",
        )
    if not os.path.lexists(path):
        is_grouped = path.stem.endswith("_grouped")
        raise Incomplete(
            what,
            expected=expected,
            found="no such file, and not both random parts to make the file of"
            if is_grouped
            else "no such file",
            cause="another folder was given, or only a part of the data set was fetched",
            fix=again,
        )
    try:
        records = read_json(path)
    except Problem as problem:
        raise Problem(
            what,
            expected=expected,
            found=f"{problem.what} {problem.found} ({problem.expected} expected)",
            cause=problem.cause,
            fix=f"{again}; or {problem.fix}",
        ) from problem
    if isinstance(records, list) and records:
        return records
    is_empty = isinstance(records, list)
    kind = KINDS.get(type(records), "a number")
    raise Problem(
        what,
        expected=expected,
        found="an empty list, no choice" if is_empty else f"JSON, but {kind}",
        cause="a data set from which everything was left out" if is_empty else "another file",
        fix=again,
    )


def _with_slashes(record: Any, folder: Path) -> Any:
    """Return a row whose pictures have this system's names: Windows writes ``folder\\a.jpg``."""
    if not isinstance(record, dict):
        return record
    changed = {}
    for key in ("file_path", "image_path"):
        names = record.get(key)
        if isinstance(names, list) and any(is_text(name) and "\\" in name for name in names):
            changed[key] = [_with_slash(name, folder) for name in names]
    return record | changed if changed else record


def _with_slash(name: Any, folder: Path) -> Any:
    """Return a picture's name with slashes, unless a file has the name with back-slashes."""
    if not is_text(name) or is_picture(folder, name):
        return name
    return name.replace("\\", "/")


def _with_optional_keys(row: dict[str, Any]) -> dict[str, Any]:
    """Return a checked row with the keys that no computation needs, empty where not known."""
    user, has_name = row.get("user_hash"), row.get("contain_name")
    if isinstance(has_name, bool) and is_text(user):
        return row
    return row | {
        "user_hash": user if is_text(user) else "",
        "contain_name": has_name if isinstance(has_name, bool) else None,
    }
