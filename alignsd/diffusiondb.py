"""Reads DiffusionDB as it is published: parts of about 1,000 images with their prompts, straight out of the zip.

A part is ``part-000001.zip`` (PNG files in ``images/`` of DiffusionDB 2M; lossless WebP files in
``diffusiondb-large-part-1/`` and ``-2/`` of DiffusionDB Large). It holds the images and ``part-000001.json``, which maps
each image's file name to ``{"p": prompt, "se": seed, "c": guidance, "st": steps, "sa": sampler}``. Nothing is unpacked to
disk. What cannot be used inside a part becomes a row with a status, so that it is counted; a part that cannot be used at
all is a Problem.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from alignsd.downloads import told
from alignsd.errors import Problem
from alignsd.images import BadImage, read_image
from alignsd.paths import user_path

PART = re.compile(r"part-\d{6}")
IMAGE_NAME = re.compile(r"[\w-][\w.-]*\.(png|webp)", re.IGNORECASE)
MAX_BYTES = 2**28  # an image of the set has about 1 MB; a small zip can claim to hold anything
FOLDERS = ("images", "diffusiondb-large-part-1", "diffusiondb-large-part-2", ".")
# What zipfile raises for a member that is absent, encrypted, packed in an unknown way, cut short or damaged.
UNREADABLE = (KeyError, RuntimeError, NotImplementedError, OSError, EOFError, zipfile.BadZipFile, zlib.error)

OK = "ok"
DAMAGED = "damaged image"
FOREIGN = "foreign member"  # a file in the zip that is neither an image nor the part's JSON
REPEATED = "repeated name"  # a second file of the same name in one zip; the first one counts
NO_ENTRY = "image without entry"
NO_IMAGE = "entry without image"
BAD_ENTRY = "entry without prompt"

# The samplers' codes in the metadata table.
SAMPLERS = {name: code for code, name in enumerate(
    ("ddim", "plms", "k_euler", "k_euler_ancestral", "k_heun", "k_dpm_2", "k_dpm_2_ancestral", "k_lms", "others"), start=1)}
METADATA = {"image_name": "str", "prompt": "str", "part_id": "uint16", "seed": "uint32", "step": "uint16", "cfg": "float32",
            "sampler": "uint8", "width": "uint16", "height": "uint16", "user_name": "str",
            "timestamp": "datetime64[us, UTC]", "image_nsfw": "float32", "prompt_nsfw": "float32"}


def find_parts(folder: Path) -> dict[str, Path]:
    """Returns the parts in a copy of DiffusionDB, name to zip, in the order of their numbers.

    Looks in ``images/``, in the two folders of DiffusionDB Large, and in ``folder`` itself. Other files are left alone.

    Raises:
        Problem: if there is none, or the same number stands in two of these places.
    """
    found = (path for name in FOLDERS for path in (folder / name).glob("part-*.zip") if PART.fullmatch(path.stem))
    paths = sorted(found, key=lambda path: path.stem)
    if not paths:
        raise Problem("There are no DiffusionDB parts.", expected=f"part-000001.zip, ... in {folder} or its images/",
                      found="no such file", cause="a misspelt folder, or the parts were unpacked",
                      fix="give the folder that holds images/ as the parameter `parts`; keep the zip files as they are")
    parts = {path.stem: path for path in paths}
    if len(parts) < len(paths):
        raise Problem("DiffusionDB 2M and Large lie in one folder.", expected="each part number once",
                      found=f"{len(paths)} files for {len(parts)} numbers", cause="the two sets share part numbers",
                      fix="give each set a folder of its own")
    return parts


def parts_folder(source: str, own: Path, **corpus: Any) -> Path:
    """Returns the folder of the parts that a notebook's parameter ``parts`` names.

    Args:
        source: a folder, or ``"miniature"``: draw a corpus into ``own`` with the miniature's base model.
        own: where the miniature writes.
        **corpus: what ``miniature.corpus.write_corpus`` takes besides the folder.

    Raises:
        Problem: if the folder does not exist.
    """
    if source == "miniature":
        from alignsd.miniature.corpus import write_corpus
        write_corpus(own, **corpus)
        return own
    folder = user_path(source)
    if not folder.is_dir():
        raise Problem("The folder of DiffusionDB parts does not exist.", expected="a folder, or miniature",
                      found=repr(source), cause="a misspelt path, or one that is not relative to the repository",
                      fix="set the parameter `parts` of 03")
    return folder.resolve()


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens a part, or raises a Problem if it is missing or not a whole zip file."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise Problem(f"{path.name} cannot be opened.", expected="a zip file", found=str(error),
                      cause="a download that was cut off", fix=f"download {path.name} again, or move it away") from error
    with archive:
        yield archive


def list_part(path: Path) -> pd.DataFrame:
    """Lists what a part holds, without decoding images.

    Returns:
        One row per image, entry or foreign file, in the order of the zip: ``part``, ``image`` (file name without folders:
        the image's id), ``member`` (name inside the zip; None if there is no image), ``prompt`` (None if there is none),
        ``seed`` (None if there is none), ``status`` (one of this module's; ``OK`` so far as can be told without decoding).

    Raises:
        Problem: if the zip or its JSON cannot be read.
    """
    with _opened(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/")]
        entries = _entries(archive, path)
    rows, seen = [], set()
    for member in members:
        image = PurePosixPath(member).name
        if image == f"{path.stem}.json":
            continue
        rows.append(_row(image, member, entries.get(image), _member_status(image, seen, entries)))
        seen.add(image)
    rows += [_row(image, None, entry, NO_IMAGE) for image, entry in entries.items() if image not in seen]
    table = pd.DataFrame(rows, columns=["image", "member", "prompt", "seed", "status"]).astype({"seed": "Int64"})
    table.insert(0, "part", path.stem)
    return table


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Returns the part's JSON, or raises a Problem."""
    wanted = f"{path.stem}.json"
    member = next((name for name in archive.namelist() if PurePosixPath(name).name == wanted), None)
    try:
        entries = json.loads(archive.read(member)) if member else None
        reason = f"a {type(entries).__name__}" if member else "no such file"
    except (RecursionError, ValueError, *UNREADABLE) as error:
        entries, reason = None, f"{type(error).__name__}: {error}"
    if not isinstance(entries, dict):
        raise Problem(f"{path.name} has no usable {wanted}.", expected="a JSON object, file name to prompt and settings",
                      found=reason, cause="the zip was renamed, or a download was damaged",
                      fix=f"download {path.name} again, or move it away")
    return entries


def _member_status(image: str, seen: set[str], entries: dict[str, Any]) -> str:
    if not IMAGE_NAME.fullmatch(image):
        return FOREIGN
    if image in seen:
        return REPEATED
    if image not in entries:
        return NO_ENTRY
    return OK if _prompt(entries[image]) is not None else BAD_ENTRY


def _row(image: str, member: str | None, entry: Any, status: str) -> dict[str, Any]:
    seed = entry.get("se") if isinstance(entry, dict) else None
    whole = isinstance(seed, int) and 0 <= seed < 2**32
    return {"image": _encodable(image), "member": member, "prompt": _prompt(entry), "seed": seed if whole else None,
            "status": status}


def _prompt(entry: Any) -> str | None:
    prompt = entry.get("p") if isinstance(entry, dict) else None
    return _encodable(prompt) if isinstance(prompt, str) else None


def _encodable(text: str) -> str:
    """JSON can spell half a surrogate pair, which no table can hold; it becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_members(path: Path, members: list[str]) -> Iterator[np.ndarray | BadImage]:
    """Decodes images of a part one after the other, straight out of the zip.

    Args:
        path: the part.
        members: names inside the zip, from ``list_part``.

    Yields:
        For each member its pixels ``(height, width, 3)`` uint8, or the ``BadImage`` that says why there are none: a file
        that is missing, encrypted, larger than ``MAX_BYTES``, fails its checksum, or is no image.
    """
    with _opened(path) as archive:
        for member in members:
            yield _read_member(archive, member)


def _read_member(archive: zipfile.ZipFile, member: str) -> np.ndarray | BadImage:
    try:
        size = archive.getinfo(member).file_size
        return BadImage(f"{size:,} bytes") if size > MAX_BYTES else read_image(archive.read(member))
    except BadImage as error:
        return error
    except UNREADABLE as error:
        return BadImage(f"{type(error).__name__}: {error}")


def read_pictures(folder: Path, rows: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Reads chosen images, opening each part once.

    Args:
        folder: copy of DiffusionDB, as ``find_parts`` takes it.
        rows: columns ``part`` and ``image``.

    Yields:
        ``(image, pixels)``, pixels ``(height, width, 3)`` uint8, part by part; images that cannot be read are left out.

    Raises:
        Problem: if a part is missing or does not hold one of the images.
    """
    parts = find_parts(folder)
    for part, wanted in rows.groupby("part", sort=True):
        if part not in parts:
            raise Problem(f"{part}.zip is missing.", expected=f"a part of this name in {folder.name}", found="no such file",
                          cause="the part was scored and then moved away",
                          fix="put it back, or score anew: alignsd run --run <run> --from 03")
        listed = list_part(parts[part])
        member = listed[listed["member"].notna()].drop_duplicates("image").set_index("image")["member"]
        names = [name for name in wanted["image"] if name in member.index]
        if len(names) < len(wanted):
            raise Problem(f"{part}.zip is not the part that was scored.", expected=f"{len(wanted)} images that have scores",
                          found=f"{len(names)} of them", cause="the part was replaced", fix="alignsd run --run <run> --force --from 03")
        pixels = read_members(parts[part], member.loc[names].tolist())
        yield from ((name, image) for name, image in zip(names, pixels, strict=True) if not isinstance(image, BadImage))


def read_metadata(path: Path, columns: list[str] | None = None, parts: Sequence[int] | None = None) -> pd.DataFrame:
    """Reads ``metadata.parquet`` or ``metadata-large.parquet``: what each image was made with, without opening a part.

    Args:
        path: the table.
        columns: which of ``METADATA``'s columns to read; None for all, of 14 million rows in DiffusionDB Large.
        parts: numbers of the parts whose rows to read; None for all.

    Raises:
        Problem: if there is no such file, or it is no such table.
    """
    wanted = list(METADATA) if columns is None else columns
    try:
        return pd.read_parquet(path, columns=wanted, filters=None if parts is None else [("part_id", "in", list(parts))])
    except (OSError, ValueError, KeyError) as error:
        found = told(error) if path.is_file() else f"no such file at {path}"
        raise Problem(f"{path.name} is not DiffusionDB's metadata.", expected="columns " + ", ".join(wanted), found=found,
                      cause="a wrong path, another table, or a download that was cut off",
                      fix="alignsd fetch --prompts-first gets it from poloclub/diffusiondb on the Hugging Face hub") from error
