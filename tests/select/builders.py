"""Build tables of scores for the tests of the selection."""

import numpy as np
import pandas as pd

from alignsd.select import rule


def scored(hps, prompt="p", sharp=50.0, status="ok", first=0) -> pd.DataFrame:
    """Return scores of one prompt's images, named a, b, c ... from ``first``."""
    letters = [chr(ord("a") + first + i) for i in range(len(hps))]
    return pd.DataFrame(
        {
            "part": "part-000001",
            "image": [f"{prompt}-{letter}.png" for letter in letters],
            "prompt": prompt,
            "hps": np.asarray(hps, float),
            "sharpness": sharp,
            "status": status,
        }
    )


def roles(hps, alpha=2.0) -> list[str]:
    """Return the role of each image of one prompt."""
    return rule.select(rule.group(scored(hps)), alpha)["role"].tolist()
