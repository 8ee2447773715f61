"""Start JupyterLab on working copies of the notebooks, so that the sources stay unchanged.

The copies lie in ``lab/``, which git ignores, beside ``docs/`` and ``notebooks/``: a link leads
to the same place from a copy as from the source. The copies write into a separate run: ``lab`` with
the values of preset ``mini``, and ``lab-class`` with the values of preset ``class``.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsd.base.atomic import replacing, write_json
from alignsd.base.commands import READER_FOLDER, pasteable, scripts
from alignsd.base.errors import Problem
from alignsd.base.paths import notebooks, output, root, run_dir, shown
from alignsd.base.reading import read_json
from alignsd.kit.lineage import finished_stages
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_parameters
from alignsd.kit.values.parameters import SHORT, nearest
from alignsd.kit.values.presets import preset_names
from alignsd.running.kernels.environment import THREADS

MINI = "mini"  # the preset whose values stand in the notebooks
SERVER = "alignsd.running.lab_server"
CHOSEN = ".preset.json"  # in lab/: the preset that the copies were made for
FIRST = "00_start_here"
SOLUTIONS = "solutions"  # folder below notebooks/ and below lab/
ALIAS = ("--notebook-dir", "--ServerApp.root_dir")  # Jupyter refuses an option under two names
ORIGINS = ".origins.json"  # in lab/: fingerprint of the cells that each copy was given
# Defaults of JupyterLab here; the reader's own settings of JupyterLab come first.
LAB_SETTINGS = {
    # A long line of code is wrapped where the window is narrow, so that no code is cut off.
    "@jupyterlab/notebook-extension:tracker": {"codeCellConfig": {"lineWrap": True}},
    # The versions are pinned, and a window that asks about news would cover the first notebook.
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
    # The state of a widget is of no use without its kernel.
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": False},
}


@dataclass(frozen=True)
class Copies:
    """What happened to the working copies.

    Attributes:
        made: names of the notebooks that were copied, or whose copy was renewed.
        kept: names of the copies that the reader has edited.
        aside: paths of the old copies that were set aside for fresh copies.
        preset: the preset of the copies' run.
    """

    made: tuple[str, ...]
    kept: tuple[str, ...]
    aside: tuple[Path, ...]
    preset: str = MINI


def folder() -> Path:
    """Return the folder of the working copies."""
    return root() / "lab"


def run_of(preset: str) -> str:
    """Return the run into which the working copies of a preset write."""
    return "lab" if preset == MINI else f"lab-{preset}"


def start(fresh: Sequence[str], arguments: Sequence[str], preset: str = "") -> None:
    """Prepare the working copies, print what happened to the copies, and become JupyterLab.

    In a terminal of the JupyterLab that serves this repository, only the copies are prepared.

    Args:
        fresh: numbers or names of the notebooks of which the reader wants a fresh copy.
        arguments: passed on to JupyterLab.
        preset: the preset of the copies' run; empty for the preset of the last time.

    Raises:
        Problem: if JupyterLab is missing, a notebook or the preset is unknown, or ``lab/`` cannot
            be written.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise Problem(
            "JupyterLab cannot be started.",
            expected="the package jupyterlab",
            found="no such package in this environment",
            cause="the kit was installed without what only JupyterLab needs",
            fix="pip install -r requirements.txt",
        )
    copies = prepare(fresh, preset)
    print(report(copies), flush=True)
    if os.environ.get("JUPYTER_SERVER_ROOT") == str(root()):
        print("JupyterLab runs already: this is one of its terminals.")
        return
    os.execve(sys.executable, command(arguments), surroundings(os.environ))


def prepare(fresh: Sequence[str] = (), preset: str = "") -> Copies:
    """Bring the working copies up to date, and the run into which the copies write.

    A copy that the reader has not edited follows the source. An edited copy stays, unless the
    reader asks for a fresh copy; then the old copy is renamed. Outputs do not count as an edit.

    Args:
        fresh: numbers or names of the notebooks of which the reader wants a fresh copy.
        preset: the preset of the copies' run; empty for the preset of the last time.

    Raises:
        Problem: for an unknown notebook or preset, or if ``lab/`` or the run's folder cannot be
            written.
    """
    names_fresh = {notebook_path(name).stem for name in fresh}
    chosen = _checked_preset(preset) if preset else _last_preset()
    run = run_of(chosen)
    try:
        folder().mkdir(exist_ok=True)
        aside = [set_aside(name) for name in sorted(names_fresh) if copy_path(name).exists()]
        origins = _origins()
        made = [name for name in notebook_names() if _bring_up_to_date(name, run, origins)]
        for name in solutions_names():
            _bring_up_to_date(name, run, origins)
        write_json(folder() / ORIGINS, origins)
        write_json(folder() / CHOSEN, {"preset": chosen})
        note_run(chosen)
    except OSError as error:
        raise Problem(
            "The working copies of the notebooks cannot be written.",
            expected=f"a folder to write to: {shown(folder())}, and {shown(run_dir(run))}",
            found=error.strerror or str(error),
            cause="a checkout that belongs to another user or is read-only, or a full disk",
            fix="clone the repository into a folder of your own",
        ) from error
    kept = [name for name in notebook_names() if is_edited(name, origins)]
    return Copies(tuple(made), tuple(kept), tuple(aside), chosen)


