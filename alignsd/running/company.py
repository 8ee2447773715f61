"""The runners of one launch: they follow one plan, and all end when one is lost.

Each process of a launch has a runner, which executes every notebook in a kernel of its own. The
kernels of a notebook form a group and exchange values (``base.processes``). The runners form no
group: they leave each other short texts in the launch's table.
"""

import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from alignsd.base import processes
from alignsd.base.commands import pasteable
from alignsd.base.errors import Problem, Stopped
from alignsd.running.signals import Interrupted

LOOK = 0.1  # seconds between two looks at the table, where a runner waits for the others
BEAT = 2.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without a sign of life after which a process counts as lost
WORD = 3.0  # seconds for a process that fails to say why
# A word of a launcher's command line.
LAUNCHER = re.compile(r"\blaunch\b|torchrun|torch\.distributed")
ENDS = "ends"  # the table's name for the number of processes that ended early


@dataclass(frozen=True)
class End:
    """Why a process ended before the run was done.

    Attributes:
        process: the process's number.
        host: the name of the process's machine.
        reason: what happened, in one line.
    """

    process: int
    host: str
    reason: str


class Company:
    """The runners of a launch, as one of these runners sees them.

    Without a launch there is one runner, which meets nobody.
    """

    def __init__(self) -> None:
        self.is_first = processes.is_first()
        self._restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._table: Any = None  # of the main thread
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._watch_the_next, daemon=True)
        if processes.count() > 1:
            self._table = self._open()
            life = json.dumps([socket.gethostname(), os.getpid()])
            self._table.set(f"life {processes.number()}", life)

    def _open(self) -> Any:
        from torch.distributed import PrefixStore

        return PrefixStore(f"runners {self._restart}", processes.store())

    def begin(self) -> None:
        """Give signs of life from now on, and watch the others."""
        if self._table is not None:
            self._watch.start()

    def meet(self, key: str) -> None:
        """Wait until all runners are here.

        Args:
            key: names the meeting; used once in a launch.
        """
        if self._table is None:
            return
        self._table.add(key, 1)
        while self._table.add(key, 0) < processes.count():
            time.sleep(LOOK)

    def leave(self) -> None:
        """Leave after the last notebook; the runner that may keep the table goes last."""
        self._done.set()
        if self._table is None:
            return
        self._watch.join()
        self._table.add("left", 1)
        until = time.monotonic() + WORD
        while self.is_first and time.monotonic() < until:
            if self._table.add("left", 0) == processes.count():
                return
            time.sleep(LOOK)

    def kernel_variables(self, notebook: str) -> dict[str, str]:
        """Return the environment variables by which the kernels of a notebook meet."""
        if self._table is None:
            return {}
        # The launcher or the first runner keeps the table, so no kernel does.
        meeting = f"kernels {self._restart} {notebook}"
        return {processes.MEETING: meeting, processes.KEPT_BY_LAUNCHER: str(True)}

    def end_early(self, reason: str) -> None:
        """Tell the others that this process ends before the run is done, and why."""
        self._done.set()
        with suppress(RuntimeError):  # the table may be gone
            self._note(self._table, processes.number(), socket.gethostname(), reason)

    def loss(self) -> End | None:
        """Return which other process ended first, as far as known, or None.

        A process that fails has a moment to say why. A process that was killed says nothing, but
        on this machine the process is gone.
        """
        until = time.monotonic() + WORD
        while True:
            end = self._first_end() or self._gone()
            if end is not None or time.monotonic() > until:
                return end
            time.sleep(LOOK)

    def _note(self, table: Any, process: int, host: str, reason: str) -> None:
        place = table.add(ENDS, 1)
        table.set(f"end {place}", json.dumps([process, host, reason]))

    def _first_end(self) -> End | None:
        """Return the end of another process that was told first; None if none was told."""
        try:
            for place in range(1, self._table.add(ENDS, 0) + 1):
                if self._table.check([f"end {place}"]):
                    end = End(*json.loads(self._table.get(f"end {place}")))
                    if end.process != processes.number():
                        return end
        except RuntimeError as error:
            return self._without_table(error)
        return None

    def _gone(self) -> End | None:
        """Return the end of a process of this machine that no longer exists, or None."""
        import psutil

        for process in range(processes.count()):
            key = f"life {process}"
            with suppress(RuntimeError):
                if not self._table.check([key]):
                    continue
                host, number = json.loads(self._table.get(key))
                if host == socket.gethostname() and not psutil.pid_exists(number):
                    return End(process, host, "it was killed, and said nothing")
        return None

    def _without_table(self, error: Exception) -> End:
        where = f"{os.environ[processes.ADDRESS]}:{os.environ[processes.PORT]}"
        words = str(error).strip().splitlines()[0][:160]
        return End(0, os.environ[processes.ADDRESS], f"its table at {where} is gone ({words})")

    def _watch_the_next(self) -> None:
        """Give signs of life, watch the next process, and end this process if one was lost."""
        count, number = processes.count(), processes.number()
        following = (number + 1) % count
        beats, heard = 0, time.monotonic()
        try:
            table = self._open()  # of this thread
            while not self._done.wait(BEAT):
                table.add(f"beat {number}", 1)
                now = table.add(f"beat {following}", 0)
                if now != beats:
                    beats, heard = now, time.monotonic()
                if time.monotonic() - heard > SILENCE:
                    reason = f"no sign of life for {SILENCE:.0f} seconds"
                    self._note(table, following, "an unknown machine", reason)
                if table.add(ENDS, 0):
                    break
        except RuntimeError:
            pass  # the table is gone: the first machine was lost
        if not self._done.is_set():
            os.kill(os.getpid(), signal.SIGTERM)  # stops the kernel, too


