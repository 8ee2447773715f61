"""The arms of the comparison: the same prompts and seeds, drawn by different models with different negative prompts."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import save_png
from alignsd.base.paths import user_path
from alignsd.base.reading import is_text, page_or_pointer, read_lines
from alignsd.miniature import world
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

# arm: adapter, prompt, negative prompt; {i} is the identifier, {p} the prompt
ARMS = {
    "original": ("", "{p}", ""),
    "original_negative": ("", "{p}", "{i}"),
    "regularization_only": ("regularization_only", "{p}", ""),
    "adapted": ("adapted", "{p}", ""),
    "adapted_negative": ("adapted", "{p}", "{i}"),
    "adapted_negative_prompt": ("adapted", "{p}", "{i}{p}"),
    "adapted_identifier": ("adapted", "{i}{p}", ""),
}


def read_prompts(source: str, count: int, seed: int) -> list[str]:
    """Return distinct prompts.

    Args:
        source: a text file with one prompt per line (relative to the repository), or
            ``"miniature"`` for captions of the simulated world.
        count: how many; the first ones of a file.
        seed: of the simulated captions.

    Raises:
        Problem: if the file cannot be read, is in another encoding or holds fewer prompts, or
            ``count`` or ``seed`` is out of its range.
    """
    seed = check_seed(seed)
    if source == "miniature":
        return world.captions(count, np.random.default_rng((seed, 0xA4A5)))
    at_least(1, prompt_count=count)
    texts = dict.fromkeys(line.strip() for line in _prompt_lines(source) if line.strip())
    if not texts:
        raise Problem(
            f"There is no prompt in {source}.",
            expected=f"{count} distinct lines",
            found="no line, or blank lines alone",
            cause="an empty file, or another file than the one that was meant",
            fix="set 06.prompts to a text file with one prompt per line",
        )
    if len(texts) < count:
        raise Problem(
            f"There are not enough prompts in {source}.",
            expected=f"{count} distinct lines",
            found=f"{len(texts)}",
            cause="a short or repetitive file, or another file than the one that was meant",
            fix=f"set 06.prompts to a longer file, or --set 06.prompt_count={len(texts)}",
        )
    return list(texts)[:count]


def _prompt_lines(source: str) -> list[str]:
    try:
        lines = read_lines(user_path(source))
    except Problem as problem:
        raise Problem(
            "The prompts cannot be read.",
            expected=f"{problem.expected}, with one prompt per line",
            found=f"{problem.what} {problem.found}",
            cause=problem.cause,
            fix=f"{problem.fix}; or set 06.prompts to another file",
        ) from problem
    mistaken = page_or_pointer("\n".join(lines[:40]))
    if mistaken:
        raise Problem(
            "The prompts cannot be read.",
            expected="a text file with one prompt per line",
            found=mistaken[0],
            cause=mistaken[1],
            fix="fetch the file again, or set 06.prompts to another file",
        )
    return lines


def plan(prompts: list[str], identifier: str, samples: int, seed: int, adapters: Collection[str]) -> pd.DataFrame:
    """Returns one row per image: ``arm, id, prompt_id, sample, prompt, negative, seed, file``; arms without adapter have none.

    The same ``id`` has the same prompt and seed in every arm. The seed follows from the run's seed, the prompt's id and the
    sample's number, so that more prompts or samples leave the images of the others as they were.

    Raises:
        Problem: if there are no samples, the seed is out of range, or the identifier is no text.
    """
    at_least(1, samples=samples)
    check_seed(seed)
    if not is_text(identifier):
        raise Problem(
            "The identifier is no text.",
            expected="text that UTF-8 can hold",
            found=ascii(identifier),
            cause="half a character, from a program that cut the text",
            fix='set the parameter `identifier` of 05 and 06, such as "Weird image. "',
        )
    rows = []
    for arm, (adapter, prompt, negative) in ARMS.items():
        if adapter not in adapters:
            continue
        for number, text in enumerate(prompts):
            for sample in range(samples):
                key = f"p{number:05d}"
                rows.append(dict(arm=arm, id=f"{key}-{sample}", prompt_id=key, sample=sample,
                                 prompt=prompt.format(i=identifier, p=text), negative=negative.format(i=identifier, p=text),
                                 seed=image_seed(seed, key, sample), file=f"{arm}/{key}-{sample}.png"))
    return pd.DataFrame(rows)


def check_adapters(model: str, identifier: str, adapters: Mapping[str, Path | None], device: str) -> None:
    """Load each adapter into the model once, before the first picture is drawn.

    Args:
        model: the Stable Diffusion model, for ``load_pipeline``.
        identifier: what stands in front of the negatives' captions.
        adapters: adapter name of ``ARMS`` -> its file or folder; ``""`` -> None for the model as it is.
        device: for ``load_pipeline``.

    Raises:
        Problem: if the model or an adapter cannot be loaded, an adapter is of another model, or the
            model or the identifier is empty.
    """
    for name, value in (("stable_diffusion", model), ("identifier", identifier)):
        if not value:
            raise Problem(
                f"{name} of notebook 06 is empty.",
                expected=f"the {name} that the LoRA was trained with",
                found=f'{name} = ""',
                cause="a LoRA of your own: no notebook has recorded what the LoRA was trained with",
                fix=f"set {name} in the parameters cell of notebook 06, or --set 06.{name}=...",
            )
    for path in adapters.values():
        load_pipeline(model, device, path)


def draw(table: pd.DataFrame, model: str, adapters: dict[str, Path | None], folder: Path, *, steps: int, guidance: float,
         batch: int, device: str) -> None:
    """Draws the images of a plan that do not exist yet and writes them as PNG below ``folder``.

    Args:
        table: rows of ``plan``.
        model: the Stable Diffusion model, for ``load_pipeline``.
        adapters: adapter name of ``ARMS`` -> its folder; ``""`` -> None for the model as it is.
        folder: where to write.
        steps, guidance, batch, device: for ``generate`` and ``load_pipeline``.

    Raises:
        Problem: if ``steps``, ``guidance`` or ``batch`` is too small, or a picture cannot be
            written.
    """
    drawing = Drawing(steps, guidance, batch)
    for adapter, part in table.groupby(table["arm"].map(lambda arm: ARMS[arm][0])):
        jobs = [Job(row.file, row.prompt, row.seed, row.negative) for row in part.itertuples()]
        done = {job.id for job in jobs if (folder / job.id).is_file()}
        if len(done) < len(jobs):
            pipeline = load_pipeline(model, device, adapters[adapter])
            for job, image in generate(pipeline, jobs, drawing, done):
                save_png(folder / job.id, image)
