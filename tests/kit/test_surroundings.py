"""What lies around a run: another system, no home folder, an ASCII terminal, another folder."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import run_kernel

from alignsd.base.errors import Problem
from alignsd.base.paths import root
from alignsd.kit import surroundings
from alignsd.kit.stage import begin
from alignsd.running.execution import execute
from alignsd.running.kernels.environment import kernel_environment
from alignsd.running.publishing import _without_paths

COMMAND = "from alignsd.cli import main; main()"


def command(
    *arguments: str, before: str = "", cwd=None, **variables: str
) -> subprocess.CompletedProcess:
    """Run the command in a process of its own; an empty variable is removed."""
    environment = os.environ | {"PYTHONPATH": str(root()), "OMP_NUM_THREADS": "1"} | variables
    kept = {name: value for name, value in environment.items() if value != ""}
    call = [sys.executable, "-c", before + COMMAND, *arguments]
    return subprocess.run(call, capture_output=True, text=True, cwd=cwd, env=kept, timeout=240)


def test_the_plan_is_printed_without_the_module_resource():
    """Windows has no module ``resource`` and no ``os.sysconf``."""
    windows = "import os, sys; sys.modules['resource'] = None; del os.sysconf; "
    done = command("run", "--preset", "mini", "--run", "trial", "--dry-run", before=windows)
    assert done.returncode == 0 and "00_start_here: runs" in done.stdout, done.stderr


def test_memory_is_measured_without_the_module_resource(monkeypatch):
    used = surroundings.peak_memory_mib()
    monkeypatch.setitem(sys.modules, "resource", None)
    assert 10 < surroundings.peak_memory_mib() <= 1.1 * used + 10


def test_python_without_docstrings_is_refused_in_words():
    done = command("run", "--dry-run", PYTHONOPTIMIZE="2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("Python drops docstrings here")
    assert "unset PYTHONOPTIMIZE" in done.stderr


def test_a_terminal_that_is_ascii_only_prints_everything():
    done = command("scorecard", "--run", "mini", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "reproduced" in done.stdout and "\\x" not in done.stdout, (
        done.stderr
    )
    refused = command("run", "--set", "séed=1", "--dry-run", PYTHONIOENCODING="ascii")
    assert refused.returncode == 1
    assert "s\\xe9ed" in refused.stderr
    assert "Traceback" not in refused.stderr


BEGIN = 'from alignsd.kit.stage import begin\nstage = begin("01_first", globals())'


def test_the_command_and_its_kernel_mean_one_folder(notebook, kit, tmp_path_factory, monkeypatch):
    """A relative ALIGNSD_OUTPUT starts where the command was typed, not where the kernel starts."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    notebook("01_first", "n = 1  # number", BEGIN, "stage.finish({})")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("ALIGNSD_OUTPUT", "out")
    monkeypatch.setenv("ALIGNSD_ROOT", os.path.relpath(kit))
    execute(
        kit / "notebooks" / "01_first.ipynb",
        elsewhere / "out" / "papermill_runs" / "mini" / "01_first.ipynb",
        {},
    )
    assert (elsewhere / "out/papermill_runs/mini/stages/01_first/metrics.json").exists()
    assert not (kit / "out").exists()


def test_a_kernel_without_a_home_folder_gets_one(notebook, kit, monkeypatch):
    code = (
        "import os, pathlib\n"
        "print(pathlib.Path.home().is_dir(), os.access(pathlib.Path.home(), os.W_OK))\n"
        "import matplotlib.pyplot"
    )
    source = notebook("01_first", "n = 1  # number", code, BEGIN, "stage.finish({})")
    monkeypatch.setenv("HOME", "/nonexistent")
    target = kit / "papermill_runs" / "mini" / "01_first.ipynb"
    execute(source, target, {})
    outputs = [
        output
        for cell in nbformat.read(target, 4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert [output.text for output in outputs] == ["True True\n"], "no warning either"


def test_a_home_folder_that_can_only_be_read_stays(monkeypatch, tmp_path):
    """Models that were fetched before lie there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    folder = Path("/somewhere")
    assert kernel_environment(folder)["HOME"] == str(tmp_path)
    assert "MPLCONFIGDIR" not in kernel_environment(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    environment = kernel_environment(folder)
    assert environment["HOME"] == str(tmp_path)
    assert environment["MPLCONFIGDIR"] == str(folder)
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    assert kernel_environment(folder)["MPLCONFIGDIR"] == "/mine"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert kernel_environment(folder)["HOME"] == str(folder)


TEXT = "selected / all: 3 / 4, https://example.org/a, <br/>, ~/a"


@pytest.mark.parametrize("home", ["/", "", "relative", "/nonexistent"])
def test_slashes_are_no_home_folder(monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    assert _without_paths(TEXT) == TEXT


def test_outputs_of_a_user_without_a_home_folder_stay(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert _without_paths(TEXT) == TEXT


def test_only_whole_paths_are_shortened(kit, monkeypatch):
    monkeypatch.setenv("HOME", "/data")
    below = _without_paths("/data/a '/data' (/data) file:///data/b")
    assert below == "~/a '~' (~) file://~/b"
    others = "/data2 /data-x /mnt/data/c https://example.org/data/d"
    assert _without_paths(others) == others
    monkeypatch.setenv("ALIGNSD_OUTPUT", "/")
    assert _without_paths("3 / 4 of /x") == "3 / 4 of /x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_folder_of_a_stage_that_cannot_be_made_is_told(notebook, kit, monkeypatch, number):
    notebook("01_first", "n = 1  # number")
    begun = begin("01_first", {"run": "mini", "n": 1})

    def refuse(self, *arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Problem, match=os.strerror(number)):
        begun.path("pictures", "a.png")


def test_a_person_is_told_from_a_program_that_runs_the_cells(tmp_path):
    """JupyterLab lets a cell ask a question, and says so with each cell; papermill does not."""
    code = "from alignsd.kit.surroundings import has_person; print(has_person())"
    printed = []
    with run_kernel(env=kernel_environment(tmp_path)) as client:
        for allowed in (True, False):
            client.execute_interactive(
                code,
                allow_stdin=allowed,
                output_hook=lambda message: printed.append(message["content"].get("text")),
            )
    assert [text for text in printed if text] == ["True\n", "False\n"]
    assert not surroundings.has_person(), "no kernel"


def test_memory_that_nothing_uses_goes_back_to_the_system():
    """Blocks of 100 kB come from the heap, which the C library keeps while a later block lives."""
    code = (
        "import psutil; from alignsd.kit.surroundings import release_memory\n"
        "blocks = [bytearray(100_000) for _ in range(2_000)]\n"
        "last = bytearray(100_000); del blocks\n"
        "before = psutil.Process().memory_info().rss; release_memory()\n"
        "print(before - psutil.Process().memory_info().rss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root())
    assert done.returncode == 0, done.stderr
    if sys.platform == "linux":
        assert int(done.stdout) > 150e6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["--help"], ["scorecard"], ["ablate"]])
def test_output_that_cannot_be_written_is_told(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(root())},
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("The output of the command cannot be written."), done.stderr
    assert "Exception ignored" not in done.stderr
