"""Unpack img2dataset's webdataset shards into an imagefolder.

Each shard is unpacked once, what is left out is counted, and pictures keep their bytes.

A shard ``00000.tar`` holds ``000000000.jpg``, ``.txt`` (the caption) and ``.json`` of each picture
that img2dataset could download. ``00000_stats.json`` beside the shard says how many links were
dead.
"""

import json
import math
import os
import shlex
import tarfile
import unicodedata
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from alignsd.base.atomic import replacing, write_json
from alignsd.base.errors import Problem
from alignsd.base.images import MAX_BYTES
from alignsd.base.paths import shown
from alignsd.base.processes import first_does, gathered, share
from alignsd.base.progress import track
from alignsd.base.reading import (
    LOST_LINK,
    is_foreign_member,
    is_lost_link,
    is_text,
    listed,
    mistaken_for,
    packed_alone,
    parse_json,
    read_json,
)
from alignsd.select.imagefolder import LONGEST_NAME, LONGEST_TEXT, METADATA

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
CAPTION, DESCRIBED = ".txt", ".json"
NO_CAPTION = "picture without caption"
CAPTION_IN_JSON = "picture whose caption stands in the .json alone, and not in a .txt"
WANTED = (*PICTURES, CAPTION, DESCRIBED)
# Columns of ratings in the lists that img2dataset is given.
RATINGS = ("rating", "aesthetic", "AESTHETIC_SCORE")
COUNTS = "unpacked.json"
LONGEST_PATH = 4096  # bytes; Linux opens no longer path
PACKED = "packed shard (only .tar is unpacked)"
NAME_IN_USE = "repeated name"  # the first file of this name counts
APART = "file that does not follow the other files of its sample"
NO_END = "shard without the mark of its end (maybe cut off)"
FURTHER = "further picture of a sample"
# What tarfile raises for a file that is no tar, cut short or damaged.
UNREADABLE = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, zlib.error)


@dataclass
class Sample:
    """The members of a shard that belong together: a picture, the caption and the description.

    Attributes:
        key: the path that the members share, without suffix.
        members: suffix -> content.
    """

    key: str
    members: dict[str, bytes] = field(default_factory=dict)


def as_imagefolder(folder: Path, own: Path) -> Path:
    """Return a folder if it is an imagefolder; or else ``own``, with the folder's shards unpacked.

    A warning tells how many pictures were left out.

    Args:
        folder: an imagefolder, or a folder with ``*.tar``. A folder with neither is returned
            unchanged; whoever reads the folder says what is missing.
        own: where shards are unpacked.

    Raises:
        Problem: as ``unpack_shards``.
    """
    if os.path.lexists(folder / METADATA) or not listed(folder, ".tar", lost=True):
        return folder
    counts = unpack_shards(folder, own)
    left_out = [f"{n} x {reason}" for reason, n in counts.items() if reason != "unpacked"]
    if left_out:
        unpacked = f"{counts['unpacked']} pictures unpacked"
        told = f"{folder.name}: {unpacked}; left out: {', '.join(left_out)}"
        warnings.warn(told, stacklevel=2)
    return own


def unpack_shards(source: Path, out: Path) -> Counter[str]:
    """Write the pictures of all shards and, last, their captions and ratings.

    A folder that was unpacked before is left alone. Pictures are not opened here: a damaged picture
    is found when the picture is read. Several processes divide the shards.

    Args:
        source: folder with ``*.tar``.
        out: the imagefolder; pictures keep the bytes of the shard.

    Returns:
        How many pictures were ``unpacked``, and reason -> how many were left out. Dead links are
        counted as img2dataset counted them. A compressed shard such as ``00001.tar.gz`` counts
        once if there is no ``00001.tar``.

    Raises:
        Problem: if a shard cannot be read, two shards have one name, or the disk cannot be written.
    """
    if (out / METADATA).exists():
        return _counts_of(out)
    shards = listed(source, ".tar", lost=True)
    _refuse_twins(shards)
    own = track(share(shards), what="unpacking", unit="shard")
    lines: list[str] = []
    counts: Counter[str] = Counter()
    for lines_of_shard, counts_of_shard in gathered([_unpack(shard, out) for shard in own]):
        lines += lines_of_shard
        counts.update(counts_of_shard)
    packed = packed_alone(source, ".tar")
    if packed:
        counts[PACKED] = len(packed)
    first_does(lambda: _write_metadata(out, lines, counts))
    return counts


def left_out_of_shards(folder: Path) -> Counter[str]:
    """Return reason -> how many pictures were left out when shards were unpacked into a folder.

    The counter is empty for a folder that no shards were unpacked into, and for damaged counts.
    """
    try:
        counts = _counts_of(folder)
    except Problem:
        return Counter()
    del counts["unpacked"]
    return counts


def _unpack(shard: Path, out: Path) -> tuple[list[str], Counter[str]]:
    """Write the pictures of a shard, and return their lines of metadata and the counts."""
    lines = []
    counts = _dead_links(shard)
    for sample in _samples(shard, counts):
        line = _write_sample(shard, sample, out, counts)
        if line is not None:
            lines.append(line)
    return lines, counts


