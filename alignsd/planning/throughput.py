"""How long this machine takes for one unit of each kind of work at full size, and how much memory.

The models have the published architectures and random weights, so that nothing has to be downloaded to know the cost of it.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import open_clip
import pandas as pd
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torchvision.models import inception_v3

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.base.images import read_image
from alignsd.kit.surroundings import peak_memory_mib
from alignsd.models.clip import Clip, embed_images, preprocess
from alignsd.models.registry import torch_device, training_precision
from alignsd.reward.hps import unlock

# Stable Diffusion 1.4's configuration files.
UNET = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
AUTOENCODER = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
                   down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)

READ, EMBED, TRAIN_CLIP, ENCODE, TRAIN_LORA, DENOISE, DECODE, FEATURES, FRECHET = TASKS = (
    "one thread: read a lossless WebP of 512 px", "CLIP: embed an image", "CLIP: train on an image",
    "autoencoder: encode a picture", "LoRA: train on a picture", "UNet: a guided denoising step",
    "autoencoder: decode a picture", "Inception: features of a picture", "CPU: one FID from moments")
# The parameter that says how many units are done at once; a choice has up to four images.
PARAMETERS = {EMBED: ("03", "batch", 1), TRAIN_CLIP: ("02", "batch", 4), TRAIN_LORA: ("05", "micro_batch", 1),
              DENOISE: ("06", "batch", 1), DECODE: ("06", "batch", 1)}
FIXED = {ENCODE: 32, FEATURES: 128}  # as encode_examples and fid.features have it
Tasks = Iterator[tuple[str, Callable[[], object]]]


def measure(device: str, batches: Mapping[str, int], repeats: int = 3) -> pd.DataFrame:
    """Times each task, one model in memory at a time.

    Args:
        device: ``"auto"`` or a torch device; on a GPU Stable Diffusion is as precise as ``load_pipeline`` and training have it.
        batches: task -> units at a time; 1 if it is not there.
        repeats: repetitions; the fastest counts.

    Returns:
        ``task, batch, seconds`` (per unit), ``gib``: peak memory of the device, on a CPU of the process so far.

    Raises:
        Problem: if a task does not fit the device.
    """
    place, rows = torch_device(device), []
    for tasks in (_file_tasks, _clip_tasks, _autoencoder_tasks, _unet_tasks, _fid_tasks):
        for task, work in tasks(place, batches):
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats(place)
            batch = batches.get(task, 1)
            rows.append((task, batch, min(_seconds(task, batch, work, place) for _ in range(repeats)) / batch, _peak(place)))
    return pd.DataFrame(rows, columns=["task", "batch", "seconds", "gib"])


def device_name(device: str) -> str:
    """Returns the name of a GPU, or ``"CPU"``."""
    place = torch_device(device)
    return torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"


def _file_tasks(place: torch.device, batches: Mapping[str, int]) -> Tasks:
    rng, content = np.random.default_rng(0), io.BytesIO()
    coarse = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).resize((512, 512), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 5, (512, 512, 3))  # so much that the file is as large as DiffusionDB's are
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(content, "WEBP", lossless=True)
    yield READ, lambda: [read_image(content.getvalue()) for _ in range(batches.get(READ, 1))]


def _clip_tasks(place: torch.device, batches: Mapping[str, int]) -> Tasks:
    clip = Clip(open_clip.create_model("ViT-L-14-quickgelu", pretrained=None, device=place).eval(), None, place)
    image = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
    yield EMBED, lambda: embed_images(clip, [image] * batches.get(EMBED, 1), batches.get(EMBED, 1))
    unlock(clip.model, 10, 6)
    yield TRAIN_CLIP, lambda: _backward(clip.model.encode_image(preprocess(clip, [image] * batches.get(TRAIN_CLIP, 1))))


def _autoencoder_tasks(place: torch.device, batches: Mapping[str, int]) -> Tasks:
    drawn = torch.float16 if place.type == "cuda" else torch.float32
    with torch.device(place):
        autoencoder = AutoencoderKL(**AUTOENCODER).to(drawn).eval().requires_grad_(False)
    yield ENCODE, lambda: autoencoder.encode(torch.zeros(batches.get(ENCODE, 1), 3, 512, 512, device=place, dtype=drawn))
    yield DECODE, lambda: autoencoder.decode(torch.zeros(batches.get(DECODE, 1), 4, 64, 64, device=place, dtype=drawn))


def _unet_tasks(place: torch.device, batches: Mapping[str, int]) -> Tasks:
    with torch.device(place):
        unet = UNet2DConditionModel(**UNET).to(torch.float16 if place.type == "cuda" else torch.float32).eval().requires_grad_(False)

    def predict(pictures: int) -> torch.Tensor:
        like = dict(device=place, dtype=unet.dtype)
        return unet(torch.zeros(pictures, 4, 64, 64, **like), 500, torch.zeros(pictures, 77, 768, **like)).sample

    yield DENOISE, lambda: predict(2 * batches.get(DENOISE, 1))  # with and without the prompt
    unet.to(training_precision(place))
    lora.add_lora(unet, rank=32, seed=0)
    yield TRAIN_LORA, lambda: _backward(predict(batches.get(TRAIN_LORA, 1)))


def _fid_tasks(place: torch.device, batches: Mapping[str, int]) -> Tasks:
    with torch.device(place):
        network = inception_v3(weights=None, aux_logits=False, init_weights=False).eval().requires_grad_(False)
    yield FEATURES, lambda: network(torch.zeros(batches.get(FEATURES, 1), 3, 299, 299, device=place))
    spread = np.cov(np.random.default_rng(0).normal(size=(2048, 2048)))
    yield FRECHET, lambda: np.linalg.eigvalsh(spread @ spread @ spread)


def _seconds(task: str, batch: int, work: Callable[[], object], place: torch.device) -> float:
    started = time.perf_counter()
    try:
        work()
    except torch.OutOfMemoryError as error:
        notebook, parameter, _ = PARAMETERS.get(task, ("", "", 1))
        smaller = f"--set {notebook}.{parameter} to fewer than now, or a larger GPU" if notebook else "a larger GPU"
        raise Problem("The preset does not fit the GPU.", expected=f"room for {task!r}, {batch} at a time",
                      found=str(error).split(".")[0], cause="a small GPU, or other programs on it", fix=smaller) from error
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return time.perf_counter() - started


def _backward(output: torch.Tensor) -> None:
    output.float().pow(2).mean().backward()


def _peak(place: torch.device) -> float:
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / 2**30
    return peak_memory_mib() / 1024
