"""LoRA training: the kit's loop against the official loop.

``python -m benchmarks.lora`` trains the same low-rank matrices in both ways, with the miniature and
with a Stable Diffusion 1.4 of random weights. The official loop decodes each picture, and runs the
autoencoder and the text encoder, in every step. The kit does so once per picture and caption. The
aim is 1.3 times the official pace on two cores, and 2 times on a GPU.

On a CPU the large model trains on pictures of 256 pixels, since a step at 512 takes over a minute.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

from alignsd import paper
from alignsd.adapt import lora
from alignsd.adapt.examples import Examples, encode_examples
from alignsd.base.images import save_png
from alignsd.models.registry import torch_device
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.planning.throughput import AUTOENCODER, UNET
from benchmarks import material, official
from benchmarks.measure import Timing, alternating, announced, options, ratio, save, table
from benchmarks.stages import ENDLESS, MODEL, lora_recipe
from benchmarks.worker import AS_KERNELS, BY_DEFAULT, Here, Worker, started

FULL_SIZE = "stable-diffusion-1.4, random weights"
# Stable Diffusion 1's text encoder; every other setting is the library's default.
TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
}
TEXT_HEADS, TOKENS = 12, 77
KIT, OFFICIAL = "kit", "official"
AIMS = {"cpu": 1.3, "cuda": 2.0}
PREPARE = "benchmarks.lora:training"


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Attributes:
        side: of the pictures, in pixels.
        batch: pictures in a step.
        steps: in each repeat.
        repeats: how often each loop is timed.
        pictures: on the disk.
        distinct: pictures of the whole training, each of which the kit encodes once.
        shown: pictures of the whole training, each counted as often as a step shows it.
    """

    side: int
    batch: int
    steps: int
    repeats: int
    pictures: int
    distinct: int
    shown: int


REGULARIZATION = 200_231  # pictures (paper)
PAPER_PICTURES = paper.POSITIVES + paper.NEGATIVES + REGULARIZATION
PAPER_SHOWN = 400_000  # 10,000 steps of 40
SIZES = {
    MODEL: Size(64, 20, steps=10, repeats=6, pictures=60, distinct=760, shown=20_000),
    FULL_SIZE: Size(256, 1, 1, 4, pictures=2, distinct=PAPER_PICTURES, shown=PAPER_SHOWN),
}
ON_GPU = Size(512, 10, 8, 5, pictures=40, distinct=PAPER_PICTURES, shown=PAPER_SHOWN)
QUICK = {MODEL: Size(64, 2, steps=1, repeats=1, pictures=4, distinct=760, shown=20_000)}


def loaded(name: str) -> StableDiffusionPipeline:
    """Return the miniature, or a model of Stable Diffusion 1.4's size with random weights."""
    if name == MODEL:
        return load_pipeline(MODEL)
    small = load_pipeline(MODEL)
    small.tokenizer.model_max_length = TOKENS
    torch.manual_seed(0)
    text = CLIPTextConfig(**TEXT_ENCODER, num_attention_heads=TEXT_HEADS)
    components: dict[str, Any] = dict(
        vae=AutoencoderKL(**AUTOENCODER),
        text_encoder=CLIPTextModel(text),
        tokenizer=small.tokenizer,
        unet=UNet2DConditionModel(**UNET),
        scheduler=small.scheduler,
        safety_checker=None,
        feature_extractor=None,
    )
    pipeline = StableDiffusionPipeline(**components, requires_safety_checker=False)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    return pipeline.to(torch_device("auto"))


def training(name: str, ways: Sequence[str], folder: str, size: dict[str, int]) -> Callable:
    """Prepare one or both loops on one model.

    Args:
        name: of the model.
        ways: the loops.
        folder: holds the pictures.
        size: the attributes of a ``Size``.

    Returns:
        A function of a loop's name that makes the steps of one repeat with this loop. The function
        returns ``losses``, and ``encoding``: seconds to encode a picture for the kit's loop.
    """
    sized = Size(**size)
    pipeline = loaded(name)
    pictures = _pictures(Path(folder))
    lora.add_lora(pipeline.unet, lora_recipe(1).rank, seed=0)
    loops: dict[str, Iterator[float]] = {}
    encoding = 0.0
    if KIT in ways:
        began = time.perf_counter()
        examples = _encoded(pipeline, pictures, Path(folder), sized)
        encoding = (time.perf_counter() - began) / len(pictures)
        loops[KIT] = _kit(pipeline, examples, sized)
    if OFFICIAL in ways:
        recipe = official.Training(sized.batch, sized.side)
        loops[OFFICIAL] = official.finetune(pipeline, pictures, recipe)
    for loop in loops.values():
        next(loop)  # warms up

    def work(way: str) -> dict[str, Any]:
        return {"losses": list(islice(loops[way], sized.steps)), "encoding": encoding}

    return work


