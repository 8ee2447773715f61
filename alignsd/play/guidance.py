"""Classifier-free guidance with a negative prompt, as an arrow between two predictions."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alignsd.models.stable_diffusion import Drawing
from alignsd.play.studio import Studio, UnetCall, Wish

Prediction = TypeVar("Prediction", Tensor, np.ndarray)
Point = tuple[float, float]


def guided(negative: Prediction, prompt: Prediction, scale: float) -> Prediction:
    """Return the prediction that the sampler follows.

    With scale 1 this is the prediction with the prompt. A larger scale goes on in the same
    direction: away from what the negative prompt would draw.

    Args:
        negative: the prediction of the noise with the negative prompt.
        prompt: the prediction with the prompt, of the same shape.
        scale: the guidance scale (paper: 7.5).
    """
    return negative + scale * (prompt - negative)


@dataclass(frozen=True)
class Predictions:
    """Three predictions of the noise in the same latents, at each step of one drawing.

    Attributes:
        wish: what was drawn.
        times: the time step of each step, ``(steps,)`` int.
        latents: what the UNet was given, ``(steps, channels, height, width)``.
        negative: the predictions with the negative prompt, of the latents' shape.
        prompt: the predictions with the prompt.
        empty: the predictions with an empty prompt.
    """

    wish: Wish
    times: Tensor
    latents: Tensor
    negative: Tensor
    prompt: Tensor
    empty: Tensor

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.times)


def predictions(studio: Studio, wish: Wish, drawing: Drawing) -> Predictions:
    """Draw one picture, and predict its noise at each step with three texts.

    Args:
        studio: whose model draws and predicts.
        wish: what to draw, with the negative prompt.
        drawing: steps and guidance of the drawing, from which the latents come.
    """
    calls: list[UnetCall] = studio.watch(wish, drawing)
    latents = torch.stack([call.latent for call in calls])
    times = torch.tensor([call.time for call in calls], device=latents.device)
    texts = (wish.negative, wish.prompt, "")
    negative, prompt, empty = studio.predict(wish, latents, times, texts)
    return Predictions(wish, times, latents, negative, prompt, empty)


def points(negative: Tensor, prompt: Tensor, empty: Tensor, scale: float) -> dict[str, Point]:
    """Return predictions of one step as points of the plane in which they lie.

    Three points span a plane, so the picture is exact. The prediction with the negative prompt is
    the origin. The first axis leads to the prediction with the prompt. The guided prediction lies
    on the first axis. The second axis leads to the prediction with an empty prompt, at a right
    angle to the first axis. The unit is the root mean square over a prediction's numbers: noise
    itself has length 1.

    Args:
        negative, prompt, empty: of one step, of one shape.
        scale: the guidance scale.

    Returns:
        The points ``"negative"``, ``"prompt"``, ``"guided"`` and ``"empty"``.
    """
    unit = negative.numel() ** 0.5
    to_prompt = (prompt - negative).double().flatten() / unit
    to_empty = (empty - negative).double().flatten() / unit
    length = float(to_prompt.norm())
    along = float(to_empty @ to_prompt) / length if length else 0.0
    across = float((to_empty @ to_empty).sub(along**2).clamp(min=0).sqrt())
    return {
        "negative": (0.0, 0.0),
        "prompt": (length, 0.0),
        "guided": (scale * length, 0.0),
        "empty": (along, across),
    }
