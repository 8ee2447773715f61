"""The aesthetic predictor: a linear head on CLIP's image embedding, as LAION's, that rates a picture 1-10."""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load_file

from alignsd.errors import Problem
from alignsd.models import resolve


@dataclass(frozen=True)
class Aesthetic:
    """``rating = weight . embedding + bias`` for unit embeddings of the CLIP it was trained on."""

    weight: np.ndarray  # (d,)
    bias: float

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """Rates images by their unit CLIP embeddings ``(n, d)``; returns ``(n,)``, about 1-10."""
        return embeddings @ self.weight + self.bias


def load_aesthetic(name: str) -> Aesthetic:
    """Loads a head from a safetensors file with ``weight`` ``(1, d)`` and ``bias`` ``(1,)``.

    Raises:
        Problem: if the file holds other tensors.
    """
    state = load_file(resolve(name))
    if state.keys() != {"weight", "bias"}:
        raise Problem(f"{name!r} is no linear aesthetic predictor", expected="tensors weight and bias",
                      found=", ".join(sorted(state)), cause="a predictor of another kind", fix="give a linear head's file")
    return Aesthetic(state["weight"][0].astype(np.float32), float(state["bias"][0]))
