"""Writes and reads a Hugging Face imagefolder: pictures, and a ``metadata.jsonl`` that says what each of them is.

``datasets.load_dataset("imagefolder", data_dir=folder)`` reads the same folder. Each line of ``metadata.jsonl`` has
``file_name`` (a path below the folder) and ``text`` (the caption), and whatever else is known.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from alignsd.atomic import replacing
from alignsd.errors import Problem
from alignsd.images import BadImage, read_image, save_png
from alignsd.paths import user_path
from alignsd.progress import track

METADATA = "metadata.jsonl"
DAMAGED = "picture is damaged"
Pictures = Iterable[tuple[str, np.ndarray]]


def write_imagefolder(folder: Path, rows: pd.DataFrame, read: Callable[[pd.DataFrame], Pictures]) -> dict[str, int]:
    """Writes pictures and, when all are there, their metadata.

    Pictures are written one at a time and whole or not at all; those that are there already are not read again, so that a
    stopped run goes on where it stopped. ``metadata.jsonl`` comes last: a folder that has one is complete.

    Args:
        folder: where to write; made if need be.
        rows: ``file_name`` (ends in ``.png``), ``text``, and any other columns; one line is written per row.
        read: given the rows whose picture is not there yet, yields ``(file_name, pixels)`` with pixels ``(height, width,
            3)`` uint8. It may leave some out: their rows are not written, but counted.

    Returns:
        How many were ``written``, ``there already`` and ``unreadable``.

    Raises:
        ValueError: if a file name stands twice or leads out of the folder.
    """
    if rows["file_name"].duplicated().any() or not all(map(_inside, rows["file_name"])):
        raise ValueError("expected each file_name once and below the folder")
    # Deviation: the official code saves JPEG of quality 95; PNG keeps the very pixels that were scored.
    missing = rows[~_present(folder, rows)]
    for name, pixels in track(read(missing), total=len(missing), what="writing pictures", unit="picture"):
        save_png(folder / name, pixels)
    complete = rows[_present(folder, rows)]
    _write_lines(folder / METADATA, complete)
    there = len(rows) - len(missing)
    return {"written": len(complete) - there, "there already": there, "unreadable": len(rows) - len(complete)}


def _present(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    return np.array([(folder / name).exists() for name in rows["file_name"]], dtype=bool)


def _write_lines(path: Path, rows: pd.DataFrame) -> None:
    columns = list(rows.columns)
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        for values in rows.itertuples(index=False):
            row = dict(zip(columns, values, strict=True))
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=lambda value: value.item()) + "\n")


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def read_rows(folder: Path, check_images: bool = True) -> tuple[pd.DataFrame, dict[str, int]]:
    """Reads an imagefolder's metadata and counts what cannot be used.

    Args:
        folder: with ``metadata.jsonl``.
        check_images: decode each picture once, so that a damaged one is found now and not in the middle of a training.

    Returns:
        The usable rows, in the order of the lines (``file_name``, ``text`` and the other fields), and how many lines were
        left out for each reason.

    Raises:
        Problem: if there is no ``metadata.jsonl`` or no usable line in it.
    """
    rows, reasons = [], Counter()
    for row, reason in usable_rows(folder, check_images):
        rows += [row] if reason is None else []
        reasons.update([reason] if reason else [])
    if not rows:
        raise Problem(f"{folder.name} holds no usable picture.", expected="lines with file_name and text",
                      found=", ".join(f"{n} x {reason}" for reason, n in reasons.items()) or "an empty file",
                      cause="nothing was selected, or the pictures were moved away",
                      fix="run the notebook that writes it again")
    return pd.DataFrame(rows), dict(reasons)


def usable_rows(folder: Path, check_images: bool = True) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
    """Yields each line of an imagefolder's metadata as its row and None, or as None and the reason why it cannot be used.

    Args:
        folder, check_images: as ``read_rows`` takes them.

    Raises:
        Problem: if there is no ``metadata.jsonl``.
    """
    try:
        lines = (folder / METADATA).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise Problem(f"{folder.name} is no imagefolder.", expected=METADATA, found=error.strerror or str(error),
                      cause="writing it was stopped before the end, or another folder was given",
                      fix="run the notebook that writes it again; docs/data_formats.md has the layout") from error
    yield from (_parse(line, folder, check_images) for line in lines if line.strip())


def read_table(folder: Path, check_images: bool = True) -> pd.DataFrame:
    """Returns ``read_rows``' usable rows and warns with the counts of those left out, if any."""
    rows, reasons = read_rows(folder, check_images)
    if reasons:
        counts = ", ".join(f"{n} x {reason}" for reason, n in sorted(reasons.items()))
        left_out = sum(reasons.values())
        warnings.warn(f"{folder.name}: {left_out} of {len(rows) + left_out} lines left out: {counts}", stacklevel=2)
    return rows


def _parse(line: str, folder: Path, check_image: bool) -> tuple[dict[str, Any] | None, str | None]:
    """Returns a line's row, or None and the reason why it cannot be used."""
    try:
        row = json.loads(line)
    except ValueError:
        return None, "line is not JSON"
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or not isinstance(row.get("text"), str):
        return None, "line lacks file_name or text"
    if not _inside(row["file_name"]):
        return None, "file_name leads out of the folder"
    if not (folder / row["file_name"]).is_file():
        return None, "picture is missing"
    if check_image:
        try:
            read_image(folder / row["file_name"])
        except BadImage:
            return None, DAMAGED
    return row, None


def regularization_folder(source: str, n: int, own: Path, seed: int, minimum_rating: float = 6.5, clip: str = "miniature/clip",
                          aesthetic: str = "miniature/aesthetic", device: str = "auto") -> Path:
    """Returns the imagefolder that a notebook's parameter ``regularization`` names.

    Args:
        source: an imagefolder; a folder of webdataset shards, unpacked into ``own``; or ``"miniature"``: write pictures of the
            simulated web into ``own``.
        n: number of pictures that the miniature writes.
        own: where to write.
        seed: which pictures of the web.
        minimum_rating: of the aesthetic predictor, 1-10 (paper: LAION aesthetics 6.5+).
        clip, aesthetic, device: of the predictor that rates the miniature's.

    Raises:
        Problem: if the folder does not exist.
    """
    if source == "miniature":
        from alignsd.miniature.corpus import write_regularization
        write_regularization(own, n, seed, minimum_rating, clip, aesthetic, device)
        return own
    folder = user_path(source)
    if not folder.is_dir():
        raise Problem("The folder of regularization images does not exist.", expected="an imagefolder, webdataset shards, or miniature",
                      found=repr(source), cause="a misspelt path", fix="set the parameter `regularization` of 05")
    if (folder / METADATA).exists() or not any(folder.glob("*.tar")):
        return folder
    from alignsd.webshards import unpack_shards
    counts = unpack_shards(folder, own)
    if len(counts) > 1:
        told = ", ".join(f"{count} x {reason}" for reason, count in counts.items() if reason != "unpacked")
        warnings.warn(f"{folder.name}: {counts['unpacked']} pictures unpacked; left out: {told}", stacklevel=2)
    return own
