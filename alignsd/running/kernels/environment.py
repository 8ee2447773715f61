"""The surroundings of a kernel: variables, a temporary folder, and the loopback network."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignsd.base.errors import Problem
from alignsd.base.folders import PACKAGE, home
from alignsd.base.paths import output, root

# Environment variables that name folders which a kernel would otherwise look for in the home.
FOLDERS = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
# Threads of OpenMP that wait for each other sleep soon. By default waiting threads spin, and beside
# another busy process HPS trained at 12 steps per second in place of 22.
THREADS = {"GOMP_SPINCOUNT": "1000"}


def kernel_environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of a kernel.

    Args:
        folder: a folder of the kernel's own. The kernel reads and writes nothing in the reader's
            home: a startup file there would change the run, and there may be no home.
    """
    environment = dict(os.environ)
    for name in FOLDERS:
        environment[name] = str(folder)
    environment |= _absolute_folders()
    environment |= _usable_home(folder)
    for name, value in THREADS.items():
        environment.setdefault(name, value)
    modules = [str(PACKAGE.parent)]
    if os.environ.get("PYTHONPATH"):
        modules.append(os.environ["PYTHONPATH"])
    environment["PYTHONPATH"] = os.pathsep.join(modules)
    return environment


def _absolute_folders() -> dict[str, str]:
    """Return the variables that name our folders, as absolute paths.

    A relative path starts where the command was typed, but the kernel starts in the repository.
    """
    folders = {"ALIGNSD_OUTPUT": output, "ALIGNSD_ROOT": root}
    return {name: str(folder()) for name, folder in folders.items() if os.environ.get(name)}


def _usable_home(folder: Path) -> dict[str, str]:
    """Return the variables that replace a home folder which is missing or cannot be written.

    A home folder that exists stays, so that a library finds the models that were fetched before.

    Args:
        folder: a folder that can be written to.
    """
    present = home()
    if present is not None and present.is_dir():
        if os.access(present, os.W_OK):
            return {}
        variables = {}
    else:
        variables = {"HOME": str(folder)}
    if "MPLCONFIGDIR" not in os.environ:
        variables["MPLCONFIGDIR"] = str(folder)
    return variables


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder of the kernel's own, which is deleted afterwards.

    Raises:
        Problem: if there is no folder for temporary files.
    """
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
    """Do nothing if programs on this machine can reach each other, as a kernel must reach us.

    Raises:
        Problem: otherwise; without this check we would wait for a kernel that cannot answer.
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
