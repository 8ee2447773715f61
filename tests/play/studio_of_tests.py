"""The miniature's studio, with two LoRAs of random numbers in place of trained LoRAs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alignsd import sources
from alignsd.adapt.lora import add_lora
from alignsd.compare.image_metrics import ScoreModels
from alignsd.models.aesthetic import load_aesthetic
from alignsd.models.clip import load_clip
from alignsd.models.lora.files import save_lora
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.play.studio import Studio

MODEL = "miniature/stable-diffusion"
PROMPT = "a person in a red shirt standing on the beach"
DRAWING = Drawing(2, 3.0)


def random_lora(folder: Path, seed: int) -> Path:
    pipeline = load_pipeline(MODEL, "cpu")
    add_lora(pipeline.unet, 4, 0)
    generator = torch.Generator().manual_seed(seed)
    for name, value in pipeline.unet.named_parameters():
        if "lora_B" in name:
            value.data = 0.1 * torch.randn(value.shape, generator=generator)
    save_lora(pipeline.unet, folder, {})
    return folder


@pytest.fixture(scope="session")
def loras(tmp_path_factory) -> dict[str, Path | None]:
    folder = tmp_path_factory.mktemp("loras")
    names = ("adapted", "regularization_only")
    files = {name: random_lora(folder / name, seed) for seed, name in enumerate(names)}
    return {"": None, **files}


@pytest.fixture(scope="session")
def studio(loras) -> Studio:
    clip = load_clip("miniature/clip", device="cpu")
    scorers = ScoreModels(clip, clip, load_aesthetic("miniature/aesthetic"))
    return Studio(MODEL, loras, scorers, sources.judge("miniature/judge"), "cpu")


def drawn_by_the_kit(adapter: Path | None, seed: int, negative: str = "") -> np.ndarray:
    """Return a picture as notebook 06 draws it, with the LoRA fused into the weights."""
    pipeline = load_pipeline(MODEL, "cpu", adapter)
    job = Job("0", PROMPT, seed, negative)
    ((_, image),) = generate(pipeline, [job], DRAWING)
    return image
