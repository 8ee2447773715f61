"""Ctrl-C, SIGTERM and SIGHUP: one exception for all three signals."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(BaseException):
    """The program was asked to end by a signal.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {self.name}")

    @property
    def name(self) -> str:
        """Return what the reader calls the signal."""
        if self.number == signal.SIGINT:
            return "Ctrl-C"
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """Return the exit code by which a shell knows the signal: 128 and the signal's number."""
        return 128 + self.number


def interrupt(number: int, frame: object = None) -> None:
    """Raise ``Interrupted``: a handler of a signal."""
    raise Interrupted(number)


@contextmanager
def handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Let ``handler`` handle the three signals while the block runs.

    A signal that the program was told to ignore (``nohup``, a script's background job) stays
    ignored. Outside the main thread, which alone may handle signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    untouched = (signal.SIG_IGN, None)  # None: handled by another library, in C
    numbers = [number for number in known if signal.getsignal(number) not in untouched]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
