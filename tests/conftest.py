"""Fixtures that several test modules use."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is imported, see execution.THREADS

import hypothesis
import psutil
import pytest

# Generated inputs: the same ones in every run, and CASES times as many in a longer run by hand.
CASES = int(os.environ.get("CASES", "1"))
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
    """An empty repository of its own in a temporary folder: ``notebooks/`` to put notebooks in, and nothing run yet."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("ALIGNSD_ROOT", str(tmp_path))
    monkeypatch.delenv("ALIGNSD_OUTPUT", raising=False)
    return tmp_path


@pytest.fixture
def as_ordinary_user():
    """Runs Python code that cannot write what is read-only, even if root runs the tests."""

    def drop() -> None:
        if os.geteuid() == 0:
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True,
                              text=True, timeout=300, env=os.environ | environment, preexec_fn=drop)

    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may write everything")
    return run


@pytest.fixture
def full_size_weights(tmp_path) -> Iterator[Path]:
    """A file for the weights of a model of full size, which goes with the test; where there is no room the test is skipped."""
    disk, memory = shutil.disk_usage(tmp_path).free / 2**30, psutil.virtual_memory().available / 2**30
    if disk < 3 or memory < 8:
        pytest.skip(f"a model of full size needs 3 GiB of disk and 8 GiB of memory; {disk:.1f} and {memory:.1f} are free")
    yield tmp_path / "weights.pt"
    (tmp_path / "weights.pt").unlink(missing_ok=True)


@pytest.fixture
def style():
    """The style of the project's figures, for one test."""
    from matplotlib import pyplot as plt

    from alignsd.figures import style

    with plt.rc_context():
        style.use()
        yield
    plt.close("all")


@pytest.fixture
def notebook(kit):
    """Writes a notebook into ``kit``: ``notebook("01_first", "seed = 0  # seed", "print(seed)", prose="...")``."""

    def write(name: str, parameters: str, *code: str, prose: str = "text") -> Path:
        sources = ['run = "mini"  # name of the run\n' + parameters, *code]
        cells = [{"cell_type": "markdown", "id": "text", "metadata": {}, "source": prose}]
        cells += [{"cell_type": "code", "id": f"code-{i}", "metadata": {"tags": ["parameters"]} if i == 0 else {},
                   "outputs": [], "execution_count": None, "source": source} for i, source in enumerate(sources)]
        path = kit / "notebooks" / f"{name}.ipynb"
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}))
        return path

    return write
