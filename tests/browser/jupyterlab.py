"""JupyterLab as a reader uses it: a server on a clone of the repository, and a window on it.

``Server`` starts ``make lab`` and ``Window`` opens, edits and runs notebooks:

    window.open("lab/04_select_images.ipynb")
    window.edit_cell('alpha = 2.0', 'alpha = 1.5')
    window.run_all()
    assert window.warnings() == []
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Locator, Page, Playwright

from alignsd.base.commands import READER_FOLDER

SHOWN = "window.jupyterapp.shell.currentWidget"  # the document in front
TOKEN = "a-token-of-the-tests"
STARTS = 60  # seconds for a server or a notebook to start, far more than it takes
SETTLED = 1.5  # seconds in front after which a notebook stays in front
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch(playwright: Playwright) -> tuple[Browser | None, str]:
    """Return a browser, or None and the reason why there is none."""
    own = Path(playwright.chromium.executable_path)
    installed = [path for path in map(shutil.which, BROWSERS) if path]
    reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
    for program in [*installed, *([str(own)] if own.exists() else [])]:
        try:
            return playwright.chromium.launch(executable_path=program, args=FLAGS), ""
        except Error as error:
            reason = f"{program} does not start: {error.message.splitlines()[0]}"
    return None, reason


def clone(source: Path, target: Path) -> None:
    """Make a repository of what git would keep of another one's folder, edits included.

    Args:
        source: the repository.
        target: the new one, with one commit.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=source, capture_output=True, text=True, check=True)
    for name in filter(None, done.stdout.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    me = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*me, "commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", *command], cwd=target, check=True)


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait until a condition holds; fail with ``what`` if it does not hold in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} seconds"
        time.sleep(0.1)


