"""What the kit asks of a judge: which pictures are drawn wrong, and which show their prompt.

The kit works without a judge, and takes any object with these methods. The simulated world has such
a judge, see ``alignsd.miniature.judge``. ``alignsd.sources.judge`` turns a parameter into a judge.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Verdicts(Protocol):
    """What a judge says of ``n`` pictures."""

    @property
    def flawed(self) -> np.ndarray:
        """Return whether each picture has a flaw, ``(n,)`` bool."""

    @property
    def flaw_names(self) -> list[str]:
        """Return each picture's flaw, such as ``"missing arm"``; ``"none"`` if whole."""

    def matches(self, prompts: list[str]) -> np.ndarray:
        """Return whether each picture shows all that the prompt asks for, ``(n,)`` bool."""


class Judge(Protocol):
    """Tell from pixels alone what is wrong with a picture and what the picture shows."""

    def judge(self, pictures: Sequence[np.ndarray]) -> Verdicts:
        """Return the verdicts on pictures ``(height, width, 3)`` uint8, in the order given."""
