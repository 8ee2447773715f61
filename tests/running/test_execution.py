import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import numpy as np
import psutil
import pytest
from PIL import Image

from alignsd.base.errors import Problem, Stopped
from alignsd.running.execution import execute
from alignsd.running.kernels import endings
from alignsd.running.kernels.endings import Ending, died
from alignsd.running.publishing import published, refresh_prose

BEGIN = 'from alignsd.kit.stage import begin\nstage = begin("01_first", globals())'
LOOK = (
    "import os, sys, warnings\nwarnings.warn('careful')\nprint(sys.executable)\n"
    "print(stage.folder, os.getcwd(), 1 / n)"
)
EXECUTE = (
    "import sys, pathlib, alignsd.running.execution as e\n"
    "e.execute(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), {})"
)


def streams(path) -> str:
    return "".join(
        o.get("text", "")
        for c in nbformat.read(path, 4).cells
        if c.cell_type == "code"
        for o in c.outputs
    )


def test_executed_copy_holds_values_and_no_trace_of_the_machine(notebook, kit, capfd):
    source = notebook("01_first", "n = 0  # divisor", BEGIN, LOOK, "stage.finish({})")
    before = source.read_text()
    # papermill would format the braces.
    target = kit / "papermill_runs" / "a{b}c" / "01_first.ipynb"
    execute(source, target, {"n": 2})
    assert source.read_text() == before
    assert [path.name for path in target.parent.iterdir()] == ["01_first.ipynb"]
    text = target.read_text()
    for trace in (str(kit), f"{sys.prefix}/", "ipykernel_", 'papermill"'):
        assert trace not in text
    printed = streams(target)
    assert "<cell>:2: UserWarning: careful" in printed
    assert "papermill_runs/mini/stages/01_first" in printed
    assert "<python>/" in printed, "this Python ran it"
    assert " 0.5" in printed, "with the value given"
    assert capfd.readouterr() == ("", "")


def test_an_executed_copy_holds_no_state_of_widgets(notebook, kit):
    """Also where a notebook shows a plain widget, which the kit's own notebooks do not in batch."""
    show = "import ipywidgets\nslider = ipywidgets.IntSlider()\nslider"
    source = notebook("01_first", "n = 0  # n", BEGIN, show, "stage.finish({})")
    target = kit / "papermill_runs/mini/01_first.ipynb"
    execute(source, target, {})
    executed = nbformat.read(target, 4)
    shown = [o.data for c in executed.cells for o in c.get("outputs", []) if "data" in o]
    assert any("IntSlider" in data.get("text/plain", "") for data in shown)
    assert "widgets" not in executed.metadata


def test_a_failed_notebook_is_kept_under_another_name(notebook, kit):
    source = notebook("01_first", "n = 0  # divisor", BEGIN, LOOK, "stage.finish({})")
    target = kit / "papermill_runs" / "mini" / "01_first.ipynb"
    with pytest.raises(
        Stopped,
        match="(?s)ZeroDivisionError in cell 3: division by zero.*mini/01_first.failed.ipynb",
    ):
        execute(source, target, {})
    assert not target.exists() and "careful" in streams(target.with_suffix(".failed.ipynb"))
    execute(source, target, {"n": 1, "run": "other"})
    assert target.exists() and not target.with_suffix(".failed.ipynb").exists()


def test_a_problem_in_a_notebook_is_told_in_its_own_words(notebook, kit):
    source = notebook(
        "01_first",
        "n = 1  # number",
        'from alignsd.kit.stage import begin\nbegin("02_none", globals())',
    )
    with pytest.raises(Stopped) as stopped:
        execute(source, kit / "papermill_runs" / "mini" / "01_first.ipynb", {})
    lines = str(stopped.value).splitlines()
    assert lines[0] == "There is no notebook '02_none'." and lines[-1].startswith(
        "The notebook so far: papermill_runs/"
    )
    assert "Traceback" not in str(stopped.value)


