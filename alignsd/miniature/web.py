"""The miniature's "web": captioned pictures with ratings, a share of them awkward, on which its models are pretrained."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from alignsd.miniature import world
from alignsd.miniature.renderer import draw, random_look


@dataclass(frozen=True)
class Web:
    """Pictures in parallel lists; ``pictures`` is ``(n, 64, 64, 3)`` uint8, ``ratings`` 1-10."""

    pictures: np.ndarray
    captions: list[str]
    scenes: list[world.Scene]
    flaws: list[str]
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def labels(self) -> dict[str, np.ndarray]:
        """Returns class indices ``(n,)`` of each attribute and of ``flaw``."""
        rows = [world.scene_index(scene) for scene in self.scenes]
        found = {name: np.array([row[name] for row in rows]) for name in world.ATTRIBUTES}
        return found | {"flaw": np.array([world.FLAWS.index(flaw) for flaw in self.flaws])}


def make_web(n: int, seed: int, flaw_share: float, first: int = 0) -> Web:
    """Renders pictures ``first .. first + n`` of a web; each depends on its number and the seed alone.

    Args:
        n: number of pictures.
        seed: seed of the web.
        flaw_share: probability that a picture is awkward.
        first: number of the first picture, so that held-out pictures can be had from the same web.
    """
    rows = []
    for number in tqdm(range(first, first + n), desc="rendering the web", unit="picture", mininterval=5, disable=n < 2000):
        rng = np.random.default_rng((seed, number))
        scene, flaw, look = world.random_scene(rng), world.random_flaw(rng, flaw_share), random_look(rng)
        rows.append((draw(scene, flaw, look, rng), world.caption(scene, rng), scene, flaw, look.rating))
    pictures, captions, scenes, flaws, ratings = zip(*rows, strict=True)
    return Web(np.stack(pictures), list(captions), list(scenes), list(flaws), np.array(ratings))
