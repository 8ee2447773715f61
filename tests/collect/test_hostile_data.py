"""Generated tables and data sets: our own error or counted rows, whatever stands in a file.

No other exception, no file outside the folder, no row that is lost without a word.
"""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import hpd, own_choices
from alignsd.collect.own.tables import read_choices_table
from alignsd.compare.prompts import read_prompts
from alignsd.reward.truth import add_truth

NAMES = ["0.png", "1.png", "2.png", "3.png", "4.png", "absent.png", "damaged.png", "", "../0.png"]
HALF = "\ud800"  # half a surrogate pair: JSON can escape it, no file can hold it

TEXT = st.text(max_size=6) | st.sampled_from(
    ["a cat", "nan", "None", "0.5", "1", HALF, "x" * 500, "\0", "a;b|c,d"]
)
NUMBER = st.integers(-2, 5) | st.floats() | st.sampled_from([10**400, -(10**30), 2**63])
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
IMAGES = st.lists(st.sampled_from(NAMES), max_size=6)
CELL = (
    st.sampled_from(
        ["0", "1", "2", "0.5", "0,5", "1.0", "0.png", "1.png", "inf", "nan", "", "tie", "9" * 40]
    )
    | TEXT
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": SCALAR,
        "images": IMAGES | IMAGES.map(";".join) | IMAGES.map(json.dumps) | VALUE,
        "choice": CELL | VALUE,
        "user": st.sampled_from(["ann", "ben", ""]) | SCALAR,
    },
)
ROW = CHANGES.map(lambda changes: GOOD[0] | changes)
GOOD = [{"prompt": f"good {i}", "images": "0.png;1.png;2.png", "choice": i % 3} for i in range(6)]
SPOILED = st.sampled_from(
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xe9",
        b'"',
        b"{",
        b"[",
        b"\n",
        b"\r",
        b",,,,",
        b";",
        b"\xef\xbb\xbf",
        b"NaN",
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder ``all/images`` with five pictures and a damaged file."""
    images = tmp_path_factory.mktemp("hostile") / "images"
    for i in range(5):
        save_png(images / f"{i}.png", np.full((2, 2, 3), 40 * i, np.uint8))
    (images / "damaged.png").write_bytes(b"no picture")
    return images


def files_outside(folder: Path, out: Path) -> set[Path]:
    around = folder.parent
    return {p for p in around.rglob("*") if not p.is_relative_to(out) and p.name != "user.key"}


def import_or_problem(folder: Path, table: pd.DataFrame, rows: int) -> None:
    """Import, and check that every row is a choice or counted, and that the data set reads back."""
    out = folder.parent / "out"
    before = files_outside(folder, out)
    try:
        counts = own_choices.import_choices(table, folder, out)
    except Problem as problem:
        assert len(str(problem).split("\n  ")) == 5 and len(str(problem)) < 6000
    else:
        unknown = counts.pop(own_choices.UNKNOWN_USERS, 0)
        assert counts.total() == rows and unknown <= counts["choices"]
        parts = [hpd.read_choices(out, part) for part in ("train", "test")]
        read = pd.concat(parts)
        assert len(read) == counts["choices"] and read["prompt"].map(str.strip).all()
        named = {Path(name).name for paths in read["file_path"] for name in paths}
        assert {path.name for path in (out / "preference_images").iterdir()} == named
    assert files_outside(folder, out) == before


@settings(max_examples=30 * CASES)
@given(bad=st.lists(ROW, min_size=1, max_size=4))
def test_tables_of_anything(folder, bad):
    table = pd.DataFrame({"prompt": [], "images": [], "choice": []}, dtype=object)
    columns = [*table.columns, "user"] if any("user" in row for row in bad) else [*table.columns]
    records = [*GOOD, *bad]
    cells = {name: pd.Series([row.get(name) for row in records], dtype=object) for name in columns}
    import_or_problem(folder, pd.DataFrame(cells), len(records))


@settings(max_examples=15 * CASES)
@given(bad=st.lists(ROW, max_size=2), lines=st.lists(VALUE, max_size=2))
def test_lines_of_anything(folder, bad, lines):
    values = [*GOOD, *bad, *lines]
    path = folder.parent / "table.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    try:
        table = read_choices_table(path)
    except Problem:
        return
    import_or_problem(folder, table, len(values))


@settings(max_examples=35 * CASES)
@given(
    kind=st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet"]),
    spoil=SPOILED,
    place=st.floats(0, 1),
    cut=st.booleans(),
)
def test_spoiled_files(folder, kind, spoil, place, cut):
    table = pd.DataFrame(GOOD).astype(str)
    path = folder.parent / f"table.{kind}"
    writers = {
        "csv": lambda: table.to_csv(path, index=False),
        "tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "json": lambda: table.to_json(path, orient="records"),
        "parquet": lambda: table.to_parquet(path),
    }
    writers[kind]()
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + spoil + (b"" if cut else content[at:]))
    try:
        read = read_choices_table(path)
    except Problem:
        return
    assert len(read) <= 2 * len(GOOD) + 2
    import_or_problem(folder, read, len(read))


KEYS = list(hpd.KEYS)
V1 = {
    "human_preference": 1,
    "prompt": "a cat",
    "id": 0,
    "file_path": ["0.png", "1.png"],
    "user_hash": "",
    "contain_name": False,
}
V2_TEST = {"prompt": "a cat", "image_path": ["0.png", "1.png"], "rank": [2, 1]}
V2_TRAIN = {"prompt": "a cat", "file_path": ["0.png", "1.png"], "human_preference": [0, 1]}
PATHS = st.lists(st.sampled_from(NAMES) | SCALAR, max_size=5)


@settings(max_examples=35 * CASES)
@given(
    layout=st.sampled_from(["v1", "v2 test", "v2 train"]),
    changes=st.dictionaries(
        st.sampled_from([*KEYS, "image_path", "rank"]), VALUE | PATHS, min_size=1, max_size=2
    ),
    dropped=st.none() | st.sampled_from(KEYS),
)
def test_rows_of_hpd(folder, layout, changes, dropped):
    row = dict({"v1": V1, "v2 test": V2_TEST, "v2 train": V2_TRAIN}[layout])
    good = dict(row, id=5) if layout == "v1" else dict(row)
    row |= {key: value for key, value in changes.items() if key in row or layout == "v1"}
    row.pop(dropped, None)
    part = "train" if layout == "v2 train" else "test"
    for old in folder.glob("*.json"):
        old.unlink()
    name = f"preference_{part}.json" if layout == "v1" else f"{part}.json"
    (folder / name).write_text(json.dumps([good, row]))
    try:
        read = hpd.read_choices(folder, part)
    except Problem as problem:
        assert "row 1" in str(problem) or "too many digits" in str(problem)
        return
    assert len(read) == 2 and read["prompt"].map(str.strip).all()
    for choice in read.to_dict("records"):
        assert 0 <= choice["human_preference"] < len(choice["file_path"])
        assert all((folder / path).is_file() for path in choice["file_path"])
        assert isinstance(choice["user_hash"], str) and choice["contain_name"] in (
            True,
            False,
            None,
        )
    read.to_parquet(folder.parent / "read.parquet")


@pytest.mark.parametrize("seed", range(30 * CASES))
def test_spoiled_lists_and_prompts(tmp_path, seed):
    rng = random.Random(seed)
    content = json.dumps([V1, dict(V1, id=1)]).encode()
    spoil = rng.choice(
        [
            b"",
            b"\0",
            b"\xff\xfe",
            b"\xe9",
            b"[" * 3000,
            b"9" * 5000,
            b"NaN",
            b"\\ud800",
            b"1e999",
            b"{}",
        ]
    )
    at = rng.randrange(len(content))
    spoiled = content[:at] + spoil + content[at + rng.randrange(3) :]
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "preference_test.json"
    path.write_bytes(spoiled)
    try:
        assert len(hpd.read_choices(tmp_path, "test")) == 2
    except Problem as problem:
        assert path.name in str(problem)
    try:
        prompts = read_prompts(str(path), 1)
        assert len(prompts) == 1 and prompts[0].strip()
    except Problem as problem:
        assert "prompts" in str(problem)


@settings(max_examples=20 * CASES)
@given(
    column=st.sampled_from(["p", "message_id", "file_name", "id"]),
    values=st.lists(st.floats() | st.integers(0, 3), min_size=2, max_size=2)
    | st.lists(st.sampled_from(["m1", "a", "b", "c"]), min_size=2, max_size=2),
)
def test_tables_of_the_truth(tmp_path_factory, column, values):
    truth = pd.DataFrame({"message_id": "m1", "file_name": ["a", "b"], "p": [0.5, 0.5]})
    origin = pd.DataFrame({"id": [0], "message_id": ["m1"], "file_names": [["a", "b"]]})
    changed = origin if column == "id" else truth
    changed[column] = values[: len(changed)]
    place = tmp_path_factory.mktemp("truth")
    try:
        truth.to_parquet(place / "truth.parquet")
    except (ValueError, TypeError, OverflowError):  # pyarrow writes no column of numbers and text
        return
    origin.to_parquet(place / "provenance.parquet")
    images = pd.DataFrame({"id": [0, 0], "index": [0, 1]})
    try:
        joined = add_truth(images, place / "truth.parquet", place / "provenance.parquet")
    except Problem:
        return
    assert joined["p"].between(0, 1).all() and abs(joined["p"].sum() - 1) < 1e-9
