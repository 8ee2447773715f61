"""What a run at full size would take on this machine: work counted from a preset, times measured here.

The models have the published architectures and random weights, so that nothing has to be downloaded to know the cost of it.
"""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from alignsd import lora
from alignsd.arms import ARMS
from alignsd.atomic import write_json
from alignsd.clip import Clip, embed_images, preprocess
from alignsd.errors import Problem
from alignsd.hps import unlock
from alignsd.models import torch_device
from alignsd.parameters import Value
from alignsd.records import read_json

# Stable Diffusion 1.4's configuration files.
UNET = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
AUTOENCODER = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
                   down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)

# Sizes of the paper's data (section 3 and 4, and the released files).
TRAIN_CHOICES, TRAIN_IMAGES, TEST_IMAGES = 20_205, 79_167, 19_640
PARTS, PART_IMAGES = 1_000, 1_000
SELECTED = 37_572 + 21_108  # of a million scored
PART_GIB = 0.5  # one part of DiffusionDB Large (its issue 11)
LATENT_GIB = 2 * 4 * 64 * 64 * 2 / 2**30  # mean and spread of one picture's latents in half precision, as on a GPU

EMBED, TRAIN_CLIP, ENCODE, TRAIN_LORA, DENOISE, DECODE = (
    "CLIP: embed an image", "CLIP: train on an image", "autoencoder: encode a picture", "LoRA: train on a picture",
    "UNet: a guided denoising step", "autoencoder: decode a picture")


def count_work(values: dict[str, dict[str, Value]], parts: int) -> pd.DataFrame:
    """Counts what a preset at full size has to do.

    Args:
        values: notebook number -> its resolved parameters.
        parts: parts of DiffusionDB that are scored, about 1,000 images each (paper: 1,000).

    Returns:
        ``notebook, task, count``: how often the unit of the task is done.
    """
    p02, p05, p06 = values["02"], values["05"], values["06"]
    images_per_choice = TRAIN_IMAGES / TRAIN_CHOICES
    trained = p02["epochs"] * (TRAIN_IMAGES + images_per_choice * sum(p02["curve"]))
    drawn = p06["prompt_count"] * p06["samples"] * len(ARMS)
    selected = SELECTED * parts // 1_000
    rows = [("02", TRAIN_CLIP, round(trained)), ("02", EMBED, TEST_IMAGES * (4 + len(p02["curve"]))),
            ("03", EMBED, parts * PART_IMAGES),
            ("05", ENCODE, 2 * selected + p05["regularization_images"]), ("05", TRAIN_LORA, 2 * p05["steps"] * p05["batch"]),
            ("06", DENOISE, drawn * p06["steps"]), ("06", DECODE, drawn), ("07", EMBED, 2 * drawn)]
    return pd.DataFrame(rows, columns=["notebook", "task", "count"])


def measure(device: str = "auto", batch: int = 1, repeats: int = 3) -> pd.DataFrame:
    """Times each task with full-size models of random weights, one model in memory at a time.

    Args:
        device: ``"auto"`` or a torch device; on a GPU Stable Diffusion is in half precision, as ``load_pipeline`` has it.
        batch: images at a time.
        repeats: repetitions; the fastest counts.

    Returns:
        ``task, seconds`` (per unit), ``gib``: peak memory of the device, on a CPU of the process so far.
    """
    place, rows = torch_device(device), []
    for tasks in (_clip_tasks, _autoencoder_tasks, _unet_tasks):
        for task, work in tasks(place, batch):
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            rows.append((task, min(_seconds(work, place) for _ in range(repeats)) / batch, _peak(place)))
    return pd.DataFrame(rows, columns=["task", "seconds", "gib"])


