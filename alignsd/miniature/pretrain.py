"""Makes the weights that the miniature ships: ``python -m alignsd.miniature.pretrain``.

Five stages, each resumable from its last checkpoint and skipped when its weights exist: the autoencoder, the CLIP,
the aesthetic predictor, the judge, and the diffusion model with its text encoder.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from diffusers import AutoencoderKL, StableDiffusionPipeline
from open_clip import create_model, get_tokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from alignsd.atomic import replacing, write_json
from alignsd.miniature import WEIGHTS, architectures, views
from alignsd.miniature.judge import CLASSES, Judge, to_tensor
from alignsd.miniature.web import Web, make_web
from alignsd.training import batch_indices, one_cycle, step_generator, train

WEB_SEED, HELD_OUT = 20230825, 1_000_000  # the web's seed; number of its first held-out picture
FLAW_SHARE = 0.6  # of the web's pictures. Guidance prefers the clean mode, so the web errs more than the model should
SCENES_PER_BATCH = 8  # in the self-supervision of CLIP


@dataclass(frozen=True)
class Recipe:
    """Sizes of one stage."""

    steps: int
    batch: int
    learning_rate: float
    pictures: int


RECIPES = {
    "vae": Recipe(1700, 32, 2e-3, 24_000),
    "clip": Recipe(1800, 96, 2e-3, 24_000),
    "aesthetic": Recipe(1, 1, 0.0, 4_000),
    "judge": Recipe(900, 96, 2e-3, 24_000),
    "diffusion": Recipe(2800, 64, 1.2e-3, 32_000),
}


def pixels(pictures: np.ndarray) -> Tensor:
    """Turns pictures ``(n, 64, 64, 3)`` uint8 into ``(n, 3, 64, 64)`` in [-1, 1], as the autoencoder takes them."""
    return to_tensor(pictures).float() / 127.5 - 1


def _fit(name: str, model: nn.Module, loss_of_step, recipe: Recipe, work: Path, **options) -> dict:
    """Trains one stage with a progress bar and returns its record for the model card."""
    start, losses = time.time(), []
    run = train(model, loss_of_step, steps=recipe.steps, learning_rate=recipe.learning_rate,
                checkpoint=work / f"{name}.pt", **({"schedule": one_cycle} | options))
    bar = tqdm(run, desc=f"pretraining {name}", initial=0, total=recipe.steps, unit="step", mininterval=5)
    for step, loss in bar:
        bar.n = step + 1
        losses.append(loss)
        bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)
    return {"steps": recipe.steps, "batch": recipe.batch, "learning_rate": recipe.learning_rate,
            "pictures": recipe.pictures, "loss": round(float(np.mean(losses[-100:])), 5) if losses else None,
            "minutes": round((time.time() - start) / 60, 1)}


def _web(recipe: Recipe, flaw_share: float = FLAW_SHARE) -> Web:
    return make_web(recipe.pictures, WEB_SEED, flaw_share)


def _held_out(n: int, flaw_share: float = FLAW_SHARE) -> Web:
    return make_web(n, WEB_SEED, flaw_share, first=HELD_OUT)


def pretrain_vae(recipe: Recipe, out: Path, work: Path) -> dict:
    """Autoencoder: L1 + L2 + a small KL term, after which the scaling factor makes the latents' variance 1.

    The KL term's weight is per latent dimension: at 2e-3 two of the four channels carried nothing.
    """
    web = _web(recipe)
    torch.manual_seed(WEB_SEED)
    vae = architectures.vae().to(memory_format=torch.channels_last)

    def loss_of_step(model: AutoencoderKL, step: int) -> Tensor:
        x = pixels(web.pictures[batch_indices(len(web), recipe.batch, step, WEB_SEED)])
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample(step_generator(WEB_SEED, step))).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return F.l1_loss(y, x) + F.mse_loss(y, x) + 1e-4 * kl

    record = _fit("vae", vae, loss_of_step, recipe, work)
    x = pixels(_held_out(512).pictures)
    with torch.no_grad():
        latents = vae.encode(x).latent_dist.mean
        error = F.mse_loss(vae.decode(latents).sample, x).item() / 4  # of a range of 2
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.half().save_pretrained(out / "stable-diffusion" / "vae")
    return record | {"held_out_psnr_db": round(-10 * np.log10(error), 2), "latent_std": round(latents.std().item(), 3)}


def pretrain_clip(recipe: Recipe, out: Path, work: Path) -> dict:
    """CLIP, with self-supervision as in SLIP (Mu et al., ECCV 2022).

    Contrastive between pictures and captions, where pictures whose captions describe the same scene count as each other's
    match; and between two views of one picture, among pictures of few scenes, so that the scene does not tell them apart.
    Captions never mention limbs: a linear probe of the features told flaws with an area under the curve of 0.70 after
    captions alone, of 0.78 with views (300 and 400 steps).
    """
    web = _web(recipe)
    folder = out / "clip"
    tokens_of = architectures.tokenizer(folder)  # where open_clip looks for the tokenizer of a local model
    torch.manual_seed(WEB_SEED + 1)
    clip = architectures.clip(folder, len(tokens_of))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.visual.image_mean, clip.visual.image_std))
    tokens = get_tokenizer(f"local-dir:{folder}")(web.captions)
    scenes = np.unique([str(scene) for scene in web.scenes], return_inverse=True)[1]
    of_scene = [np.flatnonzero(scenes == scene) for scene in range(scenes.max() + 1)]
    model = nn.ModuleDict({"clip": clip, "projection": views.projection(clip.visual.trunk.num_features)})

    def captions_loss(step: int) -> Tensor:
        index = batch_indices(len(web), recipe.batch, step, WEB_SEED + 1)
        image = clip.encode_image((to_tensor(web.pictures[index]) / 255 - mean) / std, normalize=True)
        logits = clip.logit_scale.exp() * image @ clip.encode_text(tokens[index], normalize=True).T
        same = torch.from_numpy(scenes[index][:, None] == scenes[index]).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def views_loss(step: int) -> Tensor:
        rng, generator = np.random.default_rng((WEB_SEED + 1, step)), step_generator(WEB_SEED + 1, step)
        few = rng.choice(len(of_scene), min(SCENES_PER_BATCH, len(of_scene)), replace=False)
        index = np.concatenate([rng.choice(of_scene[scene], recipe.batch // len(few)) for scene in few])
        pictures = to_tensor(web.pictures[index]) / 255
        both = torch.cat([views.view(pictures, generator), views.view(pictures, generator)])
        features = model["projection"](clip.visual.trunk((both - mean) / std))
        return views.agreement_loss(*features.chunk(2))

    record = _fit("clip", model, lambda _, step: captions_loss(step) + views_loss(step), recipe, work, weight_decay=0.05)
    with replacing(folder / "open_clip_model.safetensors") as part:
        save_file({k: v.half() if v.is_floating_point() else v for k, v in clip.state_dict().items()}, part)
    return record | _clip_quality(folder)


@torch.no_grad()
def _embed(folder: Path, web: Web) -> tuple[Tensor, Tensor]:
    clip = create_model(f"local-dir:{folder}").eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.visual.image_mean, clip.visual.image_std))
    images = torch.cat([clip.encode_image((to_tensor(web.pictures[i:i + 256]) / 255 - mean) / std, normalize=True)
                        for i in range(0, len(web), 256)])
    return images, clip.encode_text(get_tokenizer(f"local-dir:{folder}")(web.captions), normalize=True)


def _clip_quality(folder: Path) -> dict:
    web = _held_out(512)
    image, text = _embed(folder, web)
    scenes = np.array([str(scene) for scene in web.scenes])
    right = scenes[(image @ text.T).argmax(1).numpy()] == scenes
    return {"held_out_retrieval": {"right": round(float(right.mean()), 4), "n": len(web)}}


def pretrain_aesthetic(recipe: Recipe, out: Path, work: Path) -> dict:
    """Aesthetic predictor: a linear head on unit CLIP embeddings, as LAION's, for simulated ratings with noise.

    Ridge regression in closed form: colour leaves so small a trace in these embeddings that gradient steps did not find it.
    """
    start, web, test = time.time(), _web(recipe), _held_out(1000)
    noise = np.random.default_rng(WEB_SEED).normal(0, 0.7, len(web))
    embedding, rating = _embed(out / "clip", web)[0].double(), torch.tensor(np.clip(web.ratings + noise, 1, 10))
    centre = embedding - embedding.mean(0)
    weight = torch.linalg.solve(centre.T @ centre + 1e-3 * torch.eye(centre.shape[1]), centre.T @ (rating - rating.mean()))
    bias = rating.mean() - embedding.mean(0) @ weight
    with replacing(out / "aesthetic" / "linear.safetensors") as part:
        save_file({"weight": weight[None].float(), "bias": bias[None].float()}, part)
    predicted = _embed(out / "clip", test)[0].double() @ weight + bias
    return {"pictures": recipe.pictures, "loss": round((embedding @ weight + bias - rating).pow(2).mean().item(), 3),
            "minutes": round((time.time() - start) / 60, 1),
            "held_out_correlation": round(float(np.corrcoef(predicted.numpy(), test.ratings)[0, 1]), 3)}


def pretrain_judge(recipe: Recipe, out: Path, work: Path) -> dict:
    """Judge: half of each batch is seen after a trip through the autoencoder, as all generated pictures are."""
    web = _web(recipe, flaw_share=0.6)
    vae = AutoencoderKL.from_pretrained(out / "stable-diffusion" / "vae", torch_dtype=torch.float32).eval()
    seen = np.concatenate([web.pictures[:len(web) // 2], _round_trip(vae, web.pictures[len(web) // 2:])])
    labels = {name: torch.from_numpy(v) for name, v in web.labels().items()}
    ratings = torch.from_numpy(web.ratings).float()
    torch.manual_seed(WEB_SEED + 3)
    judge = Judge()

    def loss_of_step(model: nn.Module, step: int) -> Tensor:
        index = batch_indices(len(web), recipe.batch, step, WEB_SEED + 3)
        noise = torch.randn(len(index), 3, 64, 64, generator=step_generator(WEB_SEED + 3, step)) * 4
        heads = model((to_tensor(seen[index]) + noise).clamp(0, 255))
        classes = sum(F.cross_entropy(heads[name], labels[name][index]) for name in CLASSES)
        return classes + 0.1 * F.mse_loss(heads["rating"][:, 0], ratings[index])

    record = _fit("judge", judge, loss_of_step, recipe, work, weight_decay=0.05, ema=0.99)
    (out / "judge").mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() for k, v in judge.state_dict().items()}, out / "judge" / "judge.safetensors")
    test = _held_out(3000, flaw_share=0.6)
    return record | {"held_out_n": len(test), "held_out_renders": _judge_quality(judge, test, test.pictures),
                     "held_out_round_trips": _judge_quality(judge, test, _round_trip(vae, test.pictures))}


@torch.no_grad()
def _round_trip(vae: AutoencoderKL, pictures: np.ndarray) -> np.ndarray:
    parts = []
    for i in tqdm(range(0, len(pictures), 64), desc="through the autoencoder", unit="batch", mininterval=5):
        y = vae.decode(vae.encode(pixels(pictures[i:i + 64])).latent_dist.mean).sample
        parts.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def _judge_quality(judge: Judge, web: Web, pictures: np.ndarray) -> dict[str, float]:
    seen, truth = judge.judge(pictures), web.labels()
    right = {name: float((seen.attributes[name] == truth[name]).mean()) for name in seen.attributes}
    right |= {"flaw or not": float((seen.flawed == (truth["flaw"] != 0)).mean()),
              "which flaw": float((seen.flaw == truth["flaw"]).mean()),
              "rating correlation": float(np.corrcoef(seen.rating, web.ratings)[0, 1])}
    return {name: round(value, 4) for name, value in right.items()}


def pretrain_diffusion(recipe: Recipe, out: Path, work: Path) -> dict:
    """UNet and text encoder together, on cached moments of the latents; one caption in ten is dropped."""
    web = _web(recipe)
    folder = out / "stable-diffusion"
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    moments = _moments(vae, web.pictures)
    tokenizer = architectures.tokenizer(folder / "tokenizer")
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
        states = model["text"](ids[(index + 1) * kept]).last_hidden_state
        noised = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        return F.mse_loss(model["unet"](noised, time_step, states).sample, noise)

    record = _fit("diffusion", model, loss_of_step, recipe, work, weight_decay=0.01, ema=0.998, checkpoint_every=500)
    vae.register_to_config(_name_or_path="")  # a folder of this machine
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=model["text"], tokenizer=tokenizer, unet=model["unet"], scheduler=architectures.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.to(torch.float16).save_pretrained(folder)
    return record


@torch.no_grad()
def _moments(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    parts = []
    for i in tqdm(range(0, len(pictures), 128), desc="encoding the web", unit="batch", mininterval=5):
        posterior = vae.encode(pixels(pictures[i:i + 128])).latent_dist
        parts.append(torch.cat([posterior.mean, posterior.std], dim=1))
    return torch.cat(parts)


STAGES = {"vae": pretrain_vae, "clip": pretrain_clip, "aesthetic": pretrain_aesthetic, "judge": pretrain_judge,
          "diffusion": pretrain_diffusion}


def hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each weight file below ``folder``, by relative path."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*.safetensors"))}


def pretrain(out: Path, work: Path, stages: list[str], shorten: float = 1.0) -> None:
    """Runs the stages whose record is not in ``out/model_card.json`` yet, and adds their records.

    Args:
        out: folder of the weights.
        work: folder of the checkpoints.
        stages: names from ``STAGES``; each needs the earlier ones' weights.
        shorten: factor on steps and pictures; below 1 only to try the script.
    """
    card_path = out / "model_card.json"
    card = json.loads(card_path.read_text()) if card_path.exists() else {"stages": {}}
    for name in stages:
        if name in card["stages"]:
            continue
        recipe = RECIPES[name]
        recipe = Recipe(max(2, int(recipe.steps * shorten)), recipe.batch, recipe.learning_rate,
                        max(recipe.batch, int(recipe.pictures * shorten)))
        card["stages"][name] = STAGES[name](recipe, out, work)
        card |= {"seed": WEB_SEED, "flaw_share": FLAW_SHARE, "sha256": hashes(out)}
        write_json(card_path, card)


def main(
    out: Annotated[Path, typer.Option(help="folder for the weights")] = WEIGHTS,
    work: Annotated[Path, typer.Option(help="folder for the checkpoints")] = Path("pretraining"),
    stage: Annotated[list[str] | None, typer.Option(help="only these stages; all by default")] = None,
    shorten: Annotated[float, typer.Option(help="factor on steps and pictures, to try the script")] = 1.0,
    fresh: Annotated[bool, typer.Option(help="delete earlier weights and checkpoints first")] = False,
) -> None:
    """Pretrains the miniature's models: about an hour and a half on two cores."""
    unknown = set(stage or ()) - set(STAGES)
    if unknown:
        raise typer.BadParameter(f"unknown stage {sorted(unknown)}; known: {', '.join(STAGES)}")
    if fresh:
        for folder in (out, work):
            shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    pretrain(out, work, stage or list(STAGES), shorten)


if __name__ == "__main__":
    typer.run(main)
