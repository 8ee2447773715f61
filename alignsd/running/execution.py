"""Executes one notebook with papermill, and keeps what may be published of the result.

papermill writes its output in place, formats braces in paths, starts whichever kernel is called ``python3`` and leaves
machine paths and its own parameters in the metadata; none of that is left here.
"""

import errno
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import ValidationError

from alignsd.base.atomic import made, replacing
from alignsd.base.errors import Problem, Stopped
from alignsd.base.paths import home, notebooks, output, root, shown
from alignsd.base.reading import parse_json, read_text
from alignsd.running.kernel import PARENT
from alignsd.running.signals import Interrupted, handled

# A progress bar as tqdm writes it: on stderr, line over line, or as a widget that no longer works without its kernel.
BAR = re.compile(r"\d%\|")
START = 300  # seconds for a kernel to start; a kernel that dies while it starts is noticed at once
GRACE = 5.0  # seconds for a kernel that was asked to end
# Environment variables that name folders which a kernel would otherwise look for in the home.
FOLDERS = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
# Threads of OpenMP that wait for each other sleep soon. By default they spin, and beside one other
# busy process HPS trained at 12 steps per second in place of 22.
THREADS = {"GOMP_SPINCOUNT": "1000"}
# Where Linux counts the processes that it ended for want of memory: in all, and in this container.
MEMORY_KILLS = (
    "/proc/vmstat",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
)
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
SILENT = logging.getLogger("alignsd.silent")  # for libraries that log the errors they raise
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
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
    """Start the kernel with the Python that runs this program, whatever ``python3`` is elsewhere.

    The class attribute ``kernel`` knows the process and the folder of one execution.
    """

    kernel: "Kernel"

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the kernel's command line."""
        # The warning that loopback traffic is not encrypted is not for the reader.
        launcher = [sys.executable, "-m", "alignsd.running.kernel", "-f", "{connection_file}"]
        arguments = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
        return KernelSpec(argv=launcher + arguments, language="python", display_name="Python 3")

    def __init__(self, **options: Any):
        super().__init__(connection_file=str(self.kernel.folder / "kernel.json"), **options)

    def write_connection_file(self, **options: Any) -> None:
        """Write the file through which the kernel learns its ports."""
        try:
            super().write_connection_file(**options)
        except OSError as error:
            raise _not_started(self.kernel, str(error)) from error

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        environment = self.kernel.environment | {PARENT: str(os.getpid())}
        options["env"] = options.get("env", {}) | environment
        try:
            with open(self.kernel.log, "wb") as log:
                await super()._async_launch_kernel(kernel_cmd, stdout=log, stderr=log, **options)
        except OSError as error:
            raise _not_started(self.kernel, str(error)) from error
        self.kernel.process = self.provisioner.process


def kernel_environment(folder: Path) -> dict[str, str]:
    """Return the environment variables that a kernel gets beside those of this program.

    Args:
        folder: a folder of the kernel's own. The kernel reads and writes nothing in the reader's
            home: a startup file there would change the run, and there may be no home.
    """
    package = str(Path(__file__).parents[2])
    modules = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {name: str(folder) for name in FOLDERS}
    own |= _same_places() | _usable_home(folder)
    threads = {name: os.environ.get(name, value) for name, value in THREADS.items()}
    return os.environ | own | threads | {"PYTHONPATH": os.pathsep.join(modules)}


def _same_places() -> dict[str, str]:
    """Return the variables that name our folders, as absolute paths.

    A relative path starts where the command was typed, but the kernel starts in the repository.
    """
    places = {"ALIGNSD_OUTPUT": output, "ALIGNSD_ROOT": root}
    return {name: str(place()) for name, place in places.items() if os.environ.get(name)}


def _usable_home(folder: Path) -> dict[str, str]:
    """Return what a kernel needs in place of a home folder that is missing or cannot be written.

    A home folder that exists stays, so that a library finds the models that were fetched before.

    Args:
        folder: a folder that can be written to.
    """
    known = home()
    exists = known is not None and known.is_dir()
    if exists and os.access(known, os.W_OK):
        return {}
    chosen = {} if exists else {"HOME": str(folder)}
    if "MPLCONFIGDIR" not in os.environ:
        chosen["MPLCONFIGDIR"] = str(folder)
    return chosen


