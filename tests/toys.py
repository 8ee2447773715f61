"""Small values that tests of several chapters share."""

import numpy as np

from alignsd.adapt.lora import LoraRecipe
from alignsd.beyond.preference import PairRecipe
from alignsd.beyond.reward_gradient import RewardRecipe

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
PAIR_RECIPE = PairRecipe(
    steps=6,
    batch=4,
    micro_batch=4,
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=1e-2,
    snr_gamma=1.0,
    rank=4,
    beta=400.0,
    caption_dropout=0.0,
    swapped=False,
    swapped_captionless=0.0,
    seed=0,
)
REWARD_RECIPE = RewardRecipe(
    steps=2,
    batch=3,
    micro_batch=3,
    learning_rate=1e-3,
    rank=4,
    denoising_steps=3,
    through=2,
    guidance=1.75,
    weight_decay=1e-2,
    seed=0,
)
NO_PICTURES = [
    np.zeros((4, 4, 3), np.float32),
    np.zeros((4, 4, 3)),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4), np.uint8),
    [[1, 2]],
]
