"""The network with which the miniature's CLIP and its judge look at pictures."""

from itertools import pairwise

from torch import Tensor, nn

WIDTHS = (3, 24, 48, 64, 96)  # channels; each stage halves the picture's sides
FEATURES = WIDTHS[-1]


class Tower(nn.Module):
    """Four convolutional stages, then one layer over all places: features ``(n, 96)`` of pictures ``(n, 3, 64, 64)``.

    What is odd about a limb shows in a few pixels, so no pooling throws them away early: learning from labels, this
    network tells flaws sooner than timm's smallest ones (docs/deviations.md, row 19).
    """

    num_features = FEATURES
    default_cfg: dict = {}  # timm's models have one; open_clip asks it for the size of what is pooled, and here nothing is

    def __init__(self):
        super().__init__()
        stages = [(nn.Conv2d(a, b, 4, stride=2, padding=1), nn.GroupNorm(8, b), nn.GELU(),
                   nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(8, b), nn.GELU()) for a, b in pairwise(WIDTHS)]
        self.body = nn.Sequential(*(layer for stage in stages for layer in stage))
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(FEATURES * 16, FEATURES), nn.GELU())

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns features ``(n, 96)`` of normalized pictures ``(n, 3, 64, 64)``."""
        return self.neck(self.body(pictures))

    def reset_classifier(self, num_classes: int, global_pool: str = "") -> None:
        """Does nothing: open_clip asks timm's models to give bare features, which these are."""

    def group_matcher(self, coarse: bool = False):
        """Returns what tells open_clip which layer group a parameter belongs to: its stage, or 4 for the neck."""
        layers = len(self.body) // (len(WIDTHS) - 1)
        return lambda name: int(name.split(".")[1]) // layers if name.startswith("body") else len(WIDTHS) - 1
