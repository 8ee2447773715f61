"""Draws images with Stable Diffusion. Each image has a seed of its own, and what was drawn before changes no pixel."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from alignsd.base.errors import Problem, check_seed
from alignsd.base.progress import track
from alignsd.models.lora_files import load_lora
from alignsd.models.parallel import lanes, together
from alignsd.models.quiet import no_library_bars
from alignsd.models.registry import resolve, torch_device


@dataclass(frozen=True)
class Job:
    """One image to draw: what is asked for, what is asked to be avoided, and the seed of its first noise."""

    id: str
    prompt: str
    seed: int
    negative: str = ""


def image_seed(seed: int, *key: str | int) -> int:
    """Return an image's seed.

    Args:
        seed: the run's.
        key: what names the image, e.g. the prompt's id and the sample's number.

    Raises:
        Problem: if the run's seed is out of range.
    """
    check_seed(seed)
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
    try:
        path = resolve(name)
        no_library_bars(path)
        pipeline = StableDiffusionPipeline.from_pretrained(
            path, dtype=torch.float16 if place.type == "cuda" else torch.float32,
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
             batch: int = 32, done: Collection[str] = ()) -> Iterator[tuple[Job, np.ndarray]]:
    """Draws images in order, in batches, and yields each with its job.

    The first noise comes from the job's own seed on the CPU. With whom an image shares its batch changes it by rounding alone,
    and since batches are those of all jobs, whatever is done, one that was stopped ends with the same pixels.

    Args:
        pipeline: from ``load_pipeline``.
        jobs: what to draw.
        steps: denoising steps of the pipeline's own scheduler.
        guidance: scale of classifier-free guidance (the paper: 7.5).
        batch: images at a time, on a CPU in each lane (``cores``).
        done: ids of jobs that were drawn before and are not yielded.

    Yields:
        ``(job, image)``, the image ``(height, width, 3)`` uint8.
    """
    parts = [jobs[start:start + batch] for start in range(0, len(jobs), batch)]
    embeddings = _text_embeddings(pipeline, parts)
    count = min(lanes(pipeline.device), len(parts))  # of all jobs: pixels may depend on how many cores a lane has
    parts = [part for part in parts if not all(job.id in done for job in part)]
    drawing = {str(lane): _draw(_sharing_weights(pipeline), embeddings, parts[lane::count], steps, guidance) for lane in range(count)}
    total = sum(map(len, parts))
    with track(total=total, what="drawing", unit="image") as bar:
        for _, drawn in together(drawing, pipeline.device, first_alone=False):
            yield from ((job, image) for job, image in drawn if job.id not in done)
            bar.update(len(drawn))


def _draw(pipeline: StableDiffusionPipeline, embeddings: dict[str, torch.Tensor], parts: Sequence[Sequence[Job]], steps: int,
          guidance: float) -> Iterator[list[tuple[Job, np.ndarray]]]:
    """Draws batch after batch."""
    for part in parts:
        drawn = pipeline(
            prompt_embeds=torch.stack([embeddings[job.prompt] for job in part]),
            negative_prompt_embeds=torch.stack([embeddings[job.negative] for job in part]),
            num_inference_steps=steps, guidance_scale=guidance, output_type="np",
            generator=[torch.Generator().manual_seed(job.seed) for job in part]).images
        yield list(zip(part, (drawn * 255).round().astype(np.uint8), strict=True))


@torch.no_grad()
def _text_embeddings(pipeline: StableDiffusionPipeline, parts: Sequence[Sequence[Job]]) -> dict[str, torch.Tensor]:
    """Encodes each distinct text once; arms share prompts, seeds share prompts.

    Before anything is drawn: a tokenizer keeps the padding of its last call, so two threads would take each other's.
    """
    known: dict[str, torch.Tensor] = {}
    for part in parts:
        for texts in ([job.prompt for job in part], [job.negative for job in part]):
            if new := [text for text in dict.fromkeys(texts) if text not in known]:
                encoded, _ = pipeline.encode_prompt(new, pipeline.device, 1, do_classifier_free_guidance=False)
                known.update(zip(new, encoded, strict=True))
    return known


def _sharing_weights(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Returns a pipeline of the same models with a scheduler of its own, which counts the steps of one batch at a time."""
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    same = StableDiffusionPipeline(**pipeline.components | {"scheduler": scheduler}, requires_safety_checker=False)
    same.set_progress_bar_config(disable=True)
    return same
