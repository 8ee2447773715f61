"""What a stage takes from outside its run: files and folders of the reader, shipped models."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from alignsd import miniature
from alignsd.base.errors import Problem
from alignsd.base.paths import shown, user_path
from alignsd.base.reading import is_foreign
from alignsd.kit.parameters import Value

PLACE = ("run", "device")  # parameters that say where a stage runs, not what it makes
MODEL, FILE, FOLDER = "model of ", "file of ", "folder of "
KEY = "user.key"  # 01 writes it beside an export


def own_inputs(settings: Mapping[str, Value]) -> dict[str, str]:
    """Return a 16-digit fingerprint of each outside file or folder that a parameter names.

    ``"model of <parameter>"`` (one that is shipped) and ``"file of <parameter>"`` change with the
    content, ``"folder of <parameter>"`` with the names and sizes of its files: to read a million
    pictures would take hours. Hidden files, those of an operating system and ``user.key`` do not
    count.

    Raises:
        Problem: if a file cannot be opened.
    """
    return {
        key: digits
        for name, value in settings.items()
        if isinstance(value, str) and value and name not in PLACE
        for key, digits in _source(name, value)
    }


def _source(name: str, value: str) -> Iterator[tuple[str, str]]:
    shipped = value.startswith("miniature/")
    path = miniature.WEIGHTS / value.removeprefix("miniature/") if shipped else user_path(value)
    if os.path.isfile(path):
        yield FILE + name, _digits([_content(path, name)])
    elif os.path.isdir(path) and shipped:
        yield MODEL + name, _digits(_content(file, name) for file in _files(path))
    elif os.path.isdir(path):
        sizes = (f"{file.relative_to(path).as_posix()} {_size(file)}" for file in _files(path))
        yield FOLDER + name, _digits(sizes)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        own = sorted(name for name in names if not is_foreign(name) and name != KEY)
        yield from (Path(place, name) for name in own)


def _size(file: Path) -> int | str:
    """Return a file's bytes; what is no file, such as a link that leads nowhere, has none."""
    try:
        return file.stat().st_size
    except OSError:
        return "no file"


def _content(file: Path, parameter: str) -> str:
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise Problem(
            f"The file of parameter {parameter} cannot be read.",
            expected=f"a file that can be opened: {shown(file)}",
            found=error.strerror or str(error),
            cause="the file belongs to another user, or the disk fails",
            fix=f"chmod u+r {shown(file)}, or name another file",
        ) from error


def _digits(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
