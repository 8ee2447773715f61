"""Pretrain the miniature's CLIP, and the aesthetic predictor on the embeddings of this CLIP."""

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
EMBEDDED = 256  # pictures or texts embedded at a time


def pretrain_clip(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Pretrain CLIP on a web that is wider than the diffusion model's web.

    Half of the pictures are seen after a trip through the autoencoder. In this web, too, captions
    of awkward people are silent on the flaw. But half of the pictures were asked for as creatures,
    and a creature's caption says what body is meant. So CLIP learns to count limbs. Nothing tells
    CLIP which number people like. But creatures are odd more often than people, so CLIP leans
    towards whole people (docs/deviations.md, row 19).

    Every caption of the batch that is true of a picture counts as a match (UniCL; Yang et al.,
    CVPR 2022). If only the picture's own caption counted, CLIP would get strong and random
    preferences among pictures of one prompt, and choices would have to undo these preferences.

    Beside the contrastive loss, the embedding must predict the words of the caption (Huang et al.,
    NeurIPS 2024), each weighted by how rare the word is. With so few steps, the contrastive loss
    alone tells scenes apart and little else.
    """
    learned = web(recipe, CREATURES)
    pictures = half_round_trips(out, learned.pictures)
    folder = out / "clip"
    # open_clip looks for the tokenizer in the folder of the model.
    vocabulary = world.vocabulary(wide=True)
    tokenizer = architectures.tokenizer(folder, vocabulary, architectures.CLIP_TOKENS)
    words = len(tokenizer)
    torch.manual_seed(SEED)
    clip = architectures.clip(folder, words)
    embedding_size = clip.visual.head.proj.out_features
    head = nn.Linear(embedding_size, words)
    model = nn.ModuleDict({"clip": clip, "words": head})
    tokens = _tokenized(folder, learned.captions)
    rare = _rare_words(tokens, words)
    pictures_of_scene = _pictures_of_scene(learned)

    def loss_of_step(model: nn.ModuleDict, step: int) -> Tensor:
        index = _batch(pictures_of_scene, recipe.batch, step)
        normalized = _normalized(clip, pictures[index])
        seen, read, said = beside(model, normalized, tokens[index], rare[index])
        images = clip.encode_image(seen)
        texts = clip.encode_text(read, normalize=True)
        scale = clip.logit_scale.exp()
        logits = scale * F.normalize(images, dim=1) @ texts.T
        matches = torch.from_numpy(learned.true_captions(index))
        (true,) = beside(model, matches.float())
        of_images = F.cross_entropy(logits, _as_shares(true))
        of_texts = F.cross_entropy(logits.T, _as_shares(true.T))
        predicted = model["words"](images)
        of_words = F.cross_entropy(predicted, said)
        contrast = (of_images + of_texts) / 2
        return contrast + WORDS * of_words

    checkpointing = Checkpointing(work / "clip.pt")
    record = fit(model, loss_of_step, recipe, checkpointing, weight_decay=0.05)
    state = _halved(clip.state_dict())
    with replacing(folder / "open_clip_model.safetensors") as unfinished:
        save_file(state, unfinished)
    return record | _quality(folder)


def _pictures_of_scene(learned: Web) -> list[np.ndarray]:
    """Return the indices of the pictures of each scene."""
    scenes = np.unique(_scenes(learned), return_inverse=True)[1]
    count = scenes.max() + 1
    return [np.flatnonzero(scenes == scene) for scene in range(count)]


def _batch(pictures_of_scene: list[np.ndarray], batch: int, step: int) -> np.ndarray:
    """Return the pictures of one step: a few scenes, and as many pictures of each."""
    rng = np.random.default_rng((SEED, step))
    all_scenes = len(pictures_of_scene)
    few = min(SCENES_PER_BATCH, all_scenes)
    per_scene = max(1, batch // few)
    pictures = []
    for scene in rng.choice(all_scenes, few, replace=False):
        chosen = rng.choice(pictures_of_scene[scene], per_scene)
        pictures.append(chosen)
    return np.concatenate(pictures)


def _rare_words(tokens: Tensor, words: int) -> Tensor:
    """Return each text's words as a distribution; rare words have more weight.

    The weight is the inverse document frequency.

    Args:
        tokens: ``(n, length)``.
        words: size of the vocabulary.

    Returns:
        ``(n, words)``.
    """
    texts = len(tokens)
    has_word = torch.zeros(texts, words)
    has_word.scatter_(1, tokens, 1.0)
    texts_with_word = has_word.sum(0).clamp(min=1)
    rarity = torch.log(texts / texts_with_word)
    return _as_shares(has_word * rarity)


def _as_shares(values: Tensor) -> Tensor:
    """Return each row of ``(n, k)`` divided by the row's sum."""
    return values / values.sum(1, keepdim=True)


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in half precision; whole numbers stay unchanged."""
    halved = dict(state)
    for name, value in state.items():
        if value.is_floating_point():
            halved[name] = value.half()
    return halved


def _normalized(clip: CLIP, pictures: np.ndarray) -> Tensor:
    """Return pictures ``(n, 64, 64, 3)`` uint8 in the form that CLIP takes, ``(n, 3, 64, 64)``."""
    visual = clip.visual
    mean = torch.tensor(visual.image_mean).view(3, 1, 1)
    std = torch.tensor(visual.image_std).view(3, 1, 1)
    scaled = to_tensor(pictures) / 255
    return (scaled - mean) / std


def _tokenized(folder: Path, texts: list[str]) -> Tensor:
    """Return the tokens of texts, ``(n, length)``."""
    tokenizer = get_tokenizer(f"local-dir:{folder}")
    return tokenizer(texts)


@torch.no_grad()
def _embed(folder: Path, pictures: np.ndarray, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Return the embeddings of pictures and of texts, unit vectors ``(n, width)``."""
    tower.register()
    clip = create_model(f"local-dir:{folder}")
    clip.eval()
    tokens = _tokenized(folder, texts)
    of_pictures = []
    for start in range(0, len(pictures), EMBEDDED):
        end = start + EMBEDDED
        normalized = _normalized(clip, pictures[start:end])
        embedded = clip.encode_image(normalized, normalize=True)
        of_pictures.append(embedded)
    of_texts = []
    for start in range(0, len(tokens), EMBEDDED):
        end = start + EMBEDDED
        embedded = clip.encode_text(tokens[start:end], normalize=True)
        of_texts.append(embedded)
    return torch.cat(of_pictures), torch.cat(of_texts)


def _quality(folder: Path) -> Record:
    """Return how often CLIP finds the scene of a person and the body of a creature."""
    return {
        "held_out_retrieval": _retrieval(folder),
        "held_out_body_of_creatures": _bodies(folder),
    }


def _retrieval(folder: Path) -> Record:
    people = held_out(512)
    images, texts = _embed(folder, people.pictures, people.captions)
    cosines = images @ texts.T
    best = cosines.argmax(1).numpy()
    scenes = _scenes(people)
    return _share(scenes[best] == scenes)


def _bodies(folder: Path) -> Record:
    wide = held_out(1000, CREATURES)
    pairs = zip(wide.scenes, wide.creatures, strict=True)
    asked = [scene for scene, is_creature in pairs if is_creature]
    captions = []
    for scene in asked:
        for flaw in world.FLAWS:
            rng = np.random.default_rng(0)
            captions.append(world.creature_caption(scene, flaw, rng))
    pictures = wide.pictures[wide.creatures]
    images, texts = _embed(folder, pictures, captions)
    bodies = texts.view(len(asked), len(world.FLAWS), -1)
    cosines = torch.einsum("nd,nfd->nf", images, bodies)
    best = cosines.argmax(1).numpy()
    flaw_labels = wide.labels()["flaw"]
    return _share(best == flaw_labels[wide.creatures])


def _share(right: np.ndarray) -> Record:
    share = float(right.mean())
    return {"right": round(share, 4), "n": len(right)}


def _scenes(shown: Web) -> np.ndarray:
    return np.array([str(scene) for scene in shown.scenes])


def pretrain_aesthetic(recipe: StageRecipe, out: Path, work: Path) -> Record:
    """Fit the aesthetic predictor: a linear head on unit CLIP embeddings, as LAION's.

    The head learns simulated ratings with noise, by ridge regression in closed form: colour leaves
    so small a trace in these embeddings that gradient steps did not find the trace.
    """
    start = time.time()
    rated = web(recipe)
    test = held_out(1000)
    rng = np.random.default_rng(WEB_SEED)
    noise = rng.normal(0, RATING_NOISE, len(rated))
    noisy = np.clip(rated.ratings + noise, 1, 10)
    rating = torch.tensor(noisy)
    embedding = _picture_embeddings(out, rated)
    weight, bias = _ridge(embedding, rating)
    tensors = {"weight": weight[None].float(), "bias": bias[None].float()}
    with replacing(out / "aesthetic" / "linear.safetensors") as unfinished:
        save_file(tensors, unfinished)
    predicted = _picture_embeddings(out, test) @ weight + bias
    correlation = np.corrcoef(predicted.numpy(), test.ratings)[0, 1]
    error = embedding @ weight + bias - rating
    return {
        "pictures": recipe.pictures,
        "loss": round(error.pow(2).mean().item(), 3),
        "minutes": minutes_since(start),
        "held_out_correlation": round(float(correlation), 3),
    }


def _picture_embeddings(out: Path, shown: Web) -> Tensor:
    """Return CLIP's embeddings of pictures in double precision, ``(n, width)``."""
    embeddings, _ = _embed(out / "clip", shown.pictures, [""])
    return embeddings.double()


def _ridge(embedding: Tensor, rating: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight ``(width,)`` and bias of the ridge regression of ratings on embeddings."""
    mean = embedding.mean(0)
    centred = embedding - mean
    ridge = RIDGE * torch.eye(centred.shape[1])
    covariance = centred.T @ centred + ridge
    target = rating - rating.mean()
    weight = torch.linalg.solve(covariance, centred.T @ target)
    bias = rating.mean() - mean @ weight
    return weight, bias
