"""The method as a drawing: how HPS is trained, and how Stable Diffusion is adapted with it."""

from matplotlib.axes import Axes

from alignsd.base.colours import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from alignsd.figures.text import drawable, shortened

Steps = dict[str, list[tuple[str, str]]]
LINE = 1.55  # from one row of boxes to the next
LONGEST_IDENTIFIER = 18  # characters; a longer text does not fit into a box


def steps(image_groups: int, text_layers: int, alpha: float, identifier: str) -> Steps:
    """Returns the method's three steps with this run's settings: title -> boxes from left to right, as text and colour.

    Args:
        image_groups, text_layers: what notebook 02 trained of CLIP, counted from the end.
        alpha: the threshold of notebook 04.
        identifier: what notebook 05 puts in front of the negatives' captions.
    """
    words = drawable(identifier)
    if len(words) > LONGEST_IDENTIFIER:
        words = shortened(words, LONGEST_IDENTIFIER)
    weird = f'"{words}"'
    return {
        "1. Train the Human Preference Score (HPS)": [
            ("prompt and\n2-4 images", GREY), (f"CLIP; the last {image_groups}\nimage groups and {text_layers}\ntext layers learn", BLUE),
            ("scale × cosine\nof each image", BLUE), ("softmax over\nthe images", BLUE),
            ("cross-entropy with\nthe person's choice", ORANGE)],
        "2. Select what people prefer": [
            ("DiffusionDB:\nimages by prompt", GREY), ("HPS of\neach image", BLUE), (f"softmax > {alpha:g} / n\nwithin a prompt", BLUE),
            ("best image:\nits prompt", GREEN), (f"worst image:\n{weird}\n+ its prompt", VERMILLION)],
        "3. Adapt Stable Diffusion": [
            ("best, worst, and\nregularization\nimages", GREY), ("LoRA on the\nUNet's attention", BLUE),
            ("adapted\nStable Diffusion", BLUE), (f"negative prompt:\n{weird}", VERMILLION), ("better images", GREEN)],
    }


def scheme(ax: Axes, steps: Steps) -> Axes:
    """Draws the paper's method as three rows of boxes with arrows where the work flows; wants about 9.5 x 4.6 inches."""
    for line, (title, boxes) in enumerate(steps.items()):
        y = -LINE * line
        ax.text(-0.42, y + 0.5, title, ha="left", va="bottom", weight="bold")
        for x, (text, colour) in enumerate(boxes):
            ax.text(x, y, text, ha="center", va="center", fontsize=9, color=BLACK, parse_math=False,
                    bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour, "linewidth": 2})
        for x in range(len(boxes) - (2 if line == 1 else 1)):  # the selection's two outcomes stand side by side
            _arrow(ax, [(x + 0.465, y), (x + 0.535, y)])
    ax.text(3.47, -LINE, "and", ha="center", va="center", fontsize=9)
    turns = -0.62 * LINE, -LINE - 0.58  # heights at which the flow goes from one row to the next
    _arrow(ax, [(2, -0.3), (2, turns[0]), (1, turns[0]), (1, -LINE + 0.3)], BLUE, "the trained HPS")
    _arrow(ax, [(3.47, -LINE - 0.12), (3.47, turns[1]), (-0.5, turns[1]), (-0.5, -2 * LINE), (-0.33, -2 * LINE)], BLACK,
           "training images with their captions")
    ax.set(xlim=(-0.52, 4.5), ylim=(-2 * LINE - 0.45, 0.8))
    ax.axis("off")
    return ax


def _arrow(ax: Axes, points: list[tuple[float, float]], colour: str = BLACK, words: str = "") -> None:
    """Draws an arrow through some points; words stand on its second stretch."""
    ax.plot(*zip(*points[:-1], strict=True), color=colour, lw=1.4, solid_joinstyle="miter")
    ax.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 0, "shrinkB": 0})
    if words:
        middle = (points[1][0] + points[2][0]) / 2, points[1][1]
        ax.text(*middle, words, ha="center", va="center", fontsize=8.5, color=colour, backgroundcolor="white")
