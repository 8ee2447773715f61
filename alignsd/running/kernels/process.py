"""The kernel's process: started with this Python, interrupted and ended."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from alignsd.base import processes
from alignsd.running.kernels.endings import KILL, Ending, memory_kills, not_started
from alignsd.running.kernels.environment import kernel_environment
from alignsd.running.kernels.launcher import PARENT
from alignsd.running.signals import Interrupted

GRACE = 5.0  # seconds for a kernel that was asked to end
REPETITION = 2.0  # seconds in which a launcher repeats a signal that came from the terminal


class Kernel:
    """A kernel that executes a notebook: the process, the last words, and how to stop the kernel.

    Args:
        folder: a folder of the kernel's own.
        environment: environment variables for the kernel, beside this program's variables.

    Attributes:
        process: the kernel's process, once started.
        cell: number of the code cell that runs; 0 before the first cell.
        stopped_by: number of the signal that asked the program to end; 0 if none did.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        # Now, since papermill changes the working directory, where relative folders start.
        self.environment = kernel_environment(folder) | dict(environment)
        self.log = folder / "log.txt"
        self.process: subprocess.Popen | None = None
        self.cell = 0
        self.stopped_by = 0
        self._stopped_at = 0.0
        self._kills_before = memory_kills()

    def on_cell_start(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Count the cells; start no further cell once the program was asked to end."""
        if self.stopped_by:
            raise Interrupted(self.stopped_by)
        if cell.cell_type == "code":
            self.cell += 1

    def stop(self, number: int, frame: object = None) -> None:
        """Handle a signal: interrupt the cell, and kill the kernel if that does not help.

        An interrupted cell deletes temporary files. A second signal kills the kernel at once. Where
        a launcher started this program, Ctrl-C comes twice: from the terminal, and from the
        launcher. The second is a repetition.
        """
        now = time.monotonic()
        is_repeated = processes.count() > 1 and now - self._stopped_at < REPETITION
        if self.stopped_by and is_repeated:
            return
        impatient = bool(self.stopped_by)
        self._stopped_at = now
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

    def ending(self) -> Ending:
        """Return what is known about the kernel's end."""
        code = self.process.returncode if self.process else None
        killed_for_memory = memory_kills() > self._kills_before
        return Ending(self.cell, code, self._last_words(), killed_for_memory)

    def _last_words(self) -> str:
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
                os.killpg(self.process.pid, number)  # a kernel leads a process group
            else:
                self.process.send_signal(number)


class ThisPython(AsyncKernelManager):
    """Start the kernel with the Python that runs this program; ignore other ``python3`` commands.

    ``manager_for`` makes the subclass whose attribute ``kernel`` knows the process and the folder
    of an execution.
    """

    kernel: Kernel

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the kernel's command line."""
        launcher = "alignsd.running.kernels.launcher"
        # The warning that loopback traffic is not encrypted is not for the reader.
        options = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
        command = [sys.executable, "-m", launcher, "-f", "{connection_file}", *options]
        return KernelSpec(argv=command, language="python", display_name="Python 3")

    def __init__(self, **options: Any) -> None:
        super().__init__(connection_file=str(self.kernel.folder / "kernel.json"), **options)

    def write_connection_file(self, **options: Any) -> None:
        """Write the file that tells the kernel which ports to use."""
        try:
            super().write_connection_file(**options)
        except OSError as error:
            raise not_started(self.kernel.ending(), str(error)) from error

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        environment = self.kernel.environment | {PARENT: str(os.getpid())}
        options["env"] = options.get("env", {}) | environment
        try:
            with open(self.kernel.log, "wb") as log:
                await super()._async_launch_kernel(kernel_cmd, stdout=log, stderr=log, **options)
        except OSError as error:
            raise not_started(self.kernel.ending(), str(error)) from error
        self.kernel.process = getattr(self.provisioner, "process", None)


def manager_for(kernel: Kernel) -> type[ThisPython]:
    """Return the class that papermill starts a kernel with.

    Args:
        kernel: learns the process.
    """
    log = logging.Logger("alignsd.kernels")  # separate: the manager also raises each logged error
    log.addHandler(logging.NullHandler())
    return type("ThisKernel", (ThisPython,), {"kernel": kernel, "log": log})