def estimate(work: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Returns ``notebook, task, count, seconds per unit, hours`` of each task: the count times what was measured."""
    table = work.merge(measured[["task", "seconds"]], on="task", validate="many_to_one")
    return table.assign(hours=table["count"] * table["seconds"] / 3600)


def space(values: dict[str, dict[str, Value]], parts: int) -> dict[str, float]:
    """Returns the GiB of disk that a preset's largest holdings take: downloads and the latents that 05 keeps.

    Args:
        values, parts: as in ``count_work``.
    """
    pictures = SELECTED * parts // 1_000 + values["05"]["regularization_images"]
    return {"download: DiffusionDB's parts": parts * PART_GIB, "disk: latents in 05": pictures * LATENT_GIB}


def parts_at(folder: str) -> int:
    """Returns how many of DiffusionDB's parts lie in the folder that notebook 03 scores, or the paper's 1,000 if none do."""
    return sum(1 for _ in Path(folder).rglob("part-*.zip")) or PARTS


def is_full_size(values: dict[str, dict[str, Value]]) -> bool:
    """Returns whether a preset works at the size whose cost is measured here, Stable Diffusion's 512 pixels."""
    return values["05"]["resolution"] == 8 * UNET["sample_size"]


def before_a_run(values: dict[str, dict[str, Value]], device: str, known: Path) -> str:
    """Measures this machine, once for each device, and says what a run of a preset at full size would take.

    Args:
        values: as in ``count_work``.
        device: ``"auto"`` or a torch device.
        known: file in which the measurement is kept.

    Raises:
        Problem: if the models do not fit the device at the preset's batch.
    """
    place = torch_device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    kept = read_json(known) if known.exists() else {}
    if kept.get("device") != name:
        batch = values["05"]["micro_batch"]
        print(f"measuring {name} with models of full size, {batch} images at a time")
        try:
            kept = {"device": name, "batch": batch, "measured": measure(device, batch).to_dict("records")}
        except torch.OutOfMemoryError as error:
            raise Problem("The preset does not fit the GPU.", expected=f"{batch} images at a time", found=str(error).split(".")[0],
                          cause="a small GPU, or other programs on it",
                          fix="--set 05.micro_batch=1 and smaller batches in 06 and 07, or a larger GPU") from error
        write_json(known, kept)
    return report(values, parts_at(values["03"]["parts"]), pd.DataFrame(kept["measured"]))


def report(values: dict[str, dict[str, Value]], parts: int, measured: pd.DataFrame) -> str:
    """Returns in words and tables what a preset takes: time by task, and space.

    Args:
        values, parts: as in ``count_work``.
        measured: from ``measure``.
    """
    table = estimate(count_work(values, parts), measured)
    lines = [measured.round(3).to_string(index=False), "", f"{parts:,} parts of DiffusionDB",
             table.round({"seconds": 3, "hours": 1}).to_string(index=False), f"in all {table['hours'].sum():,.1f} hours"]
    return "\n".join(lines + [f"{what}: {gib:,.1f} GiB" for what, gib in space(values, parts).items()])


Tasks = Iterator[tuple[str, Callable[[], object]]]


def _clip_tasks(place: torch.device, batch: int) -> Tasks:
    clip = Clip(open_clip.create_model("ViT-L-14-quickgelu", pretrained=None, device=place).eval(), None, place)
    images = list(np.random.default_rng(0).integers(256, size=(batch, 224, 224, 3), dtype=np.uint8))
    yield EMBED, lambda: embed_images(clip, images)
    unlock(clip.model, 10, 6)
    yield TRAIN_CLIP, lambda: _backward(clip.model.encode_image(preprocess(clip, images)))


def _autoencoder_tasks(place: torch.device, batch: int) -> Tasks:
    with torch.device(place):
        autoencoder = AutoencoderKL(**AUTOENCODER).to(_precision(place)).eval().requires_grad_(False)
    yield ENCODE, lambda: autoencoder.encode(_zeros(place, batch, 3, 512, 512))
    yield DECODE, lambda: autoencoder.decode(_zeros(place, batch, 4, 64, 64))


def _unet_tasks(place: torch.device, batch: int) -> Tasks:
    with torch.device(place):
        unet = UNet2DConditionModel(**UNET).to(_precision(place)).eval().requires_grad_(False)

    def predict(pictures: int) -> torch.Tensor:
        return unet(_zeros(place, pictures, 4, 64, 64), 500, _zeros(place, pictures, 77, 768)).sample

    yield DENOISE, lambda: predict(2 * batch)  # with and without the prompt
    lora.add_lora(unet, rank=32, seed=0)
    yield TRAIN_LORA, lambda: _backward(predict(batch))


def _precision(place: torch.device) -> torch.dtype:
    return torch.float16 if place.type == "cuda" else torch.float32


def _zeros(place: torch.device, *shape: int) -> torch.Tensor:
    return torch.zeros(*shape, device=place, dtype=_precision(place))


def _seconds(work: Callable[[], object], place: torch.device) -> float:
    started = time.perf_counter()
    work()
    if place.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _backward(output: torch.Tensor) -> None:
    output.float().pow(2).mean().backward()


def _peak(place: torch.device) -> float:
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
