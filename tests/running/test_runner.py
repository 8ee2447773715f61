import json

import pytest

from alignsd.base.errors import Problem, Stopped
from alignsd.kit import provenance, stage
from alignsd.kit.provenance import source_sha256
from alignsd.kit.records import expected_seconds, read_record
from alignsd.running import runner, tasks
from alignsd.running.company import Company
from alignsd.running.tasks import Request, prepare

BEGIN = "from alignsd.kit.stage import begin\n"
FIRST = (f'{BEGIN}stage = begin("01_first", globals())', 'stage.finish({"rate": rate})')
SECOND = (
    f'{BEGIN}stage = begin("02_second", globals(), needs=["01_first"])',
    "stage.finish({})",
)


@pytest.fixture
def two(notebook):
    notebook("01_first", "rate = 0.5  # rate", *FIRST)
    notebook("02_second", "steps = 10  # steps", *SECOND)


def plan(**options) -> list[tasks.Task]:
    """Return the tasks of a run with preset mini; the run is called mini unless it is named."""
    return prepare(Request(options.pop("run", "mini"), "mini", **options)).tasks


def run(**options) -> list[str]:
    """Plan and carry out a run; return the names of the notebooks that were run."""
    planned = plan(**options)
    for task in planned:
        if task.todo:
            runner.carry_out(task, Company())
        else:
            runner.leave(task)
    return [task.name for task in planned if task.todo]


def todo(**options) -> list[str]:
    return [task.name for task in plan(**options) if task.todo]


def reasons() -> list[str]:
    return [task.reason for task in plan()]


def test_run_skip_change_force(two, kit, notebook):
    assert run() == ["01_first", "02_second"]
    record = read_record("mini", "01_first")
    source = kit / "notebooks" / "01_first.ipynb"
    assert record["source_sha256"] == source_sha256(source)
    assert record["parameters"] == {"run": "mini", "rate": 0.5}
    assert record["preset"] == "mini"
    assert record["seconds"] > 0 and record["versions"]["python"]
    for name in ("mini", "new"):
        assert set(expected_seconds("mini", name)) == {"01_first", "02_second"}
    assert expected_seconds("smoke", "new") == {}
    assert run() == [], "finished notebooks are left alone"

    refusal = "(?s)rate = 0.25.*rate = 0.5.*alignsd clean --run mini --from 01"
    with pytest.raises(Problem, match=refusal):
        run(settings=["01.rate=0.25"])
    assert todo(settings=["01.rate=0.25"], force=True) == ["01_first", "02_second"]
    assert todo(only=["01"], force=True) == ["01_first"] and todo(only=["02"]) == []
    assert todo(run="other", start="02") == ["02_second"]

    notebook("01_first", "rate = 0.5  # rate", *FIRST, prose="better words")
    assert run() == []
    assert "better words" in (kit / "papermill_runs/mini/01_first.ipynb").read_text()
    assert read_record("mini", "01_first")["source_sha256"] == source_sha256(source)

    stale = kit / "papermill_runs/mini/stages/02_second/stale.txt"
    stale.write_text("x")
    notebook("02_second", "steps = 10  # steps", SECOND[0], "print(steps)", SECOND[1])
    assert run() == ["02_second"] and stale.exists(), "changed code runs again, over what is there"
    assert run(only=["02"], force=True) == ["02_second"]
    assert not stale.exists(), "--force starts from nothing"


def test_a_notebook_that_failed_is_not_finished_though_it_was_before(two, kit, notebook):
    """If it failed, the next run would go on from what the notebook was before it was changed."""
    run()
    notebook("01_first", "rate = 0.5  # rate", FIRST[0], "1 / 0", FIRST[1])
    with pytest.raises(Stopped, match="ZeroDivisionError"):
        run()
    assert reasons()[0] == "begun, not finished: goes on with what is there"
    notebook("01_first", "rate = 0.5  # rate", *FIRST)
    assert run() == ["01_first", "02_second"] and run() == []


def test_a_notebook_opened_by_hand_after_a_change_still_counts_as_changed(two, kit, notebook):
    """If it failed, the first cell, run in JupyterLab, would hide a change from the next run."""
    run()
    notebook("01_first", "rate = 0.5  # rate", FIRST[0], "print(rate)", FIRST[1])
    stage.begin("01_first", {"run": "mini", "rate": 0.5})
    assert reasons()[0].startswith("its code changed")


