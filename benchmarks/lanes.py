"""What computing side by side gains (``models.parallel``), against computing in turn on all cores.

``python -m benchmarks.lanes`` runs guided steps of the UNet, and two LoRA trainings, in both ways.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.models.parallel import lanes, together
from alignsd.models.stable_diffusion import load_pipeline
from benchmarks.measure import alternating, announced, options, ratio, save, table
from benchmarks.stages import MODEL, lora_recipe

CPU = torch.device("cpu")
IN_TURN = "in turn"
SIDE_BY_SIDE = "side by side"
Work = Callable[[], dict[str, Iterator[Any]]]  # starts computations, by name


def denoising(images: int = 32, steps: int = 12) -> Work:
    """Return the work of drawing: guided steps of the miniature's UNet, one lane per core.

    Args:
        images: images in each lane.
        steps: denoising steps.
    """
    pipeline = load_pipeline(MODEL, "cpu")
    tokens = pipeline.tokenizer.model_max_length
    width = pipeline.unet.config.cross_attention_dim
    latents = torch.zeros(2 * images, 4, 8, 8).to(memory_format=torch.channels_last)
    texts = torch.zeros(2 * images, tokens, width)

    def denoise() -> Iterator[torch.Tensor]:
        for _ in range(steps):
            with torch.no_grad():
                yield pipeline.unet(latents, 500, texts).sample

    return lambda: {str(lane): denoise() for lane in range(lanes(CPU))}


def training(batch: int = 20, steps: int = 12) -> Work:
    """Return the work of fine-tuning: two LoRA trainings of the miniature, here on noise.

    Args:
        batch: examples per step.
        steps: training steps.
    """
    moments = np.random.default_rng(0).random((64, 8, 8, 8), dtype=np.float32)
    captions = ["a person waving"] * 64
    negative = np.arange(64) % 4 == 0
    examples = Examples([moments], np.arange(64), captions, negative)
    recipe = lora_recipe(steps, batch=batch, micro_batch=batch)
    pipelines = {name: load_pipeline(MODEL, "cpu") for name in ("adapted", "regularization_only")}
    for pipeline in pipelines.values():
        lora.add_lora(pipeline.unet, recipe.rank, recipe.seed)

    def start(name: str) -> Iterator[tuple[int, float]]:
        return lora.finetune(pipelines[name], examples, recipe)

    return lambda: {name: start(name) for name in pipelines}


def in_turn(work: Work) -> Iterator[Any]:
    """Run the computations in sequence, each on all cores."""
    return chain.from_iterable(work().values())


def side_by_side(work: Work) -> Iterator[Any]:
    """Run all computations at the same time, each on a share of the cores."""
    return together(work(), CPU, first_alone=False)


def compared(name: str, work: Work, repeats: int) -> list[dict[str, Any]]:
    """Time both ways in turn, and return a row per way."""
    ways = {
        IN_TURN: lambda: _run(in_turn(work)),
        SIDE_BY_SIDE: lambda: _run(side_by_side(work)),
    }
    timings = alternating(ways, repeats)
    rows = []
    for way, timing in timings.items():
        times = ratio(timing, timings[IN_TURN])
        rows.append(
            {
                "work": name,
                "way": way,
                "seconds": timing.median,
                "of_in_turn": times.median,
                "of_in_turn_least": times.least,
                "of_in_turn_most": times.most,
            }
        )
    return rows


def _run(values: Iterator[Any]) -> None:
    deque(values, maxlen=0)  # takes all values and keeps none


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results."""
    given = options(__doc__, arguments)
    images, batch, steps, repeats = (1, 1, 1, 1) if given.quick else (32, 20, 12, 12)
    rows = []
    works = {"denoising": denoising(images, steps), "LoRA training": training(batch, steps)}
    for name, work in works.items():
        with announced(name):
            rows += compared(name, work, repeats)
    print(table(rows))
    save("lanes", rows, given.folder, repeats=repeats)


if __name__ == "__main__":
    main()
