import json

import pytest
from typer.testing import CliRunner

from alignsd import cli
from alignsd.base.errors import Problem


def call(*arguments: str):
    return CliRunner().invoke(cli.app, arguments, catch_exceptions=True)


@pytest.fixture
def first(notebook):
    return notebook("01_first", "rate = 0.5  # per step; the paper: 1e-5\nseed = 0  # seed")


def test_dry_run_marks_what_differs(first, kit):
    done = call("run", "--set", "seed=2", "--dry-run")
    assert done.exit_code == 0 and not (kit / "papermill_runs").exists()
    assert done.output.splitlines() == [
        "01_first: runs (not run yet)",
        "    run = 'mini'  # name of the run",
        "    rate = 0.5  # per step; the paper: 1e-5",
        "  * seed = 2  # seed",
        "* differs from the notebook's own value",
    ]


def test_the_runs_name_is_the_presets_unless_given(first, tmp_path):
    (tmp_path / "mine.yaml").write_text('"01":\n  seed: 5\n')
    assert (
        "run = 'mine'" in call("run", "--preset", str(tmp_path / "mine.yaml"), "--dry-run").output
    )
    assert "run = 'trial'" in call("run", "--run", "trial", "--dry-run").output


def test_clean_tells_what_it_deleted(first, kit):
    (kit / "papermill_runs/mini/stages/01_first").mkdir(parents=True)
    assert call("clean", "--run", "mini").output == "deleted papermill_runs/mini/stages/01_first\n"
    assert call("clean", "--run", "mini").output.startswith("nothing to delete")


def test_main_tells_a_problem_in_words(first, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["alignsd", "run", "--set", "sed=1"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    assert end.value.code == 1
    assert "did you mean 'seed'?" in captured.err
    assert "Traceback" not in captured.err


def test_scorecard_is_printed_as_a_table(first, kit):
    row = {
        "id": "a",
        "claim": "A is more than B",
        "paper": 1.5,
        "source": "Table 1",
        "value": 2.0,
        "low": 1.0,
        "high": 3.0,
        "n": 7,
        "verdict": "reproduced",
    }
    (kit / "papermill_runs/mini").mkdir(parents=True)
    (kit / "papermill_runs/mini/scorecard.json").write_text(json.dumps([row]))
    assert "A is more than B" in (text := call("scorecard").output)
    assert "1 reproduced" in text
    assert isinstance(call("scorecard", "--run", "none").exception, Problem)


@pytest.mark.parametrize("option", ["--run", "--from-run", "--preset"])
def test_an_empty_name_is_refused_and_not_taken_for_mini(first, kit, option):
    # An unset variable of a shell gives an empty name.
    given = ["--run", "trial"] if option == "--from-run" else []
    done = call("run", *given, option, "", "--dry-run")
    assert isinstance(done.exception, Problem), done.output
    assert not (kit / "papermill_runs").exists()


@pytest.mark.parametrize("file", ["mine.yml", "mine.YAML"])
def test_the_run_of_a_preset_file_has_no_ending(first, tmp_path, file):
    (tmp_path / file).write_text('"01":\n  seed: 5\n')
    assert "run = 'mine'" in call("run", "--preset", str(tmp_path / file), "--dry-run").output


def test_a_run_that_is_not_there_is_told_with_those_that_are(first, kit):
    (kit / "papermill_runs/trial").mkdir(parents=True)
    for arguments in (
        ("scorecard", "--run", "trail"),
        ("clean", "--run", "trail"),
        ("run", "--run", "new", "--from-run", "trail", "--dry-run"),
    ):
        told = str(call(*arguments).exception)
        assert "There is no run 'trail'" in told
        assert "did you mean trial?" in told
        assert f"{kit / 'papermill_runs'}: trial" in told
    told = str(call("run", "--run", "new", "--from-run", "smoke", "--dry-run").exception)
    assert "run --preset smoke" in told


def test_a_scorecard_that_is_missing_names_its_own_run(first, kit):
    (kit / "papermill_runs/trial").mkdir(parents=True)
    assert "--run trial --force 08" in str(call("scorecard", "--run", "trial").exception)


def test_a_variation_of_a_run_without_stages_says_that_it_makes_all_of_them(first, kit):
    (kit / "papermill_runs/mini").mkdir(parents=True)  # as in a fresh clone
    arguments = ("run", "--run", "trial", "--from-run", "mini", "--dry-run")
    assert "run mini has no stages on this machine" in call(*arguments).output
    stage = kit / "papermill_runs/mini/stages/00_other"
    stage.mkdir(parents=True)
    (stage / "metrics.json").write_text("{}")
    assert "no stages" not in call(*arguments).output


def test_an_option_is_not_taken_for_the_name_of_a_run(first, kit):
    done = call("run", "--run", "--dry-run")  # without the refusal a run called --dry-run began
    assert "an option stands where the name belongs" in str(done.exception)
    assert not (kit / "papermill_runs").exists()
