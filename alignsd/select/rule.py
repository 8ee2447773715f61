"""Picks what Stable Diffusion is adapted with: clearly preferred and clearly non-preferred images (section 4).

Blurred images go, prompts with fewer than four images go, and of each remaining prompt the best image is a positive if
softmax(HPS) gives it more than alpha / n, the worst a negative if softmax(-HPS) does. Everything is joined by image id.
"""

import hashlib
import math
from collections.abc import Iterable
from itertools import islice
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import check_pixels, read_image
from alignsd.base.intervals import wilson
from alignsd.select.diffusiondb import read_pictures
from alignsd.select.imagefolder import write_imagefolder

BLUR_RULES = ("both directions", "official")
BLUR_LIMIT = 10.0  # official code; in steps of the 0-255 scale
MINIMUM_IMAGES = 4  # per prompt; official code
POSITIVE, NEGATIVE, SPARE = "positive", "negative", "negative, not kept"
ROLES = (POSITIVE, NEGATIVE, SPARE, "")


def sharpness(image: np.ndarray, rule: str = "both directions") -> float:
    """Returns the greatest difference between neighbouring pixels, any channel, 0-255.

    Args:
        image: ``(height, width, 3)`` uint8.
        rule: ``"both directions"``, or ``"official"`` for the greatest signed difference left minus right alone.

    Returns:
        At least 0; an image of one pixel has 0. The official rule can be below 0.

    Raises:
        Problem: if the rule is unknown.
        ValueError: if the image is no such array.
    """
    check_pixels(image)
    # Deviation: the official code looks at the horizontal neighbours twice and never at the vertical ones, and at signed
    # values: a picture of level stripes, or one that only gets brighter to the right, counts as blurred there.
    values = image.astype(np.int16)
    across = values[:, :-1] - values[:, 1:]
    if rule == "official":
        return float(across.max()) if across.size else 0.0
    if rule not in BLUR_RULES:
        raise Problem("There is no such blur rule.", expected=" or ".join(BLUR_RULES), found=repr(rule),
                      cause="a misspelt parameter", fix="set the parameter `blur_rule` of 03")
    down = values[:-1] - values[1:]
    return float(max(np.abs(part).max() if part.size else 0 for part in (across, down)))


def compare_rules(pictures: Iterable[np.ndarray], limit: float = BLUR_LIMIT) -> pd.DataFrame:
    """Counts the pictures that each rule drops: index ``rule``, columns ``pictures``, ``blurred``, ``by this rule alone``."""
    rows = [[is_blurred(sharpness(picture, rule), limit) for rule in BLUR_RULES] for picture in pictures]
    blurred = pd.DataFrame(rows, columns=list(BLUR_RULES), dtype=bool)
    alone = {rule: int((blurred[rule] & (blurred.sum(axis=1) == 1)).sum()) for rule in BLUR_RULES}
    return pd.DataFrame({"pictures": len(blurred), "blurred": blurred.sum(), "by this rule alone": alone}).rename_axis("rule")


def is_blurred(sharp: np.ndarray | float, limit: float = BLUR_LIMIT) -> np.ndarray | bool:
    """Returns whether images are as blurred as by the safety filter: sharpness below the limit, not at it."""
    return sharp < limit


def softmax_within(values: pd.Series, prompts: pd.Series) -> pd.Series:
    """Returns exp(v) / sum exp(v), the sum over the values of the same prompt; equal values get exactly 1 / n."""
    weights = np.exp(values - values.groupby(prompts).transform("max"))
    return weights / weights.groupby(prompts).transform("sum")


def group(scores: pd.DataFrame, limit: float = BLUR_LIMIT, minimum: int = MINIMUM_IMAGES) -> pd.DataFrame:
    """Keeps the images that can be compared and says how clearly each is its prompt's best or worst.

    Args:
        scores: ``part``, ``image``, ``prompt``, ``hps``, ``sharpness``, ``status``. Only rows with status ``"ok"`` count.
        limit: images with a lower sharpness are dropped.
        minimum: prompts with fewer sharp images are dropped; a prompt with exactly as many stays.

    Returns:
        Rows ordered by prompt and image: ``part``, ``image``, ``prompt``, ``hps``, ``n`` (images of the prompt), ``p_best``
        = softmax(hps), ``p_worst`` = softmax(-hps). It does not depend on the order of ``scores``.

    Raises:
        Problem: if an image has two scores, since then it is not clear which one counts, a score is
            no number, or ``limit`` or ``minimum`` is none.
    """
    at_least(-255, blur_limit=limit)
    at_least(1, minimum_images=minimum)
    usable = scores[(scores["status"] == "ok") & ~is_blurred(scores["sharpness"], limit)]
    _refuse_unclear(usable)
    rows = usable[["part", "image", "prompt", "hps"]].sort_values(["prompt", "image"], ignore_index=True)
    rows["hps"] = rows["hps"].astype(np.float64)
    rows["n"] = rows.groupby("prompt")["image"].transform("size")
    rows = rows[rows["n"] >= minimum].reset_index(drop=True)
    return rows.assign(p_best=softmax_within(rows["hps"], rows["prompt"]),
                       p_worst=softmax_within(-rows["hps"], rows["prompt"]))


