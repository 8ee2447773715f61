"""The notebooks' sources: their names, their cells, and what their parameters cells offer.

The cell tagged ``parameters`` holds lines ``name = literal  # unit; meaning``.
"""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import notebooks, shown
from alignsd.base.reading import is_text, read_json
from alignsd.kit.values.parameters import NOT_A_LITERAL, SHORT, Parameter, Value, nearest

# Notebooks that a run leaves out unless they are named: they take as long as all the others.
ON_REQUEST = ("10_other_ways",)
NOTEBOOK = re.compile(r"[0-9]{2}_[a-z0-9_]+\.ipynb")  # JupyterLab's copies have other names


def notebook_path(name: str) -> Path:
    """Return the source of the notebook called ``name``, such as ``02_train_hps`` or ``02``.

    Raises:
        Problem: if there is no such notebook.
    """
    names = notebook_names()
    for known in names:
        if name in (known, known[:2], f"{known}.ipynb"):
            return notebooks() / f"{known}.ipynb"
    raise Problem(
        f"There is no notebook {SHORT.repr(name)}.",
        expected=", ".join(names),
        found=SHORT.repr(name),
        cause="a misspelt name or number",
        fix=f"use {_nearest_notebook(name, names) or 'one of the names above'}",
    )


def _nearest_notebook(name: str, names: Sequence[str]) -> str | None:
    """Return the notebook that a misspelt name or number such as ``"2"`` may mean, or None."""
    number = name.zfill(2)[:2]
    by_number = [known for known in names if known[:2] == number]
    return by_number[0] if by_number else nearest(name, names)


def notebook_names() -> list[str]:
    """Return the notebooks' names in reading order.

    Only a file called ``NN_words.ipynb``, with small letters, digits and underscores, is a notebook
    of the kit. A copy that JupyterLab, a browser or a file manager made has another name.

    Raises:
        Problem: if two notebooks have the same number.
    """
    folder = notebooks()
    files = [file for file in folder.iterdir() if NOTEBOOK.fullmatch(file.name) and file.is_file()]
    names = sorted(file.stem for file in files)
    times = Counter(name[:2] for name in names)
    double = [name for name in names if times[name[:2]] > 1]
    if double:
        raise Problem(
            f"Two notebooks have the number {double[0][:2]}.",
            expected="each number once",
            found=", ".join(double),
            cause="a notebook was copied or renamed",
            fix=f"give one of them another number, or move it out of {shown(folder)}",
        )
    return names


def usual_names() -> list[str]:
    """Return the notebooks of a run that names none: all but those of ``ON_REQUEST``."""
    return [name for name in notebook_names() if name not in ON_REQUEST]


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return a notebook's cells, each with the ``source`` as one string.

    Raises:
        Problem: if the file is not a notebook.
    """
    try:
        notebook = read_json(path)
    except Problem as problem:
        raise _no_notebook(path, f"{problem.what} {problem.found}", problem.cause) from problem
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(_is_cell(cell) for cell in cells):
        raise _no_notebook(path, "JSON of another kind", "an unfinished edit or merge")
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        return False
    described = cell.get("metadata", {})
    if not isinstance(described, dict) or not isinstance(described.get("tags", []), list):
        return False
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return all(map(is_text, lines))


def _no_notebook(path: Path, found: str, cause: str) -> Problem:
    return Problem(
        f"{shown(path)} cannot be read.",
        expected="a Jupyter notebook, version 4",
        found=found,
        cause=cause,
        fix=f"git checkout {shown(path)}, or mend the JSON",
    )


def read_parameters(path: Path) -> dict[str, Parameter]:
    """Return the parameters that a notebook offers by name, in the order of the parameters cell.

    Args:
        path: the notebook's source.

    Raises:
        Problem: unless there is exactly one parameters cell, and the cell is made of lines
            ``name = literal  # meaning``.
    """
    tagged = []
    for cell in read_cells(path):
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            tagged.append(cell["source"])
    if len(tagged) != 1:
        raise Problem(
            f"{shown(path)} has {len(tagged)} cells tagged 'parameters'.",
            expected="exactly one",
            found=str(len(tagged)),
            cause="the tag was lost or copied in an edit",
            fix="set the tag in JupyterLab: property inspector, cell tags",
        )
    lines = [line for line in tagged[0].splitlines() if line.strip()]
    offered = [_parameter(line, path) for line in lines]
    return {parameter.name: parameter for parameter in offered}


def _parameter(line: str, path: Path) -> Parameter:
    code, _, meaning = line.partition("  # ")
    try:
        (statement,) = ast.parse(code).body
        if not isinstance(statement, ast.Assign):
            raise ValueError("no assignment")
        (target,) = statement.targets
        if not isinstance(target, ast.Name):
            raise ValueError("no name")
        value = ast.literal_eval(statement.value)
    except NOT_A_LITERAL as error:
        raise _no_parameter(line, path) from error
    if not isinstance(value, Value):
        raise _no_parameter(line, path)
    return Parameter(target.id, value, meaning.strip())


def _no_parameter(line: str, path: Path) -> Problem:
    return Problem(
        f"A line in the parameters cell of {shown(path)} is not a parameter.",
        expected="name = literal  # unit; meaning",
        found=line[:200],
        cause="an expression or an annotation in this cell",
        fix="write the value itself; derive other values in the next cell",
    )