@contextmanager
def joined() -> Iterator[Company]:
    """Yield the company of this runner; if one process is lost, all processes end.

    Raises:
        Stopped: if another process was lost; the message says which, and the command that resumes.
    """
    company = Company()
    if processes.count() == 1:
        yield company
        return
    company.begin()
    try:
        yield company
        company.leave()
    except Interrupted as end:
        # The launcher sends SIGTERM to the others when one process is lost. Ctrl-C comes to all.
        loss = company.loss() if end.number == signal.SIGTERM else None
        company.end_early(f"stopped by {end.name}")
        if loss is not None:
            raise Stopped(_told(loss)) from end
        raise
    except (Problem, Stopped) as error:
        loss = company.loss() if str(error).startswith(processes.LOST) else None
        company.end_early(str(error).splitlines()[0])
        if loss is not None:
            raise Stopped(_told(loss)) from error
        raise
    except BaseException as error:
        company.end_early(f"{type(error).__name__}: {error}")
        raise


def _told(end: End) -> str:
    """Return what to say when another process ended the run."""
    lines = [
        f"{processes.named(end.process)}, on {end.host}, was lost, so this process ends, too.",
        f"  found:    {end.reason}",
        "  cause:    the lost process's own message, or the launcher's, tells more",
        f"  fix:      {how_to_go_on(sys.argv[1:])}",
    ]
    return "\n".join(lines)


def how_to_go_on(arguments: Sequence[str]) -> str:
    """Return the command that resumes a run: the launch, and the same on one process.

    Args:
        arguments: of the command ``alignsd``, such as ``["run", "--preset", "mini"]``.
    """
    again = [argument for argument in arguments if argument != "--force"]  # would start anew
    alone = shlex.join(["alignsd", *again])
    launch = _launch()
    if not launch:
        return alone
    return f"{launch}; or on one process: {pasteable(alone)}"


def _launch() -> str:
    """Return the command line of the launcher that started this process; empty if unknown."""
    import psutil

    if processes.count() == 1:
        return ""
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return ""
    if not any(LAUNCHER.search(word) for word in words[:4]):
        return ""
    return shlex.join(word for word in words if word != "--force")
