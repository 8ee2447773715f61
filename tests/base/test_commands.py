"""Commands in messages can be pasted where the reader is."""

import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest
import typer.main

from alignsd import cli
from alignsd.base import commands
from alignsd.base.errors import Problem
from alignsd.base.paths import root


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in a folder of its own, which no shell knows yet; a reader in ``tmp_path``."""
    folder = tmp_path / "here" / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("alignsd", "pip", "python"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(commands, "scripts", lambda: [folder])
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv(commands.READER_FOLDER, str(tmp_path))
    return folder


@pytest.fixture
def at_notebook(monkeypatch):
    """A reader at a notebook; the list of what was displayed there."""
    shown = []
    publisher = types.SimpleNamespace(publish=shown.append)
    shell = types.SimpleNamespace(kernel=object(), display_pub=publisher)
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.delenv(commands.READER_FOLDER, raising=False)
    return shown


def activate(environment: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"{environment}{os.pathsep}{os.environ['PATH']}")


def test_the_commands_known_here_are_all_commands():
    """If it failed, a new command would not be told as it can be pasted: add its name."""
    assert set(commands.SUBCOMMANDS) == set(typer.main.get_command(cli.app).commands)
    makefile = (root() / "Makefile").read_text()
    assert set(commands.TARGETS) == set(re.findall(r"(?m)^([a-z]+):.*## ", makefile))


def test_an_activated_environment_needs_no_path(environment, monkeypatch):
    activate(environment, monkeypatch)
    monkeypatch.setenv(commands.READER_FOLDER, str(root()))
    for command in ("alignsd run 02", "pip install -r requirements.txt", "make demo"):
        assert commands.pasteable(command) == command


def test_without_activation_the_command_is_named_from_where_the_reader_is(environment, monkeypatch):
    monkeypatch.setenv(commands.READER_FOLDER, str(environment.parent.parent))
    assert commands.pasteable("alignsd run 02") == ".venv/bin/alignsd run 02"
    monkeypatch.setenv(commands.READER_FOLDER, str(environment))
    assert commands.pasteable("alignsd run 02") == "./alignsd run 02"
    monkeypatch.setenv(commands.READER_FOLDER, "/")
    expected = f"{str(environment)[1:]}/alignsd run 02"
    assert commands.pasteable("alignsd run 02") == expected
    monkeypatch.setenv(commands.READER_FOLDER, "/usr")
    assert commands.pasteable("alignsd run 02") == f"{environment}/alignsd run 02"


def test_another_environments_command_is_not_meant(environment, monkeypatch, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "alignsd").write_text("#!/bin/sh\n")
    (other / "alignsd").chmod(0o755)
    activate(other, monkeypatch)
    assert commands.pasteable("alignsd run 02") == "here/.venv/bin/alignsd run 02"


def test_odd_folders_are_quoted(environment, monkeypatch, tmp_path):
    odd = tmp_path / "it's a folder"
    environment.parent.parent.rename(odd)
    monkeypatch.setattr(commands, "scripts", lambda: [odd / ".venv/bin"])
    for reader in (tmp_path, Path("/usr")):
        monkeypatch.setenv(commands.READER_FOLDER, str(reader))
        program, *rest = shlex.split(commands.pasteable("alignsd run 02"))
        assert (reader / program).samefile(odd / ".venv/bin/alignsd") and rest == ["run", "02"]


def test_without_a_script_python_starts_the_package(environment, monkeypatch):
    (environment / "alignsd").unlink()
    assert commands.pasteable("alignsd run 02") == "here/.venv/bin/python -m alignsd run 02"


def test_a_script_elsewhere_is_named_as_it_was_started(environment, monkeypatch, tmp_path):
    (environment / "alignsd").rename(tmp_path / "alignsd")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "alignsd"), "run"])
    assert commands.pasteable("alignsd run 02") == "./alignsd run 02"


def test_pip_is_the_environments_and_finds_its_files(environment):
    python = "here/.venv/bin/python"
    requirements = root() / "requirements.txt"
    asked = "pip install -r requirements.txt, or pip install --no-deps -e . there"
    told = f"{python} -m pip install -r {requirements}, or "
    told += f"{python} -m pip install --no-deps -e {root()} there"
    assert commands.pasteable(asked) == told
    assert commands.pasteable("python -m pip install x") == "python -m pip install x"


def test_make_is_told_where_the_makefile_is(environment):
    told = commands.pasteable("make clean deletes stages; make demo PYTHON=python3.12")
    make = f"make -C {root()}"
    assert told == f"{make} clean deletes stages; {make} demo PYTHON=python3.12"


@pytest.mark.parametrize(
    "text",
    [
        "make the data set again with notebook 01",
        "git checkout alignsd/miniature/weights",
        "ls papermill_runs",
        "the package alignsd is old",
        "remake demo",
        "set ALIGNSD_ROOT to its folder",
        "",
    ],
)
def test_other_sentences_stay(environment, text, monkeypatch):
    assert commands.pasteable(text) == text


def test_sentences_around_a_command_stay(environment):
    command = "here/.venv/bin/alignsd"
    told = commands.pasteable("put it back, or score anew: alignsd run --run <run> --from 03")
    assert told == f"put it back, or score anew: {command} run --run <run> --from 03"
    told = commands.pasteable("alignsd clean --run x --from 04, then alignsd run --run x 04")
    assert told == f"{command} clean --run x --from 04, then {command} run --run x 04"


def test_without_the_notebooks_a_message_still_has_its_text(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNSD_ROOT", str(tmp_path / "none"))
    assert "pip install --no-deps -e . there" in str(problem("pip install --no-deps -e . there"))


def test_a_deleted_folder_of_the_reader_does_no_harm(environment, monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.delenv(commands.READER_FOLDER)
    assert commands.pasteable("alignsd run 02") == f"{environment}/alignsd run 02"


# Problems


def problem(fix: str, notebook: str = "") -> Problem:
    return Problem("No.", expected="a", found="b", cause="c", fix=fix, notebook=notebook)


def test_a_problems_fix_can_be_pasted(environment):
    told = str(problem("alignsd run 03", notebook="03_score")).splitlines()
    assert told[-1] == "  fix:      here/.venv/bin/alignsd run 03" and len(told) == 5


def test_at_a_notebook_a_command_is_typed_in_a_terminal(environment, monkeypatch, at_notebook):
    activate(environment, monkeypatch)
    told = str(problem("score anew: alignsd run 03")).splitlines()[-1]
    assert told == f"  fix:      score anew: {commands.TERMINAL}alignsd run 03"
    assert str(problem("write a number")).splitlines()[-1] == "  fix:      write a number"


def test_at_a_notebook_the_notebook_that_helps_is_linked(environment, monkeypatch, at_notebook):
    activate(environment, monkeypatch)
    lines = problem("alignsd run 03", notebook="03_score")._render_traceback_()
    assert "run all cells of 03_score.ipynb" in lines[-1] and lines[-1].endswith("alignsd run 03")
    (link,) = at_notebook
    assert link["text/markdown"] == "Open [03_score.ipynb](03_score.ipynb)"


def test_a_kernel_of_a_command_writes_to_a_terminal(environment, monkeypatch, at_notebook):
    monkeypatch.setenv(commands.READER_FOLDER, str(environment.parent.parent))
    lines = problem("alignsd run 03", notebook="03_score")._render_traceback_()
    assert lines[-1] == "  fix:      .venv/bin/alignsd run 03" and at_notebook == []


def test_a_real_kernel_is_a_notebook_to_its_reader():
    """The display and the text as a kernel sends them, with no part of the kernel replaced."""
    from jupyter_client.manager import start_new_kernel

    code = """
