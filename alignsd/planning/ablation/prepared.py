"""Folders that an ablation makes for its settings, and what each folder was made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignsd.base.atomic import remove_folder, write_json
from alignsd.base.paths import prepared_dir, root
from alignsd.base.reading import read_json

MADE_FROM = "made_from.json"


def folder(run: str, name: str) -> Path:
    """Return where the folder with a name lies, below the run that is varied."""
    return prepared_dir(run) / name


def as_value(path: Path) -> str:
    """Return a folder as the value of a parameter: from the repository on, if inside."""
    inside = path.resolve().is_relative_to(root().resolve())
    return path.resolve().relative_to(root().resolve()).as_posix() if inside else str(path)


def is_made(path: Path, made_from: Mapping[str, Any]) -> bool:
    """Return whether a folder is finished and was made from this; remove any other folder.

    Args:
        path: from ``folder``.
        made_from: what the folder is made from, as ``finish`` was told.
    """
    if not path.exists():
        return False
    marker = path / MADE_FROM
    if marker.exists() and read_json(marker) == made_from:
        return True
    remove_folder(path)
    return False


def finish(path: Path, made_from: Mapping[str, Any]) -> None:
    """Say in a folder that the folder is finished, and what it was made from."""
    write_json(path / MADE_FROM, made_from)
