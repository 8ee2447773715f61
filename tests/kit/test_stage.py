import json
import subprocess
import sys

import pytest

from alignsd.base.errors import Problem
from alignsd.kit import locks, provenance, stage, stage_record
from alignsd.kit.stage import begin
from alignsd.kit.stage_record import read_metrics

FIRST = {"run": "mini", "seed": 0, "rate": 0.5}


@pytest.fixture
def two(notebook):
    notebook("01_first", "seed = 0  # seed\nrate = 0.5  # rate")
    notebook("02_second", 'steps = 10  # steps\ndevice = "auto"  # device')


def second(**changes):
    return begin(
        "02_second", {"run": "mini", "steps": 10, "device": "auto", **changes}, needs=["01_first"]
    )


def test_a_stage_keeps_its_settings_and_reports_its_cost(two, kit):
    first = begin("01_first", FIRST | {"rate": 1, "other": 3})
    assert first.settings == {"run": "mini", "seed": 0, "rate": 1.0}
    first.path("deep", "a.txt").write_text("x")
    first.finish({"loss": 0.25})
    assert read_metrics("mini", "01_first")["loss"] == 0.25
    assert read_metrics("mini", "01_first")["peak_memory_mib"] > 10
    assert read_metrics("mini", "01_first")["seconds"] >= 0
    config = json.loads((kit / "papermill_runs/mini/stages/01_first/config.json").read_text())
    assert config["settings"] == {"seed": 0, "rate": 1.0}
    assert config["versions"]["torch"]


def test_inputs_are_found_and_missed_ones_are_named(two):
    first = begin("01_first", FIRST)
    first.path("a.txt").write_text("x")
    first.finish({})
    assert second().input("01_first", "a.txt").read_text() == "x"
    with pytest.raises(
        Problem,
        match="(?s)b.txt of 01_first is missing.*alignsd run --preset mini --run mini --force 01",
    ):
        second().input("01_first", "b.txt")
    with pytest.raises(Problem, match="without saying so"):
        first.input("02_second", "a.txt")


def test_an_unfinished_input_is_refused_with_the_command_that_makes_it(two):
    begin("01_first", FIRST)
    with pytest.raises(
        Problem,
        match="(?s)01_first of run 'mini' is not finished.*alignsd run --preset mini --run mini 01",
    ):
        second()


def test_a_folder_made_with_other_settings_is_refused_in_a_headless_run(two, monkeypatch):
    monkeypatch.setenv(stage.HEADLESS, "1")
    begin("01_first", FIRST).finish({})
    with pytest.raises(Problem, match="(?s)seed = 1.*seed = 0.*alignsd clean --run mini --from 01"):
        begin("01_first", FIRST | {"seed": 1})
    second()
    second(device="cpu")  # where it runs does not matter
    begin("01_first", FIRST | {"run": "other", "seed": 1})


def test_a_folder_made_from_other_results_is_refused(two, kit):
    begin("01_first", FIRST).finish({"loss": 0.25})
    second()
    file = kit / "papermill_runs/mini/stages/01_first/metrics.json"
    metrics = json.loads(file.read_text())
    assert set(stage_record.MEASURED) == set(metrics) - {"loss"}
    file.write_text(json.dumps(metrics | {"seconds": 1e6, "peak_memory_mib": 1}))
    second()  # as before: what was measured of the machine is no result
    begin("01_first", FIRST).finish({"loss": 0.5})
    with pytest.raises(
        Problem, match="(?s)other settings or from other inputs.*01_first.*--from 02"
    ):
        second()


def test_a_result_counts_whatever_its_name_is(two):
    begin("01_first", FIRST).finish({"seconds_per_step": 1})
    second()
    begin("01_first", FIRST).finish({"seconds_per_step": 2})
    with pytest.raises(Problem, match="other settings or from other inputs"):
        second()


