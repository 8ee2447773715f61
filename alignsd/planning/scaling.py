"""Simulate how a run at full size divides over 1 to 64 GPUs, from the time of each unit of work.

A simulation measures nothing. Unit times come from a measurement or from a published table
(``rates``); how a notebook's work divides comes from ``phases``.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least

# What the seconds of a phase are spent on.
GPU = "GPU"
DECODE = "decode"
NETWORK = "network"
CORE = "one core"
TAIL = "tail"
START = "start"
LIMITS = (GPU, DECODE, NETWORK, CORE, TAIL, START)
HOUR = 3600  # seconds


@dataclass(frozen=True)
class Cluster:
    """The machines that the GPUs stand in. The defaults are assumptions, not measurements.

    Attributes:
        gpus_per_node: GPUs of one machine.
        cores_per_gpu: cores that read pictures for each GPU.
        network: what a node reads from the place of the pictures, in GB per second; infinity for a
            disk that never limits.
        link: what GPUs of one node exchange, in GB per second.
        start: seconds until all processes work, at the start of each phase that they share.
        spread: how much the times of parts and batches differ: standard deviation over mean.

    Raises:
        Problem: if a value is out of its range.
    """

    gpus_per_node: int = 8
    cores_per_gpu: float = 8.0
    network: float = 1.25
    link: float = 20.0
    start: float = 60.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, gpus_per_node=self.gpus_per_node)
        at_least(0, start=self.start, spread=self.spread)
        for name in ("cores_per_gpu", "network", "link"):
            if not getattr(self, name) > 0:
                raise Problem(
                    f"{name} is too small.",
                    expected="more than 0",
                    found=repr(getattr(self, name)),
                    cause="a slip on the command line",
                    fix=f"give the {name} of your machines",
                )

    def network_of_a_gpu(self, gpus: int) -> float:
        """Return a GPU's share of its node's network, in GB per second."""
        return self.network / min(gpus, self.gpus_per_node)

    def exchange(self, gigabytes: float, gpus: int) -> float:
        """Return the seconds in which all GPUs add up gradients of a size.

        In a ring each GPU sends and receives ``2 (n - 1) / n`` times the size. The slowest
        connection of the ring counts: the network, where there are several nodes.
        """
        several_nodes = gpus > self.gpus_per_node
        rate = min(self.network, self.link) if several_nodes else self.link
        return 2 * (gpus - 1) / gpus * gigabytes / rate


@dataclass(frozen=True)
class Outcome:
    """How long a phase takes on a number of GPUs.

    Attributes:
        phase: name of the phase.
        seconds_of: limit -> seconds of the phase that the limit is responsible for. The sum is the
            time of the phase.
        gpu_seconds: what the GPUs work, all GPUs together.
    """

    phase: str
    seconds_of: dict[str, float]
    gpu_seconds: float

    @property
    def seconds(self) -> float:
        """The time of the phase."""
        return sum(self.seconds_of.values())

    @property
    def limit(self) -> str:
        """What takes the largest part of the time."""
        return max(self.seconds_of, key=lambda name: self.seconds_of[name])


@dataclass(frozen=True)
class Divided:
    """Items that the processes share, item ``i`` to process ``i modulo n``: parts, batches.

    Attributes:
        name: of the phase.
        items: how many items.
        gpu: seconds of a GPU per item.
        core: seconds of one core per item. Cores read while the GPU works.
        gigabytes: per item, from the network. The network reads while the GPU works.
        steps: how many batches an item has. Before the first batch of all has been read, the GPU
            waits.
    """

    name: str
    items: int
    gpu: float
    core: float = 0.0
    gigabytes: float = 0.0
    steps: int = 1

    def on(self, gpus: int, cluster: Cluster) -> Outcome:
        """Simulate the phase on a number of GPUs.

        Reading, network and GPU work at the same time on different batches, so the slowest of the
        three sets the pace.
        """
        pace = {
            GPU: self.gpu,
            DECODE: self.core / cluster.cores_per_gpu,
            NETWORK: self.gigabytes / cluster.network_of_a_gpu(gpus),
        }
        slowest = max(pace, key=lambda name: pace[name])
        first_batch = (pace[DECODE] + pace[NETWORK]) / self.steps if self.items else 0.0
        loads = self._loads(gpus, cluster.spread)
        mean = self.items / gpus
        seconds = dict.fromkeys(LIMITS, 0.0)
        seconds[slowest] = mean * pace[slowest]
        seconds[TAIL] = (loads.max() - mean) * pace[slowest]
        seconds[START] = cluster.start + first_batch
        return Outcome(self.name, seconds, self.items * self.gpu)

    def _loads(self, gpus: int, spread: float) -> np.ndarray:
        """Return the work of each process, ``(gpus,)``, in items of mean size."""
        sizes = np.ones(self.items)
        if spread and self.items:
            sigma = math.sqrt(math.log1p(spread**2))  # of a log-normal distribution of this spread
            drawn = np.random.default_rng(0).lognormal(0.0, sigma, self.items)
            sizes = drawn / drawn.mean()
        return np.array([sizes[number::gpus].sum() for number in range(gpus)])


@dataclass(frozen=True)
class Training:
    """Steps whose batch the processes share. More GPUs than examples of a batch have no work.

    Attributes:
        name: of the phase.
        steps: optimizer steps.
        batch: examples of a step.
        gpu: seconds of a GPU per example, also where a GPU has a single example of the step.
        gigabytes: gradients that the processes add up in each step.
    """

    name: str
    steps: int
    batch: int
    gpu: float
    gigabytes: float = 0.0

    def on(self, gpus: int, cluster: Cluster) -> Outcome:
        """Simulate the phase on a number of GPUs."""
        mean = self.batch / gpus
        most = math.ceil(mean)
        seconds = dict.fromkeys(LIMITS, 0.0)
        seconds[GPU] = self.steps * mean * self.gpu
        seconds[TAIL] = self.steps * (most - mean) * self.gpu
        seconds[NETWORK] = self.steps * cluster.exchange(self.gigabytes, gpus)
        seconds[START] = cluster.start
        return Outcome(self.name, seconds, self.steps * self.batch * self.gpu)


@dataclass(frozen=True)
class OnCores:
    """Items that the processes share, each process on one core; the GPUs wait.

    Attributes:
        name: of the phase.
        items: how many items.
        core: seconds of a core per item.
    """

    name: str
    items: int
    core: float

    def on(self, gpus: int, cluster: Cluster) -> Outcome:
        """Simulate the phase on a number of GPUs, with a process for each GPU."""
        mean = self.items / gpus
        seconds = dict.fromkeys(LIMITS, 0.0)
        seconds[CORE] = mean * self.core
        seconds[TAIL] = (math.ceil(mean) - mean) * self.core
        return Outcome(self.name, seconds, 0.0)


Phase = Divided | Training | OnCores


def simulate(phases: Sequence[Phase], gpus: Sequence[int], cluster: Cluster) -> pd.DataFrame:
    """Simulate phases that follow one another, for each number of GPUs.

    Returns:
        One row per phase and number of GPUs: ``gpus``, ``phase``, ``hours``, ``gpu_hours`` (what
        the GPUs work), ``limit`` (what takes the largest part of the phase) and the hours of each
        limit.

    Raises:
        Problem: if a number of GPUs is below 1.
    """
    rows = []
    for count in gpus:
        at_least(1, gpus=count)
        for phase in phases:
            outcome = phase.on(count, cluster)
            row = {
                "gpus": count,
                "phase": outcome.phase,
                "hours": outcome.seconds / HOUR,
                "gpu_hours": outcome.gpu_seconds / HOUR,
                "limit": outcome.limit,
            }
            rows.append(row | {name: outcome.seconds_of[name] / HOUR for name in LIMITS})
    return pd.DataFrame(rows)


def totals(simulated: pd.DataFrame, price: float = 0.0) -> pd.DataFrame:
    """Return the whole run for each number of GPUs.

    Args:
        simulated: from ``simulate``.
        price: of a GPU for an hour, in any currency.

    Returns:
        One row per number of GPUs: ``gpus``, ``hours``, ``paid`` (GPU-hours), ``busy`` (share of
        the paid hours in which the GPUs work), ``speed_up`` (against the smallest number of GPUs,
        times this number), ``longest`` (phase), ``limit`` (what takes the largest part of the whole
        run) and, with a price, ``cost``.
    """
    rows = []
    for count, phases in simulated.groupby("gpus"):
        longest = phases.loc[phases["hours"].idxmax()]
        hours = phases["hours"].sum()
        row = {
            "gpus": int(count),
            "hours": hours,
            "paid": count * hours,
            "busy": phases["gpu_hours"].sum() / (count * hours),
            "longest": longest["phase"],
            "limit": phases[list(LIMITS)].sum().idxmax(),
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    first = table.iloc[0]
    table.insert(4, "speed_up", first["gpus"] * first["hours"] / table["hours"])
    if price:
        table["cost"] = price * table["paid"]
    return table


def in_words(simulated: pd.DataFrame, cluster: Cluster, price: float = 0.0) -> str:
    """Return a simulation as text: what is assumed, the whole run, and each phase.

    Args:
        simulated: from ``simulate``.
        cluster: the simulated machines.
        price: see ``totals``.
    """
    whole_run = totals(simulated, price)
    hours = simulated.pivot(index="phase", columns="gpus", values="hours")
    limits = simulated.pivot(index="phase", columns="gpus", values="limit")
    order = simulated["phase"].drop_duplicates()
    assumed = ", ".join(f"{name} {value:g}" for name, value in asdict(cluster).items())
    lines = [
        f"Simulated, not measured. Assumed: {assumed}.",
        whole_run.round({"hours": 2, "paid": 1, "busy": 3, "speed_up": 2, "cost": 2}).to_string(
            index=False
        ),
        "",
        "hours of each phase by GPUs",
        hours.loc[order].round(3).to_string(),
        "",
        "what takes the largest part of each phase, by GPUs",
        limits.loc[order].to_string(),
    ]
    return "\n".join(lines)
