"""A server of ``alignsd rate`` in a process of its own, and browsers without a screen."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np

from alignsd.base.images import save_png
from alignsd.base.paths import root

RUN, DECK = "class-7b", "own-pictures"
PROMPT = 'a <b>red</b> circle & "two" squares {{ 7 * 7 }}'


def write_pictures(folder: Path, questions: int = 5, seed: int = 0) -> Path:
    """Write a folder of prompts, each with two to four pictures, and return the folder."""
    rng = np.random.default_rng(seed)
    for number in range(questions):
        place = folder / f"{number:02}"
        for name in "abcd"[: 2 + number % 3]:
            blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            save_png(place / f"{name}.png", blocks.repeat(8, axis=0).repeat(8, axis=1))
        (place / "prompt.txt").write_text(f"{number}: {PROMPT}", "utf-8")
    return folder


class Server:
    """``alignsd rate`` on a folder of pictures.

    Args:
        pictures: the folder, see ``write_pictures``.
        output: where the run's folder lies.
        port: the port; 0 for any free port.
    """

    def __init__(self, pictures: Path, output: Path, port: int = 0):
        self.votes = output / "papermill_runs" / RUN / "votes" / f"own-{pictures.name}.jsonl"
        self.variables = os.environ | {"ALIGNSD_OUTPUT": str(output), "PYTHONPATH": str(root())}
        command = [*self.command(), "--folder", str(pictures), "--port", str(port)]
        self.process = subprocess.Popen(
            command,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Ctrl-C works also where the tests were started in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.printed = self._read_until("Ctrl-C ends the page")
        self.port = int(re.search(r"http://[^/]+:(\d+)/", self.printed)[1])

    @staticmethod
    def command() -> list[str]:
        return [sys.executable, "-m", "alignsd", "rate", "--run", RUN]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[dict]:
        """Return the events in the file of votes."""
        if not self.votes.exists():
            return []
        return [json.loads(line) for line in self.votes.read_text("utf-8").splitlines()]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """End the server; return the exit code and what it printed since its start."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        printed, _ = self.process.communicate(timeout=20)
        return self.process.returncode, printed

    def _read_until(self, text: str) -> str:
        printed = ""
        while text not in printed:
            line = self.process.stdout.readline()  # empty at the end of the process
            assert line, f"the server did not start: {printed}"
            printed += line
        return printed


class Visitor:
    """A browser without a screen: it keeps cookies, and knows the name that it chose."""

    def __init__(self, port: int):
        self.port = port
        self.cookies: dict[str, str] = {}
        self.name = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Cookie": cookies} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or ():
            self.cookies |= {name: part.value for name, part in SimpleCookie(line).items()}
        return answer.status, content.decode("utf-8", "replace"), dict(answer.headers)

    def enter(self, name: str) -> tuple[int, str]:
        """Type a name into the first page; return status and text."""
        _, page, _ = self.ask("GET", "/")
        secret = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]
        form = urlencode({"_xsrf": secret, "name": name}).encode()
        kind = "application/x-www-form-urlencoded"
        status, page, headers = self.ask("POST", "/", form, Content_Type=kind)
        if status == 303:
            assert headers["Location"] == f"/r/{quote(name)}"
            self.name = name
            status, page, _ = self.ask("GET", headers["Location"])
        return status, page

    def view(self, name: str = "") -> tuple[int, dict]:
        """Return the present question, of another rater if there is a name."""
        status, text, _ = self.ask("GET", f"/r/{quote(name or self.name)}/answers")
        return status, json.loads(text)

    def answer(self, message: object, name: str = "") -> tuple[int, dict]:
        """Send an answer, for another rater if there is a name."""
        page = self.ask("GET", f"/r/{quote(self.name)}")[1]
        secret = re.search(r'name="xsrf-token" content="([^"]+)"', page)[1]
        path = f"/r/{quote(name or self.name)}/answers"
        body = json.dumps(message).encode()
        status, text, _ = self.ask("POST", path, body, X_XSRFToken=secret)
        return status, json.loads(text)

    def answer_all(self, place: int = 0) -> list[tuple[str, int]]:
        """Pick the picture in a place until the end; return (question, status)."""
        sent = []
        _, view = self.view()
        while not view["done"]:
            message = {"event": "pick", "question": view["question"], "picked": place}
            status, view = self.answer(message)
            sent.append((message["question"], status))
        return sent
