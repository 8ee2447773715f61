"""The low-rank matrices of one layer, to look at."""

from typing import Any, NamedTuple

import numpy as np
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft.tuners.lora import Linear

from alignsd.base.errors import Problem


class LowRank(NamedTuple):
    """One layer with LoRA: the layer's weight is W + scale x B A.

    Attributes:
        name: of the layer in the UNet.
        weight: W, ``(outputs, inputs)``, frozen.
        down: A, ``(rank, inputs)``, trained.
        up: B, ``(outputs, rank)``, trained; zero before the training.
        scale: alpha / rank; 1 in our trainings.
    """

    name: str
    weight: np.ndarray
    down: np.ndarray
    up: np.ndarray
    scale: float


def first_layer(unet: UNet2DConditionModel) -> LowRank:
    """Return the first layer of a UNet that ``lora.add_lora`` has put matrices on.

    Raises:
        Problem: if no layer has such matrices.
    """
    for name, module in unet.named_modules():
        if isinstance(module, Linear):
            return _matrices(name, module)
    raise Problem(
        "The UNet has no low-rank matrices.",
        expected="a layer with LoRA",
        found="none",
        cause="no LoRA was added, or the LoRA was fused into the weights",
        fix="call lora.add_lora(unet, rank, seed) first",
    )


def _matrices(name: str, layer: Any) -> LowRank:
    (adapter,) = layer.active_adapters
    base, down, up = layer.base_layer, layer.lora_A[adapter], layer.lora_B[adapter]
    weight, a, b = (part.weight.detach().float().cpu().numpy() for part in (base, down, up))
    return LowRank(name, weight, a, b, float(layer.scaling[adapter]))
