"""Say in words and in a figure what a preset takes on several GPUs: simulated, not measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from alignsd import paper
from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.figures import style
from alignsd.planning.phases import Rates, missing, phases
from alignsd.planning.scaling import Cluster, in_words, simulate
from alignsd.planning.speed_up import speed_up
from alignsd.planning.work import Values


@dataclass(frozen=True)
class Simulation:
    """What is simulated.

    Attributes:
        gpus: numbers of GPUs, see ``numbers_of_gpus``.
        cluster: the machines.
        price: of a GPU for an hour, in any currency; 0 for none.
        figure: PNG to write; None for none.
    """

    gpus: Sequence[int]
    cluster: Cluster
    price: float = 0.0
    figure: Path | None = None


def report(values: Values, parts: int, rates: Rates, simulation: Simulation) -> str:
    """Simulate a preset at full size, write the figure if asked for, and return the words.

    Args:
        values, parts: as in ``work.count_work``.
        rates: as in ``phases.phases``.
        simulation: what is simulated.

    Raises:
        Problem: if the rates are too few for any phase.
    """
    known = phases(values, parts, rates)
    if not known:
        raise Problem(
            "These rates are too few for any notebook.",
            expected="at least read and embed, for notebook 03",
            found=", ".join(rates) or "no rate",
            cause="a file of rates with part of the tasks",
            fix="alignsd simulate --gpus 1,8 --rate embed=0.0032 --rate read=0.007",
        )
    simulated = simulate(known, simulation.gpus, simulation.cluster)
    if simulation.figure is not None:
        _draw(simulated, simulation.figure)
    lines = [f"{parts * paper.IMAGES_PER_PART:,} pictures of DiffusionDB"]
    unknown = missing(rates)
    if unknown:
        lines.append(f"left out, for want of a rate: what needs {', '.join(unknown)}")
    lines.append(in_words(simulated, simulation.cluster, simulation.price))
    return "\n".join(lines)


def _draw(simulated: pd.DataFrame, path: Path) -> None:
    with plt.rc_context(), replacing(path) as unfinished:
        plt.style.use(style.LOOK)
        fig = speed_up(Figure((9, 3.4)), simulated)
        fig.savefig(unfinished, format="png", metadata={"Software": None})


def numbers_of_gpus(text: str) -> list[int]:
    """Return the numbers of a text such as ``1,2,4``, in order; 1 for an empty text.

    Raises:
        Problem: if the text holds something else.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else ["1"]
    if not all(word.isdecimal() and 0 < int(word) <= 100_000 for word in words):
        raise Problem(
            "--gpus is no list of numbers of GPUs.",
            expected="whole numbers from 1, with commas between them",
            found=repr(text)[:60],
            cause="a slip on the command line",
            fix="alignsd simulate --gpus 1,2,4,8",
        )
    return sorted({int(word) for word in words})
