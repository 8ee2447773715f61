"""One training loop for every model of the kit: a generator, resumable to the bit.

Everything random about step ``s`` follows from ``(seed, s)``, so a run that was stopped and resumed takes the same
batches, the same noise and ends with the same weights as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from alignsd.atomic import replacing
from alignsd.errors import Problem


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
    """AdamW over the trainable parameters; vectors and scalars are not decayed (PAPER: weight decay on matrices only)."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
              {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def train(model: nn.Module, loss_of_step: Callable[[nn.Module, int], Tensor | Iterator[Tensor]], *, steps: int, learning_rate: float,
          weight_decay: float = 0.0, schedule: Callable[[int, int], float] = cosine, max_norm: float = 1.0,
          ema: float | None = None, checkpoint: Path | None = None, checkpoint_every: int = 200,
          accelerator: Accelerator | None = None) -> Iterator[tuple[int, float]]:
    """Trains a model in place and yields ``(step, loss)`` after each step, so that the caller decides what to show.

    A resumed training yields the earlier steps' losses first, so that the caller sees the whole curve either way.

    Args:
        model: only parameters with ``requires_grad`` are trained; they and the buffers are stored.
        loss_of_step: ``(model, step) -> scalar loss``, or an iterator of scalars that add up to it, for batches that do not
            fit the memory at once; must draw all randomness from ``step``.
        steps: optimizer steps in all, those before a resume included.
        learning_rate: peak learning rate of AdamW.
        weight_decay: on matrices only.
        schedule: learning-rate factor as a function of ``(step, steps)``.
        max_norm: gradient norm above which the gradient is scaled down.
        ema: decay of the moving average that replaces the weights at the end; None for no average.
        checkpoint: file to write to and, if it exists, to resume from; None to keep nothing.
        checkpoint_every: steps between checkpoints; the last step always writes one.
        accelerator: device, precision and processes; by default the training takes place where the model lies.

    Raises:
        Problem: if the loss is no longer a finite number, or the checkpoint is another model's.
    """
    accelerator = accelerator or Accelerator(device_placement=False)
    optimizer = optimizer_for(model, learning_rate, weight_decay)
    trainable = [p for p in model.parameters() if p.requires_grad]
    # The statistics of batch normalization change too, though nothing is trained in them.
    changing = {name: value for name, value in model.state_dict(keep_vars=True).items()
                if not isinstance(value, nn.Parameter) or value.requires_grad}
    model, optimizer = accelerator.prepare(model, optimizer)
    average = EMAModel(trainable, decay=ema) if ema else None
    losses = _restore(checkpoint, changing, optimizer, average)
    yield from enumerate(list(losses))
    model.train()
    for step in range(len(losses), steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, steps)
        optimizer.zero_grad()
        losses.append(sum(_back_propagated(loss_of_step(model, step), accelerator, step, learning_rate)))
        accelerator.clip_grad_norm_(trainable, max_norm)
        optimizer.step()
        if average:
            average.step(trainable)
        yield step, losses[-1]
        # After the yield, so that what the caller made of this step (a sample, say) exists wherever a resume begins.
        if checkpoint and accelerator.is_main_process and ((step + 1) % checkpoint_every == 0 or step + 1 == steps):
            _save(checkpoint, losses, changing, optimizer, average)
    if average:
        average.copy_to(trainable)
    model.eval()


def _back_propagated(parts: Tensor | Iterator[Tensor], accelerator: Accelerator, step: int, learning_rate: float) -> Iterator[float]:
    """Adds the gradient of each part of a step's loss, one part's graph in memory at a time, and yields the parts' values."""
    for part in [parts] if isinstance(parts, Tensor) else parts:
        if not torch.isfinite(part):
            raise Problem(f"the training diverged at step {step}", expected="a finite loss", found=f"a loss of {part.item()}",
                          cause=f"most often too high a learning rate (now {learning_rate})",
                          fix="lower learning_rate and run the stage again")
        accelerator.backward(part)
        yield part.item()


def _save(path: Path, losses: list[float], changing: dict, optimizer, average: EMAModel | None) -> None:
    state = {"losses": losses, "model": {name: value.detach() for name, value in changing.items()},
             "optimizer": optimizer.state_dict(), "average": average.state_dict() if average else None}
    with replacing(path) as part:
        torch.save(state, part)


def _restore(path: Path | None, changing: dict, optimizer, average: EMAModel | None) -> list[float]:
    """Puts a checkpoint's state in place and returns the losses so far, one per step done."""
    if path is None or not path.exists():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["model"].keys() != changing.keys():
        raise Problem(f"the checkpoint {path.name} does not fit the model", expected=f"{len(changing)} trained tensors",
                      found=f"{len(state['model'])} tensors, some of other names", cause="it comes from a run with other settings",
                      fix=f"delete {path.name} to start over")
    with torch.no_grad():
        for name, value in changing.items():
            value.copy_(state["model"][name])
    optimizer.load_state_dict(state["optimizer"])
    if average:
        average.load_state_dict(state["average"])
    return state["losses"]
