"""Divide the work of one run among several processes, which torch's launcher starts.

Every process runs the same code. A function that has much to do works on its share of the items;
then all processes exchange what they found. A process without a launcher has all the work, and
nothing here imports torch.
"""

import atexit
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from alignsd.base.errors import Problem

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import Store

T = TypeVar("T")

# What torch's launcher (torchrun, accelerate launch) tells each process.
NUMBER = "RANK"
COUNT = "WORLD_SIZE"
LOCAL_NUMBER = "LOCAL_RANK"
LOCAL_COUNT = "LOCAL_WORLD_SIZE"
ADDRESS = "MASTER_ADDR"
PORT = "MASTER_PORT"
KEPT_BY_LAUNCHER = "TORCHELASTIC_USE_AGENT_STORE"
# The runner names a meeting for each notebook: kernels of one notebook meet, and no others.
MEETING = "ALIGNSD_MEETING"

# One process may work for days on the last part while the others wait. A process that is lost
# closes its connections, so that the others need not wait so long.
PATIENCE = timedelta(days=14)
ARRIVAL = timedelta(minutes=30)  # for all processes to start the same notebook
BUCKET = 32 * 2**20  # bytes that are added up at once; larger tensors make a bucket of their own


def count() -> int:
    """Return how many processes share the work of this run; 1 without a launcher."""
    if any(name not in os.environ for name in (NUMBER, COUNT, ADDRESS, PORT)):
        return 1
    return int(os.environ[COUNT])


def number() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ[NUMBER]) if count() > 1 else 0


def local_number() -> int:
    """Return the number of this process among the processes on this machine, from 0."""
    return int(os.environ.get(LOCAL_NUMBER, "0")) if count() > 1 else 0


def local_count() -> int:
    """Return how many of the processes are on this machine."""
    return int(os.environ.get(LOCAL_COUNT, "1")) if count() > 1 else 1


def is_first() -> bool:
    """Return whether this process is the one that writes what all processes share."""
    return number() == 0


def named(process: int) -> str:
    """Return a process's name for messages: ``"process 1 of 0 to 3"``."""
    return f"process {process} of 0 to {count() - 1}"


def share(items: Sequence[T]) -> list[T]:
    """Return this process's share of the items: every ``count()``-th, from ``number()`` on.

    Args:
        items: the same items in the same order in every process.
    """
    return list(items[number() :: count()])


def gathered(values: Sequence[T]) -> list[T]:
    """Exchange the values of all shares; all processes must call the function.

    Args:
        values: one value for each item of this process's ``share``, in order. Values are pickled.

    Returns:
        The values of all items, in the order of the items.

    Raises:
        Problem: if a process was lost.
        ValueError: if the numbers of values are not those of shares.
    """
    if count() == 1:
        return list(values)
    import torch.distributed as group

    shares: list[Any] = [None] * count()
    with _together():
        group.all_gather_object(shares, list(values))
    total = sum(len(one) for one in shares)
    numbers = [len(one) for one in shares]
    if numbers != [len(range(first, total, count())) for first in range(count())]:
        raise ValueError(f"shares of {numbers} values are not those of {total} items")
    everything: list[Any] = [None] * total
    for first, one in enumerate(shares):
        everything[first :: count()] = one
    return everything


def first_does(work: Callable[[], T]) -> T:
    """Let the first process work while the others wait; every process returns what work returned.

    All processes must call the function. The work must not exchange anything itself.

    Args:
        work: such as writing a file that all processes read. What work returns is pickled.

    Raises:
        Problem: if a process was lost.
    """
    (done,) = gathered([each() for each in share([work])])
    return done


def wait() -> None:
    """Wait until all processes are here, such as after a file that one of them writes.

    Raises:
        Problem: if a process was lost.
    """
    if count() == 1:
        return
    import torch
    import torch.distributed as group

    with _together():
        group.all_reduce(torch.zeros(1))


def add_up(tensors: "Iterable[Tensor]") -> None:
    """Replace each tensor by its sum over the processes, in place.

    All processes must call the function with tensors of the same shapes in the same order. All
    processes get the same sums to the bit.

    Raises:
        Problem: if a process was lost.
    """
    if count() == 1:
        return
    import torch
    import torch.distributed as group

    with _together(), torch.no_grad():
        for bucket in _buckets(tensors):
            together = torch.cat([tensor.reshape(-1) for tensor in bucket])
            group.all_reduce(together)
            sums = together.split([tensor.numel() for tensor in bucket])
            for tensor, total in zip(bucket, sums, strict=True):
                tensor.copy_(total.view_as(tensor))


def _buckets(tensors: "Iterable[Tensor]") -> "Iterator[list[Tensor]]":
    """Yield neighbouring tensors of one kind, at most ``BUCKET`` bytes at once."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        is_like = not bucket or (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not is_like or size + tensor.nbytes > BUCKET):
            yield bucket
            bucket = []
            size = 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


def store() -> "Store":
    """Return the launch's table of short texts, which all processes of the launch can read.

    The launcher keeps the table; without such a launcher the first process keeps the table.
    """
    from torch.distributed import TCPStore

    kept_by_launcher = os.environ.get(KEPT_BY_LAUNCHER) == str(True)
    return TCPStore(
        os.environ[ADDRESS],
        int(os.environ[PORT]),
        is_master=is_first() and not kept_by_launcher,
        timeout=ARRIVAL,
        wait_for_workers=False,
    )


@contextmanager
def _together() -> Iterator[None]:
    """Join the group of processes if need be, and explain an error of the exchange in the block."""
    try:
        _join()
        yield
    except RuntimeError as error:
        raise _lost(error) from error


def _join() -> None:
    """Meet the other processes of this notebook, once."""
    import torch.distributed as group

    if group.is_initialized():
        return
    backend = _backend()
    meeting = group.PrefixStore(os.environ.get(MEETING, "alignsd"), store())
    group.init_process_group(
        backend, store=meeting, rank=number(), world_size=count(), timeout=PATIENCE
    )
    atexit.register(group.destroy_process_group)


def _backend() -> str:
    """Return gloo, with NCCL beside it for GPUs where each process has a GPU of its own."""
    import torch

    if not torch.cuda.is_available() or torch.cuda.device_count() < local_count():
        return "gloo"
    torch.cuda.set_device(local_number())  # where NCCL works
    return "cpu:gloo,cuda:nccl"


def _lost(error: Exception) -> Problem:
    lines = str(error).strip().splitlines()
    return Problem(
        "Another process of this run was lost.",
        expected=f"{count()} processes at work",
        found=f"{named(number())}, on {socket.gethostname()}, heard: {lines[0][:200]}",
        cause="the other process failed, was killed, or its machine or network failed; "
        "the other process's own message tells more",
        fix="start the same run again, on any number of processes: it goes on where it stopped",
    )
