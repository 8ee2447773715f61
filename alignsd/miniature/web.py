"""The miniature's "web": captioned pictures with ratings, some of the pictures awkward.

The miniature's models are pretrained on this web.
"""

from dataclasses import dataclass

import numpy as np

from alignsd.base.progress import track
from alignsd.miniature import world
from alignsd.miniature.renderer import Look, draw, random_look

WEB_SEED = 20230825  # of the web from which the shipped models learned
# Share of the web's pictures that are awkward. Guidance prefers the clean mode, so the web errs
# more often than the model should.
FLAW_SHARE = 0.6
REMARKED = 0.75  # chance of each remark in a wider web


@dataclass(frozen=True)
class Web:
    """``n`` pictures of the web, in parallel lists.

    Attributes:
        pictures: ``(n, 64, 64, 3)`` uint8.
        captions: what was asked for.
        scenes: the scenes that the captions word.
        flaws: names of the flaws, see ``world.FLAWS``.
        ratings: ``(n,)``, 1-10.
        creatures: ``(n,)`` bool, whether a creature was asked for.
        remarks: ``(n, 2)`` text, what could be remarked on each picture.
        said: ``(n, 2)`` text, what the caption remarks; ``""`` if nothing.
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
        """Return class indices ``(n,)`` of each attribute and of ``flaw``."""
        indices = [world.scene_index(scene) for scene in self.scenes]
        labels = {name: np.array([index[name] for index in indices]) for name in world.ATTRIBUTES}
        labels["flaw"] = np.array([world.FLAWS.index(flaw) for flaw in self.flaws])
        return labels

    def true_captions(self, index: np.ndarray) -> np.ndarray:
        """Return which captions are true of which pictures.

        A caption is true of a picture that was asked for as the same scene with a person, or with a
        creature of the same body, and that looks as the caption remarks.

        Args:
            index: ``(k,)``, the pictures.

        Returns:
            ``(k, k)`` bool: pictures, captions.
        """
        asked = np.array([self._asked_for(i) for i in index])
        remarks, said = self.remarks[index], self.said[index]
        same_request = asked[:, None] == asked
        fits = (said == "") | (said == remarks[:, None])
        return same_request & fits.all(axis=-1)

    def _asked_for(self, i: int) -> str:
        body = self.flaws[i] if self.creatures[i] else "person"
        return f"{self.scenes[i]} {body}"


@dataclass(frozen=True)
class _Page:
    """One picture of the web with all that is known about it, see ``Web``."""

    picture: np.ndarray
    caption: str
    scene: world.Scene
    flaw: str
    look: Look
    is_creature: bool
    said: list[str]


def make_web(n: int, seed: int, flaw_share: float, first: int = 0, creatures: float = 0.0) -> Web:
    """Render the pictures ``first``, ..., ``first + n - 1`` of a web.

    Each picture depends on the picture's number and the seed alone.

    Args:
        n: number of pictures.
        seed: seed of the web.
        flaw_share: probability that a picture is awkward.
        first: number of the first picture, so that held-out pictures come from the same web.
        creatures: share of a wider web's pictures that were asked for as creatures. A creature's
            caption tells how many limbs and heads are meant, each body as often; people's captions
            stay silent. In a wider web many captions also remark on place and colours. Zero is the
            narrow web.
    """
    pages = []
    for number in track(range(first, first + n), what="rendering the web", unit="picture"):
        rng = np.random.default_rng((seed, number))
        pages.append(_make_page(rng, flaw_share, creatures))
    return Web(
        pictures=np.stack([page.picture for page in pages]),
        captions=[page.caption for page in pages],
        scenes=[page.scene for page in pages],
        flaws=[page.flaw for page in pages],
        ratings=np.array([page.look.rating for page in pages]),
        creatures=np.array([page.is_creature for page in pages]),
        remarks=np.array([page.look.remarks for page in pages]),
        said=np.array([page.said for page in pages]),
    )


def _make_page(rng: np.random.Generator, flaw_share: float, creatures: float) -> _Page:
    # The draws keep their order: another order would give another web for the same seed.
    scene = world.random_scene(rng)
    flaw = world.random_flaw(rng, flaw_share)
    look = random_look(rng)
    is_wide = creatures > 0
    is_creature = is_wide and rng.random() < creatures
    if is_creature:
        flaw = str(rng.choice(world.FLAWS))
    picture = draw(scene, flaw, look, rng)
    if is_creature:
        text = world.creature_caption(scene, flaw, rng)
    else:
        text = world.caption(scene, rng)
    said = []
    for remark in look.remarks:
        is_said = is_wide and rng.random() < REMARKED
        said.append(remark if is_said else "")
    caption = ", ".join([text, *(remark for remark in said if remark)])
    return _Page(picture, caption, scene, flaw, look, is_creature, said)
