"""Read a file of a server as a file on the disk, by byte ranges.

``zipfile`` asks for a few bytes here and there; a server answers a request in tens of milliseconds.
So a reader plans what will be read, and a few requests fetch the planned bytes while the caller
works on earlier bytes.
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

BLOCK = 8 * 2**20  # bytes of one request at most
GAP = 2**18  # bytes; two spans that are nearer than this become one request
AHEAD = 3  # requests that are sent before their bytes are needed
UNPLANNED = 2**16  # bytes that are fetched at least where nothing was planned
Fetch = Callable[[int, int], bytes]  # (start, end) -> the bytes from start to before end


@dataclass(frozen=True)
class Piece:
    """Bytes of a file.

    Attributes:
        start: position of the first byte in the file.
        content: the bytes.
    """

    start: int
    content: bytes

    @property
    def end(self) -> int:
        """Return the position behind the last byte."""
        return self.start + len(self.content)

    def cut(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to before ``end``, as far as the piece holds them."""
        return self.content[start - self.start : end - self.start]


def requests_of(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ``(start, end)`` of the requests that fetch spans of a file, in the order of the spans.

    A span that begins where the span before it ends, or a little later, shares its requests. No
    request has more than ``BLOCK`` bytes.
    """
    run: tuple[int, int] | None = None
    for start, end in spans:
        if run is not None and 0 <= start - run[1] <= GAP:
            run = (run[0], end)
        else:
            yield from _blocks(run)
            run = (start, end)
    yield from _blocks(run)


def _blocks(run: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """Yield a run of bytes in blocks."""
    if run is None:
        return
    start, end = run
    for first in range(start, end, BLOCK):
        yield first, min(first + BLOCK, end)


class RangeReader(io.RawIOBase):
    """A file whose bytes are fetched by ranges.

    At most ``AHEAD`` + 2 blocks are held at a time, whatever the file's size.

    Args:
        fetch: returns the bytes of a range. Called from several threads.
        ending: the file's last bytes, which hold a zip's directory.
    """

    def __init__(self, fetch: Fetch, ending: Piece) -> None:
        self._fetch = fetch
        self._ending = ending
        self._position = 0
        self._held: deque[Piece] = deque(maxlen=2)
        self._to_ask: Iterator[tuple[int, int]] = iter(())
        self._asked: deque[tuple[int, int, Future[bytes]]] = deque()
        self._threads = ThreadPoolExecutor(max_workers=AHEAD)

    def plan(self, spans: Iterable[tuple[int, int]]) -> None:
        """Say what will be read next, in this order; the first requests are sent at once."""
        self._forget_plan()
        last = self._ending.start
        clipped = ((max(0, start), min(end, last)) for start, end in spans)
        self._to_ask = requests_of(span for span in clipped if span[0] < span[1])
        self._ask_ahead()

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: every position can be read."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; nothing is fetched.

        Raises:
            OSError: if the position is before the file's first byte, as of a file on the disk.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ending.end}[whence]
        if base + offset < 0:
            raise OSError(f"position {base + offset} is before the first byte")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next ``size`` bytes, or all bytes that are left; fewer at the file's end."""
        end = self._ending.end
        if size is not None and size >= 0:
            end = min(end, self._position + size)
        pieces = []
        while self._position < end:
            piece = self._piece(self._position, end)
            content = piece.cut(self._position, end)
            pieces.append(content)
            self._position += len(content)
        return b"".join(pieces)

    def close(self) -> None:
        """Drop what was fetched and what was planned."""
        self._forget_plan()
        self._held.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _piece(self, start: int, end: int) -> Piece:
        """Return a piece that holds the byte at ``start``."""
        for piece in (self._ending, *self._held):
            if piece.start <= start < piece.end:
                return piece
        planned = self._planned(start)
        if planned is None:
            last = min(self._ending.start, max(end, start + UNPLANNED), start + BLOCK)
            planned = Piece(start, self._fetch(start, last))
        self._held.append(planned)
        return planned

    def _planned(self, start: int) -> Piece | None:
        """Return the planned piece with the byte at ``start``, and drop the pieces before it.

        Return None if no request of those already sent holds the byte; the plan stays as it is.
        """
        if not any(first <= start < end for first, end, _ in self._asked):
            return None
        while True:
            first, end, answer = self._asked.popleft()
            self._ask_ahead()
            if first <= start < end:
                return Piece(first, answer.result())
            answer.cancel()

    def _ask_ahead(self) -> None:
        """Send requests of the plan until ``AHEAD`` requests are under way or answered."""
        while len(self._asked) < AHEAD:
            span = next(self._to_ask, None)
            if span is None:
                return
            self._asked.append((*span, self._threads.submit(self._fetch, *span)))

    def _forget_plan(self) -> None:
        self._to_ask = iter(())
        for _, _, answer in self._asked:
            answer.cancel()
        self._asked.clear()
