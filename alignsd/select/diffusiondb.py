"""Read DiffusionDB as the set is published: parts of about 1,000 images, straight out of the zip.

A part is ``part-000001.zip`` (PNG files in ``images/`` of DiffusionDB 2M; lossless WebP files in
``diffusiondb-large-part-1/`` and ``-2/`` of DiffusionDB Large). A part holds the images and
``part-000001.json``, which maps each image's file name to ``{"p": prompt, "se": seed, "c":
guidance, "st": steps, "sa": sampler}``. Nothing is unpacked to disk.

What cannot be used inside a part becomes a row with a status, so that the fault is counted. A part
that cannot be used at all is a Problem.

The parts lie in a folder (``Path``) or at a URL (``remote.RemoteFolder``), and are read alike.
"""

import lzma
import os
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from alignsd.base import images
from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.base.images import BadImage, read_image
from alignsd.base.paths import user_path
from alignsd.base.reading import (
    LOST_LINK,
    is_foreign_member,
    is_lost_link,
    listed,
    mistaken_for,
    parse_json,
)
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import command_for
from alignsd.kit.values.urls import check_url, is_remote, is_url, local_path
from alignsd.select.ranges import RangeReader
from alignsd.select.remote import RESUME, RemoteFolder, RemotePart, remote_folder

