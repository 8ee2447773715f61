"""Tables that a stage left: what is right passes, and each change by hand is told."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.kit import schemas, tables
from alignsd.kit.schemas import NUMBER, TABLES, TEXT, TEXTS, TRUTH, WHOLE
from alignsd.kit.tables import read_table, write_table

VALUES = {
    (TEXT, False): ["one", "two", "three"],
    (TEXT, True): ["one", None, "three"],
    (NUMBER, False): [1.5, -2.0, float("inf")],
    (NUMBER, True): [1.5, float("nan"), 3.0],
    (WHOLE, False): [1, 2, 3],
    (TRUTH, False): [True, False, True],
    (TRUTH, True): pd.array([True, None, False], dtype="boolean"),
    (TEXTS, False): [["one"], [], ["two", "three"]],
}


def right(name: str) -> pd.DataFrame:
    columns = {}
    for field in TABLES[name].schema:
        columns[field.name] = VALUES[field.type, field.nullable]
    return pd.DataFrame(columns)


def place(folder, name: str):
    """Return where a run's table lies."""
    table = TABLES[name]
    stage = folder / "papermill_runs" / "trial" / "stages" / table.stage
    inner = {"scores": "scores", "truth": "export", "provenance": "hpd"}.get(name, "")
    return stage / inner / table.file.replace("*", "000001")


def write_unchecked(path, table: pd.DataFrame) -> None:
    """Write a table as another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


EVERY = sorted(TABLES)


@pytest.mark.parametrize("name", EVERY)
def test_what_the_stage_writes_is_read(kit, name):
    path = place(kit, name)
    write_table(path, right(name))
    assert schemas.name_of(path) == name
    pd.testing.assert_frame_equal(read_table(path), right(name), check_dtype=False)


def test_a_column_that_may_be_absent_may_be_absent(kit):
    path = place(kit, "test_scores")
    write_table(path, right("test_scores").drop(columns="p"))
    assert "p" not in read_table(path)
    write_unchecked(path, right("test_scores").assign(p="x"))
    with pytest.raises(Problem, match="column p"):
        read_table(path)


@pytest.mark.parametrize("change", ["column gone", "text in numbers", "rows twice"])
def test_a_stage_does_not_write_another_table_than_is_declared(kit, change):
    path, table = place(kit, "arms"), right("arms")
    if change == "column gone":
        table = table.drop(columns="low")
    elif change == "text in numbers":
        table["low"] = "x"
    else:
        table = pd.concat([table, table])
    with pytest.raises(Problem, match="arms.parquet would not be the table that 07_evaluate"):
        write_table(path, table)
    assert not path.exists()


def test_a_list_of_something_else_is_no_list_of_texts(kit):
    for wrong in ([[1], ["a"], ["b"]], ["a", "b", "c"]):
        with pytest.raises(Problem, match="a list of texts in every row of the column file_names"):
            tables.checked_table(right("provenance").assign(file_names=wrong), "provenance", "x")


def test_every_column_has_a_meaning():
    for table in TABLES.values():
        for field in table.schema:
            assert field.metadata[b"meaning"], f"{table.file}: {field.name}"


def test_columns_without_any_value_are_right(kit):
    blind = right("image_metrics").assign(
        flawed=pd.array([None] * 3, dtype="boolean"), flaw=None, match=None, hps=None
    )
    path = place(kit, "image_metrics")
    write_table(path, blind)
    assert len(read_table(path)) == 3


CHANGES = ["column gone", "no row", "rows twice", "text", "numbers", "nothing", "mappings"]


def changed_by_hand(name: str, change: str) -> pd.DataFrame:
    """Return a table in which one thing is wrong."""
    schema = TABLES[name].schema
    frame, first = right(name), schema[0]
    numbers = [field.name for field in schema if field.type in (NUMBER, WHOLE)]
    last = numbers[-1] if numbers else first.name
    if change == "column gone":
        needed = [field.name for field in schema if field.name not in TABLES[name].optional]
        return frame.drop(columns=needed[-1])
    if change == "no row":
        return frame.head(0)
    if change == "rows twice":
        return pd.concat([frame, frame.tail(1)])
    if change == "text":
        return frame.assign(**{last: "x"})
    if change == "numbers":
        return frame.assign(**{first.name: [0.5, 1.5, 2.5]})
    if change == "nothing":
        return frame.assign(**{first.name: [frame[first.name][0], None, frame[first.name][2]]})
    return frame.assign(**{first.name: [{"a": 1}, {"a": 2}, {"a": 3}]})


def is_right(name: str, change: str) -> bool:
    """Return whether a change leaves a table that the stage might have written."""
    table = TABLES[name]
    first_is_number = table.schema[0].type == NUMBER
    return (
        (change == "no row" and table.may_be_empty)
        or (change == "rows twice" and not table.key)
        or (change == "numbers" and first_is_number)
    )


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_hand_is_told_where_the_table_is_read(kit, name, change):
    table, path, frame = TABLES[name], place(kit, name), changed_by_hand(name, change)
    write_unchecked(path, frame)
    if is_right(name, change):
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
    command = "alignsd run --preset mini --run trial --force 06"
    with pytest.raises(Problem, match=rf"(?s)images\.parquet cannot be read.*{command}"):
        read_table(path)


def test_other_tables_are_not_looked_at(tmp_path):
    write_table(tmp_path / "images.parquet", pd.DataFrame({"x": np.arange(3)}))
    assert len(read_table(tmp_path / "images.parquet")) == 3
