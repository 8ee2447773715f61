"""Rules that every notebook with solutions keeps, read off the file without running it.

``test_notebooks_run.py`` executes the solutions, since the stages that they read are made there.
"""

import ast
import json
import re

import pytest

from alignsd.base.paths import notebooks
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_cells
from alignsd.running.links import TARGETS
from alignsd.teach import exercises

NAMES = notebook_names()
PARAMETERS = 'run = "mini"  # the run whose results are read'
COLUMNS = 88
CHECK = re.compile(r"""exercises\.check\(\s*["'](\w+)["']""")


def solutions_path(name: str):
    return notebooks() / "solutions" / f"{name}.ipynb"


def cells(name: str) -> list[dict]:
    return read_cells(solutions_path(name))


def code(name: str) -> list[dict]:
    return [cell for cell in cells(name) if cell["cell_type"] == "code"]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def checks(sources: list[dict]) -> list[str]:
    """Return the names of the exercises that cells check, in order."""
    return [match[1] for cell in sources for match in CHECK.finditer(cell["source"])]


def test_every_notebook_has_solutions():
    found = {path.stem for path in (notebooks() / "solutions").glob("*.ipynb")}
    assert found == set(NAMES)


def test_the_solutions_are_no_notebooks_of_a_run():
    assert all("/" not in name for name in NAMES) and len(NAMES) == 11


@pytest.mark.parametrize("name", NAMES)
def test_the_title_is_that_of_the_notebook(name):
    title = read_cells(notebook_path(name))[0]["source"].splitlines()[0]
    first = cells(name)[0]["source"]
    assert first.splitlines()[0] == f"{title}: solutions"
    assert f"(../{name}.ipynb)" in first, "the solutions link their notebook"


@pytest.mark.parametrize("name", NAMES)
def test_the_only_parameter_is_the_run(name):
    tagged = [cell for cell in cells(name) if "parameters" in tags(cell)]
    assert [cell["source"] for cell in tagged] == [PARAMETERS]
    assert tagged[0] == code(name)[0]


@pytest.mark.parametrize("name", NAMES)
def test_is_stripped(name):
    notebook = json.loads(solutions_path(name).read_text(encoding="utf-8"))
    assert not [cell for cell in code(name) if cell["outputs"] or cell["execution_count"]]
    assert not {key for cell in notebook["cells"] for key in cell["metadata"]} - {"tags", "jupyter"}
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_reads_a_run_and_makes_none(name):
    tree = ast.parse("\n".join(cell["source"] for cell in code(name)))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called & {"begin", "stage.finish", "open", "publish.publish", "guess.number"} == set()
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    paths = [text for text in texts if isinstance(text, str) and text.startswith(("/", "../", "~"))]
    assert paths == [], "results.of() knows the folders"


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_of_the_notebook_is_solved(name):
    asked = checks(read_cells(notebook_path(name)))
    assert sorted(asked) == sorted(checks(code(name)))
    assert set(asked) <= set(exercises.names())
    tagged = [cell for cell in code(name) if "exercise" in tags(cell)]
    assert sorted(checks(tagged)) == sorted(asked), "a cell with a check is tagged exercise"


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_waits_for_the_reader(name):
    """In the notebook the function returns None, so that the check says: not tried yet."""
    for cell in read_cells(notebook_path(name)):
        if "exercise" not in tags(cell):
            continue
        functions = [n for n in ast.parse(cell["source"]).body if isinstance(n, ast.FunctionDef)]
        assert functions, cell["id"]
        for function in functions:
            assert ast.get_docstring(function), cell["id"]
            assert ast.unparse(function.body[-1]) == "return None"
            assert len(function.body) == 2, cell["id"]


def test_every_task_is_asked_somewhere():
    asked = {task for name in NAMES for task in checks(read_cells(notebook_path(name)))}
    assert asked == set(exercises.names())


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere_and_the_notebook_links_its_solutions(name):
    folder = solutions_path(name).parent
    for cell in cells(name):
        if cell["cell_type"] == "markdown":
            targets = [match["target"] for match in TARGETS.finditer(cell["source"])]
            files = [target.partition("#")[0] for target in targets]
            files = [file for file in files if file and not re.match(r"https?:", file)]
            assert [file for file in files if not (folder / file).is_file()] == []
    text = "\n".join(cell["source"] for cell in read_cells(notebook_path(name)))
    assert f"(solutions/{name}.ipynb)" in text


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_code_is_cut_off_at_the_right_edge(name):
    for cell in code(name):
        assert [line for line in cell["source"].splitlines() if len(line) > COLUMNS] == []
