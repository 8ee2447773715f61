"""Show the source of a function of the package, in the notebook where the function is used."""

import ast
import html
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from alignsd.base.errors import Problem
from alignsd.kit.views import NO_FORMULAS

# The box has colours of its own, so that the code is readable in a dark theme as well.
BOX = "background: #f6f6f6; color: #222222; padding: 0.6em 0.8em; line-height: 1.35; margin: 0"
CAPTION = "font-size: 90%; margin: 0 0 0.3em 0"
HAS_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Code:
    """The source of a function or class; a notebook shows the source in colours.

    Attributes:
        name: full name, such as ``alignsd.reward.hps.preference_loss``.
        source: the lines of code and the comments, without docstrings.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    def __repr__(self) -> str:
        return f"# {self.name}\n{self.source}"

    def _repr_html_(self) -> str:
        formatter = HtmlFormatter(noclasses=True, nobackground=True, prestyles=BOX)
        coloured = highlight(self.source, PythonLexer(), formatter)
        caption = f'<p style="{CAPTION}"><code>{html.escape(self.name)}</code></p>'
        return f'<div class="{NO_FORMULAS}">{caption}{coloured}</div>'


def show(function: Callable[..., Any]) -> Code:
    """Return the source of a function or class, without docstrings, to be shown in a notebook.

    Raises:
        Problem: if the source is not known, as for a function that is written in C.
    """
    try:
        lines, _ = inspect.getsourcelines(inspect.unwrap(function))
    except (OSError, TypeError) as error:
        raise Problem(
            "This source cannot be shown.",
            expected="a function or a class that is written in Python",
            found=f"{function!r:.80}",
            cause="a library's function that is written in C, or a value in place of a function",
            fix="name the function without brackets, as in code.show(hps.preference_loss)",
        ) from error
    name = f"{function.__module__}.{function.__qualname__}"
    return Code(name, without_docstrings(textwrap.dedent("".join(lines))))


def without_docstrings(source: str) -> str:
    """Return the source of functions and classes without docstrings; comments stay.

    A body that is nothing but a docstring becomes ``...``.
    """
    lines = source.splitlines()
    dropped: set[int] = set()
    for docstring, is_alone in _docstrings(ast.parse(source)):
        first, end = docstring.lineno - 1, docstring.end_lineno or docstring.lineno
        dropped |= set(range(first, end))
        if is_alone:
            lines[first] = " " * docstring.col_offset + "..."
            dropped.remove(first)
        elif not lines[end].strip():
            dropped.add(end)  # the empty line that parts the docstring from the code
    kept = [line for number, line in enumerate(lines) if number not in dropped]
    return "\n".join(kept) + "\n"


def _docstrings(tree: ast.AST) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield each docstring below a node, and whether nothing else stands in the same body."""
    for node in ast.walk(tree):
        if isinstance(node, HAS_DOCSTRING) and ast.get_docstring(node) is not None:
            yield node.body[0], len(node.body) == 1
