"""The method as a drawing: how HPS is trained, and how Stable Diffusion is adapted with HPS."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from alignsd.base.colours import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from alignsd.figures import alt
from alignsd.figures.style import Look
from alignsd.figures.text import drawable, shortened

LINE = 1.55  # distance between two rows of boxes
GAP = 0.465, 0.535  # where an arrow between two boxes begins and ends; boxes are 1 apart
LONGEST_IDENTIFIER = 18  # characters; a longer text does not fit into a box
TRAINING = "1. Train the Human Preference Score (HPS)"
SELECTION = "2. Select what people prefer"
ADAPTATION = "3. Adapt Stable Diffusion"
Point = tuple[float, float]


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
    alt.describe(ax, f"Drawing of the method in three rows of boxes. {' '.join(rows)}")
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
