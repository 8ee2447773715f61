"""Your own choices as HPD v1: from a table of prompts, images and chosen images.

``own.tables`` reads the table, ``own.rows`` the rows, and ``own.folder`` guards the data set's
folder.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.base.images import MISSING
from alignsd.base.paths import shown
from alignsd.collect import hpd
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File
from alignsd.collect.own.folder import new_data_set
from alignsd.collect.own.rows import NO_IMAGE, Row, Unusable, read_row, records_of
from alignsd.collect.own.tables import IMAGE_COLUMN, read_choices_table
from alignsd.collect.privacy import hash_user, user_key
from alignsd.collect.splits import check_share, split_by_prompt, split_random

__all__ = ["import_choices", "read_choices_table"]

UNKNOWN_USERS = "of these, of users unknown"  # choices that were written
TELLING = 1 / 8  # share of the numbers that must contradict the assumed first number
FEWEST_TELLING = 2  # numbers that must contradict; a single number may be a slip


def import_choices(
    table: pd.DataFrame,
    images: Path,
    out: Path,
    test_share: float = 0.2,
    seed: int = 0,
    count_from: int | None = None,
) -> Counter[str]:
    """Write a table of choices as an HPD v1 folder, from which HPS can be trained.

    The folder is written whole or not at all. What an earlier import wrote there is replaced; other
    files stay, and are never overwritten.

    Args:
        table: ``prompt``; ``images``, two to four file names below ``images``, as a list, or
            separated by ``;`` or ``|``, or in columns ``image_1``, ``image_2`` ...; ``choice``, the
            number or the file name of the chosen image; and, if known, ``user``, of which only a
            hash is written, keyed by ``user.key`` beside the images. Tables of Pick-a-Pic,
            ImageRewardDB and HPD v2 are read too, see docs/data_formats.md.
        images: the images' folder.
        out: the data set's folder.
        test_share: share of the choices that go to the test part.
        seed: of the split.
        count_from: what the number of the first image is, 0 or 1. None: as in the image columns'
            names; 0 for a list.

    Returns:
        How many choices were written (``"choices"``), how many of these have no known user, and
        how many rows were left out for which reason.

    Raises:
        Problem: if a column is missing, too few choices are left for two parts (with the reasons),
            the numbers seem to be counted otherwise, 0 seems to be a tie, or ``out`` cannot be
            written or holds another data set.
    """
    check_seed(seed)
    check_share(test_share)
    images, out = Path(images), Path(out)
    records, columns = records_of(table)
    _check_folder(images)
    usable = _usable(records, columns, images, count_from)
    with new_data_set(out) as work:
        data, _, unread = hpd.write_pictures(_choices(usable, images), work)
        usable.left.update(unread)
        try:
            parts = _parts(data, test_share, seed)
        except Problem as problem:
            raise _too_few(usable, len(data), images, problem) from problem
        for (split, part), choices_of_part in parts.items():
            hpd.write_choices(choices_of_part, work, part, split)
    counts = Counter(choices=len(data))
    unknown = int((data["user_hash"] == "").sum())
    if unknown and any("user" in record for record in records):
        counts[UNKNOWN_USERS] = unknown
    return counts + usable.left


@dataclass(frozen=True)
class _UsableRows:
    """The rows of a table that can be choices.

    Attributes:
        rows: the usable rows.
        first: the number of a row's first image, 0 or 1.
        left: reason -> rows that are left out.
        total: rows of the table.
    """

    rows: list[Row]
    first: int
    left: Counter[str]
    total: int


def _usable(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    images: Path,
    count_from: int | None,
) -> _UsableRows:
    """Return the rows that can be choices, and count the other rows.

    Raises:
        Problem: if no row is left, or the numbers seem to be counted otherwise.
    """
    rows: list[Row] = []
    left: Counter[str] = Counter()
    for record in records:
        try:
            rows.append(read_row(record, columns, images))
        except Unusable as reason:
            left[str(reason)] += 1
    first = _first_number(rows, columns, count_from)
    in_range = [row for row in rows if 0 <= _index(row, first) < len(row.names)]
    left += Counter({NO_IMAGE: len(rows) - len(in_range)})
    usable = _UsableRows(in_range, first, left, len(records))
    if not in_range:
        raise _too_few(usable, 0, images)
    return usable


def _index(row: Row, first: int) -> int:
    """Return the index of a row's chosen image, where the first image has number ``first``."""
    return row.chosen - first if row.is_number else row.chosen


def _first_number(rows: Sequence[Row], columns: Sequence[str], count_from: int | None) -> int:
    """Return the number of the first image, 0 or 1.

    Raises:
        Problem: if the table's numbers contradict the number that we would assume, or if 0 may
            stand for a tie.
    """
    if count_from is not None:
        _check_count_from(count_from)
        return int(count_from)
    match = IMAGE_COLUMN.fullmatch(columns[0]) if columns else None
    first = int(match[1]) if match else 0
    numbered = [row for row in rows if row.is_number]
    zeros = sum(row.chosen == 0 for row in numbered)
    lasts = sum(row.chosen == len(row.names) for row in numbered)
    speak_for, speak_against = (zeros, lasts) if first == 0 else (lasts, zeros)
    if speak_for == 0 and speak_against > 0 and speak_against >= TELLING * len(numbered):
        raise _counted_otherwise(first, speak_against, len(numbered))
    often = max(FEWEST_TELLING, TELLING * len(numbered))
    if first == 0 and min(zeros, lasts) >= often:
        raise _zero_and_last(zeros, lasts, len(numbered))
    return first


