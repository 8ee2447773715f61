"""The images of the comparison: a plan with a row per image, and the drawing."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import save_png
from alignsd.base.processes import wait
from alignsd.base.reading import is_text
from alignsd.compare.arms import ARMS, Arm, named
from alignsd.models.stable_diffusion import (
    Drawing,
    Job,
    generate,
    image_seed,
    left_to_others,
    load_pipeline,
)


def plan(
    prompts: Sequence[str],
    identifier: str,
    samples: int,
    seed: int,
    adapters: Collection[str],
) -> pd.DataFrame:
    """Return a row per image: ``arm, id, prompt_id, sample, prompt, negative, seed, file``.

    The same ``id`` has the same prompt and the same seed in every arm. An image's seed follows from
    ``seed``, the prompt's id and the sample's number alone, so more prompts or samples change no
    other image.

    Args:
        prompts: the texts to draw.
        identifier: the text in front of the captions of the negatives.
        samples: images per prompt and arm.
        seed: the seed of the run.
        adapters: the names of the adapters that there are, ``""`` for the original model. An arm
            with another adapter has no rows.

    Raises:
        Problem: if ``samples`` is below 1, the seed is out of range, or the identifier is no text.
    """
    at_least(1, samples=samples)
    check_seed(seed)
    if not is_text(identifier):
        raise Problem(
            "The identifier is no text.",
            expected="text that UTF-8 can hold",
            found=ascii(identifier),
            cause="half a character, from a program that cut the text",
            fix='set the parameter identifier to text such as "Weird image. ", '
            "and train the LoRA with the same text",
        )
    rows: list[dict[str, object]] = []
    for arm in ARMS:
        if arm.adapter in adapters:
            rows += _rows(arm, prompts, identifier, samples, seed)
    return pd.DataFrame(rows)


def _rows(
    arm: Arm,
    prompts: Sequence[str],
    identifier: str,
    samples: int,
    seed: int,
) -> Iterator[dict[str, object]]:
    """Yield the rows of one arm's images."""
    for number, text in enumerate(prompts):
        prompt_id = f"p{number:05d}"
        prompt, negative = arm.texts(text, identifier)
        for sample in range(samples):
            yield {
                "arm": arm.name,
                "id": f"{prompt_id}-{sample}",
                "prompt_id": prompt_id,
                "sample": sample,
                "prompt": prompt,
                "negative": negative,
                "seed": image_seed(seed, prompt_id, sample),
                "file": f"{arm.name}/{prompt_id}-{sample}.png",
            }


def check_adapters(
    model: str,
    identifier: str,
    adapters: Mapping[str, Path | None],
    device: str,
) -> None:
    """Load each adapter into the model once, before the first image is drawn.

    Args:
        model: the Stable Diffusion model, for ``load_pipeline``.
        identifier: the text in front of the captions of the negatives.
        adapters: the file or folder of each adapter, by the names in ``ARMS``; None for ``""``,
            the original model.
        device: for ``load_pipeline``.

    Raises:
        Problem: if the model or an adapter cannot be loaded, an adapter belongs to another model,
            or the name of the model or the identifier is empty.
    """
    for name, value in (("stable_diffusion", model), ("identifier", identifier)):
        if not value:
            raise Problem(
                f"The parameter {name} is empty.",
                expected=f"the {name} that the LoRA was trained with",
                found=f'{name} = ""',
                cause="a LoRA of your own: no stage has recorded what the LoRA was trained with",
                fix=f"set {name} in the parameters cell, or --set {name}=...",
            )
    for path in adapters.values():
        load_pipeline(model, device, path)


def draw(
    table: pd.DataFrame,
    model: str,
    adapters: Mapping[str, Path | None],
    folder: Path,
    drawing: Drawing,
    device: str = "auto",
) -> None:
    """Draw the images of a plan that do not exist yet, and save them as PNG below ``folder``.

    Several processes divide the batches, and all return when all images are drawn.

    Args:
        table: rows of ``plan``.
        model: the Stable Diffusion model, for ``load_pipeline``.
        adapters: as in ``check_adapters``.
        folder: where ``file`` of the table begins.
        drawing: steps, guidance and batch.
        device: for ``load_pipeline``.

    Raises:
        Problem: if an image cannot be written.
    """
    adapter_of_row = table["arm"].map(lambda name: named(name).adapter)
    for adapter, rows in table.groupby(adapter_of_row):
        load = partial(load_pipeline, model, device, adapters[adapter])
        draw_rows(rows, load, folder, drawing)


def draw_rows(
    rows: pd.DataFrame,
    load: Callable[[], StableDiffusionPipeline],
    folder: Path,
    drawing: Drawing,
) -> None:
    """Draw the images of some rows with one pipeline, as far as the images do not exist yet.

    Several processes divide the batches, and all return when all images are drawn.

    Args:
        rows: ``prompt, negative, seed, file``.
        load: loads the pipeline. Not called if nothing is to be drawn.
        folder: where ``file`` begins.
        drawing: steps, guidance and batch.

    Raises:
        Problem: if an image cannot be written.
    """
    jobs = [Job(row.file, row.prompt, row.seed, row.negative) for row in rows.itertuples()]
    finished = {job.id for job in jobs if (folder / job.id).is_file()}
    done = finished | left_to_others(jobs, drawing)
    if len(done) < len(jobs):
        for job, image in generate(load(), jobs, drawing, done):
            save_png(folder / job.id, image)
    wait()


def at_scales(
    pipeline: StableDiffusionPipeline,
    table: pd.DataFrame,
    steps: int,
    scales: Sequence[float],
) -> dict[float, list[np.ndarray]]:
    """Draw the images of a plan at several scales of guidance, and save none.

    Args:
        pipeline: from ``load_pipeline``, with the adapter of the table's arm.
        table: rows of ``plan``, all of one arm.
        steps: denoising steps.
        scales: of classifier-free guidance.

    Returns:
        Scale -> images ``(height, width, 3)`` uint8, in the order of the rows.
    """
    jobs = [Job(row.id, row.prompt, row.seed, row.negative) for row in table.itertuples()]
    drawn = {}
    for scale in scales:
        images = generate(pipeline, jobs, Drawing(steps, scale, len(jobs)))
        drawn[scale] = [image for _, image in images]
    return drawn