@pytest.mark.parametrize("act", [lambda s: s.path("a.txt"), lambda s: s.finish({})])
@pytest.mark.parametrize(
    "changed", [{"rate": 0.25}, {"rate": True}, {"seed": "0"}, {"run": "other"}]
)
def test_a_value_that_is_changed_after_begin_is_refused(two, kit, act, changed):
    """Otherwise a finished stage would be overwritten, and config.json would keep the old value."""
    begin("01_first", FIRST).finish({"loss": 1})
    metrics = kit / "papermill_runs/mini/stages/01_first/metrics.json"
    before = metrics.read_text()
    live = dict(FIRST)
    opened = begin("01_first", live)
    live.update(changed)
    with pytest.raises(
        Problem, match="(?s)changed after 01_first had begun.*run the cell with begin"
    ):
        act(opened)
    assert metrics.read_text() == before
    live.update(FIRST | {"rate": 0.5, "more": 1})
    opened.path("a.txt")
    opened.finish({"loss": 1})


def test_an_opened_finished_stage_keeps_its_record(two, kit, monkeypatch):
    begin("01_first", FIRST).finish({})
    config = kit / "papermill_runs/mini/stages/01_first/config.json"
    before = config.read_text()
    monkeypatch.setattr(stage, "versions", lambda: {"torch": "of another time"})
    begin("01_first", FIRST)
    assert config.read_text() == before


def test_what_is_checked_again_may_change_until_the_stage_is_finished(notebook, kit):
    (kit / "scores.txt").write_text("1")
    notebook("01_first", 'table = "scores.txt"  # file\nrate = 0.5  # rate')
    values = {"run": "mini", "table": "scores.txt", "rate": 0.5}
    begin("01_first", values, rechecked=["table"])
    (kit / "scores.txt").write_text("2")
    with pytest.raises(Problem, match="file of table"):
        begin("01_first", values)
    begin("01_first", values, rechecked=["table"]).finish({})
    (kit / "scores.txt").write_text("3")
    with pytest.raises(Problem, match="file of table"):
        begin("01_first", values, rechecked=["table"])


def test_a_stage_that_was_made_from_an_older_result_is_refused_as_an_input(two, notebook):
    notebook("03_third", "size = 1  # size")
    begin("01_first", FIRST).finish({"loss": 1})
    second().finish({})
    begin("03_third", {"run": "mini", "size": 1}, needs=["02_second"])
    begin("01_first", FIRST).finish({"loss": 2})
    with pytest.raises(
        Problem, match="(?s)02_second does not belong to the present stage 01_first.*--from 02"
    ):
        begin("03_third", {"run": "mini", "size": 1}, needs=["02_second"])


@pytest.mark.parametrize(
    "hurt",
    [
        lambda path: path.write_text('{"rows": 2}'),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
    ],
)
@pytest.mark.parametrize("asked", ["tables", "tables/rows.json"])
def test_a_table_that_was_edited_by_hand_is_noticed_where_it_is_read(two, hurt, asked):
    first = begin("01_first", FIRST)
    for name in ("tables/rows.json", "tables/other.json", "note.json", "picture.png"):
        first.path(*name.split("/")).write_text('{"rows": 1}')
    first.finish({})
    later = second()
    assert later.input("01_first", *asked.split("/")).exists()
    first.path("picture.png").write_text("redrawn")
    hurt(first.path("tables", "rows.json"))
    with pytest.raises(
        Problem, match="(?s)(rows.json of 01_first is not as|is missing).*--force 01"
    ):
        later.input("01_first", *asked.split("/"))
    assert later.input("01_first", "note.json").exists(), "other tables can still be read"
    first.path("tables", "rows.json").write_text('{"rows": 1}')
    assert later.input("01_first", *asked.split("/")).exists()


def test_a_later_notebook_takes_a_value_from_the_stage_that_recorded_it(two):
    begin("01_first", FIRST | {"rate": 0.25}).finish({})
    opened = second()
    assert opened.recorded("01_first", "rate") == 0.25
    assert opened.recorded("01_first", "rate", own=0.25) == 0.25
    with pytest.raises(Problem, match="(?s)rate of 02_second differs.*rate = 0.25.*rate = 0.5"):
        opened.recorded("01_first", "rate", own=0.5)
    with pytest.raises(Problem, match="did not record 'size'"):
        opened.recorded("01_first", "size")


