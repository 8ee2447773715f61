"""Fixtures: images of two arms, and models whose answers can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from stand_ins import Mean, OddIsWrong

from alignsd.base.images import save_png
from alignsd.compare import image_metrics


@pytest.fixture
def scorers(monkeypatch):
    """Embeddings on a circle: an image's angle is its red value in degrees, a text's is 0."""

    def images(clip, pictures, batch=256):
        angles = np.radians([float(picture[0, 0, 0]) for picture in pictures])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def texts(clip, prompts, batch=256):
        return np.tile([1.0, 0.0], (len(prompts), 1))

    monkeypatch.setattr(image_metrics, "embed_images", images)
    monkeypatch.setattr(image_metrics, "embed_texts", texts)
    aesthetic = SimpleNamespace(predict=lambda embeddings: 5 + embeddings[:, 1])
    return image_metrics.Scorers(
        hps=None,
        clip=None,
        aesthetic=aesthetic,
        judge=OddIsWrong(),
        network=Mean(),
        device="cpu",
    )


@pytest.fixture
def plan(tmp_path):
    """Two arms of three images with red values 0, 1, 60 and 2, 4, 61.

    The adapted arm's last file is missing.
    """
    rows = []
    for arm, reds, prefix in (
        ("original", (0, 1, 60), ""),
        ("adapted", (2, 4, 61), "Weird image. "),
    ):
        for number, red in enumerate(reds):
            file = f"{arm}/{number}.png"
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[..., 0] = red
            if red != 61:
                save_png(tmp_path / file, picture)
            asked = "match" if number else "no"
            rows.append((arm, f"p{number}-0", f"{prefix}{asked}", file))
    return pd.DataFrame(rows, columns=["arm", "id", "prompt", "file"]), tmp_path
