"""How far the identifier moves the samples of a training, without a judge."""

from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.images import read_image


def identifier_effect(samples: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return how far the identifier moves the samples of each step.

    The difference of two pictures is the mean difference of their pixels, in grey levels (0-255).
    The two pictures of a pair have the same prompt and seed, without and with the identifier.

    Args:
        samples: ``step, index, file`` from ``lora.sample``; an index is ``<number>-plain`` or
            ``<number>-weird``.
        folder: the folder of the files.

    Returns:
        ``step``, ``difference`` (mean over the pairs) and ``n`` (pairs), in the order of the steps.
    """
    parts = samples["index"].str.partition("-")
    table = samples.assign(number=parts[0], kind=parts[2])
    pairs = table.pivot(index=["step", "number"], columns="kind", values="file")
    pairs["difference"] = [
        _pixel_difference(folder / plain, folder / weird)
        for plain, weird in zip(pairs["plain"], pairs["weird"], strict=True)
    ]
    by_step = pairs.groupby(level="step")["difference"]
    return by_step.agg(difference="mean", n="size").reset_index()


def _pixel_difference(one: Path, other: Path) -> float:
    return float(np.abs(read_image(one).astype(float) - read_image(other)).mean())
