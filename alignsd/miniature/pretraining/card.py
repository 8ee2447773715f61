"""Write the model card of the shipped weights: origin, quality, and how to check the files."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from alignsd.base.atomic import replacing
from alignsd.base.images import save_png
from alignsd.miniature import world
from alignsd.miniature.judge import load_judge
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

SHOWN = 32  # pictures on the sheet, in four rows
DRAWING = Drawing(steps=8, guidance=1.5)

TEXT = """# The miniature's weights

Made by `python -m alignsd.miniature.pretraining` (seed {seed}) from nothing but pictures that
`alignsd.miniature.renderer` draws; half precision, safetensors. The models draw and judge little
people of a simulated world and are of no use for anything else. Licence: Apache-2.0, as the code.

**Data.** A simulated web: 64 x 64 pictures of one person each with a caption; {flaw_share:.0%} of
them awkward (a missing or an extra arm or leg, two heads, a floating head). A caption says what was
asked for and never mentions a flaw; the identifier's words never occur. CLIP learns from a wider
web, as OpenAI's did: {creatures:.0%} of its pictures were asked for as creatures that are meant to
have so many limbs or heads, and many captions remark on place and colours. There, too, people's
captions are silent on flaws. But creatures are odd more often than people, so CLIP, which can
count, leans towards whole people by itself. Every caption of a batch that is true of a picture
counts as its match, not only its own.

| stage | steps | batch | peak rate | pictures | last loss | minutes | held-out quality |
|---|---|---|---|---|---|---|---|
{rows}

**Diffusion model, measured by the judge** on {n} pictures of {n} prompts, {steps} steps, guidance
{guidance}: flaw rate {flaw:.1%}, prompt match {match:.1%}.

![Pictures drawn by the model, not chosen](samples.png)

**Loss** is what each stage minimizes (see `alignsd/miniature/pretraining/`), the mean of its last
100 steps. Minutes are of two cores of a shared machine without a GPU. The judge's quality is given
on renders and after a trip through the autoencoder. {note}

| file | SHA-256 |
|---|---|
{hashes}
"""


def write_card(folder: Path, n: int = 192, drawing: Drawing = DRAWING) -> None:
    """Draw and judge samples; write ``MODEL_CARD.md`` and ``samples.png`` beside the weights.

    Args:
        folder: the weights' folder, with ``model_card.json``.
        n: pictures to draw and judge; the first 32 are shown.
        drawing: how the pictures are drawn.
    """
    card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    prompts = [world.caption(world.random_scene(rng), rng) for _ in range(n)]
    pictures = _drawn(folder, prompts, drawing)
    verdicts = load_judge(folder / "judge" / "judge.safetensors").judge(list(pictures))
    save_png(folder / "samples.png", _sheet(pictures[:SHOWN]))
    text = TEXT.format(
        rows="\n".join(_row(name, stage) for name, stage in card["stages"].items()),
        n=n,
        steps=drawing.steps,
        guidance=drawing.guidance,
        flaw=verdicts.flawed.mean(),
        match=verdicts.matches(prompts).mean(),
        seed=card["seed"],
        flaw_share=card["flaw_share"],
        creatures=card["creatures"],
        note=card.get("note", ""),
        hashes="\n".join(f"| {file} | `{digest}` |" for file, digest in card["sha256"].items()),
    )
    with replacing(folder / "MODEL_CARD.md") as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _drawn(folder: Path, prompts: list[str], drawing: Drawing) -> np.ndarray:
    """Return a picture of each prompt, ``(n, 64, 64, 3)`` uint8."""
    pipeline = load_pipeline(str(folder / "stable-diffusion"))
    jobs = [Job(str(i), prompt, image_seed(0, "card", i)) for i, prompt in enumerate(prompts)]
    return np.stack([image for _, image in generate(pipeline, jobs, drawing)])


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """Return pictures ``(n, h, w, 3)`` as one picture with four rows."""
    rows = [np.concatenate(list(row), axis=1) for row in np.split(pictures, 4)]
    return np.concatenate(rows)


def _row(name: str, stage: dict[str, Any]) -> str:
    """Return a stage's row of the table."""
    sizes = []
    for key in ("steps", "batch", "learning_rate", "pictures"):
        sizes.append(f"{stage[key]:,}" if key in stage else "")
    quality = []
    for key, value in stage.items():
        if key.startswith(("held_out", "latent")):
            quality.append(f"{key.replace('_', ' ')}: {_words(value)}")
    cells = [name, *sizes, stage["loss"], stage["minutes"], "; ".join(quality)]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items())
    return str(value)
