"""Runs on several processes: who writes, what a lost process leaves, and how the run goes on."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from launched import launched, launcher, variables_of

RUN = """
import sys
from alignsd import cli
from alignsd.planning import whole_plan
whole_plan._look_ahead = lambda *arguments: None
sys.argv[:] = ["alignsd", "run"]
cli.main()
"""
BEGIN = """
from pathlib import Path
import os, signal, time
from alignsd.base import processes
from alignsd.base.progress import track
from alignsd.kit.stage import begin
stage = begin("{name}", globals(), needs={needs})
"""
SQUARES = """
own = [number * number for number in processes.share(range(5))]
Path(stage.path(f"{processes.number()}.txt")).write_text(str(os.getpid()))
squares = processes.gathered(own)
"""
LAST = """
if Path("fails").exists() and not processes.is_first():
    raise ValueError("a picture that only this process has")
if Path("waits").exists() and processes.is_first():
    time.sleep(600)
"""


@pytest.fixture
def two(kit, notebook):
    """Give a folder with two notebooks, whose processes exchange values."""
    first = BEGIN.format(name="01_first", needs=[])
    second = BEGIN.format(name="02_second", needs=["01_first"])
    finish = 'stage.finish({"squares": squares})'
    notebook("01_first", "n = 1  # number", first, SQUARES, finish)
    notebook("02_second", "n = 1  # number", second, SQUARES, LAST, finish)
    return kit


def squares(kit, name: str) -> list[int]:
    text = (kit / f"papermill_runs/mini/stages/{name}/metrics.json").read_text()
    return json.loads(text)["squares"]


def kernels_of(kit, count: int = 2) -> list[int]:
    """Return the process ids of the kernels of notebook 02, once all are at work."""
    folder = kit / "papermill_runs/mini/stages/02_second"
    files = [folder / f"{number}.txt" for number in range(count)]
    until = time.monotonic() + 200
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < until, "the kernels do not begin"
        time.sleep(0.1)
    return [int(file.read_text()) for file in files]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_of_two_processes_then_a_failure_then_one_process(two):
    (two / "fails").touch()
    end = launched(RUN, two)
    assert end.returncode != 0
    assert "01_first   done in" in end.stdout, end.stdout + end.stderr
    assert squares(two, "01_first") == [0, 1, 4, 9, 16]
    run = two / "papermill_runs/mini"
    written = {"01_first.ipynb", "01_first.json", "02_second.process1.failed.ipynb", "run.json"}
    assert written <= set(names(run)), "the executed copy, the record, the failed copy"
    assert not list(run.rglob("*.part*"))
    assert end.stdout.count("01_first   done in") == 1, "the first process alone prints"
    assert "ValueError in cell 4: a picture that only this process has" in end.stderr
    assert "process 1 (of 0 to 1)" in end.stderr and "so this process ends, too" in end.stderr
    assert "on one process: " in end.stderr

    (two / "fails").unlink()
    alone = launched(RUN, two, processes=1)
    assert alone.returncode == 0, alone.stderr
    assert "01_first   finished before" in alone.stdout
    assert squares(two, "02_second") == [0, 1, 4, 9, 16]
    assert "02_second.process1.failed.ipynb" not in names(run)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a system without signals")
@pytest.mark.parametrize("ended", ["runner", "kernel", "Ctrl-C"])
def test_a_lost_process_ends_all_and_no_kernel_is_left(two, ended):
    (two / "waits").touch()
    (two / "script.py").write_text(RUN)
    command = [*launcher(2), "script.py"]
    launch = subprocess.Popen(
        command,
        cwd=two,
        env=variables_of(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        kernels = kernels_of(two)
        runners = [psutil.Process(kernel).ppid() for kernel in kernels]
        if ended == "Ctrl-C":
            os.killpg(launch.pid, signal.SIGINT)
        else:
            os.kill(runners[1] if ended == "runner" else kernels[1], signal.SIGKILL)
        output, errors = launch.communicate(timeout=100)
    finally:
        if launch.poll() is None:
            os.killpg(launch.pid, signal.SIGKILL)
    assert launch.returncode != 0
    assert not any(map(psutil.pid_exists, [*kernels, *runners])), errors
    if ended == "Ctrl-C":
        assert errors.count("Stopped by Ctrl-C. To go on: ") == 1, errors
    else:
        assert "process 1 (of 0 to 1)" in errors and "so this process ends, too" in errors
        said = "killed, and said nothing" if ended == "runner" else "The kernel died in cell"
        assert said in errors
    assert not (two / "papermill_runs/mini/stages/02_second/metrics.json").exists()
