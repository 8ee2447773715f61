"""The aesthetic predictor: a linear head on CLIP's image embedding, as LAION's, that rates a picture 1-10."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from alignsd.base.errors import Problem
from alignsd.base.reading import natural_key
from alignsd.models.registry import resolve
from alignsd.models.weights import instead_of_file, is_file, read_tensors, short


@dataclass(frozen=True)
class Aesthetic:
    """``rating = weight . embedding + bias`` for unit embeddings of the CLIP it was trained on."""

    weight: np.ndarray  # (d,)
    bias: float

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """Return ratings ``(n,)``, about 1-10, of images by their unit CLIP embeddings ``(n, d)``.

        Raises:
            Problem: if the embeddings are of another CLIP than the predictor's.
        """
        if len(embeddings):
            check_width(self, embeddings.shape[1])
        return embeddings @ self.weight + self.bias


def check_width(predictor: Aesthetic, width: int) -> None:
    """Do nothing if a predictor takes embeddings of this width.

    Args:
        predictor: from ``load_aesthetic``.
        width: numbers in an embedding, see ``clip.Clip.width``.

    Raises:
        Problem: otherwise.
    """
    if len(predictor.weight) != width:
        raise Problem(
            "The aesthetic predictor does not fit the CLIP.",
            expected=f"a predictor for embeddings of {width} numbers, which the CLIP makes",
            found=f"a predictor for embeddings of {len(predictor.weight)} numbers",
            cause="the predictor was trained on another CLIP",
            fix="LAION's predictors take ViT-L/14, miniature/aesthetic takes miniature/clip: "
            "set the parameters clip and aesthetic alike",
        )


def load_aesthetic(name: str) -> Aesthetic:
    """Load a predictor: ``"miniature/aesthetic"``, a safetensors file, or one of LAION's ``.pth`` files.

    LAION's first predictor is one linear layer. Its second ("improved") one is five, with dropout
    between them and no activation, so that in use it is one linear map too, and is loaded as such.

    Raises:
        Problem: if the file is missing or damaged, or holds anything but finite linear layers.
    """
    path = Path(resolve(name))
    if not is_file(path):
        raise Problem(
            f"There is no aesthetic predictor {short(repr(name))}.",
            expected="miniature/aesthetic or a file",
            found=instead_of_file(path),
            cause="a wrong path, or the file was not downloaded: docs/data.md says where it comes from",
            fix="set the notebook's aesthetic parameter to the file",
        )
    again = f"download {short(path.name)} again; docs/data.md says from where"
    state = read_tensors(path, "an aesthetic predictor", again)
    (weight, bias), *later = _linear_layers(state, short(path.name))
    for next_weight, next_bias in later:
        weight, bias = next_weight @ weight, next_weight @ bias + next_bias
    if not (weight.float().isfinite().all() and bias.float().isfinite().all()):
        raise _no_predictor(short(path.name), "layers whose product is no finite number", state)
    return Aesthetic(weight[0].float().numpy(), float(bias[0]))


def _linear_layers(state: dict[str, Tensor], name: str) -> list[tuple[Tensor, Tensor]]:
    """Return ``(weight, bias)`` of each layer in order.

    The layers are ``weight`` and ``bias``, or ``layers.0.weight``, ``layers.0.bias`` and so on.
    """
    prefixes = sorted({key[: key.rfind(".") + 1] for key in state}, key=natural_key)
    pairs = [(state.get(prefix + "weight"), state.get(prefix + "bias")) for prefix in prefixes]
    layers = [pair for pair in pairs if _is_linear(*pair)]
    if 2 * len(layers) != len(state):
        raise _no_predictor(name, "", state)
    chained = all(after.shape[1] == before.shape[0] for (before, _), (after, _) in pairwise(layers))
    if not chained or layers[-1][0].shape[0] != 1:
        raise _no_predictor(name, "", state)
    return [(weight.double(), bias.double()) for weight, bias in layers]


def _is_linear(weight: Tensor | None, bias: Tensor | None) -> bool:
    if weight is None or bias is None or weight.ndim != 2 or 0 in weight.shape:
        return False
    return tuple(bias.shape) == (weight.shape[0],)


def _no_predictor(name: str, found: str, state: dict[str, Tensor]) -> Problem:
    shapes = [f"{short(key, 40)} {tuple(value.shape)}" for key, value in list(state.items())[:4]]
    return Problem(
        f"{name} is no linear aesthetic predictor.",
        expected="weight and bias of linear layers that end in one number",
        found=found or ", ".join(shapes),
        cause="a predictor of another kind",
        fix="give one of LAION's linear or improved predictors",
    )
