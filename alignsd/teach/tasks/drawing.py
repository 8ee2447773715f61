"""Tasks about Stable Diffusion: guidance, losses and their weights, the low-rank matrices."""

import numpy as np

from alignsd.teach.tasks.task import Slip, Task, numbers


def tasks() -> dict[str, Task]:
    """Return the tasks by name."""
    return {
        "guidance": _guidance_task(),
        "snr_weight": _weight_task(),
        "lora": _lora_task(),
        "dpo": _dpo_task(),
    }


def guidance(negative: np.ndarray, positive: np.ndarray, scale: float) -> np.ndarray:
    """Return the prediction with guidance, of the predictions' shape."""
    part_of_negative = (1 - scale) * negative
    part_of_positive = scale * positive
    return part_of_negative + part_of_positive


def _guidance_task() -> Task:
    first = numbers(0.5, -1, 2, 0.25).reshape(2, 2)
    second = numbers(1, 1, -1, 0.5).reshape(2, 2)
    line = numbers(0, 1, -2), numbers(0.5, 0.5, 0.5), 2.0
    cases = ((first, second, 7.5), line, (first, second, 0.0), (first, second, 1.0))
    slips = (
        Slip(
            "The two predictions stand the wrong way round: start at the negative prompt's "
            "prediction and go towards the prompt's.",
            lambda negative, positive, scale: guidance(positive, negative, scale),
        ),
        Slip(
            "You start at the prompt's prediction. Start at the negative prompt's: with scale 1 "
            "the result is the prompt's prediction.",
            lambda negative, positive, scale: positive + scale * (positive - negative),
        ),
        Slip(
            "You go away from the prompt. The arrow is positive - negative.",
            lambda negative, positive, scale: negative - scale * (positive - negative),
        ),
        Slip(
            "The start is missing: add the negative prompt's prediction.",
            lambda negative, positive, scale: scale * (positive - negative),
        ),
        Slip(
            "The negative prompt has no effect. Guidance goes from its prediction to the "
            "prompt's, and further.",
            lambda negative, positive, scale: scale * positive,
        ),
        Slip(
            "The two predictions are added. Guidance goes along their difference.",
            lambda negative, positive, scale: negative + scale * positive,
        ),
        Slip(
            "The scale has no effect.",
            lambda negative, positive, scale: positive,
        ),
    )
    hint = "Guidance: negative + scale * (positive - negative)."
    return Task(guidance, cases, slips, hint)


def snr_weight(snr: np.ndarray, gamma: float) -> np.ndarray:
    """Return the min-SNR weight of each time step, ``(n,)``."""
    weight = gamma / snr
    weight[snr < gamma] = 1
    return weight


def _weight_task() -> Task:
    both_sides = numbers(0.1, 1, 4, 20)
    low = numbers(0.5, 2, 3)
    little_noise = numbers(100, 10_000)
    at_gamma = numbers(1e-8, 5, 5.1)
    cases = ((both_sides, 5.0), (low, 1.0), (little_noise, 5.0), (at_gamma, 5.0))
    slips = (
        Slip(
            "This is the clamped ratio. The weight is the clamped ratio divided by the ratio.",
            np.minimum,
        ),
        Slip(
            "The smaller of the two numbers is missing: where the ratio is below gamma, the "
            "weight is 1.",
            lambda snr, gamma: gamma / snr,
        ),
        Slip(
            "You take the larger number. Take the smaller number of the ratio and gamma.",
            lambda snr, gamma: np.maximum(snr, gamma) / snr,
        ),
        Slip(
            "This is the weight for a model that predicts the velocity. Our model predicts the "
            "noise: divide by the ratio, without the 1.",
            lambda snr, gamma: np.minimum(snr, gamma) / (snr + 1),
        ),
        Slip(
            "You divide by gamma. Divide by the ratio: the weight falls where there is little "
            "noise.",
            lambda snr, gamma: np.minimum(snr, gamma) / gamma,
        ),
        Slip(
            "You divide the wrong way round. The weight is never above 1.",
            lambda snr, gamma: snr / np.minimum(snr, gamma),
        ),
        Slip("gamma has no effect.", lambda snr, gamma: np.ones_like(snr)),
    )
    hint = "The weight: min(snr, gamma) / snr."
    return Task(snr_weight, cases, slips, hint)


