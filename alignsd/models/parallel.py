"""Keeps all cores of a CPU busy with models too small for two of them: each core gets a computation of its own."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from alignsd.models.registry import torch_device

MOST = 4  # computations at once: on eight cores each gets two, since between torch's calls they wait for Python's lock
END = object()


def lanes(device: torch.device) -> int:
    """Returns how many computations to run at the same time: one on a GPU, on a CPU one per core, at most four."""
    return min(MOST, torch.get_num_threads()) if device.type == "cpu" else 1


def together(iterators: Mapping[str, Iterator[Any]], device: str | torch.device, first_alone: bool = True) -> Iterator[tuple[str, Any]]:
    """Yields ``(name, value)`` of iterators that compute with torch; each one's values come in order.

    On a CPU they advance in step, each in a thread that has its share of the cores (of six, four have one each). None of them is
    at work while the caller looks at a value, so that it may use what they train. On a GPU, which one keeps busy, the next
    begins when one has ended.

    Args:
        iterators: by name. After their first value they must not draw from torch's global random generator.
        device: where they compute, ``"auto"`` or a torch device.
        first_alone: compute the first value of each while the others wait: on the way to it models are loaded and libraries
            set up, which is seldom safe in two threads.
    """
    names, at_once = list(iterators), lanes(torch_device(device))
    for start in range(0, len(names), at_once):
        group = {name: iterators[name] for name in names[start:start + at_once]}
        if len(group) > 1:
            yield from _in_step(group, first_alone)
        else:
            yield from ((name, value) for name, iterator in group.items() for value in iterator)


def _in_step(iterators: dict[str, Iterator[Any]], alone: bool) -> Iterator[tuple[str, Any]]:
    cores = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(len(iterators), initializer=torch.set_num_threads, initargs=(cores // len(iterators),)) as pool:
            while iterators:
                tasks = (pool.submit(next, iterator, END) for iterator in iterators.values())
                values = [task.result() for task in (tasks if alone else list(tasks))]
                for name, value in zip(list(iterators), values, strict=True):
                    if value is END:
                        del iterators[name]
                    else:
                        yield name, value
                alone = False
    finally:
        torch.set_num_threads(cores)  # a thread's setting is also that of every later thread
