import json
import sys

import nbformat
import pytest

from alignsd.errors import Stopped
from alignsd.execution import execute, published, refresh_prose

BEGIN = 'from alignsd.stage import begin\nstage = begin("01_first", globals())'
LOOK = "import os, sys, warnings\nwarnings.warn('careful')\nprint(sys.executable)\nprint(stage.folder, os.getcwd(), 1 / n)"


def streams(path) -> str:
    return "".join(o.get("text", "") for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs)


def test_executed_copy_holds_values_and_no_trace_of_the_machine(notebook, kit, capfd):
    source = notebook("01_first", "n = 0  # divisor", BEGIN, LOOK, "stage.finish({})")
    before = source.read_text()
    target = kit / "papermill_runs" / "a{b}c" / "01_first.ipynb"  # papermill would format the braces
    execute(source, target, {"n": 2})
    assert source.read_text() == before and [p.name for p in target.parent.iterdir()] == ["01_first.ipynb"]
    text = target.read_text()
    assert str(kit) not in text and sys.prefix + "/" not in text and "ipykernel_" not in text and "papermill\"" not in text
    assert "<cell>:2: UserWarning: careful" in streams(target) and "papermill_runs/mini/stages/01_first" in streams(target)
    assert "<python>/" in streams(target) and " 0.5" in streams(target), "this Python ran it, with the value given"
    assert capfd.readouterr() == ("", "")


def test_a_failed_notebook_is_kept_under_another_name(notebook, kit):
    source = notebook("01_first", "n = 0  # divisor", BEGIN, LOOK, "stage.finish({})")
    target = kit / "papermill_runs" / "mini" / "01_first.ipynb"
    with pytest.raises(Stopped, match="(?s)ZeroDivisionError in cell 3: division by zero.*mini/01_first.failed.ipynb"):
        execute(source, target, {})
    assert not target.exists() and "careful" in streams(target.with_suffix(".failed.ipynb"))
    execute(source, target, {"n": 1, "run": "other"})
    assert target.exists() and not target.with_suffix(".failed.ipynb").exists()


def test_a_problem_in_a_notebook_is_told_in_its_own_words(notebook, kit):
    source = notebook("01_first", "n = 1  # number", 'from alignsd.stage import begin\nbegin("02_none", globals())')
    with pytest.raises(Stopped) as stopped:
        execute(source, kit / "papermill_runs" / "mini" / "01_first.ipynb", {})
    lines = str(stopped.value).splitlines()
    assert lines[0] == "There is no notebook '02_none'." and lines[-1].startswith("The notebook so far: papermill_runs/")
    assert "Traceback" not in str(stopped.value)


def test_a_dead_kernel_is_told(notebook, kit):
    source = notebook("01_first", "n = 1  # number", "import os\nos._exit(9)")
    with pytest.raises(Stopped, match="(?s)kernel died.*memory"):
        execute(source, kit / "papermill_runs" / "mini" / "01_first.ipynb", {})


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
    assert [c.source for c in cells] == ["new", 'run = "mini"  # name of the run\nn = 1  # number', "n = 2", "print('kept')"]
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
    texts = [("stderr", bar), ("stderr", "\n"), ("stderr", f"careful: 5% are bad\n{bar}{bar}\n"), ("stdout", "50%| is printed")]
    widget = nbformat.v4.new_output("display_data", {"text/plain": "Loading weights:   0%|          | 0/52 [00:00<?, ?it/s]"})
    executed.cells[2].outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in texts] + [widget]
    assert [output.text.strip() for output in published(executed).cells[2].outputs] == ["careful: 5% are bad", "50%| is printed"]
