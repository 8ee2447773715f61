"""Turn the commands in messages into commands that the reader can paste.

A reader sits at a terminal, with the environment activated or not, in the repository or elsewhere;
or at a notebook, where a command is typed in a terminal beside the notebook.
"""

import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from alignsd.base.folders import repository

# Set by the command `alignsd` for the command's process and for kernels that the command starts.
READER_FOLDER = "ALIGNSD_READER_FOLDER"
SUBCOMMANDS = (
    "run",
    "clean",
    "scorecard",
    "cost",
    "simulate",
    "ablate",
    "fetch",
    "import-choices",
    "rate",
    "lab",
)
TARGETS = ("help", "demo", "class", "test", "browser", "lab", "figures", "site", "clean")
TERMINAL = "in a terminal (File, New, Terminal): "

# What may not stand before a command's name, as in alignsd/base/paths.py, -m pip and remake.
BEFORE = r"(?<![\w./-])(?<!-m )"
ALIGNSD = re.compile(rf"{BEFORE}alignsd(?= (?:{'|'.join(SUBCOMMANDS)})\b)")
MAKE = re.compile(rf"{BEFORE}make(?= (?:{'|'.join(TARGETS)})\b)")
PIP = re.compile(rf"{BEFORE}pip(?= install\b)")
SETTING = re.compile(r"--set ('?)(?=[a-z_]+=)")  # of a parameter, without a notebook
ANY = re.compile("|".join([ALIGNSD.pattern, MAKE.pattern, PIP.pattern]))


def remember_reader() -> None:
    """Note the folder of the reader's terminal for the kernels that this process starts."""
    os.environ[READER_FOLDER] = _present_folder()


def remember_notebook(name: str) -> None:
    """Note in a notebook's kernel which notebook runs, so that messages name this notebook."""
    shell = _kernel_shell()
    if shell is not None:
        shell.alignsd_notebook = name


def _present_notebook() -> str:
    """Return the name of the notebook that is run in this kernel, or an empty text."""
    return getattr(_kernel_shell(), "alignsd_notebook", "")


def in_notebook() -> bool:
    """Return whether the reader sits at a notebook: in a kernel that no command of ours started."""
    return READER_FOLDER not in os.environ and _kernel_shell() is not None


def pasteable(text: str) -> str:
    """Return a command, or a sentence with commands, in a form that the reader can paste.

    ``alignsd`` becomes ``.venv/bin/alignsd`` where the shell would not find ``alignsd``, or would
    find the ``alignsd`` of another environment. ``pip`` becomes the ``pip`` of this environment.
    ``make`` gets the repository's folder, and so do the files that ``pip`` reads, where the reader
    is in another folder.

    Args:
        text: such as ``"alignsd run 02"``, or ``"make clean, or pip install -e ."``.
    """
    if not ANY.search(text):
        return text
    text = ALIGNSD.sub(lambda _: _alignsd(), text)
    folder = repository()
    if folder is not None and not _is_reader_in(folder):
        text = _from_elsewhere(text, folder)
    return PIP.sub(lambda _: _pip(), text)


def _from_elsewhere(text: str, folder: Path) -> str:
    """Return commands that name the repository's folder, and so work outside the repository."""
    quoted = _quoted(folder)
    text = MAKE.sub(lambda _: f"make -C {quoted}", text)
    if not PIP.search(text):
        return text
    requirements = _quoted(folder / "requirements.txt")
    text = text.replace("-r requirements.txt", f"-r {requirements}")
    return re.sub(r"-e \.(?=\s|,|;|$)", lambda _: f"-e {quoted}", text)


def advice(text: str, notebook: str = "") -> str:
    """Return the advice of a message with commands that can be pasted.

    At a notebook the advice says where a command is typed.

    Args:
        text: the advice, such as ``"alignsd run 02"``.
        notebook: the notebook that does the same when all cells are run; empty if there is none.
    """
    text = with_notebook(text)
    if not in_notebook():
        return pasteable(text)
    match = ANY.search(text)
    if match:
        text = text[: match.start()] + TERMINAL + text[match.start() :]
    if notebook:
        text = f"run all cells of {file_name(notebook)} (the link above), or {text}"
    return pasteable(text)


def with_notebook(text: str) -> str:
    """Return advice whose ``--set steps=10`` names the present notebook: ``--set 02.steps=10``.

    Where no notebook runs, the reader calls the function, and only ``steps=10`` is left.
    """
    number = _present_notebook()[:2]
    if number:
        return SETTING.sub(lambda match: f"--set {match[1]}{number}.", text)
    return SETTING.sub(lambda match: match[1], text)


def show_link(notebook: str) -> None:
    """Display a link to a notebook that lies beside the notebook at which the reader sits."""
    name = file_name(notebook)
    link = {"text/markdown": f"Open [{name}]({name})", "text/plain": f"Open {name}"}
    _kernel_shell().display_pub.publish(link)


def file_name(notebook: str) -> str:
    """Return a notebook's file name: ``"02_train_hps"`` is ``02_train_hps.ipynb``."""
    return notebook if notebook.endswith(".ipynb") else f"{notebook}.ipynb"


def scripts() -> list[Path]:
    """Return the folders in which this environment may hold commands, the likeliest first."""
    folders = [Path(sysconfig.get_path("scripts"))]
    if sys.executable:
        folders.append(Path(sys.executable).parent)
    return list(dict.fromkeys(folders))


def _kernel_shell() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, or else None."""
    ipython = sys.modules.get("IPython")  # an import would take half a second
    shell = ipython.get_ipython() if ipython else None
    has_kernel = getattr(shell, "kernel", None) is not None
    return shell if has_kernel else None


def _alignsd() -> str:
    """Return how the reader starts the ``alignsd`` that runs now."""
    own = _own("alignsd") or _started()
    if own is None:
        return f"{_named(Path(sys.executable))} -m alignsd"
    return "alignsd" if _is_found_as("alignsd", own) else _named(own)


def _started() -> Path | None:
    """Return the script ``alignsd`` by which this process was started, or None."""
    folder = _reader_folder()
    if folder is None or not sys.argv:
        return None
    script = folder / sys.argv[0]
    if script.stem != "alignsd" or not script.is_file():
        return None
    return script


def _pip() -> str:
    own = _own("pip")
    if own and _is_found_as("pip", own):
        return "pip"
    return f"{_named(Path(sys.executable))} -m pip"


def _own(command: str) -> Path | None:
    """Return where this environment holds a command, or None."""
    search_path = os.pathsep.join(map(str, scripts()))
    program = shutil.which(command, path=search_path)
    return Path(program) if program else None


def _is_found_as(command: str, own: Path) -> bool:
    """Return whether a shell that is told ``command`` starts ``own``."""
    program = shutil.which(command)
    return program is not None and os.path.samefile(program, own)


def _named(path: Path) -> str:
    """Return a program's path for a command line, short if the program lies below the reader."""
    folder = _reader_folder()
    if folder and path.is_relative_to(folder):
        relative = path.relative_to(folder).as_posix()
        return shlex.quote(relative if "/" in relative else f"./{relative}")
    return _quoted(path)


def _reader_folder() -> Path | None:
    """Return the folder of the reader's shell; None if there is none, as at a notebook."""
    if in_notebook():
        return None
    folder = os.environ.get(READER_FOLDER) or _present_folder()
    return Path(folder) if folder else None


def _present_folder() -> str:
    """Return the folder of this process, or an empty text if the folder was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _is_reader_in(folder: Path) -> bool:
    present = _reader_folder()
    return present is not None and os.path.realpath(present) == os.path.realpath(folder)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