from alignsd.base.errors import Problem
raise Problem("No.", expected="a", found="b", cause="c", fix="alignsd run 03", notebook="03_score")
"""
    variables = {k: v for k, v in os.environ.items() if k != commands.READER_FOLDER}
    manager, client = start_new_kernel(env=variables | {"PYTHONPATH": str(root())})
    messages = []
    try:
        answer = client.execute_interactive(code, output_hook=messages.append, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    reply = answer["content"]
    assert reply["status"] == "error" and "run all cells of 03_score.ipynb" in reply["evalue"]
    kinds = [m["msg_type"] for m in messages if m["msg_type"] in ("display_data", "error")]
    assert kinds == ["display_data", "error"], "the link stands above the message"
    (link,) = [m["content"]["data"] for m in messages if m["msg_type"] == "display_data"]
    assert "[03_score.ipynb](03_score.ipynb)" in link["text/markdown"]


def test_what_the_command_tells_can_be_pasted(tmp_path):
    """The command that a message names is run as it stands, by a shell in the reader's folder."""
    line = [sys.executable, "-m", "alignsd", "scorecard", "--run", "nothing-of-this-name"]
    folders = {"ALIGNSD_ROOT": str(root()), "ALIGNSD_OUTPUT": str(tmp_path)}
    paths = {"PYTHONPATH": str(root()), "PATH": "/usr/bin:/bin"}
    options = {"cwd": tmp_path, "env": os.environ | folders | paths}
    done = subprocess.run(line, capture_output=True, text=True, **options)
    assert done.returncode == 1
    (fix,) = [text for text in done.stderr.splitlines() if text.startswith("  fix:")]
    command = re.search(r"\S*(?:alignsd|-m alignsd) run", fix).group().removesuffix(" run")
    line = f"{command} --help"
    told = subprocess.run(line, shell=True, capture_output=True, text=True, **options)
    assert told.returncode == 0 and "Usage" in told.stdout, fix
