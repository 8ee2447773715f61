"""Fetch named subsets of DiffusionDB from the Hugging Face hub.

Parts are fetched one at a time, so that a stopped download goes on.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from huggingface_hub import HfApi, hf_hub_download

from alignsd.base.atomic import write_json
from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem
from alignsd.base.progress import track
from alignsd.base.reading import read_json
from alignsd.select.diffusiondb import read_metadata

REPOSITORY = "poloclub/diffusiondb"
PARTS = {"2m": 2_000, "large": 14_000}
METADATA_FILE = {"2m": "metadata.parquet", "large": "metadata-large.parquet"}
METADATA_GIB = {"2m": 0.2, "large": 0.8}
# 2M: 1.6 TB in all (README of DiffusionDB); Large: the size of one part (issue 11 there).
PART_GIB = {"2m": 0.8, "large": 0.5}
UNITS = {"k": 1_000, "m": 1_000_000}
SUBSET = re.compile(r"(2m|large)_(first|random)_([0-9]{1,9})(k|m)")
PINNED = "revision.json"
Download = Callable[..., str]  # as huggingface_hub.hf_hub_download


def subset_parts(name: str) -> range:
    """Return the part numbers of a named subset.

    Args:
        name: such as ``"2m_first_10k"``; the paper scored ``"large_first_1m"``.

    Raises:
        Problem: if there is no such subset, or the subset was drawn at random.
    """
    match = SUBSET.fullmatch(name)
    if match is None:
        raise _no_subset(name)
    kind, order, number, unit = match.groups()
    if order == "random":
        raise Problem(
            f"{name} cannot be made again.",
            expected="a subset whose name says first",
            found=name,
            cause="the random subsets were drawn without a fixed seed",
            fix=f"take {name.replace('random', 'first')}",
        )
    count = int(number) * UNITS[unit] // 1_000
    if not 1 <= count <= PARTS[kind]:
        raise _no_subset(name)
    # From 2: the script of DiffusionDB leaves the first part out.
    return range(2, min(2 + count, PARTS[kind] + 1))


def _no_subset(name: str) -> Problem:
    return Problem(
        f"There is no subset {name!r}.",
        expected="2m_first_ or large_first_ and a number of images such as 10k or 1m",
        found=repr(name),
        cause="a misspelt name, or more images than there are",
        fix="large_first_1m is the paper's",
    )


def choose(subset: str, some: str = "") -> list[int]:
    """Return the part numbers of a subset: all numbers, or a range of numbers.

    Args:
        subset: as in ``subset_parts``.
        some: ``"2-31"``, or ``""`` for all.

    Raises:
        Problem: if the text is no such range, or leads out of the subset.
    """
    parts = subset_parts(subset)
    if not some:
        return list(parts)
    match = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", some)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not parts[0] <= first <= last <= parts[-1]:
        raise Problem(
            f"There are no such parts in {subset}.",
            expected=f"{parts[0]}-{parts[-1]} or a part of it",
            found=some,
            cause="a misspelt range",
            fix=f"--parts {parts[0]}-{parts[0] + 29}",
        )
    return list(range(first, last + 1))


def part_file(subset: str, part: int) -> str:
    """Return a part's path in the repository.

    DiffusionDB Large keeps parts 1 to 10,000 in one folder and the later parts in another.
    """
    if subset.startswith("2m"):
        folder = "images"
    else:
        folder = f"diffusiondb-large-part-{1 if part <= 10_000 else 2}"
    return f"{folder}/part-{part:06d}.zip"


def fetch_metadata(
    subset: str, to: Path, revision: str = "main", download: Download = hf_hub_download
) -> Path:
    """Fetch the metadata table if need be, and return the table's path.

    The table says which prompt each image has and in which part the image lies. Table and parts are
    of one revision: the revision that was begun in this folder.

    Args:
        subset, to, revision, download: as for ``fetch``.

    Raises:
        Problem: as ``fetch`` does.
    """
    kind = subset.split("_")[0]
    file = METADATA_FILE[kind]
    if not (to / file).is_file():
        require_space(to, METADATA_GIB[kind])
        _download(file, to, pinned_revision(to, revision), download)
    return to / file


def parts_with_groups(
    metadata: Path, parts: Sequence[int], minimum: int, most: int = 0
) -> tuple[list[int], int]:
    """Return the parts with images of prompts that have enough images, and the number of prompts.

    With ``most``, parts are dropped, a tenth of the surplus at a time. The parts that the fewest
    prompts need to have enough images go first; a prompt that is spread over k parts counts 1 / k
    in each. The choice is greedy: another choice of as many parts may hold a few more prompts.

    Args:
        metadata: ``metadata.parquet`` or ``metadata-large.parquet``.
        parts: the subset's part numbers.
        minimum: images that a prompt needs among the parts (paper: 4).
        most: parts to keep; 0 keeps all.
    """
    table = read_metadata(metadata, ["prompt", "part_id"], parts)
    counts = table.groupby(["prompt", "part_id"], sort=False).size()
    rows = _with_enough_images(counts.rename("images").reset_index(), minimum)
    while most and rows["part_id"].nunique() > most:
        surplus = rows["part_id"].nunique() - most
        is_needed = rows["total"] - rows["images"] < minimum
        spread_over = rows.groupby("prompt", sort=False)["images"].transform("size")
        need = (is_needed / spread_over).groupby(rows["part_id"]).sum()
        least_needed_first = need.sort_values(kind="stable").index
        given_up = least_needed_first[: -(-surplus // 10)]
        rows = _with_enough_images(rows[~rows["part_id"].isin(given_up)], minimum)
    kept = sorted(int(part) for part in rows["part_id"].unique())
    return kept, int(rows["prompt"].nunique())


def _with_enough_images(rows: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Return the rows of prompts with enough images, with a column ``total``.

    Args:
        rows: ``prompt``, ``part_id``, ``images``; each pair of prompt and part once.
        minimum: images that a prompt needs in all.
    """
    total = rows.groupby("prompt", sort=False)["images"].transform("sum")
    return rows.assign(total=total)[total >= minimum]