DEATHS = {
    "import os\nos._exit(9)": ("exit code 9", "a cell or a library ended the process"),
    "import os\nos.kill(os.getpid(), 9)": (
        "signal SIGKILL",
        "another program or a user ended the kernel",
    ),
    "import os\nos.kill(os.getpid(), 15)": (
        "signal SIGTERM",
        "another program or a user ended the kernel",
    ),
    "import ctypes\nctypes.string_at(0)": ("signal SIGSEGV", "a compiled library crashed"),
    "import os\nos.abort()": ("signal SIGABRT", "a compiled library crashed"),
}


@pytest.mark.parametrize("code", DEATHS)
def test_a_dead_kernel_is_told_with_the_true_reason(notebook, kit, capfd, code):
    source = notebook("01_first", "n = 1  # number", code)
    with pytest.raises(Stopped) as stopped:
        execute(source, kit / "papermill_runs" / "mini" / "01_first.ipynb", {})
    found, cause = DEATHS[code]
    lines = str(stopped.value).splitlines()
    assert lines[0] == "The kernel died in cell 2." and lines[-1].startswith(
        "The notebook so far: papermill_runs/"
    )
    assert found in lines[2] and lines[3] == f"  cause:    {cause}"
    assert "memory" not in str(stopped.value)
    assert capfd.readouterr() == ("", ""), "no library says more"


def test_memory_is_blamed_when_linux_counts_a_kill(notebook, kit, monkeypatch):
    counts = kit / "vmstat"
    counts.write_text("nr_free_pages 1000\noom_kill 3\n")
    monkeypatch.setattr(endings, "MEMORY_KILLS", (str(counts), "/nowhere"))
    code = f"import os\nopen({str(counts)!r}, 'w').write('oom_kill 4')\nos.kill(os.getpid(), 9)"
    source = notebook("01_first", "n = 1  # number", code)
    with pytest.raises(
        Stopped, match="(?s)signal SIGKILL.*too little memory: Linux ended a process"
    ):
        execute(source, kit / "papermill_runs" / "mini" / "01_first.ipynb", {})


def test_memory_is_blamed_when_a_library_said_so_before_it_died(notebook, kit):
    words = "terminate called after throwing an instance of 'std::bad_alloc'\\n"
    code = f'import os\nos.write(2, b"{words}")\nos.abort()'
    source = notebook("01_first", "n = 1  # number", code)
    with pytest.raises(
        Stopped, match="(?s)signal SIGABRT.*too little memory: the system gave the kernel no more"
    ):
        execute(source, target_of(kit), {})


@pytest.mark.parametrize(
    "words",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "fork: Cannot allocate memory",
    ],
)
def test_memory_is_blamed_when_the_kernel_said_so(words):
    ending = Ending(cell=2, code=-signal.SIGABRT, last_words=words, killed_for_memory=False)
    assert died(ending).cause == "too little memory: the system gave the kernel no more"


def target_of(kit):
    return kit / "papermill_runs" / "mini" / "01_first.ipynb"


@pytest.fixture
def first(notebook):
    return notebook("01_first", "n = 1  # number", "print(n)")


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("/nowhere/python", "No such file"),
        ("/bin/false", "exit code 1"),
        ("/etc", "Permission denied"),
    ],
)
def test_a_kernel_that_cannot_start_is_told(first, kit, monkeypatch, capfd, program, found):
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(Problem, match=f"(?s)kernel did not start.*{found}"):
        execute(first, target_of(kit), {})
    assert capfd.readouterr() == ("", "") and list(target_of(kit).parent.iterdir()) == []


def test_a_kernel_that_cannot_start_is_told_in_its_last_words(first, kit, capfd):
    (kit / "ipykernel_launcher.py").write_text("raise ImportError('a module of the repository')")
    with pytest.raises(
        Problem, match="(?s)kernel did not start.*found: +ImportError: a module of the repository"
    ):
        execute(first, target_of(kit), {})
    assert capfd.readouterr() == ("", "")


