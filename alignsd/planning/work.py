"""Count the work of a run at full size from a preset's values, and turn the work into hours."""

from collections.abc import Mapping

import pandas as pd

from alignsd import paper
from alignsd.compare.arms import ARMS
from alignsd.kit.values.parameters import Value, listed_numbers, number, whole
from alignsd.planning import other_ways
from alignsd.planning.throughput import (
    DECODE,
    DENOISE,
    EMBED,
    ENCODE,
    FEATURES,
    FRECHET,
    READ,
    TRAIN_CLIP,
    TRAIN_LORA,
    UNET,
)

ON_DEVICE = ("02", "03", "05", "06", "07", "10")  # notebooks that run a model of full size
PIXELS_PER_LATENT = 8  # pixels of a picture's side per element of the latents' side
Values = Mapping[str, Mapping[str, Value]]  # notebook number -> resolved parameters


def is_full_size(values: Values) -> bool:
    """Return whether a preset works at Stable Diffusion's 512 pixels, the size measured here."""
    return values["05"]["resolution"] == PIXELS_PER_LATENT * UNET["sample_size"]


def selected_images(parts: int) -> int:
    """Return how many images of so many parts are selected, in the paper's proportion."""
    return (paper.POSITIVES + paper.NEGATIVES) * parts // paper.PARTS_OF_DIFFUSIONDB


def encoded_images(values: Values, parts: int) -> int:
    """Return how many pictures the autoencoder encodes.

    The adapted model takes the selected images. The control takes as many images again. To these
    the regularization pictures are added.
    """
    return 2 * selected_images(parts) + whole(values["05"], "regularization_images")


def drawn_images(values: Values) -> int:
    """Return how many images all arms draw together."""
    return whole(values["06"], "prompt_count") * whole(values["06"], "samples") * len(ARMS)


def count_work(values: Values, parts: int) -> pd.DataFrame:
    """Count what a preset at full size has to do.

    Args:
        values: notebook number -> the notebook's resolved parameters.
        parts: parts of DiffusionDB that are scored, about 1,000 images each (paper: 1,000).

    Returns:
        ``notebook, task, count``: how often the unit of the task is done.
    """
    curve = listed_numbers(values["02"], "curve")
    images_per_choice = paper.TRAIN_IMAGES / paper.TRAIN_CHOICES
    images_per_epoch = paper.TRAIN_IMAGES + images_per_choice * sum(curve)
    trained = number(values["02"], "epochs") * images_per_epoch
    lora_pictures = whole(values["05"], "steps") * whole(values["05"], "batch")
    scored = parts * paper.IMAGES_PER_PART
    selected = selected_images(parts)
    encoded = encoded_images(values, parts)
    drawn = drawn_images(values)
    # One distance per arm, and the square root of the reference's covariance.
    distances = whole(values["07"], "fid_resamples") * (len(ARMS) + 1)
    counts = [
        ("02", TRAIN_CLIP, round(trained)),
        ("02", EMBED, paper.TEST_IMAGES * (4 + len(curve))),
        ("03", READ, scored),
        ("03", EMBED, scored),
        ("04", READ, selected),
        ("05", READ, 2 * encoded),
        ("05", EMBED, encoded - selected),
        ("05", ENCODE, encoded),
        ("05", TRAIN_LORA, 2 * lora_pictures),
        ("06", DENOISE, drawn * whole(values["06"], "steps")),
        ("06", DECODE, drawn),
        ("07", EMBED, 2 * drawn),
        ("07", FEATURES, drawn),
        ("07", FRECHET, distances),
        *other_ways.count(values, positives=paper.POSITIVES * parts // paper.PARTS_OF_DIFFUSIONDB),
    ]
    return pd.DataFrame(counts, columns=["notebook", "task", "count"])


def estimate(work: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the hours of each task: the task's count times the measured seconds.

    Args:
        work: from ``count_work``.
        measured: from ``throughput.measure``.

    Returns:
        ``notebook, task, count, seconds`` (per unit), ``hours``.
    """
    seconds = measured[["task", "seconds"]]
    table = work.merge(seconds, on="task", how="left", validate="many_to_one")
    return table.assign(hours=table["count"] * table["seconds"] / 3600)


def total_hours(table: pd.DataFrame) -> float:
    """Return the total hours of an ``estimate``.

    Scoring reads pictures on a thread while other pictures are embedded, so only the longer of the
    two tasks counts.
    """
    total = 0.0
    for notebook, hours in table.groupby("notebook")["hours"]:
        total += hours.max() if notebook == "03" else hours.sum()
    return total
