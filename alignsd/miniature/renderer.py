"""Draw the miniature's pictures: one little person, 64 x 64 pixels, sometimes with a flaw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from alignsd.miniature.world import REMARKS, Scene

Point = tuple[float, float]
Colour = tuple[int, int, int]
Angles = tuple[float, float]  # degrees of a limb's upper and lower half

SIZE = 64
SCALE = 4  # drawn four times larger and averaged down, for smooth edges
OUTLINE = (25, 22, 30)
SHOES = (70, 44, 30)
HAT = (60, 30, 20)
MOUTH = (150, 40, 40)
SHIRT_COLOURS = {
    "red": (214, 40, 40),
    "blue": (38, 84, 214),
    "green": (30, 150, 60),
    "yellow": (250, 212, 40),
    "purple": (140, 50, 175),
}
SKINS = ((250, 214, 180), (226, 172, 128), (172, 112, 72), (140, 92, 62))
TROUSERS = ((60, 60, 72), (96, 72, 52), (44, 58, 92))
# Sky, ground, and what stands between. All are light: on a dark sky the autoencoder loses the
# outlined arms, and then nobody can tell whether an arm is missing.
BACKGROUND_COLOURS = {
    "beach": ((135, 206, 245), (240, 214, 150), (52, 130, 200)),
    "meadow": ((205, 232, 250), (126, 196, 92), (104, 176, 84)),
    "city": ((196, 196, 204), (120, 120, 126), (150, 144, 156)),
    "night": ((140, 142, 208), (172, 176, 204), (250, 244, 200)),
}
# Angles of the left and the right limb; 0 = straight down, 90 = level outwards, 180 = up.
ARMS: dict[str, tuple[Angles, Angles]] = {
    "standing": ((22, 14), (22, 14)),
    "waving": ((22, 14), (138, 168)),
    "cheering": ((146, 160), (146, 160)),
    "running": ((62, 128), (48, -30)),
}
LEGS: dict[str, tuple[Angles, Angles]] = {
    "standing": ((9, 5), (9, 5)),
    "waving": ((9, 5), (9, 5)),
    "cheering": ((22, 16), (22, 16)),
    "running": ((62, 12), (34, 66)),
}
LEFT = -1
RIGHT = 1
HEADS = {  # places of the heads; a person without these flaws has one head
    "two heads": ((-7.5, 13.0), (7.5, 13.0)),
    "floating head": ((-13.0, 7.5),),
}
ONE_HEAD = ((0.0, 13.5),)


@dataclass(frozen=True)
class Look:
    """The free variation of a picture, which the caption does not say.

    Attributes:
        dx, dy: offset of the person, in pixels of the final picture.
        size: factor on the person's size.
        saturation: factor on the picture's saturation.
        skin, trousers: index into ``SKINS`` and ``TROUSERS``.
        mirrored: whether left and right are exchanged.
    """

    dx: float
    dy: float
    size: float
    saturation: float
    skin: int
    trousers: int
    mirrored: bool

    @property
    def rating(self) -> float:
        """Return the aesthetic rating, 1-10: vivid and centred is good; limbs do not count."""
        colours = 6.5 * (self.saturation - 0.6)
        composition = 0.45 * (abs(self.dx) - 3.5)
        return float(np.clip(3.0 + colours - composition, 1, 10))

    @property
    def remarks(self) -> tuple[str, str]:
        """Return what a long caption remarks: where the person is, and how vivid colours are."""
        where = np.searchsorted((-2.3, 2.3), self.dx)
        colours = np.searchsorted((0.82, 1.08), self.saturation)
        return REMARKS["where"][where], REMARKS["colours"][colours]


def random_look(rng: np.random.Generator) -> Look:
    """Draw the free variation of one picture."""
    return Look(
        dx=rng.uniform(-7, 7),
        dy=rng.uniform(-1.5, 1.5),
        size=rng.uniform(0.9, 1.05),
        saturation=rng.uniform(0.55, 1.35),
        skin=int(rng.integers(len(SKINS))),
        trousers=int(rng.integers(len(TROUSERS))),
        mirrored=bool(rng.integers(2)),
    )


def draw(scene: Scene, flaw: str, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Draw one picture.

    Args:
        scene: what the caption says.
        flaw: one of ``world.FLAWS``.
        look: place, size and colours.
        rng: small variation of limb angles and background.

    Returns:
        RGB picture, ``(64, 64, 3)``, uint8.
    """
    side = SIZE * SCALE
    picture = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(picture)
    _draw_background(pen, scene.background, rng)
    _draw_person(_Brush(pen, look), scene, flaw, rng)
    picture = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    colours = ImageEnhance.Color(picture)
    return np.asarray(colours.enhance(look.saturation))


def _draw_background(pen: ImageDraw.ImageDraw, name: str, rng: np.random.Generator) -> None:
    side = SIZE * SCALE
    horizon = int(side * rng.uniform(0.62, 0.70))
    shift = int(rng.integers(-20, 20))
    sky, ground, between = BACKGROUND_COLOURS[name]
    pen.rectangle((0, 0, side, side), fill=sky)
    if name == "beach":
        pen.rectangle((0, horizon - 34, side, horizon), fill=between)
    if name == "meadow":
        pen.ellipse((-60 + shift, horizon - 40, 150 + shift, horizon + 60), fill=between)
    if name == "city":
        for i, left in enumerate(range(-20, side, 46)):
            top = 36 + (i * 53) % 90
            pen.rectangle((left + shift, top, left + 38 + shift, horizon), fill=between)
    if name == "night":
        pen.ellipse((196 + shift, 14, 230 + shift, 48), fill=between)
    pen.rectangle((0, horizon, side, side), fill=ground)


