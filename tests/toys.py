"""Small values that tests of several chapters share."""

import numpy as np

from alignsd.adapt.lora import LoraRecipe

LORA_RECIPE = LoraRecipe(
    identifier="Weird image. ",
    identifier_alone=0.5,
    steps=2,
    batch=4,
    micro_batch=2,
    learning_rate=1e-3,
    schedule="constant",
    weight_decay=1e-2,
    snr_gamma=0.0,
    rank=4,
    seed=0,
)
NO_PICTURES = [
    np.zeros((4, 4, 3), np.float32),
    np.zeros((4, 4, 3)),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4), np.uint8),
    [[1, 2]],
]
