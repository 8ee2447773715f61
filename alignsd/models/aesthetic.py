"""The aesthetic predictor, as LAION's: a linear head on CLIP's embedding of a picture, 1-10."""

import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import natural_key
from alignsd.models.files.weights import instead_of_file, is_file, read_tensors
from alignsd.models.files.wording import short
from alignsd.models.registry import resolve

# Places of the linear layers in LAION's improved predictor; dropout stands in the places between.
IMPROVED = (0, 2, 4, 6, 7)


@dataclass(frozen=True)
class Aesthetic:
    """``rating = weight . embedding + bias`` for unit embeddings of the predictor's CLIP."""

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
    """Load a predictor: ``"miniature/aesthetic"``, a safetensors file, or a ``.pth`` file of LAION.

    LAION's first predictor is one linear layer. LAION's second predictor ("improved") has five
    linear layers, with dropout between the layers and no activation. Without dropout the five
    layers are one linear map, and are loaded as one layer. A file does not say what stands between
    its layers, but the layers' numbers do: LAION's ``ava+logos-l14-reluMSE.pth``, with ReLU between
    the layers, has other numbers.

    Raises:
        Problem: if the file is missing or damaged, or holds anything but finite linear layers, or
            several layers whose numbers are not those of the improved predictor.
    """
    path = Path(resolve(name))
    if not is_file(path):
        raise Problem(
            f"There is no aesthetic predictor {short(repr(name))}.",
            expected="miniature/aesthetic or a file",
            found=instead_of_file(path),
            cause="a wrong path, or the file was not downloaded; docs/data.md says from where",
            fix="set the notebook's aesthetic parameter to the file",
        )
    again = f"download {short(path.name)} again; docs/data.md says from where"
    state = read_tensors(path, "an aesthetic predictor", again)
    (weight, bias), *later = _linear_layers(state, path)
    for next_weight, next_bias in later:
        weight, bias = next_weight @ weight, next_weight @ bias + next_bias
    if not (weight.float().isfinite().all() and bias.float().isfinite().all()):
        raise _no_predictor(short(path.name), "layers whose product is no finite number", state)
    return Aesthetic(weight[0].float().numpy(), float(bias[0]))


def _linear_layers(state: dict[str, Tensor], path: Path) -> list[tuple[Tensor, Tensor]]:
    """Return ``(weight, bias)`` of each layer in order, double precision.

    The layers are ``weight`` and ``bias``, or ``layers.0.weight``, ``layers.0.bias`` and so on.
    """
    name = short(path.name)
    prefixes = sorted({key[: key.rfind(".") + 1] for key in state}, key=natural_key)
    layers = []
    for prefix in prefixes:
        weight, bias = state.get(prefix + "weight"), state.get(prefix + "bias")
        if weight is not None and bias is not None and _is_linear(weight, bias):
            layers.append((weight.double(), bias.double()))
    if 2 * len(layers) != len(state) or not _end_in_one_number(layers):
        raise _no_predictor(name, "", state)
    if len(layers) == 1 and prefixes[0].rstrip("0123456789.") not in ("", "layers"):
        raise _named_layer(path, prefixes[0].rstrip("."))
    numbers = [prefix.rstrip(".").rpartition(".")[2] for prefix in prefixes]
    if len(layers) > 1 and numbers != [str(number) for number in IMPROVED]:
        found = f"{len(layers)} layers of the numbers {short(', '.join(numbers))}"
        cause = "a predictor with activations such as ReLU between its layers"
        raise _no_predictor(name, found, state, cause)
    return layers


def _named_layer(path: Path, layer: str) -> Problem:
    """Return why a layer of a module with a name of its own is not read.

    The files of Simulacra's predictors have the same shapes as LAION's. Their module scales what it
    is given, so a plain reading would rate wrongly, without a word.
    """
    scaled = f"{{'weight': s['{layer}.weight'] * s['{layer}.weight'].shape[1] ** 0.5, "
    scaled += f"'bias': s['{layer}.bias']}}"
    script = "import sys, torch; from alignsd.models.files.weights import read_tensors; "
    script += f"s = read_tensors(sys.argv[1], 'a predictor'); torch.save({scaled}, sys.argv[2])"
    command = f'python -c "{script}" {shlex.quote(shown(path))} plain.pth'
    return Problem(
        f"{short(path.name)} is no plain linear layer.",
        expected="the names weight and bias, as LAION's linear predictors have",
        found=f"{layer}.weight and {layer}.bias",
        cause="the layer of a module that may do more, such as Simulacra's, which multiplies the "
        "embedding by the root of its width",
        fix=f"for Simulacra's predictors: {command}",
    )


def _is_linear(weight: Tensor, bias: Tensor) -> bool:
    if weight.ndim != 2 or 0 in weight.shape:
        return False
    if not (weight.is_floating_point() and bias.is_floating_point()):
        return False  # quantized, without the scale
    return tuple(bias.shape) == (weight.shape[0],)


def _end_in_one_number(layers: list[tuple[Tensor, Tensor]]) -> bool:
    """Return whether each layer takes what the layer before gives, and the last gives a number."""
    for (before, _), (after, _) in pairwise(layers):
        if after.shape[1] != before.shape[0]:
            return False
    last_weight, _ = layers[-1]
    return last_weight.shape[0] == 1


def _no_predictor(
    name: str,
    found: str,
    state: dict[str, Tensor],
    cause: str = "a predictor of another kind",
) -> Problem:
    first = list(state.items())[:4]
    shapes = [f"{short(key, 40)} {tuple(value.shape)}" for key, value in first]
    return Problem(
        f"{name} is no linear aesthetic predictor.",
        expected="weight and bias of one linear layer that ends in one number, "
        f"or of layers {', '.join(map(str, IMPROVED))} of LAION's improved predictor",
        found=found or ", ".join(shapes),
        cause=cause,
        fix="give one of LAION's linear or improved predictors",
    )