class Kernel:
    """One kernel while it executes a notebook: its process, its last words, and how it is stopped.

    Args:
        folder: a folder of the kernel's own.
        environment: environment variables for the kernel, beside those of this program.

    Attributes:
        process: the kernel's process once it was started.
        cell: number of the code cell that runs; 0 before the first one.
        stopped_by: number of the signal that asked the program to end; 0 if none did.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self.folder = folder
        # Before papermill changes the working directory, to which relative folders belong.
        self.environment = kernel_environment(folder) | dict(environment)
        self.log = folder / "log.txt"
        self.process: subprocess.Popen | None = None
        self.cell = 0
        self.stopped_by = 0
        self.kills_before = memory_kills()

    def on_cell_start(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Count the cells; start no further cell once the program was asked to end."""
        if self.stopped_by:
            raise Interrupted(self.stopped_by)
        if cell.cell_type == "code":
            self.cell += 1

    def stop(self, number: int, frame: object = None) -> None:
        """Handle a signal: interrupt the cell, and kill the kernel if that does not help.

        The cell's cleaning up deletes the cell's temporary files. A second signal kills at once.
        """
        impatient = bool(self.stopped_by)
        self.stopped_by = number
        if impatient:
            self._send(KILL)
            return
        self._send(signal.SIGINT)
        timer = threading.Timer(GRACE, self._send, [KILL])
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """Wait until the kernel's process is gone; kill the process if need be."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self._send(KILL)
        self.process.wait()

    def last_words(self) -> str:
        """Return the last line that the kernel wrote outside of cells, or an empty text."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _send(self, number: int) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, number)  # a kernel is the first of its own group
            else:
                self.process.send_signal(number)


