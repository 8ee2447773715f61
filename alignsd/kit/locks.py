"""Let only one process at a time write in a run or a stage.

The operating system ends a hold when the holding process ends, in whatever way.
"""

import os
import socket
import warnings
from datetime import datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from alignsd.base.atomic import made, unwritable, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, shown
from alignsd.base.reading import read_json

# Seconds to wait for a holder that is about to end, such as a restarted kernel.
PATIENCE = 2.0


class Lock:
    """A hold on a file, see ``hold``. Keep the object: the hold ends with the object.

    Leaving a ``with`` block gives back one hold; ``release`` gives back all holds of this process.
    """

    def __init__(self, path: Path, file_lock: FileLock | None):
        self._path = path
        self._file_lock = file_lock

    def release(self) -> None:
        """Let go, however often this process holds the file. Do nothing if the file is not held."""
        if self._file_lock is None or not self._file_lock.is_locked:
            return
        _holder_file(self._path).unlink(missing_ok=True)  # first: the next holder writes a new file
        self._file_lock.release(force=True)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file_lock is None:
            return
        if self._file_lock.lock_counter > 1:
            self._file_lock.release()
        else:
            self.release()


def hold(path: Path | str, what: str, patience: float = PATIENCE) -> Lock:
    """Hold a file for this process, so that no other process can hold the file at the same time.

    A process may hold a file several times. The operating system ends the hold when the process
    ends, in whatever way. A leftover file never blocks.

    Args:
        path: the lock file, see ``run_lock`` and ``stage_lock``; the folder is made.
        what: who holds the file, for the message that another process gets, such as
            ``"notebook 04 in JupyterLab"``.
        patience: seconds to wait for another process that holds the file.

    Raises:
        Problem: if another process holds the file (the message names this process), or if the
            file cannot be written.
    """
    path = Path(path).absolute()
    file_lock = FileLock(path, thread_local=False, is_singleton=True)
    lock = Lock(path, file_lock)
    try:
        made(path.parent)
        file_lock.acquire(timeout=patience, poll_interval=0.1)
        if file_lock.lock_counter == 1:
            write_json(_holder_file(path), _this_process(what))
    except Timeout:
        raise _in_use(path, what) from None
    except NotImplementedError:
        warnings.warn(
            f"The file system of {shown(path.parent)} has no locks: start no second run of {what}.",
            stacklevel=2,
        )
        return Lock(path, None)
    except OSError as error:
        file_lock.release(force=True)
        raise unwritable(path, error) from error
    except Problem:
        file_lock.release(force=True)
        raise
    return lock


def run_lock(run: str) -> Path:
    """Return the lock file of a whole run."""
    return run_dir(run) / "stages" / ".run.lock"


def stage_lock(run: str, stage: str) -> Path:
    """Return the lock file of a stage; the file lies beside the stage's folder.

    The folder may be deleted and made again while the lock is held.
    """
    return run_dir(run) / "stages" / f".{stage}.lock"


def _holder_file(path: Path) -> Path:
    """Return the file that says who holds a lock file.

    The lock file stays empty: older versions of filelock empty the file at every attempt.
    """
    return path.with_name(f"{path.name}.json")


def _this_process(what: str) -> dict[str, str | int]:
    return {
        "what": what,
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _in_use(path: Path, what: str) -> Problem:
    try:
        holder = read_json(_holder_file(path))
        first = str(holder["what"])
        process = f"process {holder['process']}"
        since = f"since {holder['since']}"
        elsewhere = holder["host"] != socket.gethostname()
        host = f" on host {holder['host']}" if elsewhere else ""
        stop = (
            f"end it there: kill {holder['process']}" if elsewhere else f"kill {holder['process']}"
        )
    except (Problem, KeyError, TypeError):  # the holder has not written the file yet
        first, process, host, since = "another process", "process unknown", "", "since a moment ago"
        stop = "end the other process"
    return Problem(
        f"{what} cannot start: another writer is at work in {shown(path.parent.parent)}.",
        expected="one writer at a time",
        found=f"{first}, {process}{host}, {since}",
        cause="the same run was started twice, or a notebook of this run is open elsewhere",
        fix=f"wait until {first} has ended, or {stop}; in JupyterLab shut the kernel down",
    )
