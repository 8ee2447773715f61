"""Work for a person who moves a slider: only the newest wish is worked on."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")
Result = TypeVar("Result")
DELAY = 0.12  # seconds; a slider that is dragged sends many values


class Newest(Generic[Wanted, Result]):
    """Work in a thread on the newest wish, and drop the wishes that have been overtaken.

    The kernel goes on reading messages while the thread works. A result is shown only if no newer
    wish has arrived in the meantime.

    Args:
        work: makes the result of a wish; must not raise.
        show: shows a result.
        delay: seconds between a wish and the beginning of the work.
    """

    def __init__(
        self,
        work: Callable[[Wanted], Result],
        show: Callable[[Result], None],
        delay: float = DELAY,
    ) -> None:
        self._work = work
        self._show = show
        self._delay = delay
        self._newest: list[Wanted] = []  # one wish or none
        self._task: asyncio.Task[None] | None = None

    def ask(self, wish: Wanted) -> None:
        """Ask for the result of a wish. Without an event loop the result is shown at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a script or a test, not a kernel
            self._show(self._work(wish))
            return
        self._newest = [wish]
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._until_nothing_is_new())

    async def _until_nothing_is_new(self) -> None:
        while self._newest:
            await asyncio.sleep(self._delay)
            (wish,) = self._newest
            self._newest = []
            result = await asyncio.to_thread(self._work, wish)
            if not self._newest:
                self._show(result)
