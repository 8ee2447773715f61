"""Renders without a flaw, with which FID compares the images of the arms."""

from collections.abc import Iterator, Sequence

import numpy as np

from alignsd.miniature.renderer import draw, random_look
from alignsd.miniature.world import scene_of

STREAM = 0xF1D  # keeps these renders apart from all other renders of a seed


def clean_renders(prompts: Sequence[str], seed: int) -> Iterator[np.ndarray]:
    """Yield one picture ``(64, 64, 3)`` uint8 of each prompt's scene, drawn right.

    Args:
        prompts: captions of the miniature's world.
        seed: of what a caption leaves open, such as the place of the person.
    """
    for number, prompt in enumerate(prompts):
        rng = np.random.default_rng((seed, STREAM, number))
        yield draw(scene_of(prompt), "none", random_look(rng), rng)
