"""Tasks about choices, scores and votes."""

import math

import numpy as np

from alignsd.teach.tasks.task import Slip, Task, numbers

OVERFLOW = (
    "exp of a large number is infinite. Subtract the largest number from all numbers first: "
    "the quotient stays the same."
)
Picks = tuple[int | None, int | None]


def tasks() -> dict[str, Task]:
    """Return the tasks by name."""
    return {
        "luce": _luce_task(),
        "preference_loss": _loss_task(),
        "hps": _hps_task(),
        "selection_rule": _rule_task(),
        "majority": _majority_task(),
    }


def luce(utilities: np.ndarray) -> np.ndarray:
    """Return the chances of Luce's rule, ``(n,)``."""
    differences = utilities[None, :] - utilities[:, None]
    with np.errstate(over="ignore"):  # a picture far below the best has the chance 1 / inf = 0
        return 1 / np.exp(differences).sum(axis=1)  # 1 / p_i = sum_j exp(u_j - u_i)


def _luce_task() -> Task:
    equal = numbers(0, 0)
    three = numbers(1, 2, 4)
    four = numbers(0.5, -1, 2, 2)
    large = numbers(1000, 1001, 999)
    cases = ((equal,), (three,), (four,), (large,))
    slips = (
        Slip(OVERFLOW, lambda u: np.exp(u) / np.exp(u).sum()),
        Slip(
            "These are shares of the utilities themselves. Luce's rule takes exp first.",
            lambda u: u / u.sum(),
        ),
        Slip(
            "The picture with the largest utility gets every click. People choose by chance: "
            "divide exp(u) by the sum.",
            lambda u: np.eye(len(u))[u.argmax()],
        ),
        Slip(
            "The chances fall where the utility rises. Look at the sign in exp.",
            lambda u: luce(-u),
        ),
        Slip("The chances do not add up to 1. Divide by the sum.", lambda u: np.exp(u - u.max())),
        Slip("The chances do not add up to 1. Divide by the sum.", np.exp),
    )
    hint = "Luce's rule: p_i = exp(u_i) / sum_j exp(u_j)."
    return Task(luce, cases, slips, hint)


def preference_loss(scores: np.ndarray, chosen: int, scale: float) -> float:
    """Return the cross-entropy of the chosen image, in nats."""
    logits = scale * scores
    return float(np.logaddexp.reduce(logits) - logits[chosen])


def _loss_task() -> Task:
    two = numbers(0.2, 0.23)
    equal = numbers(0.25, 0.25, 0.25, 0.25)
    three = numbers(0.31, 0.27, 0.3)
    large = numbers(9, 8.5)
    cases = ((two, 1, 100.0), (equal, 2, 100.0), (three, 1, 30.0), (large, 0, 100.0))

    def naive(scores: np.ndarray, chosen: int, scale: float) -> float:
        exponentials = np.exp(scale * scores)
        chance = exponentials[chosen] / exponentials.sum()
        return float(-np.log(chance))

    slips = (
        Slip(OVERFLOW, naive),
        Slip(
            "The scale is missing: the logits are scale * scores. Without the scale, cosines of "
            "0.2 and 0.23 give almost the same chance.",
            lambda scores, chosen, scale: preference_loss(scores, chosen, 1.0),
        ),
        Slip(
            "The scale multiplies the scores. Your function divides by the scale.",
            lambda scores, chosen, scale: preference_loss(scores, chosen, 1 / scale),
        ),
        Slip(
            "The sign is missing: the loss is minus the logarithm of the chance, so the loss is "
            "never below 0.",
            lambda scores, chosen, scale: -preference_loss(scores, chosen, scale),
        ),
        Slip(
            "This is the chance of the chosen image. The loss is minus the logarithm of the "
            "chance.",
            lambda scores, chosen, scale: luce(scale * scores)[chosen],
        ),
        Slip(
            "This is the loss in bits. For nats take np.log in place of np.log2.",
            lambda scores, chosen, scale: preference_loss(scores, chosen, scale) / math.log(2),
        ),
        Slip(
            "This is the mean over all images. Only the chosen image counts.",
            lambda scores, chosen, scale: -np.log(luce(scale * scores)).mean(),
        ),
    )
    hint = "The loss: -log(exp(scale * score of the chosen image) / sum_i exp(scale * score_i))."
    return Task(preference_loss, cases, slips, hint)


def hps(image: np.ndarray, text: np.ndarray) -> float:
    """Return 100 times the cosine of two vectors."""
    length = math.hypot(*image)
    other_length = math.hypot(*text)
    cosine = sum(image * text) / (length * other_length)
    return float(100 * cosine)


def _hps_task() -> Task:
    unit = numbers(1, 0), numbers(0.6, 0.8)
    longer = numbers(3, 0, 4), numbers(1, 2, 2)
    at_right_angles = numbers(0, 2), numbers(5, 0)
    opposite = numbers(0.1, -0.2, 0.3), numbers(-0.2, 0.4, -0.6)
    cases = (unit, longer, at_right_angles, opposite)
    slips = (
        Slip(
            "The vectors need not have length 1. Divide by the two lengths.",
            lambda image, text: 100 * image @ text,
        ),
        Slip("The factor 100 is missing.", lambda image, text: hps(image, text) / 100),
        Slip(
            "The factor 100 is missing, and the two lengths are: divide by both.",
            lambda image, text: image @ text,
        ),
        Slip(
            "Only one vector is divided by its length. Divide by both lengths.",
            lambda image, text: 100 * image @ text / math.sqrt(image @ image),
        ),
        Slip(
            "Only one vector is divided by its length. Divide by both lengths.",
            lambda image, text: 100 * image @ text / math.sqrt(text @ text),
        ),
        Slip(
            "You divide by the squares of the lengths. Take the square roots.",
            lambda image, text: 100 * image @ text / ((image @ image) * (text @ text)),
        ),
        Slip(
            "A cosine may be below 0. Do not take the absolute value.",
            lambda image, text: abs(hps(image, text)),
        ),
    )
    hint = "HPS: 100 * (image · text) / (|image| |text|)."
    return Task(hps, cases, slips, hint)


