"""The miniature's "web": captioned pictures with ratings, a share of them awkward, on which its models are pretrained."""

from dataclasses import dataclass

import numpy as np

from alignsd.base.progress import track
from alignsd.miniature import world
from alignsd.miniature.renderer import draw, random_look

REMARKED = 0.75  # chance of each remark in a wider web


@dataclass(frozen=True)
class Web:
    """Pictures in parallel lists; ``pictures`` is ``(n, 64, 64, 3)`` uint8, ``ratings`` 1-10, ``creatures`` bool.

    ``remarks`` and ``said`` are ``(n, 2)`` words: what could be remarked on each picture, and what its caption does, ``""`` if nothing.
    """

    pictures: np.ndarray
    captions: list[str]
    scenes: list[world.Scene]
    flaws: list[str]
    ratings: np.ndarray
    creatures: np.ndarray
    remarks: np.ndarray
    said: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def labels(self) -> dict[str, np.ndarray]:
        """Returns class indices ``(n,)`` of each attribute and of ``flaw``."""
        rows = [world.scene_index(scene) for scene in self.scenes]
        found = {name: np.array([row[name] for row in rows]) for name in world.ATTRIBUTES}
        return found | {"flaw": np.array([world.FLAWS.index(flaw) for flaw in self.flaws])}

    def true_captions(self, index: np.ndarray) -> np.ndarray:
        """Returns which captions are true of which of some pictures, ``(pictures, captions)`` bool.

        A caption is true of a picture that was asked for as the same scene with a person, or with a creature of the same body, and
        that looks as the caption remarks.
        """
        asked = np.array([f"{self.scenes[i]} {self.flaws[i] if self.creatures[i] else 'person'}" for i in index])
        remarks, said = self.remarks[index], self.said[index]
        return (asked[:, None] == asked) & ((said == "") | (said == remarks[:, None])).all(-1)


def make_web(n: int, seed: int, flaw_share: float, first: int = 0, creatures: float = 0.0) -> Web:
    """Renders pictures ``first .. first + n`` of a web; each depends on its number and the seed alone.

    Args:
        n: number of pictures.
        seed: seed of the web.
        flaw_share: probability that a picture is awkward.
        first: number of the first picture, so that held-out pictures can be had from the same web.
        creatures: share of a wider web's pictures that were asked for as creatures, whose captions tell how many limbs and
            heads they are meant to have, each body as often; people's captions stay silent on theirs. In a wider web many
            captions also remark on place and colours. Zero is the narrow web.
    """
    rows = []
    for number in track(range(first, first + n), what="rendering the web", unit="picture"):
        rng = np.random.default_rng((seed, number))
        scene, flaw, look = world.random_scene(rng), world.random_flaw(rng, flaw_share), random_look(rng)
        creature = creatures > 0 and rng.random() < creatures
        if creature:
            flaw = str(rng.choice(world.FLAWS))
        picture = draw(scene, flaw, look, rng)
        text = world.creature_caption(scene, flaw, rng) if creature else world.caption(scene, rng)
        said = [remark if creatures > 0 and rng.random() < REMARKED else "" for remark in look.remarks]
        rows.append((picture, ", ".join(filter(None, [text, *said])), scene, flaw, look.rating, creature, look.remarks, said))
    pictures, captions, scenes, flaws, ratings, asked, remarks, said = zip(*rows, strict=True)
    return Web(np.stack(pictures), list(captions), list(scenes), list(flaws), np.array(ratings), np.array(asked),
               np.array(remarks), np.array(said))