def execute(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Execute the notebook ``source`` and write its executed copy to ``target``.

    The notebook runs in the repository's folder. The kernel has ended when the function returns.

    Args:
        source: the notebook; it is not changed.
        target: where the copy goes, whole or not at all.
        parameters: values for a cell after the parameters cell; no cell is added if there are none.
        environment: environment variables for the kernel, beside those of this program.

    Raises:
        Stopped: if a cell raises or the kernel dies. The copy so far is kept as
            ``<name>.failed.ipynb`` beside ``target``.
        Problem: if the kernel cannot start, or a file cannot be read or written.
        Interrupted: if Ctrl-C, SIGTERM or SIGHUP asked the program to end.
    """
    notebook = _read_notebook(source)
    require_loopback()
    part = target.with_name(f".{target.stem}.running.{os.getpid()}.part.ipynb")
    failed = target.with_suffix(".failed.ipynb")
    try:
        made(target.parent)
        with _temporary_folder() as folder:
            kernel = Kernel(folder, environment or {})
            with handled(kernel.stop):
                _execute(notebook, part, parameters, kernel, failed)
        _publish(part, target)
        failed.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _execute(
    notebook: nbformat.NotebookNode,
    part: Path,
    parameters: Mapping[str, Any],
    kernel: Kernel,
    failed: Path,
) -> None:
    """Execute a notebook into ``part``; what goes wrong is told in words."""
    import papermill  # takes a second: only when something is run

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    manager = type("ThisKernel", (ThisPython,), {"kernel": kernel, "log": SILENT})
    try:
        papermill.execute_notebook(
            notebook,
            re.sub(r"[{}]", r"\g<0>\g<0>", str(part)),
            dict(parameters),
            progress_bar=False,
            kernel_name="python3",
            cwd=str(root()),
            start_timeout=START,
            iopub_timeout=START,
            kernel_manager_class=manager,
            on_cell_start=kernel.on_cell_start,
        )
    except papermill.PapermillExecutionError as error:
        if not kernel.stopped_by:
            told = _story(error.ename, error.evalue, f"cell {error.exec_count}")
            raise Stopped(told + _kept(part, failed)) from error
    except TimeoutError as error:  # the kernel lives, but its output does not arrive
        if not kernel.stopped_by:
            raise Stopped(f"{_silent(kernel, error)}{_kept(part, failed)}") from error
    except RuntimeError as error:  # nbclient's DeadKernelError, or a kernel that did not start
        kernel.end()
        if not kernel.stopped_by and not kernel.cell:
            raise _not_started(kernel, str(error)) from error
        if not kernel.stopped_by:
            raise Stopped(f"{_died(kernel)}{_kept(part, failed)}") from error
    finally:
        kernel.end()
    if kernel.stopped_by:
        raise Interrupted(kernel.stopped_by)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder of the kernel's own that is deleted afterwards."""
    try:
        folder = tempfile.mkdtemp(prefix="alignsd-")
    except OSError as error:
        raise Problem(
            "There is no folder for temporary files.",
            expected="a folder such as /tmp in which this user may write",
            found=str(error),
            cause="a full or read-only disk, or TMPDIR names a folder that does not exist",
            fix="export TMPDIR=/path/to/a/folder/with/room",
        ) from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_loopback() -> None:
    """Do nothing if this machine can talk to itself, as this program and a kernel do.

    Raises:
        Problem: if it cannot; without the check the kernel would be waited for in vain.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        raise Problem(
            "No kernel can start: this machine has no loopback network.",
            expected="a connection from 127.0.0.1 to itself",
            found=f"{type(error).__name__}: {error}",
            cause="a container or a sandbox without a network of its own, or a firewall",
            fix="ip link set lo up (as root), or start the container with a loopback network",
        ) from error


def memory_kills() -> int:
    """Return how many processes Linux has ended for want of memory; 0 where this is not told."""
    counts = [0]
    for file in MEMORY_KILLS:
        with suppress(OSError, ValueError):
            lines = [line.split() for line in Path(file).read_text().splitlines()]
            counts += [int(words[1]) for words in lines if words[0] == "oom_kill"]
    return sum(counts)


def _died(kernel: Kernel) -> Problem:
    """Return what is known of a kernel's death; memory is blamed only if the system says so."""
    code = kernel.process.returncode if kernel.process else None
    words = kernel.last_words()
    found = _ended_by(code) + (f"; its last words: {words}" if words else "")
    cause, fix = _cause_of_death(code, words, memory_kills() > kernel.kills_before)
    return Problem(
        f"The kernel died in cell {kernel.cell}.",
        expected="a kernel that lives until the notebook's end",
        found=found,
        cause=cause,
        fix=fix,
    )


def _silent(kernel: Kernel, error: Exception) -> Problem:
    return Problem(
        f"The kernel does not answer in cell {kernel.cell}.",
        expected=f"the cell's output within {START} seconds after the cell's end",
        found=str(error).splitlines()[0],
        cause="a machine that is too busy, or was suspended meanwhile",
        fix="the same command goes on where the notebook stopped",
    )


def _ended_by(code: int | None) -> str:
    if code is None:
        return "no process"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _cause_of_death(code: int | None, words: str, killed_for_memory: bool) -> tuple[str, str]:
    """Return the cause of a kernel's death, and what to do."""
    again = "the same command goes on where the notebook stopped"
    less = "close other programs or give the notebook a smaller batch; " + again
    if code == -KILL and killed_for_memory:
        return "too little memory: Linux ended a process for want of memory meanwhile", less
    if any(sign in words for sign in ("bad_alloc", "Cannot allocate memory", "MemoryError")):
        return "too little memory: the system gave the kernel no more", less
    if code in (-KILL, -signal.SIGTERM):
        return "another program or a user ended the kernel", again
    if code is not None and code < 0:
        repair = "; if it happens again, reinstall the libraries"
        return "a compiled library crashed", again + repair
    return "a cell or a library ended the process", "read the last cell of the notebook kept below"


def _not_started(kernel: Kernel, reason: str) -> Problem:
    code = kernel.process.returncode if kernel.process else None
    return Problem(
        "The notebook's kernel did not start.",
        expected="a Jupyter kernel of the Python that runs alignsd",
        found=kernel.last_words() or f"{_ended_by(code)}; {reason}",
        cause="a damaged installation, a file of the repository that hides a module, or a full disk",
        fix=f"{sys.executable} -m ipykernel_launcher shows more; make installs what is missing",
    )


def _cannot_write(target: Path, error: OSError) -> Problem:
    causes = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota of this user is used up",
        errno.EROFS: "the disk is read-only",
        errno.EACCES: "a folder that this user may not write, or files of another user",
        errno.ENOENT: "the folder was deleted or moved while the notebook ran",
        errno.ENAMETOOLONG: "the name of the run is too long",
    }
    number = error.errno
    if number is None and isinstance(error, FileNotFoundError):  # papermill's own, without a number
        number = errno.ENOENT
    place = error.filename or target
    folder = shlex.quote(str(target.parent))
    return Problem(
        f"{shown(target)} cannot be written.",
        expected="room and permission to write in " + shown(target.parent),
        found=f"{os.strerror(number) if number else error}: {shown(place)}",
        cause=causes.get(number, "the disk or the file system reports a fault"),
        fix=f"df -h {folder}; ls -ld {folder}; then give the same command again",
    )