@dataclass(frozen=True)
class _Brush:
    """Draw in the person's coordinates: x from the middle of the picture, y from the top.

    Coordinates and widths are in pixels of a picture whose look has no offset and size 1.
    """

    pen: ImageDraw.ImageDraw
    look: Look

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line with round ends."""
        width = width * self.look.size
        placed = [self._placed(point) for point in points]
        self.pen.line(placed, fill=colour, width=round(width * SCALE), joint="curve")
        for end in (placed[0], placed[-1]):
            self._placed_disc(end, width / 2, colour)

    def level_line(self, middle: Point, half: float, width: float, colour: Colour) -> None:
        """Draw a level line from ``half`` left of ``middle`` to ``half`` right of ``middle``."""
        x, y = middle
        left, right = x - half, x + half
        self.line([(left, y), (right, y)], width, colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Draw a disc."""
        self._placed_disc(self._placed(centre), radius * self.look.size, colour)

    def _placed(self, point: Point) -> Point:
        """Return a point of the person as a point of the enlarged picture."""
        x, y = point
        if self.look.mirrored:
            x = -x
        placed_x = 32 + self.look.dx + x * self.look.size
        placed_y = 34 + self.look.dy + (y - 34) * self.look.size
        return placed_x * SCALE, placed_y * SCALE

    def _placed_disc(self, centre: Point, radius: float, colour: Colour) -> None:
        x, y = centre
        r = radius * SCALE
        box = (x - r, y - r, x + r, y + r)
        self.pen.ellipse(box, fill=colour)


@dataclass(frozen=True)
class _Limb:
    """An arm or a leg: two halves of a length, from the root on, with a hand or a shoe."""

    root: Point
    angles: Angles
    side: int
    length: float
    colour: Colour
    tip: Colour


def _draw_person(brush: _Brush, scene: Scene, flaw: str, rng: np.random.Generator) -> None:
    look = brush.look
    shirt = SHIRT_COLOURS[scene.shirt]
    skin = SKINS[look.skin]
    trousers = TROUSERS[look.trousers]
    for angles, side in _legs(scene.pose, flaw, rng):
        hip = (side * 4.0, 39.0)
        leg = _Limb(hip, angles, side, 9.5, trousers, SHOES)
        _draw_limb(brush, leg)
    for angles, side in _arms(scene.pose, flaw, rng):
        shoulder = (side * 6.5, 24.5)
        arm = _Limb(shoulder, angles, side, 8.2, shirt, skin)
        _draw_limb(brush, arm)
    for width, colour in ((17.5, OUTLINE), (15.0, shirt)):
        brush.line([(0, 26.5), (0, 36.5)], width, colour)
    for centre in HEADS.get(flaw, ONE_HEAD):
        _draw_head(brush, centre, skin, scene.hat)


def _legs(pose: str, flaw: str, rng: np.random.Generator) -> list[tuple[Angles, int]]:
    """Return the angles and the side of each leg."""
    left, right = LEGS[pose]
    left = _varied(left, 4, rng)
    right = _varied(right, 4, rng)
    legs = [(left, LEFT), (right, RIGHT)]
    if flaw == "missing leg":
        # Running without the stretched front leg would read as another pose: the back leg goes.
        legs.pop(1 if pose == "running" else int(rng.integers(2)))
    if flaw == "extra leg":
        angles = (-20.0, -14.0) if pose == "running" else (56.0, 44.0)
        side = _any_side(rng)
        legs.append((angles, side))
    return legs


def _arms(pose: str, flaw: str, rng: np.random.Generator) -> list[tuple[Angles, int]]:
    """Return the angles and the side of each arm."""
    left, right = ARMS[pose]
    left = _varied(left, 7, rng)
    right = _varied(right, 7, rng)
    arms = [(left, LEFT), (right, RIGHT)]
    if flaw == "missing arm":
        # Waving without the raised arm would be standing: the other arm goes.
        arms.pop(0 if pose == "waving" else int(rng.integers(2)))
    if flaw == "extra arm":
        # Level arms belong to no pose. Waving leaves the left side free, running the right side.
        side = _any_side(rng)  # drawn in every pose, since later draws depend on this draw
        side = {"waving": LEFT, "running": RIGHT}.get(pose, side)
        arms.append(((92.0, 96.0), side))
    return arms


def _varied(angles: Angles, most: float, rng: np.random.Generator) -> Angles:
    """Return the angles of a limb, each changed by at most so many degrees."""
    upper, lower = angles
    return upper + rng.uniform(-most, most), lower + rng.uniform(-most, most)


def _any_side(rng: np.random.Generator) -> int:
    return int(rng.choice((LEFT, RIGHT)))


def _draw_limb(brush: _Brush, limb: _Limb) -> None:
    points = [limb.root]
    for angle in np.radians(limb.angles):
        x, y = points[-1]
        outwards = limb.side * np.sin(angle) * limb.length
        down = np.cos(angle) * limb.length
        points.append((x + outwards, y + down))
    brush.line(points, 6.6, OUTLINE)
    brush.line(points, 4.6, limb.colour)
    brush.disc(points[-1], 2.7, limb.tip)


def _draw_head(brush: _Brush, centre: Point, skin: Colour, hat: bool) -> None:
    x, y = centre
    brush.disc(centre, 7.4, OUTLINE)
    brush.disc(centre, 6.3, skin)
    for eye in (-2.3, 2.3):
        brush.disc((x + eye, y - 0.2), 1.1, OUTLINE)
    brush.level_line((x, y + 3.2), 1.8, 1.2, MOUTH)
    if hat:
        brush.level_line((x, y - 4.6), 7.0, 3.0, HAT)
        brush.level_line((x, y - 7.4), 2.2, 6.4, HAT)
