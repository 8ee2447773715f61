"""Tables: what a terminal, a notebook and a Markdown reader are shown, whatever a cell holds."""

import html
import re

import pytest

from alignsd.kit.views import NO_BREAK_SPACE, REPLACEMENT, Table, readable

LONG = (
    "a person standing in the meadow with a hat in a purple shirt, "
    "by a famous artist, soft light, highly detailed "
) * 2
ODD = [
    "<b>bold</b>",
    "a | b",
    "*a* _b_ `c`",
    "$x_1$ and $y$",
    "[a](b)",
    "# a",
    "a & b",
    '"quoted"',
    "a\\b",
    "<!-- -->",
]


def test_columns_are_aligned_and_numbers_are_flush_right():
    table = Table([("a", 1), ("bbb", 22)], ["x", "n"], numbers=["n"], below="2 rows")
    assert str(table).splitlines() == ["x     n", "-------", "a     1", "bbb  22", "", "2 rows"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width):
    rows = [
        (LONG, "1.5", "2.00 [1.00, 3.00]", "7", "not reproduced"),
        ("short", "-", "-", "-", "reproduced"),
    ]
    text = Table(rows, ["claim", "paper", "this run", "n", "verdict"]).text(width)
    assert max(len(line) for line in text.splitlines()) <= width
    first = "\n".join(text.splitlines()[2:])
    assert sorted(first.split()) == sorted(" ".join(cell for row in rows for cell in row).split())


def test_a_word_longer_than_its_column_is_broken_and_not_cut():
    text = Table([("x" * 300, "y")], ["a", "b"]).text(40)
    assert max(map(len, text.splitlines())) <= 40 and text.count("x") == 300


def test_a_hard_space_keeps_two_words_together_and_is_printed_as_a_space():
    text = Table([(f"aaaaaaaaaa 43.5{NO_BREAK_SPACE}%", "b")], ["claim", "n"]).text(17)
    assert "  43.5 %" in text.splitlines()[3] and text.isascii()


@pytest.mark.parametrize("cell", ODD)
def test_markup_in_a_cell_is_text_in_html(cell):
    shown = Table([(cell, "x")], ["a", "b"])._repr_html_()
    (found,) = re.findall(r"<td[^>]*>(.*?)</td><td", shown)
    assert html.unescape(found) == cell and "<" not in found
    assert "mathjax_ignore" in shown and "tex2jax_ignore" in shown, (
        "dollar signs must not begin a formula"
    )


@pytest.mark.parametrize("cell", ODD)
def test_markup_in_a_cell_is_text_in_markdown(cell):
    mistune = pytest.importorskip("mistune")
    rendered = mistune.create_markdown(plugins=["table"])(
        Table([(cell, "x")], ["a", "b"])._repr_markdown_()
    )
    (found,) = re.findall(r"<td>(.*?)</td>\s*<td>x", rendered, re.DOTALL)
    assert html.unescape(found) == cell, rendered


def test_html_has_no_colour_of_its_own_so_that_both_themes_can_be_read():
    shown = Table([("a", "1")], ["x", "n"], numbers=["n"])._repr_html_()
    assert "color" not in shown and "background" not in shown
    assert '<td style="text-align: left; vertical-align: top">a</td>' in shown
    assert "text-align: right" in shown and "white-space: nowrap" in shown


def test_an_empty_table_has_its_headings():
    table = Table([], ["who", "prompt"], below="nothing yet")
    assert str(table).splitlines() == ["who  prompt", "-----------", "", "nothing yet"]
    assert "<th" in table._repr_html_()
    assert table._repr_markdown_().startswith("| who | prompt |")


def test_a_row_with_a_cell_too_few_is_refused():
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        Table([("a",)], ["x", "y"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb\tc\r\u2028d", "a b c  d"),
        ("a\x00b\x1b[31m", f"a{REPLACEMENT}b{REPLACEMENT}[31m"),
        ("\ud800 cat", f"{REPLACEMENT} cat"),
        ("a \u202ecat\u202c", "a cat"),
        (3.5, "3.5"),
        (None, "None"),
        ("Weird image. ", "Weird image. "),
        ("猫 🐱", "猫 🐱"),
    ],
)
def test_readable(value, expected):
    assert readable(value) == expected


@pytest.mark.parametrize("cell", ["\ud800", "a\x00b", "x" * 100_000, "\u202e" * 9, "a\nb"])
def test_every_representation_can_be_encoded(cell):
    table = Table([(cell, "x")], ["a", "b"])
    for text in (str(table), table._repr_html_(), table._repr_markdown_()):
        assert text.encode("utf-8") and "\n\n\n" not in text
