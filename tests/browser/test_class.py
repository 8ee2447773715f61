"""A class in JupyterLab: preset class by one word, and widgets in a notebook opened again."""

import json

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook

from alignsd.kit.values.presets import resolve

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

WIDGET = ".jp-NotebookPanel:not(.lm-mod-hidden) .widget-slider"
SLIDER = """\
import ipywidgets

class Slider:
    def _repr_mimebundle_(self, **options):
        view = ipywidgets.IntSlider(3)._repr_mimebundle_()
        return view | {"text/html": "<p>from {} to {}</p>".format(0, 100)}

Slider()"""

PARAMETERS = 'run, seed, data, note, columns = "class", 0, "", "simulated people and pictures", 8'
BEGIN = """\
from alignsd.kit.stage import begin
stage = begin("08_figures", globals())"""


@pytest.fixture(scope="module")
def window(browser, repository):
    """A window on JupyterLab, started for preset class; two short notebooks lie there."""
    (repository / "lab").mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebooks = {"slider": [SLIDER], "begin": [PARAMETERS, BEGIN, "print(columns)"]}
    for name, codes in notebooks.items():
        cells = [new_code_cell(code) for code in codes]
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        write(notebook, repository / f"lab/{name}.ipynb")
    with jupyterlab.serving(
        repository, repository.parent / "home", ["--preset", "class"]
    ) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        yield window


def text_of(window) -> str:
    return window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").inner_text()


def test_a_widget_is_there_again_after_a_reload_while_its_kernel_lives(window):
    window.open("lab/slider.ipynb")
    window.run_all()
    window.page.locator(WIDGET).wait_for()
    window.save()
    window.reload()
    window.page.locator(WIDGET).wait_for()
    assert "from 0 to 100" not in text_of(window)


def test_a_notebook_whose_kernel_has_ended_opens_without_a_widget_error(window):
    window.open("lab/slider.ipynb")
    window.command("kernelmenu:shutdown")
    window.close()
    saved = json.loads((window.server.repository / "lab/slider.ipynb").read_text())
    assert "widgets" not in saved["metadata"], "the widget's state is not saved"
    assert "widget-view" in json.dumps(saved["cells"][0]["outputs"])
    window.open("lab/slider.ipynb")
    window.page.get_by_text("from 0 to 100").wait_for()
    assert "Error displaying widget" not in text_of(window)
    window.reload()  # with a new kernel, which does not know the widget in the file
    window.page.get_by_text("from 0 to 100").wait_for()
    assert "Error displaying widget" not in text_of(window)


def test_the_name_of_the_preset_as_the_run_gives_its_values(window):
    copy = window.server.repository / "lab/08_figures.ipynb"
    assert 'run = \\"lab-class\\"' in copy.read_text(), "alignsd lab --preset class"
    window.open("lab/begin.ipynb")
    window.run_all()
    assert window.warnings() == []
    columns = resolve("class", "class")["08_figures"]["columns"]
    printed = "".join("".join(output["text"]) for output in window.outputs("stream"))
    assert printed == f"Preset class: columns = {columns}.\n{columns}\n", window.told()
