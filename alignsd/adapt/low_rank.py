"""The low-rank matrices of one layer, to look at."""

from typing import NamedTuple

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
            (adapter,) = module.active_adapters
            matrices = (
                module.get_base_layer().weight,
                module.lora_A[adapter].weight,
                module.lora_B[adapter].weight,
            )
            weight, down, up = (matrix.detach().float().cpu().numpy() for matrix in matrices)
            return LowRank(name, weight, down, up, float(module.scaling[adapter]))
    raise Problem(
        "The UNet has no low-rank matrices.",
        expected="a layer with LoRA",
        found="none",
        cause="no LoRA was added, or the LoRA was fused into the weights",
        fix="call lora.add_lora(unet, rank, seed) first",
    )