PART = re.compile(r"part-[0-9]{6}")
IMAGE_NAME = re.compile(r"[\w-][\w.-]*\.(png|webp)", re.IGNORECASE)
LONGEST_NAME = 200  # bytes of an image's name; a selected image is written under this name
LONGEST_PROMPT = 20_000  # characters; CLIP reads about 300, and a tokenizer reads all
MAX_BYTES = 2**28  # an image of the set has about 1 MB; a small zip can claim to hold anything
MAX_JSON_BYTES = 2**26  # the JSON of a part has about 1 MB
FOLDERS = ("images", "diffusiondb-large-part-1", "diffusiondb-large-part-2", ".")
# What zipfile raises for a member that is absent, encrypted, packed in an unknown way, cut short
# or damaged.
UNREADABLE = (
    KeyError,
    IndexError,
    RuntimeError,
    NotImplementedError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

OK = "ok"
DAMAGED = "damaged image"
FOREIGN = "foreign member"  # a file in the zip that is neither an image nor the part's JSON
REPEATED = "repeated name"  # a second file of the same name in one zip; the first file counts
NO_ENTRY = "image without entry"
NO_IMAGE = "entry without image"
BAD_ENTRY = "entry without prompt"
LONG_PROMPT = "prompt too long"

# The samplers' codes in the metadata table.
SAMPLERS = {
    name: code
    for code, name in enumerate(
        (
            "ddim",
            "plms",
            "k_euler",
            "k_euler_ancestral",
            "k_heun",
            "k_dpm_2",
            "k_dpm_2_ancestral",
            "k_lms",
            "others",
        ),
        start=1,
    )
}
METADATA = {
    "image_name": "str",
    "prompt": "str",
    "part_id": "uint16",
    "seed": "uint32",
    "step": "uint16",
    "cfg": "float32",
    "sampler": "uint8",
    "width": "uint16",
    "height": "uint16",
    "user_name": "str",
    "timestamp": "datetime64[us, UTC]",
    "image_nsfw": "float32",
    "prompt_nsfw": "float32",
}


Corpus = Path | RemoteFolder  # a copy of DiffusionDB
Part = Path | RemotePart  # a zip in the copy


def find_parts(folder: Corpus) -> Mapping[str, Part]:
    """Return the parts in a copy of DiffusionDB, name to zip, in the order of their numbers.

    The parts may lie in ``images/``, in the two folders of DiffusionDB Large, or directly in
    ``folder``. Other files are left alone.

    Raises:
        Problem: if there is no part, a folder cannot be opened, a number stands twice, or a server
            does not answer.
    """
    paths = [path for path in _zips(folder) if PART.fullmatch(path.stem)]
    paths.sort(key=lambda path: path.stem)
    if not paths:
        raise Problem(
            "There are no DiffusionDB parts.",
            expected=f"part-000001.zip, ... in {_named(folder)} or its images/",
            found="no such file",
            cause="a misspelt folder, parts that were unpacked, "
            "or a web server that shows no list of files",
            fix="give the folder that holds images/ as the parameter `parts`; keep the zips packed",
        )
    parts = {path.stem: path for path in paths}
    if len(parts) < len(paths):
        _refuse_twins(folder, paths, parts)
    return parts


def _zips(folder: Corpus) -> list[Part]:
    """Return the zip files of a copy of DiffusionDB, the files that are no parts included."""
    if isinstance(folder, RemoteFolder):
        return list(folder.zips(FOLDERS))
    subfolders = [folder / name for name in FOLDERS if os.path.isdir(folder / name)]
    return [path for subfolder in subfolders for path in listed(subfolder, ".zip", lost=True)]


def _named(folder: Corpus) -> str:
    return folder.name if isinstance(folder, RemoteFolder) else str(folder)


def _place(path: Part, folder: Corpus) -> tuple[str, str]:
    """Return a part's path below the folder, and the folder that holds the part."""
    if isinstance(path, RemotePart):
        return path.below, path.inside
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix(), str(path.parent)


def _refuse_twins(folder: Corpus, paths: list[Part], parts: Mapping[str, Part]) -> NoReturn:
    """Raise the Problem of parts that share a number."""
    twins = [path for path in paths if parts[path.stem] != path]
    one, one_folder = _place(twins[0], folder)
    other, other_folder = _place(parts[twins[0].stem], folder)
    names = f"{one}, {other}"
    expected = "each part number once"
    found = f"{len(paths)} files for {len(parts)} numbers, such as {names}"
    if one_folder == other_folder:
        raise Problem(
            "A part of DiffusionDB is there twice.",
            expected=expected,
            found=found,
            cause="a second copy under almost the same name",
            fix=f"move one of the two files away ({len(twins)} numbers are there twice)",
        )
    raise Problem(
        "DiffusionDB 2M and Large lie in one folder.",
        expected=expected,
        found=found,
        cause="the two sets share part numbers",
        fix="give each set a folder of its own",
    )


def parts_folder(name: str, resume: str = RESUME) -> Corpus:
    """Return the copy of DiffusionDB that a parameter ``parts`` names.

    Args:
        name: a path, relative to the repository or absolute, or any URL that fsspec can read.
        resume: the command that goes on with the run, for messages.

    Raises:
        Problem: if there is no such folder, or if the URL holds a password or a query, or cannot be
            read with the packages at hand. The server is not asked yet.
    """
    if is_url(name):
        check_url(name, "parameter parts")
    if is_remote(name):
        return remote_folder(name, resume=resume)
    folder = local_path(name) if is_url(name) else user_path(name)
    if not os.path.isdir(folder):  # False, too, for a name that no folder can have
        raise Problem(
            "The folder of DiffusionDB parts does not exist.",
            expected="a folder, a URL, or miniature",
            found=f"a file, {name!r}" if os.path.isfile(folder) else repr(name[:200]),
            cause="a misspelt path, or a path that is not relative to the repository",
            fix="--set parts=FOLDER",
        )
    return folder.resolve()


@contextmanager
def _opened(part: Part) -> Iterator[zipfile.ZipFile]:
    """Open a part.

    Raises:
        Problem: if the part is missing or not a whole zip file, if a server does not answer, or if
            the part was changed on the server.
    """
    if isinstance(part, Path):
        with _opened_here(part) as archive:
            yield archive
        return
    with part.folder.opened(part) as reader:
        try:
            archive = zipfile.ZipFile(reader)
        except UNREADABLE as error:
            reader.seek(0)
            mistake = mistaken_for(reader.read(64))
            found, cause = mistake or (told(error), "an upload that was cut off, or damaged bytes")
            raise _not_a_zip(part, found, cause, f"upload {part.name} again") from error
        with archive:
            yield archive


@contextmanager
def _opened_here(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a part on the disk."""
    try:
        if not os.path.exists(path):
            raise FileNotFoundError("no such file")
        if not os.path.isfile(path):  # opening a pipe would wait for a writer
            raise FileNotFoundError("a folder, a pipe or a device")
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        found, cause = _what_is_wrong(path, error)
        raise _not_a_zip(path, found, cause, f"download {path.name} again") from error
    with archive:
        yield archive


def _not_a_zip(part: Part, found: str, cause: str, again: str) -> Problem:
    return Problem(
        f"{part.name} cannot be opened.",
        expected="a zip file",
        found=found,
        cause=cause,
        fix=f"{again}, or move it away",
    )


def _announce(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo]) -> None:
    """Tell the reader of a remote part which members will be read next, in this order.

    A member's bytes end where the next member begins, or the zip's directory.
    """
    reader = _reader(archive)
    if reader is None:
        return
    starts = sorted({info.header_offset for info in archive.infolist()} | {archive.start_dir})
    end_of = dict(zip(starts, starts[1:], strict=False))
    wanted = [info.header_offset for info in members if info.file_size <= MAX_BYTES]
    spans = [(start, end_of.get(start)) for start in wanted]
    reader.plan((start, end) for start, end in spans if end is not None)


def _reader(archive: zipfile.ZipFile) -> RangeReader | None:
    """Return the reader of a remote part; None of a part on the disk."""
    file: object = archive.fp
    return file if isinstance(file, RangeReader) else None


def _what_is_wrong(path: Path, error: Exception) -> tuple[str, str]:
    """Return what the file is in place of a zip, and the likely cause."""
    if is_lost_link(path):
        return LOST_LINK, "the parts were copied without the files that the links lead to"
    if isinstance(error, FileNotFoundError):
        return str(error), "the part was moved away, or another path was given"
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError:
        return told(error), "a failing disk, or a file of another user"
    if not start:
        return "an empty file", "an interrupted download, or a full disk"
    if isinstance(error, NotImplementedError):
        return told(error), "damaged bytes, or a zip that was packed anew by a newer program"
    cut_off = (told(error), "a download that was cut off, or damaged bytes")
    return mistaken_for(start) or cut_off


def list_part(path: Part) -> pd.DataFrame:
    """Return what a part holds, without decoding images.

    Args:
        path: the zip, from ``find_parts`` or on the disk.

    Returns:
        One row per image, entry or foreign file, in the order of the zip: ``part``, ``image`` (file
        name without folders: the image's id), ``member`` (name inside the zip; None without an
        image), ``prompt`` and ``seed`` (None if unknown), ``status`` (a constant of this module;
        ``OK`` so far as can be told without decoding).

    Raises:
        Problem: if the zip or the JSON in the zip cannot be read.
    """
    with _opened(path) as archive:
        members = [info for info in archive.infolist() if not info.filename.endswith("/")]
        described = _json_member(members, path)
        entries = _entries(archive, described, path)
    rows = []
    counted: set[str] = set()  # images that a later member of the same name repeats
    present: set[str] = set()
    for info in members:
        if info is described:
            continue
        image = _image_name(info)
        status = _member_status(info, counted, entries)
        rows.append(_row(image, info.filename, entries.get(image), status))
        if status != FOREIGN:
            counted.add(image)
        if not _is_foreign(info):
            present.add(image)
    for image, entry in entries.items():
        if image not in present:
            rows.append(_row(image, None, entry, NO_IMAGE))
    table = pd.DataFrame(rows, columns=["image", "member", "prompt", "seed", "status"])
    table = table.astype({"seed": "Int64"})
    table.insert(0, "part", path.stem)
    return table


def _image_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name without folders.

    Folders may be written as on Windows, and accents as on a Mac.
    """
    name = PurePosixPath(info.filename.replace("\\", "/")).name
    return unicodedata.normalize("NFC", name)


def _is_foreign(info: zipfile.ZipInfo) -> bool:
    # zipfile cuts a name at a NUL byte: what is left is not the member's name.
    return not info.filename or "\0" in info.orig_filename or is_foreign_member(info.filename)


def _json_member(members: list[zipfile.ZipInfo], path: Part) -> zipfile.ZipInfo | None:
    """Return the member that describes the images.

    Of several such members, the member in the fewest folders is taken, then the first.
    """
    wanted = f"{path.stem}.json"
    named = [info for info in members if _image_name(info) == wanted and not _is_foreign(info)]
    return min(named, key=lambda info: len(PurePosixPath(info.filename).parts), default=None)


def _entries(
    archive: zipfile.ZipFile, described: zipfile.ZipInfo | None, path: Part
) -> dict[str, Any]:
    """Return the part's JSON, image name -> entry.

    Raises:
        Problem: if the JSON is missing, cannot be read, or holds no object.
    """
    wanted = f"{path.stem}.json"
    entries = None
    cause = "the zip was renamed, or a download was damaged"
    if described is None:
        found = "no such file"
    elif described.file_size > MAX_JSON_BYTES:
        found = f"{described.file_size:,} bytes, where a part has about 1 MB"
        cause = "another file under this name"
    else:
        try:
            _announce(archive, [described])
            content = _unpacked(archive, described)
        except UNREADABLE as error:
            found = f"{type(error).__name__}: {told(error)}"
        else:
            try:
                entries = parse_json(content, wanted)
                found = f"a {type(entries).__name__}"
            except Problem as problem:
                found, cause = problem.found, problem.cause
    if not isinstance(entries, dict):
        raise Problem(
            f"{path.name} has no usable {wanted}.",
            expected="a JSON object, file name to prompt and settings",
            found=found,
            cause=cause,
            fix=f"download {path.name} again, or move it away",
        )
    return {unicodedata.normalize("NFC", image): entry for image, entry in entries.items()}


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member's content, with hardly more memory than the member's stated size."""
    with archive.open(info) as file:
        if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return file.read(info.file_size + 1)
        # Every other method unpacks the whole input at once, so the input comes in small chunks.
        chunks = iter(lambda: file.read(4096), b"")
        return b"".join(chunks)


def _member_status(info: zipfile.ZipInfo, counted: set[str], entries: dict[str, Any]) -> str:
    """Return a member's status, where ``counted`` holds the images of earlier members."""
    image = _image_name(info)
    too_long = len(image.encode("utf-8", "replace")) > LONGEST_NAME
    if _is_foreign(info) or too_long or not IMAGE_NAME.fullmatch(image):
        return FOREIGN
    if image in counted:
        return REPEATED
    if image not in entries:
        return NO_ENTRY
    prompt = _prompt(entries[image])
    if prompt is None:
        return BAD_ENTRY
    return OK if len(prompt) <= LONGEST_PROMPT else LONG_PROMPT


def _row(image: str, member: str | None, entry: Any, status: str) -> dict[str, Any]:
    seed = entry.get("se") if isinstance(entry, dict) else None
    is_seed = type(seed) is int and 0 <= seed < 2**32
    return {
        "image": _encodable(image),
        "member": member,
        "prompt": _prompt(entry),
        "seed": seed if is_seed else None,
        "status": status,
    }


def _prompt(entry: Any) -> str | None:
    """Return an entry's prompt; None if the prompt is empty or blank."""
    prompt = entry.get("p") if isinstance(entry, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        return None
    return _encodable(prompt)


def _encodable(text: str) -> str:
    """Return text with a question mark for half a surrogate pair.

    JSON can spell half a surrogate pair, but no table can hold half a pair.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def read_members(path: Part, members: list[str]) -> Iterator[np.ndarray | BadImage]:
    """Decode images of a part in turn, straight out of the zip.

    Args:
        path: the part.
        members: names inside the zip, from ``list_part``. The first of two members of one name is
            read; ``list_part``, too, calls the first member ``OK``.

    Yields:
        For each member the pixels ``(height, width, 3)`` uint8, or the ``BadImage`` that says why
        there are no pixels: a file that is missing, encrypted, larger than ``MAX_BYTES``, no
        image, or fails the checksum.
    """
    with _opened(path) as archive:
        first: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if "\0" not in info.orig_filename:
                first.setdefault(info.filename, info)
        _announce(archive, [first[member] for member in members if member in first])
        for member in members:
            yield _read_member(archive, first.get(member), member)
        _require_unchanged(path)


def _require_unchanged(part: Part) -> None:
    """Do nothing if a remote part is still the part that was opened.

    Raises:
        Problem: if the part was changed on the server meanwhile, or the server does not answer.
    """
    if isinstance(part, RemotePart):
        part.folder.require_unchanged(part)


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, member: str
) -> np.ndarray | BadImage:
    if info is None:
        return BadImage(images.MISSING, member)
    if info.file_size > MAX_BYTES:
        return BadImage(images.TOO_LARGE, f"{member}: {info.file_size:,} bytes")
    try:
        return read_image(_unpacked(archive, info))
    except BadImage as error:
        return error
    except UNREADABLE as error:
        return BadImage(images.DAMAGED, f"{member}: {type(error).__name__}: {told(error)}")


def read_pictures(folder: Corpus, rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Read chosen images; each part is opened once, and only chosen images are fetched.

    Args:
        folder: copy of DiffusionDB, as for ``find_parts``.
        rows: columns ``part`` and ``image``.

    Yields:
        ``(image, pixels)``, pixels ``(height, width, 3)`` uint8, part by part; images that cannot
        be read are left out.

    Raises:
        Problem: if a part is missing or lacks a chosen image, if a part on a server was changed
            since the scoring, or if the server does not answer.
    """
    parts = find_parts(folder)
    again = _command_that_scores(folder)
    for part, wanted in rows.groupby("part", sort=True):
        if part not in parts:
            raise Problem(
                f"{part}.zip is missing.",
                expected=f"a part of this name in {folder.name}",
                found="no such file",
                cause="the part was scored and then moved away",
                fix=f"put {part}.zip back, or score anew: {again}",
            )
        with _opened(parts[part]) as archive:
            infos = _chosen(archive, wanted["image"])
            if len(infos) < len(wanted):
                raise Problem(
                    f"{part}.zip is not the part that was scored.",
                    expected=f"{len(wanted)} images that have scores",
                    found=f"{len(infos)} of them",
                    cause="the part was replaced",
                    fix=again,
                )
            _announce(archive, infos)
            for info in infos:
                picture = _read_member(archive, info, info.filename)
                if not isinstance(picture, BadImage):
                    yield _encodable(_image_name(info)), picture
        _require_unchanged(parts[part])


def _command_that_scores(folder: Corpus) -> str:
    stage = TABLES["scores"].stage
    if isinstance(folder, RemoteFolder):
        return f"{folder.connection.resume} --force {stage[:2]}"
    return command_for(stage, folder)


def _chosen(archive: zipfile.ZipFile, images: Iterable[str]) -> list[zipfile.ZipInfo]:
    """Return the members that hold chosen images; images that are not there are left out.

    The members come in the order of the images, and from a server in the order of the zip.
    """
    member_of: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if not info.filename.endswith("/") and not _is_foreign(info):
            member_of.setdefault(_encodable(_image_name(info)), info)
    chosen = [member_of[image] for image in images if image in member_of]
    if _reader(archive) is not None:
        chosen.sort(key=lambda info: info.header_offset)
    return chosen


def read_metadata(
    path: Path, columns: list[str] | None = None, parts: Sequence[int] | None = None
) -> pd.DataFrame:
    """Return the metadata: what each image was made with, without opening a part.

    Args:
        path: ``metadata.parquet`` or ``metadata-large.parquet``.
        columns: which of ``METADATA``'s columns to read; None for all.
        parts: numbers of the parts whose rows to read; None for all, which are 14 million rows in
            DiffusionDB Large.

    Raises:
        Problem: if there is no such file, or the file holds another table.
    """
    wanted = list(METADATA) if columns is None else columns
    only_parts = None if parts is None else [("part_id", "in", list(parts))]
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would wait
            raise ValueError("a folder, a pipe or a device in place of a file")
        return pd.read_parquet(path, columns=wanted, filters=only_parts)
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        raise Problem(
            f"{path.name} is not DiffusionDB's metadata.",
            expected="columns " + ", ".join(wanted),
            found=told(error) if os.path.lexists(path) else f"no such file at {path}",
            cause="a wrong path, another table, or a download that was cut off",
            fix="alignsd fetch --prompts-first gets the metadata from poloclub/diffusiondb "
            "on the Hugging Face hub",
        ) from error