def _checked_preset(preset: str) -> str:
    """Return the name of a shipped preset.

    Raises:
        Problem: for another text, and for the file of a preset: a notebook finds presets by name.
    """
    if preset in preset_names():
        return preset
    guess = nearest(preset, preset_names()) or "class"
    raise Problem(
        f"There is no preset {SHORT.repr(preset)} for working copies.",
        expected=", ".join(preset_names()),
        found=SHORT.repr(preset),
        cause="a misspelt name, or a file: a notebook takes the values of shipped presets only",
        fix=f"alignsd lab --preset {guess}",
    )


def _last_preset() -> str:
    """Return the preset that the working copies were made for the last time."""
    try:
        preset = read_json(folder() / CHOSEN)["preset"]
    except (Problem, LookupError, TypeError):  # nothing was chosen yet, or the file is damaged
        return MINI
    return preset if preset in preset_names() else MINI


def solutions_names() -> list[str]:
    """Return the notebooks with solutions, such as ``solutions/02_train_hps``."""
    present = (notebooks() / SOLUTIONS).glob("*.ipynb")
    written = {path.stem for path in present}
    return [f"{SOLUTIONS}/{name}" for name in notebook_names() if name in written]


def copy_path(name: str) -> Path:
    """Return where the working copy of a notebook, or of its solutions, lies."""
    return folder() / f"{name}.ipynb"


def is_edited(name: str, origins: Mapping[str, str]) -> bool:
    """Return whether the reader has changed the cells of a working copy; outputs do not count.

    Args:
        name: the notebook's name.
        origins: fingerprint of the cells that each copy was given.
    """
    return _fingerprint_of_copy(name) != origins.get(name)