def _write_metadata(out: Path, lines: list[str], counts: Counter[str]) -> None:
    write_json(out / COUNTS, counts)
    with replacing(out / METADATA) as unfinished:
        unfinished.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _counts_of(out: Path) -> Counter[str]:
    """Return the counts of an earlier unpacking."""
    try:
        counts = read_json(out / COUNTS)
    except Problem as problem:
        raise _no_counts(out, problem.found) from problem
    if not isinstance(counts, dict) or any(type(count) is not int for count in counts.values()):
        raise _no_counts(out, "another kind of JSON")
    return Counter({"unpacked": 0} | counts)


def _no_counts(out: Path, found: str) -> Problem:
    return Problem(
        f"{shown(out / COUNTS)} cannot be used.",
        expected="what was unpacked and left out, as counts",
        found=found,
        cause="the file was deleted or edited by hand, or cut off by a full disk",
        fix=f"delete the folder, and run the stage again: rm -r '{shown(out)}'",
    )


def _refuse_twins(shards: list[Path]) -> None:
    stems = Counter(shard.stem for shard in shards)
    twins = [shard.name for shard in shards if stems[shard.stem] > 1]
    if twins:
        raise Problem(
            "Two shards have one name.",
            expected="each name once, whatever the case of its suffix",
            found=", ".join(twins),
            cause="a second copy of a shard",
            fix=f"move one of them away, such as {twins[-1]}",
        )


def _write_sample(shard: Path, sample: Sample, out: Path, counts: Counter[str]) -> str | None:
    """Write a sample's picture, count the sample, and return the sample's line of metadata."""
    suffixes = [suffix for suffix in PICTURES if suffix in sample.members]
    if not suffixes:
        if CAPTION in sample.members:
            counts["caption without picture"] += 1
        else:
            counts["neither picture nor caption"] += 1
        return None
    caption, reason = _caption(sample.members.get(CAPTION))
    described = _description(sample.members.get(DESCRIBED), shard)
    if reason == NO_CAPTION and described.get("caption"):
        reason = CAPTION_IN_JSON
    if reason is not None:
        counts[reason] += 1
        return None
    suffix, *further = suffixes
    if further:
        counts[FURTHER] += len(further)
    name = f"{shard.stem}/{sample.key}{suffix}"
    if not _nameable(out / name):
        counts["name that no file can have"] += 1
        return None
    _write(out / name, sample.members[suffix])
    counts["unpacked"] += 1
    row = {"file_name": name, "text": caption} | _rating(described)
    return json.dumps(row, ensure_ascii=False)


def _nameable(path: Path) -> bool:
    short = all(len(os.fsencode(part)) <= LONGEST_NAME for part in path.parts)
    return short and len(os.fsencode(path)) < LONGEST_PATH


