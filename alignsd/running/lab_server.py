"""What the server of ``alignsd lab`` does in another way than JupyterLab's own server.

The server starts kernels with its own Python, ends idle kernels that hold too much memory, and
shows a widget only while its kernel lives. JupyterLab makes these classes; their names stand in the
command line that ``lab.command`` returns.
"""

from collections.abc import Container, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from queue import Empty
from typing import Any

import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Float, default

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_TARGET = "jupyter.widget"  # what kernels call the connections of widgets
PATIENCE = 5.0  # seconds in which a kernel answers; a kernel that just starts takes two
NEVER = datetime.min.replace(tzinfo=UTC)
GONE = "The kernel of this widget has ended. Run the cell to see the widget again."


class OwnKernels(KernelSpecManager):
    """Start the kernel ``python3`` with the Python that runs JupyterLab.

    Another environment may have installed a kernel of that name for the user.
    """

    def find_kernel_specs(self) -> dict[str, str]:
        """Return ``{kernel's name: folder of the kernel's icons}``."""
        return super().find_kernel_specs() | {NATIVE_KERNEL_NAME: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how a kernel is started."""
        if kernel_name.lower() == NATIVE_KERNEL_NAME:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())
        return super().get_kernel_spec(kernel_name)


class FrugalKernels(AsyncMappingKernelManager):
    """End idle kernels while all kernels together hold too much memory.

    The kernel that has been idle for the longest time ends first. A kernel that computes, or that
    was used within the last minutes, stays. What a notebook has written stays on disk, and the
    notebook's outputs stay in view.

    Attributes:
        most_memory: GiB that the kernels may hold together.
    """

    most_memory = Float(3.5, config=True, help="GiB that the kernels may hold together.")

    @default("cull_idle_timeout")
    def _idle_seconds(self) -> int:
        return 5 * 60

    @default("cull_interval")
    def _seconds_between_looks(self) -> int:
        return 30

    @default("cull_connected")
    def _also_of_an_open_notebook(self) -> bool:
        return True

    async def cull_kernels(self) -> None:
        """Look at the kernels once, as JupyterLab's server does every ``cull_interval`` seconds."""
        by_last_use = sorted(self.list_kernel_ids(), key=self._last_use)
        for kernel_id in by_last_use:
            if self.memory_held() <= self.most_memory:
                return
            if kernel_id in self:  # the reader may have ended the kernel meanwhile
                await self.cull_kernel_if_idle(kernel_id)

    def memory_held(self) -> float:
        """Return the GiB that all kernels hold; memory that several share is counted once."""
        kernels = [self.get_kernel(kernel_id) for kernel_id in self.list_kernel_ids()]
        return sum(_memory_of(getattr(kernel.provisioner, "pid", None)) for kernel in kernels)

    def _last_use(self, kernel_id: str) -> datetime:
        return getattr(self.get_kernel(kernel_id), "last_activity", NEVER)


def _memory_of(pid: int | None) -> float:
    """Return the GiB that a process holds, or 0 for a process that has ended."""
    try:
        memory = psutil.Process(pid).memory_full_info() if pid else None
    except psutil.Error:
        return 0.0
    if memory is None:
        return 0.0
    return getattr(memory, "pss", memory.rss) / 2**30  # macOS and Windows do not know shares


class LivingWidgets(AsyncLargeFileManager):
    """Open a notebook without the widgets that the notebook's kernel does not know.

    JupyterLab cannot draw a widget whose kernel has ended, and shows *Error displaying widget* in
    place of the output's HTML or picture. The file itself stays as it is until it is saved.
    """

    async def get(
        self, path: str, content: bool = True, *arguments: Any, **options: Any
    ) -> dict[str, Any]:
        """Return the model of a file or folder, see ``AsyncFileContentsManager.get``."""
        model = await super().get(path, content, *arguments, **options)
        if content and model["type"] == "notebook" and has_widgets(model["content"]):
            remove_widgets(model["content"], await self._living(model["path"]))
        return model

    async def _living(self, path: str) -> Container[str]:
        """Return the ids of the widgets that a notebook's kernel knows; none without a kernel."""
        server: Any = self.parent
        for session in await server.session_manager.list_sessions():
            if session["path"] == path:
                kernel = server.kernel_manager.get_kernel(session["kernel"]["id"])
                return await living_widgets(kernel)
        return ()


async def living_widgets(kernel: AsyncKernelManager) -> Container[str]:
    """Return the ids of the widgets that a kernel knows; none if the kernel does not answer.

    The kernel answers while a cell runs: the question goes to a thread of its own.
    """
    client = kernel.client()
    client.start_channels(shell=False, iopub=False, stdin=False, hb=False)
    try:
        question = client.session.msg("comm_info_request", {"target_name": WIDGET_TARGET})
        client.control_channel.send(question)
        answer = await client.get_control_msg(timeout=PATIENCE)
    except Empty:
        return ()
    finally:
        client.stop_channels()
    return answer["content"].get("comms", {}).keys()


def has_widgets(notebook: Mapping[str, Any]) -> bool:
    """Return whether an output of a notebook is a widget, or the metadata hold widgets' states."""
    return "widgets" in notebook["metadata"] or any(True for _ in _widget_views(notebook))


def remove_widgets(notebook: MutableMapping[str, Any], living: Container[str] = ()) -> None:
    """Remove the widgets from a notebook's outputs, and the widgets' states from the metadata.

    Of each output the other forms stay, such as HTML or a picture.

    Args:
        notebook: a notebook of version 4; changed in place.
        living: the ids of widgets that stay.
    """
    notebook["metadata"].pop("widgets", None)
    for shown in _widget_views(notebook):
        if shown[WIDGET_VIEW].get("model_id") not in living:
            del shown[WIDGET_VIEW]
            shown.setdefault("text/plain", GONE)


def _widget_views(notebook: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the forms of each output that is a widget: ``{MIME type: content}``."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            shown = output.get("data", {})
            if WIDGET_VIEW in shown:
                yield shown
