"""The Human Preference Score: CLIP fine-tuned on which image of a prompt a person chose (section 3 of the paper)."""

import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from alignsd.accuracy import chance_right, subsets
from alignsd.atomic import replacing
from alignsd.clip import Clip, embed_images, embed_texts, load_clip, preprocess
from alignsd.errors import Problem, at_least
from alignsd.images import read_image
from alignsd.progress import track
from alignsd.training import batch_indices, cosine, train

MAX_LOGIT_SCALE = math.log(100)


def hps(image_embeddings: np.ndarray, text_embeddings: np.ndarray) -> np.ndarray:
    """Returns HPS = 100 x cosine of each image with its own prompt.

    Args:
        image_embeddings: unit vectors ``(n, d)``.
        text_embeddings: unit vectors ``(n, d)``, row by row the prompt of each image.
    """
    return 100.0 * np.sum(image_embeddings * text_embeddings, axis=1)


def score(clip: Clip, images: list[np.ndarray], prompts: list[str]) -> np.ndarray:
    """Returns the score of each image for its own prompt, ``(n,)``: ``clip.scale`` x cosine, with HPS's weights the HPS.

    Args:
        clip: from ``clip.load_clip``, or ``scorers.load_scorer`` for HPS v2 and others.
        images: ``(h, w, 3)`` uint8 each, of any size.
        prompts: one per image.
    """
    if len(images) != len(prompts):
        raise ValueError(f"expected one prompt per image, found {len(images)} images and {len(prompts)} prompts")
    return clip.scale / 100 * hps(embed_images(clip, images), embed_texts(clip, prompts)) if images else np.empty(0)


