"""Check that this machine has what the notebooks need, and name the command that adds the rest."""

import importlib.util
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import psutil

from alignsd.base.commands import pasteable
from alignsd.base.errors import Problem
from alignsd.base.paths import SHIPPED, output, root
from alignsd.base.reading import read_json, read_text
from alignsd.kit.provenance import file_sha256
from alignsd.kit.records import expected_seconds
from alignsd.kit.values.notebook_files import notebook_names, notebook_path
from alignsd.kit.values.presets import read_preset
from alignsd.planning.purposes import PURPOSES

INSTALL = "pip install -r requirements.txt, or make demo, which makes an environment of its own"
PIN = re.compile(r"(?m)^([\w.-]+)==([^\s;]+)")  # a line of requirements.txt
NAME = re.compile(r"^[\w.-]+")  # begins a requirement in pyproject.toml
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """A thing that the notebooks need.

    Attributes:
        what: the name of the thing.
        needed: what suffices.
        found: what this machine has.
        state: ``"ok"``, ``"missing"``, or ``"note"``: works, but numbers or time may differ.
        fix: the command or step that repairs the fault; empty if the state is ``"ok"``.
    """

    what: str
    needed: str
    found: str
    state: str
    fix: str = ""


def check_environment(memory: float, disk: float, gpu_memory: float = 0.0) -> list[Check]:
    """Return the checks of Python, pinned packages, shipped models, memory, disk and device.

    Args:
        memory: GiB that the notebooks take at most.
        disk: GiB that a run leaves.
        gpu_memory: GiB that the GPU must have; 0 if no GPU is needed.
    """
    checks = [
        _python(),
        *_packages(),
        _models(),
        _memory(memory),
        _disk(disk),
        _device(gpu_memory),
    ]
    return [replace(check, fix=pasteable(check.fix)) for check in checks]


def require(checks: Sequence[Check]) -> None:
    """Do nothing if nothing is missing.

    Raises:
        Problem: otherwise; names what is missing.
    """
    missing = [check for check in checks if check.state == "missing"]
    if missing:
        raise Problem(
            "The notebooks cannot run here yet.",
            expected="; ".join(f"{check.what} {check.needed}" for check in missing),
            found="; ".join(f"{check.what}: {check.found}" for check in missing),
            cause="an incomplete installation, or a machine too small for this preset",
            fix="; ".join(dict.fromkeys(check.fix for check in missing)),
        )


def notebook_map(preset: str, run: str) -> list[tuple[str, str, str]]:
    """Return ``(notebook, purpose, minutes:seconds)`` for each notebook.

    The time was measured; ``"-"`` if no measurement is known.
    """
    seconds = expected_seconds(preset, run)
    listed = []
    for name in notebook_names():
        cost = "-"
        if name in seconds:
            minutes, rest = divmod(round(seconds[name]), 60)
            cost = f"{minutes}:{rest:02d}"
        listed.append((name, PURPOSES.get(name, ""), cost))
    return listed


def preset_table(preset: str) -> list[tuple[str, str, str]]:
    """Return ``(notebook, parameter, value)`` of each value that a preset changes."""
    table = []
    for number, section in read_preset(preset).items():
        notebook = notebook_path(number).stem
        for name, value in section.items():
            table.append((notebook, name, repr(value)))
    return table


def _python() -> Check:
    needed = ".".join(map(str, OLDEST_PYTHON)) + " or newer"
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("Python", needed, version, "ok")
    return Check("Python", needed, version, "missing", "make demo PYTHON=python3.12")


def _packages() -> list[Check]:
    """Return one check for all packages that match the pins, and a check per other package.

    The packages are the project's direct dependencies.
    """
    direct = _direct_dependencies()
    pins = PIN.findall(read_text(root() / "requirements.txt"))
    checks = [_package(name, version) for name, version in pins if _canonical(name) in direct]
    wrong = [check for check in checks if check.state != "ok"]
    found = f"{len(checks) - len(wrong)} are"
    return [Check("packages", f"{len(checks)} as pinned", found, "ok"), *wrong]


