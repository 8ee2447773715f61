"""What the logit scale does: the softmax over the images of a choice, and the loss of a pick.

CLIP's cosines lie close together. The scale says how sure a difference between two cosines makes
the softmax.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import log_softmax


def chances(cosines: np.ndarray, scale: float) -> np.ndarray:
    """Return the softmax of ``scale x cosine`` over the images of a choice, ``(n,)``.

    Args:
        cosines: between each image and the prompt, ``(n,)``.
        scale: exp(logit scale); above 0, at most 100 in CLIP.
    """
    return np.exp(log_softmax(scale * np.asarray(cosines, dtype=float)))


def choice_loss(cosines: np.ndarray, chosen: int, scale: float) -> float:
    """Return the loss of one choice in nats: ``-log softmax(scale x cosine)[chosen]``.

    Args:
        cosines, scale: as for ``chances``.
        chosen: index of the image that the person chose.
    """
    return -float(log_softmax(scale * np.asarray(cosines, dtype=float))[chosen])


def mean_loss(scores: pd.DataFrame, scales: Sequence[float]) -> pd.DataFrame:
    """Return the mean loss over all choices at each scale: ``scale``, ``loss`` (nats), ``n``.

    Args:
        scores: one row per image with ``id`` (of the choice), ``preferred`` (bool) and ``score``
            (100 x cosine), as ``hps.score_choices`` returns them.
        scales: values of exp(logit scale).
    """
    cosine = scores["score"].to_numpy(dtype=float) / 100
    of_choice = scores["id"]
    chosen = scores["preferred"].to_numpy(dtype=bool)
    losses = []
    for scale in scales:
        logits = pd.Series(scale * cosine, index=scores.index)
        shifted = logits - logits.groupby(of_choice).transform("max")  # no overflow
        log_total = np.log(np.exp(shifted).groupby(of_choice).transform("sum"))
        losses.append(float((log_total - shifted)[chosen].mean()))
    return pd.DataFrame({"scale": scales, "loss": losses, "n": int(chosen.sum())})
