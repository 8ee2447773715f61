"""Widgets are shown where a person sits at the notebook, and nowhere else."""

import os
import sys
from queue import Empty

import ipywidgets
import nbclient
import nbformat
import papermill
import pytest
from jupyter_client.manager import start_new_kernel

from alignsd.base.errors import Problem
from alignsd.kit.stage import HEADLESS
from alignsd.teach import live

SHOW = """
from ipywidgets import IntSlider
from alignsd.teach import live

class Thing:
    def _repr_mimebundle_(self, **wishes):
        return live.bundle(IntSlider, "<p>static</p>", "static")

print(live.is_live())
Thing()
"""
VARIABLES = (live.WIDGETS, HEADLESS, "JPY_SESSION_NAME")


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def outputs_in_kernel(allow_stdin: bool, **variables: str) -> tuple[str, dict, list[str]]:
    """Run ``SHOW`` in a kernel; return what was printed, the bundle, and all kinds of messages."""
    manager, client = start_new_kernel(kernel_name="python3", env=os.environ | variables)
    try:
        request = client.execute(SHOW, allow_stdin=allow_stdin)
        printed, bundle, kinds = "", {}, []
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            kinds.append(message["msg_type"])
            if message["msg_type"] == "stream":
                printed += content["text"]
            elif message["msg_type"] == "execute_result":
                bundle = content["data"]
            elif message["msg_type"] == "error":
                raise AssertionError(content["evalue"])
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed.strip(), bundle, kinds
    except Empty as error:
        raise AssertionError("the kernel gave no answer") from error
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_person_gets_the_widget_and_a_saved_notebook_its_fallback():
    printed, bundle, kinds = outputs_in_kernel(allow_stdin=True)
    assert printed == "True"
    assert bundle.keys() == {live.WIDGET_VIEW, "text/html", "text/plain"}
    assert bundle["text/html"] == "<p>static</p>" and bundle["text/plain"] == "static"
    assert "comm_open" in kinds


def test_a_batch_opens_no_connection_for_a_widget():
    """Also where the variables of a live kernel were inherited."""
    printed, bundle, kinds = outputs_in_kernel(allow_stdin=False, JPY_SESSION_NAME="lab/01.ipynb")
    assert printed == "False"
    assert bundle == {"text/html": "<p>static</p>", "text/plain": "static"}
    assert "comm_open" not in kinds


def test_a_run_of_ours_shows_none_even_where_questions_could_be_asked():
    printed, bundle, _ = outputs_in_kernel(allow_stdin=True, **{HEADLESS: "1"})
    assert printed == "False" and live.WIDGET_VIEW not in bundle


def test_the_reader_decides():
    shown = outputs_in_kernel(allow_stdin=False, **{live.WIDGETS: "1", HEADLESS: "1"})
    hidden = outputs_in_kernel(allow_stdin=True, **{live.WIDGETS: "0"})
    assert (shown[0], hidden[0]) == ("True", "False")


def small_notebook() -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(SHOW)
    return nbformat.v4.new_notebook(cells=[cell])


def mime_types(notebook: nbformat.NotebookNode) -> set[str]:
    """Return the MIME types of the last output, and check that no widget state was saved."""
    assert "widgets" not in notebook.metadata
    return set(notebook.cells[-1].outputs[-1].data)


def test_nbclient_gets_the_fallback():
    notebook = small_notebook()
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert mime_types(notebook) == {"text/html", "text/plain"}


def test_papermill_gets_the_fallback(tmp_path):
    source, target = tmp_path / "source.ipynb", tmp_path / "target.ipynb"
    nbformat.write(small_notebook(), source)
    papermill.execute_notebook(source, target, kernel_name="python3", progress_bar=False)
    assert mime_types(nbformat.read(target, 4)) == {"text/html", "text/plain"}


def test_plain_python_is_not_live():
    assert "ipykernel" not in sys.argv[0]
    assert not live.is_live()


def test_a_call_from_a_widget_is_live(monkeypatch):
    class Shell:
        kernel = "a kernel"

        def get_parent(self):
            return {"header": {"msg_type": "comm_msg"}, "content": {}}

    monkeypatch.setattr("IPython.get_ipython", Shell)
    assert live.is_live()


def test_a_wish_without_meaning_is_told(monkeypatch):
    monkeypatch.setenv(live.WIDGETS, "yes")
    with pytest.raises(Problem, match=live.WIDGETS):
        live.is_live()


def test_without_a_person_the_widget_is_not_made():
    def never() -> ipywidgets.DOMWidget:
        raise AssertionError("the widget was made")

    assert live.bundle(never, "<p>a</p>", "a") == {"text/html": "<p>a</p>", "text/plain": "a"}
