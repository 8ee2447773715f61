"""How a picture arises: what the model sees, and what the model believes, at each step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignsd.models.files.whole_pipeline import V_PREDICTION
from alignsd.models.stable_diffusion import Drawing
from alignsd.play.guidance import guided
from alignsd.play.studio import Studio, UnetCall, Wish


@dataclass(frozen=True)
class StepPictures:
    """The pictures of one drawing, step by step.

    Attributes:
        times: the time step of each step, about 1000 (noise alone) to 0.
        signal: the share of the picture in the latent of each step, 0 to 1: the square root of
            alpha bar.
        noised: the latent of each step, decoded, ``(steps, height, width, 3)`` uint8.
        clean: the picture that the model predicts at each step, decoded, of the same shape.
    """

    times: list[int]
    signal: list[float]
    noised: np.ndarray
    clean: np.ndarray


def step_pictures(studio: Studio, wish: Wish, drawing: Drawing) -> StepPictures:
    """Draw one picture, and decode what the model saw and predicted at each step.

    Args:
        studio: whose model draws.
        wish: what to draw.
        drawing: steps and guidance.
    """
    calls = studio.watch(wish, drawing)
    scheduler = studio.pipeline.scheduler
    clean = [predicted_clean(scheduler, call, drawing.guidance) for call in calls]
    times = [call.time for call in calls]
    return StepPictures(
        times=times,
        signal=[alpha_bar(scheduler, time) ** 0.5 for time in times],
        noised=studio.decode(torch.stack([call.latent for call in calls])),
        clean=studio.decode(torch.stack(clean)),
    )


def alpha_bar(scheduler: Any, time: int) -> float:
    """Return the share of the picture's variance in the latent at a time step, 0 to 1."""
    return float(scheduler.alphas_cumprod[time])


def clean_latent(scheduler: Any, time: int, latent: Tensor, prediction: Tensor) -> Tensor:
    """Return the clean latent that a prediction of the UNet stands for.

    A noised latent is ``x_t = sqrt(a) x_0 + sqrt(1 - a) noise`` with a = alpha bar of the time
    step. So a prediction of the noise stands for
    ``x_0 = (x_t - sqrt(1 - a) noise) / sqrt(a)``.

    Args:
        scheduler: of the pipeline.
        time: the time step.
        latent: x_t.
        prediction: the UNet's answer, of the latent's shape or with more dimensions in front.
    """
    a = alpha_bar(scheduler, time)
    if scheduler.config["prediction_type"] == V_PREDICTION:
        return a**0.5 * latent - (1 - a) ** 0.5 * prediction
    return (latent - (1 - a) ** 0.5 * prediction) / a**0.5


def predicted_clean(scheduler: Any, call: UnetCall, guidance: float) -> Tensor:
    """Return the clean latent that the guided prediction of one step stands for."""
    negative, prompt = call.predictions[0], call.predictions[-1]
    prediction = guided(negative, prompt, guidance) if len(call.predictions) > 1 else prompt
    return clean_latent(scheduler, call.time, call.latent, prediction)
