"""Simulated people, who choose among a few pictures of one prompt.

A person looks at the pictures, judges each by its limbs, by how well it shows the prompt and by taste, and picks by
Luce's rule; sometimes the click means nothing, and the last picture is clicked more often than the others, as in the
real data. The strengths are set so that two people agree about as often as the paper's (42 %, Table 2); on the 450
test choices of preset mini they agree on 43.3 % (41.3 to 45.4).
"""

import numpy as np

from alignsd.miniature.judge import Judge

FLAW, MATCH, TASTE = 4.0, 1.5, 0.2  # utility lost by a flaw, won by showing the prompt, won per rating point
NOISE = 0.10  # share of clicks that mean nothing
POSITION = {4: (0.227, 0.224, 0.239, 0.311)}  # measured on the real test choices with 4 images


def utilities(judge: Judge, pictures: np.ndarray, prompts: list[str]) -> np.ndarray:
    """Returns what each picture ``(n, 64, 64, 3)`` uint8 is worth to people for its prompt, ``(n,)``."""
    seen = judge.judge(pictures)
    return MATCH * seen.matches(prompts) - FLAW * seen.flawed + TASTE * seen.rating


def position_bias(n: int) -> np.ndarray:
    """Returns how often each of ``n`` positions is clicked, all else equal, ``(n,)``; only 4 images were measured."""
    return np.array(POSITION.get(n, np.full(n, 1 / n)))


def luce(utility: np.ndarray) -> np.ndarray:
    """Returns the chance that a random person picks each picture of one choice.

    Luce's rule over the utilities times the position bias, mixed with clicks that only follow the position.

    Args:
        utility: ``(n,)``, in order of position.
    """
    position = position_bias(len(utility))
    liked = np.exp(utility - utility.max()) * position
    return (1 - NOISE) * liked / liked.sum() + NOISE * position


def choice_probabilities(judge: Judge, pictures: np.ndarray, prompt: str) -> np.ndarray:
    """Returns the chance that a random simulated person picks each picture ``(n, 64, 64, 3)`` of one prompt, ``(n,)``."""
    return luce(utilities(judge, pictures, [prompt] * len(pictures)))


def choose(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Draws one person's choice."""
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))
