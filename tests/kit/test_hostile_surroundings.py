"""Damaged and hostile presets, settings, records, scorecards: our own error, or a right value."""

import json
import string
from itertools import pairwise

import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.compare import scorecard
from alignsd.kit.lineage import read_run
from alignsd.kit.provenance import code_sha256, source_sha256
from alignsd.kit.records import expected_seconds, preset_of, read_record, record_path
from alignsd.kit.stage import begin
from alignsd.kit.stage_record import input_state, read_metrics
from alignsd.kit.values import parameters
from alignsd.kit.values.presets import read_preset, resolve
from alignsd.running.tasks import Request, prepare

DEEP = 100_000
PRESETS = {
    "brackets": "[" * DEEP,
    "braces": '"05": ' + "{a: " * DEEP,
    "indents": "".join(" " * depth + "a:\n" for depth in range(500)),
    "dashes": "- " * DEEP,
    "question marks": "? " * DEEP,
    "laughs": '"05":\n  a: &a [1, 1]\n'
    + "".join(f"  {b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstu")),
    "merges": '"04": &a {alpha: 2.0}\n"05":\n  <<: *a\n',
    "itself": "&a [*a]",
    "itself as a value": '"05": &a {steps: *a}',
    "object": '"05": !!python/object/apply:os.system ["exit 1"]',
    "unknown tag": '"05":\n  steps: !x 5',
    "date that is none": '"05":\n  steps: !!timestamp x',
    "binary": '"05":\n  steps: !!binary "=="',
    "set": '"05": !!set {a, b}',
    "list as a name": "? [a]\n: 1",
    "number as a name": '"05":\n  5: 1',
    "null as a name": '"05":\n  ~: 1',
    "true as a name": '"05":\n  true: 1',
    "number in place of a section": '"05": 5',
    "null in place of a section": '"05":',
    "list in place of a section": '"05": [steps]',
    "base is a list": "base: [mini]",
    "base is a number": "base: 5",
    "two documents": '--- \n"05": {steps: 1}\n--- \n"06": {steps: 1}',
    "zero byte": '"05":\0',
    "surrogate": '"05":\n  identifier: "\\ud800"',
    "null as a value": '"05":\n  steps:',
    "infinite": '"05":\n  learning_rate: .inf',
    "not a number": '"05":\n  learning_rate: .nan',
    "long name": '"05":\n  ' + "k" * 2000 + ": 1",
    "too large": "#" * 2**17,
}


@pytest.mark.parametrize("kind", PRESETS)
def test_a_hostile_preset_is_told_by_name(tmp_path, kind):
    path = tmp_path / "mine.yaml"
    path.write_text(PRESETS[kind])
    with pytest.raises(Problem) as told:
        resolve(str(path), "trial")
    text = str(told.value)
    assert len(text) < 3000 and len(text.splitlines()) == 5
    assert "mine.yaml" in text or "base" in text or "no preset" in text


NO_PRESETS = [
    "x" * 5000,
    "x" * 5000 + ".yaml",
    "../mini",
    "/etc/passwd",
    "",
    "a\0.yaml",
    "\ud800.yaml",
    "presets/smoke",
    ".",
]


@pytest.mark.parametrize("name", NO_PRESETS)
def test_a_preset_that_is_none_is_told(name):
    with pytest.raises(Problem, match="no preset") as told:
        read_preset(name)
    assert len(str(told.value)) < 1000


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=60))
@settings(max_examples=30 * CASES)
def test_any_text_as_a_preset(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("preset") / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        sections = read_preset(str(path))
    except Problem:
        return
    assert all(
        isinstance(key, str) and isinstance(section, dict) for key, section in sections.items()
    )


VALUES = {
    "minus signs": "-" * DEEP + "1",
    "brackets": "(" * DEEP,
    "list in a set": "{[]}",
    "digits": "9" * 5000,
    "nested": "[" * 300 + "]" * 300,
    "complex": "1j",
    "none": "None",
    "bytes": "b'a'",
    "dots": "...",
    "set": "{1}",
    "call": "__import__('os').getcwd()",
    "power": "9**9**9",
    "tuple": "(1, 2)",
    "zero byte": "\0",
    "indent": "  1\n 2",
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", ["05.steps", "05.learning_rate", "02.mirror", "seed"])
def test_a_hostile_value_is_no_number(name, kind):
    with pytest.raises(Problem, match=name.rpartition(".")[2]) as told:
        resolve("mini", "trial", [f"{name}={VALUES[kind]}"])
    assert len(str(told.value)) < 1500


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "=",
        "=1",
        ".=1",
        "05.=1",
        "05..steps=1",
        "k" * 10_000 + "=1",
        "run=x",
        "99.seed=1",
        "\ud800=1",
    ],
)
def test_a_hostile_setting_is_told(setting):
    with pytest.raises(Problem) as told:
        resolve("mini", "trial", [setting])
    assert len(str(told.value)) < 3000