def _check_count_from(count_from: int) -> None:
    if count_from in (0, 1):
        return
    raise Problem(
        "The choices cannot be counted so.",
        expected="count_from 0 or 1",
        found=f"{count_from!r:.40}",
        cause="a slip",
        fix="--count-from 1 if the first image has number 1",
    )


def _counted_otherwise(first: int, against: int, total: int) -> Problem:
    """Return why the number of the first image is probably not ``first``.

    Args:
        first: the number assumed.
        against: how many numbers contradict ``first``.
        total: how many numbers the table has.
    """
    other = 1 - first
    impossible = "as many as there are images" if first == 0 else "0"
    telling = "0" if first == 0 else "the number of the last image"
    return Problem(
        f"The choices seem to be counted from {other}.",
        expected=f"numbers from {first}: the first image has number {first}",
        found=f"{against:,} of {total:,} numbers are {impossible} ({NO_IMAGE}), "
        f"and none is {telling}",
        cause=f"the program that made the table counts from {other}",
        fix=f"--count-from {other}, or --count-from {first} if the table is right",
    )


def _zero_and_last(zeros: int, lasts: int, total: int) -> Problem:
    """Return why 0 is probably no image, in a table whose numbers may count from 0 or 1.

    Args:
        zeros: how many numbers are 0.
        lasts: how many numbers are as many as there are images.
        total: how many numbers the table has.
    """
    return Problem(
        "The choices hold both 0 and the number of images.",
        expected="numbers from 0 (the last image has one number less than there are images), "
        "or numbers from 1 (no image has number 0)",
        found=f"{zeros:,} of {total:,} numbers are 0, and {lasts:,} are as many as there are "
        "images",
        cause="the program that made the table counts from 1, and writes 0 for a tie or no choice",
        fix="--count-from 1 if 0 is a tie (these rows are left out), or --count-from 0 if 0 is the "
        "first image (rows with the number of images are left out)",
    )


def _choices(usable: _UsableRows, images: Path) -> list[Choice]:
    """Return the choices that the rows hold, with hashes in place of users."""
    key = user_key(images) if any(row.user for row in usable.rows) else b""
    choices = []
    for row in usable.rows:
        user = hash_user(row.user, key) if row.user else ""
        files = tuple(File(name, name, images) for name in row.names)
        choices.append(Choice("", user, row.prompt, files, _index(row, usable.first)))
    return choices


def _parts(data: pd.DataFrame, test_share: float, seed: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the choices of each ``(split, part)``."""
    parts = {}
    for split, divide in (("random", split_random), ("grouped", split_by_prompt)):
        parts[split, "train"], parts[split, "test"] = divide(data, test_share, seed)
    return parts


def _check_folder(images: Path) -> None:
    if os.path.isdir(images):
        return
    raise Problem(
        "The folder of images is not there.",
        expected="a folder that holds the images that the table names",
        found=f"{'a file' if os.path.exists(images) else 'no folder'} at {shown(images)}",
        cause="a misspelt path after --images; without --images it is the table's own folder",
        fix="--images FOLDER",
    )


def _too_few(
    usable: _UsableRows, choices: int, images: Path, problem: Problem | None = None
) -> Problem:
    """Return why too few choices are left, with the reasons.

    Args:
        usable: the rows that can be choices, and the reasons why other rows are left out.
        choices: how many choices are left.
        images: the folder of images.
        problem: what the split says about the remaining choices, if a split was tried.
    """
    left = usable.left
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left.most_common())
    found = f"{choices:,} choices in {usable.total:,} rows; left out: {reasons or 'none'}"
    expected, cause = "at least one choice in train and one in test", "too few rows"
    fix = "collect more choices; docs/data_formats.md shows what a row must hold"
    if problem is not None:
        found, expected = f"{found}; {problem.found}", problem.expected
        cause, fix = problem.cause, problem.fix
    if left.total() > choices:
        main_reason = left.most_common(1)[0][0]
        cause = f"most rows are left out: {main_reason}"
        fix = "mend the rows; docs/data_formats.md shows what a row must hold"
        if main_reason == MISSING:
            cause, fix = _why_missing(usable.rows, images)
    return Problem(
        "Too few choices are left for a data set.",
        expected=expected,
        found=found,
        cause=cause,
        fix=fix,
    )


def _why_missing(rows: Sequence[Row], images: Path) -> tuple[str, str]:
    """Return the cause of missing images, and how to fix the cause."""
    names = [name for row in rows for name in row.names]
    lost = [name for name in names if not os.path.isfile(os.path.join(images, name))]
    example = f"{lost[0]:.200}" if lost else names[0]
    cause = f"{len(lost):,} of {len(names):,} images are not in {shown(images)}"
    if len(lost) == len(names):
        cause = f"the images lie elsewhere: none of the names is a file below {shown(images)}"
    return cause, f"--images FOLDER, so that FOLDER/{example} exists"