def _write(path: Path, content: bytes) -> None:
    """Write a picture.

    Raises:
        Problem: if the disk cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise Problem(
            f"{shown(path)} cannot be written.",
            expected="a place where a file can be written",
            found=error.strerror or str(error),
            cause="a full disk, no permission, or a file where a folder must be",
            fix=f"make room or move away what stands in {shown(path.parent)}; run the stage again",
        ) from error


def _samples(shard: Path, counts: Counter[str]) -> Iterator[Sample]:
    """Yield the samples of a shard. The members of a sample follow each other, under one key."""
    try:
        with tarfile.open(shard, "r|") as archive:
            yield from _grouped(archive, counts)
            end = archive.offset
        _check_end(shard, end, counts)
    except UNREADABLE as error:
        found, cause = _what_is_wrong(shard, error)
        raise Problem(
            f"{shard.name} cannot be read.",
            expected="a tar file",
            found=found,
            cause=cause,
            fix=f"download {shard.name} again, or move it away",
        ) from error


def _check_end(shard: Path, end: int, counts: Counter[str]) -> None:
    """Do nothing if a shard ends where its last member ends; count a shard without its end.

    tarfile takes a damaged header for the end of the archive, and says nothing.

    Args:
        shard: the shard.
        end: the byte behind the last member that tarfile found.
        counts: what is left out.

    Raises:
        Problem: if anything but zeros follows.
    """
    rest = shard.stat().st_size - end
    if rest == 0:
        counts[NO_END] += 1
        return
    with open(shard, "rb") as file:
        file.seek(end)
        begins_with_zeros = not any(file.read(tarfile.BLOCKSIZE))
        ends_with_zeros = all(not any(piece) for piece in iter(lambda: file.read(2**20), b""))
    if begins_with_zeros and ends_with_zeros:
        return
    cause = "a damaged or unfinished download"
    fix = f"download {shard.name} again, or move it away"
    if begins_with_zeros:
        cause = "archives that were joined with cat, or a damaged download"
        fix = f"{fix}; of joined archives unpack all with tar -xif {shlex.quote(shown(shard))}"
    raise Problem(
        f"{shard.name} cannot be read to its end.",
        expected="nothing but zeros behind the last file of the archive",
        found=f"{rest:,} bytes behind byte {end:,}, which tar cannot read",
        cause=cause,
        fix=fix,
    )


def _grouped(archive: tarfile.TarFile, counts: Counter[str]) -> Iterator[Sample]:
    sample = Sample("")
    earlier: dict[str, set[str]] = {}  # key -> suffixes
    for member in archive:
        path = _usable_path(member, counts)
        if path is None or _is_other_field(path, sample, counts):
            continue
        key = path.with_suffix("").as_posix()
        suffix = path.suffix.lower()
        if key != sample.key:
            if sample.members:
                yield sample
            earlier.setdefault(sample.key, set()).update(sample.members)
            sample = Sample(key)
        if suffix in sample.members or suffix in earlier.get(key, ()):
            counts[NAME_IN_USE] += 1
        elif key in earlier:
            counts[APART] += 1
        elif member.size > MAX_BYTES:
            counts[f"file of more than {MAX_BYTES:,} bytes"] += 1
        else:
            sample.members[suffix] = _content(archive, member)
    if sample.members:
        yield sample


def _is_other_field(path: PurePosixPath, sample: Sample, counts: Counter[str]) -> bool:
    """Return whether a file is a field of the sample that we do not read, such as ``.mask.png``.

    A picture among these fields is counted.

    webdataset ends the key at the first dot of a name. We end the key at the last dot, since
    pictures of other origins have dots in their names.
    """
    is_field = bool(sample.members) and path.as_posix().startswith(f"{sample.key}.")
    is_known = path.with_suffix("").as_posix() == sample.key
    if is_field and not is_known and path.suffix.lower() in PICTURES:
        counts[FURTHER] += 1
    return is_field and not is_known


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:  # for a folder or a device, which _usable_path leaves out
        raise tarfile.ReadError(f"{member.name} has no content")
    return file.read()


def _usable_path(member: tarfile.TarInfo, counts: Counter[str]) -> PurePosixPath | None:
    """Return the path of a member that belongs to a sample, or count why the member does not.

    Folders, files of an operating system and files with other suffixes are not counted.
    """
    if member.isdir() or is_foreign_member(member.name):
        return None
    name = member.name.replace("\\", "/")
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "//", ".")]
    if not parts or PurePosixPath(parts[-1]).suffix.lower() not in WANTED:
        return None
    if not is_text(name) or "\0" in name:
        counts["name that is not UTF-8"] += 1
    elif ".." in parts:
        counts["name that leads out of the folder"] += 1
    elif not member.isreg():
        counts["link or device in place of a file"] += 1
    else:
        return PurePosixPath(unicodedata.normalize("NFC", "/".join(parts)))
    return None


def _what_is_wrong(shard: Path, error: Exception) -> tuple[str, str]:
    """Return what a file is that is no tar, and the likely cause of the mistake."""
    if is_lost_link(shard):
        return LOST_LINK, "the shards were copied without the files that the links lead to"
    try:
        with open(shard, "rb") as file:
            start = file.read(64)
    except OSError:
        return str(error), "a failing disk, or a file of another user"
    if start.startswith(b"PK"):
        return "a zip file", "another kind of archive under the name of a tar"
    found = str(error) or type(error).__name__
    return mistaken_for(start) or (found, "a download that was cut off")


def _caption(content: bytes | None) -> tuple[str, str | None]:
    """Return a caption and None, or an empty text and the reason why there is no caption."""
    if content is None:
        return "", NO_CAPTION
    try:
        caption = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "", "caption that is not UTF-8"
    if not caption:
        return "", NO_CAPTION
    if len(caption) > LONGEST_TEXT:
        return "", f"caption of more than {LONGEST_TEXT:,} characters"
    return caption, None


def finite_number(value: Any) -> float | None:
    """Return a value of JSON if the value is a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _description(content: bytes | None, shard: Path) -> dict[str, Any]:
    """Return what the JSON of a picture holds; nothing if the JSON is missing or no object."""
    if content is None:
        return {}
    try:
        columns = parse_json(content, shard.name)
    except Problem:
        return {}
    return columns if isinstance(columns, dict) else {}


def _rating(columns: dict[str, Any]) -> dict[str, float]:
    """Return ``{"rating": ...}`` if the JSON of a picture holds a rating, otherwise nothing.

    img2dataset's ``--save_additional_columns`` writes ratings into this JSON.
    """
    values = [columns[name] for name in RATINGS if name in columns]
    rating = finite_number(values[0]) if values else None
    return {} if rating is None else {"rating": rating}


def _dead_links(shard: Path) -> Counter[str]:
    """Return reason -> how many links of a shard gave no picture, as img2dataset counted.

    The counter is empty if img2dataset left no count.
    """
    path = shard.with_name(f"{shard.stem}_stats.json")
    if not os.path.lexists(path):
        return Counter()
    unreadable = Counter({"shard whose statistics cannot be read": 1})
    try:
        stats = read_json(path)
    except Problem:
        return unreadable
    if not isinstance(stats, dict):
        return unreadable
    lost = [stats.get(name) for name in ("failed_to_download", "failed_to_resize")]
    if not all(type(count) is int and 0 <= count < 2**53 for count in lost):
        return unreadable
    return +Counter({"dead link": lost[0], "picture could not be scaled": lost[1]})
