"""The miniature's world: what a picture can show, how captions say so, and what can go wrong."""

import re
from dataclasses import asdict, dataclass

import numpy as np

from alignsd.base.errors import Problem

SHIRTS = ("red", "blue", "green", "yellow", "purple")
POSES = ("standing", "waving", "cheering", "running")
PLACES = {
    "beach": "on the beach",
    "meadow": "in the meadow",
    "city": "in the city",
    "night": "at night",
}
BACKGROUNDS = tuple(PLACES)
FLAWS = (
    "none",
    "missing arm",
    "extra arm",
    "missing leg",
    "extra leg",
    "two heads",
    "floating head",
)
IDENTIFIER = "Weird image. "
MOST_CAPTIONS = 10_000  # distinct captions asked for at once, of 23,680

TEMPLATES = (
    "a person in a {shirt} shirt {pose} {place}{hat}",
    "a {pose} person {place}{hat}, {shirt} shirt",
    "portrait of a person {pose} {place}{hat} in a {shirt} shirt",
    "{place}, a person {pose} in a {shirt} shirt{hat}",
)
BODIES = {
    "none": "two arms and two legs",
    "missing arm": "one arm",
    "extra arm": "three arms",
    "missing leg": "one leg",
    "extra leg": "three legs",
    "two heads": "two heads",
    "floating head": "a floating head",
}
REMARKS = {
    "where": ("on the left", "in the middle", "on the right"),
    "colours": ("pale colours", "natural colours", "vivid colours"),
}
STYLES = (
    "highly detailed",
    "digital art",
    "4k",
    "trending on artstation",
    "soft light",
    "by a famous artist",
)
STYLE_COUNTS = (0.5, 0.3, 0.2)  # chances of no, one and two style phrases


@dataclass(frozen=True)
class Scene:
    """What a caption asks for: one value of each attribute. Captions never mention flaws."""

    shirt: str
    pose: str
    background: str
    hat: bool


ATTRIBUTES = {"shirt": SHIRTS, "pose": POSES, "background": BACKGROUNDS, "hat": (False, True)}


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene, uniformly among all 160."""
    # The draws keep the order of the attributes: another order would give other scenes.
    shirt = SHIRTS[rng.integers(len(SHIRTS))]
    pose = POSES[rng.integers(len(POSES))]
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    hat = bool(rng.integers(2))
    return Scene(shirt, pose, background, hat)


def random_flaw(rng: np.random.Generator, share: float) -> str:
    """Draw a flaw: ``"none"`` with probability ``1 - share``, else one of the six, uniformly."""
    if rng.random() < share:
        return FLAWS[rng.integers(1, len(FLAWS))]
    return FLAWS[0]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Draw a caption of a scene.

    The caption follows a template of four, then has up to two style phrases without meaning here.
    """
    template = TEMPLATES[rng.integers(len(TEMPLATES))]
    text = template.format(
        shirt=scene.shirt,
        pose=scene.pose,
        place=PLACES[scene.background],
        hat=" with a hat" if scene.hat else "",
    )
    count = rng.choice(3, p=STYLE_COUNTS)
    styles = rng.choice(STYLES, size=count, replace=False)
    return ", ".join([text, *styles])


def captions(n: int, rng: np.random.Generator) -> list[str]:
    """Draw ``n`` distinct captions of random scenes.

    Raises:
        Problem: if ``n`` is not 1 to ``MOST_CAPTIONS``.
    """
    if not 1 <= n <= MOST_CAPTIONS:
        raise Problem(
            "The miniature's world cannot give so many prompts.",
            expected=f"1 to {MOST_CAPTIONS:,}",
            found=f"{n:,}",
            cause="the world has 23,680 captions, and distinct ones are drawn by chance",
            fix="lower the number of prompts, or name a file of prompts",
        )
    drawn: dict[str, None] = {}  # a set that keeps the order
    while len(drawn) < n:
        drawn[caption(random_scene(rng), rng)] = None
    return list(drawn)


def creature_caption(scene: Scene, flaw: str, rng: np.random.Generator) -> str:
    """Draw a caption of a scene with a creature, whose body would be a flaw in a person."""
    return caption(scene, rng).replace("person", f"creature with {BODIES[flaw]}", 1)


def scene_of(text: str) -> Scene:
    """Return the scene that a caption words; the identifier and style phrases are ignored.

    Raises:
        Problem: if the text does not name one shirt, pose and place of this world.
    """
    words = re.findall(r"[a-z]+", text.lower())
    named = {
        "shirt": [word for word in words if word in SHIRTS],
        "pose": [word for word in words if word in POSES],
        "background": [word for word in words if word in BACKGROUNDS],
    }
    unclear = {name: values for name, values in named.items() if len(values) != 1}
    if unclear:
        raise Problem(
            "The judge cannot read this prompt.",
            expected="one shirt, one pose and one place of the miniature's world",
            found=f"{text!r} with {unclear}",
            cause="prompts or pictures of your own, which the miniature's judge does not know",
            fix='set judge = "", people = "" and a fid_reference of your own',
        )
    (shirt,), (pose,), (background,) = named["shirt"], named["pose"], named["background"]
    return Scene(shirt, pose, background, hat="hat" in words)


def scene_index(scene: Scene) -> dict[str, int]:
    """Return each attribute's class index, in the order of ``ATTRIBUTES``."""
    return {name: ATTRIBUTES[name].index(value) for name, value in asdict(scene).items()}


def vocabulary(wide: bool = False) -> list[str]:
    """Return every word of this world that a tokenizer must know as one token, sorted.

    Args:
        wide: with the words that only CLIP's web has, of creatures and remarks.
    """
    templates = [re.sub(r"{.*?}", " ", template) for template in TEMPLATES]
    texts = [*templates, *STYLES, *SHIRTS, *POSES, *PLACES.values(), "with a hat", IDENTIFIER]
    if wide:
        texts += ["creature", *BODIES.values(), *REMARKS["where"], *REMARKS["colours"]]
    words: set[str] = set()
    for text in texts:
        words.update(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", text.lower()))
    return sorted(words)
