"""How dense the code is: syntax nodes per statement.

A syntax node is one node of Python's syntax tree: a call, an operator, a constant, a name, and the
mark whether a name is read or written. We count the nodes of each statement without the nodes of
the statements inside it, so a loop counts its own line and not its body. Statements without a
choice of words are left out: imports, docstrings, ``pass``, ``break``, ``continue``, and the first
lines of functions and classes.

``total += price * count`` has 10 nodes. A long line that is merely wrapped keeps its nodes, so the
number tells whether a statement does one thing. Usage::

    python tests/repository/nodes.py alignsd
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Pass,
    ast.Continue,
    ast.Break,
)


def nodes_of(statement: ast.stmt) -> int:
    """Return the syntax nodes of a statement without those of the statements inside it."""
    count = 0
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        count += 1
        children = ast.iter_child_nodes(node)
        waiting += [child for child in children if not isinstance(child, ast.stmt)]
    return count


def counts_of(path: Path) -> list[int]:
    """Return the syntax nodes of each statement of a module."""
    return [nodes_of(statement) for statement in statements_of(path)]


def statements_of(path: Path) -> Iterator[ast.stmt]:
    """Yield the statements of a module that are counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.stmt) or isinstance(node, LEFT_OUT):
            continue
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_docstring:
            yield node


def percentile_90(counts: list[int]) -> int:
    """Return the count that a tenth of the statements exceed."""
    return sorted(counts)[int(0.9 * len(counts))]


def counts_by_folder(folder: Path) -> dict[Path, list[int]]:
    """Return the counts of all statements for each folder of modules below ``folder``."""
    counts: dict[Path, list[int]] = {}
    for path in sorted(folder.rglob("*.py")):
        counts.setdefault(path.parent, []).extend(counts_of(path))
    return {place: numbers for place, numbers in counts.items() if numbers}


def main(folders: list[str]) -> None:
    """Print median and 90th percentile of each folder and of all folders."""
    everything = []
    print("median   90th   statements")
    for folder in folders:
        for place, counts in counts_by_folder(Path(folder)).items():
            print(_row(counts, str(place)))
            everything += counts
    print(_row(everything, "all"))


def _row(counts: list[int], name: str) -> str:
    return f"{statistics.median(counts):6.0f} {percentile_90(counts):6}   {len(counts):6}  {name}"


if __name__ == "__main__":
    main(sys.argv[1:] or ["alignsd"])
