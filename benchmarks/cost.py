"""Seconds against the amount of work: parts scored, choices trained on, pictures drawn.

``python -m benchmarks.cost`` times several amounts of each kind of work, fits a straight line, and
draws both as ``results/cost.png``. The aim is a linear cost: each further unit costs the same.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from alignsd.figures import style
from alignsd.models.clip import load_clip
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.reward import hps
from alignsd.select.scoring import score_parts
from benchmarks import material
from benchmarks.measure import Timing, alternating, announced, options, save, table
from benchmarks.stages import CLIP, MODEL, hps_recipe
from benchmarks.worker import AS_KERNELS, started

PARTS, CHOICES, PICTURES = "parts scored", "choices trained on", "pictures drawn"
AMOUNTS = {
    PARTS: (1, 2, 4, 8),
    CHOICES: (100, 200, 400, 800),
    PICTURES: (64, 128, 192, 256),
}
QUICK = {PARTS: (1, 2, 3), CHOICES: (5, 10, 15), PICTURES: (2, 4, 6)}
REPEATS = 3
PICTURES_PER_PART = 250
QUICK_PICTURES_PER_PART = 10
BATCH = 16  # pictures at a time in each lane; every amount is a multiple of two such batches
Work = Callable[[int], int]


def scoring(folder: str, amounts: Sequence[int], quick: bool) -> Work:
    """Prepare to score so many parts."""
    pictures_per_part = QUICK_PICTURES_PER_PART if quick else PICTURES_PER_PART
    clip = load_clip(CLIP, device="cpu")
    pictures = material.rendered(material.DISTINCT)
    for amount in amounts:
        size = material.PartSize(amount, pictures_per_part)
        material.write_parts(Path(folder) / str(amount), size, pictures)

    def work(amount: int) -> int:
        with tempfile.TemporaryDirectory(prefix="alignsd-scores-") as out:
            return len(score_parts(Path(folder) / str(amount), Path(out), clip))

    return work


def training(folder: str, amounts: Sequence[int], quick: bool) -> Work:
    """Prepare to train HPS on so many choices, each once."""
    choices = material.write_choices(Path(folder), max(amounts))
    clip = load_clip(CLIP, device="cpu")
    recipe = replace(hps_recipe(), epochs=1.0)
    hps.unlock(clip.model, recipe.image_groups, recipe.text_layers)

    def work(amount: int) -> int:
        some = choices.head(amount)
        return len(list(hps.train_hps(clip, some, Path(folder), recipe, recipe.steps(amount))))

    return work


def drawing(folder: str, amounts: Sequence[int], quick: bool) -> Work:
    """Prepare to draw so many pictures."""
    pipeline = load_pipeline(MODEL, "cpu")
    texts = material.prompts(max(amounts))
    jobs = [Job(str(number), text, number) for number, text in enumerate(texts)]
    how = Drawing(steps=1, guidance=1.5, batch=1 if quick else BATCH)

    def work(amount: int) -> int:
        return len(list(generate(pipeline, jobs[:amount], how, silent=True)))

    return work


WORK: Mapping[str, str] = {
    PARTS: "benchmarks.cost:scoring",
    CHOICES: "benchmarks.cost:training",
    PICTURES: "benchmarks.cost:drawing",
}


def timed(kind: str, amounts: Sequence[int], repeats: int, here: bool) -> dict[int, Timing]:
    """Return the timing of each amount of one kind of work."""
    with tempfile.TemporaryDirectory(prefix="alignsd-benchmark-") as folder:
        about = {"folder": folder, "amounts": list(amounts), "quick": here}
        worker = started(WORK[kind], AS_KERNELS, here, **about)
        try:
            ways = {str(n): lambda n=n: worker(amount=n) for n in amounts}
            timings = alternating(ways, repeats)
        finally:
            worker.close()
    return {int(amount): timing for amount, timing in timings.items()}


def line_through(amounts: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the straight line with the least squared relative deviation, ``(start, slope)``.

    The deviation is relative, so that the largest amount does not decide alone.

    Args:
        amounts, seconds: the points, at least two.

    Returns:
        Seconds at an amount of 0, and seconds per unit.
    """
    weights = 1 / np.asarray(seconds, dtype=float)
    slope, start = np.polyfit(amounts, seconds, 1, w=weights)
    return float(start), float(slope)


def rows_of(kind: str, timings: Mapping[int, Timing]) -> list[dict[str, Any]]:
    """Return a row per amount: the seconds, the line's seconds, and the deviation in percent."""
    amounts = list(timings)
    start, slope = line_through(amounts, [timings[amount].median for amount in amounts])
    rows = []
    for amount, timing in timings.items():
        on_line = start + slope * amount
        rows.append(
            {
                "work": kind,
                "amount": amount,
                "seconds": timing.median,
                "least": timing.least,
                "most": timing.most,
                "line": on_line,
                "off_line_percent": 100 * (timing.median / on_line - 1),
                "line_start": start,
                "line_slope": slope,
            }
        )
    return rows


def plot(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the measured seconds and the lines, a panel per kind of work."""
    points = pd.DataFrame(rows)
    kinds = list(points["work"].unique())
    with plt.rc_context(cast(Any, style.LOOK)):
        fig, panels = plt.subplots(1, len(kinds), figsize=(3.4 * len(kinds), 3), squeeze=False)
        for ax, kind in zip(panels[0], kinds, strict=True):
            some = points[points["work"] == kind]
            below, above = some["seconds"] - some["least"], some["most"] - some["seconds"]
            error = [below, above]
            ax.errorbar(some["amount"], some["seconds"], yerr=error, fmt="o", label="measured")
            first = some.iloc[0]
            ends = np.array([0, some["amount"].max()])
            ax.plot(ends, first["line_start"] + first["line_slope"] * ends, label="line")
            ax.set(xlabel=kind, xlim=(0, None), ylim=(0, None))
        panels[0][0].set_ylabel("seconds")
        panels[0][0].legend()
    return fig


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results and the figure."""
    given = options(__doc__, arguments)
    rows = []
    for kind, amounts in (QUICK if given.quick else AMOUNTS).items():
        with announced(kind):
            repeats = 1 if given.quick else REPEATS
            rows += rows_of(kind, timed(kind, amounts, repeats, here=given.quick))
    print(table(rows))
    path = save("cost", rows, given.folder, pictures_per_part=PICTURES_PER_PART)
    fig = plot(rows)
    fig.savefig(path.with_suffix(".png"))
    plt.close(fig)


if __name__ == "__main__":
    main()
