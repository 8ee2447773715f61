"""The surroundings of a process: the interpreter's options, the terminal, the reader and memory."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alignsd.base.errors import Problem


def require_docstrings() -> None:
    """Do nothing unless Python was told to drop docstrings.

    Raises:
        Problem: if docstrings were dropped. diffusers needs docstrings at import to build
            documentation, and stops with an error that names neither docstrings nor the option.
    """
    if sys.flags.optimize < 2:
        return
    raise Problem(
        "Python drops docstrings here, and diffusers cannot be imported without them.",
        expected="Python without -OO, and PYTHONOPTIMIZE unset, 0 or 1",
        found=f"an optimization level of {sys.flags.optimize}",
        cause="the variable PYTHONOPTIMIZE=2, or python -OO",
        fix="unset PYTHONOPTIMIZE, then run the same command again",
    )


def print_any_character() -> None:
    r"""Let standard output and standard error print any character.

    A character that a terminal cannot show is printed as ``\xe9``. Examples are an accented letter
    on a terminal that knows ASCII only, and half a character in a file's name.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def whole_output() -> Iterator[None]:
    """Write to standard output all that a block prints, before the block's end.

    Raises:
        Problem: if standard output takes no more, as a file on a full disk.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not _takes_no_more():
            raise
        raise Problem(
            "The output of the command cannot be written.",
            expected="a place where what the command prints can be written",
            found=error.strerror or str(error),
            cause="a full disk behind a redirection, such as > FILE",
            fix="make room or name another file; what the command itself wrote may be whole, "
            "so look before you run it again",
        ) from error


def _takes_no_more() -> bool:
    """Return whether standard output is full or gone; then nothing more is written there."""
    try:
        sys.stdout.write("\n")  # Python forgets what it could not write, so a flush may succeed
        sys.stdout.flush()
    except OSError:
        # What is left unwritten would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def has_person() -> bool:
    """Return whether the cell that runs now was sent by a person's front end.

    The front end of a person, such as JupyterLab, lets a cell ask a question (``input()``) and says
    so in each request to run a cell. papermill and nbclient do not. Python without a kernel has no
    cells.
    """
    if "IPython" not in sys.modules:
        return False  # importing IPython would take half a second
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return False
    request = shell.get_parent()
    return bool(request.get("content", {}).get("allow_stdin", False))


def release_memory() -> None:
    """Give memory that nothing uses any more back to the system.

    The C library keeps freed memory for later, often hundreds of MB. Where the C library offers no
    way to give the memory back, only Python's garbage is collected.
    """
    gc.collect()
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has this function, musl has not
    if trim is not None:
        trim(0)


def peak_memory_mib() -> int:
    """Return the most memory that this process has held so far, in MiB."""
    try:
        import resource
    except ImportError:  # Windows has no such module
        import psutil  # on Linux psutil needs the module resource

        memory = psutil.Process().memory_info()
        return round(getattr(memory, "peak_wset", memory.rss) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
