"""Draws the miniature's pictures: one little person, 64 x 64 pixels, sometimes with a flaw."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from alignsd.miniature.world import REMARKS, Scene

SIZE = 64
SCALE = 4  # drawn four times larger and averaged down, for smooth edges
OUTLINE = (25, 22, 30)
SHIRT_COLOURS = {"red": (214, 40, 40), "blue": (38, 84, 214), "green": (30, 150, 60), "yellow": (250, 212, 40),
                 "purple": (140, 50, 175)}
SKINS = ((250, 214, 180), (226, 172, 128), (172, 112, 72), (140, 92, 62))
TROUSERS = ((60, 60, 72), (96, 72, 52), (44, 58, 92))
# Sky, ground, and what stands between. All light: on a dark sky the autoencoder loses the outlined arms, and then nobody can tell
# whether one is missing.
BACKGROUND_COLOURS = {"beach": ((135, 206, 245), (240, 214, 150), (52, 130, 200)),
                      "meadow": ((205, 232, 250), (126, 196, 92), (104, 176, 84)),
                      "city": ((196, 196, 204), (120, 120, 126), (150, 144, 156)),
                      "night": ((140, 142, 208), (172, 176, 204), (250, 244, 200))}
# Limb angles in degrees, 0 = straight down, 90 = level outwards, 180 = up: (upper, lower) for left and right.
ARMS = {"standing": ((22, 14), (22, 14)), "waving": ((22, 14), (138, 168)), "cheering": ((146, 160), (146, 160)),
        "running": ((62, 128), (48, -30))}
LEGS = {"standing": ((9, 5), (9, 5)), "waving": ((9, 5), (9, 5)), "cheering": ((22, 16), (22, 16)),
        "running": ((62, 12), (34, 66))}


@dataclass(frozen=True)
class Look:
    """The free variation of a picture, which the caption does not say. Offsets in pixels of the final picture."""

    dx: float
    dy: float
    size: float
    saturation: float
    skin: int
    trousers: int
    mirrored: bool

    @property
    def rating(self) -> float:
        """The aesthetic rating of composition and colour, 1-10: vivid and centred is good; limbs do not count."""
        return float(np.clip(3.0 + 6.5 * (self.saturation - 0.6) - 0.45 * (abs(self.dx) - 3.5), 1, 10))

    @property
    def remarks(self) -> tuple[str, str]:
        """What a caption of many words says of it: where the person is, and how vivid the colours are."""
        where, colours = np.searchsorted((-2.3, 2.3), self.dx), np.searchsorted((0.82, 1.08), self.saturation)
        return REMARKS["where"][where], REMARKS["colours"][colours]


def random_look(rng: np.random.Generator) -> Look:
    """Draws the free variation of one picture."""
    return Look(dx=rng.uniform(-7, 7), dy=rng.uniform(-1.5, 1.5), size=rng.uniform(0.9, 1.05),
                saturation=rng.uniform(0.55, 1.35), skin=int(rng.integers(len(SKINS))),
                trousers=int(rng.integers(len(TROUSERS))), mirrored=bool(rng.integers(2)))


def draw(scene: Scene, flaw: str, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Draws one picture.

    Args:
        scene: what the caption says.
        flaw: one of ``world.FLAWS``.
        look: place, size and colour.
        rng: small variation of limb angles and background.

    Returns:
        RGB picture, ``(64, 64, 3)``, uint8.
    """
    picture = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE))
    pen = ImageDraw.Draw(picture)
    _background(pen, scene.background, rng)
    _person(pen, scene, flaw, look, rng)
    picture = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(ImageEnhance.Color(picture).enhance(look.saturation))


def _background(pen: ImageDraw.ImageDraw, name: str, rng: np.random.Generator) -> None:
    side = SIZE * SCALE
    horizon = int(side * rng.uniform(0.62, 0.70))
    sky, ground, between = BACKGROUND_COLOURS[name]
    pen.rectangle((0, 0, side, side), fill=sky)
    shift = rng.integers(-20, 20)
    if name == "beach":
        pen.rectangle((0, horizon - 34, side, horizon), fill=between)
    if name == "meadow":
        pen.ellipse((-60 + shift, horizon - 40, 150 + shift, horizon + 60), fill=between)
    if name == "city":
        for i, x in enumerate(range(-20, side, 46)):
            pen.rectangle((x + shift, 36 + (i * 53) % 90, x + 38 + shift, horizon), fill=between)
    if name == "night":
        pen.ellipse((196 + shift, 14, 230 + shift, 48), fill=between)
    pen.rectangle((0, horizon, side, side), fill=ground)


