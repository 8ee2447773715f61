"""Measure the time and memory that a unit of each kind of work takes at full size on this machine.

The models have the published architectures and random weights, so that nothing has to be
downloaded before the cost is known.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from torchvision.models import inception_v3

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.base.images import read_image
from alignsd.base.progress import track
from alignsd.kit.surroundings import peak_memory_mib
from alignsd.models.clip import Clip, embed_images, preprocess
from alignsd.models.registry import scoring_precision, torch_device, training_precision
from alignsd.reward.hps import unlock

# Stable Diffusion 1.4's configuration files.
UNET: dict[str, Any] = dict(
    sample_size=64,
    cross_attention_dim=768,
    attention_head_dim=8,
    block_out_channels=(320, 640, 1280, 1280),
)
AUTOENCODER: dict[str, Any] = dict(
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    latent_channels=4,
    sample_size=512,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
)
CLIP = "ViT-L-14-quickgelu"

READ = "one thread: read a lossless WebP of 512 px"
EMBED = "CLIP: embed an image"
TRAIN_CLIP = "CLIP: train on an image"
ENCODE = "autoencoder: encode a picture"
TRAIN_LORA = "LoRA: train on a picture"
DENOISE = "UNet: a guided denoising step"
DECODE = "autoencoder: decode a picture"
FEATURES = "Inception: features of a picture"
FRECHET = "CPU: one FID from moments"
TASKS = (READ, EMBED, TRAIN_CLIP, ENCODE, TRAIN_LORA, DENOISE, DECODE, FEATURES, FRECHET)
# Of notebook 10 alone; see ``other_ways``.
TRAIN_PAIR = "LoRA: train on a picture of a pair (DPO)"
TRAIN_REWARD = "LoRA: one step along the gradient of HPS"
OTHER_TASKS = (TRAIN_PAIR, TRAIN_REWARD)


@dataclass(frozen=True)
class Batch:
    """How many units of a task are done at once.

    Attributes:
        notebook: number of the notebook that does the task.
        parameter: the notebook's parameter that says how many.
        times: units per unit of the parameter.
    """

    notebook: str
    parameter: str
    times: int = 1


BATCHES = {
    EMBED: Batch("03", "batch"),
    TRAIN_CLIP: Batch("02", "batch", times=4),  # a choice has up to four images
    TRAIN_LORA: Batch("05", "micro_batch"),
    DENOISE: Batch("06", "batch"),
    DECODE: Batch("06", "batch"),
    TRAIN_PAIR: Batch("10", "micro_batch"),
    TRAIN_REWARD: Batch("10", "reward_micro_batch"),
}
FIXED_BATCHES = {ENCODE: 32, FEATURES: 128}  # as in encode_examples and picture_features
Tasks = Iterator[tuple[str, Callable[[], object]]]
TaskMaker = Callable[[torch.device, Mapping[str, int]], Tasks]


def measure(
    device: str,
    batches: Mapping[str, int],
    repeats: int = 3,
    further: Sequence[TaskMaker] = (),
) -> pd.DataFrame:
    """Time each task, with one model in memory at a time.

    Args:
        device: ``"auto"`` or a torch device. On a GPU, Stable Diffusion has the precision of
            ``load_pipeline`` and of training.
        batches: task -> units at a time; 1 for a missing task.
        repeats: repetitions; the fastest repetition counts.
        further: functions that yield a task each beside ``TASKS``, such as
            ``other_ways.pair_tasks``.

    Returns:
        ``task, batch, seconds`` (per unit), ``gib``: peak memory of the device, or on a CPU of the
        process so far.

    Raises:
        Problem: if a task does not fit the device.
    """
    target = torch_device(device)
    measured = []
    tasks = all_tasks(target, batches, further)
    for task, work in track(tasks, total=len(TASKS) + len(further), what="measuring", unit="task"):
        if target.type == "cuda":
            torch.cuda.reset_peak_memory_stats(target)
        batch = batches.get(task, 1)
        fastest = min(_seconds(task, batch, work, target) for _ in range(repeats))
        measured.append((task, batch, fastest / batch, _peak(target)))
    return pd.DataFrame(measured, columns=["task", "batch", "seconds", "gib"])


def all_tasks(
    device: torch.device, batches: Mapping[str, int], further: Sequence[TaskMaker] = ()
) -> Tasks:
    """Yield each task with the function that does the task once, one model in memory at a time.

    Args:
        device: where the models lie.
        batches, further: as in ``measure``.
    """
    usual = (_file_tasks, _clip_tasks, _autoencoder_tasks, _unet_tasks, _fid_tasks)
    for tasks in (*usual, *further):
        yield from tasks(device, batches)


def device_name(device: str) -> str:
    """Return the name of a GPU, or ``"CPU"``."""
    target = torch_device(device)
    return torch.cuda.get_device_name(target) if target.type == "cuda" else "CPU"


def _file_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 5, (512, 512, 3))  # so much that the file is as large as DiffusionDB's
    content = io.BytesIO()
    picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
    picture.save(content, "WEBP", lossless=True)
    yield READ, lambda: [read_image(content.getvalue()) for _ in range(batches.get(READ, 1))]


def _clip_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    model = open_clip.create_model(CLIP, pretrained=None, device=device).eval()
    tokenizer = open_clip.get_tokenizer(CLIP)
    clip = Clip(model, tokenizer, device, precision=scoring_precision(device))
    image = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
    embedded = batches.get(EMBED, 1)
    yield EMBED, lambda: embed_images(clip, [image] * embedded, embedded)
    unlock(clip.model, 10, 6)

    def train() -> None:
        pixels = preprocess(clip, [image] * batches.get(TRAIN_CLIP, 1))
        _backward(clip.model.encode_image(pixels))

    yield TRAIN_CLIP, train


def _drawing_precision(device: torch.device) -> torch.dtype:
    return torch.float16 if device.type == "cuda" else torch.float32


def _autoencoder_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    precision = _drawing_precision(device)
    with torch.device(device):
        autoencoder = AutoencoderKL(**AUTOENCODER)
    autoencoder.to(dtype=precision)
    autoencoder.eval().requires_grad_(False)

    def zeros(task: str, *shape: int) -> torch.Tensor:
        return torch.zeros(batches.get(task, 1), *shape, device=device, dtype=precision)

    yield ENCODE, lambda: autoencoder.encode(zeros(ENCODE, 3, 512, 512))
    yield DECODE, lambda: autoencoder.decode(zeros(DECODE, 4, 64, 64))


def _unet_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    with torch.device(device):
        unet = UNet2DConditionModel(**UNET)
    unet.to(dtype=_drawing_precision(device))
    unet.eval().requires_grad_(False)

    def predict(pictures: int) -> torch.Tensor:
        latents = torch.zeros(pictures, 4, 64, 64, device=device, dtype=unet.dtype)
        texts = torch.zeros(pictures, 77, 768, device=device, dtype=unet.dtype)
        return unet(latents, 500, texts).sample

    yield DENOISE, lambda: predict(2 * batches.get(DENOISE, 1))  # with and without the prompt
    unet.to(dtype=training_precision(device))
    lora.add_lora(unet, rank=32, seed=0)
    yield TRAIN_LORA, lambda: _backward(predict(batches.get(TRAIN_LORA, 1)))


def _fid_tasks(device: torch.device, batches: Mapping[str, int]) -> Tasks:
    with torch.device(device):
        network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.eval().requires_grad_(False)
    pictures = batches.get(FEATURES, 1)
    yield FEATURES, lambda: network(torch.zeros(pictures, 3, 299, 299, device=device))
    spread = np.cov(np.random.default_rng(0).normal(size=(2048, 2048)))
    yield FRECHET, lambda: np.linalg.eigvalsh(spread @ spread @ spread)


def _seconds(task: str, batch: int, work: Callable[[], object], device: torch.device) -> float:
    """Return how long a task takes once, for all units of a batch."""
    started = time.perf_counter()
    try:
        work()
    except torch.OutOfMemoryError as error:
        raise _does_not_fit(task, batch, error) from error
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _does_not_fit(task: str, batch: int, error: Exception) -> Problem:
    fix = "a larger GPU"
    if task in BATCHES:
        setting = f"{BATCHES[task].notebook}.{BATCHES[task].parameter}"
        fix = f"--set {setting} to fewer than now, or a larger GPU"
    return Problem(
        "The preset does not fit the GPU.",
        expected=f"room for {task!r}, {batch} at a time",
        found=str(error).split(".")[0],
        cause="a small GPU, or other programs on the GPU",
        fix=fix,
    )


def _backward(output: torch.Tensor) -> None:
    output.float().pow(2).mean().backward()


def _peak(device: torch.device) -> float:
    """Return the peak memory in GiB: of a GPU since the last reset, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return peak_memory_mib() / 1024
