"""The source that a notebook shows: code and comments, no docstrings."""

import math

import pytest

from alignsd.base.errors import Problem
from alignsd.reward.hps import preference_loss
from alignsd.teach import code

SOURCE = '''
def doubled(x):
    """Return x twice.

    Not a $formula$.
    """

    # A reason.
    return 2 * x  # here


class Empty:
    """Nothing else."""


class Full:
    """Words."""

    def method(self):
        """Words."""
        text = """kept"""
        return text
'''
SHORT = """
def doubled(x):
    # A reason.
    return 2 * x  # here


class Empty:
    ...


class Full:
    def method(self):
        text = \"\"\"kept\"\"\"
        return text
"""


def test_docstrings_are_left_out_and_comments_are_kept():
    assert code.without_docstrings(SOURCE) == SHORT


def test_a_function_of_the_package_is_shown_in_colours_and_as_text():
    shown = code.show(preference_loss)
    assert shown.name == "alignsd.reward.hps.preference_loss"
    assert shown.source.startswith("def preference_loss(")
    assert "# s cos(i, t)" in shown.source and "nats" not in shown.source
    assert repr(shown) == f"# {shown.name}\n{shown.source}"
    html = shown._repr_html_()
    assert "<span" in html and "mathjax_ignore" in html and "cross_entropy" in html


def test_html_in_the_source_is_text():
    html = code.Code("f<x>", "x = '<b>bold</b>'\n")._repr_html_()
    assert "<b>" not in html and "f&lt;x&gt;" in html


def test_a_function_without_source_is_told():
    with pytest.raises(Problem, match="cannot be shown"):
        code.show(math.sin)
