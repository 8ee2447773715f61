"""A web server with range requests that counts what it sends, and a corpus for its folder."""

import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from test_diffusiondb import ENTRY, encoded

from alignsd.select import ranges


@dataclass
class Counts:
    """What a server was asked for, and what it shall do.

    Attributes:
        requests: ``(path, start, end)`` of each range that was sent.
        heads: the number of questions for a size.
        failures: so many ranges are cut in the middle before the server works.
        ranges: whether the server knows ranges.
        gone: whether every request is refused.
    """

    requests: list[tuple[str, int, int]] = field(default_factory=list)
    heads: int = 0
    failures: int = 0
    ranges: bool = True
    gone: bool = False

    def sent(self) -> int:
        """Return how many bytes were sent."""
        return sum(end - start for _, start, end in self.requests)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Counts]]:
    """Serve a folder; yield the folder's URL and the counts."""
    counts = Counts()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *values):
            pass

        def answer(self, code, content=b"", headers=(), body=True):
            self.send_response(code)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def file(self):
            return folder / self.path.strip("/")

        def tag(self):
            stat = self.file().stat()
            return f'"{stat.st_mtime_ns}-{stat.st_size}"'

        def do_HEAD(self):
            if counts.gone:
                return self.answer(503)
            if not self.file().is_file():
                return self.answer(404)
            with lock:
                counts.heads += 1
            self.send_response(200)
            self.send_header("ETag", self.tag())
            self.send_header("Content-Length", str(self.file().stat().st_size))
            self.end_headers()

        def do_GET(self):
            if counts.gone:
                return self.answer(503)
            if self.file().is_dir():
                names = [p.name + "/" * p.is_dir() for p in sorted(self.file().iterdir())]
                page = "".join(f'<a href="{name}">{name}</a>' for name in names)
                return self.answer(200, page.encode(), [("Content-Type", "text/html")])
            if not self.file().is_file():
                return self.answer(404)
            content = self.file().read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None or not counts.ranges:
                return self.answer(200, content)
            start, end = int(asked[1]), int(asked[2]) + 1
            with lock:
                breaks = counts.failures > 0
                counts.failures -= breaks
                if not breaks:
                    counts.requests.append((self.path, start, end))
            if breaks:
                self.send_response(206)
                self.send_header("Content-Length", str(end - start))
                self.end_headers()
                self.wfile.write(content[start : (start + end) // 2])
                self.close_connection = True
                return None
            return self.answer(206, content[start:end])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counts
    finally:
        server.shutdown()
        server.server_close()


def write_corpus(folder: Path, parts: int = 2, images: int = 40, noise: int = 0) -> list[str]:
    """Write parts whose pictures are ``<part>-<i>.png``, and return the names of all pictures.

    Args:
        folder: where to write.
        parts, images: how many parts, and how many pictures in each.
        noise: bytes of text behind each picture's last byte, so that parts become large.
    """
    rng = np.random.default_rng(0)
    names = []
    for number in range(1, parts + 1):
        path = folder / "images" / f"part-{number:06d}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = [f"{number}-{i}.png" for i in range(images)]
        with zipfile.ZipFile(path, "w") as archive:
            for i, name in enumerate(own):
                archive.writestr(name, encoded(i) + rng.bytes(noise))
            entries = {name: ENTRY | {"p": f"cat {i % 3}"} for i, name in enumerate(own)}
            archive.writestr(f"{path.stem}.json", json.dumps(entries))
        names += own
    return names


def small_blocks(monkeypatch, block: int, ending: int) -> None:
    """Let parts of some hundred kB need several requests."""
    monkeypatch.setattr(ranges, "BLOCK", block)
    monkeypatch.setattr(ranges, "GAP", 64)
    monkeypatch.setattr(ranges, "UNPLANNED", 256)
    monkeypatch.setattr("alignsd.select.remote.ENDING", ending)
