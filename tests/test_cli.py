import json

import pytest
from typer.testing import CliRunner

from alignsd import cli
from alignsd.errors import Problem


def call(*arguments: str):
    return CliRunner().invoke(cli.app, arguments, catch_exceptions=True)


@pytest.fixture
def first(notebook):
    return notebook("01_first", "rate = 0.5  # per step; the paper: 1e-5\nseed = 0  # seed")


def test_dry_run_marks_what_differs(first, kit):
    done = call("run", "--set", "seed=2", "--dry-run")
    assert done.exit_code == 0 and not (kit / "papermill_runs").exists()
    assert done.output.splitlines() == [
        "01_first: runs (not run yet)", "    run = 'mini'  # name of the run", "    rate = 0.5  # per step; the paper: 1e-5",
        "  * seed = 2  # seed", "* differs from the notebook's own value"]


def test_the_runs_name_is_the_presets_unless_given(first, tmp_path):
    (tmp_path / "mine.yaml").write_text('"01":\n  seed: 5\n')
    assert "run = 'mine'" in call("run", "--preset", str(tmp_path / "mine.yaml"), "--dry-run").output
    assert "run = 'trial'" in call("run", "--run", "trial", "--dry-run").output


def test_clean_tells_what_it_deleted(first, kit):
    (kit / "papermill_runs/mini/stages/01_first").mkdir(parents=True)
    assert call("clean", "--run", "mini").output == "deleted papermill_runs/mini/stages/01_first\n"


def test_main_tells_a_problem_in_words(first, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["alignsd", "run", "--set", "sed=1"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    assert end.value.code == 1 and "did you mean 'seed'?" in captured.err and "Traceback" not in captured.err


def test_scorecard_is_printed_as_a_table(first, kit):
    row = {"id": "a", "claim": "A is more than B", "paper": 1.5, "source": "Table 1", "value": 2.0, "low": 1.0, "high": 3.0,
           "n": 7, "verdict": "reproduced"}
    (kit / "papermill_runs/mini").mkdir(parents=True)
    (kit / "papermill_runs/mini/scorecard.json").write_text(json.dumps([row]))
    assert "A is more than B" in (text := call("scorecard").output) and "1 reproduced" in text
    assert isinstance(call("scorecard", "--run", "none").exception, Problem)