def test_new_weights_of_a_shipped_model_start_its_stages_anew(kit, notebook, monkeypatch):
    """If it failed, what the old weights drew would be compared with what the new ones draw."""
    model = kit / "weights" / "clip" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_text("first")
    monkeypatch.setattr(provenance, "SHIPPED", kit / "weights")
    notebook("02_second", "steps = 10  # steps", *SECOND)
    own_weights = (
        "from alignsd.base import paths\nfrom alignsd.kit import provenance\n"
        "provenance.SHIPPED = paths.root() / 'weights'\n"
    )
    code = (own_weights + FIRST[0], 'stage.finish({"clip": clip})')
    notebook("01_first", 'clip = "miniature/clip"  # model', *code)
    assert run() == ["01_first", "02_second"]
    assert run() == []
    stages = kit / "papermill_runs/mini/stages"
    stale = [stages / name / "stale.txt" for name in ("01_first", "02_second")]
    for path in stale:
        path.write_text("x")
    model.write_text("other")
    assert reasons() == [tasks.NEW_MODELS, "an earlier notebook runs again"]
    assert run() == ["01_first", "02_second"]
    assert not any(path.exists() for path in stale)
    assert run() == []


def test_a_folder_of_the_reader_s_own_that_changed_is_refused_before_anything_runs(kit, notebook):
    """If it failed, more parts of DiffusionDB would go unnoticed."""
    (kit / "data").mkdir()
    notebook("01_first", 'parts = "data"  # folder', FIRST[0], "stage.finish({})")
    assert run() == ["01_first"] and run() == []
    (kit / "data/part-000002.zip").write_text("x")
    refusal = "folder of parts.*a file of yours was changed.*alignsd clean --run mini --from 01"
    with pytest.raises(Problem, match=f"(?s){refusal}"):
        plan()
    assert run(force=True) == ["01_first"]


def test_a_finished_notebook_says_that_the_package_changed_since(two, kit, monkeypatch):
    run()
    assert reasons() == ["finished before"] * 2
    monkeypatch.setattr(tasks, "package_sha256", lambda: "other")
    first, _ = plan()
    assert not first.todo and "package changed" in first.reason
    assert first.reason.endswith("alignsd run --preset mini --run mini --force 01 redoes it")
    record = read_record("mini", "01_first")
    del record["package_sha256"]  # as an earlier version wrote it
    (kit / "papermill_runs/mini/01_first.json").write_text(json.dumps(record))
    assert reasons()[0] == "finished before"


def test_an_earlier_notebook_that_runs_again_takes_the_later_ones_along(two, kit):
    for name, needs in (("01_first", {}), ("02_second", {"01_first": "?"})):
        folder = kit / "papermill_runs/mini/stages" / name
        folder.mkdir(parents=True)
        settings = {"rate": 0.5} if name == "01_first" else {"steps": 10}
        config = {"settings": settings, "inputs": needs, "fingerprint": "0"}
        (folder / "config.json").write_text(json.dumps(config))
    assert reasons() == ["begun, not finished: goes on with what is there"] * 2


def test_a_notebook_must_report_its_results(notebook, kit):
    notebook("01_first", "rate = 0.5  # rate", FIRST[0])
    with pytest.raises(Problem, match=r"(?s)ended without a result.*stage.finish"):
        run()


def test_clean_deletes_stages_from_a_notebook_on_and_nothing_else(two, kit):
    folders = [kit / "papermill_runs/mini/stages" / name for name in ("01_first", "02_second")]
    for folder in folders:
        folder.mkdir(parents=True)
    kept = kit / "papermill_runs/mini/01_first.ipynb"
    kept.write_text("{}")
    assert list(runner.clean("mini", "02")) == folders[1:]
    prepared = kit / "papermill_runs/mini/ablations"
    prepared.mkdir()
    (prepared / "made").write_text("")
    assert list(runner.clean("mini", "02")) == []
    assert folders[0].exists() and kept.exists() and prepared.exists()
    assert list(runner.clean("mini")) == [folders[0], prepared]
    assert kept.exists() and not prepared.exists()
    with pytest.raises(Problem, match="no run 'none'"):
        list(runner.clean("none"))


def test_names_are_strict(two):
    with pytest.raises(Problem, match="no notebook '07'"):
        plan(only=["07"])
    with pytest.raises(Problem, match="No notebook is chosen"):
        plan(only=["01"], start="02")
    with pytest.raises(Problem, match="no preset 'mni'"):
        prepare(Request("mini", "mni"))
    with pytest.raises(Problem, match="cannot name a folder"):
        plan(run="../out")


def test_an_input_that_is_checked_again_may_change_until_the_notebook_is_finished(notebook, kit):
    """If it failed, hours of training would be lost because a file was put in place."""
    begin = f'{BEGIN}stage = begin("01_first", globals(), rechecked=["data"])'
    code = (
        'stage.path("work.txt").open("a").write("x")\n'
        "from alignsd.base.paths import user_path\n"
        'assert user_path(data).joinpath("ready").exists()'
    )
    notebook("01_first", 'data = "data"  # folder', begin, code, "stage.finish({})")
    (kit / "data").mkdir()
    with pytest.raises(Stopped, match="AssertionError"):
        run()
    (kit / "data" / "ready").write_text("now")
    assert run() == ["01_first"]
    work = kit / "papermill_runs/mini/stages/01_first/work.txt"
    assert work.read_text() == "xx", "what was there is kept"
    (kit / "data" / "more").write_text("later")
    with pytest.raises(Problem, match="folder of data"):
        run()
