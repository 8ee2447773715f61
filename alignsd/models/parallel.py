"""Run several computations at once, one per core: the miniature's models are too small for two."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from alignsd.base import processes
from alignsd.models.registry import torch_device

# Computations at once. Between torch's calls, computations wait for Python's lock. So on eight
# cores four computations with two cores each are better than eight computations.
MOST = 4
END = object()


def lanes(device: torch.device) -> int:
    """Return how many computations to run at once: one on a GPU, up to 4 on a CPU, one per core.

    Where several processes share the work, each process runs one computation: two threads must not
    exchange values with the other processes at the same time.
    """
    if device.type != "cpu" or processes.count() > 1:
        return 1
    return min(MOST, torch.get_num_threads())


def together(
    iterators: Mapping[str, Iterator[Any]],
    device: str | torch.device,
    first_alone: bool = True,
) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, value)`` of iterators that compute with torch.

    The values of each iterator come in order. On a CPU the iterators advance in step, each in a
    thread that has its share of the cores: of six cores, four iterators have one core each. No
    iterator is at work while the caller looks at a value, so the caller may use what the iterators
    train. A single computation keeps a GPU busy, so on a GPU one iterator follows the other.

    Args:
        iterators: by name. After the first value an iterator must not draw from torch's global
            random generator.
        device: where the iterators compute, ``"auto"`` or a torch device.
        first_alone: compute the first value of each iterator while all other iterators wait. Before
            the first value models are loaded and libraries set up, seldom safe in two threads.
    """
    names = list(iterators)
    at_once = lanes(torch_device(device))
    for start in range(0, len(names), at_once):
        group = {name: iterators[name] for name in names[start : start + at_once]}
        if len(group) > 1:
            yield from _in_step(group, first_alone)
        else:
            yield from _in_turn(group)


def _in_turn(iterators: dict[str, Iterator[Any]]) -> Iterator[tuple[str, Any]]:
    for name, iterator in iterators.items():
        for value in iterator:
            yield name, value


def _in_step(iterators: dict[str, Iterator[Any]], alone: bool) -> Iterator[tuple[str, Any]]:
    """Yield one value of each iterator, then the next value of each, until all have ended.

    Args:
        iterators: by name; an iterator that has ended is taken out.
        alone: compute the first value of each iterator while all other iterators wait.
    """
    cores = torch.get_num_threads()
    count = len(iterators)
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(cores // count,))
    try:
        with pool:
            while iterators:
                values = _next_values(pool, list(iterators.values()), alone)
                for name, value in zip(list(iterators), values, strict=True):
                    if value is END:
                        del iterators[name]
                    else:
                        yield name, value
                alone = False
    finally:
        # The number of threads that one thread sets also holds in every later thread.
        torch.set_num_threads(cores)


def _next_values(
    pool: ThreadPoolExecutor, iterators: list[Iterator[Any]], alone: bool
) -> list[Any]:
    """Return the next value of each iterator, or ``END``."""
    if alone:
        return [pool.submit(next, iterator, END).result() for iterator in iterators]
    tasks = [pool.submit(next, iterator, END) for iterator in iterators]
    return [task.result() for task in tasks]