def unlock(model: nn.Module, image_groups: int, text_layers: int) -> int:
    """Freezes a CLIP but for its last layers (paper: 10 of the image encoder, 6 of the text encoder).

    Args:
        image_groups: open_clip's layer groups of the image tower to train, counted from the end; the projection is one.
        text_layers: layers of the text tower to train, counted from the end.

    Returns:
        Number of trainable parameters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # open_clip imports timm's helpers by their old name
        model.lock_image_tower(unlocked_groups=image_groups)
    model.lock_text_tower(unlocked_layers=text_layers)
    model.logit_scale.requires_grad_(True)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def preference_loss(image: Tensor, text: Tensor, logit_scale: Tensor, present: Tensor, chosen: Tensor) -> Tensor:
    """Softmax cross-entropy over the images of a choice; the logits are exp(logit scale) x cosine.

    Args:
        image: unit vectors ``(choices, images, d)``; rows of absent images may hold anything finite.
        text: unit vectors ``(choices, d)``.
        logit_scale: logarithm of the scale, scalar; at most ln 100 is used.
        present: ``(choices, images)`` bool, whether the choice has such an image.
        chosen: ``(choices,)`` index of the chosen image.

    Returns:
        Mean loss in nats, scalar.
    """
    logits = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * (image * text[:, None]).sum(-1)
    return F.cross_entropy(logits.masked_fill(~present, float("-inf")), chosen)


def train_hps(clip: Clip, choices: pd.DataFrame, folder: Path, *, steps: int, batch: int, learning_rate: float, initial_scale: float,
              weight_decay: float, mirror: bool, seed: int, checkpoint: Path | None = None) -> Iterator[tuple[int, float]]:
    """Fine-tunes CLIP in place and yields ``(step, loss)``.

    Args:
        clip: with the layers to train unlocked.
        choices: columns ``prompt``, ``file_path`` (list of paths below ``folder``), ``human_preference`` (index).
        folder: the data set's folder.
        steps: optimizer steps; ``len(choices) / batch`` make one epoch. With 0 the CLIP stays as it is.
        batch: choices per step (paper: 5).
        learning_rate: peak of the cosine (paper: 1.7e-5).
        initial_scale: what cosines are multiplied by at the start, exp(logit scale) (OpenAI's CLIP: 100); it is trained as well.
        weight_decay: on matrices (paper: 3.1e-3).
        mirror: whether each time a choice is seen all of its images are mirrored, left to right, or none, by the toss of a coin.
        seed: fixes the order of the choices, and the coin.
        checkpoint: file to resume from; None keeps nothing.

    Raises:
        Problem: if the scale is out of its range.
    """
    if not 0 < initial_scale <= 100:
        raise Problem("The scale of the logits is out of its range.", expected="above 0, at most 100", found=repr(initial_scale),
                      cause="its logarithm, perhaps, which checkpoints hold", fix="set the parameter `initial_scale` of notebook 02")
    rows = choices.to_dict("records")
    reader = ThreadPoolExecutor(max_workers=8)  # decoding releases the interpreter lock

    def loss_of_step(model: nn.Module, step: int) -> Tensor:
        part = [rows[i] for i in batch_indices(len(rows), batch, step, seed)]
        paths = [folder / path for row in part for path in row["file_path"]]
        tossed = np.random.default_rng((seed, step)).random(len(part)) < 0.5
        turned = np.repeat(mirror & tossed, [len(row["file_path"]) for row in part])
        images = [image[:, ::-1] if turn else image for image, turn in zip(reader.map(read_image, paths), turned, strict=True)]
        present, chosen = _layout(part)
        embedded = model.encode_image(preprocess(clip, images), normalize=True)
        image = embedded.new_zeros(*present.shape, embedded.shape[1])
        image[present.to(clip.device)] = embedded
        text = model.encode_text(clip.tokenizer([row["prompt"] for row in part]).to(clip.device), normalize=True)
        return preference_loss(image, text, model.logit_scale, present.to(clip.device), chosen.to(clip.device))

    if steps:
        with torch.no_grad():
            clip.model.logit_scale.fill_(math.log(initial_scale))
    with reader:
        yield from train(clip.model, loss_of_step, steps=steps, learning_rate=learning_rate, weight_decay=weight_decay,
                         schedule=cosine, checkpoint=checkpoint)


def _layout(rows: list[dict]) -> tuple[Tensor, Tensor]:
    """Returns which images each choice has ``(choices, images)`` bool, and which was chosen ``(choices,)``."""
    counts = torch.tensor([len(row["file_path"]) for row in rows])
    present = torch.arange(int(counts.max()))[None] < counts[:, None]
    return present, torch.tensor([int(row["human_preference"]) for row in rows])


def save_hps(clip: Clip, path: Path) -> None:
    """Writes the fine-tuned weights as safetensors."""
    with replacing(path) as part:
        save_file({name: value.detach().cpu().contiguous() for name, value in clip.model.state_dict().items()}, part)


def score_choices(clip: Clip, choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Scores every image of every choice.

    Returns:
        One row per image: ``id``, ``index`` (position within its choice), ``preferred`` (bool), ``score`` (``clip.scale`` x
        cosine), and ``embedding`` (unit vector).
    """
    rows = choices[["id", "prompt", "file_path", "human_preference"]].explode("file_path", ignore_index=True)
    rows["index"] = rows.groupby("id").cumcount()
    parts = []
    with ThreadPoolExecutor(max_workers=8) as reader:
        for start in track(range(0, len(rows), 256), what="embedding images", unit="batch"):
            paths = rows["file_path"].iloc[start:start + 256]
            parts.append(embed_images(clip, list(reader.map(lambda path: read_image(folder / path), paths))))
    embeddings = np.concatenate(parts)
    rows["score"] = clip.scale / 100 * hps(embeddings, embed_texts(clip, rows["prompt"].tolist()))
    rows["preferred"] = rows["index"] == rows["human_preference"]
    return rows[["id", "index", "preferred", "score"]].assign(embedding=list(embeddings))


def learning_curve(name: str, train_choices: pd.DataFrame, test_choices: pd.DataFrame, folder: Path, sizes: list[int], *,
                   image_groups: int, text_layers: int, epochs: float, batch: int, learning_rate: float, initial_scale: float,
                   weight_decay: float, mirror: bool, seed: int, device: str = "auto", fit: str = "pad") -> pd.DataFrame:
    """Trains HPS anew on nested subsets of the choices and returns which test choices each predicts right.

    Args:
        name: the CLIP to start from.
        train_choices, test_choices, folder: as in ``train_hps``.
        sizes: numbers of choices to train on; those above what there is are left out.
        image_groups, text_layers: as in ``unlock``.
        epochs: passes over each subset.
        batch, learning_rate, initial_scale, weight_decay, mirror, seed: as in ``train_hps``.
        device, fit: as in ``load_clip``.

    Returns:
        One row per test choice, one column per size: the chance that HPS picks the person's image.
    """
    right = {}
    for size, index in subsets(len(train_choices), sizes, seed).items():
        clip, few = load_clip(name, device=device, fit=fit), train_choices.iloc[index]
        unlock(clip.model, image_groups, text_layers)
        for _ in train_hps(clip, few, folder, steps=steps_for(epochs, size, batch), batch=batch, learning_rate=learning_rate,
                           initial_scale=initial_scale, weight_decay=weight_decay, mirror=mirror, seed=seed):
            pass
        right[size] = chance_right(score_choices(clip, test_choices, folder), "score")
    return pd.DataFrame(right)


def steps_for(epochs: float, choices: int, batch: int) -> int:
    """Returns the optimizer steps that make up so many epochs, at least one.

    Raises:
        Problem: if there is nothing to train for.
    """
    at_least(1, "02", batch=batch)
    at_least(1e-3, "02", epochs=epochs)
    return max(1, round(epochs * choices / batch))
