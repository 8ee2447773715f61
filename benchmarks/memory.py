"""Peak memory of scoring against parts and pictures, and of training against pictures.

``python -m benchmarks.memory`` measures each point in a process of its own, since a process never
forgets its peak. The aim is a flat line: the memory depends on the model and the batch alone.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.adapt import lora
from alignsd.kit.surroundings import peak_memory_mib
from alignsd.models.clip import load_clip
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.reward import hps
from alignsd.select.scoring import score_parts
from benchmarks import material
from benchmarks.measure import announced, options, save, table
from benchmarks.stages import CLIP, ENDLESS, MODEL, hps_recipe, lora_recipe
from benchmarks.worker import AS_KERNELS, started

STATUS = Path("/proc/self/status")
STEPS = 30  # of a training; the memory of a step does not depend on the steps before
Peak = Callable[[], dict[str, float]]
PARTS, PICTURES = "scoring: parts", "scoring: pictures in a part"
CHOICES, EXAMPLES = "HPS training: choices", "LoRA training: pictures"
AMOUNTS = {
    PARTS: (1, 2, 4, 8),
    PICTURES: (250, 1000, 4000),
    CHOICES: (50, 400, 2000),
    EXAMPLES: (400, 4000, 40_000),
}
QUICK = {PARTS: (1, 2), CHOICES: (5,), EXAMPLES: (20,)}
PICTURES_PER_PART = 250
QUICK_PICTURES_PER_PART = 10


def memory() -> dict[str, float]:
    """Return this process's peak, and its memory now without mapped files, in MiB.

    Memory that mirrors a file, such as latents on the disk, can be taken back at any time.
    """
    own = float("nan")
    if STATUS.exists():
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        own = int(lines["RssAnon"].split()[0]) / 1024
    return {"peak_mib": peak_memory_mib(), "own_mib": own}


def scoring(folder: str, steps: int) -> Peak:
    """Prepare the scoring of all parts below ``folder``."""
    clip = load_clip(CLIP, device="cpu")

    def work() -> dict[str, float]:
        score_parts(Path(folder), Path(folder) / "scores", clip)
        return memory()

    return work


def training_hps(folder: str, steps: int) -> Peak:
    """Prepare a training of HPS on the choices in ``folder``."""
    choices = pd.read_json(Path(folder) / "choices.json", dtype={"id": str})
    clip = load_clip(CLIP, device="cpu")
    recipe = hps_recipe()
    hps.unlock(clip.model, recipe.image_groups, recipe.text_layers)

    def work() -> dict[str, float]:
        training = hps.train_hps(clip, choices, Path(folder), recipe, ENDLESS)
        list(islice(training, steps))
        return memory()

    return work


def training_lora(folder: str, steps: int) -> Peak:
    """Prepare a training of a LoRA on the latents in ``folder``."""
    examples = material.read_examples(Path(folder))
    pipeline = load_pipeline(MODEL, "cpu")
    recipe = lora_recipe(ENDLESS)
    lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)

    def work() -> dict[str, float]:
        list(islice(lora.finetune(pipeline, examples, recipe), steps))
        return memory()

    return work


WORK: Mapping[str, str] = {
    PARTS: "benchmarks.memory:scoring",
    PICTURES: "benchmarks.memory:scoring",
    CHOICES: "benchmarks.memory:training_hps",
    EXAMPLES: "benchmarks.memory:training_lora",
}


def make(kind: str, amount: int, folder: Path, pictures_per_part: int) -> None:
    """Make what is worked on: so many parts, pictures in a part, choices or examples."""
    if kind == CHOICES:
        material.write_choices(folder, amount).to_json(folder / "choices.json")
    elif kind == EXAMPLES:
        material.write_examples(folder, amount)
    else:
        parts, pictures = (amount, pictures_per_part) if kind == PARTS else (1, amount)
        size = material.PartSize(parts, pictures)
        material.write_parts(folder, size, material.rendered(material.DISTINCT))


def point(kind: str, amount: int, here: bool) -> dict[str, Any]:
    """Return the memory of one kind and amount of work."""
    with tempfile.TemporaryDirectory(prefix="alignsd-benchmark-") as folder:
        pictures = QUICK_PICTURES_PER_PART if here else PICTURES_PER_PART
        make(kind, amount, Path(folder), pictures)
        steps = 1 if here else STEPS
        worker = started(WORK[kind], AS_KERNELS, here, folder=folder, steps=steps)
        try:
            return {"work": kind, "amount": amount, **worker()}
        finally:
            worker.close()


def growth(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return, for each kind of work, the peak at the largest amount over that at the smallest."""
    peaks = pd.DataFrame(rows).sort_values("amount").groupby("work", sort=False)["peak_mib"]
    ratios = peaks.last() / peaks.first()
    return {str(kind): float(value) for kind, value in ratios.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results."""
    given = options(__doc__, arguments)
    rows = []
    for kind, amounts in (QUICK if given.quick else AMOUNTS).items():
        with announced(kind):
            rows += [point(kind, amount, here=given.quick) for amount in amounts]
    grown = growth(rows)
    print(table(rows, decimals=0))
    print("peak at the largest amount over peak at the smallest:")
    print(table([{"work": kind, "times": value} for kind, value in grown.items()]))
    save("memory", rows, given.folder, growth=grown, steps=STEPS)


if __name__ == "__main__":
    main()
