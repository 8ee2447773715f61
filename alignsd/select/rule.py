"""Select what Stable Diffusion is adapted with: clearly preferred and clearly non-preferred images.

Section 4 of the paper. Of ``n`` images of one prompt, the best image is a positive if softmax(HPS)
gives the image more than alpha / n; the worst image is a negative if softmax(-HPS) gives the image
more than alpha / n. Before the selection, blurred images are dropped, and then prompts with fewer
than four images. Tables are joined by image id, never by position.
"""

import hashlib
import math
from numbers import Real

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import command_for
from alignsd.select.diffusiondb import OK
from alignsd.select.sharpness import BLUR_LIMIT, is_blurred

MINIMUM_IMAGES = 4  # per prompt; official code
POSITIVE, NEGATIVE, SPARE = "positive", "negative", "negative, not kept"
ROLES = (POSITIVE, NEGATIVE, SPARE, "")


def softmax_within(values: pd.Series, prompts: pd.Series) -> pd.Series:
    """Return exp(v_i) / sum_j exp(v_j), where j runs over the images of the same prompt.

    Args:
        values: ``(n,)``, one value per image.
        prompts: ``(n,)``, the images' prompts.

    Returns:
        ``(n,)``, 0-1; k equal values of one prompt give exactly 1 / k each.
    """
    largest = values.groupby(prompts).transform("max")
    weights = np.exp(values - largest)  # no overflow, and the same quotient
    return weights / weights.groupby(prompts).transform("sum")


def select(groups: pd.DataFrame, alpha: float = 2.0) -> pd.DataFrame:
    """Return the groups with a column ``role``: at most one positive and one negative per prompt.

    Positive: the image with the greatest softmax(HPS), if above alpha / n. Negative: the image with
    the greatest softmax(-HPS), if above alpha / n. (Official code; the paper takes alpha = 2.) An
    image at exactly alpha / n is not selected. The first id of tied images is taken; with four
    images and alpha = 2, tied images are never above the threshold. No image gets both roles: an
    image above 1 / n in softmax(HPS) is below 1 / n in softmax(-HPS).

    Args:
        groups: from ``group``.
        alpha: at least 1; at 1, every prompt whose scores are not all equal gives both roles.

    Returns:
        The rows, ordered by prompt and image; ``role`` is ``POSITIVE``, ``NEGATIVE`` or ``""``.

    Raises:
        Problem: if alpha is below 1 or not finite.
    """
    _check_alpha(alpha)
    rows = groups.assign(role="").sort_values(["prompt", "image"], ignore_index=True)
    rows.loc[clear_extremes(rows, "p_best", alpha), "role"] = POSITIVE
    rows.loc[clear_extremes(rows, "p_worst", alpha), "role"] = NEGATIVE
    return rows


def clear_extremes(images: pd.DataFrame, softmax: str, alpha: float) -> pd.Index:
    """Return the index of each prompt's image with the largest softmax, if above alpha / n.

    Args:
        images: ``prompt``, ``n`` and ``softmax``, ordered by prompt and image. So the first of tied
            images is the image with the first id.
        softmax: ``"p_best"``, or ``"p_worst"`` for the images with the lowest HPS.
        alpha: the threshold; at least 1.
    """
    largest = images.groupby("prompt", sort=False)[softmax].idxmax()
    extremes = images.loc[largest.to_numpy()]
    is_clear = extremes[softmax] > alpha / extremes["n"]
    return extremes.index[is_clear]


def _check_alpha(alpha: float) -> None:
    is_number = isinstance(alpha, Real)
    if is_number and 1 <= alpha < math.inf:
        return
    too_large = is_number and alpha > 1
    raise Problem(
        "alpha is too large." if too_large else "alpha is too small, or no number.",
        expected="a finite number, at least 1",
        found=repr(alpha),
        cause="below 1, images that are no better than the others would be selected",
        fix="--set alpha=2, which is the paper's value; each of `alphas` is at least 1, too",
    )


def group(
    scores: pd.DataFrame, limit: float = BLUR_LIMIT, minimum: int = MINIMUM_IMAGES
) -> pd.DataFrame:
    """Return the comparable images, each with the softmax among the prompt's images.

    Args:
        scores: ``part``, ``image``, ``prompt``, ``hps``, ``sharpness``, ``status``. Only rows with
            status ``"ok"`` count.
        limit: images with a lower sharpness are dropped.
        minimum: prompts with fewer sharp images are dropped; a prompt with exactly as many stays.

    Returns:
        Rows ordered by prompt and image, whatever the order of ``scores``: ``part``, ``image``,
        ``prompt``, ``hps``, ``n`` (images of the prompt), ``p_best`` = softmax(hps), ``p_worst`` =
        softmax(-hps).

    Raises:
        Problem: if an image has two scores, since nobody knows which score counts; if a score is
            not a number; or if ``limit`` or ``minimum`` is out of range.
    """
    at_least(-255, blur_limit=limit)
    at_least(1, minimum_images=minimum)
    usable = scores[(scores["status"] == OK) & ~is_blurred(scores["sharpness"], limit)]
    _refuse_repeated(usable)
    _refuse_unscored(usable)
    images = usable[["part", "image", "prompt", "hps"]]
    images = images.sort_values(["prompt", "image"], ignore_index=True)
    images["hps"] = images["hps"].astype(np.float64)
    images["n"] = images.groupby("prompt")["image"].transform("size")
    groups = images[images["n"] >= minimum].reset_index(drop=True)
    return groups.assign(
        p_best=softmax_within(groups["hps"], groups["prompt"]),
        p_worst=softmax_within(-groups["hps"], groups["prompt"]),
    )


