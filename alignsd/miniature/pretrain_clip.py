"""Pretrains the miniature's CLIP, and the aesthetic predictor on its embeddings."""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

from alignsd.atomic import replacing
from alignsd.miniature import architectures, views
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.recipes import WEB_SEED, Recipe, beside, fit, held_out, web
from alignsd.miniature.web import Web
from alignsd.training import batch_indices, step_generator

SCENES_PER_BATCH = 8  # in the self-supervision


def pretrain_clip(recipe: Recipe, out: Path, work: Path) -> dict:
    """CLIP, with self-supervision as in SLIP (Mu et al., ECCV 2022).

    Contrastive between pictures and captions, half a batch of them, where pictures whose captions describe the same scene
    count as each other's match; and between two views of one picture, among pictures of few scenes, so that the scene does
    not tell them apart. Captions never mention limbs: without views a linear probe hardly finds flaws in the features.
    Views teach to see past colour and place, in which taste lies; so the features must also tell what was done to a view.
    """
    learned = web(recipe)
    folder = out / "clip"
    tokens_of = architectures.tokenizer(folder)  # where open_clip looks for the tokenizer of a local model
    torch.manual_seed(WEB_SEED + 1)
    clip = architectures.clip(folder, len(tokens_of))
    width = clip.visual.trunk.num_features
    model = nn.ModuleDict({"clip": clip, "projection": views.projection(width), "guess": nn.Linear(width, views.DONE)})
    mean, std = _normalization(clip)
    tokens = get_tokenizer(f"local-dir:{folder}")(learned.captions)
    scenes = np.unique([str(scene) for scene in learned.scenes], return_inverse=True)[1]
    of_scene = [np.flatnonzero(scenes == scene) for scene in range(scenes.max() + 1)]

    def captions_loss(step: int) -> Tensor:
        index = batch_indices(len(learned), max(2, recipe.batch // 2), step, WEB_SEED + 1)
        same = torch.from_numpy(scenes[index][:, None] == scenes[index]).float()
        seen, read, target = beside(model, (to_tensor(learned.pictures[index]) / 255 - mean) / std, tokens[index],
                                    same / same.sum(1, keepdim=True))
        image, text = clip.encode_image(seen, normalize=True), clip.encode_text(read, normalize=True)
        logits = clip.logit_scale.exp() * image @ text.T
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def views_loss(step: int) -> Tensor:
        rng, generator = np.random.default_rng((WEB_SEED + 1, step)), step_generator(WEB_SEED + 1, step)
        few = rng.choice(len(of_scene), min(SCENES_PER_BATCH, len(of_scene)), replace=False)
        index = np.concatenate([rng.choice(of_scene[scene], max(1, recipe.batch // len(few))) for scene in few])
        pictures = to_tensor(learned.pictures[index]) / 255
        both, done = (torch.cat(parts) for parts in zip(*(views.view(pictures, generator) for _ in range(2)), strict=True))
        both, done = beside(model, (both - mean) / std, done)
        features = clip.visual.trunk(both)
        return views.agreement_loss(*model["projection"](features).chunk(2)) + F.mse_loss(model["guess"](features), done)

    record = fit("clip", model, lambda _, step: captions_loss(step) + views_loss(step), recipe, work, weight_decay=0.05)
    with replacing(folder / "open_clip_model.safetensors") as part:
        save_file({k: v.half() if v.is_floating_point() else v for k, v in clip.state_dict().items()}, part)
    return record | _quality(folder)


def _normalization(clip: nn.Module) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.visual.image_mean, clip.visual.image_std))
    return mean, std


@torch.no_grad()
def _embed(folder: Path, shown: Web) -> tuple[Tensor, Tensor]:
    clip = create_model(f"local-dir:{folder}").eval()
    mean, std = _normalization(clip)
    images = torch.cat([clip.encode_image((to_tensor(shown.pictures[i:i + 256]) / 255 - mean) / std, normalize=True)
                        for i in range(0, len(shown), 256)])
    return images, clip.encode_text(get_tokenizer(f"local-dir:{folder}")(shown.captions), normalize=True)


def _quality(folder: Path) -> dict:
    test = held_out(512)
    image, text = _embed(folder, test)
    scenes = np.array([str(scene) for scene in test.scenes])
    right = scenes[(image @ text.T).argmax(1).numpy()] == scenes
    return {"held_out_retrieval": {"right": round(float(right.mean()), 4), "n": len(test)}}


def pretrain_aesthetic(recipe: Recipe, out: Path, work: Path) -> dict:
    """Aesthetic predictor: a linear head on unit CLIP embeddings, as LAION's, for simulated ratings with noise.

    Ridge regression in closed form: colour leaves so small a trace in these embeddings that gradient steps did not find it.
    """
    start, rated, test = time.time(), web(recipe), held_out(1000)
    noise = np.random.default_rng(WEB_SEED).normal(0, 0.7, len(rated))
    embedding, rating = _embed(out / "clip", rated)[0].double(), torch.tensor(np.clip(rated.ratings + noise, 1, 10))
    centre = embedding - embedding.mean(0)
    weight = torch.linalg.solve(centre.T @ centre + 1e-3 * torch.eye(centre.shape[1]), centre.T @ (rating - rating.mean()))
    bias = rating.mean() - embedding.mean(0) @ weight
    with replacing(out / "aesthetic" / "linear.safetensors") as part:
        save_file({"weight": weight[None].float(), "bias": bias[None].float()}, part)
    predicted = _embed(out / "clip", test)[0].double() @ weight + bias
    return {"pictures": recipe.pictures, "loss": round((embedding @ weight + bias - rating).pow(2).mean().item(), 3),
            "minutes": round((time.time() - start) / 60, 1),
            "held_out_correlation": round(float(np.corrcoef(predicted.numpy(), test.ratings)[0, 1]), 3)}
