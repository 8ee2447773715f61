"""Files that are either whole or absent: written beside their place, then renamed."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alignsd.errors import Problem

# How temporary files are called: .<name>.<process id>.part<suffix>
TEMPORARY = re.compile(r"\..*\.(\d+)\.part(\.[^/]*)?", re.DOTALL)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and puts it in ``path``'s place if the block ends well.

    The temporary path keeps the suffix, for writers that choose a format by it. It need not exist beforehand; parent
    folders are made. If the block raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: the file to write or to replace.

    Raises:
        FileNotFoundError: if the block did not write the temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path | str, deep: bool = True) -> list[Path]:
    """Delete the temporary files that killed processes left in a folder.

    A temporary file of a living process stays, this process's own files included. Process ids are
    those of this machine: call ``sweep`` while holding the folder's lock (``locks.hold``), so that
    no other machine writes there. Links to other folders are not followed.

    Args:
        folder: the folder; nothing happens if there is none.
        deep: whether folders below are swept too.

    Returns:
        The files that were deleted.
    """
    dead = []
    for parent, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        for match in filter(None, map(TEMPORARY.fullmatch, names)):
            path = Path(parent, match[0])
            if _is_written_by(int(match[1]), path):
                continue
            with suppress(OSError):  # a file that cannot be deleted does no harm
                path.unlink()
                dead.append(path)
    return dead


def write_json(path: Path | str, value: Any) -> None:
    """Writes ``value`` as indented JSON; numpy scalars and arrays become numbers and lists.

    Raises:
        Problem: if ``value`` holds a NaN, an infinity or something that JSON cannot hold.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise Problem(f"{Path(path).name} could not be written.", expected="finite numbers, text, lists and dictionaries",
                      found=str(error), cause="a mean over nothing, or an object put into a result by mistake",
                      fix="look at the value printed above; None stands for a value that does not exist") from error
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path | str, table) -> None:
    """Writes a pandas ``DataFrame`` as parquet, without its index."""
    with replacing(path) as part:
        table.to_parquet(part, index=False)


def read_table(path: Path | str, columns: Sequence[str] | None = None):
    """Reads a table that ``write_table`` wrote.

    Args:
        path: the parquet file.
        columns: those that are needed; None for all there are.

    Raises:
        Problem: if it is missing or damaged, or lacks a column.
    """
    import pandas as pd  # takes half a second: only when a table is read

    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError, KeyError) as error:
        raise Problem(f"{Path(path).name} cannot be read.", found=str(error).splitlines()[0],
                      expected="a whole parquet table" + (f" with {', '.join(columns)}" if columns else ""),
                      cause="it was deleted, cut off by a full disk, or written by another version of the kit",
                      fix=f"delete {Path(path).name} and run the notebook that writes it again") from error


def _is_written_by(process: int, path: Path) -> bool:
    """Return whether a living process of this number is old enough to have written a file.

    Numbers of processes are used again, in containers very soon.
    """
    import psutil  # only when a temporary file was left behind

    try:
        return psutil.Process(process).create_time() <= path.stat().st_mtime + 1
    except (psutil.NoSuchProcess, FileNotFoundError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
