"""The paper's data set in its own layout, HPD v1 (section 3 of the paper): written, read, checked.

A folder holds ``preference_images/{id}_{i}.jpg`` and one JSON list of choices per part: ``preference_train.json`` and
``preference_test.json`` as released, and the same two with ``_grouped``, where no prompt stands in both.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from alignsd import hpd_v2
from alignsd.atomic import write_json
from alignsd.choices import Choice
from alignsd.errors import Problem
from alignsd.grids import picture
from alignsd.images import BadImage, save_jpeg
from alignsd.intervals import wilson
from alignsd.paths import shown, user_path
from alignsd.progress import track
from alignsd.splits import split_by_prompt

KEYS = {"human_preference": int, "prompt": str, "id": int, "file_path": list, "user_hash": str, "contain_name": bool}
SUFFIX = {"random": "", "grouped": "_grouped"}
SHOWN = 3  # faults that a message lists


def write_pictures(choices: Sequence[Choice], folder: Path, names: Sequence[str] = (),
                   ) -> tuple[pd.DataFrame, pd.DataFrame, Counter]:
    """Copies each choice's pictures to ``preference_images/`` as JPEG (quality 95, 4:4:4).

    A choice's ``id`` is its number in ``choices``; a choice with a picture that cannot be read is left out whole, since
    without it we would not know what the person chose among.

    Args:
        choices: from ``choices.parse``.
        folder: the data set's folder.
        names: persons' names; a prompt with one of them is flagged ``contain_name``.

    Returns:
        The choices with HPD's six keys as columns; their origin ``id``, ``message_id``, ``file_names``; and what was left
        out (reason -> count).
    """
    rows, origin, left, has_name = [], [], Counter(), name_finder(names)
    with ThreadPoolExecutor(max_workers=8) as pool:  # decoding releases the interpreter lock
        reasons = pool.map(lambda pair: _copy(*pair, folder), enumerate(choices))
        bar = track(reasons, total=len(choices), what="copying pictures", unit="choice")
        for number, (choice, reason) in enumerate(zip(choices, bar, strict=True)):
            if reason:
                left[reason] += 1
                continue
            rows.append({"human_preference": choice.chosen, "prompt": choice.prompt, "id": number,
                         "file_path": [image_path(number, i) for i in range(len(choice.files))], "user_hash": choice.user,
                         "contain_name": has_name(choice.prompt)})
            origin.append((number, choice.message_id, [file.name for file in choice.files]))
    return pd.DataFrame(rows, columns=list(KEYS)), pd.DataFrame(origin, columns=["id", "message_id", "file_names"]), left


def read_names(source: str) -> list[str]:
    """Returns persons' names from a text file with one per line; none for ``""``.

    Raises:
        Problem: if the file cannot be read.
    """
    if not source:
        return []
    try:
        return [line.strip() for line in user_path(source).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("The list of names cannot be read.", expected="a text file with one name per line", found=str(error),
                      cause="a misspelt path", fix='set the parameter names_file; "" flags no prompt') from error


def name_finder(names: Sequence[str]) -> Callable[[str], bool]:
    """Returns what says whether a prompt has one of the names: all its words, one after the other.

    Words are runs of letters and digits in lower case, so that ``O'Neill`` is two, and ``Jean-Luc`` is found in ``jean luc``.
    A name that has no such word is in no prompt. How the paper found names is not known.
    """
    wanted = [words for name in names if (words := _words(name)).strip()]

    def found(prompt: str) -> bool:
        words = _words(prompt)
        return any(name in words for name in wanted)

    return found


def _words(text: str) -> str:
    return " ".join(["", *re.findall(r"\w+", text.lower()), ""])


def name_quality(choices: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Measures how well a list of names flags prompts, against the flags of the choices themselves.

    Args:
        choices: from ``read_choices``, of a release whose ``contain_name`` does not come from this list.
        names: from ``read_names``.

    Returns:
        Index ``measure``: ``precision``, the share of the prompts flagged by the list that the release flags too, and ``recall``,
        the share of the release's that the list flags; ``value`` (0-1; NaN if n is 0), ``low``, ``high`` (Wilson's 95 %), ``n``.
    """
    theirs = choices["contain_name"].to_numpy(dtype=bool)
    ours = choices["prompt"].map(name_finder(names)).to_numpy(dtype=bool)
    hits = int((ours & theirs).sum())
    counts = {"precision": int(ours.sum()), "recall": int(theirs.sum())}
    rows = [(measure, hits / n if n else float("nan"), *wilson(hits, n), n) for measure, n in counts.items()]
    return pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n"]).set_index("measure")


def image_path(choice: int, index: int) -> str:
    """Returns where the release keeps picture ``index`` of a choice, relative to the data set's folder."""
    return f"preference_images/{choice}_{index}.jpg"


def write_choices(choices: pd.DataFrame, folder: Path, part: str, split: str = "random") -> Path:
    """Writes one part as the release does: a JSON list with six keys per choice. Returns its path."""
    path = folder / f"preference_{part}{SUFFIX[split]}.json"
    write_json(path, choices[list(KEYS)].to_dict("records"))
    return path


