"""Where everything lies: no other module knows the folders of the repository."""

import os
import re
from pathlib import Path

from alignsd.base import folders
from alignsd.base.errors import Problem

SHIPPED = Path(__file__).parents[1] / "miniature" / "weights"  # the models that come with the kit
LONGEST_RUN = 100  # characters; a folder's name has at most 255 bytes, and links stay readable


def root() -> Path:
    """Return the repository: the folder above the package, or ``$ALIGNSD_ROOT`` if that is set.

    Raises:
        Problem: if the folder holds no ``notebooks/``.
    """
    repository = folders.repository()
    if repository is not None:
        return repository
    named = os.environ.get("ALIGNSD_ROOT")
    if named:
        folder = _expanded(named)
        cause = "ALIGNSD_ROOT names another folder than the repository"
    else:
        folder = folders.PACKAGE.parent
        cause = "the package was installed without -e, away from the repository"
    raise Problem(
        "The notebooks were not found.",
        expected="a folder notebooks/ in the repository",
        found=os.path.realpath(folder),
        cause=cause,
        fix="pip install --no-deps -e . in the repository, or set ALIGNSD_ROOT to its folder",
    )


def output() -> Path:
    """Return the folder that holds ``papermill_runs`` and ``figures``.

    This is the repository, or ``$ALIGNSD_OUTPUT`` where set. A relative ``$ALIGNSD_OUTPUT`` starts
    where the command was typed; ``alignsd run`` hands the absolute path to kernels.
    """
    named = os.environ.get("ALIGNSD_OUTPUT")
    if not named:
        return root()
    return Path(os.path.realpath(_expanded(named)))


def notebooks() -> Path:
    """Return the folder of the notebook sources."""
    return root() / "notebooks"


def runs() -> Path:
    """Return the folder of all runs."""
    return output() / "papermill_runs"


def run_dir(run: str) -> Path:
    """Return a run's folder, with executed notebooks, run records and scorecard."""
    return runs() / checked_run(run)


def stage_dir(run: str, stage: str) -> Path:
    """Return the folder of the files that one notebook of a run leaves for later notebooks."""
    return run_dir(run) / "stages" / stage


def prepared_dir(run: str) -> Path:
    """Return the folder of what ablations make from a run before their own runs."""
    return run_dir(run) / "ablations"


def figures_dir(run: str) -> Path:
    """Return the folder of a run's figures."""
    return output() / "figures" / checked_run(run)


def votes_file(run: str, deck: str) -> Path:
    """Return the file of people's picks: ``papermill_runs/<run>/votes/<deck>.jsonl``.

    The file lies outside the stages, so that cleaning a run keeps what people chose.
    """
    return run_dir(run) / "votes" / f"{deck}.jsonl"


def user_path(value: Path | str) -> Path:
    """Return the file or folder that a parameter names.

    A relative path starts at the repository, wherever the kernel was started. ``~`` is the home
    folder.

    Raises:
        Problem: if the path starts with ``~/`` and there is no home folder.
    """
    return root() / _expanded(value)


def _expanded(value: Path | str) -> Path:
    """Return a path in which the home folder stands in place of ``~``.

    Raises:
        Problem: if the path starts with ``~/`` and there is no home folder.
    """
    path = folders.expanded(value)
    if path is not None:
        return path
    raise Problem(
        f"{_shortened(str(value))} has no meaning here.",
        expected="a home folder, which ~ stands for",
        found="neither the variable HOME nor a home folder of this user",
        cause="a container that runs as an arbitrary user, or a service without HOME",
        fix="write the path from / on, or: export HOME=/a/folder/of/yours",
    )


def shown(path: Path | str) -> str:
    """Return a path as messages print the path.

    A path inside the output folder or the repository is printed relative to that folder.
    """
    try:
        path = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, a circle of links
        return repr(str(path))
    for base in (output(), root()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)


def checked_run(run: str) -> str:
    """Return the name of a run if the name can name a folder.

    Raises:
        Problem: if the name holds other characters than letters, digits, ``.``, ``_`` and ``-``,
            starts with a dot or a hyphen, or is longer than 100 characters.
    """
    name = str(run)
    if len(name) > LONGEST_RUN:
        found = f"{len(name)} characters, {_shortened(name)!r}"
        raise _no_name(found, "a name that is too long")
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        return run
    if name.startswith("-"):
        raise _no_name(repr(run), "an option stands where the name belongs, as in: --run --dry-run")
    raise _no_name(repr(run), "a path or an empty name was given as `run`")


def _no_name(found: str, cause: str) -> Problem:
    return Problem(
        "The run's name cannot name a folder.",
        expected=f"letters, digits, '.', '_' and '-', at most {LONGEST_RUN} characters; "
        "the first is a letter, a digit or '_'",
        found=found,
        cause=cause,
        fix="choose another name, such as --run trial-2",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"
