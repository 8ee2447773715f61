"""Read and write whole notebooks, with their outputs."""

import errno
import os
import shlex
from pathlib import Path
from typing import Any

import nbformat
from nbformat import ValidationError

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import parse_json, read_text

CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota of this user is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "a folder that this user may not write, or files of another user",
    errno.ENOENT: "the folder was deleted or moved while the notebook ran",
    errno.ENAMETOOLONG: "the name of the run is too long",
}


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook.

    Raises:
        Problem: if the file is missing or is no notebook of format 4.
    """
    text = read_text(path)
    content = parse_json(text, shown(path))
    fault = _fault(content)
    if fault is not None:
        raise _no_notebook(path, fault)
    try:
        return nbformat.reads(text, as_version=4)
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        lines = str(error).strip().splitlines()
        raise _no_notebook(path, lines[0] if lines else type(error).__name__) from error


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    with replacing(path) as part:
        nbformat.write(notebook, part)


def unwritable(target: Path, error: OSError) -> Problem:
    """Return what to say when an executed copy cannot be written.

    Args:
        target: the copy.
        error: the system's error.
    """
    number = error.errno
    if number is None and isinstance(error, FileNotFoundError):  # papermill's own, without a number
        number = errno.ENOENT
    reason = os.strerror(number) if number else str(error)
    cause = "the disk or the file system reports a fault"
    folder = shlex.quote(str(target.parent))
    return Problem(
        f"{shown(target)} cannot be written.",
        expected=f"room and permission to write in {shown(target.parent)}",
        found=f"{reason}: {shown(error.filename or target)}",
        cause=CAUSES.get(number or 0, cause),
        fix=f"df -h {folder}; ls -ld {folder}; then give the same command again",
    )


def _no_notebook(path: Path, found: str) -> Problem:
    return Problem(
        f"{shown(path)} is no notebook.",
        expected="a Jupyter notebook of format 4",
        found=found,
        cause="an edit by hand, a merge, or another file under this name",
        fix=f"git checkout {shown(path)}, or delete it if it is an executed copy, and run again",
    )


def _fault(content: Any) -> str | None:
    """Return why JSON is no notebook of format 4, or None if the shape is right."""
    if not isinstance(content, dict):
        return f"JSON that holds a {type(content).__name__}"
    if content.get("nbformat") != 4:
        return f"nbformat = {content.get('nbformat')!r}"
    cells = content.get("cells")
    if not isinstance(cells, list) or not isinstance(content.get("metadata"), dict):
        return "no list of cells, or no metadata"
    for number, cell in enumerate(cells, 1):
        if not _is_cell(cell):
            return f"cell {number} is no cell"
    return None


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return False
    if not isinstance(cell.get("metadata"), dict):
        return False
    if not isinstance(cell["metadata"].get("tags", []), list):
        return False
    if cell["cell_type"] == "code" and not isinstance(cell.get("outputs"), list):
        return False
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return all(isinstance(line, str) for line in lines)