def selection_rule(scores: np.ndarray, alpha: float) -> Picks:
    """Return the indices of the positive and of the negative, each None if there is none."""
    limit = alpha / len(scores)
    return _clear(scores, limit), _clear(-scores, limit)


def _clear(scores: np.ndarray, limit: float) -> int | None:
    """Return the index of the largest softmax, or None unless the softmax is above a limit."""
    largest = int(scores.argmax())
    softmax = luce(scores)
    return largest if softmax[largest] > limit else None


def _rule_task() -> Task:
    both = numbers(20, 21, 25, 16)
    one_is_best = numbers(20, 20.5, 24, 20.2)
    one_is_worst = numbers(20, 17, 20.5, 20.2, 20.1)
    close = numbers(20, 20.3, 20.1, 20.2)
    equal = numbers(20, 20, 20, 20)
    at_the_limit = numbers(0, 0, -900, -901)  # the first two have a softmax of alpha / n
    at_two = [(scores, 2.0) for scores in (both, one_is_best, one_is_worst, close, equal)]
    cases = (*at_two, (numbers(20, 20.4, 20.1, 19.9), 1.2), (at_the_limit, 2.0))

    def one_limit(scores: np.ndarray, limit: float) -> Picks:
        return _clear(scores, limit), _clear(-scores, limit)

    def not_strict(scores: np.ndarray, alpha: float) -> Picks:
        slightly_less = alpha * (1 - 1e-12)
        return selection_rule(scores, slightly_less)

    def without_softmax_of_minus(scores: np.ndarray, alpha: float) -> Picks:
        best, _ = selection_rule(scores, alpha)
        worst = int(scores.argmin())
        softmax = luce(scores)
        is_above = softmax[worst] > alpha / len(scores)
        return best, worst if is_above else None

    def naive(scores: np.ndarray, alpha: float) -> Picks:
        best, worst = selection_rule(scores, alpha)
        if np.exp(scores).max() == np.inf:
            best = None
        if np.exp(-scores).max() == np.inf:
            worst = None
        return best, worst

    slips = (
        Slip(
            "The threshold is strict: an image at exactly alpha / n is not selected. Write > in "
            "place of >=.",
            not_strict,
        ),
        Slip(
            "You return (worst, best). The best image comes first.",
            lambda scores, alpha: selection_rule(scores, alpha)[::-1],
        ),
        Slip(
            "The threshold is alpha / n. Your function compares with alpha, which no softmax "
            "exceeds.",
            one_limit,
        ),
        Slip(
            "The threshold is alpha / n. Your function compares with 1 / n.",
            lambda scores, alpha: selection_rule(scores, 1.0),
        ),
        Slip(
            "You select an image of every prompt. Select an image only if its softmax is above "
            "alpha / n.",
            lambda scores, alpha: (int(scores.argmax()), int(scores.argmin())),
        ),
        Slip(
            "The worst image is the image with the largest softmax of the scores with a minus.",
            without_softmax_of_minus,
        ),
        Slip(
            "A score is 100 times a cosine, and the softmax takes the score as it is. Do not "
            "divide by 100.",
            lambda scores, alpha: selection_rule(scores / 100, alpha),
        ),
        Slip(OVERFLOW, naive),
    )
    hint = (
        "The best image counts if softmax(scores) gives it more than alpha / n; the worst image "
        "if softmax(-scores) gives it more than alpha / n."
    )
    return Task(selection_rule, cases, slips, hint)


def majority(votes: np.ndarray, voters: np.ndarray) -> float:
    """Return the share of prompts of which more than half of the votes are for adapted."""
    is_won = 2 * votes > voters
    return float(is_won.mean())


def _majority_task() -> Task:
    clear = numbers(12, 15, 3), numbers(20, 20, 20)
    of_different_sizes = numbers(3, 2, 1, 5), numbers(5, 3, 1, 20)
    nothing_won = numbers(0, 0), numbers(7, 9)
    ties = numbers(10, 11, 9, 10), numbers(20, 20, 20, 20)
    cases = (clear, of_different_sizes, nothing_won, ties)
    slips = (
        Slip(
            "A tie is not won. More than half of the votes must be for the adapted model.",
            lambda votes, voters: (2 * votes >= voters).mean(),
        ),
        Slip(
            "A tie is not half a win. Count the prompts with more than half of the votes.",
            lambda votes, voters: ((np.sign(2 * votes - voters) + 1) / 2).mean(),
        ),
        Slip(
            "This is the share of votes. Each prompt counts once, however clear its majority is.",
            lambda votes, voters: votes.sum() / voters.sum(),
        ),
        Slip(
            "This is the mean share of votes. Each prompt is won or not won.",
            lambda votes, voters: (votes / voters).mean(),
        ),
        Slip(
            "This is the number of prompts won. Divide by the number of prompts.",
            lambda votes, voters: (2 * votes > voters).sum(),
        ),
        Slip(
            "This is a share in percent. Return a number from 0 to 1.",
            lambda votes, voters: 100 * majority(votes, voters),
        ),
    )
    hint = "A prompt is won if more than half of its voters chose the adapted model's picture."
    return Task(majority, cases, slips, hint)
