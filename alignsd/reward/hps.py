"""The Human Preference Score: CLIP fine-tuned on the images that people chose (section 3, paper).

First the score, then the loss of choices, then the training with this loss.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import read_image
from alignsd.base.processes import first_does, gathered, share
from alignsd.base.progress import track
from alignsd.models.clip import Clip, embed_images, embed_texts, preprocess
from alignsd.models.files.weights import write_tensors
from alignsd.models.training import Checkpointing, Optimization, batch_indices, train
from alignsd.reward.inputs import check_lists
from alignsd.reward.pictures import READERS, images_of

MOST_EPOCHS = 100_000
MAX_LOGIT_SCALE = math.log(100)
AT_ONCE = 256  # images, or texts, that are embedded at once
Choice = Mapping[Hashable, Any]  # a row of the table of choices


def hps(image_embeddings: np.ndarray, text_embeddings: np.ndarray) -> np.ndarray:
    """Return the score of each image for its prompt, ``(n,)``: HPS = 100 x cosine.

    Args:
        image_embeddings: unit vectors ``(n, d)``.
        text_embeddings: unit vectors ``(n, d)``; row i is the prompt of image i.
    """
    cosine = np.sum(image_embeddings * text_embeddings, axis=1)
    return 100.0 * cosine


def score(clip: Clip, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
    """Return the score of each image for its own prompt, ``(n,)``.

    The score is ``clip.scale`` x cosine. With the weights of HPS this score is the HPS.

    Args:
        clip: from ``clip.load_clip``; or from ``other_scores.load_scorer`` for HPS v2 and others.
        images: a list of images of any size, each ``(height, width, 3)`` uint8.
        prompts: a list of texts, one per image.

    Raises:
        Problem: if the number of prompts is not the number of images, or an image is no such array.
    """
    check_lists(images, prompts)
    if not len(images):
        return np.empty(0)
    return clip.scale / 100 * hps(embed_images(clip, images), embed_texts(clip, list(prompts)))


def preference_loss(
    image: Tensor, text: Tensor, logit_scale: Tensor, present: Tensor, chosen: Tensor
) -> Tensor:
    """Return the softmax cross-entropy of the chosen image among the images of its choice.

    For a choice with prompt t, images i = 1 ... n and chosen image c the loss is
    ``-log(exp(s cos(i_c, t)) / sum_i exp(s cos(i, t)))``, where s = exp(logit scale) is trained.

    Args:
        image: unit vectors ``(choices, images, d)``. The rows of absent images may hold any finite
            numbers.
        text: unit vectors ``(choices, d)``.
        logit_scale: logarithm of the scale, a scalar. A larger value than ln 100 counts as ln 100.
        present: ``(choices, images)`` bool, whether the choice has this image.
        chosen: ``(choices,)`` int, index of the chosen image.

    Returns:
        Mean loss in nats, a scalar.
    """
    scale = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
    logits = scale * (image * text[:, None]).sum(-1)  # s cos(i, t)
    logits_of_present = logits.masked_fill(~present, float("-inf"))
    return F.cross_entropy(logits_of_present, chosen)


@dataclass(frozen=True)
class HpsRecipe:
    """How HPS is trained.

    Attributes:
        batch: choices per step (paper: 5).
        learning_rate: largest learning rate of the cosine (paper: 1.7e-5).
        initial_scale: factor of the cosines when the training starts, exp(logit scale); above 0,
            at most 100 (OpenAI's CLIP: 100). The scale is trained as well.
        weight_decay: on matrices (paper: 3.1e-3).
        mirror: whether a coin decides, each time a choice is seen, if all images of the choice are
            mirrored left to right.
        seed: fixes the order of the choices, and the coin.
        image_groups, text_layers: how many of the last layers are trained, see ``unlock``.
        epochs: passes over the choices (paper: 1).

    Raises:
        Problem: that names the first setting that is out of its range.
    """

    batch: int
    learning_rate: float
    initial_scale: float
    weight_decay: float
    mirror: bool
    seed: int
    image_groups: int
    text_layers: int
    epochs: float

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)
        at_least(1e-3, epochs=self.epochs)
        at_least(0, image_groups=self.image_groups, text_layers=self.text_layers)
        at_least(0, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        check_seed(self.seed)
        if self.epochs > MOST_EPOCHS:
            raise Problem(
                "epochs is too large.",
                expected=f"at most {MOST_EPOCHS:,}",
                found=repr(self.epochs),
                cause="a slip in a preset, in the parameters cell or in --set",
                fix="--set epochs=2 (the paper: 1)",
            )
        if not 0 < self.initial_scale <= 100:
            raise Problem(
                "initial_scale, the scale of the logits, is out of its range.",
                expected="above 0, at most 100",
                found=repr(self.initial_scale),
                cause="perhaps the logarithm of the scale, which checkpoints hold",
                fix="--set initial_scale=30 (OpenAI's CLIP: 100)",
            )

    def steps(self, choices: int) -> int:
        """Return the optimizer steps that make up the epochs over so many choices, at least 1."""
        return max(1, round(self.epochs * choices / self.batch))


def unlock(model: CLIP, image_groups: int, text_layers: int) -> int:
    """Freeze a CLIP except for the last layers, and return the number of trained parameters.

    Args:
        model: open_clip's.
        image_groups: layer groups of the image encoder to train, counted from the end. open_clip
            counts the projection as a group (paper: 10).
        text_layers: layers of the text encoder to train, counted from the end (paper: 6).
    """
    with warnings.catch_warnings():
        # open_clip imports timm's helpers by their old name.
        warnings.simplefilter("ignore", FutureWarning)
        model.lock_image_tower(unlocked_groups=image_groups)
    model.lock_text_tower(unlocked_layers=text_layers)
    model.logit_scale.requires_grad_(True)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def train_hps(
    clip: Clip,
    choices: pd.DataFrame,
    folder: Path,
    recipe: HpsRecipe,
    steps: int,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Fine-tune CLIP in place, and yield ``(step, loss)``.

    Args:
        clip: the layers that ``unlock`` left free are trained.
        choices: columns ``prompt``, ``file_path`` (list of paths below ``folder``) and
            ``human_preference`` (index of the chosen image).
        folder: the data set's folder.
        recipe: how HPS is trained.
        steps: optimizer steps, such as ``recipe.steps(len(choices))``. With 0 steps the CLIP stays
            as it is.
        checkpointing: where the training is kept and resumed from; None keeps nothing.

    Raises:
        Problem: if there are no choices, the number of steps is below 0, or the checkpoint does not
            fit.
    """
    optimization = Optimization(steps, recipe.learning_rate, recipe.weight_decay)
    rows = choices.to_dict("records")
    if steps and not rows:
        raise Problem(
            "There are no choices to train on.",
            expected="1 choice or more",
            found="0 choices",
            cause="all choices were left out, or the table is empty",
            fix="look at what collecting left out, or set the parameter `data`",
        )
    reader = ThreadPoolExecutor(max_workers=READERS)  # decoding releases the interpreter lock

    def loss_of_step(model: CLIP, step: int) -> Iterator[Tensor]:
        index = batch_indices(len(rows), recipe.batch, step, recipe.seed)
        batch = share([rows[i] for i in index])
        if not batch:
            return
        is_mirrored = share(_mirrored(recipe, step))
        images = _images(reader, folder, batch, is_mirrored)
        loss = _loss_of_choices(model, clip, batch, images)
        part = len(batch) / recipe.batch
        yield loss * part  # the mean over all choices of the step

    if steps:
        with torch.no_grad():
            logit_scale = clip.model.get_parameter("logit_scale")
            logit_scale.fill_(math.log(recipe.initial_scale))
    with reader:
        yield from train(clip.model, loss_of_step, optimization, checkpointing)


def _mirrored(recipe: HpsRecipe, step: int) -> list[bool]:
    """Return which choices of a step are mirrored, ``(batch,)``: a coin decides."""
    if not recipe.mirror:
        return [False] * recipe.batch
    coin = np.random.default_rng((recipe.seed, step))
    return (coin.random(recipe.batch) < 0.5).tolist()


def _images(
    reader: ThreadPoolExecutor,
    folder: Path,
    choices: Sequence[Choice],
    mirrored_choices: Sequence[bool],
) -> list[np.ndarray]:
    """Return the images of all choices, one choice after the other, some choices mirrored."""
    paths = [folder / path for choice in choices for path in choice["file_path"]]
    images = reader.map(read_image, paths)
    is_mirrored = np.repeat(mirrored_choices, [len(choice["file_path"]) for choice in choices])
    return [
        image[:, ::-1] if mirrored else image
        for image, mirrored in zip(images, is_mirrored, strict=True)
    ]


def _loss_of_choices(
    model: CLIP, clip: Clip, choices: Sequence[Choice], images: Sequence[np.ndarray]
) -> Tensor:
    """Return the loss of a batch of choices, a scalar.

    Args:
        model: the CLIP that is trained.
        clip: how images and prompts are prepared for this CLIP.
        choices: ``prompt``, ``file_path`` and ``human_preference`` of each choice.
        images: of all choices, one choice after the other.
    """
    present, chosen = _layout(choices)
    embedded = model.encode_image(preprocess(clip, images), normalize=True)
    image = embedded.new_zeros(*present.shape, embedded.shape[1])
    image[present.to(clip.device)] = embedded
    tokens = clip.tokenizer([choice["prompt"] for choice in choices]).to(clip.device)
    text = model.encode_text(tokens, normalize=True)
    present, chosen = present.to(clip.device), chosen.to(clip.device)
    return preference_loss(image, text, model.logit_scale, present, chosen)


def _layout(choices: Sequence[Choice]) -> tuple[Tensor, Tensor]:
    """Return the images each choice has, ``(choices, images)`` bool, and the chosen ones' indices.

    A choice with fewer images than the largest choice lacks the last images. The indices are
    ``(choices,)``.
    """
    counts = torch.tensor([len(choice["file_path"]) for choice in choices])
    present = torch.arange(int(counts.max()))[None] < counts[:, None]
    return present, torch.tensor([int(choice["human_preference"]) for choice in choices])


def made_from(
    clip: str, choices: pd.DataFrame, recipe: HpsRecipe, steps: int, fit: str
) -> dict[str, Any]:
    """Return what a training is made from, for ``Checkpointing`` and ``checkpoints.fits``.

    Only what the training reads counts. So a training stays valid when another input changes, or
    when the data set loses a row that was left out anyway.

    Args:
        clip: name of the CLIP that the training starts from, or a digest of the CLIP's weights.
        choices: the choices to train on. Their columns ``id``, ``prompt``, ``file_path`` and
            ``human_preference`` count, and the order of the rows.
        recipe: how HPS is trained. The epochs count only through the steps.
        steps: of the training.
        fit: how images become squares, see ``Clip``.

    Returns:
        ``clip``, ``choices`` (number and digest), ``steps``, ``fit`` and the recipe's settings.
    """
    digest = hashlib.sha256()
    columns = choices[["id", "prompt", "file_path", "human_preference"]]
    for row in columns.itertuples(index=False):
        paths = [str(path) for path in row.file_path]
        line = json.dumps([str(row.id), row.prompt, paths, int(row.human_preference)])
        digest.update(line.encode() + b"\n")
    counted = f"{len(choices)} choices, {digest.hexdigest()[:16]}"
    settings = asdict(recipe)
    del settings["epochs"]
    return {"clip": str(clip), "choices": counted, **settings, "steps": steps, "fit": fit}


def save_hps(clip: Clip, path: Path) -> None:
    """Write the fine-tuned weights as safetensors; equal weights give equal bytes."""
    first_does(lambda: write_tensors(path, clip.model.state_dict()))


def score_choices(clip: Clip, choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Score every image of every choice. Several processes divide the images.

    Args:
        clip: from ``load_clip`` or ``other_scores.load_scorer``.
        choices: as ``images_of`` takes them.
        folder: the data set's folder.

    Returns:
        One row per image: ``id``, ``index`` (position within its choice), ``preferred`` (bool),
        ``score`` (``clip.scale`` x cosine), and ``embedding`` (unit vector).
    """
    images = images_of(choices)
    starts = share(range(0, len(images), AT_ONCE))
    batches = []
    with ThreadPoolExecutor(max_workers=READERS) as reader:
        for start in track(starts, what="embedding images", unit="batch"):
            paths = images["file_path"].iloc[start : start + AT_ONCE]
            pictures = reader.map(lambda path: read_image(folder / path), paths)
            batches.append(embed_images(clip, list(pictures)))
    embeddings = np.concatenate(gathered(batches))
    texts = _embedded_texts(clip, images["prompt"].tolist())
    images["score"] = clip.scale / 100 * hps(embeddings, texts)
    scores = images[["id", "index", "preferred", "score"]]
    return scores.assign(embedding=list(embeddings))


def _embedded_texts(clip: Clip, texts: list[str]) -> np.ndarray:
    """Return the embeddings of texts, ``(n, d)``. Several processes divide the distinct texts."""
    distinct = list(dict.fromkeys(texts))
    starts = share(range(0, len(distinct), AT_ONCE))
    batches = []
    for start in starts:
        few = distinct[start : start + AT_ONCE]
        batches.append(embed_texts(clip, few))
    embeddings = np.concatenate(gathered(batches))
    row_of_text = {text: row for row, text in enumerate(distinct)}
    return embeddings[[row_of_text[text] for text in texts]]