def read_choices(folder: Path, part: str, split: str = "random") -> pd.DataFrame:
    """Reads one part of an HPD v1 folder, the released one or ours, or of HPD v2, and checks every row.

    Args:
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.
        split: ``"random"``, as in the paper, or ``"grouped"``, where no prompt stands in both parts; the releases have no
            such split, so it is made of both their parts, always the same way.

    Returns:
        One row per choice: ``human_preference`` (index), ``prompt``, ``id``, ``file_path`` (list, relative to ``folder``),
        ``user_hash``, ``contain_name``.

    Raises:
        Problem: if the file is missing or damaged, or any row has a fault; says how many and lists the first.
    """
    if part not in ("train", "test") or split not in SUFFIX:
        raise Problem("There is no such part of the data set.", expected="part train or test, split random or grouped",
                      found=f"part {part!r}, split {split!r}", cause="a misspelt parameter",
                      fix="set the parameter split to random or grouped")
    path = folder / f"preference_{part}{SUFFIX[split]}.json"
    if split == "grouped" and not path.exists() and all(_random_path(folder, name).exists() for name in ("train", "test")):
        return _regrouped(folder, part)
    if not path.exists() and (folder / f"{part}.json").is_file():
        path = folder / f"{part}.json"
    records = _read_list(path)
    if path.name == f"{part}.json":
        rows, faults = hpd_v2.as_v1(records, folder, part)
    else:
        rows, faults = records, validate(records, folder)
    if faults:
        first = "; ".join(f"row {row}: {fault}" for row, fault in faults[:SHOWN])
        faulty = len({row for row, _ in faults})
        raise Problem(f"{path.name} has {faulty} faulty rows of {len(records)}.", found=first + " ..." * (len(faults) > SHOWN),
                      expected="the keys of HPD v1 or v2, pictures that exist, one of them chosen, ids used once",
                      cause="the download or the copy was interrupted, or the file was edited",
                      fix="make the data set again with notebook 01, or unpack the release again")
    return pd.DataFrame(rows, columns=list(KEYS))


def _random_path(folder: Path, part: str) -> Path:
    v1 = folder / f"preference_{part}.json"
    return v1 if v1.exists() else folder / f"{part}.json"


def _regrouped(folder: Path, part: str) -> pd.DataFrame:
    """Returns one part of a grouped split of a release that has none: both parts joined, and split anew by prompt."""
    parts = [read_choices(folder, name) for name in ("train", "test")]
    both = pd.concat(parts, ignore_index=True)
    train, test = split_by_prompt(both, len(parts[1]) / len(both), seed=0)
    return train if part == "train" else test


def validate(records: Sequence[Any], folder: Path) -> list[tuple[int, str]]:
    """Returns the faults of an HPD v1 list as ``(row, fault)``: types, pictures, index and ids; empty if there are none."""
    seen: dict[int, int] = {}
    faults = []
    for row, record in enumerate(records):
        fault = _fault(record, folder)
        if fault is None and record["id"] in seen:
            fault = f"id {record['id']} stands in row {seen[record['id']]} too"
        if fault is None:
            seen[record["id"]] = row
        else:
            faults.append((row, fault))
    return faults


def positions(choices: pd.DataFrame, images: int = 4) -> pd.DataFrame:
    """Returns how often each of ``images`` positions is chosen: ``position`` from 1, ``share``, ``low``, ``high``, ``n``."""
    chosen = choices.loc[choices["file_path"].map(len) == images, "human_preference"]
    counts = [int((chosen == index).sum()) for index in range(images)]
    rows = [(i + 1, k / max(len(chosen), 1), *wilson(k, len(chosen)), len(chosen)) for i, k in enumerate(counts)]
    return pd.DataFrame(rows, columns=["position", "share", "low", "high", "n"])


def _copy(number: int, choice: Choice, folder: Path) -> str | None:
    """Copies a choice's pictures, all or none; returns why it could not be done."""
    try:
        pictures = [picture(choice.folder, file) for file in choice.files]
    except BadImage as error:
        return error.reason
    for index, pixels in enumerate(pictures):
        save_jpeg(folder / image_path(number, index), pixels)
    return None


def _read_list(path: Path) -> list:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(records, list):
            return records
        found = f"a JSON {type(records).__name__}"
    except FileNotFoundError:
        found = "no such file"
    except (ValueError, RecursionError, OSError) as error:
        found = " ".join(str(error).split())
    raise Problem(f"The choices in {path.name} cannot be read.", expected=f"a JSON list of choices at {shown(path)}",
                  found=found, cause="another folder was given, or the download or the copy was interrupted",
                  fix="run notebook 01, or unpack the release again")


def _fault(record: Any, folder: Path) -> str | None:
    """The first fault of one row by itself."""
    if not isinstance(record, dict):
        return f"a JSON object expected, found {type(record).__name__}"
    for key, kind in KEYS.items():
        if key not in record:
            return f"no {key}"
        if type(record[key]) is not kind:
            return f"{key} is {type(record[key]).__name__}, not {kind.__name__}"
    paths, chosen = record["file_path"], record["human_preference"]
    if not 2 <= len(paths) <= 4 or not all(isinstance(path, str) for path in paths):
        return f"file_path must name 2 to 4 pictures, found {len(paths)}"
    if not 0 <= chosen < len(paths):
        return f"human_preference is {chosen}, with {len(paths)} pictures"
    if not record["prompt"].strip():
        return "the prompt is empty"
    missing = [path for path in paths if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
               or not (folder / path).is_file()]
    return f"no picture {missing[0]}" if missing else None
