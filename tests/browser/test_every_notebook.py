"""All notebooks in JupyterLab, in their order: no red output, and no widget error when reopened.

Preset smoke takes the fewest steps. The notebooks run as a reader runs them, with widgets.
"""

import json

import pytest

from alignsd.kit.values.notebook_files import notebook_names

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

PRESET = ["--preset", "smoke"]
SECONDS = 600  # far more than a notebook takes
FRONT = ".jp-NotebookPanel:not(.lm-mod-hidden)"
LAPTOP = {"width": 1200, "height": 900}
PROJECTOR = {"width": 800, "height": 600}  # a laptop's window, zoomed to 150 %
# The pictures and widgets of the notebook in front that the notebook's edge cuts off.
CUT_OFF = """front => {
    const edge = front.querySelector('.jp-Notebook').getBoundingClientRect().right;
    const shown = front.querySelectorAll('.jp-OutputArea-output img, .jp-OutputArea-output button');
    return [...shown].filter(one => one.getBoundingClientRect().right > edge + 1).length;
}"""


@pytest.fixture(scope="module")
def window(browser, repository):
    home = repository.parent / "home"
    with jupyterlab.serving(repository, home, PRESET) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        yield window


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_runs_as_a_reader_runs_it_and_opens_again(window, name):
    path = f"lab/{name}.ipynb"
    window.open(path)
    window.run_all(SECONDS)
    assert window.warnings() == [], window.warnings()
    front = window.page.locator(FRONT)
    for size in (PROJECTOR, LAPTOP):
        window.page.set_viewport_size(size)
        assert front.evaluate(CUT_OFF) == 0, f"the window's edge cuts off a picture at {size}"
    window.save()
    window.command("kernelmenu:shutdown")
    window.close()
    saved = json.loads((window.server.repository / path).read_text(encoding="utf-8"))
    assert "widgets" not in saved["metadata"], "the state of widgets is not saved"
    window.open(path)
    front.locator(".jp-OutputArea-output").first.wait_for()
    assert "Error displaying widget" not in front.inner_text()
    assert "Loading widget" not in front.inner_text()
    window.command("kernelmenu:shutdown")
    window.close()