def _read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook.

    Raises:
        Problem: if the file is missing or is no notebook.
    """
    text = read_text(path)
    content = parse_json(text, shown(path))
    reason = _no_notebook(content)
    if reason is None:
        try:
            return nbformat.reads(text, as_version=4)
        except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
            lines = str(error).strip().splitlines()
            reason = lines[0] if lines else type(error).__name__
    raise Problem(
        f"{shown(path)} is no notebook.",
        expected="a Jupyter notebook of format 4",
        found=reason,
        cause="an edit by hand, a merge, or another file under this name",
        fix=f"git checkout {shown(path)}, or delete it if it is an executed copy, and run again",
    )


def _no_notebook(content: Any) -> str | None:
    """Return why JSON is no notebook of format 4, or None if nothing is wrong with its shape."""
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


def refresh_prose(source: Path, executed: Path) -> None:
    """Replace the text cells of an executed copy by those of its source.

    The code cells of both must be the same.

    Raises:
        Problem: if one of them is no notebook, or the code cells differ in number.
    """
    new = linked(_read_notebook(source), source.parent, executed.parent)
    old = _read_notebook(executed)
    injected = [cell for cell in old.cells if _is_injected(cell)]
    outputs = [c for c in old.cells if c.cell_type == "code" and not _is_injected(c)]
    code = [cell for cell in new.cells if cell.cell_type == "code"]
    if len(outputs) != len(code):
        raise Problem(
            f"{shown(executed)} is not the executed copy of {shown(source)}.",
            expected=f"{len(code)} code cells",
            found=f"{len(outputs)}",
            cause="an edit by hand, or the copy of another version",
            fix=f"delete {shown(executed)} and run its notebook again",
        )
    cells = []
    for cell in new.cells:
        if cell.cell_type == "code":
            cells.append(outputs.pop(0))
        else:
            cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += injected
    new.cells = cells
    try:
        _write(new, executed)
    except OSError as error:
        raise _cannot_write(executed, error) from error


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
        _write(notebook, target)
        part.unlink(missing_ok=True)
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
    with replacing(path) as part:
        nbformat.write(notebook, part)


def _without_bars(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The same output without progress bars; None if nothing else is in it. Warnings and prints stay."""
    if output.output_type == "stream" and output.name == "stderr":
        lines = [line for line in re.split(r"[\r\n]+", output.text) if line.strip() and not BAR.search(line)]
        return nbformat.from_dict(output | {"text": "\n".join(lines) + "\n"}) if lines else None
    return None if output.output_type == "display_data" and BAR.search(output.data.get("text/plain", "")) else output


def _without_paths(value: Any) -> Any:
    """Return an output with the folders of this machine shortened.

    Pictures stay: their base64 text may look like a path.
    """
    if isinstance(value, dict):
        return nbformat.from_dict({k: v if k.startswith("image/") else _without_paths(v) for k, v in value.items()})
    if isinstance(value, list):
        return [_without_paths(v) for v in value]
    if not isinstance(value, str):
        return value
    for folder, shorter in ((output(), "."), (root(), "."), (Path(sys.prefix), "<python>"), (home(), "~")):
        # A folder "/" names nobody: each lone slash would become "~".
        if folder is not None and folder != folder.parent:
            value = re.sub(rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w.-])", shorter, value)
    return re.sub(r"/\S*/ipykernel_\d+/\d+\.py", "<cell>", value)


def _is_injected(cell: nbformat.NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _story(kind: str, message: str, where: str) -> str:
    if kind == "Problem":
        return message
    return f"{kind} in {where}: {message}"


def _kept(part: Path, failed: Path) -> str:
    """Keep the notebook so far, and return the line that says where."""
    try:
        _publish(part, failed)
    except (OSError, Problem) as error:
        return f"\nThe notebook so far could not be kept: {str(error).splitlines()[0]}"
    return f"\nThe notebook so far: {shown(failed)}"