def test_a_machine_that_cannot_talk_to_itself_is_told_at_once(first, kit):
    command = ["unshare", "--net", sys.executable, "-c", EXECUTE, str(first), str(target_of(kit))]
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode
    ):
        pytest.skip("this user cannot take the network away")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Problem: No kernel can start: this machine has no loopback network." in done.stderr, (
        done.stderr
    )


def test_the_reader_s_home_is_neither_needed_nor_read(notebook, kit, monkeypatch):
    startup = kit / "home/.ipython/profile_default/startup/own.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("n = 7")
    source = notebook(
        "01_first",
        "n = 1  # number",
        "print(n, 'own' in globals())",
        "import os; print(os.environ['GOMP_SPINCOUNT'])",
    )
    for home in (str(kit / "home"), "/proc/none"):
        monkeypatch.setenv("HOME", home)
        monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
        execute(source, target_of(kit), {})
        assert streams(target_of(kit)) == "1 False\n1000\n"
    assert sorted(path.name for path in (kit / "home").rglob("*") if path.is_file()) == ["own.py"]
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    execute(source, target_of(kit), {})
    assert streams(target_of(kit)).endswith("5\n"), "what the user sets stays"


def test_a_kernel_runs_for_a_user_without_a_home_and_without_a_name(notebook, kit):
    """As in a container with an arbitrary user; how outputs are shortened is tested elsewhere."""
    source = notebook("01_first", "n = 1  # number", "import os; print(os.environ.get('HOME'), n)")
    (kit / "sitecustomize.py").write_text(
        "import pwd\ndef none(uid):\n    raise KeyError('uid not found')\npwd.getpwuid = none\n"
    )
    no_change = "from alignsd.running import publishing\npublishing.published = lambda n: n\n"
    code = no_change + EXECUTE
    gone = ("HOME", "USER", "LOGNAME")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    environment["PYTHONPATH"] = f"{kit}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", code, str(source), str(target_of(kit))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    home, number = streams(target_of(kit)).split()
    assert "alignsd-" in home, "the kernel's home is a folder that goes with the kernel"
    assert number == "1"


