"""Write and read a Hugging Face imagefolder: pictures and their ``metadata.jsonl``.

``datasets.load_dataset("imagefolder", data_dir=folder)`` reads the same folder. Each line of
``metadata.jsonl`` has ``file_name`` (a path below the folder), ``text`` (the caption), and whatever
else is known of the picture.
"""

import json
import os
import shlex
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from alignsd.base import images
from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.images import SUFFIXES, BadImage, read_image, save_png
from alignsd.base.paths import shown
from alignsd.base.processes import first_does, gathered, share
from alignsd.base.progress import track
from alignsd.base.reading import is_foreign_member, is_text, listed, read_json_lines

METADATA = "metadata.jsonl"
DAMAGED = "picture is damaged"
MISSING = "picture is missing"
NOT_JSON = "line is not JSON"
LACKS = "line lacks file_name or text"
OTHER_METADATA = (METADATA, "metadata.csv", "metadata.parquet")  # names in lower case
PACKED = (".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
LONGEST_NAME = 255  # bytes of a file's name; the limit of the usual file systems
LONGEST_TEXT = 20_000  # characters of a caption; CLIP reads about 300, and a tokenizer reads all
Pictures = Iterable[tuple[str, np.ndarray]]


def write_imagefolder(
    folder: Path, rows: pd.DataFrame, read: Callable[[pd.DataFrame], Pictures]
) -> dict[str, int]:
    """Write pictures and, when all pictures are there, the metadata.

    Pictures are written one at a time and whole or not at all. Existing pictures are not read
    again, so a stopped run goes on with the next picture. ``metadata.jsonl`` comes last: a folder
    that has a ``metadata.jsonl`` is complete. Several processes divide the rows.

    Args:
        folder: where to write; made if need be.
        rows: ``file_name`` (ends in ``.png``), ``text``, and any other columns; one line is written
            per row.
        read: given the rows whose picture is not there yet, yields ``(file_name, pixels)`` with
            pixels ``(height, width, 3)`` uint8. Rows that ``read`` leaves out are not written, but
            counted.

    Returns:
        How many were ``written``, ``there already`` and ``unreadable``.

    Raises:
        Problem: if a file name stands twice, leads out of the folder or can name no file, if a
            value cannot stand in JSON, or if a file cannot be written.
    """
    _check_names(rows["file_name"])
    _check_values(rows)
    own = rows.iloc[share(range(len(rows)))]
    missing = own[~_present(folder, own)]
    pictures = read(missing)
    # Deviation: the official code saves JPEG of quality 95; PNG keeps the pixels that were scored.
    for name, pixels in track(
        pictures, total=len(missing), what="writing pictures", unit="picture"
    ):
        save_png(folder / name, pixels)
    # From here on, the pictures of all processes are there.
    there_already = sum(gathered([len(own) - len(missing)]))
    complete = rows[_present(folder, rows)]
    first_does(lambda: _write_lines(folder / METADATA, complete))
    return {
        "written": len(complete) - there_already,
        "there already": there_already,
        "unreadable": len(rows) - len(complete),
    }


def _check_names(names: pd.Series) -> None:
    repeated = names[names.duplicated()].tolist()
    unwritable = [name for name in names if not _writable(name)]
    if not repeated and not unwritable:
        return
    if unwritable:
        fault, example = f"{len(unwritable)} other names", unwritable[0]
    else:
        fault, example = f"{len(repeated)} names twice", repeated[0]
    raise Problem(
        "The pictures cannot be written.",
        expected="each file_name once, the path of a file below the folder",
        found=f"{fault}, such as {str(example)[:80]!r}",
        cause="the pictures' names were made from ids that cannot name a file",
        fix="give each row a file_name of its own, of letters, digits, '-', '_' and '/'",
    )


def _check_values(rows: pd.DataFrame) -> None:
    for column in rows:
        values = rows[column]
        bad = [value for value in values if not _is_json(value)]
        if bad:
            raise Problem(
                f"{METADATA} cannot be written.",
                expected="text that UTF-8 can hold, and finite numbers",
                found=f"{len(bad)} other values in {column!r}, such as {str(bad[0])[:80]!r}",
                cause="a score that is missing or not finite, or half a character in a caption",
                fix="leave out the rows without a value",
            )


def _is_json(value: Any) -> bool:
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, float | np.floating):
        return bool(np.isfinite(value))
    return True


def _present(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    return np.array([os.path.isfile(folder / name) for name in rows["file_name"]], dtype=bool)


def _write_lines(path: Path, rows: pd.DataFrame) -> None:
    columns = list(rows.columns)
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        for values in rows.itertuples(index=False):
            row = dict(zip(columns, values, strict=True))
            line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_python)
            file.write(line + "\n")


