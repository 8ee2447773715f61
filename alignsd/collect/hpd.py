"""The paper's data set in its own layout, HPD v1 (section 3 of the paper): written, read, checked.

A folder holds ``preference_images/{id}_{i}.jpg`` and one JSON list of choices per part: ``preference_train.json`` and
``preference_test.json`` as released, and the same two with ``_grouped``, where no prompt stands in both.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, save_jpeg
from alignsd.base.intervals import wilson
from alignsd.base.paths import shown, user_path
from alignsd.base.progress import track
from alignsd.base.reading import is_text, read_json, read_lines
from alignsd.collect import hpd_v2
from alignsd.collect.choices import Choice
from alignsd.collect.grids import picture
from alignsd.collect.splits import split_by_prompt

KEYS = {"human_preference": int, "prompt": str, "id": int, "file_path": list, "user_hash": str, "contain_name": bool}
OPTIONAL = ("user_hash", "contain_name")  # no computation needs these keys
LARGEST_ID = 2**63 - 1  # what a table of 64-bit integers holds
SUFFIX = {"random": "", "grouped": "_grouped"}
SHOWN = 3  # faults that a message lists


class Incomplete(Problem):
    """A part of a data set is not there: its file, or some of its pictures."""


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
    """Return persons' names from a text file with one name per line; none for ``""``.

    Raises:
        Problem: if the file cannot be read or holds no name.
    """
    if not source:
        return []
    mend = 'set the parameter names_file; "" flags no prompt'
    try:
        lines = read_lines(user_path(source))
    except Problem as problem:
        raise Problem(
            "The list of names cannot be read.",
            expected=f"{problem.expected}, with one name per line",
            found=f"{problem.what} {problem.found}",
            cause=problem.cause,
            fix=f"{problem.fix}; or {mend}",
        ) from problem
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise Problem(
            "The list of names is empty.",
            expected="a text file with one name per line",
            found=f"no name in {source}",
            cause="another file, or an interrupted copy",
            fix=mend,
        )
    return names


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
    """Measure how well a list of names flags prompts, against the flags of the choices themselves.

    Args:
        choices: from ``read_choices``, of a release whose ``contain_name`` does not come from this
            list.
        names: from ``read_names``.

    Returns:
        Index ``measure``: ``precision``, the share of the prompts flagged by the list that the
        release flags too, and ``recall``, the share of the release's that the list flags;
        ``value`` (0-1; NaN if n is 0), ``low``, ``high`` (Wilson's 95 %), ``n``.

    Raises:
        Problem: if a choice does not say whether its prompt holds a name.
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
    counts = {"precision": int(ours.sum()), "recall": int(theirs.sum())}
    rows = [
        (measure, hits / n if n else float("nan"), *wilson(hits, n), n)
        for measure, n in counts.items()
    ]
    columns = ["measure", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns).set_index("measure")


def image_path(choice: int, index: int) -> str:
    """Returns where the release keeps picture ``index`` of a choice, relative to the data set's folder."""
    return f"preference_images/{choice}_{index}.jpg"


def write_choices(choices: pd.DataFrame, folder: Path, part: str, split: str = "random") -> Path:
    """Writes one part as the release does: a JSON list with six keys per choice. Returns its path."""
    path = folder / f"preference_{part}{SUFFIX[split]}.json"
    write_json(path, choices[list(KEYS)].to_dict("records"))
    return path


def read_choices(
    folder: Path, part: str, split: str = "random", needed: bool = True
) -> pd.DataFrame:
    """Read one part of an HPD v1 folder, the released one or ours, or of HPD v2, and check all rows.

    Args:
        folder: the data set's folder.
        part: ``"train"`` or ``"test"``.
        split: ``"random"``, as in the paper, or ``"grouped"``, where no prompt stands in both parts;
            the releases have no such split, so it is made of both their parts, always the same way.
        needed: if False, a part whose file or pictures are not there gives a table without rows,
            and a line of text says why. Nobody needs the train part to evaluate released weights.

    Returns:
        One row per choice: ``human_preference`` (index), ``prompt``, ``id``, ``file_path`` (list,
        relative to ``folder``), ``user_hash`` (``""`` if not known), ``contain_name`` (None if not
        known).

    Raises:
        Incomplete: if the part's file or some of its pictures are missing; says how many.
        Problem: if the file is damaged or empty, or any row has a fault; says how many and lists
            the first.
    """
    if part not in ("train", "test") or split not in SUFFIX:
        raise Problem(
            "There is no such part of the data set.",
            expected="part train or test, split random or grouped",
            found=f"part {part!r}, split {split!r}",
            cause="a misspelt parameter",
            fix="set the parameter split to random or grouped",
        )
    try:
        return _part(Path(folder), part, split)
    except Incomplete as problem:
        if needed:
            raise
        print(f"The {part} part is left aside. {problem.what} {problem.found}")
        return pd.DataFrame(columns=list(KEYS))


def _part(folder: Path, part: str, split: str) -> pd.DataFrame:
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
        raise _faulty(path, records, faults)
    return pd.DataFrame([_with_optional_keys(row) for row in rows], columns=list(KEYS))


def _with_slashes(record: Any, folder: Path) -> Any:
    """Return a row whose pictures have the names of this system: Windows writes ``folder\\a.jpg``."""
    if not isinstance(record, dict):
        return record
    changed = {}
    for key in ("file_path", "image_path"):
        names = record.get(key)
        if isinstance(names, list) and any("\\" in name for name in names if is_text(name)):
            changed[key] = [_with_slash(name, folder) for name in names]
    return record | changed if changed else record


def _with_slash(name: Any, folder: Path) -> Any:
    """Return a picture's name; where a file has a back-slash in its name, the name stays."""
    return name if not is_text(name) or is_picture(folder, name) else name.replace("\\", "/")


def _random_path(folder: Path, part: str) -> Path:
    v1 = folder / f"preference_{part}.json"
    v2 = folder / f"{part}.json"
    return v2 if os.path.isfile(v2) and not os.path.exists(v1) else v1


def _regrouped(folder: Path, part: str) -> pd.DataFrame:
    """Return one part of a grouped split of a release that has none.

    Both random parts are joined, and split anew by prompt.
    """
    parts = [read_choices(folder, name) for name in ("train", "test")]
    both = pd.concat(parts, ignore_index=True)
    twice = both["id"][both["id"].duplicated()]
    if len(twice):
        raise Problem(
            "The two parts cannot be joined to be split by prompt.",
            expected="ids that are used once in train and test together",
            found=f"{len(twice):,} ids in both parts, such as {twice.iloc[0]}",
            cause="the parts are of two data sets, or one was copied onto the other",
            fix="set the parameter split to random, or unpack the release again",
        )
    train, test = split_by_prompt(both, len(parts[1]) / len(both), seed=0)
    return train if part == "train" else test


def _with_optional_keys(row: dict) -> dict:
    """Return a checked row with the keys that no computation needs, empty where not known."""
    user, named = row.get("user_hash"), row.get("contain_name")
    if isinstance(named, bool) and is_text(user):
        return row
    return row | {
        "user_hash": user if is_text(user) else "",
        "contain_name": named if isinstance(named, bool) else None,
    }


def validate(records: Sequence[Any], folder: Path) -> list[tuple[int, str]]:
    """Return the faults of an HPD v1 list as ``(row, fault)``; empty if there are none.

    Types, pictures, index and ids are checked. ``user_hash`` and ``contain_name`` are not: no
    computation needs them.
    """
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
    """Return the rows of a part's file, at least one."""
    what = f"The choices in {path.name} cannot be read."
    expected = f"a JSON list of choices at {shown(path)}"
    again = "run notebook 01, or unpack the release again"
    if not os.path.isdir(path.parent):
        raise Incomplete(
            what,
            expected=expected,
            found=f"no folder {shown(path.parent)}",
            cause="a misspelt folder, or a data set that was not unpacked there",
            fix="mend the parameter data of notebook 02, or unpack the release there",
        )
    if not os.path.lexists(path):
        grouped = path.stem.endswith("_grouped")
        raise Incomplete(
            what,
            expected=expected,
            found="no such file" + (", and not both random parts to make it of" if grouped else ""),
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
    empty = isinstance(records, list)
    raise Problem(
        what,
        expected=expected,
        found="an empty list, no choice" if empty else f"JSON, but {_kind(records)}",
        cause="a data set from which everything was left out" if empty else "another file",
        fix=again,
    )


def _faulty(path: Path, records: list, faults: list[tuple[int, str]]) -> Problem:
    """Return what is wrong with a part's rows, and why, in five lines."""
    found = "; ".join(f"row {row}: {fault}" for row, fault in faults[:SHOWN])
    found += " ..." * (len(faults) > SHOWN)
    cause = "the file was edited, or another program made it"
    fix = "make the data set again with notebook 01, or unpack the release again"
    lost = [row for row, fault in faults if fault.startswith(hpd_v2.NO_PICTURE)]
    tied = [row for row, fault in faults if fault.startswith(hpd_v2.NO_BEST)]
    if lost:
        found = f"{_count_missing(path, records)}; {found}"
        cause = "the pictures were not unpacked, lie in another folder, or the copy was interrupted"
        fix = f"unpack all of the release's pictures into {shown(path.parent)}"
    elif tied:
        rows = ", ".join(map(str, tied[:20])) + " ..." * (len(tied) > 20)
        cause = "two images share the best place: neither HPD v1 nor the loss has a place for ties"
        fix = f"take the rows without one best image out of {path.name}: {rows}"
    kind = Incomplete if len(lost) == len(faults) else Problem
    return kind(
        f"{path.name} has {len({row for row, _ in faults})} faulty rows of {len(records)}.",
        expected="HPD v1 or v2: pictures that exist, one of them chosen, ids used once",
        found=found,
        cause=cause,
        fix=fix,
    )


def _count_missing(path: Path, records: list) -> str:
    """Return how many of the pictures that a part names are not there, in words."""
    is_v2 = path.stem in ("train", "test")
    folder = hpd_v2.picture_folder(path.parent, path.stem) if is_v2 else path.parent
    names = set(_named(records))
    missing = [name for name in names if not is_picture(folder, name)]
    told = f"{len(missing):,} of {len(names):,} pictures are missing"
    parent = os.path.dirname(min(missing, default=""))
    if hpd_v2.is_below(parent) and not os.path.isdir(os.path.join(folder, parent)):
        told += f", there is no folder {hpd_v2.shown_name(parent)}"
    return told


def _named(records: list) -> Iterator[str]:
    """Yield the pictures that the rows name."""
    for record in records:
        if isinstance(record, dict):
            for names in (record.get("file_path"), record.get("image_path")):
                yield from (name for name in _listed(names) if is_text(name))


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else []


def is_picture(folder: Path, name: str) -> bool:
    """Return whether a row's picture is a file below the data set's folder."""
    return hpd_v2.is_below(name) and os.path.isfile(os.path.join(folder, name))


def _kind(value: Any) -> str:
    """Return what JSON calls a value."""
    kinds = {dict: "an object", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _fault(record: Any, folder: Path) -> str | None:
    """Return the first fault of one row by itself."""
    if not isinstance(record, dict):
        return f"a JSON object expected, found {type(record).__name__}"
    for key, kind in KEYS.items():
        if key in OPTIONAL:
            continue
        if key not in record:
            return f"no {key}"
        if type(record[key]) is not kind:
            return f"{key} is {type(record[key]).__name__}, not {kind.__name__}"
    paths, chosen, number = record["file_path"], record["human_preference"], record["id"]
    if not 2 <= len(paths) <= 4 or not all(isinstance(path, str) for path in paths):
        return f"file_path must name 2 to 4 pictures, found {len(paths)}"
    if not 0 <= chosen < len(paths):
        return f"human_preference is {_short(chosen)}, with {len(paths)} pictures"
    if not -LARGEST_ID <= number <= LARGEST_ID:
        return f"id is {_short(number)}, more than 64 bits"
    if not record["prompt"].strip():
        return "the prompt is empty"
    if not is_text(record["prompt"]):
        return "the prompt holds half a character (a lone surrogate)"
    missing = next((path for path in paths if not is_picture(folder, path)), None)
    return None if missing is None else f"{hpd_v2.NO_PICTURE} {hpd_v2.shown_name(missing)}"


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**20 else "a number of more than 20 digits"
