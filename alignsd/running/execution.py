"""Execute a notebook with papermill.

papermill writes the output in place, formats braces in paths, and starts whichever kernel is called
``python3``. Here the copy is whole or absent, and the kernel runs this Python.
"""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat

from alignsd.base.atomic import made
from alignsd.base.errors import Problem, Stopped
from alignsd.base.paths import root, shown
from alignsd.running.kernels.endings import died, not_started, silent
from alignsd.running.kernels.environment import require_loopback, temporary_folder
from alignsd.running.kernels.process import Kernel, manager_for
from alignsd.running.notebook_io import read_notebook, unwritable
from alignsd.running.publishing import publish
from alignsd.running.signals import Interrupted, handled

START = 300  # seconds for a kernel to start; a kernel's death is noticed at once


def execute(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    failed: Path | None = None,
) -> None:
    """Execute the notebook ``source`` and write the executed copy to ``target``.

    The notebook runs in the repository's folder. The kernel has ended when the function returns.

    Args:
        source: the notebook, which is not changed.
        target: the executed copy, written whole or not at all.
        parameters: values for a cell after the parameters cell; no cell is added if there are none.
        environment: environment variables for the kernel, beside this program's variables.
        failed: where the copy so far is kept if the notebook does not reach the end; None is
            ``<name>.failed.ipynb`` beside ``target``.

    Raises:
        Stopped: if a cell raises or the kernel dies. The copy so far is kept in ``failed``.
        Problem: if the kernel cannot start, or a file cannot be read or written.
        Interrupted: if Ctrl-C, SIGTERM or SIGHUP asked the program to end.
    """
    notebook = read_notebook(source)
    require_loopback()
    unfinished = target.with_name(f".{target.stem}.running.{os.getpid()}.part.ipynb")
    failed = failed or target.with_suffix(".failed.ipynb")
    try:
        made(target.parent)
        with temporary_folder() as folder:
            kernel = Kernel(folder, environment or {})
            with handled(kernel.stop):
                _run_cells(notebook, unfinished, parameters, kernel)
        publish(unfinished, target)
        failed.unlink(missing_ok=True)
    except Stopped as stopped:
        raise Stopped(f"{stopped}\n{_keep(unfinished, failed)}") from stopped.__cause__
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _run_cells(
    notebook: nbformat.NotebookNode, unfinished: Path, parameters: Mapping[str, Any], kernel: Kernel
) -> None:
    """Execute a notebook into the file ``unfinished``.

    Raises:
        Stopped: if a cell raises or the kernel dies.
        Problem: if the kernel cannot start.
        Interrupted: if a signal asked the program to end.
    """
    import papermill  # takes a second: only when a notebook is executed

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    # papermill's own error, a TimeoutError of a kernel that lives but does not answer, and a
    # RuntimeError of a kernel that died or did not start.
    failures = (papermill.PapermillExecutionError, TimeoutError, RuntimeError)
    braces_doubled = re.sub(r"[{}]", r"\g<0>\g<0>", str(unfinished))
    try:
        papermill.execute_notebook(
            notebook,
            braces_doubled,
            dict(parameters),
            progress_bar=False,
            kernel_name="python3",
            cwd=str(root()),
            start_timeout=START,
            iopub_timeout=START,
            kernel_manager_class=manager_for(kernel),
            on_cell_start=kernel.on_cell_start,
        )
    except failures as error:
        kernel.end()
        if not kernel.stopped_by:
            raise _explained(error, kernel) from error
    finally:
        kernel.end()
    if kernel.stopped_by:
        raise Interrupted(kernel.stopped_by)


def _explained(error: Any, kernel: Kernel) -> Stopped | Problem:
    """Return the error of an execution in words.

    Args:
        error: the failure that papermill raised; holds the cell's error, if a cell failed.
        kernel: the kernel, which has ended.
    """
    if isinstance(error, TimeoutError):
        return Stopped(silent(kernel.cell, error, START))
    if isinstance(error, RuntimeError):
        if not kernel.cell:
            return not_started(kernel.ending(), str(error))
        return Stopped(died(kernel.ending()))
    if error.ename == "Problem":
        return Stopped(error.evalue)
    return Stopped(f"{error.ename} in cell {error.exec_count}: {error.evalue}")


def _keep(unfinished: Path, failed: Path) -> str:
    """Keep the notebook so far, and return the line that says where."""
    try:
        publish(unfinished, failed)
    except (OSError, Problem) as error:
        return f"The notebook so far could not be kept: {str(error).splitlines()[0]}"
    return f"The notebook so far: {shown(failed)}"
