"""Rules that every notebook source keeps, read off the file without running it."""

import ast
import json
import re

import pytest

from alignsd.kit.values.notebook_files import (
    notebook_names,
    notebook_path,
    read_cells,
    read_parameters,
)
from alignsd.running.links import TARGETS

NAMES = notebook_names()
STATEMENTS = 12  # of a cell; a statement may take several lines
CODE_COLUMNS = 88  # what a JupyterLab window of 1,200 pixels shows
PARAMETER_COLUMNS = 100


def cells(name: str, kind: str | None = None) -> list[dict]:
    return [c for c in read_cells(notebook_path(name)) if kind in (None, c["cell_type"])]


def is_tagged(cell: dict, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def code(name: str) -> list[dict]:
    """The code cells other than the parameters cell."""
    return [c for c in cells(name, "code") if not is_tagged(c, "parameters")]


def tree(cell: dict) -> ast.Module:
    return ast.parse(re.sub(r"(?m)^%.*$", "", cell["source"]))


def trees(name: str) -> list[ast.Module]:
    return [tree(cell) for cell in code(name)]


def nodes(name: str, *kinds: type) -> list[ast.AST]:
    return [node for tree in trees(name) for node in ast.walk(tree) if isinstance(node, kinds)]


def begin_call(name: str) -> ast.Call:
    (call,) = [n for n in nodes(name, ast.Call) if getattr(n.func, "id", "") == "begin"]
    return call


def test_the_story_is_complete():
    assert [name[:2] for name in NAMES] == [f"{i:02d}" for i in range(11)]


@pytest.mark.parametrize("name", NAMES)
def test_opens_with_purpose_inputs_outputs_and_cost(name):
    first = cells(name)[0]
    assert first["cell_type"] == "markdown"
    assert first["source"].startswith(f"# {name[:2]} · "), (
        "the title is a heading: '# 02 · Train ...'"
    )
    labels = ["**Purpose.**", "Paper:", "**Inputs.**", "**Outputs.**", "**Cost.**"]
    places = [first["source"].find(label) for label in labels]
    assert -1 not in places and places == sorted(places), dict(zip(labels, places, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_is_stripped_of_outputs_and_of_traces_of_a_run(name):
    assert not [c for c in cells(name, "code") if c["outputs"] or c["execution_count"]]
    assert not {key for c in cells(name) for key in c["metadata"]} - {"tags", "jupyter"}
    for cell in cells(name):
        hidden = {"source_hidden": True} if is_tagged(cell, "bookkeeping") else None
        assert cell["metadata"].get("jupyter") == hidden, "bookkeeping is folded, the rest is not"
    notebook = json.loads(notebook_path(name).read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [c["id"] for c in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_cell_is_flat_literals_that_papermill_can_read(name):
    parameters = read_parameters(
        notebook_path(name)
    )  # raises on anything else than name = literal  # meaning
    (cell,) = [c for c in cells(name, "code") if "parameters" in c["metadata"].get("tags", [])]
    lines = cell["source"].splitlines()
    assert [line for line in lines if line.count("=") != 1] == [], (
        "papermill skips a line with two equal signs"
    )
    assert [p.name for p in parameters.values() if len(p.meaning) < 4] == [], (
        "a comment tells unit and meaning"
    )
    assert [
        p.name for p in parameters.values() if type(p.default) not in (bool, int, float, str, list)
    ] == []
    assert (
        lines[0]
        == 'run = "mini"  # name of the run; its stages live in papermill_runs/<run>/stages'
    )
    assert (
        "seed" not in parameters
        or lines[1] == "seed = 0  # seed of everything random in this notebook"
    )
    assert cells(name, "code")[0] == cell, "the parameters cell is the first code cell"


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_used(name):
    used = {node.id for node in nodes(name, ast.Name)}
    assert set(read_parameters(notebook_path(name))) - used - {"run"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_thin(name):
    for cell in code(name):
        found = list(ast.walk(tree(cell)))
        statements = [node for node in found if isinstance(node, ast.stmt)]
        imports = [node for node in statements if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert len(statements) - len(imports) <= STATEMENTS, cell["source"]
        functions = [node for node in found if isinstance(node, ast.FunctionDef)]
        assert is_tagged(cell, "exercise") or not functions, "a reader writes functions, we do not"
    assert nodes(name, ast.ClassDef, ast.AsyncFunctionDef, ast.While) == []
    texts = len(cells(name, "markdown"))
    assert 0.7 <= texts / len(code(name)) <= 1.6, "about one text cell per code cell"


@pytest.mark.parametrize("name", NAMES)
def test_no_loop_over_a_data_set(name):
    """The package works on data; a loop here follows a training or handles a few things."""
    for loop in nodes(name, ast.For):
        assert len(loop.body) <= 3, ast.unparse(loop)
        assert not [n for n in loop.body for n in ast.walk(n) if isinstance(n, ast.For)], (
            ast.unparse(loop)
        )
    calls = {ast.unparse(n.func).split(".")[-1] for n in nodes(name, ast.Call)}
    assert calls & {"iterrows", "itertuples", "iterdir", "glob", "rglob", "open"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_literal_path_and_no_address(name):
    texts = [n.value for n in nodes(name, ast.Constant) if isinstance(n.value, str)]
    paths = [
        t
        for t in texts
        if re.match(r"(/|~|\.\.?/|[A-Za-z]:\\|https?://)", t) or "papermill_runs" in t
    ]
    assert paths == [], "stage.path() and stage.input() know the folders"


@pytest.mark.parametrize("name", NAMES)
def test_begins_and_finishes_its_own_stage(name):
    call = begin_call(name)
    assert ast.literal_eval(call.args[0]) == name
    assert ast.unparse(call.args[1]) == "globals()"
    last = [tree(cell) for cell in code(name) if not is_tagged(cell, "exercise")][-1].body[-1]
    assert ast.unparse(last).startswith("stage.finish({"), (
        "the last line reports the stage's results"
    )


@pytest.mark.parametrize("name", NAMES)
def test_inputs_name_the_stages_it_needs(name):
    # The list can hold a condition: a folder of the reader may stand in for a stage.
    needs = [
        n.value
        for k in begin_call(name).keywords
        if k.arg == "needs"
        for n in ast.walk(k.value)
        if isinstance(n, ast.Constant)
    ]
    assert all(need in NAMES and need < name for need in needs)
    inputs = cells(name)[0]["source"].split("**Inputs.**")[1].split("**Outputs.**")[0]
    assert [need for need in needs if need not in inputs] == [], (
        "the opening names the notebooks it reads from"
    )


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    folder = notebook_path(name).parent
    for cell in cells(name, "markdown"):
        targets = [match["target"] for match in TARGETS.finditer(cell["source"])]
        files = [
            target.partition("#")[0] for target in targets if not re.match(r"https?:|#", target)
        ]
        assert [file for file in files if not (folder / file).is_file()] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_code_is_cut_off_at_the_right_edge(name):
    for cell in cells(name, "code"):
        limit = CODE_COLUMNS if cell in code(name) else PARAMETER_COLUMNS
        assert [line for line in cell["source"].splitlines() if len(line) > limit] == [], cell["id"]


def drawing_names(name: str) -> set[str]:
    """Return the names in a notebook that stand for figures and for what draws them."""
    imported = {
        alias.asname or alias.name
        for statement in nodes(name, ast.ImportFrom)
        if statement.module.startswith("alignsd.figures")
        for alias in statement.names
    }
    return imported | {"publish", "plt", "fig", "ax"}


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_that_ends_with_drawing_shows_the_figure_and_no_words_about_it(name):
    """The value of a cell's last line is shown; a drawing function's is ``<Axes: ...>``."""
    drawing = drawing_names(name)
    for cell in code(name):
        last = tree(cell).body[-1]
        is_call = isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
        if not is_call or cell["source"].rstrip().endswith(";"):
            continue
        function = ast.unparse(last.value.func)
        shows_a_table = function.endswith(("_frame", ".exchange", "compare_rules"))
        is_drawn = function.split(".")[0] in drawing
        assert shows_a_table or not is_drawn, f"end {function}(...) with a semicolon"


@pytest.mark.parametrize("name", NAMES)
def test_the_run_that_begin_opened_is_the_run_that_is_used(name):
    """A variation has a name of its own, which only ``stage.run`` knows."""
    assert "run" not in {node.id for node in nodes(name, ast.Name)}


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_displayed_and_not_printed(name):
    printed = [
        ast.unparse(n) for n in nodes(name, ast.Call) if getattr(n.func, "id", "") == "print"
    ]
    assert [text for text in printed if re.search(r"table|Table|frame", text)] == []


def test_a_picture_comes_before_the_first_table():
    """00, 02 and 07 showed a screen of code and numbers before the first picture."""
    for name in ("00_start_here", "02_train_hps", "07_evaluate"):
        begun = next(i for i, cell in enumerate(code(name)) if "begin(" in cell["source"])
        first = code(name)[begun + 1]["source"]
        assert "plt.figure" in first and first.rstrip().endswith(";"), name
