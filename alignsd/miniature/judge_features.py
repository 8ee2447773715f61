"""The judge's features, from which FID can be computed where Inception is missing."""

from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.miniature.judge import Judge
from alignsd.miniature.renderer import SIZE
from alignsd.models.tower import FEATURES


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
        if tuple(pictures.shape[1:]) != (3, SIZE, SIZE):
            height, width = pictures.shape[2:]
            raise Problem(
                "The judge has no features of these images.",
                expected=f"{SIZE} x {SIZE} pixels, the miniature's size",
                found=f"{width} x {height} pixels",
                cause="images of another model, or pictures that were changed by hand",
                fix="--set fid_features=inception",
            )
        return self.judge.features(pictures)
