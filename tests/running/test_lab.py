"""JupyterLab's working copies, how JupyterLab is started, and the links that a reader follows."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.kernelspec import RESOURCES
from typer.testing import CliRunner

from alignsd import cli
from alignsd.base.commands import READER_FOLDER
from alignsd.base.errors import Problem
from alignsd.base.paths import root
from alignsd.kit.records import preset_of
from alignsd.kit.values.notebook_files import notebook_names, read_cells, read_parameters
from alignsd.running import lab, lab_server

LINK = re.compile(r"\]\(([^)#\s]+)")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def execute(path: Path) -> None:
    """Give the code cells outputs and metadata, as JupyterLab does."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["metadata"]["trusted"] = True
        if cell["cell_type"] == "code":
            output = {"output_type": "stream", "name": "stdout", "text": ["seen\n"]}
            cell |= {"execution_count": 7, "outputs": [output]}
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture
def two(notebook):
    """Two notebooks; the path of the second."""
    notebook("04_select", "alpha = 2.0  # threshold", "print(alpha)")
    return notebook("05_train", "steps = 3  # steps", "print(steps)")


# Working copies


def test_copies_say_the_run_of_the_copies_and_change_nothing_else(two):
    copies = lab.prepare()
    assert copies == lab.Copies(("04_select", "05_train"), (), ())
    source, copy = read_cells(two), read_cells(lab.copy_path("05_train"))
    assert copy[1]["source"] == source[1]["source"].replace('run = "mini"', 'run = "lab"', 1)
    assert copy[:1] + copy[2:] == source[:1] + source[2:]
    assert read_parameters(lab.copy_path("05_train"))["run"].default == "lab"
    assert 'run = "mini"' in source[1]["source"], "the source stays"


def test_all_notebooks_of_the_repository_have_a_working_copy():
    expected = 'run = "lab"  # name of the run; its stages live in papermill_runs/<run>/stages\n'
    for name in notebook_names():
        cells = lab.working_copy(name)["cells"]
        (cell,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
        assert cell["source"][0] == expected


def test_solutions_are_copied_beside_the_copies_and_an_edited_copy_stays(two):
    source = two.parent / "solutions/05_train.ipynb"
    source.parent.mkdir()
    text = two.read_text(encoding="utf-8").replace("print(steps)", "print(3)")
    source.write_text(text, encoding="utf-8")
    copies = lab.prepare()
    assert copies.made == ("04_select", "05_train")
    copy = lab.folder() / "solutions/05_train.ipynb"
    assert read_parameters(copy)["run"].default == "lab" and "print(3)" in copy.read_text()
    edit(source, "print(3)", "print(4)")
    lab.prepare()
    assert "print(4)" in copy.read_text(), "an untouched copy follows the source"
    edit(copy, "print(4)", "print(5)")
    edit(source, "print(4)", "print(6)")
    lab.prepare()
    assert "print(5)" in copy.read_text(), "an edited copy stays"


def test_the_run_of_the_copies_reads_from_run_mini(two, kit):
    lab.prepare()
    noted = kit / "papermill_runs/lab/run.json"
    assert json.loads(noted.read_text()) == {"preset": "mini", "parent": "mini"}
    assert preset_of("lab") == "mini"
    noted.write_text('{"preset": "smoke", "parent": "smoke"}')
    lab.prepare()
    assert "smoke" in noted.read_text(), "what a reader chose is kept"


def test_copies_for_another_preset_write_into_a_run_of_that_preset(two, kit):
    lab.prepare()
    copies = lab.prepare(preset="class")
    assert copies == lab.Copies(("04_select", "05_train"), (), (), "class")
    assert read_parameters(lab.copy_path("05_train"))["run"].default == "lab-class"
    noted = json.loads((kit / "papermill_runs/lab-class/run.json").read_text())
    assert noted == {"preset": "class", "parent": "class"}
    assert json.loads((kit / "papermill_runs/lab/run.json").read_text())["parent"] == "mini"


def test_the_next_start_keeps_the_preset_until_another_is_named(two):
    lab.prepare(preset="class")
    assert lab.prepare() == lab.Copies((), (), (), "class")
    assert lab.prepare(preset="mini").preset == "mini"
    assert read_parameters(lab.copy_path("05_train"))["run"].default == "lab"
    assert lab.prepare() == lab.Copies((), (), (), "mini")


def test_an_edited_copy_keeps_its_run(two):
    lab.prepare()
    edit(lab.copy_path("05_train"), "steps = 3", "steps = 4")
    copies = lab.prepare(preset="class")
    assert (copies.made, copies.kept) == (("04_select",), ("05_train",))
    assert read_parameters(lab.copy_path("05_train"))["run"].default == "lab"


def test_the_report_says_how_to_make_the_stages_that_are_missing(two, kit):
    told = lab.report(lab.prepare(preset="class"))
    assert "alignsd run --preset class" in told and "alignsd lab --preset mini" in told
    results = kit / "papermill_runs/class/stages/04_select/metrics.json"
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    told = lab.report(lab.prepare())
    assert "run lab-class" in told and "alignsd run --preset class" not in told
    assert "preset" not in lab.report(lab.prepare(preset="mini"))


@pytest.mark.parametrize("preset", ["clas", "mine.yaml", "../class"])
def test_an_unknown_preset_is_told_before_anything_is_written(two, kit, preset):
    with pytest.raises(Problem, match="(?s)no preset.*alignsd lab --preset class"):
        lab.prepare(preset=preset)
    assert not (kit / "lab").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"preset": 3}', '{"preset": "no"}'])
