"""A process that prepares some work once, and does the work whenever it is asked to.

OpenMP reads its settings when a process starts, and a process keeps its peak memory. So each
setting, and each point of a curve of memory, needs a process that was started for it.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from alignsd.base.folders import PACKAGE
from alignsd.running.kernels.environment import THREADS

# None takes a variable away, so that the library's own default holds.
AS_KERNELS: dict[str, str | None] = dict(THREADS)
BY_DEFAULT: dict[str, str | None] = dict.fromkeys(THREADS)
Work = Callable[..., Any]


class Worker:
    """A Python process that does one kind of work.

    Args:
        work: ``"module:function"``. The function prepares the work, and returns a function that
            does the work once and returns something that JSON can hold.
        settings: environment variables of the process, see ``AS_KERNELS`` and ``BY_DEFAULT``.
        arguments: of the function that prepares the work.
    """

    def __init__(
        self, work: str, settings: Mapping[str, str | None] = AS_KERNELS, **arguments: Any
    ) -> None:
        self._work = work
        command = [sys.executable, "-m", "benchmarks.worker", work, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(settings),
            cwd=PACKAGE.parent,
        )
        try:
            self._answer()  # the work is prepared
        except BaseException:
            self.close()
            raise

    def __call__(self, **arguments: Any) -> Any:
        """Do the work once, and return what the work returns.

        Raises:
            RuntimeError: if the process has ended. The process wrote the reason to standard error.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # the process ends with its input
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._work} ended without an answer")
        return json.loads(line)


class Here:
    """Work that this process does itself, for sizes at which settings do not matter."""

    def __init__(self, work: str, **arguments: Any) -> None:
        self._do = _prepared(work, arguments)

    def __call__(self, **arguments: Any) -> Any:
        """Do the work once, and return what the work returns."""
        return self._do(**arguments)

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def started(
    work: str, settings: Mapping[str, str | None], here: bool = False, **arguments: Any
) -> Worker | Here:
    """Prepare work in a process with these settings, or in this process if ``here``."""
    return Here(work, **arguments) if here else Worker(work, settings, **arguments)


def _prepared(work: str, arguments: Mapping[str, Any]) -> Work:
    """Return the function that does the work ``"module:function"`` once."""
    module, _, function = work.partition(":")
    prepare = getattr(importlib.import_module(module), function)
    do: Work = prepare(**arguments)
    return do


def _environment(settings: Mapping[str, str | None]) -> dict[str, str]:
    environment = dict(os.environ)
    modules = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, modules))
    environment["TQDM_DISABLE"] = "1"  # progress bars would stand between the lines
    for name, value in settings.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment


def serve(work: str, arguments: str) -> None:
    """Prepare the work, and do the work once for each line of standard input.

    Args:
        work: ``"module:function"``.
        arguments: a JSON object with the function's arguments.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything else prints goes to standard error
    do = _prepared(work, json.loads(arguments))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(do(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