def test_missing_and_wrong_variables_are_named(two):
    with pytest.raises(Problem, match="no rate"):
        begin("01_first", {"run": "mini", "seed": 0})
    with pytest.raises(Problem, match="wrong kind"):
        begin("01_first", FIRST | {"seed": "0"})
    with pytest.raises(Problem, match="no notebook '05_none'"):
        begin("05_none", FIRST)


def test_damaged_metrics_are_told(two, kit):
    begin("01_first", FIRST).finish({})
    (kit / "papermill_runs/mini/stages/01_first/metrics.json").write_text("{")
    with pytest.raises(Problem, match="(?s)is damaged.*alignsd clean"):
        read_metrics("mini", "01_first")


def test_hashes_see_code_and_prose_but_no_outputs(notebook):
    path = notebook("01_first", "seed = 0  # seed", "print(1)", prose="a")
    code, source = provenance.code_sha256(path), provenance.source_sha256(path)
    cells = json.loads(path.read_text())
    cells["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    path.write_text(json.dumps(cells))
    assert (provenance.code_sha256(path), provenance.source_sha256(path)) == (code, source)
    notebook("01_first", "seed = 0  # seed", "print(1)", prose="b")
    assert provenance.code_sha256(path) == code
    assert provenance.source_sha256(path) != source
    notebook("01_first", "seed = 0  # seed", "print(2)", prose="a")
    assert provenance.code_sha256(path) != code


def test_the_package_s_hash_sees_its_code(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "kit" / "provenance.py"))
    before = provenance.package_sha256()
    (tmp_path / "data.yaml").write_text("x: 1")
    assert provenance.package_sha256() == before
    (tmp_path / "a.py").write_text("x = 2")
    assert provenance.package_sha256() != before


def test_a_variation_reuses_work_that_fits(notebook, kit):
    notebook("01_first", 'rate = 0.5  # rate\ncolour = "red"  # colour')
    first = begin("01_first", {"run": "mini", "rate": 0.5, "colour": "red"})
    first.path("checkpoint.pt").write_text("made with 0.5")
    first.finish({})

    def reused(**changes):
        values = {"run": "mini", "rate": 0.5, "colour": "red"} | changes
        opened = begin("01_first", values)
        return opened.reused(
            "checkpoint.pt", lambda file: file.read_text() == f"made with {values['rate']}"
        )

    variation = reused(colour="blue")
    assert "mini-01-colour-blue" in str(variation)
    assert variation.read_text() == "made with 0.5"
    assert not reused(rate=0.25).exists()
    assert first.path("checkpoint.pt").read_text() == "made with 0.5"
    variation.write_text("made with another")
    assert reused(colour="blue").read_text() == "made with another", (
        "its own file is never replaced"
    )


def test_a_stage_that_could_not_begin_is_not_held(two, kit, monkeypatch):
    monkeypatch.setenv(stage.HEADLESS, "1")
    begin("01_first", FIRST).finish({})
    with pytest.raises(Problem, match="other settings"):
        begin("01_first", FIRST | {"seed": 1})
    hold = (
        "import sys; from alignsd.kit import locks; "
        "locks.hold(sys.argv[1], 'another process', patience=0)"
    )
    path = locks.stage_lock("mini", "01_first")
    done = subprocess.run([sys.executable, "-c", hold, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stage_remembers_what_was_read(two, kit):
    first = begin("01_first", FIRST)
    first.path("a.txt").write_text("x")
    first.path("pictures", "b.png").write_text("x")
    first.finish({})
    opened = second()
    own = kit / "own.txt"
    own.write_text("x")
    paths = [
        opened.input("01_first", "pictures"),
        opened.input("01_first", "a.txt"),
        opened.input("01_first", "a.txt", instead="own.txt"),
    ]
    assert list(opened.read.values()) == ["01_first/pictures", "01_first/a.txt", "own.txt"]
    assert opened.files_of(*paths) == ["01_first/pictures", "01_first/a.txt", "own.txt"]
    assert opened.files_of(paths[1]) == ["01_first/a.txt"]
    with pytest.raises(Problem, match="c.txt was not read from an earlier stage"):
        opened.files_of(kit / "c.txt")