def test_a_damaged_choice_of_a_preset_means_mini(two, damage):
    lab.prepare(preset="class")
    (lab.folder() / lab.CHOSEN).write_text(damage)
    assert lab.prepare().preset == "mini"


def test_a_second_start_changes_no_file(two, kit):
    lab.prepare()
    files = list((kit / "lab").glob("*.ipynb"))
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert lab.prepare() == lab.Copies((), (), ())
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_outputs_are_no_edit_and_stay_while_the_source_stays(two):
    lab.prepare()
    copy = lab.copy_path("05_train")
    execute(copy)
    executed = copy.read_bytes()
    assert lab.prepare() == lab.Copies((), (), ())
    assert copy.read_bytes() == executed


@pytest.mark.parametrize("executed", [False, True])
def test_a_copy_that_was_not_edited_follows_its_source(two, executed):
    lab.prepare()
    if executed:
        execute(lab.copy_path("05_train"))
    edit(two, "print(steps)", "print(2 * steps)")
    assert lab.prepare() == lab.Copies(("05_train",), (), ())
    assert "print(2 * steps)" in lab.copy_path("05_train").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps = 3", "steps = 4"),
        ("print(steps)", "print(steps, steps)"),
        ('"source": "text"', '"source": "my own notes"'),
    ],
)
def test_an_edited_copy_is_kept_and_told(two, old, new):
    edit(two, '"source": "text"', '"source": "text"')
    lab.prepare()
    copy = lab.copy_path("05_train")
    edit(copy, old, new)
    edited = copy.read_bytes()
    edit(two, "print(steps)", "print(3 * steps)")
    copies = lab.prepare()
    assert copies == lab.Copies((), ("05_train",), ())
    assert copy.read_bytes() == edited
    told = lab.report(copies)
    assert "05_train" in told and "alignsd lab --fresh 05" in told and "04_select" not in told


def test_a_fresh_copy_sets_the_old_copy_aside(two):
    for steps in (4, 5):
        lab.prepare()
        edit(lab.copy_path("05_train"), "steps = 3", f"steps = {steps}")
        copies = lab.prepare(["05"])
        (aside,) = copies.aside
        assert copies.made == ("05_train",) and copies.kept == ()
        assert f"steps = {steps}" in aside.read_text()
        assert "steps = 3" in lab.copy_path("05_train").read_text()
    names = sorted(path.name for path in lab.folder().glob("05*"))
    assert names == ["05_train-old1.ipynb", "05_train-old2.ipynb", "05_train.ipynb"]


