"""The judge: tells from pixels what a picture shows and whether its person is drawn right. HPS never sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.miniature import world
from alignsd.miniature.renderer import SIZE
from alignsd.models.tower import FEATURES, Tower
from alignsd.models.weights import read_tensors, short

CLASSES = {name: len(values) for name, values in world.ATTRIBUTES.items()} | {"flaw": len(world.FLAWS)}


@dataclass(frozen=True)
class Verdicts:
    """What the judge sees in ``n`` pictures; every array is ``(n,)``."""

    flaw: np.ndarray  # index into world.FLAWS
    flawed: np.ndarray  # bool: any flaw
    attributes: dict[str, np.ndarray]  # class index of each attribute
    rating: np.ndarray  # composition and colour, 1-10

    @property
    def flaw_names(self) -> list[str]:
        """Return the name of each picture's flaw, one of ``world.FLAWS``."""
        return [world.FLAWS[index] for index in self.flaw]

    def matches(self, prompts: list[str]) -> np.ndarray:
        """Returns for each picture whether it shows all that its prompt asks for, ``(n,)`` bool."""
        asked = [world.scene_index(world.scene_of(prompt)) for prompt in prompts]
        return np.array([all(self.attributes[name][i] == value for name, value in row.items())
                         for i, row in enumerate(asked)], dtype=bool)


class Judge(Tower):
    """The tower with one head per attribute, one for the flaw and one for the rating."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, n) for name, n in (CLASSES | {"rating": 1}).items()})

    def features(self, pictures: Tensor) -> Tensor:
        """Returns features ``(n, 96)`` of pictures ``(n, 3, 64, 64)``, uint8."""
        return super().forward(pictures.float() / 127.5 - 1)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Returns logits ``(n, classes)`` per head, and ``rating`` ``(n, 1)``, of pictures ``(n, 3, 64, 64)``, uint8."""
        features = self.features(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def judge(self, pictures: Sequence[np.ndarray], batch: int = 256) -> Verdicts:
        """Judges pictures ``(n, 64, 64, 3)``, uint8.

        Raises:
            Problem: if one has another size.
        """
        if sizes := {picture.shape for picture in pictures} - {(SIZE, SIZE, 3)}:
            raise Problem("The judge cannot judge these images.", expected=f"{SIZE} x {SIZE} pixels, the miniature's size",
                          found=str(min(sizes)), cause="images of another model than the miniature's",
                          fix='set the notebook\'s parameter judge = "": flaws and prompt match are then not measured')
        parts = [self(to_tensor(np.stack(pictures[i:i + batch]))) for i in range(0, len(pictures), batch)]
        logits = {name: torch.cat([part[name] for part in parts]) for name in self.heads}
        found = {name: logits[name].argmax(1).numpy() for name in CLASSES}
        flaw = found.pop("flaw")
        return Verdicts(flaw, flaw != 0, found, logits["rating"][:, 0].numpy())


def to_tensor(pictures: np.ndarray) -> Tensor:
    """Turns pictures ``(n, h, w, 3)`` uint8 into a tensor ``(n, 3, h, w)`` uint8."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)


def load_judge(path: Path) -> Judge:
    """Load a judge from its safetensors file.

    Raises:
        Problem: if there is no such file, or it holds no judge, or numbers that are not finite.
    """
    judge = Judge()
    try:
        state = read_tensors(path, "a judge")
    except Problem as problem:
        raise _not_loaded(path, problem.found, problem.cause) from problem
    try:
        judge.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        cause = "a misspelt name, or weights of another model"
        raise _not_loaded(path, "tensors of other names or shapes", cause) from error
    return judge.eval()


def _not_loaded(path: Path, found: str, cause: str) -> Problem:
    return Problem(
        f"The judge {short(Path(path).name)} cannot be loaded.",
        expected="miniature/judge, or a safetensors file of a judge",
        found=found,
        cause=cause,
        fix="set the notebook's judge to miniature/judge, or to empty; "
        "git checkout alignsd/miniature/weights",
    )
