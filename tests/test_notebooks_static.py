"""Rules that every notebook source keeps, read off the file without running it."""

import ast
import json
import re

import pytest

from alignsd.parameters import notebook_names, notebook_path, read_cells, read_parameters

NAMES = notebook_names()
LINES = 15


def cells(name: str, kind: str | None = None) -> list[dict]:
    return [c for c in read_cells(notebook_path(name)) if kind in (None, c["cell_type"])]


def code(name: str) -> list[dict]:
    """The code cells other than the parameters cell."""
    return [c for c in cells(name, "code") if "parameters" not in c["metadata"].get("tags", [])]


def trees(name: str) -> list[ast.Module]:
    return [ast.parse(re.sub(r"(?m)^%.*$", "", cell["source"])) for cell in code(name)]


def nodes(name: str, *kinds: type) -> list[ast.AST]:
    return [node for tree in trees(name) for node in ast.walk(tree) if isinstance(node, kinds)]


def begin_call(name: str) -> ast.Call:
    (call,) = [n for n in nodes(name, ast.Call) if getattr(n.func, "id", "") == "begin"]
    return call


def test_the_story_is_complete():
    assert [name[:2] for name in NAMES] == [f"{i:02d}" for i in range(9)]


@pytest.mark.parametrize("name", NAMES)
def test_opens_with_purpose_inputs_outputs_and_cost(name):
    first = cells(name)[0]
    assert first["cell_type"] == "markdown"
    assert first["source"].startswith(f"# {name[:2]} · "), "the title is a heading: '# 02 · Train ...'"
    labels = ["**Purpose.**", "Paper:", "**Inputs.**", "**Outputs.**", "**Cost.**"]
    places = [first["source"].find(label) for label in labels]
    assert -1 not in places and places == sorted(places), dict(zip(labels, places, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_is_stripped_of_outputs_and_of_traces_of_a_run(name):
    assert not [c for c in cells(name, "code") if c["outputs"] or c["execution_count"]]
    assert not {key for c in cells(name) for key in c["metadata"]} - {"tags"}
    notebook = json.loads(notebook_path(name).read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [c["id"] for c in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_cell_is_flat_literals_that_papermill_can_read(name):
    parameters = read_parameters(notebook_path(name))  # raises on anything else than name = literal  # meaning
    (cell,) = [c for c in cells(name, "code") if "parameters" in c["metadata"].get("tags", [])]
    lines = cell["source"].splitlines()
    assert [line for line in lines if line.count("=") != 1] == [], "papermill skips a line with two equal signs"
    assert [p.name for p in parameters.values() if len(p.meaning) < 4] == [], "a comment tells unit and meaning"
    assert [p.name for p in parameters.values() if type(p.default) not in (bool, int, float, str, list)] == []
    assert lines[0] == 'run = "mini"  # name of the run; its stages live in papermill_runs/<run>/stages'
    assert "seed" not in parameters or lines[1] == "seed = 0  # seed of everything random in this notebook"
    assert cells(name, "code")[0] == cell, "the parameters cell is the first code cell"


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_used(name):
    used = {node.id for node in nodes(name, ast.Name)}
    assert set(read_parameters(notebook_path(name))) - used - {"run"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_thin(name):
    assert [c["source"] for c in cells(name, "code") if len(c["source"].splitlines()) > LINES and c in code(name)] == []
    assert nodes(name, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.While) == []
    texts = len(cells(name, "markdown"))
    assert 0.7 <= texts / len(code(name)) <= 1.6, "about one text cell per code cell"


@pytest.mark.parametrize("name", NAMES)
def test_no_loop_over_a_data_set(name):
    """Work on data belongs into the package; a loop here follows a training, writes a few tables or shows a few things."""
    for loop in nodes(name, ast.For):
        assert len(loop.body) <= 3, ast.unparse(loop)
        assert not [n for n in loop.body for n in ast.walk(n) if isinstance(n, ast.For)], ast.unparse(loop)
    calls = {ast.unparse(n.func).split(".")[-1] for n in nodes(name, ast.Call)}
    assert calls & {"iterrows", "itertuples", "iterdir", "glob", "rglob", "open"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_literal_path_and_no_address(name):
    texts = [n.value for n in nodes(name, ast.Constant) if isinstance(n.value, str)]
    paths = [t for t in texts if re.match(r"(/|~|\.\.?/|[A-Za-z]:\\|https?://)", t) or "papermill_runs" in t]
    assert paths == [], "stage.path() and stage.input() know the folders"


@pytest.mark.parametrize("name", NAMES)
def test_begins_and_finishes_its_own_stage(name):
    call = begin_call(name)
    assert ast.literal_eval(call.args[0]) == name
    assert ast.unparse(call.args[1]) == "globals()"
    last = trees(name)[-1].body[-1]
    assert ast.unparse(last).startswith("stage.finish({"), "the last line reports the stage's results"


@pytest.mark.parametrize("name", NAMES)
def test_inputs_name_the_stages_it_needs(name):
    # A stage whose input may also be a folder of one's own is needed only without it, so the list can hold a condition.
    needs = [n.value for k in begin_call(name).keywords if k.arg == "needs" for n in ast.walk(k.value)
             if isinstance(n, ast.Constant)]
    assert all(need in NAMES and need < name for need in needs)
    inputs = cells(name)[0]["source"].split("**Inputs.**")[1].split("**Outputs.**")[0]
    assert [need for need in needs if need not in inputs] == [], "the opening names the notebooks it reads from"


@pytest.mark.parametrize("name", NAMES)
def test_links_between_notebooks_lead_somewhere(name):
    for cell in cells(name, "markdown"):
        for target in re.findall(r"\]\((\d\d_[^)#]+)\)", cell["source"]):
            assert target.removesuffix(".ipynb") in NAMES, target
