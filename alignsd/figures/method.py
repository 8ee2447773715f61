"""The method as a drawing: how HPS is trained, and how Stable Diffusion is adapted with HPS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from alignsd.base.errors import Problem
from alignsd.base.plotting.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from alignsd.figures import alt
from alignsd.figures.style import DARK_GREY, Look
from alignsd.figures.text import drawable, shortened

LINE = 1.55  # distance between two rows of boxes
GAP = 0.465, 0.535  # where an arrow between two boxes begins and ends; boxes are 1 apart
LONGEST_IDENTIFIER = 18  # characters; a longer text does not fit into a box
TRAINING = "1. Train the Human Preference Score (HPS)"
SELECTION = "2. Select what people prefer"
ADAPTATION = "3. Adapt Stable Diffusion"
Point = tuple[float, float]

# The opening drawing, in inches.
PAGE = 9.5, 2.6
WIDTH, HEIGHT, FLOOR = 1.0, 1.3, 0.62  # of a box, and the height at which a box stands
FIRST_LEFT, PACE = 0.125, 1.178  # where the first box begins; from one box to the next
PALE = "#C9C9C9"


class Box(NamedTuple):
    """A box of the drawing: the text, and the colour of the edge."""

    text: str
    colour: str


Steps = dict[str, list[Box]]


def steps(image_groups: int, text_layers: int, alpha: float, identifier: str) -> Steps:
    """Return the method's three steps with this run's settings: title -> boxes, left to right.

    Args:
        image_groups, text_layers: what is trained of CLIP, counted from the end.
        alpha: the threshold of the selection.
        identifier: the text in front of the negatives' captions.
    """
    words = drawable(identifier)
    if len(words) > LONGEST_IDENTIFIER:
        words = shortened(words, LONGEST_IDENTIFIER)
    quoted = f'"{words}"'
    trained = f"CLIP; the last {image_groups}\nimage groups and {text_layers}\ntext layers learn"
    training = [
        Box("prompt and\n2-4 images", GREY),
        Box(trained, BLUE),
        Box("scale × cosine\nof each image", BLUE),
        Box("softmax over\nthe images", BLUE),
        Box("cross-entropy with\nthe person's choice", ORANGE),
    ]
    selection = [
        Box("DiffusionDB:\nimages by prompt", GREY),
        Box("HPS of\neach image", BLUE),
        Box(f"softmax > {alpha:g} / n\nwithin a prompt", BLUE),
        Box("best image:\nits prompt", GREEN),
        Box(f"worst image:\n{quoted}\n+ its prompt", VERMILLION),
    ]
    adaptation = [
        Box("best, worst, and\nregularization\nimages", GREY),
        Box("LoRA on the\nUNet's attention", BLUE),
        Box("adapted\nStable Diffusion", BLUE),
        Box(f"negative prompt:\n{quoted}", VERMILLION),
        Box("better images", GREEN),
    ]
    return {TRAINING: training, SELECTION: selection, ADAPTATION: adaptation}


def scheme(ax: Axes, steps: Steps) -> Axes:
    """Draw the paper's method as three rows of boxes, with arrows where the work flows.

    Args:
        ax: where to draw; about 9.5 x 4.6 inches.
        steps: from ``steps``.
    """
    for line, (title, boxes) in enumerate(steps.items()):
        y = -LINE * line
        ax.text(-0.42, y + 0.5, title, ha="left", va="bottom", weight="bold")
        _row_of_boxes(ax, boxes, y)
        # The selection's two outcomes stand side by side, without an arrow.
        arrows = len(boxes) - 2 if title == SELECTION else len(boxes) - 1
        for x in range(arrows):
            _arrow(ax, [(x + GAP[0], y), (x + GAP[1], y)])
    ax.text(3.47, -LINE, "and", ha="center", va="center", fontsize=9)
    _arrows_between_rows(ax)
    ax.set(xlim=(-0.52, 4.5), ylim=(-2 * LINE - 0.45, 0.8))
    ax.axis("off")
    rows = [f"{title}: {_in_words(boxes)}." for title, boxes in steps.items()]
    description = f"Drawing of the method in three rows of boxes. {' '.join(rows)}"
    alt.describe(ax, description)
    return ax


def _in_words(boxes: Sequence[Box]) -> str:
    return ", ".join(" ".join(box.text.split()) for box in boxes)


def _row_of_boxes(ax: Axes, boxes: Sequence[Box], y: float) -> None:
    look: Look = {"boxstyle": "round,pad=0.4", "facecolor": "white", "linewidth": 2}
    for x, box in enumerate(boxes):
        ax.text(
            x,
            y,
            box.text,
            ha="center",
            va="center",
            fontsize=9,
            color=BLACK,
            parse_math=False,
            bbox={**look, "edgecolor": box.colour},
        )


def _arrows_between_rows(ax: Axes) -> None:
    """Draw what goes from the training to the selection, and from there to the adaptation."""
    below_first = -0.62 * LINE
    below_second = -LINE - 0.58
    score = [(2, -0.3), (2, below_first), (1, below_first), (1, -LINE + 0.3)]
    images = [
        (3.47, -LINE - 0.12),
        (3.47, below_second),
        (-0.5, below_second),
        (-0.5, -2 * LINE),
        (-0.33, -2 * LINE),
    ]
    _arrow(ax, score, BLUE)
    _words_on(ax, score, BLUE, "the trained HPS")
    _arrow(ax, images)
    _words_on(ax, images, BLACK, "training images with their captions")


def _arrow(ax: Axes, points: Sequence[Point], colour: str = BLACK) -> None:
    """Draw an arrow through some points."""
    x = [point[0] for point in points[:-1]]
    y = [point[1] for point in points[:-1]]
    ax.plot(x, y, color=colour, lw=1.4, solid_joinstyle="miter")
    head: Look = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", points[-1], points[-2], arrowprops=head)


def _words_on(ax: Axes, points: Sequence[Point], colour: str, words: str) -> None:
    """Write words on the second stretch of an arrow."""
    (left, y), (right, _) = points[1], points[2]
    look: Look = {"fontsize": 8.5, "color": colour, "backgroundcolor": "white"}
    ax.text((left + right) / 2, y, words, ha="center", va="center", **look)


Icon = Callable[[Axes, float, float, str], None]


@dataclass(frozen=True)
class Part:
    """A notebook in the opening drawing.

    Attributes:
        number: of the notebook, such as ``"02"``.
        words: what happens there; may be two lines.
        leaves: what later notebooks read.
        colour: of the part of the method.
        icon: draws a small picture around a point in a colour.
    """

    number: str
    words: str
    leaves: str
    colour: str
    icon: Icon


def opening(fig: Figure, present: str) -> Figure:
    """Draw the way through the method, from choices to the scorecard, without values of a run.

    Args:
        fig: where to draw; 9.5 x 2.6 inches.
        present: number of the notebook that is highlighted, ``"01"`` to ``"09"``; ``"00"`` shows
            all notebooks in colour.

    Raises:
        Problem: if there is no such notebook in the drawing.
    """
    parts = _parts()
    numbers = ["00", *(part.number for part in parts), "09"]
    if present not in numbers:
        raise Problem(
            f"The drawing of the method has no notebook {present!r}.",
            expected=", ".join(numbers),
            found=repr(present),
            cause="a number without its zero, or a notebook that is not part of the method",
            fix='method.opening(plt.figure(figsize=(9.5, 2.6)), "04")',
        )
    fig.set_layout_engine("none")  # the places below are inches of the whole figure
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, PAGE[0]), ylim=(0, PAGE[1]), aspect="equal")
    ax.axis("off")
    for index, part in enumerate(parts):
        _draw_part(ax, part, FIRST_LEFT + index * PACE, _strength(part.number, present))
    _headings(ax, present)
    _draw_playground(ax, _strength("09", present))
    steps = ", ".join(f"{part.number} {' '.join(part.words.split())}" for part in parts)
    description = f"Drawing of the way from choices to the scorecard: {steps}. We are at {present}."
    alt.describe(fig, description)
    return fig


def _parts() -> list[Part]:
    return [
        Part("01", "people\nchoose", "choices", BLUE, _pictures_with_choice),
        Part("02", "train\nthe score", "HPS", BLUE, _angle),
        Part("03", "score\na corpus", "scores", GREEN, _bars),
        Part("04", "select\nimages", "best, worst", GREEN, _threshold),
        Part("05", "adapt\nthe model", "LoRA", PURPLE, _low_rank),
        Part("06", "draw with\neach model", "images", ORANGE, _pictures),
        Part("07", "measure,\nask people", "numbers", ORANGE, _intervals),
        Part("08", "figures,\nclaims", "scorecard", ORANGE, _list),
    ]


def _strength(number: str, present: str) -> str:
    """Return whether a notebook is drawn ``"plain"``, ``"strong"`` or ``"pale"``."""
    if present == "00":
        return "plain"
    return "strong" if number == present else "pale"


def _draw_part(ax: Axes, part: Part, left: float, strength: str) -> None:
    """Draw a box with the notebook's number, picture and words, and the arrow to the next box."""
    centre = left + WIDTH / 2
    colour = PALE if strength == "pale" else part.colour
    _draw_box(ax, (left, FLOOR), (WIDTH, HEIGHT), colour, strength)
    words = _words(strength)
    top = FLOOR + HEIGHT
    ax.text(left + 0.08, top - 0.07, part.number, ha="left", va="top", fontsize=9, **words)
    part.icon(ax, centre, FLOOR + 0.82, colour)
    ax.text(centre, FLOOR + 0.26, part.words, ha="center", va="center", fontsize=9.5, **words)
    ax.text(
        centre,
        FLOOR - 0.06,
        part.leaves,
        ha="center",
        va="top",
        fontsize=9,
        style="italic",
        color=DARK_GREY,
    )
    if part.number != "08":
        middle = FLOOR + HEIGHT / 2
        _arrow(ax, [(left + WIDTH + 0.02, middle), (left + PACE - 0.01, middle)], DARK_GREY)


