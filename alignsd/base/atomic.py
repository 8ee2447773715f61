"""Write files that are either whole or absent: under a temporary name first, then renamed."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alignsd.base import processes
from alignsd.base.errors import Problem
from alignsd.base.paths import shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, quota used up, file too large
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_SPACE = ("No space left on device", "Disk quota exceeded", "There is not enough space")

# Names of temporary files: .<name>.<process id>.part<suffix>. Where several processes share the
# work, perhaps on several machines with the same ids, the process's number stands before the id.
TEMPORARY = re.compile(r"\..*\.(\d+)\.part(\.[^/]*)?", re.DOTALL)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename the file to ``path`` if the block ends well.

    The temporary path keeps the suffix, because some writers choose the format by the suffix. The
    temporary file need not exist beforehand; parent folders are made. If the block raises, the
    temporary file is removed and ``path`` stays unchanged.

    Args:
        path: the file to write or to replace.

    Raises:
        FileNotFoundError: if the block did not write the temporary file.
        Problem: if the folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    made(path.parent)
    unfinished = temporary(path)
    try:
        with telling_a_full_disk(path):
            yield unfinished
            with open(unfinished, "rb+") as file:
                os.fsync(file.fileno())
        try:
            os.replace(unfinished, path)
        except OSError as error:
            raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # the error of the block matters more
            unfinished.unlink(missing_ok=True)


def made(folder: Path | str) -> Path:
    """Return a folder; make the folder if need be.

    Raises:
        Problem: if the folder cannot be made: a file or a dangling link is in its place, or the
            disk is full or read-only.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise unwritable(folder, error, is_folder=True) from error
    return folder


def remove_folder(folder: Path) -> None:
    """Delete a folder and everything in the folder.

    Raises:
        Problem: if the folder cannot be deleted, or is a link: another run may need the link's
            target.
    """
    if os.path.islink(folder):
        raise Problem(
            f"{_named(folder)} is a link, and only a folder is emptied.",
            expected="a folder of the run itself",
            found=f"a link to {os.readlink(folder)}",
            cause="the folder was moved elsewhere, or is shared with another run",
            fix=f"rm '{_named(folder)}' removes the link and keeps the folder that it leads to",
        )
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error) from error


@contextmanager
def telling_a_full_disk(path: Path) -> Iterator[None]:
    """Turn a writer's error about a full disk or a read-only disk into a ``Problem``.

    Args:
        path: the file that the block writes.

    Raises:
        Problem: if the disk is full or read-only. Another error of the block passes unchanged.
    """
    try:
        yield
    except Problem:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if number in (*FULL, errno.EROFS) or _tells_no_space(error):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: Exception, is_folder: bool = False) -> Problem:
    """Return what to say when a file or folder cannot be made, replaced or deleted.

    Args:
        path: the file or folder.
        error: the system's error.
        is_folder: whether ``path`` was to be a folder.
    """
    found, cause, fix = _reason(path, error, is_folder)
    return Problem(
        f"{_named(path)} cannot be written.",
        expected="a folder that can be written to, with room in it",
        found=found,
        cause=cause,
        fix=fix,
    )


def _reason(path: Path, error: Exception, is_folder: bool) -> tuple[str, str, str]:
    """Return what was found where a file or folder cannot be written, the cause, and the fix."""
    number = getattr(error, "errno", None)
    words = getattr(error, "strerror", None) or str(error).splitlines()[0]
    elsewhere = "ALIGNSD_OUTPUT=/another/folder in front of the command puts runs elsewhere"
    nearest = _named(_nearest(path))
    obstacle = _obstacle(path, is_folder)
    if obstacle is not None:
        found, cause = obstacle
        fix = "remove or rename this file or link, then run the same command again"
        return found, cause, fix
    if number in REFUSED:
        cause = "a read-only disk or checkout, or a folder that belongs to another user"
        fix = f"{elsewhere}; or change the folder's permissions"
        return f"{words}: {nearest}", cause, fix
    if number in FULL or _tells_no_space(error):
        cause = f"the disk of {nearest} is full, or its quota is used up"
        fix = f"make room there, then run the same command again; or {elsewhere}"
        return f"{words}; {_free(path)}", cause, fix
    cause = "a name that the disk cannot hold, or a failing disk"
    return words, cause, f"look at {nearest}; {elsewhere}"


