"""The prompts of the comparison."""

import pytest

from alignsd import sources
from alignsd.base.errors import Problem
from alignsd.compare.prompts import read_prompts


def test_the_first_distinct_lines_are_the_prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\n one \ntwo\nthree\n")
    assert read_prompts(str(path), 2) == ["one", "two"]


def test_short_files_are_told(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\none\n")
    with pytest.raises(Problem, match="(?s)not enough prompts.*prompt_count=1"):
        read_prompts(str(path), 2)


def test_the_miniature_gives_distinct_captions_that_depend_on_the_seed():
    captions = sources.prompts("miniature", 50, seed=0)
    assert len(set(captions)) == 50
    assert captions == sources.prompts("miniature", 50, seed=0)
    assert captions != sources.prompts("miniature", 50, seed=1)