def _person(pen: ImageDraw.ImageDraw, scene: Scene, flaw: str, look: Look, rng: np.random.Generator) -> None:
    place = _placer(look)
    shirt, skin, trousers = SHIRT_COLOURS[scene.shirt], SKINS[look.skin], TROUSERS[look.trousers]
    for angles, side in _legs(scene.pose, flaw, rng):
        _limb(pen, place, look, (side * 4.0, 39.0), angles, side, 9.5, trousers, (70, 44, 30))
    for angles, side in _arms(scene.pose, flaw, rng):
        _limb(pen, place, look, (side * 6.5, 24.5), angles, side, 8.2, shirt, skin)
    for width, colour in ((17.5, OUTLINE), (15.0, shirt)):
        _line(pen, [place(0, 26.5), place(0, 36.5)], width * look.size, colour)
    for x, y in {"two heads": ((-7.5, 13.0), (7.5, 13.0)), "floating head": ((-13.0, 7.5),)}.get(flaw, ((0.0, 13.5),)):
        _head(pen, place, look, x, y, skin, scene.hat)


def _placer(look: Look):
    def place(x: float, y: float) -> tuple[float, float]:
        x = -x if look.mirrored else x
        return ((32 + look.dx + x * look.size) * SCALE, (34 + look.dy + (y - 34) * look.size) * SCALE)
    return place


def _legs(pose: str, flaw: str, rng: np.random.Generator) -> list[tuple[tuple[float, float], int]]:
    left, right = (tuple(a + rng.uniform(-4, 4) for a in pair) for pair in LEGS[pose])
    legs = [(left, -1), (right, 1)]
    if flaw == "missing leg":
        # Running without its stretched front leg would read as another pose, so there the back leg goes.
        legs.pop(1 if pose == "running" else int(rng.integers(2)))
    if flaw == "extra leg":
        legs.append(((-20.0, -14.0) if pose == "running" else (56.0, 44.0), int(rng.choice((-1, 1)))))
    return legs


def _arms(pose: str, flaw: str, rng: np.random.Generator) -> list[tuple[tuple[float, float], int]]:
    left, right = (tuple(a + rng.uniform(-7, 7) for a in pair) for pair in ARMS[pose])
    arms = [(left, -1), (right, 1)]
    if flaw == "missing arm":
        # Waving keeps its raised arm, without which it would be standing.
        arms.pop(0 if pose == "waving" else int(rng.integers(2)))
    if flaw == "extra arm":
        # Level arms belong to no pose; running has its right side free.
        arms.append(((92.0, 96.0), {"waving": -1, "running": 1}.get(pose, int(rng.choice((-1, 1))))))
    return arms


def _limb(pen, place, look: Look, root, angles, side: int, length: float, colour, tip_colour) -> None:
    points = [root]
    for angle in np.radians(angles):
        x, y = points[-1]
        points.append((x + side * np.sin(angle) * length, y + np.cos(angle) * length))
    points = [place(*p) for p in points]
    _line(pen, points, 6.6 * look.size, OUTLINE)
    _line(pen, points, 4.6 * look.size, colour)
    _disc(pen, points[-1], 2.7 * look.size, tip_colour)


def _head(pen, place, look: Look, x: float, y: float, skin, hat: bool) -> None:
    _disc(pen, place(x, y), 7.4 * look.size, OUTLINE)
    _disc(pen, place(x, y), 6.3 * look.size, skin)
    for eye in (-2.3, 2.3):
        _disc(pen, place(x + eye, y - 0.2), 1.1 * look.size, OUTLINE)
    _line(pen, [place(x - 1.8, y + 3.2), place(x + 1.8, y + 3.2)], 1.2 * look.size, (150, 40, 40))
    if hat:
        _line(pen, [place(x - 7.0, y - 4.6), place(x + 7.0, y - 4.6)], 3.0 * look.size, (60, 30, 20))
        _line(pen, [place(x - 2.2, y - 7.4), place(x + 2.2, y - 7.4)], 6.4 * look.size, (60, 30, 20))


def _line(pen, points, width: float, colour) -> None:
    pen.line(points, fill=colour, width=round(width * SCALE), joint="curve")
    for point in (points[0], points[-1]):
        _disc(pen, point, width / 2, colour)


def _disc(pen, centre, radius: float, colour) -> None:
    (x, y), r = centre, radius * SCALE
    pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