def _tells_no_space(error: Exception) -> bool:
    """Return whether an error tells of a full disk in words; safetensors gives no number."""
    return any(words in str(error) for words in NO_SPACE)


def _named(path: Path) -> str:
    """Return a path for a message: the path of a link, not the path of the link's target."""
    text = str(path.parent / path.name) if os.path.islink(path) else shown(path)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"


def _obstacle(path: Path, is_folder: bool) -> tuple[str, str] | None:
    """Return what lies where a folder should be, and the cause; None if nothing lies there."""
    if not is_folder and os.path.isdir(path):
        return f"{_named(path)} is a folder, not a file", "a folder of the same name"
    folders = (path, *path.parents) if is_folder else path.parents
    for folder in folders:
        if os.path.islink(folder) and not os.path.exists(folder):
            target = os.readlink(folder)
            return f"{folder} is a link to {target}, which is not there", "a dangling link"
        if os.path.exists(folder) and not os.path.isdir(folder):
            return f"{folder} is a file, not a folder", "a file of the same name"
    return None


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest existing folder above the path."""
    for candidate in (path, *path.absolute().parents):
        if os.path.exists(candidate):
            return candidate
    return path


def _free(path: Path) -> str:
    try:
        free = shutil.disk_usage(_nearest(path)).free
    except OSError:
        return "the free space cannot be told"
    return f"{free / 2**20:,.1f} MiB are free"


def sweep(folder: Path | str, deep: bool = True) -> list[Path]:
    """Delete the temporary files that killed processes left in a folder.

    A temporary file of a living process stays, this process's own files included. Process ids are
    ids of this machine: call ``sweep`` while holding the folder's lock (``locks.hold``), so that
    no other machine writes there. Links to other folders are not followed.

    Args:
        folder: the folder; nothing happens if the folder is missing.
        deep: whether folders below are swept too.

    Returns:
        The files that were deleted.
    """
    deleted = []
    for parent, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        for name in names:
            match = TEMPORARY.fullmatch(name)
            path = Path(parent, name)
            if match is None or _is_written_by(int(match[1]), path):
                continue
            with suppress(OSError):  # a file that cannot be deleted does no harm
                path.unlink()
                deleted.append(path)
    return deleted


def temporary(path: Path) -> Path:
    """Return the hidden name beside a file under which this process writes the file."""
    # A long name leaves no room for the process id, so the hash replaces the name.
    name = path.stem.encode("utf-8", "surrogatepass")
    stem = path.stem if len(name) < 100 else hashlib.sha256(name).hexdigest()[:16]
    writer = f"{processes.number()}.{os.getpid()}" if processes.count() > 1 else f"{os.getpid()}"
    return path.with_name(f".{stem}.{writer}.part{path.suffix}")


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON; numpy scalars and arrays become numbers and lists.

    Raises:
        Problem: if ``value`` holds a NaN, an infinity or something that JSON cannot hold, or if the
            file cannot be written.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        content = f"{text}\n".encode()
    except UnicodeEncodeError as error:
        found = "text with half a character (a lone surrogate)"
        cause = "text that was cut in the middle of a character"
        raise _no_json(path, found, cause) from error
    except (TypeError, ValueError, RecursionError) as error:
        cause = "a mean over nothing, or an object put into a result by mistake"
        raise _no_json(path, str(error), cause) from error
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def _no_json(path: Path | str, found: str, cause: str) -> Problem:
    return Problem(
        f"{Path(path).name} could not be written.",
        expected="finite numbers, text, lists and dictionaries",
        found=found,
        cause=cause,
        fix="look at the value printed above; None stands for a value that does not exist",
    )


def _is_written_by(process: int, path: Path) -> bool:
    """Return whether a living process of this number is old enough to have written a file.

    Numbers of processes are used again, in containers very soon.
    """
    import psutil  # slow to import, and only needed when a temporary file was left behind

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