def _pictures(folder: Path) -> list[official.Captioned]:
    files = sorted(folder.glob("*.png"))
    return list(zip(files, material.prompts(len(files)), strict=True))


def _encoded(
    pipeline: StableDiffusionPipeline,
    pictures: Sequence[official.Captioned],
    folder: Path,
    size: Size,
) -> Examples:
    rows = [(str(folder), file.name, text, "positive") for file, text in pictures]
    columns = ["folder", "file_name", "text", "label"]
    table_of_pictures = pd.DataFrame(rows, columns=columns)
    return encode_examples(pipeline, table_of_pictures, size.side, 0, folder / "latents", 4)


def _kit(pipeline: StableDiffusionPipeline, examples: Examples, size: Size) -> Iterator[float]:
    batch = {"batch": size.batch, "micro_batch": size.batch, "identifier_alone": 0.0}
    recipe = lora_recipe(ENDLESS, schedule="constant", learning_rate=1e-5, snr_gamma=0.0, **batch)
    for _, loss in lora.finetune(pipeline, examples, recipe):
        yield loss


def compared(name: str, size: Size, here: bool) -> list[dict[str, Any]]:
    """Train in both ways, and return a row per way.

    The loops of the miniature run in a process each, with the settings that each loop would have.
    The large model would fill the memory twice, so its two loops share a process and a model.

    Args:
        name: of the model.
        size: how much is trained.
        here: whether both loops run in this process.
    """
    groups = [[KIT], [OFFICIAL]] if name == MODEL else [[KIT, OFFICIAL]]
    workers: dict[str, Worker | Here] = {}
    with tempfile.TemporaryDirectory(prefix="alignsd-benchmark-") as folder:
        for number, picture in enumerate(_material(name, size)):
            save_png(Path(folder) / f"{number:04d}.png", picture)
        try:
            for ways in groups:
                settings = BY_DEFAULT if ways == [OFFICIAL] else AS_KERNELS
                about = {"name": name, "ways": ways, "folder": folder, "size": vars(size)}
                worker = started(PREPARE, settings, here, **about)
                workers |= dict.fromkeys(ways, worker)
            encoding = workers[KIT](way=KIT)["encoding"]
            timings = alternating(
                {way: partial(workers[way], way=way) for way in (KIT, OFFICIAL)},
                size.repeats,
                warm_up=0,
            )
        finally:
            for worker in workers.values():
                worker.close()
    return [_row(name, size, way, timings, encoding) for way in timings]


def _material(name: str, size: Size) -> list:
    return (
        material.rendered(size.pictures)
        if name == MODEL
        else material.noisy(size.pictures, size.side)
    )


def _row(
    name: str, size: Size, way: str, timings: dict[str, Timing], encoding: float
) -> dict[str, Any]:
    """Return the pace of a way, in steps alone, and in a whole training with the encoding."""
    shown = size.steps * size.batch
    times = ratio(timings[way], timings[KIT])
    whole = {each: size.shown * timing.median / shown for each, timing in timings.items()}
    whole[KIT] += size.distinct * encoding
    return {
        "model": name,
        "way": way,
        "side": size.side,
        "batch": size.batch,
        "seconds_per_picture": timings[way].median / shown,
        "kit_is_faster": times.median,
        "kit_is_faster_least": times.least,
        "kit_is_faster_most": times.most,
        "encoding_seconds": encoding if way == KIT else None,
        "kit_is_faster_with_encoding": whole[way] / whole[KIT],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results."""
    given = options(__doc__, arguments)
    kind = torch_device("auto").type
    sizes = SIZES if kind == "cpu" else SIZES | {FULL_SIZE: ON_GPU}
    if given.quick:
        sizes = QUICK
    rows = []
    for name, size in sizes.items():
        with announced(name):
            rows += compared(name, size, here=given.quick)
    print(table(rows))
    about = {"aim": AIMS.get(kind), "device": kind}
    save("lora", rows, given.folder, sizes={name: vars(s) for name, s in sizes.items()}, **about)


if __name__ == "__main__":
    main()
