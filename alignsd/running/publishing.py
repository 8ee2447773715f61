"""What may be published of an executed notebook: values and pictures, no trace of the machine.

papermill leaves metadata in a notebook, and outputs hold progress bars and machine paths. All of
these are removed here. Pictures look the same and take less space.
"""

import base64
import binascii
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat

from alignsd.base.errors import Problem
from alignsd.base.folders import home
from alignsd.base.paths import notebooks, output, root, shown
from alignsd.base.plotting.light_png import lighter_png
from alignsd.running.links import linked
from alignsd.running.notebook_io import read_notebook, unwritable, write_notebook

METADATA = ("kernelspec", "language_info")  # of a notebook; the rest is papermill's
# tqdm writes a bar on stderr, line over line, or as a widget, which is dead without the kernel.
BAR = re.compile(r"\d%\|")
CELL_FILE = re.compile(r"/\S*/ipykernel_\d+/\d+\.py")  # the name of a cell in warnings


def publish(executed: Path, target: Path) -> None:
    """Move an executed notebook into a run, without traces of the machine.

    Args:
        executed: the notebook as papermill wrote it; nothing happens if the file is missing.
        target: the executed copy. The copies beside it then link to this copy.
    """
    if not executed.exists():
        return
    notebook = published(nbformat.read(executed, as_version=4))
    write_notebook(linked(notebook, notebooks(), target.parent), target)
    executed.unlink(missing_ok=True)
    _renew_links_beside(target)


def published(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook without papermill's metadata, progress bars and paths of this machine.

    The notebook is changed in place.
    """
    metadata = {key: notebook.metadata[key] for key in METADATA if key in notebook.metadata}
    notebook.metadata = nbformat.from_dict(metadata)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        outputs = [_without_bars(output) for output in cell.outputs]
        cell.outputs = [_lighter(_without_paths(output)) for output in outputs if output]
    return notebook


def refresh_prose(source: Path, executed: Path) -> None:
    """Replace the text cells of an executed copy by the source's text cells.

    The code cells of both files must be the same.

    Raises:
        Problem: if either file is no notebook, or the numbers of code cells differ.
    """
    new = linked(read_notebook(source), source.parent, executed.parent)
    old = read_notebook(executed)
    injected = [cell for cell in old.cells if _is_injected(cell)]
    old_code = [cell for cell in old.cells if cell.cell_type == "code" and not _is_injected(cell)]
    new_code = [cell for cell in new.cells if cell.cell_type == "code"]
    if len(old_code) != len(new_code):
        raise Problem(
            f"{shown(executed)} is not the executed copy of {shown(source)}.",
            expected=f"{len(new_code)} code cells",
            found=f"{len(old_code)}",
            cause="an edit by hand, or the copy of another version",
            fix=f"delete {shown(executed)} and run its notebook again",
        )
    cells = []
    for cell in new.cells:
        if cell.cell_type == "code":
            cells.append(old_code.pop(0))
        else:
            cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += injected
    new.cells = cells
    try:
        write_notebook(new, executed)
    except OSError as error:
        raise unwritable(executed, error) from error


def _is_injected(cell: nbformat.NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _renew_links_beside(target: Path) -> None:
    """Let the other executed copies of a run link to a new copy, in place of the source."""
    for name in sorted(os.listdir(target.parent)):
        if (notebooks() / name).is_file():
            _renew_links(target.parent / name)


def _renew_links(copy: Path) -> None:
    """Let an executed copy link to the copies beside it; a damaged copy is left alone."""
    try:
        notebook = nbformat.read(copy, as_version=4)
    except (OSError, ValueError, AttributeError, TypeError):  # no JSON, or no notebook
        return
    before = [cell.source for cell in notebook.cells]
    linked(notebook, copy.parent, copy.parent)
    if before != [cell.source for cell in notebook.cells]:
        write_notebook(notebook, copy)


def _without_bars(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return an output without progress bars, or None if the output holds nothing else.

    Warnings and prints stay.
    """
    if output.output_type == "display_data":
        is_bar = BAR.search(output.data.get("text/plain", ""))
        return None if is_bar else output
    if output.output_type != "stream" or output.name != "stderr":
        return output
    lines = re.split(r"[\r\n]+", output.text)
    kept = [line for line in lines if line.strip() and not BAR.search(line)]
    if not kept:
        return None
    return nbformat.from_dict(output | {"text": "\n".join(kept) + "\n"})


def _without_paths(value: Any) -> Any:
    """Return an output with the folders of this machine shortened.

    Pictures stay: their base64 text may look like a path.
    """
    if isinstance(value, dict):
        shorter = {}
        for key, item in value.items():
            shorter[key] = item if key.startswith("image/") else _without_paths(item)
        return nbformat.from_dict(shorter)
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return _shortened(value) if isinstance(value, str) else value


def _shortened(text: str) -> str:
    """Return a text in which signs stand for the folders of this machine."""
    signs = ((output(), "."), (root(), "."), (Path(sys.prefix), "<python>"), (home(), "~"))
    for folder, sign in signs:
        # A folder "/" names nobody, and each lone slash would become "~".
        if folder is None or folder == folder.parent:
            continue
        whole_path = rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w.-])"
        text = re.sub(whole_path, sign, text)
    return CELL_FILE.sub("<cell>", text)


def _lighter(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an output whose PNG picture looks the same and is smaller, see ``light_png``.

    The output is changed in place. A text that is no PNG stays unchanged.
    """
    data = output.get("data", {})
    with suppress(binascii.Error, OSError, SyntaxError, ValueError):
        content = base64.b64decode(data.get("image/png", ""))
        lighter = lighter_png(content)
        if len(lighter) < len(content):
            data["image/png"] = base64.b64encode(lighter).decode()
    return output
