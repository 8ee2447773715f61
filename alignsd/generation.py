"""Draws images with Stable Diffusion. Each image has a seed of its own, so any subset gives the same pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from tqdm import tqdm

from alignsd.cores import lanes, together
from alignsd.errors import Problem
from alignsd.lora_formats import load_lora
from alignsd.models import resolve, torch_device


@dataclass(frozen=True)
class Job:
    """One image to draw: what is asked for, what is asked to be avoided, and the seed of its first noise."""

    id: str
    prompt: str
    seed: int
    negative: str = ""


def image_seed(seed: int, *key: str | int) -> int:
    """Derives an image's seed from the run's seed and what names the image, e.g. the prompt's id and sample number."""
    words = [int.from_bytes(str(part).encode("utf-8"), "little") for part in key]
    return int(np.random.SeedSequence((seed, *words)).generate_state(1)[0])


def load_pipeline(name: str, device: str = "auto", adapter: Path | None = None) -> StableDiffusionPipeline:
    """Loads a Stable Diffusion pipeline, with a LoRA adapter if one is given.

    Args:
        name: a hub's name, a folder in diffusers layout, or ``"miniature/stable-diffusion"``.
        device: ``"auto"`` or a torch device; on a GPU the weights are half precision.
        adapter: a LoRA, see ``lora_formats.load_lora``.

    Raises:
        Problem: if the model or the adapter cannot be found.
    """
    place = torch_device(device)
    diffusers_logging.disable_progress_bar()
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            resolve(name), dtype=torch.float16 if place.type == "cuda" else torch.float32,
            safety_checker=None, requires_safety_checker=False)
    except (OSError, ValueError) as error:  # a name that cannot be one of the hub's is a ValueError
        raise Problem(f"the model {name!r} could not be loaded", expected="a folder in diffusers layout or a hub's model name",
                      found=str(error).splitlines()[0], cause="a misspelt name, or no network to reach the hub",
                      fix="check the notebook's stable_diffusion parameter; or, where there is a network, "
                          f"hf download {name} --local-dir data/{name.rsplit('/', 1)[-1]}, and set it to that folder") from error
    if adapter is not None:
        load_lora(pipeline, adapter)
        pipeline.fuse_lora()  # the same function, one matrix product instead of three
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)  # convolutions are faster so, the results the same but for rounding
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(place)


def generate(pipeline: StableDiffusionPipeline, jobs: Sequence[Job], steps: int, guidance: float,
             batch: int = 64) -> Iterator[tuple[Job, np.ndarray]]:
    """Draws images in order, in batches, and yields each with its job.

    The first noise comes from the job's own seed on the CPU. Batch size changes results only by floating-point rounding.

    Args:
        pipeline: from ``load_pipeline``.
        jobs: what to draw.
        steps: denoising steps of the pipeline's own scheduler.
        guidance: scale of classifier-free guidance (the paper: 7.5).
        batch: images at a time; the cores of a CPU share them.

    Yields:
        ``(job, image)``, the image ``(height, width, 3)`` uint8.
    """
    count = min(lanes(pipeline.device), batch)
    embeddings = _TextEmbeddings(pipeline)
    parts = [jobs[start:start + batch // count] for start in range(0, len(jobs), batch // count)]
    drawing = {str(lane): _draw(_sharing_weights(pipeline), embeddings, parts[lane::count], steps, guidance)
               for lane in range(min(count, len(parts)))}
    with tqdm(total=len(jobs), desc="drawing", unit="image", mininterval=5, disable=len(jobs) < 2 * batch) as bar:
        for _, drawn in together(drawing, pipeline.device, first_alone=False):
            yield from drawn
            bar.update(len(drawn))


def _draw(pipeline: StableDiffusionPipeline, embeddings: "_TextEmbeddings", parts: Sequence[Sequence[Job]], steps: int,
          guidance: float) -> Iterator[list[tuple[Job, np.ndarray]]]:
    """Draws batch after batch."""
    for part in parts:
        drawn = pipeline(
            prompt_embeds=embeddings([job.prompt for job in part]),
            negative_prompt_embeds=embeddings([job.negative for job in part]),
            num_inference_steps=steps, guidance_scale=guidance, output_type="np",
            generator=[torch.Generator().manual_seed(job.seed) for job in part]).images
        yield list(zip(part, (drawn * 255).round().astype(np.uint8), strict=True))


def _sharing_weights(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Returns a pipeline of the same models with a scheduler of its own, which counts the steps of one batch at a time."""
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    same = StableDiffusionPipeline(**pipeline.components | {"scheduler": scheduler}, requires_safety_checker=False)
    same.set_progress_bar_config(disable=True)
    return same


class _TextEmbeddings:
    """The text encoder's output for each distinct text, computed once (arms share prompts, seeds share prompts)."""

    def __init__(self, pipeline: StableDiffusionPipeline):
        self.pipeline, self.known, self.lock = pipeline, {}, Lock()

    def __call__(self, texts: list[str]) -> torch.Tensor:
        with self.lock:  # a tokenizer holds the padding of its last call, and two threads would take each other's
            new = [text for text in dict.fromkeys(texts) if text not in self.known]
            if new:
                encoded, _ = self.pipeline.encode_prompt(new, self.pipeline._execution_device, 1, do_classifier_free_guidance=False)
                self.known.update(zip(new, encoded, strict=True))
        return torch.stack([self.known[text] for text in texts])
