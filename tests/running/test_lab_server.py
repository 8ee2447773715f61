"""What the server of JupyterLab does: own kernels, and no widget whose kernel has ended."""

import asyncio
import copy
import json
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.manager import start_new_async_kernel
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import Configurable

from alignsd.running import lab_server
from alignsd.running.kernels.environment import kernel_environment
from alignsd.running.lab_server import (
    WIDGET_VIEW,
    FrugalKernels,
    LivingWidgets,
    living_widgets,
    remove_widgets,
)


def view(model: str) -> dict:
    return {"model_id": model, "version_major": 2, "version_minor": 0}


def displayed(**forms: object) -> dict:
    names = {"widget": WIDGET_VIEW, "html": "text/html", "text": "text/plain"}
    data = {names[form]: content for form, content in forms.items()}
    return new_output("display_data", data)


@pytest.fixture
def notebook_with_widgets() -> nbformat.NotebookNode:
    """A notebook with a slider, a widget without another form, and a printed line."""
    outputs = [
        displayed(widget=view("slider"), html="<p>0 to 9</p>", text="0 to 9"),
        new_output("stream", name="stdout", text="printed"),
        displayed(widget=view("lonely")),
    ]
    cells = [new_markdown_cell("text"), new_code_cell("show()", outputs=outputs)]
    states = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}
    return new_notebook(cells=cells, metadata={"widgets": states})


def test_of_a_widget_without_its_kernel_the_other_forms_stay(notebook_with_widgets):
    remove_widgets(notebook_with_widgets)
    slider, printed, lonely = notebook_with_widgets["cells"][1]["outputs"]
    assert slider["data"] == {"text/html": "<p>0 to 9</p>", "text/plain": "0 to 9"}
    assert printed["text"] == "printed"
    assert lonely["data"] == {"text/plain": lab_server.GONE}
    assert notebook_with_widgets["metadata"] == {}
    nbformat.validate(notebook_with_widgets)


def test_a_widget_that_its_kernel_knows_stays(notebook_with_widgets):
    remove_widgets(notebook_with_widgets, ["slider"])
    slider, _, lonely = notebook_with_widgets["cells"][1]["outputs"]
    assert slider["data"][WIDGET_VIEW]["model_id"] == "slider"
    assert WIDGET_VIEW not in lonely["data"]


def test_a_notebook_without_widgets_stays_as_it_is():
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[displayed(text="1")])])
    before = copy.deepcopy(notebook)
    assert not lab_server.has_widgets(notebook)
    remove_widgets(notebook)
    assert notebook == before


def test_a_kernel_tells_its_widgets_even_while_a_cell_runs(tmp_path):
    """Comms are the connections of widgets; ipywidgets opens one for each widget."""

    async def ask() -> set:
        manager, client = await start_new_async_kernel(env=kernel_environment(tmp_path))
        try:
            reply = await client.execute_interactive(
                "import ipywidgets; slider = ipywidgets.IntSlider()",
                user_expressions={"model": "slider.model_id"},
                output_hook=lambda message: None,
            )
            told = reply["content"]["user_expressions"]["model"]["data"]["text/plain"]
            client.execute("import time; time.sleep(30)")
            living = set(await living_widgets(manager))
            assert told.strip("'") in living
            return living
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)

    assert len(asyncio.run(ask())) == 3, "the slider, its layout and its style"


class Server(Configurable):
    """Stand in for JupyterLab's server, on which kernels run for some notebooks.

    Args:
        paths: the notebooks' paths; each path is the name of its kernel as well.
    """

    def __init__(self, *paths: str):
        super().__init__()
        self.paths = paths
        self.session_manager = self
        self.kernel_manager = SimpleNamespace(get_kernel=lambda name: name)

    async def list_sessions(self) -> list[dict]:
        return [{"path": path, "kernel": {"id": path}} for path in self.paths]


