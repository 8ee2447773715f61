"""Where everything lies: the one place that knows the folders of the repository."""

import os
import re
from pathlib import Path

from alignsd.errors import Problem


def root() -> Path:
    """Returns the repository: the folder above the package, or ``$ALIGNSD_ROOT`` if that is set.

    Raises:
        Problem: if there is no ``notebooks/`` folder in it.
    """
    found = Path(os.environ.get("ALIGNSD_ROOT") or Path(__file__).parent.parent).resolve()
    if not (found / "notebooks").is_dir():
        raise Problem("The notebooks were not found.", expected="a folder notebooks/ in the repository", found=str(found),
                      cause="the package was installed without -e, away from the repository",
                      fix="pip install --no-deps -e . in the repository, or set ALIGNSD_ROOT to its folder")
    return found


def output() -> Path:
    """Returns the folder that holds ``papermill_runs`` and ``figures``: the repository, or ``$ALIGNSD_OUTPUT`` if set."""
    return Path(os.environ["ALIGNSD_OUTPUT"]).resolve() if os.environ.get("ALIGNSD_OUTPUT") else root()


def notebooks() -> Path:
    """Returns the folder of the notebook sources."""
    return root() / "notebooks"


def runs() -> Path:
    """Returns the folder of all runs."""
    return output() / "papermill_runs"


def run_dir(run: str) -> Path:
    """Returns a run's folder: its executed notebooks, run records and scorecard."""
    return runs() / checked_run(run)


def stage_dir(run: str, stage: str) -> Path:
    """Returns the folder of what one notebook of a run leaves for the later ones."""
    return run_dir(run) / "stages" / stage


def figures_dir(run: str) -> Path:
    """Returns the folder of a run's figures."""
    return output() / "figures" / checked_run(run)


def user_path(value: Path | str) -> Path:
    """Returns the file or folder that a parameter names: relative to the repository, wherever the kernel was started."""
    return root() / os.path.expanduser(value)


def shown(path: Path | str) -> str:
    """Returns ``path`` as it is printed: relative to the output folder or the repository where it lies in one of them."""
    try:
        path = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, a circle of links
        return repr(str(path))
    for base in (output(), root()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)


def checked_run(run: str) -> str:
    """Returns ``run`` if it can name a folder.

    Raises:
        Problem: if it holds other characters than letters, digits, ``.``, ``_`` and ``-``, or starts with a dot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", str(run)):
        raise Problem("The run's name cannot name a folder.", expected="letters, digits, '.', '_' and '-'", found=repr(run),
                      cause="a path or an empty name was given as `run`", fix="choose another name, such as --run trial-2")
    return run
