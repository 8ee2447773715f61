"""Find the two folders that all paths start from: the repository and the reader's home.

A folder that is missing is None here. ``paths`` turns None into an error that tells what to do.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


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


def expanded(value: Path | str) -> Path | None:
    """Return a path in which the home folder stands in place of ``~``.

    A text such as ``~`` or ``~name`` stays unchanged where there is no home folder: the text may be
    an identifier and no path.

    Returns:
        The path, or None if the path starts with ``~/`` and there is no home folder.
    """
    text = str(value)
    if not text.startswith("~"):
        return Path(text)
    if home() is not None:
        return Path(os.path.expanduser(text))
    return None if text.startswith(("~/", "~\\")) else Path(text)


def repository() -> Path | None:
    """Return the repository, or None if the folder above the package is no repository.

    ``$ALIGNSD_ROOT`` names another folder if the variable is set.
    """
    named = os.environ.get("ALIGNSD_ROOT")
    folder = expanded(named) if named else PACKAGE.parent
    if folder is None:
        return None
    resolved = Path(os.path.realpath(folder))
    return resolved if (resolved / "notebooks").is_dir() else None
