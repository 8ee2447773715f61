"""What it gains to compute side by side (``cores``) on this machine: ``python -m alignsd.planning.benchmark``, about two minutes.

The two ways take turns, and in being first, so that a machine whose speed wanders slows both.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pandas as pd
import torch

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.models.parallel import lanes, together
from alignsd.models.registry import resolve
from alignsd.models.stable_diffusion import load_pipeline

MODEL = resolve("miniature/stable-diffusion")
CPU = torch.device("cpu")
Work = Callable[[], dict[str, Iterator]]


def denoising(images: int = 32, steps: int = 12) -> Work:
    """Returns work of one lane per core: guided steps of the miniature's UNet on so many images each."""
    pipeline = load_pipeline(MODEL, "cpu")
    latents = torch.zeros(2 * images, 4, 8, 8).to(memory_format=torch.channels_last)
    states = torch.zeros(2 * images, pipeline.tokenizer.model_max_length, pipeline.unet.config.cross_attention_dim)

    def step() -> Iterator[torch.Tensor]:
        for _ in range(steps):
            with torch.no_grad():
                yield pipeline.unet(latents, 500, states).sample

    return lambda: {str(lane): step() for lane in range(lanes(CPU))}


def training(batch: int = 20, steps: int = 12) -> Work:
    """Returns the work of notebook 05: two LoRA trainings of the miniature, here on noise."""
    moments = np.random.default_rng(0).random((64, 8, 8, 8), dtype=np.float32)
    examples = Examples([moments], np.arange(64), ["a person waving"] * 64, np.arange(64) % 4 == 0)
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
    return lambda: {name: lora.finetune(pipeline, examples, recipe) for name, pipeline in pipelines.items()}


def compare(work: Work, repeats: int) -> pd.DataFrame:
    """Returns ``in turn`` and ``side by side`` seconds of each repeat; the first repeat, which warms up, is left out."""
    rows = []
    ways = {"in turn": lambda: chain.from_iterable(work().values()), "side by side": lambda: together(work(), CPU, first_alone=False)}
    for repeat in range(repeats + 1):
        row = {}
        for way in list(ways)[::1 if repeat % 2 else -1]:
            started = time.perf_counter()
            deque(ways[way](), maxlen=0)
            row[way] = time.perf_counter() - started
        rows.append(row)
    return pd.DataFrame(rows[1:])


def main(repeats: int = 12) -> None:
    """Prints, for drawing and for training, the median seconds of both ways, and of their ratio median and range."""
    print(f"{torch.get_num_threads()} cores, {repeats} repeats")
    for name, work in {"denoising": denoising(), "training": training()}.items():
        found = compare(work, repeats)
        ratio = found["side by side"] / found["in turn"]
        print(f"{name}: in turn on all cores {found['in turn'].median():.2f} s, side by side {found['side by side'].median():.2f} s, "
              f"ratio {ratio.median():.2f} ({ratio.min():.2f} to {ratio.max():.2f})")


if __name__ == "__main__":
    main()
