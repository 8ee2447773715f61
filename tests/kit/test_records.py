import pytest

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.kit.records import expected_seconds, known_work, preset_of, read_record, record_path
from alignsd.kit.variations import note_run


def put(run: str, name: str, preset: str, seconds: float) -> None:
    write_json(record_path(run, name), {"notebook": name, "preset": preset, "seconds": seconds})


def test_expected_time_is_the_runs_own_or_that_of_another_run_of_the_preset(kit):
    put("mini", "01_a", "mini", 10)
    put("mini", "02_b", "mini", 20)
    put("trial", "01_a", "mini", 11)
    put("quick", "01_a", "smoke", 1)
    assert expected_seconds("mini", "trial") == {"01_a": 11, "02_b": 20}
    assert expected_seconds("mini", "new") == {"01_a": 11, "02_b": 20}
    assert expected_seconds("smoke", "trial") == {"01_a": 1}


def test_records_are_read_back_and_damage_is_told(kit):
    assert read_record("mini", "01_a") is None and preset_of("mini") == "mini"
    put("quick", "01_a", "smoke", 1)
    assert read_record("quick", "01_a")["seconds"] == 1
    assert preset_of("quick") == "smoke"
    note_run("fresh", "smoke")
    assert preset_of("fresh") == "smoke", "known before the first notebook ends"
    record_path("quick", "01_a").write_text("{")
    with pytest.raises(Problem, match="(?s)cannot be read.*delete papermill_runs/quick/01_a.json"):
        read_record("quick", "01_a")


FOREIGN = [
    ["my notes"],
    {"notes": 1},
    {"preset": "smoke", "notebook": "01_notes"},
    {"preset": "smoke", "notebook": "01_notes", "seconds": 5},
    "text",
    5,
    None,
]


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("name", ["01_notes", "01_a-Copy1", "01_a (1)", "notes"])
def test_a_file_of_somebodys_own_in_another_run_is_no_record(notebook, kit, name, content):
    notebook("01_a", "seed = 0  # seed")
    write_json(kit / "papermill_runs" / "mine" / f"{name}.json", content)
    assert expected_seconds("smoke", "trial") == {} == known_work("smoke", "trial")
    assert preset_of("mine") == "mini"


DAMAGED = {
    "merge": b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n",
    "cut": b'{"notebook": "01_a", "prese',
    "empty": b"",
    "latin-1": '{"preset": "caf\xe9"}'.encode("latin-1"),
    "UTF-16": '{"preset": "smoke"}'.encode("utf-16"),
    "deep": b"[" * 100_000,
    "digits": b'{"notebook": "01_a", "preset": "smoke", "seconds": ' + b"9" * 5000 + b"}",
    "no seconds": b'{"notebook": "01_a", "preset": "smoke"}',
    "another": b'{"notebook": "02_b", "preset": "smoke", "seconds": 3}',
    "list": b"[]",
    "null": b"null",
} | {
    f"seconds {value}": f'{{"notebook": "01_a", "preset": "smoke", "seconds": {value}}}'.encode()
    for value in ("null", "true", '"3"', "[]", "NaN", "Infinity", "-3600", "1e400", "1" + "0" * 400)
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_record_of_another_run_tells_nothing(notebook, kit, kind):
    notebook("01_a", "seed = 0  # seed")
    notebook("02_b", "seed = 0  # seed")
    put("good", "02_b", "smoke", 7)
    path = record_path("mine", "01_a")
    path.parent.mkdir(parents=True)
    path.write_bytes(DAMAGED[kind])
    assert expected_seconds("smoke", "trial") == {"02_b": 7}
    assert path.read_bytes() == DAMAGED[kind], "another run is not touched"


def test_an_unreadable_folder_of_another_run_does_not_matter(notebook, kit, monkeypatch):
    notebook("01_a", "seed = 0  # seed")
    put("mine", "01_a", "smoke", 7)
    (kit / "papermill_runs" / "a folder").mkdir()
    (kit / "papermill_runs" / "link").symlink_to(kit / "nowhere")
    (record_path("folders", "01_a")).mkdir(parents=True)
    closed = record_path("closed", "01_a")
    closed.parent.mkdir()
    closed.write_text("{}")
    read_bytes = type(closed).read_bytes

    def refuse(self):
        if self == closed:
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)

    monkeypatch.setattr(type(closed), "read_bytes", refuse)
    assert expected_seconds("smoke", "trial") == {"01_a": 7}
    with pytest.raises(Problem, match="no permission") as told:
        read_record("closed", "01_a")
    assert "delete" not in str(told.value), "the file may be another user's"


@pytest.mark.parametrize("content", ["null", "[]", "5", '"text"', "NaN"])
def test_a_record_of_another_shape_is_named(notebook, kit, content):
    notebook("01_a", "seed = 0  # seed")
    path = record_path("trial", "01_a")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    if content == "null":
        (path.parent / "run.json").write_text("null")
    with pytest.raises(Problem, match="(?s)trial/01_a.json is no record.*run its notebook again"):
        read_record("trial", "01_a")
    assert preset_of("trial") == "mini"


@pytest.mark.parametrize(
    "content", ["null", "[]", "5", "{", "{}", '{"preset": null}', '{"preset": ["a"]}', "[" * 9999]
)
def test_a_run_json_of_any_shape_leaves_the_records_to_tell_the_preset(notebook, kit, content):
    notebook("01_a", "seed = 0  # seed")
    put("trial", "01_a", "smoke", 1)
    (kit / "papermill_runs" / "trial" / "run.json").write_text(content)
    assert preset_of("trial") == "smoke"
