"""The Human Preference Score: CLIP fine-tuned on which image of a prompt a person chose (section 3 of the paper)."""

import hashlib
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import BadImage, read_image
from alignsd.base.paths import shown
from alignsd.base.progress import track
from alignsd.base.reading import is_text
from alignsd.models.aesthetic import check_width, load_aesthetic
from alignsd.models.clip import Clip, embed_images, embed_texts, load_clip, preprocess
from alignsd.models.training import batch_indices, cosine, train
from alignsd.models.weights import short, write_tensors
from alignsd.reward.accuracy import add_truth, chance_right, subsets
from alignsd.reward.other_scores import load_scorer

READERS = 8  # threads that read pictures
MOST_EPOCHS = 100_000
MAX_LOGIT_SCALE = math.log(100)


def hps(image_embeddings: np.ndarray, text_embeddings: np.ndarray) -> np.ndarray:
    """Returns HPS = 100 x cosine of each image with its own prompt.

    Args:
        image_embeddings: unit vectors ``(n, d)``.
        text_embeddings: unit vectors ``(n, d)``, row by row the prompt of each image.
    """
    return 100.0 * np.sum(image_embeddings * text_embeddings, axis=1)


def score(clip: Clip, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
    """Return the score of each image for its own prompt, ``(n,)``.

    The score is ``clip.scale`` x cosine, with HPS's weights the HPS.

    Args:
        clip: from ``clip.load_clip``, or ``scorers.load_scorer`` for HPS v2 and others.
        images: a list of images, ``(h, w, 3)`` uint8 each, of any size.
        prompts: a list of texts, one per image.

    Raises:
        Problem: if there is not one prompt per image, or an image is something else.
    """
    _check_lists(images, prompts)
    if not len(images):
        return np.empty(0)
    return clip.scale / 100 * hps(embed_images(clip, images), embed_texts(clip, list(prompts)))


def _check_lists(images: Any, prompts: Any) -> None:
    """Do nothing if there is a list of images and a list of as many prompts."""
    one_image = not hasattr(images, "__len__") or isinstance(images, np.ndarray) and images.ndim < 4
    one_prompt = isinstance(prompts, str) or not hasattr(prompts, "__len__")
    counts = "one image" if one_image else f"{len(images)} images"
    counts += " and one prompt" if one_prompt else f" and {len(prompts)} prompts"
    if one_image or one_prompt:
        raise Problem(
            "Images and prompts are scored as lists.",
            expected="a list of images and a list of prompts, also for a single image",
            found=f"{counts} without a list",
            cause="one image or one prompt was given by itself",
            fix="hps.score(clip, [image], [prompt])",
        )
    if len(images) != len(prompts):
        raise Problem(
            "Each image is scored for its own prompt.",
            expected="one prompt per image in the list",
            found=counts,
            cause="a list that is too short, or one prompt for several images",
            fix="hps.score(clip, images, [prompt] * len(images))",
        )
    strange = [prompt for prompt in prompts if not is_text(prompt)]
    if strange:
        raise Problem(
            "A prompt is no text.",
            expected="a list of texts",
            found=f"{short(repr(strange[0]))} of type {type(strange[0]).__name__}",
            cause="an empty cell of a table, or half a character (a lone surrogate)",
            fix="leave such rows out",
        )


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


def check_settings(
    *,
    epochs: float,
    curve: Sequence[int],
    image_groups: int,
    text_layers: int,
    **recipe: Any,
) -> None:
    """Do nothing if all of the training's settings are in their range.

    Args:
        epochs: passes over the choices, as in ``steps_for``.
        curve: sizes, as in ``learning_curve``.
        image_groups, text_layers: as in ``unlock``.
        recipe: ``batch, learning_rate, initial_scale, weight_decay, mirror, seed`` of ``train_hps``.

    Raises:
        Problem: that names the first setting that is not.
    """
    steps_for(epochs, 1, recipe["batch"])
    at_least(0, image_groups=image_groups, text_layers=text_layers)
    _check_recipe(recipe)
    _check_sizes(curve)


def _check_recipe(recipe: Mapping[str, Any]) -> None:
    at_least(1, batch=recipe["batch"])
    at_least(0, learning_rate=recipe["learning_rate"], weight_decay=recipe["weight_decay"])
    check_seed(recipe["seed"])
    initial_scale = recipe["initial_scale"]
    if not 0 < initial_scale <= 100:
        raise Problem(
            "The scale of the logits is out of its range.",
            expected="above 0, at most 100",
            found=repr(initial_scale),
            cause="its logarithm, perhaps, which checkpoints hold",
            fix="set the parameter `initial_scale` of notebook 02",
        )


def _check_sizes(sizes: Sequence[int]) -> None:
    wrong = [size for size in sizes if isinstance(size, bool) or not isinstance(size, int) or size < 1]
    if wrong:
        raise Problem(
            "curve of notebook 02 names a size that no training can have.",
            expected="whole numbers of choices, 1 or more",
            found=short(repr(wrong[0])),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix="--set '02.curve=[10, 100]', or --set '02.curve=[]' for no curve",
        )


def made_from(clip: str, choices: pd.DataFrame, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training is made from, for ``training.fits`` and the argument of ``train_hps``.

    Only what the training reads counts. So a training stays valid when another input of the notebook
    changes, or when a row is removed from the data set that was left out anyway.

    Args:
        clip: name of the CLIP that the training starts from, or a digest of its weights.
        choices: that the training is given; of their columns ``id``, ``prompt``, ``file_path`` and
            ``human_preference`` count, and the order of the rows.
        recipe: settings by name; anything that JSON holds.

    Returns:
        ``clip``, ``choices`` (number and digest) and the entries of the recipe.
    """
    digest = hashlib.sha256()
    for row in choices[["id", "prompt", "file_path", "human_preference"]].itertuples(index=False):
        paths = [str(path) for path in row.file_path]
        line = json.dumps([str(row.id), row.prompt, paths, int(row.human_preference)])
        digest.update(line.encode() + b"\n")
    counted = f"{len(choices)} choices, {digest.hexdigest()[:16]}"
    return {"clip": str(clip), "choices": counted, **recipe}


def readable_choices(
    choices: pd.DataFrame, folder: Path, needed: bool = True
) -> tuple[pd.DataFrame, Counter[str]]:
    """Open every picture once and leave out each choice with a picture that cannot be used.

    Args:
        choices: with a column ``file_path`` (list of paths below ``folder``).
        folder: the data set's folder.
        needed: whether at least one choice must be left.

    Returns:
        The choices whose pictures are all whole, in their order, and how many choices were left out
        for which reason (of their first bad picture; the reasons are those of ``images``).

    Raises:
        Problem: if no choice is left that is needed; the message counts the reasons.
    """
    paths = list(dict.fromkeys(path for row in choices["file_path"] for path in row))
    with ThreadPoolExecutor(max_workers=READERS) as reader:
        reasons = dict(zip(paths, reader.map(lambda path: _fault(folder / path), paths), strict=True))
    first = [next((reasons[p] for p in row if reasons[p]), None) for row in choices["file_path"]]
    left_out = Counter(reason for reason in first if reason)
    whole = choices[[reason is None for reason in first]].reset_index(drop=True)
    if needed and whole.empty:
        counted = ", ".join(f"{reason}: {count}" for reason, count in left_out.most_common())
        raise Problem(
            "No choice can be used.",
            expected="choices whose pictures are all there and whole",
            found=f"{len(choices)} choices left out ({counted})" if counted else "no choices",
            cause="the pictures were not downloaded or unpacked, or lie in another folder",
            fix=f"put the pictures below {shown(folder)}; docs/data.md says from where",
        )
    return whole, left_out


def _fault(path: Path) -> str | None:
    """Return why a picture cannot be used, or None if it can."""
    try:
        read_image(path)
    except BadImage as error:
        return error.reason
    return None


def check_inputs(
    clip: Clip,
    choices: pd.DataFrame,
    *,
    aesthetic: str,
    scorers: Sequence[str],
    truth: Path,
    provenance: Path,
    device: str = "auto",
) -> None:
    """Open all that HPS will be compared with, before anything long starts.

    Args:
        clip: that the training starts from.
        choices: that predictors are compared on.
        aesthetic: the predictor, see ``aesthetic.load_aesthetic``.
        scorers: other scores, see ``scorers.load_scorer``. Each is loaded once and dropped again.
        truth, provenance: see ``accuracy.add_truth``.
        device: for the scores.

    Raises:
        Problem: if the predictor cannot be read or is not of this CLIP, a score cannot be loaded, or
            the truth cannot be read or does not know an image.
    """
    check_width(load_aesthetic(aesthetic), clip.width)
    add_truth(images_of(choices), truth, provenance)
    for scorer in scorers:
        load_scorer(scorer, device)


def train_hps(
    clip: Clip,
    choices: pd.DataFrame,
    folder: Path,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    initial_scale: float,
    weight_decay: float,
    mirror: bool,
    seed: int,
    checkpoint: Path | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, float]]:
    """Fine-tune CLIP in place and yield ``(step, loss)``.

    Args:
        clip: with the layers to train unlocked.
        choices: columns ``prompt``, ``file_path`` (list of paths below ``folder``),
            ``human_preference`` (index).
        folder: the data set's folder.
        steps: optimizer steps; ``len(choices) / batch`` make one epoch. With 0 the CLIP stays as it is.
        batch: choices per step (paper: 5).
        learning_rate: peak of the cosine (paper: 1.7e-5).
        initial_scale: what cosines are multiplied by at the start, exp(logit scale) (OpenAI's CLIP:
            100); it is trained as well.
        weight_decay: on matrices (paper: 3.1e-3).
        mirror: whether each time a choice is seen all of its images are mirrored, left to right, or
            none, by the toss of a coin.
        seed: fixes the order of the choices, and the coin.
        checkpoint: file to resume from; None keeps nothing.
        made_from: of the function ``made_from``; a checkpoint made from something else is refused.

    Raises:
        Problem: if a setting is out of its range, there are no choices, or the checkpoint does not fit.
    """
    at_least(0, steps=steps)
    recipe = dict(batch=batch, learning_rate=learning_rate, weight_decay=weight_decay)
    _check_recipe(recipe | dict(initial_scale=initial_scale, seed=seed))
    rows = choices.to_dict("records")
    if steps and not rows:
        raise Problem(
            "There are no choices to train on.",
            expected="1 choice or more",
            found="0 choices",
            cause="all were left out, or the table is empty",
            fix="look at what notebook 01 left out, or set the parameter data of notebook 02",
        )
    reader = ThreadPoolExecutor(max_workers=READERS)  # decoding releases the interpreter lock

    def loss_of_step(model: nn.Module, step: int) -> Tensor:
        chosen_rows = [rows[i] for i in batch_indices(len(rows), batch, step, seed)]
        paths = [folder / path for row in chosen_rows for path in row["file_path"]]
        tossed = np.random.default_rng((seed, step)).random(len(chosen_rows)) < 0.5
        turned = np.repeat(mirror & tossed, [len(row["file_path"]) for row in chosen_rows])
        pictures = zip(reader.map(read_image, paths), turned, strict=True)
        images = [image[:, ::-1] if turn else image for image, turn in pictures]
        present, chosen = _layout(chosen_rows)
        embedded = model.encode_image(preprocess(clip, images), normalize=True)
        image = embedded.new_zeros(*present.shape, embedded.shape[1])
        image[present.to(clip.device)] = embedded
        tokens = clip.tokenizer([row["prompt"] for row in chosen_rows]).to(clip.device)
        text = model.encode_text(tokens, normalize=True)
        present, chosen = present.to(clip.device), chosen.to(clip.device)
        return preference_loss(image, text, model.logit_scale, present, chosen)

    if steps:
        with torch.no_grad():
            clip.model.logit_scale.fill_(math.log(initial_scale))
    with reader:
        yield from train(
            clip.model,
            loss_of_step,
            steps=steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=cosine,
            checkpoint=checkpoint,
            made_from=made_from,
        )


def _layout(rows: list[dict]) -> tuple[Tensor, Tensor]:
    """Returns which images each choice has ``(choices, images)`` bool, and which was chosen ``(choices,)``."""
    counts = torch.tensor([len(row["file_path"]) for row in rows])
    present = torch.arange(int(counts.max()))[None] < counts[:, None]
    return present, torch.tensor([int(row["human_preference"]) for row in rows])


def save_hps(clip: Clip, path: Path) -> None:
    """Write the fine-tuned weights as safetensors; equal weights give equal bytes."""
    write_tensors(path, clip.model.state_dict())


def images_of(choices: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image of every choice.

    Args:
        choices: columns ``id``, ``prompt``, ``file_path`` (list) and ``human_preference``.

    Returns:
        ``id``, ``prompt``, ``file_path``, ``human_preference``, ``index`` (position within its choice)
        and ``preferred`` (bool).
    """
    columns = choices[["id", "prompt", "file_path", "human_preference"]]
    rows = columns.explode("file_path", ignore_index=True)
    rows["index"] = rows.groupby("id").cumcount()
    rows["preferred"] = rows["index"] == rows["human_preference"]
    return rows


def score_choices(clip: Clip, choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Score every image of every choice.

    Returns:
        One row per image: ``id``, ``index`` (position within its choice), ``preferred`` (bool),
        ``score`` (``clip.scale`` x cosine), and ``embedding`` (unit vector).
    """
    rows = images_of(choices)
    starts = range(0, len(rows), 256)
    parts = []
    with ThreadPoolExecutor(max_workers=READERS) as reader:
        for start in track(starts, what="embedding images", unit="batch"):
            paths = rows["file_path"].iloc[start : start + 256]
            pictures = reader.map(lambda path: read_image(folder / path), paths)
            parts.append(embed_images(clip, list(pictures)))
    embeddings = np.concatenate(parts)
    texts = embed_texts(clip, rows["prompt"].tolist())
    rows["score"] = clip.scale / 100 * hps(embeddings, texts)
    scores = rows[["id", "index", "preferred", "score"]]
    return scores.assign(embedding=list(embeddings))


def learning_curve(
    name: str,
    train_choices: pd.DataFrame,
    test_choices: pd.DataFrame,
    folder: Path,
    sizes: list[int],
    *,
    image_groups: int,
    text_layers: int,
    epochs: float,
    batch: int,
    device: str = "auto",
    fit: str = "pad",
    seed: int,
    **recipe: Any,
) -> pd.DataFrame:
    """Train HPS anew on nested subsets of the choices; return which test choices each predicts right.

    Args:
        name: the CLIP to start from.
        train_choices, test_choices, folder: as in ``train_hps``.
        sizes: numbers of choices to train on; those above what there is are left out.
        image_groups, text_layers: as in ``unlock``.
        epochs: passes over each subset.
        batch, seed, recipe: the settings of ``train_hps``.
        device, fit: as in ``load_clip``.

    Returns:
        One row per test choice, one column per size: the chance that HPS picks the person's image.

    Raises:
        Problem: if a size is below 1, or a setting out of its range.
    """
    _check_sizes(sizes)
    check_seed(seed)
    right = {}
    for size, index in subsets(len(train_choices), sizes, seed).items():
        clip, few = load_clip(name, device=device, fit=fit), train_choices.iloc[index]
        unlock(clip.model, image_groups, text_layers)
        steps = steps_for(epochs, size, batch)
        for _ in train_hps(clip, few, folder, steps=steps, batch=batch, seed=seed, **recipe):
            pass
        right[size] = chance_right(score_choices(clip, test_choices, folder), "score")
    return pd.DataFrame(right)


def steps_for(epochs: float, choices: int, batch: int) -> int:
    """Return the optimizer steps that make up so many epochs, at least one.

    Raises:
        Problem: if there is nothing to train for, or no end of it.
    """
    at_least(1, batch=batch)
    at_least(1e-3, epochs=epochs)
    if epochs > MOST_EPOCHS:
        raise Problem(
            "epochs of notebook 02 is too large.",
            expected=f"at most {MOST_EPOCHS:,}",
            found=repr(epochs),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix="--set 02.epochs=2 (the paper: 1)",
        )
    return max(1, round(epochs * choices / batch))
