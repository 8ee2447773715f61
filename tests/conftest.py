"""Fixtures that several test modules use."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is imported

import hypothesis
import psutil
import pytest
from cases import CASES

hypothesis.settings.register_profile(
    "kit",
    max_examples=50 * CASES,
    deadline=None,
    derandomize=CASES == 1,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("kit")


@pytest.fixture
def kit(tmp_path, monkeypatch) -> Path:
    """Give an empty repository in a temporary folder: an empty ``notebooks/``, and no run."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("ALIGNSD_ROOT", str(tmp_path))
    monkeypatch.delenv("ALIGNSD_OUTPUT", raising=False)
    return tmp_path


@pytest.fixture
def as_ordinary_user():
    """Give a function that runs Python code which cannot write read-only files, even as root."""

    def drop() -> None:
        if os.geteuid() == 0:
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | environment,
            preexec_fn=drop,
        )

    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may write everything")
    return run


@pytest.fixture
def full_size_weights(tmp_path) -> Iterator[Path]:
    """Give a path for the weights of a model of full size; the file is deleted after the test.

    Where there is no room, the test is skipped.
    """
    disk = shutil.disk_usage(tmp_path).free / 2**30
    memory = psutil.virtual_memory().available / 2**30
    if disk < 3 or memory < 8:
        needed = "a model of full size needs 3 GiB of disk and 8 GiB of memory"
        pytest.skip(f"{needed}; {disk:.1f} and {memory:.1f} are free")
    weights = tmp_path / "weights.pt"
    yield weights
    weights.unlink(missing_ok=True)


@pytest.fixture
def style():
    """Use the style of the project's figures for one test."""
    from matplotlib import pyplot as plt

    from alignsd.figures import style

    with plt.rc_context():
        style.use()
        yield
    plt.close("all")


@pytest.fixture
def notebook(kit):
    """Give a function that writes a notebook into ``kit``.

    Such as ``notebook("01_first", "seed = 0  # seed", "print(seed)", prose="...")``.
    """

    def write(name: str, parameters: str, *code: str, prose: str = "text") -> Path:
        run = 'run = "mini"  # name of the run'
        cells = [{"cell_type": "markdown", "id": "text", "metadata": {}, "source": prose}]
        for number, source in enumerate([f"{run}\n{parameters}", *code]):
            cells.append(code_cell(f"code-{number}", source))
        cells[1]["metadata"] = {"tags": ["parameters"]}
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {"cells": cells, "metadata": {"kernelspec": spec}}
        path = kit / "notebooks" / f"{name}.ipynb"
        path.write_text(json.dumps(content | {"nbformat": 4, "nbformat_minor": 5}))
        return path

    return write


def code_cell(name: str, source: str) -> dict:
    cell = {"cell_type": "code", "id": name, "metadata": {}, "source": source}
    return cell | {"outputs": [], "execution_count": None}
