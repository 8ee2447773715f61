"""The links in a notebook's text cells, which lead elsewhere from a run's folder."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import nbformat

from alignsd.base.paths import notebooks

# Code within a text cell, whose brackets are no links: between fences, or between backticks.
CODE = re.compile(
    r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$|(`+)(?!`).+?(?<!`)\2(?!`))",
    re.DOTALL | re.MULTILINE,
)
# Where a link leads: [words](target "title"), [name]: target, HTML's href="target", src="target".
TARGETS = re.compile(
    r"""(?P<before>\]\(\s*<?|^[ ]{0,3}\[[^\]\n]+\]:[ \t]*<?|\b(?:href|src)\s*=\s*["'])"""
    r"""(?P<target>[^\s<>"')]+)""",
    re.MULTILINE,
)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # such as https:


def linked(notebook: nbformat.NotebookNode, base: Path, copies: Path) -> nbformat.NotebookNode:
    """Return a notebook with ``relinked`` text cells; the notebook is changed in place."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source, base, copies)
    return notebook


def relinked(markdown: str, base: Path, copies: Path) -> str:
    """Return Markdown whose relative links lead to the same place from a run's folder.

    A link to a notebook's source leads to the executed copy, if the run's folder holds the copy.
    Links with a scheme, links within the page, absolute paths, links to missing files and links in
    code are left alone.

    Args:
        markdown: the text of a cell.
        base: the folder for which the links are written: the sources' folder, or ``copies`` to
            renew the links of a copy.
        copies: the folder of the run's executed copies.
    """

    def rewritten(match: re.Match) -> str:
        return match["before"] + _target(match["target"], base, copies)

    return _outside_code(markdown, lambda text: TARGETS.sub(rewritten, text))


def _target(target: str, base: Path, copies: Path) -> str:
    """Return where a link leads, as a path relative to ``copies``."""
    path, mark, part_of_page = target.partition("#")
    if not path or path.startswith("/") or SCHEME.match(path):
        return target
    file = base / unquote(path)
    copy = copies / file.name
    is_source = file.suffix == ".ipynb" and file.parent.resolve() == notebooks().resolve()
    if is_source and copy.exists():
        file = copy
    try:
        if not file.exists():
            return target
    except OSError:  # a name that is too long for a file
        return target
    relative = os.path.relpath(file.resolve(), copies.resolve()).replace(os.sep, "/")
    return quote(relative) + mark + part_of_page


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return Markdown in which everything but code was changed."""
    pieces = []
    end = 0
    for code in CODE.finditer(markdown):
        pieces.append(change(markdown[end : code.start()]))
        pieces.append(code.group())
        end = code.end()
    pieces.append(change(markdown[end:]))
    return "".join(pieces)
