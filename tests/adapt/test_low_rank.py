"""The matrices of a layer with LoRA, against what the layer computes."""

import numpy as np
import pytest
import torch

from alignsd.adapt import lora, low_rank
from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline


@pytest.fixture
def unet():
    return load_pipeline("miniature/stable-diffusion", device="cpu").unet


def test_a_layer_computes_with_the_sum_of_its_matrices(unet):
    """W' = W + (alpha / r) B A, the equation of notebook 05."""
    lora.add_lora(unet, rank=4, seed=0)
    before = low_rank.first_layer(unet)
    module = unet.get_submodule(before.name)
    assert not before.up.any() and before.down.any(), "B is 0 before the training"
    assert before.scale == 1.0
    (adapter,) = module.active_adapters
    torch.nn.init.normal_(module.lora_B[adapter].weight)
    module.scaling[adapter] = 0.5
    layer = low_rank.first_layer(unet)
    outputs, inputs = layer.weight.shape
    assert layer.down.shape == (4, inputs) and layer.up.shape == (outputs, 4)
    x = torch.randn(3, inputs)
    with torch.no_grad():
        bias = module(torch.zeros(1, inputs))
        computed = (module(x) - bias).numpy()
    adapted = layer.weight + 0.5 * layer.up @ layer.down
    np.testing.assert_allclose(computed, x.numpy() @ adapted.T, rtol=1e-3, atol=1e-4)


def test_a_unet_without_such_matrices_is_named(unet):
    with pytest.raises(Problem, match="no low-rank matrices"):
        low_rank.first_layer(unet)
