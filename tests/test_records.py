import pytest

from alignsd.atomic import write_json
from alignsd.errors import Problem
from alignsd.records import expected_seconds, note_preset, preset_of, read_record, record_path


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
    assert read_record("quick", "01_a")["seconds"] == 1 and preset_of("quick") == "smoke"
    note_preset("fresh", "smoke")
    assert preset_of("fresh") == "smoke", "known before the first notebook ends"
    record_path("quick", "01_a").write_text("{")
    with pytest.raises(Problem, match="(?s)cannot be read.*delete papermill_runs/quick/01_a.json"):
        read_record("quick", "01_a")