def _as_python(value: np.generic) -> Any:
    """Return Python's number for numpy's, which ``json`` cannot write."""
    return value.item()


def _writable(name: Any) -> bool:
    """Return whether a name is the path of a picture that we would find again below the folder."""
    if not _inside(name) or "\\" in name or is_foreign_member(name):
        return False
    if any(unicodedata.category(character) == "Cc" for character in name):
        return False
    lengths = [len(part.encode()) for part in PurePosixPath(name).parts]
    return max(lengths) <= LONGEST_NAME


def _inside(name: Any) -> bool:
    """Return whether a name is text and the path of something below a folder."""
    if not is_text(name) or not name:
        return False
    path = PurePosixPath(name)
    return path.parts != () and not path.is_absolute() and ".." not in path.parts


def read_rows(folder: Path, check_images: bool = True) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return an imagefolder's usable rows, and count what cannot be used.

    Args:
        folder: with ``metadata.jsonl``.
        check_images: decode each picture once, so that a damaged picture is found now and not in
            the middle of a training.

    Returns:
        The usable rows, in the order of the lines (``file_name``, ``text`` and the other fields),
        and how many lines were left out for each reason.

    Raises:
        Problem: if ``metadata.jsonl`` is missing, has no usable line, or is in another encoding.
    """
    rows = []
    reasons: Counter[str] = Counter()
    for row, reason in usable_rows(folder, check_images):
        if reason is None:
            rows.append(row)
        else:
            reasons[reason] += 1
    if not rows:
        raise _nothing_usable(folder, reasons)
    return pd.DataFrame(rows), dict(reasons)


def _nothing_usable(folder: Path, reasons: Counter[str]) -> Problem:
    """Return why no line of an imagefolder can be used, by the fault of most lines."""
    layout = 'write one line per picture: {"file_name": "a.png", "text": "a caption"}'
    causes = {
        NOT_JSON: ("another program wrote the file, or the file is damaged", layout),
        LACKS: ("another program wrote the lines: the names of their fields differ", layout),
        DAMAGED: ("the pictures are damaged", "copy the pictures again"),
        MISSING: ("the pictures were moved away", f"put the pictures back below {shown(folder)}"),
    }
    main_reason = max(reasons, key=reasons.__getitem__, default="")
    other = ("nothing was selected, or the pictures were moved away", "run its notebook again")
    cause, fix = causes.get(main_reason, other)
    return Problem(
        f"{folder.name} holds no usable picture.",
        expected="lines with file_name and text",
        found=", ".join(f"{n} x {reason}" for reason, n in reasons.items()) or "an empty file",
        cause=cause,
        fix=fix,
    )


def _no_imagefolder(folder: Path) -> Problem:
    """Return why a folder is no imagefolder, by what lies there in place of the metadata."""
    found, cause, fix = _in_place_of_metadata(folder)
    return Problem(
        f"{folder.name} is no imagefolder.",
        expected=METADATA,
        found=found,
        cause=cause,
        fix=fix,
    )


def _in_place_of_metadata(folder: Path) -> tuple[str, str, str]:
    """Return what lies in a folder that has no metadata, the likely cause, and the fix."""
    files = listed(folder, deep=True) if os.path.isdir(folder) else []
    deeper = [file for file in files if file.name.lower() in OTHER_METADATA]
    shards = [file for file in files if file.suffix.lower() == ".tar"]
    packed = [file for file in files if file.name.lower().endswith(PACKED)]
    first = next(iter(deeper or shards or packed), None)
    texts = {file.with_suffix("") for file in files if file.suffix.lower() == ".txt"}
    described = [file for file in files if _is_picture(file) and file.with_suffix("") in texts]
    if described and not deeper:
        return (
            f"{len(described):,} pictures with a .txt of the same name",
            "img2dataset's output format files, or a folder made for another trainer",
            _command_for_texts(folder),
        )
    if first is None:
        return (
            "no such file",
            "writing it was stopped before the end, or another folder was given",
            "run the notebook that writes it again; docs/data_formats.md has the layout",
        )
    name, holder = first.relative_to(folder).as_posix(), first.parent
    if deeper and first.name != METADATA:
        return (
            f"{name} in its place",
            f"the metadata has another name: only {METADATA} is read",
            f"write the metadata as {shown(holder / METADATA)}, one JSON object per line",
        )
    if deeper:
        return (
            f"{name} in its place",
            "the imagefolder lies one level deeper",
            f"give the folder {shown(holder)}",
        )
    found = f"{METADATA} is not there, but {name}"
    if shards:
        return found, "the shards lie in a folder below", f"give the folder {shown(holder)}"
    return (
        found,
        "the pictures or shards are still packed: only .tar files are unpacked",
        f"unpack {name} (gunzip, unzip), and give the folder that holds the files",
    )


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _command_for_texts(folder: Path) -> str:
    """Return the command that writes the metadata from texts beside the pictures."""
    script = (
        "import json, pathlib, sys; folder = pathlib.Path(sys.argv[1]); "
        "rows = [{'file_name': str(p.relative_to(folder)), "
        "'text': p.with_suffix('.txt').read_text('utf-8').strip()} "
        "for p in sorted(folder.rglob('*')) "
        f"if p.suffix.lower() in {SUFFIXES} and p.with_suffix('.txt').is_file()]; "
        f"(folder / '{METADATA}').write_text('\\n'.join(map(json.dumps, rows)))"
    )
    return f'python -c "{script}" {shlex.quote(shown(folder))}'


def usable_rows(
    folder: Path, check_images: bool = True
) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
    """Yield for each line of an imagefolder's metadata the row and None, or None and the fault.

    The row's ``file_name`` is the path at which the picture was found: a line written on Windows
    may have back-slashes, and a copy made on a Mac may spell accents in another way.

    Args:
        folder, check_images: as for ``read_rows``.

    Raises:
        Problem: if ``metadata.jsonl`` is missing or cannot be read as text.
    """
    if not os.path.lexists(folder / METADATA):
        raise _no_imagefolder(folder)
    seen: set[str] = set()
    for _, value in read_json_lines(folder / METADATA):
        row, reason = _row(value, folder, check_images)
        if row is not None:
            picture = PurePosixPath(row["file_name"]).as_posix()  # ./a.png is a.png
            if picture in seen:
                row, reason = None, "file_name stands in an earlier line"
            seen.add(picture)
        yield row, reason


def read_imagefolder(folder: Path, check_images: bool = True) -> pd.DataFrame:
    """Return an imagefolder's usable rows, and warn if lines were left out, with their number.

    Arguments and errors are the same as for ``read_rows``.
    """
    rows, reasons = read_rows(folder, check_images)
    if reasons:
        counts = ", ".join(f"{n} x {reason}" for reason, n in sorted(reasons.items()))
        left_out = sum(reasons.values())
        lines = len(rows) + left_out
        message = f"{folder.name}: {left_out} of {lines} lines left out: {counts}"
        warnings.warn(message, stacklevel=2)
    return rows


def _row(value: Any, folder: Path, check_image: bool) -> tuple[dict[str, Any] | None, str | None]:
    """Return a line's row, or None and the reason why the line cannot be used."""
    if isinstance(value, Problem):
        return None, NOT_JSON
    reason = _fault(value)
    if reason is not None:
        return None, reason
    name, reason = _located(folder, value["file_name"])
    if name is None:
        return None, reason
    if check_image:
        reason = picture_fault(folder / name)
    if reason is not None:
        return None, reason
    return value | {"file_name": name}, None


