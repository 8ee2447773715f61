"""How a kernel ended, and why: errors that name the true cause."""

import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alignsd.base.errors import Problem

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
# Where Linux counts the processes that ended because memory ran out: in all, and in this container.
MEMORY_KILLS = (
    "/proc/vmstat",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
)
OUT_OF_MEMORY = ("bad_alloc", "Cannot allocate memory", "MemoryError")
AGAIN = "the same command goes on where the notebook stopped"


@dataclass(frozen=True)
class Ending:
    """What is known about a kernel that ended.

    Attributes:
        cell: number of the code cell that ran; 0 if the kernel ended before the first cell.
        code: the process's exit code, or the negative number of the signal that ended the process;
            None if there was no process.
        last_words: the last line that the kernel wrote outside of cells; may be empty.
        killed_for_memory: whether Linux ended a process meanwhile because memory ran out.
    """

    cell: int
    code: int | None
    last_words: str
    killed_for_memory: bool


def memory_kills() -> int:
    """Return how many processes Linux ended because memory ran out; 0 where Linux does not tell."""
    kills = 0
    for file in MEMORY_KILLS:
        with suppress(OSError, ValueError):
            for line in Path(file).read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    kills += int(count)
    return kills


def died(ending: Ending) -> Problem:
    """Return the error of a kernel that died; memory is the cause only if Linux says so."""
    found = _ended_by(ending.code)
    if ending.last_words:
        found = f"{found}; its last words: {ending.last_words}"
    cause, fix = _cause_of_death(ending)
    return Problem(
        f"The kernel died in cell {ending.cell}.",
        expected="a kernel that lives until the notebook's end",
        found=found,
        cause=cause,
        fix=fix,
    )


def silent(cell: int, error: Exception, patience: float) -> Problem:
    """Return the error of a kernel that lives but does not answer.

    Args:
        cell: number of the code cell.
        error: the error that was raised when the time was over.
        patience: seconds that the kernel had.
    """
    return Problem(
        f"The kernel does not answer in cell {cell}.",
        expected=f"the cell's output within {patience:g} seconds after the cell's end",
        found=str(error).splitlines()[0],
        cause="a machine that is too busy, or was suspended meanwhile",
        fix=AGAIN,
    )


def not_started(ending: Ending, reason: str) -> Problem:
    """Return the error of a kernel that did not start.

    Args:
        ending: what is known about the kernel.
        reason: the error of the library that waited for the kernel.
    """
    return Problem(
        "The notebook's kernel did not start.",
        expected="a Jupyter kernel of the Python that runs alignsd",
        found=ending.last_words or f"{_ended_by(ending.code)}; {reason}",
        cause="a damaged installation, a file of the repository that hides a module, or a full "
        "disk",
        fix=f"{sys.executable} -m ipykernel_launcher shows more; make installs what is missing",
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


def _cause_of_death(ending: Ending) -> tuple[str, str]:
    """Return the cause of a kernel's death, and what to do."""
    code = ending.code
    smaller = f"close other programs or give the notebook a smaller batch; {AGAIN}"
    if code == -KILL and ending.killed_for_memory:
        cause = "too little memory: Linux ended a process for want of memory meanwhile"
        return cause, smaller
    if any(sign in ending.last_words for sign in OUT_OF_MEMORY):
        return "too little memory: the system gave the kernel no more", smaller
    if code in (-KILL, -signal.SIGTERM):
        return "another program or a user ended the kernel", AGAIN
    if code is not None and code < 0:
        repair = "if it happens again, reinstall the libraries"
        return "a compiled library crashed", f"{AGAIN}; {repair}"
    return "a cell or a library ended the process", "read the last cell of the notebook kept below"