class Server:
    """The server that ``make lab`` starts in a repository.

    Args:
        repository: the folder; the package is imported from there.
        home: the reader's home; a kernel ``python3`` that is not ours is put there.
        wishes: further options of ``alignsd lab``, such as ``["--preset", "class"]``.
    """

    def __init__(self, repository: Path, home: Path, wishes: Sequence[str] = ()):
        self.repository = repository
        self.log = home / "log.txt"
        self.variables = _variables(repository, home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = [
            *wishes,
            "--no-browser",
            f"--port={self.port}",
            "--LabApp.expose_app_in_browser=True",
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                _make_lab(options),
                cwd=repository,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def address(self) -> str:
        """The address that opens JupyterLab."""
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def wait(self) -> None:
        """Wait until the server answers."""
        until(self._answers, f"the start of JupyterLab (log: {self.log.read_text()})", STARTS)

    def stop(self) -> None:
        """End the server, its kernels and its terminals."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"JupyterLab ended: {self.log.read_text()}"
        try:
            with urllib.request.urlopen(self.address, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


class Window:
    """A window of a browser on JupyterLab, as wide as a small laptop's.

    Args:
        browser: a browser.
        server: a server that answers.
    """

    def __init__(self, browser: Browser, server: Server):
        self.server = server
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.page.set_default_timeout(30_000)
        self.opened = ""  # path of the notebook that was opened last

    def start(self) -> None:
        """Open JupyterLab as its address does, and wait until the first notebook is there."""
        self.page.goto(self.server.address)
        self._wait_for_the_first_document()

    def reload(self) -> None:
        """Load the page again, as the browser's button does; kernels go on."""
        self.page.reload()
        self._wait_for_the_first_document()

    def open(self, path: str) -> None:
        """Open a notebook and wait for its kernel; a notebook that is open comes to the front.

        After a reload, JupyterLab at last brings the document of the address to the front. Nothing
        tells when, so the notebook is opened until the notebook stays in front.

        Args:
            path: relative to the repository, such as ``"lab/04_select_images.ipynb"``.
        """
        in_front_since: float | None = None
        end = time.monotonic() + STARTS
        while in_front_since is None or time.monotonic() < in_front_since + SETTLED:
            if in_front_since is None or self._shown() != path:
                self.command("docmanager:open", {"path": path, "factory": "Notebook"})
                self.page.wait_for_function(f"path => {SHOWN}?.context?.path === path", arg=path)
                in_front_since = time.monotonic()
            assert time.monotonic() < end, f"{path} does not stay in front; {self.told()}"
            time.sleep(0.1)
        self._wait_until_ready()
        self.opened = path

    def run_all(self, seconds: float = 300) -> None:
        """Choose *Run All Cells* and wait until no cell runs any more, at most so long."""
        assert self._shown() == self.opened, f"{self._shown()} is in front, not {self.opened}"
        self.command("notebook:run-all-cells", seconds=seconds)
        counts = [cell.get("execution_count") for cell in self.notebook()["cells"]]
        assert any(counts), f"no cell has run; {self.told()}"

    def edit_cell(self, old: str, new: str) -> None:
        """Replace a text that stands in one code cell of the open notebook, such as a value."""
        places = self.page.evaluate(
            """([old, edited]) => {
                const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
                const found = cells.filter(
                    cell => cell.type === 'code' && cell.sharedModel.getSource().includes(old));
                for (const cell of found) {
                    const source = cell.sharedModel.getSource();
                    cell.sharedModel.setSource(source.replace(old, () => edited));
                }
                return found.length;
            }""",
            [old, new],
        )
        assert places == 1, f"{old!r} stands in {places} code cells"

    def notebook(self) -> dict:
        """Return the open notebook as it would be saved."""
        model = f"{SHOWN}.context.model"
        return json.loads(self.page.evaluate(f"JSON.stringify({model}.toJSON())"))

    def outputs(self, *kinds: str) -> list[dict]:
        """Return the open notebook's outputs; only some kinds, such as ``"error"``, if given."""
        cells = self.notebook()["cells"]
        found = [output for cell in cells for output in cell.get("outputs", [])]
        return [output for output in found if not kinds or output["output_type"] in kinds]

    def warnings(self) -> list[dict]:
        """Return the open notebook's red and pink outputs: errors, and text on stderr."""
        return [o for o in self.outputs("error", "stream") if o.get("name") != "stdout"]

    def told(self) -> str:
        """Return what explains a failure: the cells, the kernel, and the end of the log."""
        cells = [(c.get("execution_count"), c.get("outputs")) for c in self.notebook()["cells"]]
        session = f"{SHOWN}.sessionContext.session"
        kernel = self.page.evaluate(
            f"[{session}.path, {session}.kernel.status, {session}.kernel.connectionStatus]"
        )
        log = self.server.log.read_text(errors="replace")[-3000:]
        return f"counts and outputs: {cells}\nkernel: {kernel}\nlog: {log}"

    def save(self) -> None:
        """Save the open notebook."""
        self.command("docmanager:save")

    def close(self) -> None:
        """Close the open document; its kernel stays."""
        self.command("application:close")

    def command(self, name: str, arguments: dict | None = None, seconds: float = 30) -> None:
        """Run a command of JupyterLab's menus and wait for its end, at most so long."""
        done = self.page.evaluate(
            """async ([name, args, seconds]) => {
                const late = new Promise(r => setTimeout(() => r('late'), 1000 * seconds));
                const command = window.jupyterapp.commands.execute(name, args).then(() => 'done');
                return await Promise.race([command, late]);
            }""",
            [name, arguments or {}, seconds],
        )
        assert done == "done", f"{name} has not ended after {seconds:g} seconds"

    def type_in_terminal(self, line: str) -> None:
        """Type a line in a terminal of JupyterLab; the first line opens the terminal."""
        if self.page.locator(".jp-Terminal").count() == 0:
            self.command("terminal:create-new")
            self.page.wait_for_selector(".jp-Terminal .xterm-screen")
            time.sleep(1)  # the shell starts; what is typed before its prompt is shown twice only
        self.page.locator(".jp-Terminal .xterm-helper-textarea").focus()
        self.page.keyboard.type(f"{line}\n")

    def cells(self) -> Locator:
        """Return the cells of the document in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")

    def _shown(self) -> str:
        return self.page.evaluate(f"{SHOWN}?.context?.path")

    def _wait_for_the_first_document(self) -> None:
        self.page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget")
        self.page.evaluate("window.jupyterapp.restored.then(() => true)")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function(
            """() => window.jupyterapp.shell.currentWidget.sessionContext
                ?.session?.kernel?.status === 'idle'"""
        )


@contextmanager
def serving(repository: Path, home: Path, wishes: Sequence[str] = ()) -> Iterator[Server]:
    """Start a server on a repository, and stop the server afterwards."""
    server = Server(repository, home, wishes)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def _variables(repository: Path, home: Path) -> dict[str, str]:
    """Return the environment of a reader who has a kernel of another environment in the home."""
    foreign = home / ".local/share/jupyter/kernels/python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "Another Python", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    left_out = ("ALIGNSD_", "JUPYTER", "JPY_", "IPYTHON", "XDG_", READER_FOLDER)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    paths = {"HOME": str(home), "PYTHONPATH": str(repository)}
    # Without this, Jupyter in a virtual environment would not look at the home's kernels first.
    choice = {"JUPYTER_PREFER_ENV_PATH": "0", "JUPYTER_TOKEN": TOKEN}
    return variables | paths | choice


def _make_lab(options: list[str]) -> list[str]:
    """Return ``make lab`` for the present environment, or its command where there is no make."""
    environment = Path(sys.prefix)
    if shutil.which("make") is None or not (environment / "bin/alignsd").exists():
        return [sys.executable, "-m", "alignsd", "lab", *options]
    installed = environment / ".installed"
    chosen = [f"VENV={environment}", f"ARGS={' '.join(options)}"]
    return ["make", "--old-file", str(installed), *chosen, "lab"]
