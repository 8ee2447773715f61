"""Simulated people, who choose among a few pictures of one prompt.

Most clicks are attentive: the person judges each picture by its limbs, by how well it shows the prompt and by taste, and picks
by Luce's rule. The others are careless, and it is they who make the last picture the most clicked one, as in the real data.
The strengths are set so that two people agree about as often as the paper's (42 %, Table 2).
"""

from collections.abc import Sequence

import numpy as np

from alignsd.miniature.judge import Judge
from alignsd.paper import CHOSEN_POSITIONS

FLAW, MATCH, TASTE = 4.0, 1.5, 0.2  # utility lost by a flaw, won by showing the prompt, won per rating point
CARELESS = 0.12  # share of clicks that mean nothing
POSITION = {4: CHOSEN_POSITIONS}  # how often each is chosen, measured on the real test choices with 4 images


def utilities(judge: Judge, pictures: Sequence[np.ndarray], prompts: list[str]) -> np.ndarray:
    """Returns what each picture ``(n, 64, 64, 3)`` uint8 is worth to people for its prompt, ``(n,)``."""
    seen = judge.judge(pictures)
    return MATCH * seen.matches(prompts) - FLAW * seen.flawed + TASTE * seen.rating


def careless(n: int) -> np.ndarray:
    """Returns how often each of ``n`` positions gets a careless click, ``(n,)``; the bias of 4 images alone was measured.

    Attentive clicks fall on every position alike, so what the real data has beyond that must come from the careless ones.
    """
    chosen = np.array(POSITION.get(n, np.full(n, 1 / n)))
    return (chosen / chosen.sum() - (1 - CARELESS) / n) / CARELESS


def luce(utility: np.ndarray) -> np.ndarray:
    """Returns the chance that a random person picks each picture of one choice: Luce's rule, mixed with careless clicks.

    Args:
        utility: ``(n,)``, in order of position.
    """
    liked = np.exp(utility - utility.max())
    return (1 - CARELESS) * liked / liked.sum() + CARELESS * careless(len(utility))


def choice_probabilities(judge: Judge, pictures: Sequence[np.ndarray], prompt: str) -> np.ndarray:
    """Returns the chance that a random simulated person picks each picture ``(n, 64, 64, 3)`` of one prompt, ``(n,)``."""
    return luce(utilities(judge, pictures, [prompt] * len(pictures)))


def choose(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Draws one person's choice."""
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))
