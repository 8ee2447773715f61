"""The code reads one idea per line; ``nodes.py`` explains how that is counted."""

import ast
import statistics
from pathlib import Path

import pytest
from nodes import counts_by_folder, nodes_of

from alignsd.base.paths import root

COLUMNS = 100
MEDIAN = 12  # syntax nodes per statement, over the package
MEDIAN_OF_FOLDER = 13  # a call that draws has many options
PARAMETERS = 7
PACKAGE = root() / "alignsd"
MODULES = sorted(PACKAGE.rglob("*.py"))
BENCHMARKS = sorted((root() / "benchmarks").glob("*.py"))
CODE = [*MODULES, *BENCHMARKS, *sorted((root() / "tests").rglob("*.py"))]
# typer makes each parameter of a command an option of the command line.
COMMANDS = ("cli.py", "miniature/pretraining/__main__.py")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("return", 1),
        ("total += price * count", 10),
        ("if total > 3:\n    total = 0", 6),  # the second line is a statement of its own
    ],
)
def test_nodes_are_those_of_one_statement(line, count):
    assert nodes_of(ast.parse(line).body[0]) == count


def test_lines_fit_the_columns():
    too_long = []
    for path in CODE:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if len(line) > COLUMNS:
                too_long.append(f"{path.relative_to(root()).as_posix()}:{number}")
    assert too_long == []


def test_a_statement_has_few_nodes():
    counts = counts_by_folder(PACKAGE)
    everywhere = [number for numbers in counts.values() for number in numbers]
    assert statistics.median(everywhere) <= MEDIAN
    medians = {place.name: statistics.median(numbers) for place, numbers in counts.items()}
    dense = {name: median for name, median in medians.items() if median > MEDIAN_OF_FOLDER}
    assert dense == {}, "python tests/repository/nodes.py alignsd prints all folders"


def functions_of(path: Path) -> list[Function]:
    """Return the functions and methods of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def parameters_of(function: Function) -> list[ast.arg]:
    """Return a function's parameters without ``self`` and ``cls``."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    return [argument for argument in named if argument.arg not in ("self", "cls")]


def test_a_function_takes_few_parameters():
    many = {}
    for path in MODULES:
        module = path.relative_to(PACKAGE).as_posix()
        for function in functions_of(path):
            is_command = module in COMMANDS and bool(function.decorator_list)
            count = len(parameters_of(function))
            if count > PARAMETERS and not is_command:
                many[f"{module}: {function.name}"] = count
    assert many == {}, "a recipe that checks itself is one parameter"
