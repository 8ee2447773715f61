"""Pretrain the miniature's CLIP, and the aesthetic predictor on its embeddings."""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from alignsd.base.atomic import replacing
from alignsd.miniature import world
from alignsd.miniature.judge import to_tensor
from alignsd.miniature.pretraining import architectures
from alignsd.miniature.pretraining.recipes import (
    CREATURES,
    Record,
    StageRecipe,
    beside,
    fit,
    half_round_trips,
    held_out,
    minutes_since,
    web,
)
from alignsd.miniature.web import WEB_SEED, Web
from alignsd.models import tower
from alignsd.models.training import Checkpointing

SEED = WEB_SEED + 1
# Few scenes, so that much of a batch shows the same scene and CLIP must tell captions apart by
# what else the captions say.
SCENES_PER_BATCH = 12
WORDS = 4.0  # weight of the loss that predicts the caption's words
RATING_NOISE = 0.7  # standard deviation of a rating that the aesthetic predictor learns from
RIDGE = 1e-3


def pretrain_clip(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Pretrain CLIP on a web that is wider than the diffusion model's.

    Half of the pictures are seen after a trip through the autoencoder. In this web, too, captions
    of awkward people are silent on the flaw. But half of the pictures were asked for as creatures,
    and their captions say what body the creature is meant to have. So CLIP learns to count limbs.
    Nothing tells CLIP which number people like. But creatures are odd more often than people, so
    CLIP leans towards whole people (docs/deviations.md, row 19).

    Every caption of the batch that is true of a picture counts as its match (UniCL; Yang et al.,
    CVPR 2022). If only the picture's own caption counted, CLIP would have loud and groundless
    opinions among pictures of one prompt, which choices would have to drown.

    Beside the contrastive loss, the embedding must predict the words of its caption (Huang et al.,
    NeurIPS 2024), each weighted by how rare the word is. With so few steps, the contrastive loss
    alone tells scenes apart and little else.
    """
    learned = web(recipe, CREATURES)
    pictures = half_round_trips(out, learned.pictures)
    folder = out / "clip"
    # open_clip looks for the tokenizer in the folder of the model.
    vocabulary = world.vocabulary(wide=True)
    words = len(architectures.tokenizer(folder, vocabulary, architectures.CLIP_TOKENS))
    torch.manual_seed(SEED)
    clip = architectures.clip(folder, words)
    embedding_size = clip.visual.head.proj.out_features
    model = nn.ModuleDict({"clip": clip, "words": nn.Linear(embedding_size, words)})
    mean, std = _normalization(clip)
    tokens = get_tokenizer(f"local-dir:{folder}")(learned.captions)
    rare = _rare_words(tokens, words)
    pictures_of_scene = _pictures_of_scene(learned)

    def loss_of_step(model: nn.ModuleDict, step: int) -> Tensor:
        index = _batch(pictures_of_scene, recipe.batch, step)
        normalized = (to_tensor(pictures[index]) / 255 - mean) / std
        seen, read, said = beside(model, normalized, tokens[index], rare[index])
        images = clip.encode_image(seen)
        texts = clip.encode_text(read, normalize=True)
        logits = clip.logit_scale.exp() * F.normalize(images, dim=1) @ texts.T
        (true,) = beside(model, torch.from_numpy(learned.true_captions(index)).float())
        of_images = F.cross_entropy(logits, true / true.sum(1, keepdim=True))
        of_texts = F.cross_entropy(logits.T, true.T / true.T.sum(1, keepdim=True))
        of_words = F.cross_entropy(model["words"](images), said)
        return (of_images + of_texts) / 2 + WORDS * of_words

    record = fit(model, loss_of_step, recipe, Checkpointing(work / "clip.pt"), weight_decay=0.05)
    with replacing(folder / "open_clip_model.safetensors") as unfinished:
        save_file(_halved(clip.state_dict()), unfinished)
    return record | _quality(folder)


def _pictures_of_scene(learned: Web) -> list[np.ndarray]:
    """Return the indices of the pictures of each scene."""
    scenes = np.unique(_scenes(learned), return_inverse=True)[1]
    return [np.flatnonzero(scenes == scene) for scene in range(scenes.max() + 1)]


def _batch(pictures_of_scene: list[np.ndarray], batch: int, step: int) -> np.ndarray:
    """Return the pictures of one step: a few scenes, and as many pictures of each."""
    rng = np.random.default_rng((SEED, step))
    few = min(SCENES_PER_BATCH, len(pictures_of_scene))
    scenes = rng.choice(len(pictures_of_scene), few, replace=False)
    per_scene = max(1, batch // len(scenes))
    return np.concatenate([rng.choice(pictures_of_scene[scene], per_scene) for scene in scenes])


def _rare_words(tokens: Tensor, words: int) -> Tensor:
    """Return each text's words as a distribution; rare words have more weight.

    The weight is the inverse document frequency.

    Args:
        tokens: ``(n, length)``.
        words: size of the vocabulary.

    Returns:
        ``(n, words)``.
    """
    has_word = torch.zeros(len(tokens), words).scatter_(1, tokens, 1.0)
    texts_with_word = has_word.sum(0).clamp(min=1)
    weighted = has_word * torch.log(len(tokens) / texts_with_word)
    return weighted / weighted.sum(1, keepdim=True)


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in half precision; whole numbers stay as they are."""
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def _normalization(clip: CLIP) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of pixels, ``(3, 1, 1)``."""
    visual = clip.visual
    mean, std = torch.tensor(visual.image_mean), torch.tensor(visual.image_std)
    return mean.view(3, 1, 1), std.view(3, 1, 1)


@torch.no_grad()
def _embed(folder: Path, pictures: np.ndarray, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Return the embeddings of pictures and of texts, unit vectors ``(n, width)``."""
    tower.register()
    clip = create_model(f"local-dir:{folder}").eval()
    mean, std = _normalization(clip)
    tokens = get_tokenizer(f"local-dir:{folder}")(texts)
    images, embedded_texts = [], []
    for i in range(0, len(pictures), 256):
        normalized = (to_tensor(pictures[i : i + 256]) / 255 - mean) / std
        images.append(clip.encode_image(normalized, normalize=True))
    for i in range(0, len(tokens), 256):
        embedded_texts.append(clip.encode_text(tokens[i : i + 256], normalize=True))
    return torch.cat(images), torch.cat(embedded_texts)


def _quality(folder: Path) -> Record:
    """Return how often CLIP finds the scene of a person and the body of a creature."""
    return {
        "held_out_retrieval": _retrieval(folder),
        "held_out_body_of_creatures": _bodies(folder),
    }


def _retrieval(folder: Path) -> Record:
    people = held_out(512)
    images, texts = _embed(folder, people.pictures, people.captions)
    best = (images @ texts.T).argmax(1).numpy()
    scenes = _scenes(people)
    return _share(scenes[best] == scenes)


def _bodies(folder: Path) -> Record:
    wide = held_out(1000, CREATURES)
    pairs = zip(wide.scenes, wide.creatures, strict=True)
    asked = [scene for scene, is_creature in pairs if is_creature]
    captions = []
    for scene in asked:
        for flaw in world.FLAWS:
            captions.append(world.creature_caption(scene, flaw, np.random.default_rng(0)))
    images, texts = _embed(folder, wide.pictures[wide.creatures], captions)
    bodies = texts.view(len(asked), len(world.FLAWS), -1)
    best = torch.einsum("nd,nfd->nf", images, bodies).argmax(1).numpy()
    return _share(best == wide.labels()["flaw"][wide.creatures])


def _share(right: np.ndarray) -> Record:
    return {"right": round(float(right.mean()), 4), "n": len(right)}


def _scenes(shown: Web) -> np.ndarray:
    return np.array([str(scene) for scene in shown.scenes])


def pretrain_aesthetic(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Fit the aesthetic predictor: a linear head on unit CLIP embeddings, as LAION's.

    The head learns simulated ratings with noise, by ridge regression in closed form: colour leaves
    so small a trace in these embeddings that gradient steps did not find the trace.
    """
    start = time.time()
    rated, test = web(recipe), held_out(1000)
    noise = np.random.default_rng(WEB_SEED).normal(0, RATING_NOISE, len(rated))
    embedding = _embed(out / "clip", rated.pictures, [""])[0].double()
    rating = torch.tensor(np.clip(rated.ratings + noise, 1, 10))
    centred = embedding - embedding.mean(0)
    ridge = RIDGE * torch.eye(centred.shape[1])
    covariance = centred.T @ centred + ridge
    weight = torch.linalg.solve(covariance, centred.T @ (rating - rating.mean()))
    bias = rating.mean() - embedding.mean(0) @ weight
    with replacing(out / "aesthetic" / "linear.safetensors") as unfinished:
        save_file({"weight": weight[None].float(), "bias": bias[None].float()}, unfinished)
    predicted = _embed(out / "clip", test.pictures, [""])[0].double() @ weight + bias
    correlation = np.corrcoef(predicted.numpy(), test.ratings)[0, 1]
    error = embedding @ weight + bias - rating
    return {
        "pictures": recipe.pictures,
        "loss": round(error.pow(2).mean().item(), 3),
        "minutes": minutes_since(start),
        "held_out_correlation": round(float(correlation), 3),
    }
