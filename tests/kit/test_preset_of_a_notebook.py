"""A notebook in JupyterLab takes the values of its run's preset, by the name of the run alone."""

import json

import pytest

from alignsd.kit import stage, variations
from alignsd.kit.lineage import read_run
from alignsd.kit.stage import begin
from alignsd.kit.values import presets

OWN = {"seed": 0, "rate": 0.5, "sizes": [1, 2], "noisy": True}  # the notebook's own values
CELL = "seed = 0  # seed\nrate = 0.5  # rate\nsizes = [1, 2]  # sizes\nnoisy = True  # noise"
PRESET = '"01":\n  rate: 0.25  # rate\n  sizes: []  # sizes\n  noisy: no  # noise\n'


@pytest.fixture
def person(monkeypatch):
    monkeypatch.setattr(stage, "has_person", lambda: True)


@pytest.fixture(autouse=True)
def quick(notebook, kit, monkeypatch):
    """One notebook, and a preset ``quick`` beside it."""
    notebook("01_first", CELL)
    folder = kit / "presets"
    folder.mkdir()
    (folder / "quick.yaml").write_text(PRESET)
    monkeypatch.setattr(presets, "PRESETS", folder)
    monkeypatch.delenv(stage.HEADLESS, raising=False)


def variables(run: str, **changes: object) -> dict:
    return OWN | {"run": run} | changes


def test_the_name_of_a_preset_as_the_run_gives_the_presets_values(person, kit, capsys):
    values = variables("quick")
    opened = begin("01_first", values)
    assert values == variables("quick", rate=0.25, sizes=[], noisy=False), "for the later cells"
    assert opened.settings == values and opened.run == "quick"
    printed = capsys.readouterr().out
    assert printed == "Preset quick: rate = 0.25, sizes = [], noisy = False.\n"
    opened.finish({"loss": 1})
    config = json.loads((kit / "papermill_runs/quick/stages/01_first/config.json").read_text())
    assert config["settings"] == OWN | {"rate": 0.25, "sizes": [], "noisy": False}
    assert read_run("quick") == {"preset": "quick"}, "alignsd run --run quick goes on with it"


def test_a_value_that_the_reader_has_changed_stays(person, capsys):
    values = variables("quick", rate=0.75)
    assert begin("01_first", values).settings["rate"] == values["rate"] == 0.75
    assert "rate" not in capsys.readouterr().out


def test_a_changed_value_on_top_of_a_preset_makes_a_variation(person, kit, capsys):
    begin("01_first", variables("quick")).finish({"loss": 1})
    finished = kit / "papermill_runs/quick/stages/01_first/metrics.json"
    before = finished.read_bytes()
    opened = begin("01_first", variables("quick", rate=0.75))
    assert opened.run == "quick-01-rate-0.75"
    assert opened.settings["sizes"] == [] and opened.settings["noisy"] is False
    assert "rate = 0.75 instead of 0.25" in capsys.readouterr().out
    assert read_run(opened.run)["preset"] == "quick" and finished.read_bytes() == before


def test_the_cell_with_begin_may_run_again_alone(person, capsys):
    values = variables("quick")
    begin("01_first", values).finish({"loss": 1})
    capsys.readouterr()
    opened = begin("01_first", values)
    assert opened.run == "quick" and capsys.readouterr().out == ""


def test_a_run_of_another_name_takes_the_values_of_its_own_preset(person):
    variations.note_run("lab-quick", "quick", "quick")
    begin("01_first", variables("quick")).finish({"loss": 1})
    opened = begin("01_first", variables("lab-quick"))
    assert opened.settings["rate"] == 0.25 and opened.run == "lab-quick"


@pytest.mark.parametrize("run", ["mini", "trial"])
def test_other_runs_keep_the_notebooks_own_values(person, kit, run, capsys):
    values = variables(run)
    begin("01_first", values)
    assert values == variables(run) and capsys.readouterr().out == ""


def test_a_preset_in_a_file_of_the_readers_own_gives_no_values(person, kit):
    (kit / "mine.yaml").write_text(PRESET)
    variations.note_run("trial", "mine.yaml")
    values = variables("trial")
    begin("01_first", values)
    assert values == variables("trial")


@pytest.mark.parametrize("headless", ["", "1"])
def test_in_batch_nothing_changes(kit, monkeypatch, headless, capsys):
    """papermill has no person at its kernel; ``alignsd run`` says so with a variable as well."""
    if headless:
        monkeypatch.setattr(stage, "has_person", lambda: True)
        monkeypatch.setenv(stage.HEADLESS, headless)
    values = variables("quick")
    begin("01_first", values)
    assert values == variables("quick") and capsys.readouterr().out == ""
    assert not (kit / "papermill_runs/quick/run.json").exists()
