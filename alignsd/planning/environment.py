"""What this machine has of what the notebooks need, and the command that mends what is missing."""

import importlib.util
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from alignsd.base.commands import pasteable
from alignsd.base.errors import Problem
from alignsd.base.paths import output, root
from alignsd.base.reading import read_json, read_text
from alignsd.kit.notebook_files import notebook_names, notebook_path, read_cells
from alignsd.kit.presets import read_preset
from alignsd.kit.provenance import file_sha256
from alignsd.kit.records import expected_seconds

INSTALL = "pip install -r requirements.txt, or make demo, which makes an environment of its own"


@dataclass(frozen=True)
class Check:
    """One thing the notebooks need.

    Attributes:
        what: its name.
        needed: what would do.
        found: what is there.
        state: ``"ok"``, ``"note"`` (works, but the numbers or the time may differ) or ``"missing"``.
        fix: the command or step that mends it; empty if it is ok.
    """

    what: str
    needed: str
    found: str
    state: str
    fix: str = ""


def check_environment(memory: float, disk: float, gpu_memory: float = 0.0) -> list[Check]:
    """Returns everything that was looked at: Python, pinned packages, shipped models, memory, disk and device.

    Args:
        memory: GiB that the notebooks take at most.
        disk: GiB that a run leaves.
        gpu_memory: GiB that the GPU must have; 0 if none is needed.
    """
    found = _checks(memory, disk, gpu_memory)
    return [replace(check, fix=pasteable(check.fix)) for check in found]


def _checks(memory: float, disk: float, gpu_memory: float) -> list[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    python = Check("Python", "3.11 or newer", version, "ok") if sys.version_info >= (3, 11) else \
        Check("Python", "3.11 or newer", version, "missing", "make demo PYTHON=python3.12")
    return [python, *_packages(), *_models(), _memory(memory), _disk(disk), _device(gpu_memory)]


def require(checks: Sequence[Check]) -> None:
    """Does nothing if all is there.

    Raises:
        Problem: naming what is missing.
    """
    missing = [check for check in checks if check.state == "missing"]
    if missing:
        raise Problem("The notebooks cannot run here yet.", expected="; ".join(f"{c.what} {c.needed}" for c in missing),
                      found="; ".join(f"{c.what}: {c.found}" for c in missing),
                      cause="an incomplete installation, or a machine too small for this preset",
                      fix="; ".join(dict.fromkeys(c.fix for c in missing)))


def notebook_map(preset: str, run: str) -> list[tuple[str, str, str]]:
    """Returns ``(notebook, purpose, measured minutes:seconds or "-")`` for each notebook, from the notebooks themselves."""
    seconds = expected_seconds(preset, run)
    found = []
    for name in notebook_names():
        purpose = re.search(r"\*\*Purpose\.\*\* (.*?)(?: Paper:|\n|$)", read_cells(notebook_path(name))[0]["source"])
        cost = "{}:{:02d}".format(*divmod(round(seconds[name]), 60)) if name in seconds else "-"
        found.append((name, textwrap.shorten(purpose.group(1), 96, placeholder=" ...") if purpose else "", cost))
    return found


def preset_table(preset: str) -> list[tuple[str, str, str]]:
    """Returns ``(notebook, parameter, value)`` for all values in which a preset differs from the notebooks' own."""
    return [(notebook_path(number).stem, name, repr(value))
            for number, section in read_preset(preset).items() for name, value in section.items()]


def _packages() -> list[Check]:
    """One line for all packages that are as pinned, and one for each that is not."""
    pinned = read_text(root() / "requirements.txt").split("# Theirs")[0]
    checks = [_package(name, version) for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", pinned)]
    wrong = [check for check in checks if check.state != "ok"]
    return [Check("packages", f"{len(checks)} as pinned", f"{len(checks) - len(wrong)} are", "ok"), *wrong]


def _package(name: str, pinned: str) -> Check:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, pinned, "not installed", "missing", INSTALL)
    if found.split("+")[0] == pinned:
        return Check(name, pinned, found, "ok")
    return Check(name, pinned, found, "note", f"{INSTALL}; with other versions numbers may move")


def _models() -> list[Check]:
    from alignsd.miniature import WEIGHTS

    card = WEIGHTS / "model_card.json"
    expected = _digests(card)
    wrong = [name for name, digest in expected.items() if not (WEIGHTS / name).is_file() or file_sha256(WEIGHTS / name) != digest]
    whole = bool(expected) and not wrong
    found = f"{len(expected) - len(wrong)} files are" + (f", not {', '.join(wrong)}" if wrong else "")
    return [Check("miniature's models", f"{len(expected) or 'some'} files as in their card", found, "ok" if whole else "missing",
                  "" if whole else "git checkout alignsd/miniature/weights")]


def _digests(card: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by the models' card; nothing if the card is missing or damaged."""
    try:
        digests = read_json(card)["sha256"]
        return {name: digest for name, digest in digests.items()}
    except (Problem, KeyError, TypeError, AttributeError):
        return {}


def _memory(needed: float) -> Check:
    import psutil

    gib = psutil.virtual_memory().total / 2**30
    enough = gib >= needed
    return Check("memory", f"{needed:g} GiB", f"{gib:.1f} GiB", "ok" if enough else "note",
                 "" if enough else "fewer pictures at a time: --set 06.batch=16, --set 07.batch=64")


def _disk(needed: float) -> Check:
    there = next(folder for folder in (output(), *output().parents) if os.path.exists(folder))
    gib = shutil.disk_usage(there).free / 2**30
    enough = gib >= needed
    return Check("free disk", f"{needed:g} GiB", f"{gib:.1f} GiB", "ok" if enough else "missing",
                 "" if enough else "make clean deletes earlier stages; ALIGNSD_OUTPUT=/a/larger/disk puts runs elsewhere")


def _device(gpu_memory: float) -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    needed = f"a GPU of {gpu_memory:g} GiB" if gpu_memory else "2 cores; a GPU is optional"
    if importlib.util.find_spec("torch") is None:
        return Check("device", needed, "unknown without torch", "missing", INSTALL)
    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    found = f"{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB" if gpu else f"{cores} cores, no GPU"
    if gpu_memory > (gpu.total_memory / 2**30 if gpu else 0):
        return Check("device", needed, found, "missing", "a larger GPU, or 05.micro_batch and the batches of 06 and 07 lowered "
                                                         "and 00.gpu_memory with them; alignsd cost measures")
    enough = gpu or cores >= 2
    return Check("device", needed, found, "ok" if enough else "note", "" if enough else "nothing to mend: expect twice the time")