def _direct_dependencies() -> set[str]:
    """Return the canonical names of the dependencies that pyproject.toml declares."""
    project = tomllib.loads(read_text(root() / "pyproject.toml"))["project"]
    requirements = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        requirements += extra
    return {_canonical(NAME.findall(requirement)[0]) for requirement in requirements}


def _canonical(name: str) -> str:
    """Return a package's name in the form that package indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(name: str, pinned: str) -> Check:
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, pinned, "not installed", "missing", INSTALL)
    if installed.split("+")[0] == pinned:  # 2.6.0+cpu: torch built for a device
        return Check(name, pinned, installed, "ok")
    fix = f"{INSTALL}; with other versions numbers may move"
    return Check(name, pinned, installed, "note", fix)


def _models() -> Check:
    """Check the shipped models against the SHA-256 in the models' card."""
    digests = _digests(SHIPPED / "model_card.json")
    wrong = [name for name, digest in digests.items() if not _has_digest(SHIPPED / name, digest)]
    needed = f"{len(digests) or 'some'} files as in their card"
    found = f"{len(digests) - len(wrong)} files are"
    if wrong:
        found += f", not {', '.join(wrong)}"
    if digests and not wrong:
        return Check("miniature's models", needed, found, "ok")
    fix = "git checkout alignsd/miniature/weights"
    return Check("miniature's models", needed, found, "missing", fix)


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and file_sha256(path) == digest


def _digests(card: Path) -> dict[str, str]:
    """Return file -> SHA-256 from the models' card.

    A missing or damaged card names no file.
    """
    try:
        digests = read_json(card)["sha256"]
        return {name: digest for name, digest in digests.items()}
    except (Problem, KeyError, TypeError, AttributeError):
        return {}


def _memory(needed: float) -> Check:
    gib = psutil.virtual_memory().total / 2**30
    amounts = (f"{needed:g} GiB", f"{gib:.1f} GiB")
    if gib >= needed:
        return Check("memory", *amounts, "ok")
    fix = "fewer pictures at a time: --set 06.batch=16, --set 07.batch=64"
    return Check("memory", *amounts, "note", fix)


def _disk(needed: float) -> Check:
    folders = (output(), *output().parents)  # the first may not exist yet
    existing = next(folder for folder in folders if os.path.exists(folder))
    gib = shutil.disk_usage(existing).free / 2**30
    amounts = (f"{needed:g} GiB", f"{gib:.1f} GiB")
    if gib >= needed:
        return Check("free disk", *amounts, "ok")
    fix = "make clean deletes earlier stages; ALIGNSD_OUTPUT=/a/larger/disk puts runs elsewhere"
    return Check("free disk", *amounts, "missing", fix)


def _device(gpu_memory: float) -> Check:
    needed = "2 cores; a GPU is optional"
    if gpu_memory:
        needed = f"a GPU of {gpu_memory:g} GiB"
    if importlib.util.find_spec("torch") is None:
        return Check("device", needed, "unknown without torch", "missing", INSTALL)
    import torch  # takes seconds, and may be missing

    cores = _cores()
    gib = 0.0
    found = f"{cores} cores, no GPU"
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        gpu = torch.cuda.get_device_properties(0)
        gib = gpu.total_memory / 2**30
        found = f"{gpu.name}, {gib:.1f} GiB"
    if gpu_memory > gib:
        fix = (
            "a larger GPU, or 05.micro_batch and the batches of 06 and 07 lowered "
            "and 00.gpu_memory with them; alignsd cost measures"
        )
        return Check("device", needed, found, "missing", fix)
    if has_gpu or cores >= 2:
        return Check("device", needed, found, "ok")
    return Check("device", needed, found, "note", "nothing to mend: expect twice the time")


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
