"""What a stage takes from outside its run: files and folders of the reader's own, and the shipped models."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from alignsd import miniature
from alignsd.parameters import Value
from alignsd.paths import user_path

PLACE = ("run", "device")  # parameters that say where a stage runs, not what it makes
MODEL, FILE, FOLDER = "model of ", "file of ", "folder of "
KEY = "user.key"  # 01 writes it beside an export


def own_inputs(settings: Mapping[str, Value]) -> dict[str, str]:
    """Returns what the parameters name outside the run, each with 16 digits that change when it changes.

    ``"model of <parameter>"`` (one that is shipped) and ``"file of <parameter>"`` change with the content,
    ``"folder of <parameter>"`` with the names and sizes of its files: to read a million pictures would take hours. Hidden
    files and ``user.key`` do not count.
    """
    named = {name: value for name, value in settings.items() if isinstance(value, str) and value and name not in PLACE}
    return {key: digits for name, value in named.items() for key, digits in _source(name, value)}


def _source(name: str, value: str) -> Iterator[tuple[str, str]]:
    path = miniature.WEIGHTS / value.removeprefix("miniature/") if value.startswith("miniature/") else user_path(value)
    if os.path.isfile(path):
        yield FILE + name, _digits([_content(path)])
    elif os.path.isdir(path) and value.startswith("miniature/"):
        yield MODEL + name, _digits(_content(file) for file in _files(path))
    elif os.path.isdir(path):
        yield FOLDER + name, _digits(f"{file.relative_to(path).as_posix()} {file.stat().st_size}" for file in _files(path))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith(".") and name != KEY)


def _content(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _digits(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