def fingerprint(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of the kind and the text of a notebook's cells; outputs do not count."""
    content = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def working_copy(name: str, run: str = "lab") -> dict[str, Any]:
    """Return a notebook's content with the working copies' run in the parameters cell.

    Args:
        name: the notebook's name, or the name of its solutions.
        run: the run into which the copy writes; solutions only read this run.

    Raises:
        Problem: if the source is damaged or has no parameters cell.
    """
    source_path = notebooks() / f"{name}.ipynb"
    read_parameters(source_path)
    notebook = read_json(source_path)
    for cell in notebook["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            source = "".join(cell["source"])
            source = re.sub(r"\Arun = ([\"']).*?\1", f'run = "{run}"', source)
            cell["source"] = source.splitlines(keepends=True)
    return notebook


def set_aside(name: str) -> Path:
    """Rename the working copy of a notebook and return the new path; no file is replaced."""
    number = 1
    while _aside(name, number).exists():
        number += 1
    return copy_path(name).rename(_aside(name, number))


def _aside(name: str, number: int) -> Path:
    """Return where the old working copy of a notebook is kept."""
    return folder() / f"{name}-old{number}.ipynb"


def note_run(preset: str) -> None:
    """Note the run of the preset's copies, unless ``run.json`` exists.

    The run varies the preset's own run: a notebook reads the stages of the preset's run until the
    copies have made stages.
    """
    noted = run_dir(run_of(preset)) / "run.json"
    if not noted.exists():
        write_json(noted, {"preset": preset, "parent": preset})


def report(copies: Copies) -> str:
    """Return what happened to the working copies, in words."""
    lines = [f"Working copies of the notebooks: {shown(folder())}/ (git ignores them)"]
    lines += [f"Set aside: {shown(path)}" for path in copies.aside]
    if copies.made:
        lines.append(f"Copied from notebooks/: {', '.join(copies.made)}")
    if copies.kept:
        lines.append(f"Kept as you edited them: {', '.join(copies.kept)}")
        wishes = " ".join(f"--fresh {name[:2]}" for name in copies.kept)
        lines.append(f"Fresh copies, with yours set aside: {pasteable(f'alignsd lab {wishes}')}")
    return "\n".join([*lines, *_about_preset(copies.preset)])


def _about_preset(preset: str) -> list[str]:
    """Return what a reader must know of the preset of the copies' run; nothing of ``mini``."""
    if preset == MINI:
        return []
    back = pasteable(f"alignsd lab --preset {MINI}")
    lines = [f"Values: preset {preset} (run {run_of(preset)}). Back to the notebooks' own: {back}"]
    if not finished_stages(preset):
        make = pasteable(f"alignsd run --preset {preset}")
        lines.append(f"Run {preset} has no stages yet. To start in any notebook, first: {make}")
    return lines


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that starts JupyterLab on the repository.

    Args:
        arguments: the reader's own options, which come before the kit's options.
    """
    options = {
        "--ServerApp.root_dir": str(root()),
        "--LabApp.default_url": f"/lab/tree/{folder().name}/{FIRST}.ipynb",
        "--ServerApp.kernel_spec_manager_class": f"{SERVER}.OwnKernels",
        "--ServerApp.kernel_manager_class": f"{SERVER}.FrugalKernels",
        "--ServerApp.contents_manager_class": f"{SERVER}.LivingWidgets",
        # A login shell would forget the PATH that finds the command alignsd.
        "--ServerApp.terminado_settings": f"shell_command={[_shell()]!r}",
    }
    given = {argument.split("=")[0].replace(*ALIAS) for argument in arguments}
    line = [sys.executable, "-m", "jupyterlab"]
    for name, value in options.items():
        if name not in given:
            line.append(f"{name}={value}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        line.append("--allow-root")  # in containers and codespaces, which have no other user
    return [*line, *arguments]


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of JupyterLab, terminals and kernels.

    Args:
        environment: the present environment variables.
    """
    own = dict(environment)
    own.pop(READER_FOLDER, None)  # the reader of the kernels' messages sits at a notebook
    for name, absolute in (("ALIGNSD_ROOT", root), ("ALIGNSD_OUTPUT", output)):
        if own.get(name):
            own[name] = str(absolute())  # kernels and terminals start in other folders
    search_path = [str(scripts_folder) for scripts_folder in scripts()]
    search_path += own.get("PATH", os.defpath).split(os.pathsep)
    own["PATH"] = os.pathsep.join(dict.fromkeys(search_path))
    for name, value in THREADS.items():
        own.setdefault(name, value)  # kernels of several notebooks share the cores
    own["HOME"] = str(_home())
    settings = [str(_jupyter_settings())]
    if own.get("JUPYTER_CONFIG_PATH"):
        settings.append(own["JUPYTER_CONFIG_PATH"])
    own["JUPYTER_CONFIG_PATH"] = os.pathsep.join(settings)
    return own


def _origins() -> dict[str, str]:
    """Return the fingerprint of the cells that each working copy was given, as far as known."""
    try:
        origins = read_json(folder() / ORIGINS)
    except Problem:  # nothing was copied yet, or the record is damaged: copies then count as edited
        return {}
    if not isinstance(origins, dict):
        return {}
    return {name: digits for name, digits in origins.items() if isinstance(digits, str)}


def _bring_up_to_date(name: str, run: str, origins: dict[str, str]) -> bool:
    """Copy a notebook unless the copy is up to date or edited; return whether a copy was made.

    Args:
        name: the notebook's name.
        run: the run into which the copy writes.
        origins: fingerprint of the cells that each copy was given; changed in place.
    """
    notebook = working_copy(name, run)
    wanted = fingerprint(notebook["cells"])
    if copy_path(name).exists():
        present = _fingerprint_of_copy(name)
        if present not in (wanted, origins.get(name)):
            return False  # edited
        if present == wanted:
            origins[name] = wanted
            return False
    copy_path(name).parent.mkdir(exist_ok=True)
    with replacing(copy_path(name)) as part:
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
    origins[name] = wanted
    return True


def _fingerprint_of_copy(name: str) -> str:
    """Return the fingerprint of a working copy's cells, or words for a copy that is no notebook."""
    try:
        return fingerprint(read_json(copy_path(name))["cells"])
    except (Problem, LookupError, TypeError):
        return "no notebook"


def _shell() -> str:
    """Return the shell of JupyterLab's terminals."""
    return os.environ.get("SHELL") or shutil.which("bash") or "sh"


def _home() -> Path:
    """Return the reader's home, or another folder where the reader has no home to write to."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without a name and without HOME
        home = Path("/nonexistent")
    if home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return home
    instead = folder() / ".home"
    instead.mkdir(mode=0o700, parents=True, exist_ok=True)
    return instead


def _jupyter_settings() -> Path:
    """Return a folder with settings of JupyterLab, after which the reader's own settings come."""
    settings = folder() / ".jupyter"
    write_json(settings / "labconfig" / "default_setting_overrides.json", LAB_SETTINGS)
    return settings
