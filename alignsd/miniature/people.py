"""Simulated people, who choose among a few pictures of one prompt.

Most clicks are attentive: the person judges each picture by limbs, by how well the picture shows
the prompt and by taste, and picks by Luce's rule. The other clicks are careless. Careless clicks
make the last picture the most clicked picture, as in the real data. The strengths are set so
that two people agree about as often as the paper's people (42 %, Table 2).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignsd.paper import CHOSEN_POSITIONS

if TYPE_CHECKING:  # the judge loads torch, and Luce's rule needs no network
    from alignsd.miniature.judge import Judge

FLAW = 4.0  # utility that a flaw costs
MATCH = 1.5  # utility of showing the prompt
TASTE = 0.2  # utility of a rating point
CARELESS = 0.12  # share of clicks that mean nothing
# How often each position is chosen; measured on the real test choices among four images only.
POSITION = {4: CHOSEN_POSITIONS}


def luce(utility: np.ndarray, share: float = CARELESS) -> np.ndarray:
    """Return the chance that a random person picks each picture of one choice.

    Luce's rule, exp(u_i) / sum_j exp(u_j), mixed with careless clicks.

    Args:
        utility: ``(n,)``, in the order of the positions.
        share: share of the clicks that are careless, 0-1; the default fits the real data.

    Returns:
        ``(n,)``; the sum is 1.
    """
    liked = np.exp(utility - utility.max())  # no overflow, and the same quotient
    attentive = (1 - share) * liked / liked.sum()
    return attentive + share * careless(len(utility))


def careless(n: int) -> np.ndarray:
    """Return how often each of ``n`` positions gets a careless click, ``(n,)``.

    Attentive clicks fall on every position alike. So the bias that was measured, on four images
    only, must come from the careless clicks.
    """
    chosen = np.array(POSITION.get(n, np.full(n, 1 / n)))
    shares = chosen / chosen.sum()
    return (shares - (1 - CARELESS) / n) / CARELESS


def utilities(judge: "Judge", pictures: Sequence[np.ndarray], prompts: list[str]) -> np.ndarray:
    """Return what each picture is worth to people, given the picture's prompt, ``(n,)``.

    Args:
        judge: gives the verdicts by which the people choose.
        pictures: each ``(64, 64, 3)`` uint8.
        prompts: what was asked for, a prompt per picture.
    """
    seen = judge.judge(pictures)
    return MATCH * seen.matches(prompts) - FLAW * seen.flawed + TASTE * seen.rating


def choice_probabilities(judge: "Judge", pictures: Sequence[np.ndarray], prompt: str) -> np.ndarray:
    """Return the chance that a random simulated person picks each picture of one prompt, ``(n,)``.

    Args:
        judge: gives the verdicts by which the people choose.
        pictures: each ``(64, 64, 3)`` uint8.
        prompt: what was asked for.
    """
    return luce(utilities(judge, pictures, [prompt] * len(pictures)))


def choose(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Draw one person's choice: an index into ``probabilities`` ``(n,)``."""
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))