def opened(tmp_path, monkeypatch, notebook, *paths: str, **options) -> dict:
    """Return what JupyterLab gets for a notebook while kernels run for some paths."""

    async def living(kernel: str) -> set:
        return {"slider"} if kernel == "lab/a.ipynb" else set()

    monkeypatch.setattr(lab_server, "living_widgets", living)
    (tmp_path / "lab").mkdir(exist_ok=True)
    nbformat.write(notebook, tmp_path / "lab/a.ipynb")
    manager = LivingWidgets(parent=Server(*paths), root_dir=str(tmp_path))
    return asyncio.run(manager.get("lab/a.ipynb", **options))


def views(model: dict) -> list[str]:
    outputs = model["content"]["cells"][1]["outputs"]
    data = [output.get("data", {}) for output in outputs]
    return [shown[WIDGET_VIEW]["model_id"] for shown in data if WIDGET_VIEW in shown]


def test_a_notebook_is_opened_with_the_widgets_of_its_own_kernel(
    tmp_path, monkeypatch, notebook_with_widgets
):
    alive = opened(tmp_path, monkeypatch, notebook_with_widgets, "lab/b.ipynb", "lab/a.ipynb")
    assert views(alive) == ["slider"]
    file = tmp_path / "lab/a.ipynb"
    before = file.read_bytes()
    ended = opened(tmp_path, monkeypatch, notebook_with_widgets, "lab/b.ipynb")
    assert views(ended) == []
    assert file.read_bytes() == before and "lonely" in json.dumps(json.loads(before))


def test_other_questions_about_files_are_answered_as_ever(
    tmp_path, monkeypatch, notebook_with_widgets
):
    model = opened(tmp_path, monkeypatch, notebook_with_widgets, content=False)
    assert model["content"] is None
    as_text = opened(tmp_path, monkeypatch, notebook_with_widgets, type="file", format="text")
    assert "lonely" in as_text["content"]


MINUTE = timedelta(minutes=1)


@pytest.fixture
def kernels(monkeypatch):
    """Give a function: kernels from name to (GiB, idle since, state); returns names that ended."""

    def ended(most: float, **described: tuple[float, timedelta, str]) -> list[str]:
        now = datetime.now(UTC)
        manager = FrugalKernels(most_memory=most)
        held = {}
        for number, (name, (memory, idle, state)) in enumerate(described.items(), start=1):
            spec = SimpleNamespace(metadata={})
            manager._kernels[name] = SimpleNamespace(
                provisioner=SimpleNamespace(pid=number),
                last_activity=now - idle,
                execution_state=state,
                kernel_spec=spec,
                kernel_name="python3",
            )
            held[number] = memory
        monkeypatch.setattr(lab_server, "_memory_of", lambda pid: held[pid])
        names: list[str] = []

        async def shutdown(kernel_id: str) -> None:
            names.append(kernel_id)
            del manager._kernels[kernel_id]

        monkeypatch.setattr(manager, "shutdown_kernel", shutdown)
        asyncio.run(manager.cull_kernels())
        return names

    return ended


def test_no_kernel_ends_while_there_is_memory(kernels):
    assert kernels(3.5, a=(1.7, 60 * MINUTE, "idle"), b=(1.7, 90 * MINUTE, "idle")) == []


def test_the_kernel_that_was_idle_for_the_longest_time_ends_first(kernels):
    described = {
        "a": (1.0, 20 * MINUTE, "idle"),
        "b": (1.0, 40 * MINUTE, "idle"),
        "c": (1.0, 30 * MINUTE, "idle"),
        "d": (1.0, 0 * MINUTE, "idle"),
    }
    assert kernels(3.5, **described) == ["b"]
    assert kernels(2.5, **described) == ["b", "c"]


def test_a_kernel_in_use_never_ends(kernels):
    described = {"a": (9.0, 60 * MINUTE, "busy"), "b": (9.0, 4 * MINUTE, "idle")}
    assert kernels(3.5, **described) == []


def test_the_memory_of_a_process_is_measured_and_of_no_process_is_none():
    assert 0.01 < lab_server._memory_of(os.getpid()) < 16
    assert lab_server._memory_of(None) == 0
    assert lab_server._memory_of(2**22 + 1) == 0, "no process has this number"
