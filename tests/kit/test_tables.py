"""Tables that a stage left: what is right passes, and each change by hand is told."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.kit import tables
from alignsd.kit.tables import read_table, write_table

VALUES = {
    tables.TEXT: ["one", "two", "three"],
    tables.TEXT_OR_NOTHING: ["one", None, "three"],
    tables.NUMBER: [1.5, -2.0, float("inf")],
    tables.NUMBER_OR_NOTHING: [1.5, float("nan"), 3.0],
    tables.WHOLE: [1, 2, 3],
    tables.TRUTH_OR_NOTHING: pd.array([True, None, False], dtype="boolean"),
}


def right(name: str) -> pd.DataFrame:
    return pd.DataFrame(
        {column: VALUES[kind] for column, kind in tables.TABLES[name].columns.items()}
    )


def place(folder, name: str):
    table = tables.TABLES[name]
    inner = "scores" if name == "scores" else ""
    return (
        folder
        / "papermill_runs"
        / "trial"
        / "stages"
        / table.stage
        / inner
        / table.file.replace("*", "000001")
    )


EVERY = sorted(tables.TABLES)


@pytest.mark.parametrize("name", EVERY)
def test_what_the_stage_writes_is_read(kit, name):
    path = place(kit, name)
    write_table(path, right(name))
    assert tables.name_of(path) == name
    pd.testing.assert_frame_equal(read_table(path), right(name), check_dtype=False)


def test_columns_without_any_value_are_right(kit):
    blind = right("image_metrics").assign(
        flawed=pd.array([None] * 3, dtype="boolean"), flaw=None, match=None, hps=None
    )
    path = place(kit, "image_metrics")
    write_table(path, blind)
    assert len(read_table(path)) == 3


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "change", ["column gone", "no row", "rows twice", "text", "numbers", "nothing", "lists"]
)
def test_a_change_by_hand_is_told_where_the_table_is_read(kit, name, change):
    table, path = tables.TABLES[name], place(kit, name)
    frame, first = right(name), next(iter(table.columns))
    numbers = [
        column
        for column, kind in table.columns.items()
        if kind in (tables.NUMBER, tables.NUMBER_OR_NOTHING, tables.WHOLE)
    ]
    last = numbers[-1]
    if change == "column gone":
        frame = frame.drop(columns=last)
    elif change == "no row":
        frame = frame.head(0)
    elif change == "rows twice":
        frame = pd.concat([frame, frame.tail(1)])
    elif change == "text":
        frame[last] = "x"
    elif change == "numbers":
        frame[first] = [1, 2, 3]
    elif change == "nothing":
        frame[first] = ["one", None, "three"]
    else:
        frame[first] = [["one"], ["two"], ["three"]]
    write_table(path, frame)
    allowed = (change == "no row" and table.may_be_empty) or (
        change == "rows twice" and not table.key
    )
    if allowed:
        assert len(read_table(path)) == len(frame)
        return
    with pytest.raises(Problem) as caught:
        read_table(path)
    assert path.name in caught.value.what and table.stage in caught.value.what
    assert caught.value.fix == f"alignsd run --preset mini --run trial --force {table.stage[:2]}"


def test_half_numbers_are_no_whole_numbers(kit):
    with pytest.raises(Problem, match="(?s)a whole number in every row of the column n.*0.5"):
        tables.checked_table(right("arms").assign(n=[1, 0.5, 2]), "arms", "arms.parquet")
    with pytest.raises(Problem, match="column n"):
        tables.checked_table(right("arms").assign(n=True), "arms", "arms.parquet")
    with pytest.raises(Problem, match="column flawed"):
        tables.checked_table(
            right("image_metrics").assign(flawed=[0, 1, 2]), "image_metrics", "x.parquet"
        )


def test_only_the_columns_that_are_needed_are_asked_for():
    frame = right("images")[["arm", "prompt"]]
    assert tables.checked_table(frame, "images", "images.parquet", ("arm", "prompt")) is frame


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all", None])
def test_a_table_that_is_none_is_told_with_the_command(kit, content):
    path = place(kit, "images")
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(
        Problem,
        match=r"(?s)images\.parquet cannot be read.*alignsd run --preset mini --run trial --force 06",
    ):
        read_table(path)


def test_other_tables_are_not_looked_at(tmp_path):
    write_table(tmp_path / "images.parquet", pd.DataFrame({"x": np.arange(3)}))
    assert len(read_table(tmp_path / "images.parquet")) == 3
