"""Measure what a method changed beside its reward: the panel of over-optimization.

A method that is trained on a score raises the score. The panel puts what nobody asked for beside
the score: colours, the variety of a prompt's pictures, and an attribute that no prompt names. Where
the score still rises and the truth falls, the score no longer means what it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import BadImage, read_image
from alignsd.base.judge import Attribute, Utility
from alignsd.base.processes import gathered, share
from alignsd.base.progress import track
from alignsd.compare.arm_metrics import SHARES
from alignsd.compare.image_metrics import SCORES, asked_for
from alignsd.compare.measurement import COLUMNS, Measurement, mean_of, share_of
from alignsd.models.clip import Clip, embed_images

MEANS = (*SCORES, "utility", "saturation")
DIVERSITY = "diversity"
SHARE_COLUMNS = ("arm", "class", "value", "low", "high", "n")


def saturation(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return how colourful each picture is, ``(n,)``, in grey levels, 0 (grey) to 255.

    A pixel's colourfulness is its largest minus its smallest channel. A picture's is the mean over
    the pixels.

    Args:
        pictures: ``(height, width, 3)`` uint8 each.
    """
    colourful = []
    for picture in pictures:
        difference = picture.max(axis=-1) - picture.min(axis=-1)
        colourful.append(difference.mean())
    return np.array(colourful, dtype=float)


def diversity(embeddings: np.ndarray, prompt_ids: Sequence[str], seed: int) -> Measurement | None:
    """Return how much the pictures of one prompt differ: the mean of 1 - cosine.

    Args:
        embeddings: unit vectors of pictures, ``(n, d)``, from a CLIP that saw no choices.
        prompt_ids: the prompt of each picture.
        seed: of the bootstrap over prompts.

    Returns:
        The mean over prompts, with a bootstrap interval over prompts; n counts prompts. None if no
        prompt has two pictures.
    """
    by_prompt = diversity_of_prompts(embeddings, prompt_ids)
    return mean_of(by_prompt.to_numpy(), seed) if len(by_prompt) else None


def diversity_of_prompts(embeddings: np.ndarray, prompt_ids: Sequence[str]) -> pd.Series:
    """Return the mean of 1 - cosine over all pairs of a prompt's pictures, by prompt.

    Prompts with one picture are left out.

    Args:
        embeddings, prompt_ids: as for ``diversity``.
    """
    numbers = pd.Series(range(len(prompt_ids))).groupby(list(prompt_ids), sort=False)
    values = {}
    for prompt_id, rows in numbers:
        n = len(rows)
        if n > 1:
            length = np.linalg.norm(embeddings[rows].sum(axis=0, dtype=float))
            # |sum of n unit vectors|^2 = n + the sum of the cosines of all n (n - 1) pairs.
            values[prompt_id] = 1 - (length**2 - n) / (n * (n - 1))
    return pd.Series(values, dtype=float)