def test_an_edit_that_was_taken_back_is_no_edit(two):
    lab.prepare()
    edit(lab.copy_path("05_train"), "steps = 3", "steps = 4")
    assert lab.prepare().kept == ("05_train",)
    edit(lab.copy_path("05_train"), "steps = 4", "steps = 3")
    assert lab.prepare() == lab.Copies((), (), ())


@pytest.mark.parametrize(
    "damage", ["", "{", "null", "[]", '{"cells": 3}', "\ufeff", "\0", "[" * 100_000, "é"]
)
def test_a_copy_that_is_no_notebook_is_kept_as_the_readers(two, damage):
    lab.prepare()
    content = damage.encode("latin-1" if damage == "é" else "utf-8")
    lab.copy_path("05_train").write_bytes(content)
    assert lab.prepare().kept == ("05_train",)
    assert lab.copy_path("05_train").read_bytes() == content
    assert lab.prepare(["05"]).made == ("05_train",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)
CELL = st.fixed_dictionaries({}, optional={"cell_type": JSON, "source": JSON, "metadata": JSON})
DAMAGED = JSON | st.fixed_dictionaries({"cells": JSON | st.lists(CELL | JSON)})


@given(content=DAMAGED)
def test_whatever_stands_in_a_copy_is_kept(two, content):
    lab.prepare(["05"])
    text = json.dumps(content)
    lab.copy_path("05_train").write_text(text)
    assert lab.prepare() == lab.Copies((), ("05_train",), ())
    assert lab.copy_path("05_train").read_text() == text


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"cells": []}', '{"cells": [3]}'])
def test_a_damaged_source_is_told_and_harms_no_copy(two, damage):
    lab.prepare()
    edit(lab.copy_path("05_train"), "steps = 3", "steps = 4")
    edited = lab.copy_path("05_train").read_bytes()
    two.write_text(damage)
    with pytest.raises(Problem, match="05_train"):
        lab.prepare()
    assert lab.copy_path("05_train").read_bytes() == edited


@pytest.mark.parametrize(
    "damage", ["", "{", "null", "[]", '{"05_train": 3}', '{"05_train": null}', "{}"]
)
def test_a_damaged_record_of_origins_loses_no_edit(two, damage):
    lab.prepare()
    edit(lab.copy_path("05_train"), "steps = 3", "steps = 4")
    (lab.folder() / lab.ORIGINS).write_text(damage)
    assert lab.prepare() == lab.Copies((), ("05_train",), ())
    assert "steps = 4" in lab.copy_path("05_train").read_text()


def test_files_beside_the_copies_do_no_harm(two):
    lab.prepare()
    names = ["05_train-Copy1.ipynb", "Untitled.ipynb", "notes.md", ".05_train.ipynb.swp"]
    for name in names:
        (lab.folder() / name).write_text("{")
    assert lab.prepare() == lab.Copies((), (), ())
    assert all((lab.folder() / name).read_text() == "{" for name in names)


def test_an_unknown_notebook_is_told_before_anything_is_written(two, kit):
    with pytest.raises(Problem, match="no notebook '12'"):
        lab.prepare(["05", "12"])
    assert not (kit / "lab").exists()


def test_a_folder_that_cannot_be_written_is_told(two, kit):
    (kit / "lab").write_text("a file in the way")
    with pytest.raises(Problem, match="cannot be written"):
        lab.prepare()


# Starting JupyterLab


