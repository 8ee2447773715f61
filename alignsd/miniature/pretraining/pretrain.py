"""Makes the weights that the miniature ships: ``python -m alignsd.miniature.pretraining.pretrain``.

Five stages, each resumable from its last checkpoint and skipped when its weights exist: the autoencoder, the CLIP,
the aesthetic predictor, the judge, and the diffusion model with its text encoder.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.progress import track
from alignsd.miniature import WEIGHTS, world
from alignsd.miniature.judge import CLASSES, Judge, to_tensor
from alignsd.miniature.pretraining import architectures, recipes
from alignsd.miniature.pretraining.card import write_card
from alignsd.miniature.pretraining.pretrain_clip import pretrain_aesthetic, pretrain_clip
from alignsd.miniature.pretraining.recipes import (
    CREATURES,
    FLAW_SHARE,
    RECIPES,
    WEB_SEED,
    Recipe,
    beside,
)
from alignsd.miniature.web import Web
from alignsd.models.training import batch_indices, step_generator


def pretrain_vae(recipe: Recipe, out: Path, work: Path) -> dict:
    """Autoencoder: L1 + L2 + a small KL term, after which the scaling factor makes the latents' variance 1.

    The KL term's weight is per latent dimension: at 2e-3 two of the four channels carried nothing.
    """
    web = recipes.web(recipe)
    torch.manual_seed(WEB_SEED)
    vae = architectures.vae().to(memory_format=torch.channels_last)

    def loss_of_step(model: AutoencoderKL, step: int) -> Tensor:
        [x] = beside(model, recipes.pixels(web.pictures[batch_indices(len(web), recipe.batch, step, WEB_SEED)]))
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample(step_generator(WEB_SEED, step))).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return F.l1_loss(y, x) + F.mse_loss(y, x) + 1e-4 * kl

    record = recipes.fit("vae", vae, loss_of_step, recipe, work)
    x = recipes.pixels(recipes.held_out(512).pictures)
    with torch.no_grad():
        latents = vae.encode(x).latent_dist.mean
        error = F.mse_loss(vae.decode(latents).sample, x).item() / 4  # of a range of 2
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.half().save_pretrained(out / "stable-diffusion" / "vae")
    return record | {"held_out_psnr_db": round(-10 * np.log10(error), 2), "latent_std": round(latents.std().item(), 3)}


def pretrain_judge(recipe: Recipe, out: Path, work: Path) -> dict:
    """Judge: half of each batch is seen after a trip through the autoencoder, as all generated pictures are."""
    web = recipes.web(recipe)
    seen = np.concatenate([web.pictures[:len(web) // 2], recipes.round_trip(out, web.pictures[len(web) // 2:])])
    labels = {name: torch.from_numpy(v) for name, v in web.labels().items()}
    ratings = torch.from_numpy(web.ratings).float()
    torch.manual_seed(WEB_SEED + 3)
    judge = Judge()

    def loss_of_step(model: nn.Module, step: int) -> Tensor:
        index = batch_indices(len(web), recipe.batch, step, WEB_SEED + 3)
        noise = torch.randn(len(index), 3, 64, 64, generator=step_generator(WEB_SEED + 3, step)) * 4
        shown, rated = beside(model, (to_tensor(seen[index]) + noise).clamp(0, 255), ratings[index])
        heads = model(shown)
        classes = sum(F.cross_entropy(heads[name], *beside(model, labels[name][index])) for name in CLASSES)
        return classes + 0.1 * F.mse_loss(heads["rating"][:, 0], rated)

    record = recipes.fit("judge", judge, loss_of_step, recipe, work, weight_decay=0.05, ema=0.99)
    (out / "judge").mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() for k, v in judge.state_dict().items()}, out / "judge" / "judge.safetensors")
    test = recipes.held_out(recipe.pictures // 8)
    return record | {"held_out_n": len(test), "held_out_renders": _judge_quality(judge, test, test.pictures),
                     "held_out_round_trips": _judge_quality(judge, test, recipes.round_trip(out, test.pictures))}


def _judge_quality(judge: Judge, web: Web, pictures: np.ndarray) -> dict[str, float]:
    seen, truth = judge.judge(pictures), web.labels()
    right = {name: float((seen.attributes[name] == truth[name]).mean()) for name in seen.attributes}
    right |= {"flaw or not": float((seen.flawed == (truth["flaw"] != 0)).mean()),
              "which flaw": float((seen.flaw == truth["flaw"]).mean()),
              "rating correlation": float(np.corrcoef(seen.rating, web.ratings)[0, 1])}
    return {name: round(value, 4) for name, value in right.items()}


def pretrain_diffusion(recipe: Recipe, out: Path, work: Path) -> dict:
    """UNet and text encoder together, on cached moments of the latents; one caption in ten is dropped."""
    web = recipes.web(recipe)
    folder = out / "stable-diffusion"
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    moments = _moments(vae, web.pictures)
    tokenizer = architectures.tokenizer(folder / "tokenizer", world.vocabulary())
    torch.manual_seed(WEB_SEED + 4)
    model = nn.ModuleDict({"unet": architectures.unet(), "text": architectures.text_encoder(tokenizer)})
    model.to(memory_format=torch.channels_last)
    ids = tokenizer(["", *web.captions], padding="max_length", return_tensors="pt").input_ids
    alphas = architectures.scheduler().alphas_cumprod

    def loss_of_step(model: nn.ModuleDict, step: int) -> Tensor:
        generator = step_generator(WEB_SEED + 4, step)
        index = torch.from_numpy(batch_indices(len(web), recipe.batch, step, WEB_SEED + 4))
        mean, std = moments[index].chunk(2, dim=1)
        latents = (mean + std * torch.randn(mean.shape, generator=generator)) * vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        time_step = torch.randint(0, 1000, (len(index),), generator=generator)
        kept = torch.rand(len(index), generator=generator) >= 0.1
        alpha = alphas[time_step].view(-1, 1, 1, 1)
        read, noised, noise, time_step = beside(
            model, ids[(index + 1) * kept], alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, noise, time_step)
        states = model["text"](read).last_hidden_state
        return F.mse_loss(model["unet"](noised, time_step, states).sample, noise)

    record = recipes.fit("diffusion", model, loss_of_step, recipe, work, weight_decay=0.01, ema=0.998, checkpoint_every=500)
    vae.register_to_config(_name_or_path="")  # a folder of this machine
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=model["text"], tokenizer=tokenizer, unet=model["unet"], scheduler=architectures.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.to(torch.float16).save_pretrained(folder)
    return record


@torch.no_grad()
def _moments(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    parts = []
    for i in track(range(0, len(pictures), 128), what="encoding the web", unit="batch"):
        posterior = vae.encode(recipes.pixels(pictures[i:i + 128])).latent_dist
        parts.append(torch.cat([posterior.mean, posterior.std], dim=1))
    return torch.cat(parts)


STAGES = {"vae": pretrain_vae, "clip": pretrain_clip, "aesthetic": pretrain_aesthetic, "judge": pretrain_judge,
          "diffusion": pretrain_diffusion}


def hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each weight file below ``folder``, by relative path."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*.safetensors"))}


def pretrain(out: Path, work: Path, stages: list[str], shorten: float = 1.0) -> dict:
    """Runs the stages whose record is not in ``out/model_card.json`` yet, adds their records, and returns the whole card.

    Args:
        out: folder of the weights.
        work: folder of the checkpoints.
        stages: names from ``STAGES``; each needs the earlier ones' weights.
        shorten: factor on steps and pictures; below 1 only to try the script.

    Raises:
        Problem: if all of them are recorded.
    """
    card_path = out / "model_card.json"
    card = json.loads(card_path.read_text()) if card_path.exists() else {"stages": {}}
    todo = [name for name in stages if name not in card["stages"]]
    if not todo:
        raise Problem("There is nothing to pretrain.", expected=f"a folder without the weights of {', '.join(stages)}",
                      found=f"the record of each in {card_path.name}", cause="these weights are finished, as the shipped ones are",
                      fix="--fresh deletes them and makes them anew; --out FOLDER makes others beside them")
    for name in todo:
        recipe = RECIPES[name]
        recipe = Recipe(max(2, int(recipe.steps * shorten)), recipe.batch, recipe.learning_rate,
                        max(recipe.batch, int(recipe.pictures * shorten)))
        card["stages"][name] = STAGES[name](recipe, out, work)
        card |= {"seed": WEB_SEED, "flaw_share": FLAW_SHARE, "creatures": CREATURES, "sha256": hashes(out)}
        write_json(card_path, card)
    return card


def main(
    out: Annotated[Path, typer.Option(help="folder for the weights")] = WEIGHTS,
    work: Annotated[Path, typer.Option(help="folder for the checkpoints")] = Path("pretraining"),
    stage: Annotated[list[str] | None, typer.Option(help="only these stages; all by default")] = None,
    shorten: Annotated[float, typer.Option(help="factor on steps and pictures, to try the script")] = 1.0,
    fresh: Annotated[bool, typer.Option(help="delete earlier weights and checkpoints first")] = False,
) -> None:
    """Pretrains the miniature's models: an hour and a half on two cores."""
    unknown = set(stage or ()) - set(STAGES)
    if unknown:
        raise typer.BadParameter(f"unknown stage {sorted(unknown)}; known: {', '.join(STAGES)}")
    if fresh:
        for folder in (out, work):
            shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        card = pretrain(out, work, stage or list(STAGES), shorten)
    except Problem as problem:
        print(problem, file=sys.stderr)
        raise typer.Exit(1) from problem
    if shorten == 1 and card["stages"].keys() == STAGES.keys():  # it shows the diffusion model's pictures and the judge's verdicts
        write_card(out)


if __name__ == "__main__":
    typer.run(main)
