"""Draw images with Stable Diffusion: each image from a separate seed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

# For type checkers, ``diffusers.StableDiffusionPipeline`` is the empty class of a machine without
# torch. At run time the two are the same.
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.base.errors import at_least, check_seed
from alignsd.base.processes import share
from alignsd.base.progress import track
from alignsd.models.files.diffusers_folder import not_loaded
from alignsd.models.files.whole_pipeline import check_pipeline
from alignsd.models.lora.files import load_lora
from alignsd.models.parallel import lanes, together
from alignsd.models.quiet import no_library_bars
from alignsd.models.registry import resolve, torch_device


@dataclass(frozen=True)
class Job:
    """One image to draw.

    Attributes:
        id: name of the image.
        prompt: what the image shows.
        seed: seed of the image's first noise, see ``image_seed``.
        negative: the negative prompt, what the image avoids.
    """

    id: str
    prompt: str
    seed: int
    negative: str = ""


@dataclass(frozen=True)
class Drawing:
    """How images are drawn.

    Attributes:
        steps: denoising steps of the pipeline's own scheduler.
        guidance: scale of classifier-free guidance (the paper: 7.5).
        batch: images at a time; on a CPU, images at a time in each lane (see ``parallel.lanes``).

    Raises:
        Problem: if ``steps`` or ``batch`` is below 1, or ``guidance`` below 0 or infinite.
    """

    steps: int
    guidance: float
    batch: int = 32

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, batch=self.batch)
        at_least(0, guidance=self.guidance)


def image_seed(seed: int, *key: str | int) -> int:
    """Return the seed of an image.

    Args:
        seed: seed of the run.
        key: what names the image, such as the prompt's id and the sample's number.

    Raises:
        Problem: if the run's seed is out of range.
    """
    check_seed(seed)
    words = [int.from_bytes(str(word).encode("utf-8"), "little") for word in key]
    return int(np.random.SeedSequence((seed, *words)).generate_state(1)[0])


def load_pipeline(
    name: str, device: str = "auto", adapter: Path | None = None, strength: float = 1.0
) -> StableDiffusionPipeline:
    """Load a Stable Diffusion pipeline, with or without a LoRA adapter.

    Args:
        name: a model name on the hub, a folder in diffusers layout, or
            ``"miniature/stable-diffusion"``.
        device: ``"auto"`` or a torch device; on a GPU the weights are half precision.
        adapter: file or folder of a LoRA, see ``lora_files.load_lora``.
        strength: factor of the LoRA; 0 is the model without the LoRA.

    Raises:
        Problem: if the model or the adapter cannot be found or read, or the model lacks weights or
            files of its tokenizer, or holds numbers that are not finite.
    """
    target = torch_device(device)
    path = resolve(name)
    try:
        no_library_bars(path)
        pipeline = StableDiffusionPipeline.from_pretrained(
            path,
            dtype=torch.float16 if target.type == "cuda" else torch.float32,
            safety_checker=None,
            requires_safety_checker=False,
        )
    except Exception as error:  # a damaged folder makes diffusers raise a dozen unrelated types
        raise not_loaded(name, path, error) from error
    check_pipeline(pipeline, name)
    if adapter is not None:
        load_lora(pipeline, adapter)
        # Fused, the function is the same, with one matrix product in place of three.
        pipeline.fuse_lora(lora_scale=strength)
    # Channels last makes convolutions faster and changes the results only by rounding.
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(target)


def generate(
    pipeline: StableDiffusionPipeline,
    jobs: Sequence[Job],
    drawing: Drawing,
    done: Collection[str] = (),
    silent: bool = False,
) -> Iterator[tuple[Job, np.ndarray]]:
    """Draw images in batches, and yield each image with its job, in the order of the jobs.

    The first noise comes from the job's own seed on the CPU. Batch composition changes an image
    only by rounding. Batches are formed from all jobs, finished ones included, so a resumed run
    draws the same pixels.

    Args:
        pipeline: from ``load_pipeline``.
        jobs: the images to draw.
        drawing: how the images are drawn.
        done: ids of jobs that were drawn before; these jobs are not yielded.
        silent: show no progress bar.

    Yields:
        ``(job, image)``, the image ``(height, width, 3)`` uint8.
    """
    all_batches = _in_batches(jobs, drawing)
    embeddings = _text_embeddings(pipeline, all_batches)
    # Counted from all batches: pixels may depend on how many cores a lane has.
    count = min(lanes(pipeline.device), len(all_batches))
    batches = [batch for batch in all_batches if any(job.id not in done for job in batch)]
    drawn_by_lane = {
        str(lane): draw_batches(
            _sharing_weights(pipeline), embeddings, batches[lane::count], drawing
        )
        for lane in range(count)
    }
    total = sum(len(batch) for batch in batches)
    with track(total=total, what="drawing", unit="image", silent=silent) as bar:
        for _, drawn in together(drawn_by_lane, pipeline.device, first_alone=False):
            for job, image in drawn:
                if job.id not in done:
                    yield job, image
            bar.update(len(drawn))


def left_to_others(jobs: Sequence[Job], drawing: Drawing) -> set[str]:
    """Return the ids of the jobs that other processes draw; ``generate`` takes them as ``done``.

    Each process draws a share of the batches of all jobs, so a picture does not depend on the
    number of processes. With one process nothing is left to others.

    Args:
        jobs, drawing: as for ``generate``.
    """
    own = {job.id for batch in share(_in_batches(jobs, drawing)) for job in batch}
    return {job.id for job in jobs} - own


def _in_batches(jobs: Sequence[Job], drawing: Drawing) -> list[Sequence[Job]]:
    size = drawing.batch
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def draw_batches(
    pipeline: StableDiffusionPipeline,
    embeddings: dict[str, torch.Tensor],
    batches: Sequence[Sequence[Job]],
    drawing: Drawing,
) -> Iterator[list[tuple[Job, np.ndarray]]]:
    """Draw batch after batch, and yield the images of each batch with their jobs.

    diffusers guides each step: eps = eps_negative + guidance (eps_prompt - eps_negative). A
    guidance of 1 or less means no guidance, eps = eps_prompt.

    Args:
        pipeline: whose scheduler nobody else uses at the same time.
        embeddings: each prompt and negative prompt -> ``(tokens, width)``.
        batches: the images to draw.
        drawing: how the images are drawn.
    """
    for batch in batches:
        output = pipeline(
            prompt_embeds=torch.stack([embeddings[job.prompt] for job in batch]),
            negative_prompt_embeds=torch.stack([embeddings[job.negative] for job in batch]),
            num_inference_steps=drawing.steps,
            guidance_scale=drawing.guidance,
            output_type="np",
            generator=[torch.Generator().manual_seed(job.seed) for job in batch],
        )
        pixels = (output.images * 255).round().astype(np.uint8)
        yield list(zip(batch, pixels, strict=True))


@torch.no_grad()
def _text_embeddings(
    pipeline: StableDiffusionPipeline, batches: Sequence[Sequence[Job]]
) -> dict[str, torch.Tensor]:
    """Return the embedding ``(tokens, width)`` of each distinct prompt and negative prompt.

    Arms share prompts, and so do seeds. All texts are encoded before anything is drawn: a tokenizer
    keeps the padding of the last call, so two threads would take each other's padding.
    """
    known: dict[str, torch.Tensor] = {}
    for batch in batches:
        for texts in ([job.prompt for job in batch], [job.negative for job in batch]):
            new = [text for text in dict.fromkeys(texts) if text not in known]
            if new:
                encoded, _ = pipeline.encode_prompt(
                    new, pipeline.device, 1, do_classifier_free_guidance=False
                )
                known.update(zip(new, encoded, strict=True))
    return known


def _sharing_weights(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Return a pipeline of the same class and the same models with a separate scheduler.

    A scheduler counts the steps of one batch at a time.
    """
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    components = pipeline.components | {"scheduler": scheduler}
    same = type(pipeline)(**components, requires_safety_checker=False)
    same.set_progress_bar_config(disable=True)
    return same
