"""What a result was made from: outside files, code, and versions of packages, each as a hash.

A stage's ``config.json`` and the record of a notebook keep these hashes:
so the kit notices a change.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import SHIPPED, shown, user_path
from alignsd.base.reading import is_foreign
from alignsd.kit.values.notebook_files import read_cells
from alignsd.kit.values.parameters import Value
from alignsd.kit.values.urls import is_remote, is_url, local_path

LOCATION = ("run", "device")  # parameters that say where a stage runs, not what the stage makes
MINIATURE = "miniature/"  # begins the value of a parameter that names a shipped model
KEY = "user.key"  # collecting writes the key beside an export
PACKAGES = (
    "alignsd",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "open_clip_torch",
    "torchmetrics",
    "numpy",
    "pandas",
    "pillow",
)


class Kind(StrEnum):
    """What an outside input is: a shipped model, a file, or a folder of the reader's own."""

    MODEL = "model"
    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True)
class OutsideInput:
    """A file or folder from outside the run that a parameter names.

    Attributes:
        kind: shipped model, file or folder.
        parameter: the parameter's name.
        digits: 16 digits that change when the file or folder changes.
    """

    kind: Kind
    parameter: str
    digits: str

    @property
    def key(self) -> str:
        """Return the name of the input in a stage's ``config.json``."""
        return input_key(self.kind, self.parameter)


def input_key(kind: Kind, parameter: str) -> str:
    """Return the name of an outside input in ``config.json``, such as ``"file of data"``."""
    return f"{kind} of {parameter}"


def outside_inputs(settings: Mapping[str, Value]) -> list[OutsideInput]:
    """Return each outside file or folder that a parameter names.

    The digits of a shipped model and of a file change with the content. The digits of a folder
    change with the names and sizes of the files: to read a million pictures would take hours.
    A URL has no digits here, since no server is asked: the settings keep the URL, and the stage
    that reads from the URL records the versions of the files. Hidden files, files of an
    operating system and ``user.key`` do not count.

    Args:
        settings: the values of a notebook's parameters.

    Raises:
        Problem: if a file cannot be opened.
    """
    inputs = []
    for name, value in settings.items():
        if isinstance(value, str) and value and name not in LOCATION:
            outside = _outside_input(name, value)
            if outside is not None:
                inputs.append(outside)
    return inputs


def own_inputs(settings: Mapping[str, Value]) -> dict[str, str]:
    """Return key -> digits for each outside input, see ``outside_inputs``."""
    return {outside.key: outside.digits for outside in outside_inputs(settings)}


def _outside_input(name: str, value: str) -> OutsideInput | None:
    shipped = value.startswith(MINIATURE)
    if shipped:
        path = SHIPPED / value.removeprefix(MINIATURE)
    elif is_remote(value):
        return None
    else:
        path = local_path(value) if is_url(value) else user_path(value)
    if os.path.isfile(path):
        return OutsideInput(Kind.FILE, name, _digits([_content(path, name)]))
    if not os.path.isdir(path):
        return None
    if shipped:
        contents = (_content(file, name) for file in _files(path))
        return OutsideInput(Kind.MODEL, name, _digits(contents))
    sizes = (f"{file.relative_to(path).as_posix()} {_size(file)}" for file in _files(path))
    return OutsideInput(Kind.FOLDER, name, _digits(sizes))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        own = sorted(name for name in names if not is_foreign(name) and name != KEY)
        yield from (Path(parent, name) for name in own)


def _size(file: Path) -> int | str:
    """Return a file's size in bytes, or words if there is no file, as for a broken link."""
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


def json_sha256(value: Any) -> str:
    """Return the SHA-256 of a value as JSON writes the value; the order of keys does not count."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path | str) -> str:
    """Return a file's SHA-256 as 64 hex digits, to compare with a published hash.

    Args:
        path: the file; a relative path starts at the repository.
    """
    with open(user_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_sha256(path: Path) -> str:
    """Return the SHA-256 of a notebook's code cells; outputs, counts and prose do not count."""
    return json_sha256([cell["source"] for cell in read_cells(path) if cell["cell_type"] == "code"])


def source_sha256(path: Path) -> str:
    """Return the SHA-256 of a notebook's cells, prose included; outputs and counts do not count."""
    return json_sha256([[cell["cell_type"], cell["source"]] for cell in read_cells(path)])


def package_sha256() -> str:
    """Return the SHA-256 of the code of all the package's modules."""
    folder = Path(__file__).parents[1]
    modules = sorted(folder.rglob("*.py"))
    return json_sha256(
        [[path.relative_to(folder).as_posix(), file_sha256(path)] for path in modules]
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed
