"""The judge: see from pixels what a picture shows and whether the person is drawn right.

The judge stands for the truth. HPS never sees the judge. FID can be computed from the judge's
features where Inception is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.miniature import world
from alignsd.miniature.renderer import SIZE
from alignsd.models.files.weights import read_tensors, short
from alignsd.models.tower import FEATURES, Tower

CLASSES = {name: len(values) for name, values in world.ATTRIBUTES.items()} | {
    "flaw": len(world.FLAWS)
}

WHOLE = world.FLAWS.index("none")


@dataclass(frozen=True)
class Verdicts:
    """What the judge sees in ``n`` pictures.

    Attributes:
        flaw: ``(n,)`` int, index into ``world.FLAWS``.
        attributes: class index ``(n,)`` of each attribute.
        rating: ``(n,)``, composition and colours, 1-10.
    """

    flaw: np.ndarray
    attributes: dict[str, np.ndarray]
    rating: np.ndarray

    @property
    def flawed(self) -> np.ndarray:
        """Return whether each picture has any flaw, ``(n,)`` bool."""
        return self.flaw != WHOLE

    @property
    def flaw_names(self) -> list[str]:
        """Return the name of each picture's flaw, one of ``world.FLAWS``."""
        return [world.FLAWS[index] for index in self.flaw]

    def matches(self, prompts: list[str]) -> np.ndarray:
        """Return whether each picture shows all that the prompt asks for, ``(n,)`` bool."""
        asked = [world.scene_index(world.scene_of(prompt)) for prompt in prompts]
        is_shown = np.ones(len(asked), dtype=bool)
        for name, seen in self.attributes.items():
            wanted = np.array([scene[name] for scene in asked], dtype=int)
            is_shown &= seen == wanted
        return is_shown


class Judge(nn.Module):
    """The tower's layers, with a head per attribute, a head for the flaw, a head for the rating."""

    def __init__(self) -> None:
        super().__init__()
        tower = Tower()
        # The layers keep the names of the tower, as the shipped weights use these names.
        self.body, self.neck = tower.body, tower.neck
        sizes = CLASSES | {"rating": 1}
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, n) for name, n in sizes.items()})

    def features(self, pictures: Tensor) -> Tensor:
        """Return features ``(n, 96)`` of pictures ``(n, 3, 64, 64)``, uint8."""
        normalized = pictures.float() / 127.5 - 1
        return self.neck(self.body(normalized))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return each head's output for pictures ``(n, 3, 64, 64)``, uint8.

        Returns:
            Logits ``(n, classes)`` of each attribute and of the flaw; ``rating`` is ``(n, 1)``.
        """
        features = self.features(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def judge(self, pictures: Sequence[np.ndarray] | np.ndarray, batch: int = 256) -> Verdicts:
        """Return the verdicts on pictures ``(64, 64, 3)``, uint8.

        Args:
            pictures: the pictures, or one array ``(n, 64, 64, 3)``.
            batch: pictures at a time.

        Raises:
            Problem: if a picture has another size.
        """
        check_size(pictures)
        outputs = []
        for start in range(0, len(pictures), batch):
            stacked = np.stack(list(pictures[start : start + batch]))
            outputs.append(self(to_tensor(stacked)))
        joined = {name: torch.cat([output[name] for output in outputs]) for name in self.heads}
        flaw = _classes(joined["flaw"])
        attributes = {name: _classes(joined[name]) for name in world.ATTRIBUTES}
        rating = joined["rating"][:, 0].numpy()
        return Verdicts(flaw, attributes, rating)


class JudgeFeatures(nn.Module):
    """The judge's features in the form that torchmetrics expects of a network."""

    num_features = FEATURES

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features ``(n, 96)`` of pictures ``(n, 3, 64, 64)``, uint8.

        Raises:
            Problem: if the pictures have another size.
        """
        _check_tensor(pictures)
        return self.judge.features(pictures)


class JudgeClasses(nn.Module):
    """The judge's chances of each scene: the classes of the inception score.

    A scene is one background, shirt, pose and hat or no hat. The chance of a scene is the product
    of the chances of these attributes. The classes do not tell whether a person is drawn wrong:
    Inception's classes tell what a picture shows, and not how well.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, pictures: Tensor) -> Tensor:
        """Return chances ``(n, scenes)`` of pictures ``(n, 3, 64, 64)``, uint8; a row adds up to 1.

        Raises:
            Problem: if the pictures have another size.
        """
        _check_tensor(pictures)
        logits = self.judge(pictures)
        chances = torch.ones(len(pictures), 1, device=pictures.device)
        for name in world.ATTRIBUTES:
            of_attribute = logits[name].softmax(dim=1)
            chances = (chances[:, :, None] * of_attribute[:, None, :]).flatten(1)
        return chances


def _check_tensor(pictures: Tensor) -> None:
    if tuple(pictures.shape[1:]) != (3, SIZE, SIZE):
        height, width = pictures.shape[2:]
        raise Problem(
            "The judge has no features of these images.",
            expected=f"{SIZE} x {SIZE} pixels, the miniature's size",
            found=f"{width} x {height} pixels",
            cause="images of another model, or pictures that were changed by hand",
            fix="--set fid_features=inception",
        )


def _classes(logits: Tensor) -> np.ndarray:
    """Return the likeliest class ``(n,)`` by logits ``(n, classes)``."""
    return logits.argmax(1).numpy()


def check_size(pictures: Sequence[np.ndarray] | np.ndarray) -> None:
    """Do nothing if all pictures have the miniature's size.

    Raises:
        Problem: otherwise.
    """
    other_sizes = {picture.shape for picture in pictures} - {(SIZE, SIZE, 3)}
    if other_sizes:
        raise Problem(
            "The judge cannot judge these images.",
            expected=f"{SIZE} x {SIZE} pixels, the miniature's size",
            found=str(min(other_sizes)),
            cause="images of another model than the miniature's",
            fix='set the parameter judge = "": flaws and prompt match are then not measured',
        )


def to_tensor(pictures: np.ndarray) -> Tensor:
    """Return pictures ``(n, h, w, 3)`` uint8 as a tensor ``(n, 3, h, w)`` uint8."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)


def load_judge(path: Path) -> Judge:
    """Load a judge from a safetensors file.

    Raises:
        Problem: if there is no such file, the file holds no judge, or a number is not finite.
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
