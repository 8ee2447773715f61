"""Runs that are killed, interrupted or lose their kernel: what is left, said, and made of it.

By default the run of preset smoke is killed 8 times; ``CASES=3`` kills it 29 times, in every stage.
``KILL_SEED`` chooses other moments.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import psutil
import pytest
import torch
from cases import CASES
from safetensors.torch import load_file

from alignsd.kit.values.notebook_files import usual_names

SECONDS = 900  # far more than it takes
SEED = int(os.environ.get("KILL_SEED", "0"))
FEW = {"01": 2, "03": 2, "05": 2, "06": 2}
MANY = {"00": 1, "01": 5, "02": 3, "03": 5, "04": 2, "05": 5, "06": 4, "07": 2, "08": 2}
KILLS = FEW if CASES < 3 else MANY
PRESET = """
base: smoke
"05": {ranks: [4]}
"07": {fid_resamples: 2}
"""
COMMAND = "import sys; from alignsd.cli import main; sys.argv[0] = 'alignsd'; main()"
# One notebook without what the command does first: torch is not loaded to look at the machine.
ONE = """
import sys
from alignsd.running import runner, tasks
from alignsd.running.company import Company
plan = tasks.prepare(tasks.Request("smoke", sys.argv[1], only=[sys.argv[2]]))
runner.note(plan)
(task,) = plan.tasks
if task.todo:
    runner.carry_out(task, Company())
"""


def start(code: str, *arguments: str, output: Path) -> subprocess.Popen:
    """Start Python code as the first process of a group of its own."""
    environment = os.environ | {"ALIGNSD_OUTPUT": str(output), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """Wait for a process and return what it printed."""
    try:
        return process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process with its group; its kernels, which have groups of their own, must go too."""
    kernels = kernels_of(process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(lives(kernel) for kernel in kernels), 3, "an orphaned kernel")


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def left_over(folder: Path) -> list[str]:
    """Return the temporary files in a folder."""
    return [path.name for path in folder.rglob(".*") if ".part" in path.name]


class KilledRun:
    """A run of preset smoke that is killed again and again, beside one that is not.

    A notebook of the killed run begins once the other run has finished the notebook. The processor
    time that the notebook took there tells when to kill: unlike seconds, processor time does not
    depend on what else the machine does.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.preset = folder / "smoke.yaml"
        self.preset.write_text(PRESET)
        self.kills: list[str] = []
        self.needed: dict[str, float] = {}  # seconds of processor time of a notebook's kernel
        self.moments = random.Random(SEED)

    def go(self) -> None:
        whole = start(COMMAND, "run", "--preset", str(self.preset), output=self.folder / "whole")
        watcher = threading.Thread(target=self._measure, args=(whole,), daemon=True)
        watcher.start()
        try:
            for name in usual_names():
                record = self.folder / f"whole/papermill_runs/smoke/{name}.json"
                wait_until(lambda n=name: n in self.needed or ended(whole), SECONDS, name)
                if not record.exists():
                    break
                self._kill(name, self._window(name, self.needed.get(name, 0.0)))
                self._finish(name)
            out, error = finish(whole)
            assert whole.returncode == 0, out + error
        finally:
            if not ended(whole):
                kill_group(whole)

    def _measure(self, whole: subprocess.Popen) -> None:
        """Note the processor time of each notebook of the whole run the moment it is finished.

        Later would be wrong: the whole run does not wait for the killed one.
        """
        used = 0.0
        for name in usual_names():
            record = self.folder / f"whole/papermill_runs/smoke/{name}.json"
            while not record.exists():
                if not psutil.pid_exists(whole.pid):
                    return
                time.sleep(0.02)
            before, used = used, kernels_time(whole)
            self.needed[name] = used - before

    def _window(self, name: str, needed: float) -> tuple[float, float]:
        """Return between which processor times of its kernel a notebook is at work."""
        run = self.folder / "whole/papermill_runs/smoke"
        whole = json.loads((run / f"{name}.json").read_text())["seconds"]
        work = json.loads((run / f"stages/{name}/metrics.json").read_text())["seconds"]
        if needed <= 0:  # the other run was gone before it could be asked
            needed = whole
        return 0.9 * needed * (1 - work / whole), 0.95 * needed

    def _kill(self, name: str, window: tuple[float, float]) -> None:
        """Kill a notebook as often as planned; start anew when the notebook was too quick."""
        planned = KILLS.get(name[:2], 0)
        done = 0
        for _ in range(3 * planned):
            if done == planned:
                return
            if self._attempt(name, self.moments.uniform(*window)):
                self.kills.append(name)
                done += 1
            elif done < planned:
                self._start_anew(name)

    def _attempt(self, name: str, moment: float) -> bool:
        """Kill a notebook's kernel after ``moment`` seconds of its time; return whether it was."""
        process = start(ONE, str(self.preset), name, output=self.folder / "killed")
        end = time.monotonic() + SECONDS
        while not ended(process):
            assert time.monotonic() < end
            if any(cpu_time(kernel) > moment for kernel in kernels_of(process)):
                kill_group(process)
                return True
            time.sleep(0.02)
        out, error = finish(process)
        assert process.returncode == 0, out + error
        return False

    def _start_anew(self, name: str) -> None:
        run = self.folder / "killed/papermill_runs/smoke"
        shutil.rmtree(run / "stages" / name)
        for suffix in ("json", "ipynb"):
            (run / f"{name}.{suffix}").unlink()

    def _finish(self, name: str) -> None:
        process = start(ONE, str(self.preset), name, output=self.folder / "killed")
        out, error = finish(process)
        assert process.returncode == 0, out + error


