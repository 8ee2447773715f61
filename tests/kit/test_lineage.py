"""Runs with a parent: what a variation reads, what it makes, and that its parent stays as it is."""

import json
from pathlib import Path

import pytest

from alignsd.base.errors import Problem, Stopped
from alignsd.figures import publish
from alignsd.kit import lineage, variations
from alignsd.kit.records import read_json
from alignsd.kit.stage import begin
from alignsd.kit.stage_record import input_state, read_metrics
from alignsd.running import runner
from alignsd.running.tasks import Request, prepare

BEGIN = "from alignsd.kit.stage import begin\nstage = begin({name!r}, globals(), needs={needs})"
BODIES = {
    "01_first": (
        "rate = 0.5  # rate",
        [],
        'stage.path("a.txt").write_text(str(rate))',
        'stage.finish({"rate": rate})',
    ),
    "02_second": (
        "steps = 10  # steps",
        ["01_first"],
        'text = stage.input("01_first", "a.txt").read_text()',
        'stage.finish({"read": text, "steps": steps})',
    ),
    "03_third": ("size = 1  # size", ["02_second"], "size", 'stage.finish({"size": size})'),
}


@pytest.fixture
def three(notebook):
    for name, (parameters, needs, *code) in BODIES.items():
        notebook(name, parameters, BEGIN.format(name=name, needs=needs), *code)


def run(name: str = "mini", **options) -> list[str]:
    """Carry out a run as the command does; return the names of the notebooks that were run."""
    plan = prepare(Request(name, **options))
    runner.note(plan)
    for task in plan.tasks:
        (runner.carry_out if task.todo else runner.leave)(task)
    return [task.name for task in plan.tasks if task.todo]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_variation_makes_only_what_a_changed_value_touches(three, kit):
    assert run() == ["01_first", "02_second", "03_third"]
    before = files(kit / "papermill_runs/mini")
    assert run("trial", parent="mini", settings=["02.steps=20"]) == ["02_second", "03_third"]
    assert files(kit / "papermill_runs/mini") == before, "the parent is neither copied nor changed"
    assert read_metrics("trial", "02_second") | {"seconds": 0, "peak_memory_mib": 0} == {
        "read": "0.5",
        "steps": 20,
        "seconds": 0,
        "peak_memory_mib": 0,
    }
    assert read_metrics("trial", "01_first") == read_metrics("mini", "01_first")
    assert not (kit / "papermill_runs/trial/stages/01_first").exists()
    record = read_json(kit / "papermill_runs/trial/run.json")
    assert record["preset"] == "mini"
    assert record["parent"] == "mini"
    assert record["settings"] == ["02.steps=20"]
    assert record["parent_stages"] == {name: input_state("mini", name) for name in BODIES}
    assert run("trial") == [], "run.json remembers parent and settings"
    with pytest.raises(Problem, match="(?s)steps = 30.*--from-run trial"):
        run("trial", settings=["02.steps=30"])


def test_a_variation_of_a_variation_adds_up(three, kit):
    run()
    run("one", parent="mini", settings=["02.steps=20"])
    assert run("two", parent="one", settings=["03.size=2"]) == ["03_third"]
    assert read_metrics("two", "02_second")["steps"] == 20
    assert read_metrics("two", "03_third")["size"] == 2
    assert lineage.in_words("two") == "mini with 02.steps=20, 03.size=2"
    assert lineage.in_words("mini") == ""
    origin = publish.origin("two", "03_third", ["02_second/a.parquet"])
    assert origin["variation"] == "mini with 02.steps=20, 03.size=2"
    assert origin["stages"] == {"02_second": input_state("one", "02_second")}


def test_a_variation_keeps_values_that_its_parent_was_made_with(three):
    run("seeded", settings=["01.rate=0.25"])
    assert run("child", parent="seeded", settings=["03.size=2"]) == ["03_third"]
    assert read_metrics("child", "01_first")["rate"] == 0.25


def test_one_notebook_of_a_variation(three):
    run()
    assert run("trial", parent="mini", settings=["02.steps=20"], only=["02"]) == ["02_second"]
    assert run("trial") == ["03_third"]


def test_a_run_without_earlier_stages_is_told_whose_it_can_read(three):
    with pytest.raises(
        Stopped, match=r"(?s)01_first of run 'trial' is not finished(?!.*--from-run)"
    ):
        run("trial", only=["02"], preset="mini")
    run()
    with pytest.raises(Stopped, match="alignsd run --run trial --from-run mini"):
        run("trial", only=["02"], preset="mini")
    assert run("trial", parent="mini", settings=["02.steps=20"], only=["02"]) == ["02_second"]


