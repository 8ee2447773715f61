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
    "deep.json": '{"version": 1,\n "prompts": ["a cat", "a dog"]}',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused_and_the_command_of_the_message_makes_a_list(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name].removesuffix('{"prom'))
    with pytest.raises(Problem, match="(?s)one prompt per line.*table|object") as caught:
        entries_of(tmp_path / name)
    command = caught.value.fix.split("; or ")[0].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    prompts = entries_of(tmp_path / "prompts_alone.json")
    assert prompts[:2] == ["a cat", "a dog"]


DAMAGED = {
    "cut.json": '["a cat", "a d',
    "cut.txt": '[\n  "a cat",\n  "a d',
    "cut.jsonl": TABLES["p.jsonl"],
    "null.json": '["a cat", null]',
    "half.json": '["\\ud83d"]',
    "names.csv": "first,last\nAda,Lovelace\n",
    "numbers.txt": "1\ta cat\n2\ta dog\n",
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