def _draw_box(ax: Axes, corner: Point, size: Point, colour: str, strength: str) -> None:
    """Draw a box with round corners; the box of the present notebook is tinted."""
    edge = 3.0 if strength == "strong" else 1.6
    look: Look = {"boxstyle": "round,pad=0,rounding_size=0.09", "linewidth": edge}
    ax.add_patch(FancyBboxPatch(corner, *size, facecolor="white", edgecolor=colour, **look))
    if strength == "strong":
        tint = FancyBboxPatch(corner, *size, facecolor=colour, edgecolor="none", **look)
        tint.set_alpha(0.14)
        ax.add_patch(tint)


def _words(strength: str) -> Look:
    """Return the look of the words in a box."""
    if strength == "strong":
        return {"color": BLACK, "weight": "bold"}
    return {"color": BLACK if strength == "plain" else DARK_GREY}


def _headings(ax: Axes, present: str) -> None:
    """Write the method's parts above the boxes, each with a line as wide as its boxes."""
    headings = [
        ("1. Train the score", 0, 1, BLUE),
        ("2. Select", 2, 3, GREEN),
        ("3. Adapt", 4, 4, PURPLE),
        ("4. Test", 5, 7, ORANGE),
    ]
    for words, first, last, colour in headings:
        left = FIRST_LEFT + first * PACE
        right = FIRST_LEFT + last * PACE + WIDTH
        is_here = present == "00" or first < int(present) <= last + 1
        shade = colour if is_here else PALE
        ax.plot([left, right], [2.06, 2.06], color=shade, lw=3, solid_capstyle="butt")
        look: Look = {"weight": "bold", "color": BLACK if is_here else DARK_GREY}
        ax.text(left, 2.13, words, ha="left", va="bottom", fontsize=11, **look)


