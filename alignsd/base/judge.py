"""What the kit asks of those who know the truth: a judge, people, a reader of an attribute.

A judge says which pictures are drawn wrong, and which show their prompt.

The kit works without a judge, and takes any object with these methods. The simulated world has such
a judge, see ``alignsd.miniature.judge``. ``alignsd.sources.judge`` turns a parameter into a judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# Pictures ``(height, width, 3)`` uint8 and a prompt per picture -> what each is worth, ``(n,)``.
Utility = Callable[[Sequence[np.ndarray], list[str]], np.ndarray]


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


@dataclass(frozen=True)
class Attribute:
    """Something that a picture shows though no prompt asks for it, such as a person's skin tone.

    Attributes:
        name: of the attribute, such as ``"skin tone"``.
        classes: all classes, in the order in which tables and figures show the classes.
        read: returns the class of each picture ``(height, width, 3)`` uint8.
    """

    name: str
    classes: tuple[str, ...]
    read: Callable[[Sequence[np.ndarray]], list[str]]

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """Return the class of each picture."""
        return self.read(pictures)