def lora(W: np.ndarray, A: np.ndarray, B: np.ndarray, scale: float) -> np.ndarray:
    """Return the adapted weights, ``(o, i)``."""
    change = np.einsum("or,ri->oi", B, A)
    return W + scale * change


def _lora_task() -> Task:
    rng = np.random.default_rng(0)

    def drawn(o: int, i: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        W = rng.normal(size=(o, i))
        A = rng.normal(size=(r, i))
        B = rng.normal(size=(o, r))
        return W.round(2), A.round(2), B.round(2)

    cases = (
        (*drawn(2, 2, 2), 0.5),
        (*drawn(3, 2, 1), 1.0),
        (*drawn(2, 4, 2), 2.0),
        (*drawn(3, 2, 1), 0.0),
    )
    slips = (
        Slip(
            "The matrices stand the wrong way round. B has a row per output, A a column per "
            "input: the product is B @ A.",
            lambda W, A, B, scale: W + scale * A @ B,
        ),
        Slip("The scale is missing.", lambda W, A, B, scale: W + B @ A),
        Slip(
            "The scale belongs to the change alone. The weights W stay as they are.",
            lambda W, A, B, scale: scale * (W + B @ A),
        ),
        Slip("The weights W are missing: add the change to W.", lambda W, A, B, s: s * B @ A),
        Slip("The change is subtracted. Add the change to W.", lambda W, A, B, s: W - s * B @ A),
        Slip(
            "You multiply element by element. The product of matrices is B @ A.",
            lambda W, A, B, scale: W + scale * B * A,
        ),
        Slip(
            "The scale divides the change. Multiply the change by the scale.",
            lambda W, A, B, scale: W + B @ A / scale,
        ),
    )
    hint = "LoRA: W + scale * B @ A."
    return Task(lora, cases, slips, hint)


def dpo(
    trained_winner: np.ndarray,
    trained_loser: np.ndarray,
    frozen_winner: np.ndarray,
    frozen_loser: np.ndarray,
    beta: float,
) -> np.ndarray:
    """Return the loss of Diffusion-DPO of each pair, ``(n,)``."""
    difference = (trained_winner - trained_loser) - (frozen_winner - frozen_loser)
    return np.logaddexp(0, beta / 2 * difference)


def _dpo_task() -> Task:
    equal = (numbers(0.3, 0.4), numbers(0.5, 0.4), numbers(0.3, 0.4), numbers(0.5, 0.4), 10.0)
    better = (numbers(0.2, 0.5), numbers(0.6, 0.4), numbers(0.3, 0.5), numbers(0.5, 0.6), 4.0)
    strong = (numbers(0.9), numbers(0.2), numbers(0.4), numbers(0.3), 50.0)
    slips = (
        Slip(
            "The half is missing: the sigmoid takes -beta / 2 times the difference.",
            lambda tw, tl, fw, fl, beta: np.logaddexp(0, beta * ((tw - tl) - (fw - fl))),
        ),
        Slip(
            "The sign is wrong. A small error on the winner must give a small loss.",
            lambda tw, tl, fw, fl, beta: np.logaddexp(0, -beta / 2 * ((tw - tl) - (fw - fl))),
        ),
        Slip(
            "The frozen network is missing. The loss compares with what the original predicts.",
            lambda tw, tl, fw, fl, beta: np.logaddexp(0, beta / 2 * (tw - tl)),
        ),
        Slip(
            "Winner and loser stand the wrong way round.",
            lambda tw, tl, fw, fl, beta: np.logaddexp(0, beta / 2 * ((tl - tw) - (fw - fl))),
        ),
        Slip(
            "You return the sigmoid itself. The loss is minus its logarithm.",
            lambda tw, tl, fw, fl, beta: np.exp(
                -np.logaddexp(0, beta / 2 * ((tw - tl) - (fw - fl)))
            ),
        ),
    )
    hint = "Begin with the bracket of the equation, then multiply by -beta / 2."
    return Task(dpo, (equal, better, strong), slips, hint)