def test_the_server_serves_the_repository_and_opens_the_first_copy(kit):
    line = lab.command([])
    assert line[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={kit}" in line
    assert "--LabApp.default_url=/lab/tree/lab/00_start_here.ipynb" in line
    assert not [argument for argument in line if "ip=" in argument or "token" in argument]


def test_the_classes_that_the_command_line_names_can_be_imported(kit):
    named = [argument.split("=")[1] for argument in lab.command([]) if "_class=" in argument]
    assert len(named) == 3
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert module == lab_server.__name__ and isinstance(getattr(lab_server, attribute), type)


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_root_is_allowed_only_for_root(kit, monkeypatch, user, allowed):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert ("--allow-root" in lab.command([])) == allowed


def test_arguments_are_passed_on_and_the_readers_hold(kit):
    mine = ["--no-browser", "--port", "9999", "--notebook-dir=/mine", "--LabApp.default_url=/lab"]
    line = lab.command(mine)
    assert line[-len(mine) :] == mine
    assert not [argument for argument in line if "root_dir" in argument]
    assert len([argument for argument in line if "default_url" in argument]) == 1


def test_start_becomes_jupyterlab_with_what_the_command_line_said(two, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    monkeypatch.delenv("JUPYTER_SERVER_ROOT", raising=False)
    further = ["--no-browser", "--port", "9999"]
    wishes = (["--"], [], ["--fresh", "05"], ["--preset", "class"])
    for arguments in ([*wish, *further] for wish in wishes):
        done = CliRunner().invoke(cli.app, ["lab", *arguments])
        assert done.exit_code == 0, done.output
    for program, line, environment in calls:
        assert program == line[0] == sys.executable and line[-3:] == further
        assert READER_FOLDER not in environment
    assert len(calls) == 4 and (lab.folder() / "05_train-old1.ipynb").exists()


def test_a_terminal_of_jupyterlab_starts_no_second_one(two, kit, monkeypatch, capsys):
    monkeypatch.setattr(os, "execve", lambda *call: pytest.fail("a second JupyterLab"))
    monkeypatch.setenv("JUPYTER_SERVER_ROOT", str(kit))
    lab.start(["05"], [])
    assert "runs already" in capsys.readouterr().out


def test_without_jupyterlab_the_message_says_how_to_get_it(two, monkeypatch):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="pip install -r .*requirements.txt"):
        lab.start([], [])


def test_the_environment_comes_first_on_the_path(kit):
    environment = lab.surroundings({"PATH": "/usr/bin:/bin", READER_FOLDER: "/somewhere"})
    first, *others = environment["PATH"].split(os.pathsep)
    assert Path(first).samefile(Path(sys.executable).parent)
    assert others[-2:] == ["/usr/bin", "/bin"]
    assert environment["GOMP_SPINCOUNT"] == "1000" and READER_FOLDER not in environment


def test_what_the_reader_has_set_is_kept(kit):
    mine = {"GOMP_SPINCOUNT": "7", "JUPYTER_CONFIG_PATH": "/mine", "X": "y"}
    environment = lab.surroundings(mine)
    assert environment["GOMP_SPINCOUNT"] == "7" and environment["X"] == "y"
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[-1] == "/mine"


def test_folders_that_were_named_from_here_are_the_same_from_elsewhere(kit, monkeypatch):
    monkeypatch.chdir(kit)
    monkeypatch.setenv("ALIGNSD_ROOT", ".")
    monkeypatch.setenv("ALIGNSD_OUTPUT", "out")
    environment = lab.surroundings(os.environ)
    assert environment["ALIGNSD_ROOT"] == str(kit)
    assert Path(environment["ALIGNSD_OUTPUT"]).is_absolute()


@pytest.mark.parametrize("home", ["", "/nonexistent/home", "/dev/null"])
def test_without_a_home_jupyterlab_gets_one(kit, monkeypatch, home):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    if home:
        monkeypatch.setenv("HOME", home)
    else:
        monkeypatch.setattr(Path, "home", no_home)
    environment = lab.surroundings({})
    assert environment["HOME"] == str(kit / "lab/.home") and Path(environment["HOME"]).is_dir()


def test_a_home_that_can_be_written_stays_the_home(kit, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lab.surroundings({})["HOME"] == str(tmp_path)


def test_the_kernel_is_this_python_whatever_another_environment_installed(tmp_path, monkeypatch):
    for name in ("python3", "other"):
        place = tmp_path / "kernels" / name
        place.mkdir(parents=True)
        spec = {"argv": ["/usr/bin/false"], "display_name": name, "language": "python"}
        (place / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    kernels = lab_server.OwnKernels()
    assert kernels.get_kernel_spec("python3").argv[0] == sys.executable
    assert kernels.get_all_specs()["python3"]["spec"]["argv"][0] == sys.executable
    assert kernels.find_kernel_specs()["python3"] == RESOURCES
    assert kernels.get_kernel_spec("other").argv == ["/usr/bin/false"], "other kernels stay"


# What git ignores


def git(*arguments: str) -> list[str]:
    if shutil.which("git") is None:
        pytest.skip("no git")
    done = subprocess.run(["git", *arguments], cwd=root(), capture_output=True, text=True)
    if done.returncode > 1:
        pytest.skip("not a clone")
    return done.stdout.splitlines()


def test_git_ignores_what_sessions_and_runs_leave():
    left = [
        "lab/00_start_here.ipynb",
        "lab/.origins.json",
        "papermill_runs/class/run.json",
        "papermill_runs/lab-class/run.json",
        "papermill_runs/lab/run.json",
        "papermill_runs/trial/scorecard.json",
        "papermill_runs/mini-seed4/run.json",
        "papermill_runs/mini/stages/02_train_hps/hps.safetensors",
        "papermill_runs/mini/02_train_hps.failed.ipynb",
        "papermill_runs/mini/.run.123.part.json",
        "papermill_runs/mini/.lock",
        "papermill_runs/mini/run.lock",
        "figures/lab/table_2.png",
        "figures/trial/table_2.png",
        "data/mine/user.key",
        "export/user.key",
        "notebooks/.ipynb_checkpoints/x-checkpoint.ipynb",
    ]
    assert git("check-ignore", "--no-index", *left) == left


def test_git_ignores_nothing_that_is_or_may_be_committed():
    kept = [
        "papermill_runs/mini/new.json",
        "papermill_runs/mini-seed1/new.json",
        "figures/mini/new.png",
        "alignsd/running/lab.py",
        "tests/running/test_lab.py",
        "notebooks/09_new.ipynb",
        "docs/lab.md",
    ]
    assert git("check-ignore", "--no-index", *kept) == []
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []


# Links


def documents() -> list[Path]:
    """Return the texts that a reader opens: documents, notebooks and executed copies."""
    patterns = ["*.md", "docs/*.md", "alignsd/**/*.md", "notebooks/**/*.ipynb"]
    patterns.append("papermill_runs/mini/*.ipynb")
    return sorted(path for pattern in patterns for path in root().glob(pattern))


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n".join(cell["source"] for cell in read_cells(path) if cell["cell_type"] == "markdown")


def targets(text: str) -> list[str]:
    """Return the files that a text links: pictures too, addresses and places on the page not."""
    without_code = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    found = LINK.findall(without_code) + re.findall(r"(?:src|href)=\"([^\"#]+)", without_code)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(root()).as_posix())
def test_links_lead_to_files(path):
    assert [t for t in targets(prose(path)) if not (path.parent / t).exists()] == []


def test_links_lead_to_files_from_the_working_copies_too():
    names = [f"{name}.ipynb" for name in notebook_names()]
    names += [f"{name}.ipynb" for name in lab.solutions_names()]  # copied as well
    linked = [targets(prose(root() / "notebooks" / name)) for name in names if "/" not in name]
    found = [target for some in linked for target in some if target not in names]
    assert [t for t in found if "/" not in t] == []
    outside = [os.path.normpath(root() / "lab" / t) for t in found if "/" in t]
    assert outside and [t for t in outside if not Path(t).exists()] == []


def test_the_link_checker_sees_links():
    text = 'a [b](../c.md#d) `[x](y)` [e](https://f) ![g](h.png) <a href="i.md"> [j](#k)'
    assert targets(text) == ["../c.md", "h.png", "i.md"]
    executed = root() / "papermill_runs/mini/08_figures.ipynb"
    assert "../../docs/scorecard.md" in targets(prose(executed))
