"""Pretrains the miniature's CLIP, and the aesthetic predictor on its embeddings."""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

from alignsd.base.atomic import replacing
from alignsd.miniature import world
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.pretraining import architectures
from alignsd.miniature.pretraining.recipes import (
    CREATURES,
    WEB_SEED,
    Recipe,
    beside,
    fit,
    held_out,
    round_trip,
    web,
)
from alignsd.miniature.web import Web
from alignsd.models import tower

SCENES_PER_BATCH = 12  # few, so that much of a batch shows the same scene and captions must be told apart by the rest
WORDS = 4.0  # weight of the loss that predicts the caption's words


def pretrain_clip(recipe: Recipe, out: Path, work: Path) -> dict:
    """CLIP on a wider web than the diffusion model's, half of it after a trip through the autoencoder.

    There, too, awkward people have captions that are silent on it. But half of the pictures were asked for as creatures, whose
    captions say what body they are meant to have; so CLIP knows how to count limbs. Nothing tells it which number
    people like, but since creatures are odd more often than people, it leans towards whole ones (docs/deviations.md, row 19).
    Every caption of the batch that is true of a picture counts as its match (UniCL; Yang et al., CVPR 2022). If only its own did, CLIP
    would have loud and groundless opinions among pictures of one prompt, which choices would have to drown.
    Beside the contrastive loss the embedding must predict the words of its caption (Huang et al., NeurIPS 2024), each weighted by
    how rare it is: with so few steps the contrastive loss alone tells scenes apart and little else.
    """
    learned = web(recipe, CREATURES)
    half = len(learned) // 2
    pictures = np.concatenate([learned.pictures[:half], round_trip(out, learned.pictures[half:])])
    folder = out / "clip"
    tokens_of = architectures.tokenizer(folder, world.vocabulary(wide=True), architectures.CLIP_TOKENS)  # open_clip looks there
    torch.manual_seed(WEB_SEED + 1)
    clip = architectures.clip(folder, len(tokens_of))
    model = nn.ModuleDict({"clip": clip, "words": nn.Linear(clip.visual.head.proj.out_features, len(tokens_of))})
    mean, std = _normalization(clip)
    tokens = get_tokenizer(f"local-dir:{folder}")(learned.captions)
    rare = _rare_words(tokens, len(tokens_of))
    scenes = np.unique([str(scene) for scene in learned.scenes], return_inverse=True)[1]
    of_scene = [np.flatnonzero(scenes == scene) for scene in range(scenes.max() + 1)]

    def loss_of_step(model: nn.ModuleDict, step: int) -> Tensor:
        rng = np.random.default_rng((WEB_SEED + 1, step))
        few = rng.choice(len(of_scene), min(SCENES_PER_BATCH, len(of_scene)), replace=False)
        index = np.concatenate([rng.choice(of_scene[scene], max(1, recipe.batch // len(few))) for scene in few])
        seen, read, said = beside(model, (to_tensor(pictures[index]) / 255 - mean) / std, tokens[index], rare[index])
        embedding = clip.encode_image(seen)
        logits = clip.logit_scale.exp() * F.normalize(embedding, dim=1) @ clip.encode_text(read, normalize=True).T
        (true,) = beside(model, torch.from_numpy(learned.true_captions(index)).float())
        contrast = (F.cross_entropy(logits, true / true.sum(1, keepdim=True))
                    + F.cross_entropy(logits.T, true.T / true.T.sum(1, keepdim=True))) / 2
        return contrast + WORDS * F.cross_entropy(model["words"](embedding), said)

    record = fit("clip", model, loss_of_step, recipe, work, weight_decay=0.05)
    with replacing(folder / "open_clip_model.safetensors") as part:
        save_file({k: v.half() if v.is_floating_point() else v for k, v in clip.state_dict().items()}, part)
    return record | _quality(folder)


def _rare_words(tokens: Tensor, words: int) -> Tensor:
    """Returns each text's words as a distribution ``(n, words)``, rarer ones with more weight (inverse document frequency)."""
    has = torch.zeros(len(tokens), words).scatter_(1, tokens, 1.0)
    weighted = has * torch.log(len(tokens) / has.sum(0).clamp(min=1))
    return weighted / weighted.sum(1, keepdim=True)


def _normalization(clip: nn.Module) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.visual.image_mean, clip.visual.image_std))
    return mean, std


@torch.no_grad()
def _embed(folder: Path, pictures: np.ndarray, texts: list[str]) -> tuple[Tensor, Tensor]:
    tower.register()
    clip = create_model(f"local-dir:{folder}").eval()
    mean, std = _normalization(clip)
    images = torch.cat([clip.encode_image((to_tensor(pictures[i:i + 256]) / 255 - mean) / std, normalize=True)
                        for i in range(0, len(pictures), 256)])
    tokens = get_tokenizer(f"local-dir:{folder}")(texts)
    return images, torch.cat([clip.encode_text(tokens[i:i + 256], normalize=True) for i in range(0, len(tokens), 256)])


def _quality(folder: Path) -> dict:
    people = held_out(512)
    image, text = _embed(folder, people.pictures, people.captions)
    right = _scenes(people)[(image @ text.T).argmax(1).numpy()] == _scenes(people)
    wide = held_out(1000, CREATURES)
    asked = [scene for scene, creature in zip(wide.scenes, wide.creatures, strict=True) if creature]
    texts = [world.creature_caption(scene, flaw, np.random.default_rng(0)) for scene in asked for flaw in world.FLAWS]
    image, text = _embed(folder, wide.pictures[wide.creatures], texts)
    told = torch.einsum("nd,nfd->nf", image, text.view(len(asked), len(world.FLAWS), -1)).argmax(1).numpy()
    body = told == wide.labels()["flaw"][wide.creatures]
    return {"held_out_retrieval": {"right": round(float(right.mean()), 4), "n": len(right)},
            "held_out_body_of_creatures": {"right": round(float(body.mean()), 4), "n": len(body)}}


def _scenes(shown: Web) -> np.ndarray:
    return np.array([str(scene) for scene in shown.scenes])


def pretrain_aesthetic(recipe: Recipe, out: Path, work: Path) -> dict:
    """Aesthetic predictor: a linear head on unit CLIP embeddings, as LAION's, for simulated ratings with noise.

    Ridge regression in closed form: colour leaves so small a trace in these embeddings that gradient steps did not find it.
    """
    start, rated, test = time.time(), web(recipe), held_out(1000)
    noise = np.random.default_rng(WEB_SEED).normal(0, 0.7, len(rated))
    embedding, rating = _embed(out / "clip", rated.pictures, [""])[0].double(), torch.tensor(np.clip(rated.ratings + noise, 1, 10))
    centre = embedding - embedding.mean(0)
    weight = torch.linalg.solve(centre.T @ centre + 1e-3 * torch.eye(centre.shape[1]), centre.T @ (rating - rating.mean()))
    bias = rating.mean() - embedding.mean(0) @ weight
    with replacing(out / "aesthetic" / "linear.safetensors") as part:
        save_file({"weight": weight[None].float(), "bias": bias[None].float()}, part)
    predicted = _embed(out / "clip", test.pictures, [""])[0].double() @ weight + bias
    return {"pictures": recipe.pictures, "loss": round((embedding @ weight + bias - rating).pow(2).mean().item(), 3),
            "minutes": round((time.time() - start) / 60, 1),
            "held_out_correlation": round(float(np.corrcoef(predicted.numpy(), test.ratings)[0, 1]), 3)}
