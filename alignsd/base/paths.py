"""Where everything lies: the one place that knows the folders of the repository."""

import os
import re
from pathlib import Path

from alignsd.base.errors import Problem

SHIPPED = Path(__file__).parents[1] / "miniature" / "weights"  # the models that come with the kit
LONGEST_RUN = 100  # characters; a folder's name has at most 255 bytes, and links to a run stay readable


def root() -> Path:
    """Returns the repository: the folder above the package, or ``$ALIGNSD_ROOT`` if that is set.

    Raises:
        Problem: if there is no ``notebooks/`` folder in it.
    """
    named = os.environ.get("ALIGNSD_ROOT")
    found = Path(os.path.realpath(_expanded(named) if named else Path(__file__).parents[2]))
    if (found / "notebooks").is_dir():
        return found
    raise Problem(
        "The notebooks were not found.",
        expected="a folder notebooks/ in the repository",
        found=str(found),
        cause="ALIGNSD_ROOT names another folder than the repository"
        if named
        else "the package was installed without -e, away from the repository",
        fix="pip install --no-deps -e . in the repository, or set ALIGNSD_ROOT to its folder",
    )


def output() -> Path:
    """Return the folder that holds ``papermill_runs`` and ``figures``.

    This is the repository, or ``$ALIGNSD_OUTPUT`` if that is set. A relative ``$ALIGNSD_OUTPUT``
    starts where the command was typed; ``alignsd run`` hands its kernels the absolute path.
    """
    named = os.environ.get("ALIGNSD_OUTPUT")
    return Path(os.path.realpath(_expanded(named))) if named else root()


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


def home() -> Path | None:
    """Return the user's home folder, or None if the system names none.

    A container that runs as an arbitrary user may have neither ``$HOME`` nor an entry for the user.
    An empty or relative ``$HOME`` names no folder. The folder need not exist.
    """
    if os.environ.get("HOME") == "":
        return None
    try:
        named = Path.home()
    except RuntimeError:
        return None
    return named if named.is_absolute() else None


def user_path(value: Path | str) -> Path:
    """Return the file or folder that a parameter names.

    A relative path starts at the repository, wherever the kernel was started. ``~`` is the home
    folder.

    Raises:
        Problem: if the path starts with ``~/`` and there is no home folder.
    """
    return root() / _expanded(value)


def _expanded(value: Path | str) -> Path:
    text = str(value)
    if not text.startswith("~"):
        return Path(text)
    if home() is not None:
        return Path(os.path.expanduser(text))
    if text.startswith(("~/", "~\\")):
        raise Problem(
            f"{_shortened(text)} has no meaning here.",
            expected="a home folder, which ~ stands for",
            found="neither the variable HOME nor a home folder of this user",
            cause="a container that runs as an arbitrary user, or a service without HOME",
            fix="write the path from / on, or: export HOME=/a/folder/of/yours",
        )
    return Path(text)


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
    """Return ``run`` if it can name a folder.

    Raises:
        Problem: if it holds other characters than letters, digits, ``.``, ``_`` and ``-``, starts
            with a dot or a hyphen, or is longer than 100 characters.
    """
    name = str(run)
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) and len(name) <= LONGEST_RUN:
        return run
    too_long = len(name) > LONGEST_RUN
    cause = "a path or an empty name was given as `run`"
    if too_long:
        cause = "a name that is too long"
    elif name.startswith("-"):
        cause = "an option stands where the name belongs, as in: --run --dry-run"
    raise Problem(
        "The run's name cannot name a folder.",
        expected=f"letters, digits, '.', '_' and '-', at most {LONGEST_RUN} of them; "
        "the first is a letter, a digit or '_'",
        found=f"{len(name)} characters, {_shortened(name)!r}" if too_long else repr(run),
        cause=cause,
        fix="choose another name, such as --run trial-2",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"
