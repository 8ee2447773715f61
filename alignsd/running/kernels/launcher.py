"""Start a Jupyter kernel that ends at once when the program that started the kernel is gone.

``python -m alignsd.running.kernels.launcher`` takes the arguments of ``python -m
ipykernel_launcher``. Without this module, a kernel whose runner was killed would run and write for
about another second.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

PARENT = "ALIGNSD_PARENT"  # environment variable: process id of the program that starts the kernel
PERIOD = 0.1  # seconds between two looks, where the system cannot tell of a parent's end
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def end_with(parent: int) -> None:
    """End this process as soon as the parent has ended.

    Args:
        parent: process id of the parent.
    """
    if not _ask_the_system():
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the system was asked
        os._exit(1)


def _ask_the_system() -> bool:
    """Ask Linux to kill this process when the parent ends; return whether Linux agreed."""
    if sys.platform != "linux":
        return False
    try:
        return ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) == 0
    except (OSError, AttributeError):
        return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PERIOD)
    os._exit(1)


def main() -> None:
    """Become a kernel of IPython."""
    on_windows = sys.platform == "win32"  # where ipykernel watches the parent
    if PARENT in os.environ and not on_windows:
        end_with(int(os.environ[PARENT]))
    runpy.run_module("ipykernel_launcher", run_name="__main__")


if __name__ == "__main__":
    main()
