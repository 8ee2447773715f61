"""Choices that are easy to learn: of two flat pictures the brighter picture is always chosen."""

from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.images import save_png
from alignsd.reward.hps import HpsRecipe

RECIPE = HpsRecipe(
    batch=4,
    learning_rate=3e-4,
    initial_scale=30.0,
    weight_decay=0.0,
    mirror=False,
    seed=0,
    image_groups=2,
    text_layers=2,
    epochs=2.0,
)


def write_choices(folder: Path, n: int = 8) -> pd.DataFrame:
    """Write two pictures per choice, and return the choices."""
    choices, rng = [], np.random.default_rng(0)
    for i in range(n):
        bright = int(rng.integers(2))
        for j in range(2):
            grey = 220 if j == bright else 30
            save_png(folder / f"{i}_{j}.png", np.full((64, 64, 3), grey, np.uint8))
        choices.append(
            {
                "id": i,
                "prompt": "a person at night",
                "file_path": [f"{i}_0.png", f"{i}_1.png"],
                "human_preference": bright,
            }
        )
    return pd.DataFrame(choices)