def _draw_playground(ax: Axes, strength: str) -> None:
    """Draw notebook 09 below the boxes of the models that it uses."""
    colour = PALE if strength == "pale" else BLACK
    left = FIRST_LEFT + 4 * PACE
    right = FIRST_LEFT + 7 * PACE + WIDTH
    _draw_box(ax, (left, 0.06), (right - left, 0.28), colour, strength)
    words = "09   play: your own prompts and pictures"
    middle = (left + right) / 2
    ax.text(middle, 0.2, words, ha="center", va="center", fontsize=10, **_words(strength))


def _pictures_with_choice(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw four pictures of which one has a frame."""
    _pictures(ax, x, y, colour)
    frame: Look = {"facecolor": "none", "edgecolor": BLACK if colour != PALE else GREY}
    ax.add_patch(Rectangle((x - 0.005, y - 0.005), 0.25, 0.25, linewidth=2, **frame))


def _pictures(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw four small pictures of a person."""
    for column in (-1, 1):
        for row in (-1, 1):
            middle_x, middle_y = x + 0.12 * column, y + 0.12 * row
            corner = middle_x - 0.1, middle_y - 0.1
            ax.add_patch(Rectangle(corner, 0.2, 0.2, facecolor=colour, alpha=0.35))
            ax.add_patch(Circle((middle_x, middle_y + 0.045), 0.035, color=colour))
            body = middle_x - 0.05, middle_y - 0.09
            ax.add_patch(Rectangle(body, 0.1, 0.09, color=colour))


def _angle(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw two unit vectors, whose cosine is the score."""
    start = x - 0.24, y - 0.2
    _arrow(ax, [start, (x + 0.24, y - 0.1)], colour)
    _arrow(ax, [start, (x + 0.06, y + 0.22)], colour)
    ax.text(x + 0.17, y + 0.06, "cos", ha="center", va="center", fontsize=9, color=colour)


def _bars(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw images with their scores as bars."""
    for index, length in enumerate((0.36, 0.2, 0.3, 0.1)):
        middle = y + 0.17 - 0.115 * index
        ax.add_patch(Rectangle((x - 0.26, middle - 0.04), 0.08, 0.08, color=colour, alpha=0.5))
        ax.add_patch(Rectangle((x - 0.13, middle - 0.03), length, 0.06, color=colour))


def _threshold(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw dots, of which the highest and the lowest are beyond a threshold."""
    is_pale = colour == PALE
    for place, height in ((-0.2, -0.02), (-0.1, 0.05), (0.02, -0.05), (0.12, 0.03)):
        ax.add_patch(Circle((x + place, y + height), 0.03, color=PALE if is_pale else GREY))
    ax.add_patch(Circle((x + 0.05, y + 0.2), 0.045, color=colour))
    ax.add_patch(Circle((x - 0.05, y - 0.2), 0.045, color=PALE if is_pale else VERMILLION))
    for height in (0.12, -0.12):
        line: Look = {"color": colour, "lw": 1.2, "linestyle": (0, (3, 2))}
        ax.plot([x - 0.28, x + 0.28], [y + height, y + height], **line)


def _low_rank(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw a square of weights plus the product of a tall and a wide matrix."""
    ax.add_patch(Rectangle((x - 0.36, y - 0.16), 0.32, 0.32, facecolor=colour, alpha=0.35))
    ax.text(x + 0.04, y, "+", ha="center", va="center", fontsize=11, color=colour)
    ax.add_patch(Rectangle((x + 0.12, y - 0.16), 0.07, 0.32, color=colour))
    ax.add_patch(Rectangle((x + 0.22, y + 0.09), 0.22, 0.07, color=colour))


def _intervals(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw three estimates with their intervals."""
    for index, (place, reach) in enumerate(((-0.12, 0.1), (0.02, 0.14), (0.14, 0.08))):
        middle = y + 0.15 - 0.15 * index
        ax.plot([x + place - reach, x + place + reach], [middle, middle], color=colour, lw=1.6)
        ax.add_patch(Circle((x + place, middle), 0.04, color=colour))


def _list(ax: Axes, x: float, y: float, colour: str) -> None:
    """Draw a list with ticks."""
    for index in range(3):
        middle = y + 0.15 - 0.15 * index
        tick = [x - 0.25, x - 0.21, x - 0.13], [middle, middle - 0.05, middle + 0.06]
        ax.plot(*tick, color=colour, lw=1.8)
        ax.plot([x - 0.04, x + 0.26], [middle, middle], color=colour, lw=1.8)