def ended(process: subprocess.Popen) -> bool:
    return process.poll() is not None


def kernels_of(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def cpu_time(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process has used; 0 if the process is gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def kernels_time(process: subprocess.Popen) -> float:
    """Return the seconds of processor time of a process's kernels; 0 if the process is gone."""
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.children_user + times.children_system


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> KilledRun:
    run = KilledRun(tmp_path_factory.mktemp("killed"))
    run.go()
    return run


def test_the_run_was_killed_often_and_in_many_stages(killed):
    print(f"killed {len(killed.kills)} times: {killed.kills}")
    assert len(killed.kills) >= (20 if KILLS is MANY else 6)
    assert len(set(killed.kills)) >= len(KILLS) - 1


def test_a_killed_run_ends_with_the_files_of_one_that_was_not(killed):
    whole, other = results(killed.folder / "whole"), results(killed.folder / "killed")
    assert sorted(other) == sorted(whole)
    assert [name for name in whole if not same(whole[name], other[name])] == []
    suffixes = {path.suffix for path in whole.values()}
    assert {".png", ".pdf", ".jpg", ".parquet", ".safetensors", ".pt", ".zip", ".json"} <= suffixes


def test_a_killed_run_leaves_no_temporary_files(killed):
    assert left_over(killed.folder / "killed/papermill_runs/smoke/stages") == []
    assert left_over(killed.folder / "killed/figures") == []


def results(folder: Path) -> dict[str, Path]:
    """Return all files but notebooks, whose outputs tell of seconds, locks, and a lock's holder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [
        p for p in files if p.suffix != ".ipynb" and ".lock" not in p.name and ".part" not in p.name
    ]
    return {path.relative_to(folder).as_posix(): path for path in kept}


def same(one: Path, other: Path) -> bool:
    """Return whether two files hold the same results, byte by byte but for tensors and seconds."""
    if one.read_bytes() == other.read_bytes():
        return True
    if one.suffix == ".pdf":
        return rounded(one) == rounded(other)
    if one.suffix == ".safetensors":
        return equal(load_file(one), load_file(other))
    if one.suffix == ".pt":
        return equal(torch.load(one, weights_only=True), torch.load(other, weights_only=True))
    if one.suffix == ".json":
        return timeless(json.loads(one.read_text())) == timeless(json.loads(other.read_text()))
    return False


def rounded(pdf: Path) -> list[bytes]:
    """Return what a PDF draws, its numbers rounded: matplotlib's layout differs in the 10th digit.

    The layout's equations are solved in an order that differs between processes.
    """
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf.read_bytes(), re.DOTALL)
    drawn = []
    for stream in streams:
        try:
            text = zlib.decompress(stream)
        except zlib.error:
            text = stream
        drawn.append(re.sub(rb"-?\d+\.\d+", lambda m: b"%.3f" % float(m[0]), text))
    return [text for text in drawn if not text.strip().isdigit()]


def equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def timeless(value):
    """Return JSON without what differs from run to run: times, and the memory used."""
    if not isinstance(value, dict):
        return value
    return {
        k: timeless(v) for k, v in value.items() if not re.search("second|memory|started|work", k)
    }


# A notebook of one stage that writes a file slowly: the file is half written while the test acts.
SLOW = """
import time
from alignsd.base.atomic import replacing
with replacing(stage.path("a.txt")) as part:
    part.write_text("half")
    for _ in range(0 if stage.path("again").exists() else 1200):
        {wait}
    part.write_text("whole")
stage.finish({{}})
"""
QUIET = """
import sys
from alignsd import cli
from alignsd.planning import whole_plan
whole_plan._look_ahead = lambda *arguments: None
sys.argv[0] = "alignsd"
cli.main()
"""
BEGIN = 'from alignsd.kit.stage import begin\nstage = begin("01_first", globals())'


@pytest.fixture
def slow(notebook, kit):
    """A run whose only notebook is writing; yields its process, and kills what is left of it."""
    processes = []

    def begin(
        wait: str = "time.sleep(0.05)", until: str = "stages/01_first/.a.*"
    ) -> subprocess.Popen:
        notebook("01_first", "n = 1  # number", BEGIN, SLOW.format(wait=wait))
        process = start(QUIET, "run", "--force", output=kit)
        processes.append(process)
        run = kit / "papermill_runs/mini"
        wait_until(
            lambda: list(run.glob(until)) or process.poll() is not None, 60, "the notebook begins"
        )
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            kill_group(process)


def goes_on(kit: Path) -> None:
    """Assert that the next run finishes the notebook."""
    (kit / "papermill_runs/mini/stages/01_first/again").write_text("")
    again = start(QUIET, "run", output=kit)
    out, error = finish(again)
    assert again.returncode == 0 and "begun, not finished" not in error, out + error
    assert (kit / "papermill_runs/mini/stages/01_first/a.txt").read_text() == "whole"
    assert left_over(kit) == []


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (signal.SIGINT, 130, "Ctrl-C"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGHUP, 129, "SIGHUP"),
    ],
)
def test_a_signal_ends_a_run_in_order(slow, kit, number, code, name):
    process = slow()
    kernels = kernels_of(process)
    assert kernels
    process.send_signal(number)
    out, error = finish(process)
    assert process.returncode == code, out + error
    assert not any(map(lives, kernels)), "the kernel is waited for"
    assert re.fullmatch(r"\[1/1\] 01_first  stopped after \d:\d\d", out.splitlines()[-1]), out
    assert error == f"Stopped by {name}. To go on: alignsd run\n"
    assert left_over(kit) == []
    goes_on(kit)


def test_a_cell_that_does_not_listen_is_killed_after_a_while(slow, kit):
    deaf = "try: time.sleep(0.05)\n        except KeyboardInterrupt: pass"
    process = slow(wait=deaf)
    process.send_signal(signal.SIGTERM)
    out, error = finish(process)
    assert process.returncode == 143 and error.startswith("Stopped by SIGTERM."), out + error
    assert left_over(kit) == []
    goes_on(kit)


def test_a_second_signal_kills_at_once(slow, kit):
    deaf = "try: time.sleep(0.05)\n        except KeyboardInterrupt: pass"
    process = slow(wait=deaf)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, error = finish(process)
    assert process.returncode == 130 and time.monotonic() - started < 4.5, out + error


@pytest.mark.parametrize("delay", [0.0, 0.4, 0.8])
def test_a_signal_while_the_kernel_starts(slow, kit, delay):
    process = slow(until="stages/.01_first.lock")
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, error = finish(process)
    assert process.returncode == 130 and "Traceback" not in out + error, out + error
    assert error.startswith("Stopped by Ctrl-C. To go on: alignsd run") and left_over(kit) == []


def test_a_signal_before_anything_runs(kit, notebook):
    notebook("01_first", "n = 1  # number", BEGIN, "stage.finish({})")
    waits = "print('looks', flush=True), time.sleep(60)"
    code = (
        "import time\nfrom alignsd import cli\nfrom alignsd.planning import whole_plan\n"
        f"whole_plan._look_ahead = lambda *a: ({waits})\ncli.main()"
    )
    process = start(code, "run", output=kit)
    assert process.stdout.readline() == "looks\n"
    process.send_signal(signal.SIGTERM)
    out, error = finish(process)
    assert process.returncode == 143 and error == "Stopped by SIGTERM. To go on: alignsd run\n", (
        out + error
    )


def test_a_signal_that_is_ignored_stays_ignored(kit, notebook):
    """If it failed, ``nohup alignsd run`` would end when the terminal is closed."""
    notebook("01_first", "n = 1  # number", BEGIN, "import time\ntime.sleep(1)", "stage.finish({})")
    process = start(
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + QUIET, "run", output=kit
    )
    wait_until(
        lambda: (kit / "papermill_runs/mini/stages/01_first").exists(), 60, "the notebook begins"
    )
    process.send_signal(signal.SIGHUP)
    out, error = finish(process)
    assert process.returncode == 0, out + error


def test_a_kernel_killed_alone_is_told_with_its_signal(slow, kit):
    process = slow()
    for kernel in kernels_of(process):
        kernel.kill()
    out, error = finish(process)
    assert process.returncode == 1 and "Traceback" not in out + error, out + error
    assert error.startswith("The kernel died in cell 3.") and "signal SIGKILL" in error
    assert "memory" not in error and "another program or a user ended the kernel" in error
    assert (kit / "papermill_runs/mini/01_first.failed.ipynb").exists() and left_over(kit) == []
    goes_on(kit)


def test_an_orphaned_kernel_is_gone_at_once_and_its_files_with_the_next_run(slow, kit):
    process = slow()
    kernels = kernels_of(process)
    os.kill(process.pid, signal.SIGKILL)  # the runner alone
    started = time.monotonic()
    wait_until(lambda: not any(map(lives, kernels)), 3, "an orphaned kernel")
    assert time.monotonic() - started < 0.8, "ipykernel itself looks once a second"
    process.communicate()
    assert left_over(kit), "what the killed kernel was writing"
    goes_on(kit)


def test_the_same_run_twice_at_a_time_is_refused(slow, kit):
    first = slow()
    second = start(QUIET, "run", output=kit)
    out, error = finish(second)
    assert second.returncode == 1 and "Traceback" not in out + error, out + error
    assert (
        f"alignsd run --run mini, process {first.pid}, since 20" in error
        and f"kill {first.pid}" in error
    )
    assert out == "", "refused before anything is measured or printed"
    assert first.poll() is None, "the first run goes on"


def test_a_stage_that_is_open_elsewhere_is_not_emptied(notebook, kit):
    """If it failed, --force would delete what JupyterLab is writing."""
    notebook("01_first", "n = 1  # number", BEGIN, "stage.finish({})")
    kept = kit / "papermill_runs/mini/stages/01_first/kept.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    holds = (
        "import time; from alignsd.kit import locks; "
        "held = locks.hold(locks.stage_lock('mini', '01_first'), 'notebook 01 in JupyterLab'); "
        "print('held', flush=True); time.sleep(60)"
    )
    lab = start(holds, output=kit)
    assert lab.stdout.readline() == "held\n"
    process = start(QUIET, "run", "--force", output=kit)
    out, error = finish(process)
    assert process.returncode == 1 and "notebook 01 in JupyterLab, process" in error, out + error
    assert kept.exists()
    kill_group(lab)
