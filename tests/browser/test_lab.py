"""The first hour in JupyterLab, as a reader spends it, in a clone of the repository."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alignsd.kit.values.notebook_files import notebook_names, usual_names

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

START = "lab/00_start_here.ipynb"


@pytest.fixture(scope="module")
def window(browser, repository):
    """A window on JupyterLab, which shows the first notebook."""
    home = repository.parent / "home"
    with jupyterlab.serving(repository, home) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        yield window


def alignsd(window, *arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "alignsd", *arguments]
    return subprocess.run(
        line,
        cwd=window.server.repository,
        env=window.server.variables,
        capture_output=True,
        text=True,
    )


def ask(window, command: str, answer: Path) -> str:
    """Return what a command prints in a terminal of JupyterLab."""
    window.type_in_terminal(f"{command} > {shlex.quote(str(answer))}.part 2>&1")
    window.type_in_terminal(f"mv {shlex.quote(str(answer))}.part {shlex.quote(str(answer))}")
    jupyterlab.until(answer.exists, f"an answer to {command}", 60)
    return answer.read_text()


def test_jupyterlab_opens_the_working_copy_of_the_first_notebook(window):
    path = window.page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    assert path == START
    assert window.page.locator(".jp-RenderedMarkdown h1").first.inner_text().startswith("00 ·")
    listed = window.page.locator(".jp-DirListing-itemName").all_inner_texts()
    names = [name for name in listed if name]
    assert names == ["solutions", *(f"{name}.ipynb" for name in notebook_names())]


def test_code_is_not_cut_off_in_a_window_of_1200_pixels(window):
    window.open(START)
    assert window.page.viewport_size["width"] == 1200
    cells = window.cells()
    seen = 0
    for index in range(cells.count()):
        cell = cells.nth(index)
        cell.scroll_into_view_if_needed()
        code = cell.locator(".jp-InputArea-editor .cm-scroller")
        is_folded = cell.locator(".jp-Placeholder").count() > 0
        if "jp-CodeCell" in cell.get_attribute("class") and not is_folded:
            code.locator(".cm-line").first.wait_for()
            width, room = code.evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert width <= room, f"{width - room} pixels are cut off: {code.inner_text()}"
            seen += 1
    code_cells = [c for c in window.notebook()["cells"] if c["cell_type"] == "code"]
    folded = [c for c in code_cells if "jupyter" in c["metadata"]]
    assert folded and seen == len(code_cells) - len(folded)


def test_the_first_notebook_runs_without_a_red_or_pink_output(window):
    window.open(START)
    window.run_all()
    assert window.warnings() == []
    code = [cell for cell in window.notebook()["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code), "a cell was not run"
    results = window.server.repository / "papermill_runs/lab/stages/00_start_here/metrics.json"
    assert json.loads(results.read_text())["missing"] == 0


def test_a_saved_notebook_opens_again_with_its_outputs(window):
    window.open(START)
    window.save()
    window.close()
    window.open(START)
    window.page.locator(".jp-OutputArea-output").first.wait_for()
    text = window.page.locator(".jp-NotebookPanel").inner_text()
    assert "Error displaying widget" not in text and "Traceback" not in text
    assert window.outputs() and window.warnings() == []


def test_a_link_to_a_document_opens_the_document(window):
    window.open("lab/08_figures.ipynb")
    link = window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) a[href*='docs/scorecard.md']")
    link.first.scroll_into_view_if_needed()
    link.first.click()
    document = window.page.locator(".jp-MarkdownViewer h1").first
    document.wait_for()
    assert "scorecard" in document.inner_text().lower()


def test_a_link_to_a_notebook_opens_the_working_copy(window):
    window.open("lab/04_select_images.ipynb")
    visible = window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    visible.locator("a", has_text="03_score_diffusiondb").first.click()
    window.page.wait_for_function(
        "window.jupyterapp.shell.currentWidget?.context?.path === 'lab/03_score_diffusiondb.ipynb'"
    )


def test_a_message_links_the_notebook_that_helps(window):
    window.open("lab/05_finetune_stable_diffusion.ipynb")
    parts = "expected='', found='', cause='', fix='', notebook='02_train_hps'"
    fault = f"from alignsd.base.errors import Problem\nraise Problem('No.', {parts})\n"
    window.edit_cell('run = "lab"', fault + 'run = "lab"')
    window.run_all()
    error, *_ = window.outputs("error")  # cells that were sent before the error arrived may follow
    assert error["traceback"][0] == "No."
    visible = window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    visible.locator(".jp-OutputArea a", has_text="02_train_hps").first.click()
    window.page.wait_for_function(
        "window.jupyterapp.shell.currentWidget?.context?.path === 'lab/02_train_hps.ipynb'"
    )


def test_a_duplicate_made_in_the_file_browser_does_no_harm(window):
    item = window.page.locator(".jp-DirListing-item", has_text="04_select_images")
    item.first.click(button="right")
    window.page.locator(".lm-Menu-itemLabel", has_text="Duplicate").click()
    copy = window.server.repository / "lab/04_select_images-Copy1.ipynb"
    jupyterlab.until(copy.exists, "the duplicate")
    done = alignsd(window, "run", "--dry-run")
    assert done.returncode == 0, done.stderr
    plan = [line for line in done.stdout.splitlines() if not line.startswith((" ", "*"))]
    assert len(plan) == len(usual_names())


def test_a_terminal_finds_the_command(window, tmp_path):
    program = ask(window, "command -v alignsd", tmp_path / "program").strip()
    assert program and Path(program).parent.samefile(Path(sys.executable).parent)
    told = ask(window, "alignsd lab --fresh 07", tmp_path / "told")
    assert "07_evaluate-old1.ipynb" in told and "runs already" in told


def test_a_changed_value_makes_a_variation_and_leaves_the_run_as_it_is(window):
    """Change alpha in notebook 04 and press Run All: nothing is refused, nothing is overwritten."""
    runs = window.server.repository / "papermill_runs"
    done = alignsd(window, "run", "--preset", "smoke", "--run", "base", "01", "02", "03")
    assert done.returncode == 0, done.stdout + done.stderr
    (runs / "lab/run.json").write_text('{"preset": "smoke", "parent": "base"}')
    window.open("lab/04_select_images.ipynb")
    window.run_all()
    assert window.warnings() == []
    made = runs / "lab/stages/04_select_images/metrics.json"
    before = made.read_bytes()
    window.edit_cell("alpha = 2.0", "alpha = 1.5")
    window.run_all()
    assert window.warnings() == []
    printed = "".join("".join(output["text"]) for output in window.outputs("stream"))
    assert "This is a variation of run lab: alpha = 1.5 instead of 1.0." in printed
    assert "alignsd run --run lab-04-alpha-1.5" in printed
    variation = runs / "lab-04-alpha-1.5"
    assert (variation / "stages/04_select_images/metrics.json").exists()
    assert json.loads((variation / "run.json").read_text())["parent"] == "lab"
    assert made.read_bytes() == before and not (variation / "stages/03_score_diffusiondb").exists()


def test_the_kernel_is_of_the_environment_that_runs_jupyterlab(window):
    window.open(START)
    window.edit_cell('run = "lab"', 'import sys; print(sys.executable)\nrun = "lab"')
    window.run_all()
    printed = "".join(window.outputs("stream")[0]["text"])
    assert os.path.samefile(printed.strip(), sys.executable)


def test_a_session_leaves_the_repository_as_it_was(window):
    """The last test: all that was done above was done in this clone."""
    window.save()
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    done = subprocess.run(status, cwd=window.server.repository, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    kept = alignsd(window, "lab", "--version").stdout
    assert "Kept as you edited them: 00_start_here" in kept