def _fault(value: Any) -> str | None:
    """Return why a line's value is no row, without a look at the picture."""
    if not isinstance(value, dict):
        return LACKS
    if not isinstance(value.get("file_name"), str) or not isinstance(value.get("text"), str):
        return LACKS
    texts = [item for item in value.values() if isinstance(item, str)]
    if not all(is_text(text) for text in [*value, *texts]):
        return "line holds half a character"
    if not value["text"].strip():
        return "text is empty"
    if len(value["text"]) > LONGEST_TEXT:
        return f"text of more than {LONGEST_TEXT:,} characters"
    return None


def picture_fault(path: Path) -> str | None:
    """Return why a picture cannot be used, or None if the picture is whole."""
    try:
        read_image(path)
    except BadImage as error:
        return reason_of(error)
    return None


def reason_of(error: BadImage) -> str:
    """Return how the counts of an imagefolder call a bad picture."""
    return DAMAGED if error.reason == images.DAMAGED else f"picture cannot be used: {error.reason}"


def _located(folder: Path, name: str) -> tuple[str | None, str | None]:
    """Return the path below the folder at which a picture lies and None, or None and the fault."""
    if _inside(name) and os.path.isfile(folder / name):
        return name, None
    windows = PureWindowsPath(name)
    posix = name.replace("\\", "/")
    if windows.drive or windows.root or not _inside(posix):
        return None, "file_name leads out of the folder"
    path = ""
    for part in PurePosixPath(posix).parts:
        present = _as_spelt(folder, path, part)
        if present is None:
            return None, MISSING
        path = present
    return (path, None) if os.path.isfile(folder / path) else (None, MISSING)


def _as_spelt(folder: Path, parent: str, part: str) -> str | None:
    """Return ``parent/part`` as the file system spells the accents of ``part``, or None."""
    spellings = [part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))]
    for spelling in spellings:
        path = f"{parent}/{spelling}" if parent else spelling
        if os.path.exists(folder / path):
            return path
    return None
