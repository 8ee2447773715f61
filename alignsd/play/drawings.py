"""Figures of the playground: how a picture arises, and guidance as an arrow."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from alignsd.base.plotting.colours import BLACK, BLUE, GREY, VERMILLION
from alignsd.figures import alt
from alignsd.figures.pictures import show
from alignsd.figures.style import Look
from alignsd.play.guidance import Point, Predictions, guided, points
from alignsd.play.steps import StepPictures, clean_latent
from alignsd.play.studio import Studio

COLOURS = {"empty": GREY, "negative": VERMILLION, "prompt": BLACK, "guided": BLUE}
NAMES = {
    "empty": "with an empty prompt",
    "negative": "with the negative prompt",
    "prompt": "with the prompt",
    "guided": "guided",
}
HEIGHT_OF_PLANE = 0.18  # of the plane's width
MOST_STEPS = 8  # side by side; of more steps, evenly spaced ones are shown


def step_by_step(fig: Figure, pictures: StepPictures, final: np.ndarray) -> Figure:
    """Draw what the model saw (above) and what the model predicted (below) at each step.

    Args:
        fig: where to draw; about 9.5 x 3.2 inches.
        pictures: from ``steps.step_pictures``.
        final: the picture that was drawn, ``(height, width, 3)`` uint8.
    """
    count = len(pictures.times)
    steps = np.unique(np.linspace(0, count - 1, min(count, MOST_STEPS)).round().astype(int))
    axes = fig.subplots(2, len(steps) + 1, squeeze=False)
    for (above, below), step in zip(axes.T, steps, strict=False):
        show(above, pictures.noised[step])
        show(below, pictures.clean[step])
        share = f"{100 * pictures.signal[step]:.0f} %"
        above.set_title(f"step {step + 1}\nsignal {share}", fontsize=9)
    for ax in axes[:, -1]:
        show(ax, final)
    axes[0, -1].set_title("the picture\n", fontsize=9)
    look: Look = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
    axes[0, 0].set_ylabel("what the\nmodel sees", **look)
    axes[1, 0].set_ylabel("the clean\npicture that\nit predicts", **look)
    shares = ", ".join(f"{100 * pictures.signal[step]:.0f} %" for step in steps)
    description = (
        f"Two rows of {len(steps)} pictures, a column per step, and the finished picture. Above, "
        f"the noised picture, with a signal of {shares}. Below, the clean picture that the model "
        "predicts."
    )
    alt.describe(fig, description)
    return fig


def guidance_arrow(studio: Studio, predictions: Predictions, step: int, scale: float) -> Figure:
    """Draw the predictions of one step as points, and the clean pictures for which they stand.

    Args:
        studio: decodes the pictures.
        predictions: from ``guidance.predictions``.
        step: of the drawing, from 1 on.
        scale: the guidance scale.
    """
    fig = Figure(figsize=(9.5, 4.6))
    index = step - 1
    noise = {
        "empty": predictions.empty[index],
        "negative": predictions.negative[index],
        "prompt": predictions.prompt[index],
    }
    noise["guided"] = guided(noise["negative"], noise["prompt"], scale)
    places = points(noise["negative"], noise["prompt"], noise["empty"], scale)
    arrow, strip = fig.subfigures(2, 1, height_ratios=[1, 1.15], squeeze=False).flat
    _plane(arrow.subplots(), places, scale)
    scheduler, time = studio.pipeline.scheduler, int(predictions.times[index])
    clean = clean_latent(scheduler, time, predictions.latents[index], _stacked(noise))
    for ax, name, picture in zip(
        strip.subplots(1, len(noise)), noise, studio.decode(clean), strict=True
    ):
        show(ax, picture)
        ax.set_title(NAMES[name], fontsize=9.5, color=COLOURS[name], weight="bold")
    strip.suptitle(f"the clean pictures that these predictions stand for, step {step}", fontsize=10)
    told = ", ".join(f"{NAMES[name]} at {x:.3f} and {y:.3f}" for name, (x, y) in places.items())
    description = (
        f"Four predictions of the noise at step {step} as points: {told}. The arrow of guidance "
        f"with scale {scale:g} leads from the prediction with the negative prompt through the "
        "prediction with the prompt. Below, the clean picture of each prediction."
    )
    alt.describe(fig, description)
    return fig


def _plane(ax: Axes, places: dict[str, Point], scale: float) -> None:
    """Draw predictions of the noise as points, and guidance as an arrow through two of them."""
    negative, prompt, end = places["negative"], places["prompt"], places["guided"]
    _arrow(ax, negative, end, BLUE, width=5)
    _arrow(ax, negative, prompt, BLACK, width=1.8)
    for name, place in places.items():
        ax.plot(*place, "o", color=COLOURS[name], markersize=9, zorder=4)
    _set_limits(ax, places)
    _name(ax, "empty", places["empty"], above=True)
    _name(ax, "negative", negative, above=False)
    _name(ax, "prompt", prompt, above=False)
    _name(ax, "guided", end, above=True, words=f"guided, scale {scale:g}")
    ax.set(xlabel="distance between predictions (the noise itself has length 1)")


def _set_limits(ax: Axes, places: dict[str, Point]) -> None:
    """Set limits with room for names and the same scale on both axes, so that angles are true."""
    left = min(x for x, _ in places.values())
    right = max(x for x, _ in places.values())
    height = places["empty"][1] / 0.45  # below and above the points there is room for names
    width = max(1.35 * (right - left), height / HEIGHT_OF_PLANE) or 1.0
    height = HEIGHT_OF_PLANE * width
    middle = (left + right) / 2
    ax.set(xlim=(middle - width / 2, middle + width / 2), ylim=(-0.3 * height, 0.7 * height))
    ax.set_box_aspect(HEIGHT_OF_PLANE)


def _arrow(ax: Axes, start: Point, end: Point, colour: str, width: float) -> None:
    head: Look = {"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0}
    head |= {"mutation_scale": 14 + 2 * width, "alpha": 1.0 if width < 3 else 0.55}
    ax.annotate("", end, start, arrowprops=head, zorder=3 if width < 3 else 2)


def _name(ax: Axes, name: str, place: Point, above: bool, words: str = "") -> None:
    """Write the name of a point above or below the point."""
    ax.annotate(
        words or NAMES[name],
        place,
        (0, 10 if above else -10),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=9.5,
        color=COLOURS[name],
        weight="bold",
    )


def _stacked(noise: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(noise.values()))