def test_an_unchanged_variation_reads_everything(three, kit):
    run()
    assert run("same", parent="mini") == []
    assert lineage.in_words("same") == "mini, unchanged"


def test_a_parent_that_ran_again_is_noticed(three, kit):
    run()
    run("trial", parent="mini", settings=["02.steps=20"])
    path = kit / "papermill_runs/mini/stages/01_first/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rate": 0.75}))
    assert [t.reason for t in prepare(Request("trial", "mini")).tasks][1] == "its inputs changed"


@pytest.mark.parametrize(
    ("name", "parent", "words"),
    [
        ("trial", "none", "no run 'none'"),
        ("mini", "mini", "exists already, without"),
        ("new", "new", "no run 'new'"),
        ("other", "mini", "exists already, without"),
    ],
)
def test_impossible_parents_are_told(three, kit, name, parent, words):
    run()
    (kit / "papermill_runs/other/stages/01_first").mkdir(parents=True)
    (kit / "papermill_runs/other/stages/01_first/config.json").write_text("{}")
    with pytest.raises(Problem, match=words):
        prepare(Request(name, "mini", parent=parent))


def test_another_parent_and_a_circle_are_told(three, kit):
    run()
    run("one", parent="mini", settings=["03.size=2"])
    run("two", parent="one", settings=["03.size=3"])
    with pytest.raises(Problem, match="--from-run mini"):
        prepare(Request("one", "mini", parent="two"))
    (kit / "papermill_runs/mini/run.json").write_text('{"preset": "mini", "parent": "two"}')
    with pytest.raises(Problem, match="one -> mini -> two -> one"):
        lineage.lineage("one")


@pytest.mark.parametrize(
    "content", ["[]", "3", '{"parent": 3}', '{"settings": [1]}', "{", "", '{"preset": null}']
)
def test_a_damaged_run_record_is_told(three, kit, content):
    (kit / "papermill_runs/mini").mkdir(parents=True)
    (kit / "papermill_runs/mini/run.json").write_text(content)
    with pytest.raises(Problem, match="run.json"):
        lineage.read_run("mini")


def test_a_changed_value_in_a_notebook_makes_a_variation(three, kit, capsys):
    """Change a value, press Run All: nothing is refused and nothing is overwritten."""
    run()
    before = files(kit / "papermill_runs/mini")
    live = {"run": "mini", "steps": 25}
    opened = begin("02_second", live, needs=["01_first"])
    assert opened.run == "mini-02-steps-25"
    assert "variation of run mini: steps = 25 instead of 10" in capsys.readouterr().out
    assert opened.input("01_first", "a.txt").read_text() == "0.5"
    opened.finish({"steps": 25})
    assert files(kit / "papermill_runs/mini") == before
    again = begin("02_second", dict(live), needs=["01_first"])
    assert again.run == "mini-02-steps-25", "the same change, the same run"
    again.finish({"steps": 25})
    capsys.readouterr()
    unchanged = begin("02_second", {"run": "mini", "steps": 10}, needs=["01_first"])
    assert unchanged.run == "mini" and capsys.readouterr().out == ""
    assert lineage.in_words("mini-02-steps-25") == "mini with 02.steps=25"
    assert run("mini-02-steps-25") == ["02_second", "03_third"], (
        "the executed copy of 02 is missing; 03 follows"
    )


def test_a_run_that_reads_its_parent_varies_too(three, kit):
    """Run lab reads run mini; a change in lab must not mix with what mini made of the old value."""
    run()
    variations.note_run("lab", "mini", "mini")
    begin("02_second", {"run": "lab", "steps": 10}, needs=["01_first"]).finish(
        {"read": "0.5", "steps": 10}
    )
    assert (kit / "papermill_runs/lab/stages/02_second/metrics.json").exists()
    assert begin("03_third", {"run": "lab", "size": 5}, needs=["02_second"]).run == "lab-03-size-5"
    assert lineage.in_words("lab-03-size-5") == "mini with 03.size=5"


def test_names_of_variations_can_name_folders_and_differ():
    names = [
        variations.variation_name("mini", "02", changes)
        for changes in (
            {"a": 1},
            {"a": 1.5},
            {"a": "x/y"},
            {"a": "x y"},
            {"a": [1, 2]},
            {"a": "x" * 200},
            {"a": "x" * 201},
            {"a": ""},
            {"a": -1},
            {"a": 1, "b": True},
            {"a": "\u00fc"},
        )
    ]
    assert len(set(names)) == len(names)
    assert all(lineage.run_dir(name) and len(name) <= 60 for name in names)