def test_without_a_folder_for_temporary_files_the_reason_is_told(first, kit, monkeypatch):
    def none(**options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    with pytest.raises(Problem, match="(?s)no folder for temporary files.*TMPDIR"):
        execute(first, target_of(kit), {})


def run_after(mount: str, code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python code where a disk is mounted by a shell command; skip if the user may not."""
    unshare = ["unshare", "--mount", "sh", "-c"]
    tried = shutil.which("unshare") and subprocess.run([*unshare, mount], capture_output=True)
    if not tried or tried.returncode:
        pytest.skip("this user cannot make a small disk")
    command = [*unshare, f'{mount} && exec "$@"', "sh", sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_full_folder_for_temporary_files_is_not_taken_for_the_run_s(first, kit):
    tmp = kit / "tmp"
    tmp.mkdir()
    mount = f"mount -t tmpfs -o size=4k none {tmp} && head -c 4096 /dev/zero > {tmp}/full"
    code = f"import sys, tempfile; tempfile.tempdir = sys.argv[3]\n{EXECUTE}"
    done = run_after(mount, code, str(first), str(target_of(kit)), str(tmp))
    assert "Problem: The notebook's kernel did not start." in done.stderr, done.stderr
    assert "No space left on device" in done.stderr


def test_a_notebook_that_vanished_is_told(kit):
    with pytest.raises(Problem, match="01_first.ipynb"):
        execute(kit / "notebooks" / "01_first.ipynb", target_of(kit), {})


def test_a_folder_in_place_of_which_there_is_a_file_is_told(first, kit):
    (kit / "papermill_runs").write_text("x")
    message = "(?s)papermill_runs/mini cannot be written.*is a file, not a folder"
    with pytest.raises(Problem, match=message):
        execute(first, target_of(kit), {})


def test_a_folder_that_vanishes_while_the_notebook_runs_is_told(notebook, kit, capfd):
    source = notebook(
        "01_first", "n = 1  # number", "import shutil\nshutil.rmtree('papermill_runs')", "print(n)"
    )
    with pytest.raises(
        Problem, match="(?s)cannot be written.*cause: +the folder was deleted or moved"
    ):
        execute(source, target_of(kit), {})
    assert capfd.readouterr() == ("", "")


def test_a_read_only_folder_is_told(first, kit, as_ordinary_user):
    target_of(kit).parent.mkdir(parents=True)
    target_of(kit).parent.chmod(0o555)
    done = as_ordinary_user(EXECUTE, str(first), str(target_of(kit)))
    target_of(kit).parent.chmod(0o755)
    assert (
        "alignsd.base.errors.Problem: papermill_runs/mini/01_first.ipynb cannot be written."
        in done.stderr
    ), done.stderr
    assert "cause:    a folder that this user may not write" in done.stderr


def test_a_full_disk_is_told(notebook, kit):
    source = notebook("01_first", "n = 1  # number", "print('x' * 300_000)", "print(n)")
    folder = target_of(kit).parent
    folder.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size=64k none {folder}"
    done = run_after(mount, EXECUTE, str(source), str(target_of(kit)))
    assert "cause:    the disk is full" in done.stderr, done.stderr
    assert "01_first.ipynb cannot be written" in done.stderr


CELL = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [], "execution_count": None}
BOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
NOT_NOTEBOOKS = [
    "",
    "{",
    "null",
    "[]",
    "3",
    "NaN",
    '"text"',
    "{}",
    "\x00",
    "[" * 100_000,
    "1" * 5_000,
    b"\xff\xfe{\x00",
    "<html>",
    "<<<<<<< ours",
    {},
    BOOK | {"nbformat": 3},
    BOOK | {"nbformat": "4"},
    BOOK | {"cells": None},
    BOOK | {"cells": {}},
    BOOK | {"cells": [None]},
    BOOK | {"cells": [{}]},
    BOOK | {"metadata": []},
    BOOK | {"cells": [CELL | {"cell_type": "video"}]},
    BOOK | {"cells": [CELL | {"source": None}]},
    BOOK | {"cells": [CELL | {"source": [1]}]},
    BOOK | {"cells": [CELL | {"metadata": []}]},
    BOOK | {"cells": [CELL | {"metadata": {"tags": "x"}}]},
    BOOK | {"cells": [CELL | {"outputs": 1}]},
    BOOK,
    BOOK | {"cells": [CELL]},
    BOOK | {"cells": [CELL] * 3},
]


@pytest.mark.parametrize("content", NOT_NOTEBOOKS, ids=range(len(NOT_NOTEBOOKS)))
def test_a_damaged_executed_copy_is_told(first, kit, content):
    executed = kit / "executed.ipynb"
    if isinstance(content, dict):
        content = json.dumps(content)
    executed.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = executed.read_bytes()
    with pytest.raises(Problem, match="executed.ipynb"):
        refresh_prose(first, executed)
    assert executed.read_bytes() == before


def test_an_executed_copy_with_a_byte_order_mark_is_read(first, kit):
    executed = kit / "executed.ipynb"
    executed.write_bytes(b"\xef\xbb\xbf" + first.read_bytes())
    refresh_prose(first, executed)
    assert len(nbformat.read(executed, 4).cells) == 3


def test_a_kernel_ends_with_its_parent_where_the_system_does_not_tell():
    """The way of macOS, tried here: the kernel looks for its parent itself."""
    child = (
        "import os, sys, time; from alignsd.running.kernels import launcher; "
        "launcher._ask_the_system = lambda: False; "
        "launcher.end_with(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys, time; "
        "command = [sys.executable, '-c', sys.argv[1], str(os.getpid())]; "
        "p = subprocess.Popen(command, start_new_session=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True
    )
    grandchild = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_prose_is_renewed_around_the_same_outputs(notebook, kit):
    source = notebook("01_first", "n = 1  # number", "print('kept')", prose="old")
    executed = nbformat.read(source, 4)
    executed.cells[2].outputs = [nbformat.v4.new_output("stream", name="stdout", text="kept\n")]
    injected = nbformat.v4.new_code_cell("n = 2")
    injected.metadata["tags"] = ["injected-parameters"]
    executed.cells.insert(2, injected)
    nbformat.write(executed, kit / "executed.ipynb")
    notebook("01_first", "n = 1  # number", "print('kept')", prose="new")
    refresh_prose(source, kit / "executed.ipynb")
    cells = nbformat.read(kit / "executed.ipynb", 4).cells
    assert [c.source for c in cells] == [
        "new",
        'run = "mini"  # name of the run\nn = 1  # number',
        "n = 2",
        "print('kept')",
    ]
    assert streams(kit / "executed.ipynb") == "kept\n"


def test_pictures_are_left_alone_when_paths_are_shortened(notebook, kit):
    executed = nbformat.read(notebook("01_first", "n = 1  # number", "1"), 4)
    picture = f"AAAA{kit}/BBBB"
    shown = {"image/png": picture, "text/plain": f"{kit}/a.txt"}
    executed.cells[2].outputs = [nbformat.v4.new_output("display_data", shown)]
    executed.cells[2].metadata["papermill"] = {"duration": 1}
    data = json.loads(nbformat.writes(published(executed)))["cells"][2]
    assert data["outputs"][0]["data"]["image/png"] == picture and data["metadata"] == {}
    assert data["outputs"][0]["data"]["text/plain"] in ("./a.txt", ["./a.txt"])


def test_progress_bars_go_and_warnings_stay(notebook):
    executed = nbformat.read(notebook("01_first", "n = 1  # number", "1"), 4)
    bar = "\rdrawing:   5%|5         | 320/5907 [00:18<05:10, 17.98image/s]"
    texts = [
        ("stderr", bar),
        ("stderr", "\n"),
        ("stderr", f"careful: 5% are bad\n{bar}{bar}\n"),
        ("stdout", "50%| is printed"),
    ]
    widget = nbformat.v4.new_output(
        "display_data", {"text/plain": "Loading weights:   0%|          | 0/52 [00:00<?, ?it/s]"}
    )
    executed.cells[2].outputs = [
        nbformat.v4.new_output("stream", name=name, text=text) for name, text in texts
    ] + [widget]
    assert [output.text.strip() for output in published(executed).cells[2].outputs] == [
        "careful: 5% are bad",
        "50%| is printed",
    ]


def png_of(pixels: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    return base64.b64encode(content.getvalue()).decode()


def test_pictures_lose_bytes_and_look_the_same(notebook):
    """matplotlib writes an opaque alpha channel and compresses in haste."""
    pixels = np.full((64, 64, 4), 255, np.uint8)
    colours = np.array([[230, 159, 0], [86, 180, 233]], np.uint8)
    pixels[10:50, 10:50, :3] = colours[np.random.default_rng(0).integers(0, 2, (40, 40))]
    before = png_of(pixels)
    executed = nbformat.read(notebook("01_first", "n = 1  # number", "1"), 4)
    shown = nbformat.v4.new_output("display_data", {"image/png": before})
    executed.cells[2].outputs = [shown]
    after = published(executed).cells[2].outputs[0].data["image/png"]
    assert len(after) < len(before) / 2
    picture = Image.open(io.BytesIO(base64.b64decode(after))).convert("RGBA")
    assert np.array_equal(np.asarray(picture), pixels)
