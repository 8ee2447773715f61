"""What every training of a LoRA takes, whatever it learns from."""

from dataclasses import dataclass

from alignsd.base.errors import at_least, check_seed
from alignsd.models.training import Optimization, schedule_named


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a LoRA is trained, apart from what the LoRA learns from.

    Attributes:
        steps: optimizer steps.
        batch: examples per step.
        micro_batch: examples in memory at once; several micro-batches accumulate the gradient of a
            batch.
        learning_rate: of AdamW; the largest, if the learning rate changes.
        weight_decay: of AdamW.
        rank: of the low-rank matrices.
        seed: fixes the first matrices, and order, noise and time steps of the training.
        schedule: of the learning rate: ``"constant"``; or ``"cosine"``, with which the last steps
            hardly move the weights.

    Raises:
        Problem: that names the first setting that is out of range.
    """

    steps: int
    batch: int
    micro_batch: int
    learning_rate: float
    weight_decay: float
    rank: int
    seed: int
    schedule: str = "constant"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, batch=self.batch, micro_batch=self.micro_batch)
        at_least(1, rank=self.rank)
        at_least(0, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        check_seed(self.seed)
        schedule_named(self.schedule)

    @property
    def optimization(self) -> Optimization:
        """How ``models.training.train`` trains the matrices."""
        schedule = schedule_named(self.schedule)
        return Optimization(self.steps, self.learning_rate, self.weight_decay, schedule=schedule)
