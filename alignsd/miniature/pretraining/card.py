"""The model card of the shipped weights: what they were made from, how good they are, and how to check them."""

import json
from pathlib import Path

import numpy as np

from alignsd.base.atomic import replacing
from alignsd.base.images import save_png
from alignsd.miniature import world
from alignsd.miniature.judge import load_judge
from alignsd.models.stable_diffusion import Drawing, Job, generate, image_seed, load_pipeline

TEXT = """# The miniature's weights

Made by `python -m alignsd.miniature.pretraining.pretrain` (seed {seed}) from nothing but pictures that `alignsd.miniature.renderer` draws;
half precision, safetensors. They draw and judge little people of a simulated world and are of no use for anything else.
Licence: Apache-2.0, as the code.

**Data.** A simulated web: 64 x 64 pictures of one person each with a caption; {flaw_share:.0%} of them awkward (a missing or
an extra arm or leg, two heads, a floating head). A caption says what was asked for and never mentions a flaw; the identifier's
words never occur. CLIP learns from a wider web, as OpenAI's did: {creatures:.0%} of its pictures were asked for as creatures that are
meant to have so many limbs or heads, and many captions remark on place and colours. There, too, people's captions are silent on
their flaws. But creatures are odd more often than people, so CLIP, which can count, leans towards whole people by itself.
Every caption of a batch that is true of a picture counts as its match, not only its own.

| stage | steps | batch | peak rate | pictures | last loss | minutes | held-out quality |
|---|---|---|---|---|---|---|---|
{rows}

**Diffusion model, measured by the judge** on {n} pictures of {n} prompts, {steps} steps, guidance {guidance}:
flaw rate {flaw:.1%}, prompt match {match:.1%}.

![Pictures drawn by the model, not chosen](samples.png)

**Loss** is what each stage minimizes (see `pretrain.py`), the mean of its last 100 steps. Minutes are of two cores of a shared
machine without a GPU. The judge's quality is given on renders and after a trip through the autoencoder. {note}

| file | SHA-256 |
|---|---|
{hashes}
"""


def write_card(folder: Path, n: int = 192, steps: int = 8, guidance: float = 1.5) -> None:
    """Draws samples, judges them, and writes ``MODEL_CARD.md`` and ``samples.png`` beside ``model_card.json``.

    Args:
        folder: the weights' folder.
        n: pictures to draw; the first 32 are shown.
        steps: denoising steps.
        guidance: scale of classifier-free guidance.
    """
    card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    prompts = [world.caption(world.random_scene(rng), rng) for _ in range(n)]
    jobs = [Job(str(i), prompt, image_seed(0, "card", i)) for i, prompt in enumerate(prompts)]
    pipeline = load_pipeline(str(folder / "stable-diffusion"))
    drawn = np.stack([image for _, image in generate(pipeline, jobs, Drawing(steps, guidance))])
    seen = load_judge(folder / "judge" / "judge.safetensors").judge(drawn)
    save_png(folder / "samples.png", np.concatenate([np.concatenate(list(row), axis=1) for row in np.split(drawn[:32], 4)]))
    text = TEXT.format(rows="\n".join(_row(name, stage) for name, stage in card["stages"].items()), n=n, steps=steps,
                       guidance=guidance, flaw=seen.flawed.mean(), match=seen.matches(prompts).mean(), seed=card["seed"],
                       flaw_share=card["flaw_share"], creatures=card["creatures"], note=card.get("note", ""),
                        hashes="\n".join(f"| {k} | `{v}` |" for k, v in card["sha256"].items()))
    with replacing(folder / "MODEL_CARD.md") as part:
        part.write_text(text, encoding="utf-8")


def _row(name: str, stage: dict) -> str:
    quality = "; ".join(f"{key.replace('_', ' ')}: {_words(value)}" for key, value in stage.items()
                        if key.startswith(("held_out", "latent")))
    told = " | ".join(f"{stage[key]:,}" if key in stage else "" for key in ("steps", "batch", "learning_rate", "pictures"))
    return f"| {name} | {told} | {stage['loss']} | {stage['minutes']} | {quality} |"


def _words(value) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
