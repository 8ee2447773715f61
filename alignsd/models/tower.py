"""The network with which the miniature's CLIP and the miniature's judge look at pictures."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

WIDTHS = (3, 24, 48, 64, 96)  # channels; each stage halves the sides of a picture
FEATURES = WIDTHS[-1]
STAGES = len(WIDTHS) - 1


class Tower(nn.Module):
    """Four stages of convolutions and one layer: pictures ``(n, 3, 64, 64)`` to ``(n, 96)``.

    A flaw of a limb shows in a few pixels, so no pooling throws these pixels away early. This
    network learns to see flaws from fewer labels than timm's smallest networks (docs/deviations.md,
    row 19).
    """

    num_features = FEATURES
    # open_clip asks timm's models for the size of what is pooled. Nothing is pooled here.
    default_cfg: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in pairwise(WIDTHS):
            layers.extend(_stage(inner, outer))
        self.body = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(FEATURES * 16, FEATURES), nn.GELU())

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features ``(n, 96)`` of normalized pictures ``(n, 3, 64, 64)``."""
        features = self.body(pictures)
        # Half precision in the neck would move scores more than all layers of the body together.
        with torch.autocast(pictures.device.type, enabled=False):
            return self.neck(features.to(self.neck[1].weight.dtype))

    def reset_classifier(self, num_classes: int, global_pool: str = "") -> None:
        """Do nothing: open_clip asks timm's models for bare features, and a tower has no head."""

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return the function that tells open_clip the layer group of a named parameter.

        The group is the parameter's stage, 0 to 3, or 4 for the neck.
        """
        layers_per_stage = len(self.body) // STAGES

        def group(name: str) -> int:
            if name.startswith("body"):
                return int(name.split(".")[1]) // layers_per_stage
            return STAGES

        return group


def _stage(inner: int, outer: int) -> list[nn.Module]:
    """Return the layers of a stage, which halves the sides of ``(n, inner, side, side)``."""
    return [
        nn.Conv2d(inner, outer, 4, stride=2, padding=1),
        nn.GroupNorm(8, outer),
        nn.GELU(),
        nn.Conv2d(outer, outer, 3, padding=1),
        nn.GroupNorm(8, outer),
        nn.GELU(),
    ]


def miniature_tower(pretrained: bool = False, **timm_arguments: Any) -> Tower:
    """Return a tower of random weights; timm's arguments name a hub's weights, to no effect."""
    return Tower()


def register() -> str:
    """Make the tower known to timm, and through timm to open_clip; return the tower's name there.

    A second call does no harm.
    """
    from timm.models import is_model, register_model  # takes seconds, and the judge needs no timm

    name = miniature_tower.__name__
    if not is_model(name):
        register_model(miniature_tower)
    return name
