"""The heavy stages of the miniature as endless work, whose pace is measured for a few seconds."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd import sources
from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.base.images import save_png
from alignsd.compare import image_metrics
from alignsd.models.aesthetic import load_aesthetic
from alignsd.models.clip import load_clip
from alignsd.models.parallel import together
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.reward import hps
from alignsd.select import scoring
from benchmarks import material

MODEL = "miniature/stable-diffusion"
CLIP = "miniature/clip"
JUDGE = "miniature/judge"
ENDLESS = 1_000_000  # steps; no measuring comes so far


@dataclass(frozen=True)
class Size:
    """How much work a stage does between two looks at the clock.

    Attributes:
        batch: pictures that each lane draws at a time (notebooks 01 and 06: 32).
        steps: denoising steps of a picture.
        pictures: in a part that is scored, and in a measuring.
        choices: to train HPS on.
    """

    batch: int = 32
    steps: int = 3
    pictures: int = 256
    choices: int = 100


QUICK = Size(batch=2, steps=1, pictures=8, choices=6)


def hps_recipe() -> hps.HpsRecipe:
    """Return how notebook 02 trains HPS in preset mini."""
    return hps.HpsRecipe(
        batch=5,
        learning_rate=5e-5,
        initial_scale=30.0,
        weight_decay=3.1e-3,
        mirror=True,
        seed=0,
        image_groups=2,
        text_layers=2,
        epochs=2.0,
    )


def lora_recipe(steps: int, **changed: Any) -> lora.LoraRecipe:
    """Return how notebook 05 trains a LoRA in preset mini.

    Args:
        steps: optimizer steps.
        changed: settings that differ.
    """
    settings: dict[str, Any] = {
        "identifier": "Weird image. ",
        "identifier_alone": 0.4,
        "batch": 20,
        "micro_batch": 20,
        "learning_rate": 4e-3,
        "schedule": "cosine",
        "weight_decay": 1e-2,
        "snr_gamma": 1.0,
        "rank": 16,
        "seed": 0,
    }
    return lora.LoraRecipe(**(settings | {"steps": steps} | changed))


def draw(folder: Path, size: Size) -> Iterator[int]:
    """Draw guided pictures, two lanes at once on two cores."""
    pipeline = load_pipeline(MODEL, "cpu")
    texts = material.prompts(2 * size.batch)
    jobs = [Job(str(number), text, number) for number, text in enumerate(texts)]
    drawing = Drawing(size.steps, guidance=1.5, batch=size.batch)
    while True:
        drawn = generate(pipeline, jobs, drawing, silent=True)
        yield sum(1 for _ in drawn)


def train_hps(folder: Path, size: Size) -> Iterator[int]:
    """Train HPS on choices of four pictures, five choices a step."""
    choices = material.write_choices(folder, size.choices)
    clip = load_clip(CLIP, device="cpu")
    recipe = hps_recipe()
    hps.unlock(clip.model, recipe.image_groups, recipe.text_layers)
    for _ in hps.train_hps(clip, choices, folder, recipe, ENDLESS):
        yield 1


def train_loras(folder: Path, size: Size) -> Iterator[int]:
    """Train two LoRAs side by side, twenty examples a step."""
    examples = material.write_examples(folder, size.pictures)
    trainings = {name: _training(examples) for name in ("adapted", "regularization_only")}
    for _ in together(trainings, "cpu"):
        yield 1


def _training(examples: Examples) -> Iterator[tuple[int, float]]:
    pipeline = load_pipeline(MODEL, "cpu")
    recipe = lora_recipe(ENDLESS)
    lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)
    return lora.finetune(pipeline, examples, recipe)


def score(folder: Path, size: Size) -> Iterator[int]:
    """Score a part of DiffusionDB with HPS."""
    pictures = material.rendered(size.pictures)
    material.write_parts(folder, material.PartSize(1, size.pictures), pictures)
    (path,) = (folder / "images").glob("*.zip")
    clip = load_clip(CLIP, device="cpu")
    while True:
        yield len(scoring.score_part(path, clip))


def evaluate(folder: Path, size: Size) -> Iterator[int]:
    """Measure pictures as notebook 07: HPS, CLIP score, aesthetic score, judge, features."""
    rows = []
    texts = material.prompts(size.pictures)
    for number, picture in enumerate(material.rendered(size.pictures)):
        file = f"original/{number}.png"
        save_png(folder / file, picture)
        rows.append(("original", str(number), texts[number], file))
    images = pd.DataFrame(rows, columns=["arm", "id", "prompt", "file"])
    scorers = image_metrics.Scorers(
        hps=load_clip(CLIP, device="cpu"),
        clip=load_clip(CLIP, device="cpu"),
        aesthetic=load_aesthetic("miniature/aesthetic"),
        judge=sources.judge(JUDGE),
        network=sources.feature_network(JUDGE),
        device="cpu",
    )
    while True:
        metrics, _ = image_metrics.measure(images, folder, scorers)
        yield len(metrics)


STAGES: dict[str, Callable[[Path, Size], Iterator[int]]] = {
    "drawing": draw,
    "HPS training": train_hps,
    "LoRA training, two": train_loras,
    "scoring": score,
    "evaluation": evaluate,
}
UNITS = {
    "drawing": "pictures",
    "HPS training": "steps",
    "LoRA training, two": "steps",
    "scoring": "pictures",
    "evaluation": "pictures",
}
WARM_UP = 2  # units of work before the first measuring


def paces(quick: bool) -> Callable[[str, float], float]:
    """Prepare all stages, and return a function that measures a stage's pace.

    Args:
        quick: whether to take the smallest sizes.

    Returns:
        A function of a stage's name and of seconds. The function does the stage's work for at
        least so many seconds, and returns units per second.
    """
    size = QUICK if quick else Size()
    kept = tempfile.TemporaryDirectory(prefix="alignsd-benchmark-")
    running = {}
    for number, (name, start) in enumerate(STAGES.items()):
        folder = Path(kept.name) / str(number)
        folder.mkdir()
        running[name] = start(folder, size)
        for _ in range(WARM_UP):
            next(running[name])

    def pace(stage: str, seconds: float, folder: object = kept) -> float:
        units, elapsed = 0, 0.0
        started = time.perf_counter()
        while elapsed < seconds:
            units += next(running[stage])
            elapsed = time.perf_counter() - started
        return units / elapsed

    return pace
