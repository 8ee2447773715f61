"""The aesthetic predictor: a linear head on CLIP's image embedding, as LAION's, that rates a picture 1-10."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

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
    """Loads a predictor: ``"miniature/aesthetic"``, a safetensors file, or one of LAION's ``.pth`` files.

    LAION's first predictor is one linear layer. Its second ("improved") one is five, with dropout between them and no
    activation, so that in use it is one linear map too, and is loaded as such.

    Raises:
        Problem: if the file is missing or holds something else.
    """
    path = Path(resolve(name))
    if not path.is_file():
        raise Problem(f"There is no aesthetic predictor {name!r}.", expected="miniature/aesthetic or a file", found="no such file",
                      cause="a wrong path, or the file was not downloaded: docs/data.md says where it comes from",
                      fix="set the notebook's aesthetic parameter to the file")
    (weight, bias), *later = _linear_layers(_read(path), path.name)
    for next_weight, next_bias in later:
        weight, bias = next_weight @ weight, next_weight @ bias + next_bias
    return Aesthetic(weight[0].float().numpy(), float(bias[0]))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        raise Problem(f"{path.name} cannot be read.", expected="a state dict of tensors", found=str(error).splitlines()[0],
                      cause="an unfinished download, or a web page saved under this name", fix="download the file again") from error


def _linear_layers(state: dict[str, Tensor], name: str) -> list[tuple[Tensor, Tensor]]:
    """Returns ``(weight, bias)`` of each layer in order: of ``weight`` and ``bias``, or of ``layers.0.weight`` and so on."""
    prefixes = sorted({key[:key.rfind(".") + 1] for key in state}, key=lambda prefix: (len(prefix), prefix))
    layers = [(state.get(prefix + "weight"), state.get(prefix + "bias")) for prefix in prefixes]
    whole = 2 * len(layers) == len(state) and all(w is not None and b is not None and w.ndim == 2 for w, b in layers)
    widths = [w.shape[0] for w, _ in layers] if whole else []
    if not widths or widths[-1] != 1 or any(w.shape[1] != width for (w, _), width in zip(layers[1:], widths, strict=False)):
        raise Problem(f"{name} is no linear aesthetic predictor.", expected="weight and bias of linear layers that end in one number",
                      found=", ".join(f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:4]) or "no tensors",
                      cause="a predictor of another kind", fix="give one of LAION's linear or improved predictors")
    return [(w.double(), b.double()) for w, b in layers]