def _refuse_unclear(usable: pd.DataFrame) -> None:
    twice = usable[usable["image"].duplicated(keep=False)]
    if len(twice):
        example = twice["image"].iloc[0]
        in_parts = sorted(set(twice.loc[twice["image"] == example, "part"]))
        one_part, places = len(in_parts) == 1, " and ".join(in_parts)
        by_hand = "the score table was edited by hand"
        two_numbers = "a part is there under two numbers"
        raise Problem(
            "Some images have more than one score.",
            expected="each image id once",
            found=f"{twice['image'].nunique()} repeated, such as {example} in {places}",
            cause=by_hand if one_part else two_numbers,
            fix="alignsd run --run NAME --force --from 03" if one_part
                else "move one of the two parts away and run 03 again",
        )
    missing = usable.loc[~np.isfinite(usable["hps"].astype(float)), "image"]
    if len(missing):
        raise Problem(
            "Some images have no score.",
            expected="a number for every image with status ok",
            found=f"{len(missing)} without, such as {missing.iloc[0]}",
            cause="the HPS of 02 diverged in training, or the score table was edited by hand",
            fix="lower learning_rate in 02 and run from there",
        )


def select(groups: pd.DataFrame, alpha: float = 2.0) -> pd.DataFrame:
    """Adds the column ``role``: at most one positive and one negative per prompt, else the empty string.

    The positive is the image with the greatest ``p_best`` if that is above ``alpha / n``, the negative that with the
    greatest ``p_worst`` if that is above ``alpha / n`` (official code; paper: alpha = 2). At exactly ``alpha / n`` an image
    is not selected. Of tied images the first by id is taken; with four images and alpha = 2 tied ones are never above the
    threshold. No image gets both roles: one above 1 / n in softmax(hps) is below it in softmax(-hps).

    Args:
        groups: from ``group``.
        alpha: at least 1; at 1 every prompt whose scores are not all equal gives both.

    Raises:
        Problem: if alpha is below 1 or not finite.
    """
    is_number = isinstance(alpha, Real)
    if not is_number or not 1 <= alpha < math.inf:
        too_large = is_number and alpha > 1
        raise Problem(
            "alpha is too large." if too_large else "alpha is too small, or no number.",
            expected="a finite number, at least 1",
            found=repr(alpha),
            cause="below 1, images that are no better than the others would be selected",
            fix="set the parameter `alpha` of 04, and `alphas`; the paper takes 2",
        )
    rows = groups.assign(role="").sort_values(["prompt", "image"], ignore_index=True)
    for role, column in ((POSITIVE, "p_best"), (NEGATIVE, "p_worst")):
        first = rows.groupby("prompt", sort=False)[column].idxmax()  # the first of ties, so the first by id
        chosen = rows.loc[first.to_numpy()]
        rows.loc[chosen.index[chosen[column] > alpha / chosen["n"]], "role"] = role
    return rows