@given(
    number=st.one_of(st.integers(), st.floats(), st.integers(min_value=10**300, max_value=10**400))
)
def test_a_number_is_refused_or_kept_as_it_is(number):
    for parameter in (
        parameters.Parameter("steps", 1, ""),
        parameters.Parameter("learning_rate", 0.5, ""),
        parameters.Parameter("seed", 0, ""),
        parameters.Parameter("guidance", 1.0, ""),
    ):
        try:
            value = parameters.checked(parameter, number, "test")
        except Problem:
            continue
        assert value == number and type(value) is type(parameter.default)
        assert value in parameters.RANGES.get(parameter.name, parameters.ANY_NUMBER)


@given(text=st.text(alphabet=string.printable + "\ud800\0é", max_size=20))
def test_text_is_refused_or_kept_as_it_is(text):
    parameter = parameters.Parameter("identifier", "Weird image. ", "")
    try:
        assert parameters.checked(parameter, text, "test") == text
    except Problem:
        assert "\ud800" in text or "\0" in text


SHAPES = {
    "null": b"null",
    "list": b"[]",
    "number": b"5",
    "text": b'"text"',
    "NaN": b"NaN",
    "empty object": b"{}",
    "empty": b"",
    "cut": b'{"a": ',
    "deep": b"[" * DEEP,
    "latin-1": b'{"a": "\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zero byte": b"\0",
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "wrong kinds": b'{"stage": 1, "settings": 5, "inputs": [], "fingerprint": 3, "preset": [], '
    b'"notebook": {}, "seconds": "x", '
    b'"code_sha256": 5, "source_sha256": [], "parent": 5, "parameters": 7, "work": 3}',
}
FILES = ["config.json", "metrics.json", "record", "run.json"]


@pytest.fixture
def finished(notebook, kit):
    """A run whose only notebook is finished, made by hand."""
    source = notebook("01_first", "steps = 3  # steps")
    stage = begin("01_first", {"run": "trial", "steps": 3})
    stage.finish({"accuracy": 0.5})
    record = {"notebook": "01_first", "preset": "mini", "seconds": 2.0}
    record |= {"code_sha256": code_sha256(source), "source_sha256": source_sha256(source)}
    write_json(record_path("trial", "01_first"), record)
    (kit / "papermill_runs/trial/01_first.ipynb").write_text(source.read_text())
    write_json(kit / "papermill_runs/trial/run.json", {"preset": "mini"})
    folder = kit / "papermill_runs/trial"
    return {
        "config.json": folder / "stages/01_first/config.json",
        "metrics.json": folder / "stages/01_first/metrics.json",
        "record": record_path("trial", "01_first"),
        "run.json": folder / "run.json",
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_run_is_named_or_made_anew(finished, name, shape):
    """Each reader of a run's files names the file in our own error, or has a right value."""
    finished[name].write_bytes(SHAPES[shape])
    calls = [
        lambda: prepare(Request("trial", "mini")),
        lambda: input_state("trial", "01_first"),
        lambda: read_metrics("trial", "01_first"),
        lambda: read_record("trial", "01_first"),
        lambda: read_run("trial"),
    ]
    for call in calls:
        try:
            call()
        except Problem as told:
            assert ".json" in str(told) and told.fix
    assert preset_of("trial") == "mini"
    assert expected_seconds("mini", "other") in ({"01_first": 2.0}, {})
    assert finished[name].read_bytes() == SHAPES[shape], (
        "a damaged file is never changed by being read"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_of_a_run_is_told(finished, name):
    finished[name].unlink()
    finished[name].mkdir()
    try:
        prepare(Request("trial", "mini"))
    except Problem as told:
        assert ".json" in str(told)
    assert expected_seconds("mini", "other") in ({"01_first": 2.0}, {})


ROW = {
    "id": "a",
    "claim": "A is more than B",
    "paper": 1.5,
    "source": "Table 1",
    "value": 2.0,
    "low": 1.0,
    "high": None,
    "n": 7,
    "verdict": "reproduced",
}


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "list"])
def test_a_file_that_is_no_scorecard_is_told(tmp_path, shape):
    (tmp_path / "scorecard.json").write_bytes(SHAPES[shape])
    with pytest.raises(Problem, match="(?s)no scorecard to read.*--force 08"):
        scorecard.read(tmp_path / "scorecard.json")


@pytest.mark.parametrize("key", scorecard.KEYS)
@pytest.mark.parametrize(
    "value", [[], {}, True, "", "\ud800", "x", 5, None, float("nan"), 10**400], ids=repr
)
def test_a_row_of_a_scorecard_is_refused_or_printed(tmp_path, key, value):
    path = tmp_path / "scorecard.json"
    path.write_text(json.dumps([ROW | {key: value}]))
    try:
        rows = scorecard.read(path)
    except Problem as told:
        assert "row 1" in told.found
        return
    text = scorecard.table(rows)
    assert rows == [ROW | {key: value}] and "1 reproduced" in text


def test_a_scorecard_that_is_a_folder_is_told(tmp_path):
    with pytest.raises(Problem, match="no scorecard"):
        scorecard.read(tmp_path)
