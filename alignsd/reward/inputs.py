"""Check what HPS is given: images with prompts, and all that HPS will be compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.reading import is_text
from alignsd.models.aesthetic import check_width, load_aesthetic
from alignsd.models.clip import Clip
from alignsd.models.files.weights import short
from alignsd.reward.other_scores import load_scorer
from alignsd.reward.pictures import images_of
from alignsd.reward.truth import add_truth


def check_lists(images: Any, prompts: Any) -> None:
    """Do nothing if there is a list of images, and a list of as many prompts.

    Raises:
        Problem: otherwise.
    """
    is_one_image = not hasattr(images, "__len__")
    if isinstance(images, np.ndarray) and images.ndim < 4:
        is_one_image = True
    is_one_prompt = isinstance(prompts, str) or not hasattr(prompts, "__len__")
    counted_images = "one image" if is_one_image else f"{len(images)} images"
    counted_prompts = "one prompt" if is_one_prompt else f"{len(prompts)} prompts"
    counts = f"{counted_images} and {counted_prompts}"
    if is_one_image or is_one_prompt:
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
            fix="leave out the rows without a text",
        )


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
    """Open all that HPS will be compared with, before a long training starts.

    Args:
        clip: the CLIP that the training starts from.
        choices: the choices that predictors are compared on.
        aesthetic: the aesthetic predictor, see ``aesthetic.load_aesthetic``.
        scorers: other scores, see ``other_scores.load_scorer``. Each score is loaded once and
            dropped again.
        truth, provenance: see ``truth.add_truth``.
        device: for the other scores.

    Raises:
        Problem: if the predictor cannot be read or belongs to another CLIP; if a score cannot be
            loaded; or if the truth cannot be read or lacks an image.
    """
    check_width(load_aesthetic(aesthetic), clip.width)
    add_truth(images_of(choices), truth, provenance)
    for scorer in scorers:
        load_scorer(scorer, device)
