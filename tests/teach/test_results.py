"""Finished stages are found in a run or in the run that the run varies; nothing is written."""

import json

import pytest

from alignsd.base.errors import Problem
from alignsd.base.paths import run_dir, stage_dir
from alignsd.teach import results

STAGE = "02_train_hps"


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """A run with one finished stage."""
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(tmp_path))
    finished("mini")
    return tmp_path


def finished(run: str) -> None:
    folder = stage_dir(run, STAGE)
    (folder / "scores").mkdir(parents=True)
    for name in ("config.json", "metrics.json", "scores/part.txt"):
        (folder / name).write_text("{}")


def varied(run: str, parent: str) -> None:
    run_dir(run).mkdir()
    (run_dir(run) / "run.json").write_text(json.dumps({"preset": "smoke", "parent": parent}))


def test_a_file_and_a_folder_of_a_finished_stage(mini):
    assert results.of("mini", STAGE) == stage_dir("mini", STAGE)
    assert results.of("mini", STAGE, "scores", "part.txt").read_text() == "{}"


def test_a_variation_reads_the_stages_of_its_parent(mini):
    varied("trial", "mini")
    varied("again", "trial")
    assert results.of("again", STAGE, "scores") == stage_dir("mini", STAGE) / "scores"


def test_a_stage_that_is_not_finished_is_told_with_the_command(mini):
    with pytest.raises(Problem) as problem:
        results.of("mini", "04_select_images", "picks.parquet")
    assert "alignsd run --preset mini --run mini 00 01 02 03 04" in problem.value.fix
    (stage_dir("mini", STAGE) / "metrics.json").unlink()
    with pytest.raises(Problem, match="02_train_hps"):
        results.of("mini", STAGE, "scores")


def test_a_missing_file_is_told(mini):
    with pytest.raises(Problem) as problem:
        results.of("mini", STAGE, "other.parquet")
    assert "--force 02" in problem.value.fix


def test_an_unknown_run_is_told(mini):
    with pytest.raises(Problem, match="minni"):
        results.of("minni", STAGE)


def test_nothing_is_written(mini):
    before = sorted(mini.rglob("*"))
    results.of("mini", STAGE, "scores")
    assert sorted(mini.rglob("*")) == before