def keep_negatives(selected: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Keeps a share of the negatives; the others get the role ``SPARE`` (all of them "will lead to worse results").

    Which ones follows from the seed and the image's id: neither the order of the rows nor the rest of the data matters for
    who goes first, and a smaller share is a part of a larger one.

    Args:
        selected: from ``select``.
        share: 0-1; ``share x negatives`` are kept, rounded half up (paper: about 0.5).
        seed: fixes the choice.

    Raises:
        Problem: if the share is not between 0 and 1, or the seed is out of range.
    """
    check_seed(seed)
    if not 0 <= share <= 1:
        raise Problem("The share of negatives is no share.", expected="0 to 1", found=repr(share), cause="a percentage?",
                      fix="set the parameter `negative_share` of 04; the paper keeps about 0.5")
    negatives = selected.loc[selected["role"] == NEGATIVE, "image"]
    order = sorted(negatives, key=lambda image: hashlib.sha256(f"{seed} {image}".encode()).digest())
    spare = order[int(share * len(order) + 0.5):]
    return selected.assign(role=selected["role"].mask(selected["image"].isin(spare), SPARE))


def picks(selected: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of an imagefolder: one per positive and kept negative, ordered by label and image.

    They have ``file_name`` (``positive/<id>.png``), ``text`` (the prompt, without the identifier), ``label``, ``part``, ``image``,
    ``prompt``, ``hps``, ``p`` (what was compared with alpha / n).
    """
    rows = selected[selected["role"].isin((POSITIVE, NEGATIVE))].sort_values(["role", "image"], ascending=[False, True])
    stem = rows["image"].str.rsplit(".", n=1).str[0]
    # a.png and a.webp are two images: where a stem is not unique, the whole name stands for it.
    stem = stem.mask(stem.duplicated(keep=False), rows["image"])
    return pd.DataFrame({
        "file_name": rows["role"] + "/" + stem + ".png", "text": rows["prompt"], "label": rows["role"], "part": rows["part"],
        "image": rows["image"], "prompt": rows["prompt"], "hps": rows["hps"],
        "p": rows["p_best"].where(rows["role"] == POSITIVE, rows["p_worst"])}).reset_index(drop=True)


def funnel(scores: pd.DataFrame, selected: pd.DataFrame, limit: float = BLUR_LIMIT) -> pd.DataFrame:
    """Counts what each step left.

    Args:
        scores, limit: as ``group`` takes them.
        selected: from ``keep_negatives``.

    Returns:
        ``step``, ``images``, ``prompts``, one row per step of the selection.
    """
    usable = scores[scores["status"] == "ok"]
    sharp = usable[~is_blurred(usable["sharpness"], limit)]
    steps = {"in the parts": scores, "readable, with a prompt": usable, "not blurred": sharp,
             "prompt has enough images": selected, "positives": selected[selected["role"] == POSITIVE],
             "negatives": selected[selected["role"].isin((NEGATIVE, SPARE))],
             "negatives kept": selected[selected["role"] == NEGATIVE]}
    return pd.DataFrame([(name, len(rows), rows["prompt"].nunique()) for name, rows in steps.items()],
                        columns=["step", "images", "prompts"])


def sensitivity(groups: pd.DataFrame, alphas: list[float]) -> pd.DataFrame:
    """Returns how many positives and negatives each threshold gives: ``alpha``, ``positives``, ``negatives``."""
    counts = [select(groups, alpha)["role"].value_counts() for alpha in alphas]
    return pd.DataFrame({"alpha": np.asarray(alphas, dtype=float), "positives": [int(c.get(POSITIVE, 0)) for c in counts],
                         "negatives": [int(c.get(NEGATIVE, 0)) for c in counts]})


def write_picks(folder: Path, rows: pd.DataFrame, parts: Path) -> dict[str, int]:
    """Writes the selected pictures as an imagefolder.

    Args:
        folder: where to write, see ``imagefolder.write_imagefolder``, whose counts are returned.
        rows: from ``picks``.
        parts: copy of DiffusionDB that was scored.
    """
    name = rows.set_index("image")["file_name"]
    return write_imagefolder(folder, rows, lambda missing: (
        (name[image], pixels) for image, pixels in read_pictures(parts, missing)))


def flaws_by_judge(judge: str, pictures: Iterable[tuple[str, np.ndarray]], batch: int = 256) -> pd.Series:
    """Asks the judge which pictures are flawed. Nothing that is selected depends on its answer.

    Args:
        judge: ``"miniature/judge"``, the path of such a judge, or ``""`` if there is none: then no picture is read.
        pictures: ``(image, pixels)``, pixels ``(64, 64, 3)`` uint8.
        batch: pictures at a time.

    Returns:
        Image id to bool; empty if there is no judge.
    """
    if not judge:
        return pd.Series(dtype=bool)
    from alignsd.miniature.judge import load_judge
    from alignsd.models.registry import resolve
    model, found, rest = load_judge(Path(resolve(judge))), {}, iter(pictures)
    while part := list(islice(rest, batch)):
        flawed = model.judge([pixels for _, pixels in part]).flawed
        found |= {image: bool(flaw) for (image, _), flaw in zip(part, flawed, strict=True)}
    return pd.Series(found, dtype=bool)


def flawed_files(judge: str, folder: Path, files: Iterable[str]) -> dict[str, bool]:
    """Asks a judge (``""``: none, then the answer is empty) which pictures below ``folder`` are flawed: file -> verdict."""
    return flaws_by_judge(judge, ((file, read_image(folder / file)) for file in files)).to_dict()


def flaw_rates(selected: pd.DataFrame, flawed: pd.Series) -> pd.DataFrame:
    """Checks the selection against the truth, where there is a judge.

    Args:
        selected: from ``keep_negatives``.
        flawed: image id to bool, joined by id; images without a verdict do not count. It may be empty.

    Returns:
        ``group`` (all, positives, negatives), ``rate``, ``low``, ``high`` (Wilson's 95 %), ``n``; no row for a group without
        verdicts.
    """
    rows = selected.assign(flawed=selected["image"].map(flawed)).dropna(subset="flawed")
    parts = {"positives": rows[rows["role"] == POSITIVE], "all images": rows,
             "negatives": rows[rows["role"].isin((NEGATIVE, SPARE))]}
    counts = [(name, int(part["flawed"].astype(bool).sum()), len(part)) for name, part in parts.items() if len(part)]
    return pd.DataFrame([(name, k / n, *wilson(k, n), n) for name, k, n in counts],
                        columns=["group", "rate", "low", "high", "n"])
