"""The official recipe on today's libraries, to compare with; written anew from what is known of it.

Known facts: pictures are scored in batches of 20 that four worker processes load, in single
precision, and every picture's prompt goes through the text encoder, also when the prompt came
before. Each training step of the LoRA decodes the pictures, and runs them through the autoencoder
and their captions through the text encoder.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from open_clip.transform import image_transform
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alignsd.adapt.examples import crop
from alignsd.models.clip import Clip

BATCH = 20  # pictures that are scored at a time
WORKERS = 4  # processes that load them
Captioned = tuple[Path, str]  # a picture's file and its prompt


class Pictures(Dataset):
    """Pictures with their prompts, ready for a CLIP.

    Args:
        captioned: the pictures.
        clip: whose size, mean, spread and tokenizer are used.
    """

    def __init__(self, captioned: Sequence[Captioned], clip: Clip) -> None:
        self._captioned = captioned
        self._tokenizer = clip.tokenizer
        visual = clip.model.visual
        self._transform = image_transform(
            clip.size, is_train=False, mean=visual.image_mean, std=visual.image_std
        )

    def __len__(self) -> int:
        return len(self._captioned)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Return pixels ``(3, size, size)``, tokens ``(tokens,)`` and the picture's name."""
        file, prompt = self._captioned[index]
        with Image.open(file) as picture:
            pixels = self._transform(picture)
        return pixels, self._tokenizer([prompt])[0], file.name


@torch.no_grad()
def score(
    clip: Clip,
    captioned: Sequence[Captioned],
    out: Path,
    batch: int = BATCH,
    workers: int = WORKERS,
) -> np.ndarray:
    """Score pictures as the official script does, and return the scores ``(n,)``, 100 x cosine.

    Args:
        clip: the CLIP to score with.
        captioned: unpacked pictures, and their prompts.
        out: file that gets a line of JSON for each picture.
        batch: pictures at a time.
        workers: processes that load pictures.
    """
    loader = DataLoader(Pictures(captioned, clip), batch_size=batch, num_workers=workers)
    scores = []
    with open(out, "w", encoding="utf-8") as lines:
        for pixels, tokens, names in loader:
            images = clip.model.encode_image(pixels.to(clip.device), normalize=True)
            texts = clip.model.encode_text(tokens.to(clip.device), normalize=True)
            cosines = (images * texts).sum(dim=-1).float().cpu().numpy()
            for name, cosine in zip(names, cosines.tolist(), strict=True):
                lines.write(json.dumps({"image": name, "score": 100 * cosine}) + "\n")
            scores.append(100 * cosines)
    return np.concatenate(scores)


@dataclass(frozen=True)
class Training:
    """How the official loop trains a LoRA.

    Attributes:
        batch: pictures in a step (the released script: 40).
        size: side of the square pictures, in pixels (the released script: 512).
        learning_rate: constant (the released script: 1e-5).
        seed: of crops, noise and time steps.
    """

    batch: int
    size: int
    learning_rate: float = 1e-5
    seed: int = 42


def finetune(
    pipeline: StableDiffusionPipeline, captioned: Sequence[Captioned], recipe: Training
) -> Iterator[float]:
    """Train the LoRA on a pipeline's UNet, without end, and yield the loss of each step.

    Args:
        pipeline: whose UNet carries the low-rank matrices.
        captioned: the pictures and their captions.
        recipe: how the LoRA is trained.
    """
    trained = [p for p in pipeline.unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=1e-2)
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    pipeline.unet.train()
    while True:
        index = rng.integers(len(captioned), size=recipe.batch)
        batch = [captioned[number] for number in index]
        loss = _loss(pipeline, batch, recipe, noise_schedule, rng)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def _loss(
    pipeline: StableDiffusionPipeline,
    batch: Sequence[Captioned],
    recipe: Training,
    noise_schedule: Any,
    rng: np.random.Generator,
) -> Tensor:
    """Return the mean squared error of the predicted noise, a scalar."""
    unet, autoencoder = pipeline.unet, pipeline.vae
    squares = np.stack([_square(file, recipe.size, rng) for file, _ in batch])
    pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).to(unet.device, autoencoder.dtype)
    with torch.no_grad():
        posterior = autoencoder.encode(pixels / 127.5 - 1).latent_dist
        latents = posterior.sample() * autoencoder.config.scaling_factor
        texts = pipeline.text_encoder(_tokens(pipeline, [text for _, text in batch]))[0]
    noise = torch.randn_like(latents)
    all_times = noise_schedule.config.num_train_timesteps
    times: Any = torch.randint(0, all_times, (len(batch),), device=latents.device)
    noised = noise_schedule.add_noise(latents, noise, times)
    predicted = unet(noised, times, texts).sample
    return torch.nn.functional.mse_loss(predicted.float(), noise.float())


def _square(file: Path, size: int, rng: np.random.Generator) -> np.ndarray:
    with Image.open(file) as picture:
        return crop(np.asarray(picture.convert("RGB")), size, rng)


def _tokens(pipeline: StableDiffusionPipeline, texts: list[str]) -> Tensor:
    tokenizer = pipeline.tokenizer
    encoded = tokenizer(
        texts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return encoded.input_ids.to(pipeline.unet.device)
