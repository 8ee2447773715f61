"""One training loop for every model of the kit: a generator, resumable to the bit.

Everything random about step ``s`` follows from ``(seed, s)``, so a run that was stopped and resumed takes the same
batches, the same noise and ends with the same weights as one that was not.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.models.checkpoints import Pace, restore, save
from alignsd.models.checkpoints import fits as fits  # whoever trains asks here


def cosine(step: int, steps: int) -> float:
    """Learning-rate factor of a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Learning-rate factor of a linear warm-up over the first 10 % of the steps, then a cosine to 0."""
    warm_up = max(1, steps // 10)
    return (step + 1) / warm_up if step < warm_up else cosine(step - warm_up, steps - warm_up)


def constant(step: int, steps: int) -> float:
    """Learning-rate factor 1 throughout."""
    return 1.0


def batch_indices(n: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Returns which of ``n`` examples make up a step's batch: each epoch passes once over all, in its own order.

    Args:
        n: number of examples, at least 1.
        batch: examples per step; a batch may span two epochs.
        step: number of the step, from 0.
        seed: fixes the orders.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    orders = {epoch: np.random.default_rng((seed, epoch)).permutation(n) for epoch in np.unique(positions // n)}
    return np.array([orders[p // n][p % n] for p in positions])


def step_generator(seed: int, step: int) -> torch.Generator:
    """Returns the generator of one step's noise."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))


def schedule_named(name: str) -> Callable[[int, int], float]:
    """Returns the learning rate's course by its name, ``"constant"`` or ``"cosine"``.

    Raises:
        Problem: if there is no such course.
    """
    known = {"constant": constant, "cosine": cosine}
    if name not in known:
        raise Problem(f"There is no schedule {name!r}.", expected=" or ".join(known), found=repr(name),
                      cause="a misspelt parameter", fix="set the parameter `schedule` of notebook 05")
    return known[name]


def optimizer_for(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters.

    Vectors and scalars are not decayed (PAPER: weight decay on matrices only).
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def train(
    model: nn.Module,
    loss_of_step: Callable[[nn.Module, int], Tensor | Iterator[Tensor]],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    schedule: Callable[[int, int], float] = cosine,
    max_norm: float = 1.0,
    ema: float | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    made_from: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
    accelerator: Accelerator | None = None,
) -> Iterator[tuple[int, float]]:
    """Train a model in place and yield ``(step, loss)`` after each step; the caller decides what to show.

    A resumed training yields the earlier steps' losses first, so that the caller sees the whole curve
    either way.

    Args:
        model: only parameters with ``requires_grad`` are trained; they and the buffers are stored.
        loss_of_step: ``(model, step) -> scalar loss``, or an iterator of scalars that add up to it, for
            batches that do not fit the memory at once; must draw all randomness from ``step``.
        steps: optimizer steps in all, those before a resume included.
        learning_rate: peak learning rate of AdamW.
        weight_decay: on matrices only.
        schedule: learning-rate factor as a function of ``(step, steps)``.
        max_norm: gradient norm above which the gradient is scaled down.
        ema: decay of the moving average that replaces the weights at the end; None for no average.
        checkpoint: file to write to and, if it exists, to resume from; None to keep nothing.
        checkpoint_every: steps between checkpoints; None goes by the time (``checkpoints.Pace``). The
            last step always writes a checkpoint.
        made_from: what the training is made from, by name, such as the CLIP, the choices and the
            recipe; kept in the checkpoint. A checkpoint made from something else is refused, see
            ``fits``. None keeps and compares nothing.
        clock: seconds since any moment, by which checkpoints are written.
        accelerator: device, precision and processes; by default the training takes place where the
            model lies.

    Raises:
        Problem: if the loss is no longer a finite number; or if the checkpoint is damaged, of another
            model, or made from something else.
    """
    accelerator = accelerator or Accelerator(device_placement=False)
    optimizer = optimizer_for(model, learning_rate, weight_decay)
    trainable = [p for p in model.parameters() if p.requires_grad]
    changing = _changing(model)
    model, optimizer = accelerator.prepare(model, optimizer)
    average = EMAModel(trainable, decay=ema) if ema else None
    losses = restore(checkpoint, steps, changing, optimizer, average, made_from)
    yield from enumerate(list(losses))
    model.train()
    pace = Pace(clock)
    for step in range(len(losses), steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, steps)
        optimizer.zero_grad()
        parts = loss_of_step(model, step)
        losses.append(sum(_back_propagated(parts, accelerator, step, learning_rate)))
        accelerator.clip_grad_norm_(trainable, max_norm)
        optimizer.step()
        if average:
            average.step(trainable)
        yield step, losses[-1]
        # After the yield, so that what the caller made of this step (a sample, say) exists wherever a
        # resume begins.
        if checkpoint is None or not accelerator.is_main_process:
            continue
        if step + 1 == steps or _is_due(pace, checkpoint_every, step):
            with pace.writing():
                save(checkpoint, losses, changing, optimizer, average, made_from)
    if average:
        average.copy_to(trainable)
    model.eval()


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a training changes: trained parameters, and all buffers.

    The statistics of batch normalization change too, though nothing is trained in them.
    """
    state = model.state_dict(keep_vars=True)
    return {
        name: value
        for name, value in state.items()
        if not isinstance(value, nn.Parameter) or value.requires_grad
    }


def _is_due(pace: Pace, every: int | None, step: int) -> bool:
    return pace.is_due() if every is None else (step + 1) % every == 0


def _back_propagated(
    parts: Tensor | Iterator[Tensor], accelerator: Accelerator, step: int, learning_rate: float
) -> Iterator[float]:
    """Add the gradient of each part of a step's loss, and yield the parts' values.

    The graph of one part at a time is in memory.
    """
    for part in [parts] if isinstance(parts, Tensor) else parts:
        if not torch.isfinite(part):
            raise Problem(
                f"the training diverged at step {step}",
                expected="a finite loss",
                found=f"a loss of {part.item()}",
                cause=f"most often too high a learning rate (now {learning_rate})",
                fix="lower learning_rate and run the stage again",
            )
        accelerator.backward(part)
        yield part.item()
