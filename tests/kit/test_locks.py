"""Two writers, tried with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.reading import read_json
from alignsd.kit import locks

HOLD = """
import sys, time
from alignsd.kit import locks
held = locks.hold(sys.argv[1], "alignsd run --run first")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float = 60) -> subprocess.Popen:
    """Start another process that holds ``path``; return it once the process does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(kit) -> Path:
    return locks.run_lock("mini")


def test_the_second_writer_is_told_of_the_first(path):
    first = holder(path)
    try:
        started = time.monotonic()
        with pytest.raises(Problem) as problem:
            locks.hold(path, "notebook 04 in JupyterLab", patience=0.3)
        assert time.monotonic() - started < 3
    finally:
        first.kill()
        first.wait()
    assert problem.value.what.startswith("notebook 04 in JupyterLab cannot start")
    since = read_json(path.with_name(path.name + ".json"))["since"]
    assert problem.value.found == f"alignsd run --run first, process {first.pid}, since {since}"
    assert f"kill {first.pid}" in problem.value.fix


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_holder_that_dies_lets_go(path, number):
    first = holder(path)
    first.send_signal(number)
    first.wait()
    assert path.with_name(path.name + ".json").exists(), "what the dead process wrote"
    with locks.hold(path, "second", patience=0):
        assert read_json(path.with_name(path.name + ".json"))["process"] == os.getpid()


def test_a_holder_about_to_end_is_waited_for(path):
    first = holder(path, 0.5)
    started = time.monotonic()
    with locks.hold(path, "second", patience=20):
        assert 0.1 < time.monotonic() - started < 15
    first.wait()


def test_a_file_that_was_left_behind_never_blocks(path):
    write_json(
        path.with_name(path.name + ".json"),
        {"what": "old", "process": 1, "host": "x", "since": "y"},
    )
    path.write_text("anything")
    with locks.hold(path, "second", patience=0):
        pass
    assert path.read_text() == "anything", "a file of this name may be anybody's"


def test_one_process_may_hold_a_file_several_times(path):
    with locks.hold(path, "outer"):
        with locks.hold(path, "inner"):
            pass
        assert _refused(path), "the inner block gave back its own hold alone"
    assert not _refused(path)


def test_release_lets_go_however_often_the_file_is_held(path):
    first = locks.hold(path, "notebook 04, begun")
    second = locks.hold(path, "notebook 04, begun again")
    assert _refused(path)
    second.release()
    assert not path.with_name(path.name + ".json").exists()
    assert not _refused(path)
    first.release()  # nothing is left to let go


def test_a_hold_ends_with_its_object(path):
    lock = locks.hold(path, "notebook 04")
    del lock
    assert not _refused(path)


def test_two_runs_and_two_stages_do_not_meet(kit):
    with (
        locks.hold(locks.run_lock("mini"), "a"),
        locks.hold(locks.run_lock("other"), "b"),
        locks.hold(locks.stage_lock("mini", "01_first"), "c"),
    ):
        assert not _refused(locks.stage_lock("mini", "02_second"))
        assert _refused(locks.stage_lock("mini", "01_first"))


def test_a_run_reached_through_a_link_is_the_same_run(kit):
    folder = kit / "disk" / "mini"
    folder.mkdir(parents=True)
    (kit / "papermill_runs").mkdir()
    (kit / "papermill_runs" / "mini").symlink_to(folder)
    with locks.hold(locks.run_lock("mini"), "a"):
        assert _refused(folder / "stages" / ".run.lock")


def test_a_holder_on_another_machine_is_named_with_it(path, monkeypatch):
    first = holder(path)
    monkeypatch.setattr(locks.socket, "gethostname", lambda: "elsewhere")
    try:
        with pytest.raises(Problem, match=f"process {first.pid} on host "):
            locks.hold(path, "second", patience=0)
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"what": 1}', "\x00"])
def test_a_damaged_note_of_the_holder_does_not_hide_that_there_is_one(path, text):
    first = holder(path)
    path.with_name(path.name + ".json").write_text(text)
    try:
        with pytest.raises(Problem, match="another writer is at work"):
            locks.hold(path, "second", patience=0)
    finally:
        first.kill()
        first.wait()


def test_a_folder_that_cannot_be_written_is_told(kit):
    (kit / "papermill_runs").write_text("a file in place of the folder")
    with pytest.raises(Problem, match=r"(?s)cannot be written.*is a file, not a folder"):
        locks.hold(locks.run_lock("mini"), "a")


def test_a_read_only_folder_is_told(kit, as_ordinary_user):
    folder = kit / "papermill_runs" / "mini" / "stages"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    done = as_ordinary_user(HOLD, str(locks.run_lock("mini")), "0")
    folder.chmod(0o755)
    assert "Problem" in done.stderr and "cannot be written" in done.stderr, done.stderr
    assert "a read-only disk or checkout, or a folder that belongs to another user" in done.stderr


def test_without_locks_in_the_file_system_a_warning_is_given(path, monkeypatch):
    def no_locks(self, *arguments, **options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(locks.FileLock, "acquire", no_locks)
    with pytest.warns(UserWarning, match="has no locks"), locks.hold(path, "alignsd run"):
        pass


def _refused(path: Path) -> bool:
    """Return whether another process that asks for ``path`` is refused."""
    code = "import sys\nfrom alignsd.kit import locks\nlocks.hold(sys.argv[1], 'other', patience=0)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 or "another writer is at work" in done.stderr, done.stderr
    return done.returncode != 0