def attribute_shares(
    classes_by_arm: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> pd.DataFrame:
    """Return how often each class of an attribute occurs in each arm.

    Args:
        classes_by_arm: arm -> the class of each picture, at least one picture.
        classes: all classes, in the order of the rows.

    Returns:
        ``arm, class, value`` (share, 0-1), ``low, high`` (Wilson's interval), ``n`` (pictures).
    """
    rows = []
    for arm, seen in classes_by_arm.items():
        seen_classes = pd.Series(list(seen), dtype=object)
        for name in classes:
            row = share_of(seen_classes == name).row(arm, name)
            rows.append({"class": row.pop("metric"), **row})
    return pd.DataFrame(rows, columns=list(SHARE_COLUMNS))


def look(
    images: pd.DataFrame,
    folder: Path,
    clip: Clip,
    attribute: Attribute | None,
    utility: Utility | None,
    batch: int = 256,
) -> pd.DataFrame:
    """Look at every image for what ``image_metrics.measure`` does not measure.

    Several processes divide the batches.

    Args:
        images: a row per image, ``arm, id, prompt_id, prompt, file``, with an original arm.
        folder: where ``file`` begins.
        clip: a CLIP that saw no choices, for ``diversity``.
        attribute: reads what no prompt names; None leaves ``attribute`` empty.
        utility: tells what people would think; None leaves ``utility`` empty.
        batch: images at a time.

    Returns:
        A row per image that can be read: ``arm, id, prompt_id, saturation, utility, attribute``,
        and ``embedding``, a unit vector.

    Raises:
        Problem: if an arm has an id that the original arm lacks, or no image can be read.
    """
    at_least(1, batch=batch)
    rows = images.assign(asked=images["id"].map(asked_for(images, folder)))
    tables = []
    starts = share(range(0, len(rows), batch))
    for start in track(starts, what="looking at images", unit="batch"):
        few, pictures = _readable(rows.iloc[start : start + batch], folder)
        tables.append(_looked_at(few, pictures, clip, attribute, utility) if pictures else None)
    of_readable = [table for table in gathered(tables) if table is not None]
    if not of_readable:
        raise Problem(
            "No image of the comparison can be read.",
            expected=f"{len(images):,} images",
            found="none",
            cause="the images were moved away after they were drawn",
            fix="draw the images again",
        )
    return pd.concat(of_readable, ignore_index=True)


def panel(
    metrics: pd.DataFrame, looks: pd.DataFrame, attribute: Attribute | None, seed: int
) -> pd.DataFrame:
    """Return what each method gained and what each method paid, over the arm's readable images.

    ``hps``, ``clip_score``, ``aesthetic``, ``utility`` and ``saturation`` are means, and
    ``diversity`` is a mean over prompts, with bootstrap intervals. ``flaw_rate``, ``match_rate``
    and ``<attribute>: <class>`` are shares (0-1) with Wilson's intervals. A metric that was not
    measured has no row. The Fréchet distance comes from ``fid.table``.

    Args:
        metrics: a row per image, from ``image_metrics.measure``.
        looks: a row per image, from ``look``.
        attribute: the attribute that ``look`` read, for names and order of the classes.
        seed: of the bootstraps.

    Returns:
        ``arm, metric, value, low, high, n``.
    """
    check_seed(seed)
    images = looks.merge(metrics, on=["arm", "id"], how="left", validate="one_to_one")
    rows: list[dict[str, object]] = []
    for arm, of_arm in images.groupby("arm", sort=False):
        rows += [measured.row(arm, metric) for metric, measured in _of_arm(of_arm, seed)]
        if attribute is not None:
            rows += _rows_of_attribute(str(arm), of_arm["attribute"], attribute)
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_arm(images: pd.DataFrame, seed: int) -> Iterator[tuple[str, Measurement]]:
    """Yield the metrics of one arm's images, apart from the attribute."""
    for metric in MEANS:
        values = images[metric].dropna().to_numpy(dtype=float)
        if len(values):
            yield metric, mean_of(values, seed)
    for metric, column in SHARES.items():
        verdicts = images[column].dropna()
        if len(verdicts):
            yield metric, share_of(verdicts)
    embeddings = np.stack(list(images["embedding"]))
    varied = diversity(embeddings, images["prompt_id"].tolist(), seed)
    if varied is not None:
        yield DIVERSITY, varied


def _rows_of_attribute(
    arm: str, classes: pd.Series, attribute: Attribute
) -> list[dict[str, object]]:
    """Return a row of the panel for each class of the attribute."""
    shares = attribute_shares({arm: classes.tolist()}, attribute.classes)
    metric = attribute.name + ": " + shares.pop("class")
    return shares.assign(metric=metric).to_dict("records")


def _readable(rows: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return the rows whose images can be read, and the images."""
    is_readable, pictures = [], []
    for file in rows["file"]:
        try:
            pictures.append(read_image(folder / file))
            is_readable.append(True)
        except BadImage:
            is_readable.append(False)
    return rows[is_readable], pictures


def _looked_at(
    rows: pd.DataFrame,
    pictures: Sequence[np.ndarray],
    clip: Clip,
    attribute: Attribute | None,
    utility: Utility | None,
) -> pd.DataFrame:
    """Return the columns of ``look`` for readable images."""
    asked = rows["asked"].tolist()
    return rows[["arm", "id", "prompt_id"]].assign(
        saturation=saturation(pictures),
        utility=utility(pictures, asked) if utility else np.nan,
        attribute=attribute(pictures) if attribute else None,
        embedding=list(embed_images(clip, pictures)),
    )
