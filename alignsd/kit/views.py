"""Tables for people to read: HTML in a notebook, Markdown, and plain text in a terminal."""

import html
import re
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence

GAP = "  "  # between two columns of a table in text
NO_BREAK_SPACE = "\u00a0"
SMALLEST_COLUMN = 8  # characters; a column of text is not made narrower
REPLACEMENT = "\ufffd"
TURNS_DIRECTION = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# JupyterLab typesets what stands between two dollar signs, unless a class of the element says no.
NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
MARKDOWN_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&-])")


def readable(value: object) -> str:
    """Return any value as text for a single line.

    Every character of white space becomes a space. Marks that turn the direction of writing are
    left out, since these marks would also turn the text behind. Other control characters and halves
    of surrogate pairs become U+FFFD.
    """
    characters = []
    for character in str(value):
        if character in TURNS_DIRECTION:
            continue
        category = unicodedata.category(character)
        if character.isspace():
            characters.append(" " if character != NO_BREAK_SPACE else character)
        elif category in ("Cc", "Cs"):
            characters.append(REPLACEMENT)
        else:
            characters.append(character)
    return "".join(characters)


class Table:
    """Rows of text under headings.

    A notebook shows a table whose columns wrap, in the colours of the reader's theme.
    ``print`` shows text.

    Args:
        rows: one sequence of cells per row; ``readable`` turns each cell into text.
        headings: of the columns.
        numbers: the headings of columns that are flush right.
        below: a line of text under the table; empty for none.

    Raises:
        ValueError: if the number of cells in a row differs from the number of headings.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[object]],
        headings: Sequence[str],
        numbers: Collection[str] = (),
        below: str = "",
    ):
        self.headings = [readable(heading) for heading in headings]
        self.rows = [[readable(cell) for cell in row] for row in rows]
        self.flush_right = [heading in numbers for heading in headings]
        self.below = readable(below)
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(
                    f"a row has {len(row)} cells under {len(self.headings)} headings: {row}"
                )

    def text(self, width: int = 100) -> str:
        """Return the table as lines of at most ``width`` characters; cells that are too long wrap.

        A single word longer than the column is broken. Very many columns may need more room.
        """
        widths = self._widths(width)
        lines = self._lines(self.headings, widths)
        lines.append("-" * (sum(widths) + len(GAP) * (len(widths) - 1)))
        for row in self.rows:
            lines += self._lines(row, widths)
        if self.below:
            lines += ["", *textwrap.wrap(self.below, width)]
        return "\n".join(lines).replace(NO_BREAK_SPACE, " ")

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """Return the table as HTML without colours: JupyterLab's theme gives the colours."""
        head = "".join(self._cell("th", index, text) for index, text in enumerate(self.headings))
        body = []
        for row in self.rows:
            cells = "".join(self._cell("td", index, text) for index, text in enumerate(row))
            body.append(f"<tr>{cells}</tr>")
        below = f"<p>{html.escape(self.below)}</p>" if self.below else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        return f'<div class="{NO_FORMULAS}">{table}{below}</div>'

    def _repr_markdown_(self) -> str:
        """Return the table as Markdown."""
        rules = ["---:" if right else "---" for right in self.flush_right]
        lines = [_markdown_row(map(_markdown, self.headings)), _markdown_row(rules)]
        lines += [_markdown_row(map(_markdown, row)) for row in self.rows]
        if self.below:
            lines += ["", _markdown(self.below)]
        return "\n".join(lines)

    def _cell(self, tag: str, index: int, text: str) -> str:
        side = "right" if self.flush_right[index] else "left"
        style = f"text-align: {side}; vertical-align: top"
        if self.flush_right[index]:
            style += "; white-space: nowrap"
        return f'<{tag} style="{style}">{html.escape(text)}</{tag}>'

    def _widths(self, width: int) -> list[int]:
        """Return the columns' widths: the widest columns give way until all columns fit."""
        columns = zip(self.headings, *self.rows, strict=True)
        widths = [max(len(cell) for cell in column) for column in columns]
        room = width - len(GAP) * (len(widths) - 1)
        while sum(widths) > room:
            widest = max(range(len(widths)), key=widths.__getitem__)
            if widths[widest] <= SMALLEST_COLUMN:
                break
            others = sorted(widths, reverse=True)[1:2] or [0]
            too_much = sum(widths) - room
            step = max(1, min(too_much, widths[widest] - others[0]))
            widths[widest] = max(SMALLEST_COLUMN, widths[widest] - step)
        return widths

    def _lines(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        """Return a row as lines of text; a cell that wraps makes several lines."""
        wrapped = []
        for cell, width, right in zip(row, widths, self.flush_right, strict=True):
            indent = "" if right or width <= SMALLEST_COLUMN else "  "
            wrapped.append(textwrap.wrap(cell, width, subsequent_indent=indent) or [""])
        lines = []
        for number in range(max(len(cell_lines) for cell_lines in wrapped)):
            padded = []
            for cell_lines, width, right in zip(wrapped, widths, self.flush_right, strict=True):
                text = cell_lines[number] if number < len(cell_lines) else ""
                padded.append(text.rjust(width) if right else text.ljust(width))
            lines.append(GAP.join(padded).rstrip())
        return lines


def _markdown(text: str) -> str:
    """Return text with a backslash before every character that Markdown or a formula would read."""
    return MARKDOWN_MARKUP.sub(r"\\\1", text)


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