def fetch(
    subset: str,
    parts: Sequence[int],
    to: Path,
    revision: str = "main",
    download: Download = hf_hub_download,
) -> list[Path]:
    """Fetch the parts that are missing or cut short, and return the paths of all parts.

    The revision is looked up once and written to ``revision.json`` beside the parts, so that a
    download that goes on later takes the same revision.

    Args:
        subset: name of the subset, which tells where the parts lie.
        parts: part numbers.
        to: folder to write to; the parameter ``parts`` of the scoring takes this folder.
        revision: branch or commit of the repository.
        download: function that fetches a file from the hub.

    Raises:
        Problem: if the disk is too small, the hub cannot be reached, or another revision was begun
            in this folder.
    """
    wanted = [part_file(subset, part) for part in parts]
    missing = [file for file in wanted if not _is_whole(to / file)]
    if missing:
        kind = subset.split("_")[0]
        require_space(to, len(missing) * PART_GIB[kind])
        commit = pinned_revision(to, revision)
        for file in track(missing, what="fetching", unit="part"):
            (to / file).unlink(missing_ok=True)  # cut short, or the file would be whole
            _download(file, to, commit, download)
    return [to / file for file in wanted]


def _download(file: str, to: Path, commit: str, download: Download) -> None:
    try:
        download(REPOSITORY, file, repo_type="dataset", revision=commit, local_dir=to)
    except FAILED as error:
        raise _unreachable(file, f"put it there by hand: {to / file}", error) from error


def pinned_revision(to: Path, revision: str) -> str:
    """Return the commit to fetch.

    The commit is the commit noted in this folder, or else the present commit of ``revision``, which
    is then noted in the folder.

    Raises:
        Problem: if the folder was begun with another revision, or the hub cannot be reached.
    """
    record = to / PINNED
    if record.exists():
        begun = _begun_with(record)
        if revision not in ("main", begun):
            raise Problem(
                "Another revision was begun in this folder.",
                expected=begun,
                found=revision,
                cause="the parts there are of another revision",
                fix="take another folder, or leave --revision out",
            )
        return begun
    try:
        info = HfApi().repo_info(REPOSITORY, repo_type="dataset", revision=revision)
    except FAILED as error:
        by_hand = f"put parts there by hand: {to / part_file('large', 2)} and so on"
        raise _unreachable(f"Revision {revision}", by_hand, error) from error
    commit = str(info.sha)
    _make(to)
    write_json(record, {"repository": REPOSITORY, "revision": revision, "commit": commit})
    return commit


def _make(to: Path) -> None:
    try:
        to.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise Problem(
            "There cannot be such a folder.",
            expected="a folder, or a path at which one can be made",
            found=getattr(error, "strerror", None) or str(error),
            cause="a file on the path, a name that no folder can have, or no permission",
            fix="name another folder: --to FOLDER",
        ) from error


def _begun_with(record: Path) -> str:
    """Return the commit that was noted beside the parts.

    Raises:
        Problem: if the note was changed by hand.
    """
    noted = None
    try:
        noted = read_json(record)
        found = "another kind of JSON"
    except Problem as problem:
        found = problem.found
    commit = noted.get("commit") if isinstance(noted, dict) else None
    if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
        raise Problem(
            f"{record.name} does not say which revision the parts are of.",
            expected='{"commit": "40 hex digits"}',
            found=found if commit is None else repr(commit)[:80],
            cause="the file was edited by hand, or cut off by a full disk",
            fix=f"delete {record.name}, and name the revision of the parts: --revision COMMIT",
        )
    return commit


def require_space(to: Path, gib: float) -> None:
    """Do nothing if the disk of a folder has space enough.

    Args:
        to: the folder, which need not exist yet.
        gib: the space needed, in GiB.

    Raises:
        Problem: if the disk has less space.
    """
    existing = next(folder for folder in (to, *to.absolute().parents) if os.path.exists(folder))
    free = shutil.disk_usage(existing).free / 2**30
    if free < gib:
        raise Problem(
            "The disk is too small for these parts.",
            expected=f"about {gib:,.0f} GiB",
            found=f"{free:,.1f} GiB free",
            cause="the subset is larger than the disk",
            fix="take fewer parts: --parts 2-31",
        )


def _is_whole(path: Path) -> bool:
    """Return whether a zip has a directory, which stands at the end of the file."""
    return path.is_file() and zipfile.is_zipfile(path)


def _unreachable(what: str, by_hand: str, error: Exception) -> Problem:
    return Problem(
        f"{what} of DiffusionDB could not be fetched.",
        expected=f"{REPOSITORY} on the Hugging Face hub",
        found=told(error),
        cause="no network, or the host is gone: docs/data.md",
        fix=f"run the command again, it goes on where it stopped; or {by_hand}",
    )
