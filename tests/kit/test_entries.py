"""Lists of prompts and names: plain text and JSON are read, tables are refused with a command."""

import json
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignsd.base.errors import Problem
from alignsd.kit.entries import read_entries


def entries_of(path):
    return read_entries(path, "The prompts", "prompt", "--set prompts=FILE")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_texts_in_json_is_a_list_of_entries(tmp_path, indent):
    prompts = ["a cat, oil", "", ' "a dog" ', "two\nlines"]
    (tmp_path / "anime.json").write_text(json.dumps(prompts, indent=indent))
    assert entries_of(tmp_path / "anime.json") == ["a cat, oil", '"a dog"', "two\nlines"]


PLAIN = {
    "commas": "a cat, oil\na dog, oil, 4k\na house",
    "as many commas in each line": "a cat, oil\na dog, ink",
    "tabs in one line": "a cat\toil\na dog",
    "a tab in the only line": "a cat\toil",
    "brackets": "[a cat] in a hat\n[a dog]",
    "braces": "{a cat} in a hat\n{a dog}",
    "one object among lines": '{"subject": "cat"}\na dog\na house',
    "quotation marks": '"a cat\na dog"\n"a house", oil',
    "the word prompt": "prompt\na cat, oil",
    "a long line": "a cat," * 40_000 + '"\n"a dog',
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_plain_text_is_read_line_by_line(tmp_path, text):
    (tmp_path / "prompts.txt").write_text(text)
    assert entries_of(tmp_path / "prompts.txt") == text.split("\n")


TABLES = {
    "parti.tsv": "Prompt\tCategory\tNote\na cat\tAnimals\t\na dog\tAnimals\t\n",
    "parti.txt": "Prompt\tCategory\tNote\na cat\tAnimals\na dog\tAnimals\t\nmy bird\tAnimals\t\n",
    "p.csv": 'prompt,seed\n"a cat",1\n"a dog",2\n',
    "p.txt": "id;prompt\n1;a cat\n2;a dog\n",
    "one column.csv": "prompt\na cat\na dog\n",
    "p.jsonl": '{"prompt": "a cat"}\n{"prompt": "a dog"}\n{"prom',
    "it's.json": '[{"id": 1, "prompt": "a cat"},\n {"id": 2, "prompt": "a dog"}]',
    "spaces.csv": "id, prompt\n1,a cat\n2,a dog\n",
    "series.json": '{"0": "a cat", "1": "a dog"}',
    "text.csv": 'text\n"a cat"\na dog\n',
    "names of babies.txt": "a cat,F,7065\na dog,F,2604\n",
    "counted.txt": "words,count\na cat,7065\na dog,2604\n",
    "numbered.txt": "1\ta cat\n2\ta dog\n",
    "one line.json": '{"version": 1, "prompts": ["a cat", "a dog"]}',
    "coco.json": '{"images": [{"id": 1}], "annotations": [{"id": 1, "caption": "a cat"}, '
    '{"id": 2, "caption": "a dog"}]}',
    "deep.json": '{"version": 1,\n "prompts": ["a cat", "a dog"]}',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused_and_the_command_of_the_message_makes_a_list(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name].removesuffix('{"prom'))
    with pytest.raises(Problem, match="(?s)one prompt per line.*table|object") as caught:
        entries_of(tmp_path / name)
    command = caught.value.fix.split("; or ")[0].split(", with the column")[0]
    command = command.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    prompts = entries_of(tmp_path / "prompts_alone.json")
    assert prompts[:2] == ["a cat", "a dog"]


def test_names_with_numbers_in_fixed_width_are_a_table(tmp_path):
    """As the census of the United States writes its lists of names."""
    (tmp_path / "dist.first").write_text(
        "MARY           2.629  2.629      1\nPATRICIA       1.073  3.702      2\n"
    )
    with pytest.raises(Problem, match="a table of fixed width, without a header") as caught:
        read_entries(tmp_path / "dist.first", "The names", "name", "--set names_file=''")
    command = caught.value.fix.split(", with the column")[0]
    command = command.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert entries_of(tmp_path / "names_alone.json") == ["MARY", "PATRICIA"]


def test_a_line_with_tabs_may_be_one_prompt_after_all(tmp_path):
    (tmp_path / "p.txt").write_text("a cat\toil\na dog\tink\n")
    with pytest.raises(Problem, match="if a line is one prompt") as caught:
        entries_of(tmp_path / "p.txt")
    command = caught.value.fix.split("if a line is one prompt: ")[1].split("; or ")[0]
    command = command.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert entries_of(tmp_path / "prompts_alone.json") == ["a cat\toil", "a dog\tink"]


def test_quotation_marks_of_a_table_of_one_column_are_no_part_of_a_prompt(tmp_path):
    (tmp_path / "p.csv").write_text('"a cat, on a ""mat"""\na dog\n\n"two\nlines"\n')
    assert entries_of(tmp_path / "p.csv") == ['a cat, on a "mat"', "a dog", "two\nlines"]


DAMAGED = {
    "cut.json": '["a cat", "a d',
    "cut.txt": '[\n  "a cat",\n  "a d',
    "cut.jsonl": TABLES["p.jsonl"],
    "null.json": '["a cat", null]',
    "half.json": '["\\ud83d"]',
    "names.csv": "first,last\nAda,Lovelace\n",
    "numbers.txt": "1\t2\n2\t3\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_neither_lines_nor_a_list_of_texts_is_refused(tmp_path, name):
    (tmp_path / name).write_text(DAMAGED[name])
    with pytest.raises(Problem, match="The prompts cannot be read"):
        entries_of(tmp_path / name)


@given(st.text(alphabet='[]{}",:;\t\n\x00a1', max_size=40), st.sampled_from(["txt", "json", "csv"]))
def test_any_text_gives_entries_or_a_problem(tmp_path_factory, text, suffix):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_text(text)
    try:
        assert all(entry == entry.strip() != "" for entry in entries_of(path))
    except Problem as problem:
        assert str(problem)
