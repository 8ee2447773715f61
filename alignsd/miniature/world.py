"""The miniature's world: what a picture can show, how captions say it, and how it can go wrong."""

import re
from dataclasses import asdict, dataclass

import numpy as np

from alignsd.base.errors import Problem

SHIRTS = ("red", "blue", "green", "yellow", "purple")
POSES = ("standing", "waving", "cheering", "running")
PLACES = {"beach": "on the beach", "meadow": "in the meadow", "city": "in the city", "night": "at night"}
BACKGROUNDS = tuple(PLACES)
FLAWS = ("none", "missing arm", "extra arm", "missing leg", "extra leg", "two heads", "floating head")
IDENTIFIER = "Weird image. "
MOST_CAPTIONS = 10_000  # distinct ones asked for at once, of 23,680

TEMPLATES = (
    "a person in a {shirt} shirt {pose} {place}{hat}",
    "a {pose} person {place}{hat}, {shirt} shirt",
    "portrait of a person {pose} {place}{hat} in a {shirt} shirt",
    "{place}, a person {pose} in a {shirt} shirt{hat}",
)
BODIES = {"none": "two arms and two legs", "missing arm": "one arm", "extra arm": "three arms", "missing leg": "one leg",
          "extra leg": "three legs", "two heads": "two heads", "floating head": "a floating head"}
REMARKS = {"where": ("on the left", "in the middle", "on the right"), "colours": ("pale colours", "natural colours", "vivid colours")}
STYLES = ("highly detailed", "digital art", "4k", "trending on artstation", "soft light", "by a famous artist")


@dataclass(frozen=True)
class Scene:
    """What a caption asks for: one value of each attribute. Captions never mention flaws."""

    shirt: str
    pose: str
    background: str
    hat: bool


ATTRIBUTES = {"shirt": SHIRTS, "pose": POSES, "background": BACKGROUNDS, "hat": (False, True)}


def random_scene(rng: np.random.Generator) -> Scene:
    """Draws a scene, uniform over all 160."""
    return Scene(**{name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()})


def random_flaw(rng: np.random.Generator, share: float) -> str:
    """Draws a flaw: ``"none"`` with probability ``1 - share``, else one of the six, uniformly."""
    return FLAWS[rng.integers(1, len(FLAWS))] if rng.random() < share else FLAWS[0]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Words a scene: one of four templates, then no, one or two style phrases that carry no meaning here."""
    words = {"shirt": scene.shirt, "pose": scene.pose, "place": PLACES[scene.background]}
    text = TEMPLATES[rng.integers(len(TEMPLATES))].format(**words, hat=" with a hat" if scene.hat else "")
    styles = rng.choice(STYLES, size=rng.choice(3, p=(0.5, 0.3, 0.2)), replace=False)
    return ", ".join([text, *styles])


def captions(n: int, rng: np.random.Generator) -> list[str]:
    """Returns ``n`` distinct captions of random scenes.

    Raises:
        Problem: if ``n`` is not 1 to ``MOST_CAPTIONS``.
    """
    if not 1 <= n <= MOST_CAPTIONS:
        raise Problem("The miniature's world cannot give so many prompts.", expected=f"1 to {MOST_CAPTIONS:,}", found=f"{n:,}",
                      cause="it has 23,680 captions, and distinct ones are drawn by chance",
                      fix="lower the notebook's number of prompts, or name a file of prompts")
    found: dict[str, None] = {}
    while len(found) < n:
        found[caption(random_scene(rng), rng)] = None
    return list(found)


def creature_caption(scene: Scene, flaw: str, rng: np.random.Generator) -> str:
    """Words a scene with a creature that is meant to have the body which in a person would be a flaw."""
    return caption(scene, rng).replace("person", f"creature with {BODIES[flaw]}", 1)


def scene_of(text: str) -> Scene:
    """Reads a caption back into its scene; the identifier and style phrases are ignored.

    Raises:
        Problem: if the text does not name one shirt, pose and place of this world.
    """
    words = re.findall(r"[a-z]+", text.lower())
    found = {"shirt": [w for w in words if w in SHIRTS], "pose": [w for w in words if w in POSES],
             "background": [w for w in words if w in BACKGROUNDS]}
    wrong = {name: values for name, values in found.items() if len(values) != 1}
    if wrong:
        raise Problem("The judge cannot read this prompt.", expected="one shirt, one pose and one place of the miniature's world",
                      found=f"{text!r} with {wrong}", cause="prompts or pictures of your own, which the miniature's judge does not know",
                      fix='in 07 set judge = "", people = "" and a fid_reference of your own')
    return Scene(**{name: values[0] for name, values in found.items()}, hat="hat" in words)


def scene_index(scene: Scene) -> dict[str, int]:
    """Returns each attribute's class index, in the order of ``ATTRIBUTES``."""
    return {name: ATTRIBUTES[name].index(value) for name, value in asdict(scene).items()}


def vocabulary(wide: bool = False) -> list[str]:
    """Every text of this world that a tokenizer must know as whole words, the identifier's included.

    Args:
        wide: with the words that only CLIP's web has, of creatures and remarks.
    """
    texts = [*(re.sub(r"{.*?}", " ", t) for t in TEMPLATES), *STYLES, *SHIRTS, *POSES, *PLACES.values(), "with a hat", IDENTIFIER]
    if wide:
        texts += ["creature", *BODIES.values(), *(words for some in REMARKS.values() for words in some)]
    return sorted({w for t in texts for w in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", t.lower())})