def _refuse_repeated(usable: pd.DataFrame) -> None:
    repeated = usable[usable["image"].duplicated(keep=False)]
    if not len(repeated):
        return
    example = repeated["image"].iloc[0]
    its_parts = sorted(set(repeated.loc[repeated["image"] == example, "part"]))
    again = command_for(TABLES["scores"].stage, "")
    if len(its_parts) == 1:
        cause, fix = "the score table was edited by hand", again
    else:
        cause = "a part is there under two numbers"
        fix = f"move one of the two parts away, then {again}"
    raise Problem(
        "Some images have more than one score.",
        expected="each image id once",
        found=f"{repeated['image'].nunique()} repeated, such as {example} in "
        + " and ".join(its_parts),
        cause=cause,
        fix=fix,
    )


def _refuse_unscored(usable: pd.DataFrame) -> None:
    has_score = np.isfinite(usable["hps"].astype(float))
    unscored = usable.loc[~has_score, "image"]
    if len(unscored):
        raise Problem(
            "Some images have no score.",
            expected="a number for every image with status ok",
            found=f"{len(unscored)} without, such as {unscored.iloc[0]}",
            cause="the training of HPS diverged, or the score table was edited by hand",
            fix="lower the learning_rate of the training of HPS, and run again from there",
        )


def keep_negatives(selected: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the selection with a share of the negatives; the rest get the role ``SPARE``.

    The paper: all negatives together "will lead to worse results". Which negatives are kept follows
    from the seed and each image's id, not from the order of the rows or from the other images. A
    smaller share is a part of a larger share.

    Args:
        selected: from ``select``.
        share: 0-1; ``share x negatives`` are kept, rounded half up (paper: about 0.5).
        seed: fixes the choice.

    Raises:
        Problem: if the share is not between 0 and 1, or the seed is out of range.
    """
    check_seed(seed)
    if not 0 <= share <= 1:
        raise Problem(
            "The share of negatives is no share.",
            expected="0 to 1",
            found=repr(share),
            cause="a percentage?",
            fix="--set negative_share=0.5, about what the paper keeps",
        )
    negatives = selected.loc[selected["role"] == NEGATIVE, "image"]
    by_lot = sorted(negatives, key=lambda image: _lot(seed, image))
    kept = int(share * len(by_lot) + 0.5)
    is_spare = selected["image"].isin(by_lot[kept:])
    return selected.assign(role=selected["role"].mask(is_spare, SPARE))


def _lot(seed: int, image: str) -> bytes:
    """Return the lot that an image draws; images with the smallest lots are kept."""
    return hashlib.sha256(f"{seed} {image}".encode()).digest()


def funnel(scores: pd.DataFrame, selected: pd.DataFrame, limit: float = BLUR_LIMIT) -> pd.DataFrame:
    """Return how many images and prompts each step of the selection left.

    Args:
        scores, limit: as for ``group``.
        selected: from ``keep_negatives``.

    Returns:
        ``step``, ``images``, ``prompts``; one row per step.
    """
    usable = scores[scores["status"] == OK]
    role = selected["role"]
    left_by_step = {
        "in the parts": scores,
        "readable, with a prompt": usable,
        "not blurred": usable[~is_blurred(usable["sharpness"], limit)],
        "prompt has enough images": selected,
        "positives": selected[role == POSITIVE],
        "negatives": selected[role.isin((NEGATIVE, SPARE))],
        "negatives kept": selected[role == NEGATIVE],
    }
    counts = [(step, len(left), left["prompt"].nunique()) for step, left in left_by_step.items()]
    return pd.DataFrame(counts, columns=["step", "images", "prompts"])


def sensitivity(groups: pd.DataFrame, alphas: list[float]) -> pd.DataFrame:
    """Return how many images each threshold selects: ``alpha``, ``positives``, ``negatives``.

    Args:
        groups: from ``group``.
        alphas: the thresholds, as for ``select``.
    """
    roles = [select(groups, alpha)["role"] for alpha in alphas]
    return pd.DataFrame(
        {
            "alpha": np.asarray(alphas, dtype=float),
            "positives": [int((role == POSITIVE).sum()) for role in roles],
            "negatives": [int((role == NEGATIVE).sum()) for role in roles],
        }
    )
