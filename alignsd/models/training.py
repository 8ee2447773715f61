"""Train a model: one loop for every model of the kit, resumable to the bit.

Everything random about step ``s`` follows from ``(seed, s)``. So a training that was stopped and
resumed takes the same batches and the same noise, and ends with the same weights, as a training
that was never stopped.

Several processes train one model together (see ``base.processes``): each computes the losses of
its share of a step's batch, and all take the same step.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from alignsd.base import processes
from alignsd.base.errors import Problem, at_least
from alignsd.models.checkpoints import Pace, restore, save

Schedule = Callable[[int, int], float]  # (step, steps) -> factor of the learning rate
Loss = Tensor | Iterator[Tensor]
Model = TypeVar("Model", bound=nn.Module)


def cosine(step: int, steps: int) -> float:
    """Return the learning-rate factor of a cosine that falls from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Return the learning-rate factor of a linear warm-up (10 % of the steps), then a cosine."""
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return cosine(step - warm_up, steps - warm_up)


def constant(step: int, steps: int) -> float:
    """Return the learning-rate factor 1 for every step."""
    return 1.0


def schedule_named(name: str) -> Schedule:
    """Return the schedule ``"constant"`` or ``"cosine"``.

    Raises:
        Problem: if there is no schedule of this name.
    """
    known = {"constant": constant, "cosine": cosine}
    if name not in known:
        raise Problem(
            f"There is no schedule {name!r}.",
            expected=" or ".join(known),
            found=repr(name),
            cause="a misspelt parameter",
            fix="--set schedule=constant or --set schedule=cosine",
        )
    return known[name]


@dataclass(frozen=True)
class Optimization:
    """How the weights of a model are trained: with AdamW, and a learning rate that changes.

    Attributes:
        steps: optimizer steps in all; the steps before a resume count.
        learning_rate: largest learning rate.
        weight_decay: on matrices only.
        schedule: factor of the learning rate, as a function of ``(step, steps)``.
        max_norm: gradient norm above which the gradient is scaled down.
        ema: decay of the moving average that replaces the weights at the end; None for no average.

    Raises:
        Problem: if a number is below 0 or not finite.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.0
    schedule: Schedule = cosine
    max_norm: float = 1.0
    ema: float | None = None

    def __post_init__(self) -> None:
        at_least(0, steps=self.steps, max_norm=self.max_norm)
        at_least(0, learning_rate=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Checkpointing:
    """Where and when a training writes checkpoints.

    Attributes:
        file: file to write to and, if the file exists, to resume from.
        made_from: what the training is made from, by name, such as the CLIP, the choices and the
            recipe. A checkpoint records these entries, and a checkpoint made from something else
            is refused (see ``checkpoints.fits``). None records and compares nothing.
        every: steps between checkpoints; None goes by the time (see ``checkpoints.Pace``). The last
            step always writes a checkpoint.
        clock: seconds since any moment, by which ``checkpoints.Pace`` goes.
    """

    file: Path
    made_from: Mapping[str, Any] | None = None
    every: int | None = None
    clock: Callable[[], float] = time.monotonic


def batch_indices(n: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Return which examples make up a step's batch, ``(batch,)`` int.

    Each epoch passes once over all examples, in a new order.

    Args:
        n: number of examples, at least 1.
        batch: examples per step; a batch may span two epochs.
        step: number of the step, from 0.
        seed: fixes the orders.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    orders = {}
    for epoch in np.unique(positions // n):
        orders[epoch] = np.random.default_rng((seed, epoch)).permutation(n)
    return np.array([orders[position // n][position % n] for position in positions])


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of one step's noise."""
    words = np.random.SeedSequence((seed, step)).generate_state(1)
    return torch.Generator().manual_seed(int(words[0]))


def optimizer_for(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters.

    Only matrices are decayed (paper); vectors and scalars are not.
    """
    trainable = _trainable(model)
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def train(
    model: Model,
    loss_of_step: Callable[[Model, int], Loss],
    optimization: Optimization,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Train a model in place, where the model lies, and yield ``(step, loss)`` after each step.

    The caller decides what to show. A resumed training first yields the losses of the steps before
    the checkpoint. So the caller always sees the whole curve.

    Where several processes train together, the sum of their losses is the loss. All processes begin
    with the same weights and take the same steps. The first process writes the checkpoints; all
    processes resume from them, also where a launch has another number of processes. A buffer that
    changes, such as batch normalization's, keeps to the process's own share.

    Args:
        model: only parameters with ``requires_grad`` are trained. Checkpoints hold these parameters
            and the buffers.
        loss_of_step: ``(model, step) -> scalar loss``. For batches that do not fit the memory at
            once: an iterator of scalars that add up to the loss. Where several processes train
            together: the loss of the process's share, divided by the size of the whole batch; an
            iterator without a scalar where the share is empty. All randomness must follow from
            ``step``.
        optimization: how the weights are trained.
        checkpointing: None writes no checkpoint, and always starts at the first step.

    Raises:
        Problem: if the loss is no longer a finite number; if the checkpoint is damaged, of another
            model, or made from something else; or if a process was lost.
    """
    optimizer = optimizer_for(model, optimization.learning_rate, optimization.weight_decay)
    trainable = _trainable(model)
    average = EMAModel(trainable, decay=optimization.ema) if optimization.ema else None
    writer = _Writer(checkpointing, _changing(model), optimizer, average)
    losses = writer.losses_so_far(optimization.steps)
    yield from enumerate(list(losses))
    model.train()
    for step in range(len(losses), optimization.steps):
        _set_learning_rate(optimizer, optimization, step)
        optimizer.zero_grad()
        loss = loss_of_step(model, step)
        own_loss = sum(_back_propagated(loss, step, optimization.learning_rate))
        losses.append(_added_up(own_loss, trainable))
        nn.utils.clip_grad_norm_(trainable, optimization.max_norm)
        optimizer.step()
        if average:
            average.step(trainable)
        yield step, losses[-1]
        # After the yield: what the caller made of this step, such as a sample, exists wherever a
        # resumed training begins.
        writer.write_if_due(losses, is_last=step + 1 == optimization.steps)
    if average:
        average.copy_to(trainable)
    model.eval()


class _Writer:
    """Resume a training, and write each checkpoint when due."""

    def __init__(
        self,
        checkpointing: Checkpointing | None,
        changing: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        average: EMAModel | None,
    ) -> None:
        self._checkpointing = checkpointing
        self._changing = changing
        self._optimizer = optimizer
        self._average = average
        self._pace = Pace(checkpointing.clock if checkpointing else time.monotonic)

    def losses_so_far(self, steps: int) -> list[float]:
        """Put the checkpoint's state in place, and return the losses of the steps so far.

        No process writes a checkpoint before all processes have read the present checkpoint.
        """
        if self._checkpointing is None:
            return []
        processes.wait()
        file, made_from = self._checkpointing.file, self._checkpointing.made_from
        losses = restore(file, steps, self._changing, self._optimizer, self._average, made_from)
        processes.wait()
        return losses

    def write_if_due(self, losses: list[float], is_last: bool) -> None:
        """Write a checkpoint after the last step, and whenever a checkpoint is due.

        The first process writes. After the last step, all processes find the checkpoint.
        """
        if self._checkpointing is None:
            return
        if processes.is_first() and (is_last or self._is_due(len(losses))):
            file, made_from = self._checkpointing.file, self._checkpointing.made_from
            with self._pace.writing():
                save(file, losses, self._changing, self._optimizer, self._average, made_from)
        if is_last:
            processes.wait()

    def _is_due(self, steps: int) -> bool:
        every = self._checkpointing.every if self._checkpointing else None
        if every is None:
            return self._pace.is_due()
        return steps % every == 0


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, optimization: Optimization, step: int
) -> None:
    factor = optimization.schedule(step, optimization.steps)
    for group in optimizer.param_groups:
        group["lr"] = optimization.learning_rate * factor


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a training changes: trained parameters, and all buffers.

    The statistics of batch normalization change too, though no optimizer trains them.
    """
    state = model.state_dict(keep_vars=True)
    return {
        name: value
        for name, value in state.items()
        if not isinstance(value, nn.Parameter) or value.requires_grad
    }


def _back_propagated(loss: Loss, step: int, learning_rate: float) -> Iterator[float]:
    """Add the gradient of each part of a step's loss, and yield the value of each part.

    Only the graph of one part at a time is in memory.
    """
    for part in [loss] if isinstance(loss, Tensor) else loss:
        if not torch.isfinite(part):
            raise Problem(
                f"the training diverged at step {step}",
                expected="a finite loss",
                found=f"a loss of {part.item()}",
                cause=f"most often too high a learning rate (now {learning_rate})",
                fix="lower learning_rate and run the stage again",
            )
        part.backward()
        yield part.item()


def _added_up(loss: float, trainable: list[nn.Parameter]) -> float:
    """Replace the gradients by their sums over the processes, and return the sum of the losses.

    A parameter without a gradient in any process keeps no gradient: the optimizer leaves the
    parameter alone.
    """
    if processes.count() == 1:
        return loss
    has_gradient = [float(parameter.grad is not None) for parameter in trainable]
    sums = torch.tensor([loss, *has_gradient], dtype=torch.float64)
    processes.add_up([sums])
    gradients = []
    for parameter, users in zip(trainable, sums[1:].tolist(), strict=True):
        if users and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if users and parameter.grad is not None:
            gradients.append(parameter.grad)
    processes.add_up(gradients)
    return sums[0].item()
