"""Executes one notebook with papermill, and keeps what may be published of the result.

papermill writes its output in place, formats braces in paths, starts whichever kernel is called ``python3`` and leaves
machine paths and its own parameters in the metadata; none of that is left here.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from alignsd.errors import Stopped
from alignsd.paths import notebooks, output, root, shown

# A progress bar as tqdm writes it: on stderr, line over line, or as a widget that no longer works without its kernel.
BAR = re.compile(r"\d%\|")
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


class ThisPython(AsyncKernelManager):
    """Starts the kernel with the Python that runs this program, whatever a kernel called ``python3`` elsewhere is."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel's command line; its warning that loopback traffic is not encrypted is not for the reader."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=command, language="python", display_name="Python 3")


def execute(source: Path, target: Path, parameters: Mapping[str, Any]) -> None:
    """Executes the notebook ``source`` in the repository's folder and writes its executed copy to ``target``.

    Args:
        source: the notebook; it is not changed.
        target: where the copy goes, whole or not at all.
        parameters: values for a cell after the parameters cell; no cell is added if there are none.

    Raises:
        Stopped: if a cell raises or the kernel dies; the copy so far is kept as ``<name>.failed.ipynb`` beside ``target``.
    """
    import papermill  # takes a second: only when something is run

    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook = nbformat.read(source, as_version=4)
    failed = target.with_suffix(".failed.ipynb")
    part = target.with_name(f".{target.stem}.part.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(notebook, re.sub(r"[{}]", r"\g<0>\g<0>", str(part)), dict(parameters), progress_bar=False,
                                   kernel_name="python3", cwd=str(root()), kernel_manager_class=ThisPython)
    except papermill.PapermillExecutionError as error:
        _publish(part, failed)
        raise Stopped(_story(error.ename, error.evalue, f"cell {error.exec_count}", failed)) from error
    except RuntimeError as error:  # nbclient's DeadKernelError
        _publish(part, failed)
        raise Stopped(_story("The kernel died", f"{error}. The usual cause is too little memory", "", failed)) from error
    except KeyboardInterrupt:
        part.unlink(missing_ok=True)
        raise
    _publish(part, target)
    failed.unlink(missing_ok=True)


def refresh_prose(source: Path, executed: Path) -> None:
    """Replace the text cells of an executed copy by those of its source, whose code is the same."""
    new = linked(nbformat.read(source, as_version=4), source.parent, executed.parent)
    old = nbformat.read(executed, as_version=4)
    outputs = iter([cell for cell in old.cells if cell.cell_type == "code" and not _is_injected(cell)])
    injected = [cell for cell in old.cells if _is_injected(cell)]
    cells = []
    for cell in new.cells:
        cells.append(next(outputs) if cell.cell_type == "code" else cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += injected
    new.cells = cells
    _write(new, executed)


def linked(notebook: nbformat.NotebookNode, base: Path, copies: Path) -> nbformat.NotebookNode:
    """Return a notebook with ``relinked`` text cells; the notebook itself is changed."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source, base, copies)
    return notebook


def relinked(markdown: str, base: Path, copies: Path) -> str:
    """Return Markdown whose relative links lead, from a run's folder, to where they led before.

    A link to a notebook's source leads to the executed copy, if the run's folder holds one. Links
    with a scheme, links within the page, absolute paths, links to nothing and whatever stands in
    code are left alone.

    Args:
        markdown: the text of a cell.
        base: the folder for which the links are written: that of the sources, or ``copies`` to
            renew the links of a copy.
        copies: the folder of the run's executed copies.
    """

    def rewritten(match: re.Match) -> str:
        return match["before"] + _target(match["target"], base, copies)

    return _outside_code(markdown, lambda text: TARGETS.sub(rewritten, text))


def _target(target: str, base: Path, copies: Path) -> str:
    """Return where a link leads, as a path relative to ``copies``."""
    path, mark, part_of_page = target.partition("#")
    if not path or path.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        return target
    place = base / unquote(path)
    copy = copies / place.name
    is_source = place.suffix == ".ipynb" and place.parent.resolve() == notebooks().resolve()
    if is_source and copy.exists():
        place = copy
    try:
        if not place.exists():
            return target
    except OSError:  # a name that is too long for a file
        return target
    shorter = os.path.relpath(place.resolve(), copies.resolve()).replace(os.sep, "/")
    return quote(shorter) + mark + part_of_page


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return Markdown in which everything but code was changed."""
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [change(markdown[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*parts, change(markdown[end:])])


def published(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook without papermill's metadata, bars and paths of this machine."""
    notebook.metadata = nbformat.from_dict({key: notebook.metadata[key] for key in ("kernelspec", "language_info")
                                            if key in notebook.metadata})
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [_without_paths(o) for o in map(_without_bars, cell.outputs) if o]
    return notebook


def _publish(part: Path, target: Path) -> None:
    if part.exists():
        notebook = linked(published(nbformat.read(part, as_version=4)), notebooks(), target.parent)
        _write(notebook, part)
        os.replace(part, target)
        _renew_links_beside(target)


def _renew_links_beside(target: Path) -> None:
    """Let the other executed copies of a run link to a new copy, in place of its source."""
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
        _write(notebook, copy)


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.ipynb")
    nbformat.write(notebook, part)
    os.replace(part, path)


def _without_bars(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The same output without progress bars; None if nothing else is in it. Warnings and prints stay."""
    if output.output_type == "stream" and output.name == "stderr":
        lines = [line for line in re.split(r"[\r\n]+", output.text) if line.strip() and not BAR.search(line)]
        return nbformat.from_dict(output | {"text": "\n".join(lines) + "\n"}) if lines else None
    return None if output.output_type == "display_data" and BAR.search(output.data.get("text/plain", "")) else output


def _without_paths(value: Any) -> Any:
    """The same output with folders of this machine shortened; pictures, whose base64 text may look like one, stay."""
    if isinstance(value, dict):
        return nbformat.from_dict({k: v if k.startswith("image/") else _without_paths(v) for k, v in value.items()})
    if isinstance(value, list):
        return [_without_paths(v) for v in value]
    if not isinstance(value, str):
        return value
    for folder, shorter in ((output(), "."), (root(), "."), (Path(sys.prefix), "<python>"), (Path.home(), "~")):
        value = re.sub(rf"{re.escape(str(folder))}(?![\w.-])", shorter, value)
    return re.sub(r"/\S*/ipykernel_\d+/\d+\.py", "<cell>", value)


def _is_injected(cell: nbformat.NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _story(kind: str, message: str, where: str, failed: Path) -> str:
    text = message if kind == "Problem" else f"{kind} in {where}: {message}" if where else f"{kind}: {message}"
    return f"{text}\nThe notebook so far: {shown(failed)}"
