"""Measure what this machine gains by computing side by side (``models.parallel``), in two minutes.

``python -m alignsd.planning.benchmark`` runs computations side by side and in turn. The two ways
alternate, and each way is first in every other repeat, so that changes of the machine's speed
affect both ways.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.models.parallel import lanes, together
from alignsd.models.stable_diffusion import load_pipeline

MODEL = "miniature/stable-diffusion"
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
    recipe = lora.LoraRecipe(
        identifier="Weird image. ",
        identifier_alone=0.4,
        steps=steps,
        batch=batch,
        micro_batch=batch,
        learning_rate=1e-3,
        schedule="cosine",
        weight_decay=1e-2,
        snr_gamma=1.0,
        rank=16,
        seed=0,
    )
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


def compare(work: Work, repeats: int) -> pd.DataFrame:
    """Return the seconds of each repeat, ``in turn`` and ``side by side``.

    The first repeat warms up and is left out.
    """
    ways = {IN_TURN: in_turn, SIDE_BY_SIDE: side_by_side}
    timed = []
    for repeat in range(repeats + 1):
        order = list(ways) if repeat % 2 else list(reversed(ways))
        seconds = {}
        for way in order:
            started = time.perf_counter()
            _run(ways[way](work))
            seconds[way] = time.perf_counter() - started
        timed.append(seconds)
    return pd.DataFrame(timed[1:])


def _run(values: Iterator[Any]) -> None:
    deque(values, maxlen=0)  # takes all values and keeps none


def main(repeats: int = 12) -> None:
    """Print, for drawing and for training, the median seconds of both ways and their ratio."""
    print(f"{torch.get_num_threads()} cores, {repeats} repeats")
    for name, work in {"denoising": denoising(), "training": training()}.items():
        seconds = compare(work, repeats)
        medians = seconds.median()
        ratio = seconds[SIDE_BY_SIDE] / seconds[IN_TURN]
        print(
            f"{name}: in turn on all cores {medians[IN_TURN]:.2f} s, "
            f"side by side {medians[SIDE_BY_SIDE]:.2f} s, "
            f"ratio {ratio.median():.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        )


if __name__ == "__main__":
    main()
