"""The method as a drawing: how HPS is trained, and how Stable Diffusion is adapted with it."""

from matplotlib.axes import Axes

from alignsd.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

STEPS = {
    "1. Train the Human Preference Score": [
        ("prompt and\n2-4 images", GREY), ("CLIP, last layers\nunlocked", BLUE), ("100 x cosine\nof each image", BLUE),
        ("softmax over\nthe images", BLUE), ("cross-entropy with\nthe person's choice", ORANGE)],
    "2. Select what people prefer": [
        ("DiffusionDB:\nimages by prompt", GREY), ("HPS of\neach image", BLUE), ("softmax > 2 / n\nwithin a prompt", BLUE),
        ("best: its prompt", GREEN), ("worst: \"Weird image. \"\n+ its prompt", VERMILLION)],
    "3. Adapt Stable Diffusion": [
        ("best, worst, and\nregularization images", GREY), ("LoRA on the\nUNet's attention", BLUE),
        ("adapted\nStable Diffusion", BLUE), ("negative prompt:\n\"Weird image. \"", VERMILLION), ("better images", GREEN)],
}


def scheme(ax: Axes) -> Axes:
    """Draws the paper's method as three rows of boxes, from left to right; wants about 11 x 4 inches."""
    for line, (title, boxes) in enumerate(STEPS.items()):
        y = -1.5 * line
        ax.text(-0.45, y + 0.52, title, ha="left", va="bottom", weight="bold")
        for x, (text, colour) in enumerate(boxes):
            ax.text(x, y, text, ha="center", va="center", fontsize=9.5, color=BLACK,
                    bbox={"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": colour, "linewidth": 2})
        for x in _arrows(line, len(boxes)):
            ax.annotate("", (x + 0.56, y), (x + 0.44, y), arrowprops={"arrowstyle": "-|>", "color": BLACK, "lw": 1.4})
    ax.text(3.46, -1.5, "and", ha="center", va="center")
    ax.set(xlim=(-0.5, 4.5), ylim=(-3.55, 0.9))
    ax.axis("off")
    return ax


def _arrows(line: int, boxes: int) -> range:
    """Returns after which boxes of a line an arrow leads on; the two outcomes of the selection stand side by side."""
    return range(boxes - 2) if line == 1 else range(boxes - 1)
