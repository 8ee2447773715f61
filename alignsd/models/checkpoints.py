"""Checkpoints of a training: when one is written, what it holds, and whether it may be resumed."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.models.weights import is_finite, read_torch, short

SECONDS = 10.0  # of work that a stopped training may lose
SHARE = 0.02  # of the time that writing checkpoints may take
MOMENTS = ("exp_avg", "exp_avg_sq")  # what Adam keeps beside each trained tensor
CHOSEN_EACH_STEP = ("lr", "params")  # entries of an optimizer's group that are no setting of it
DAMAGED = "a full disk, a copy that was cut off, or a file of another program"
SETTINGS = "a parameter or an input of the training changed since the checkpoint was written"


class Pace:
    """Decide when a checkpoint is due.

    A checkpoint is due after ``SECONDS`` of work, or later if checkpoints are costly: writing them
    takes at most the share ``SHARE`` of the time.

    Args:
        clock: seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._begun = clock()
        self._cost = 0.0  # seconds that the last checkpoint took

    def is_due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return self._clock() - self._begun >= max(SECONDS, self._cost / SHARE)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure what the checkpoint that is written in this block costs."""
        started = self._clock()
        yield
        self._begun = self._clock()
        self._cost = self._begun - started


def save(
    path: Path,
    losses: list[float],
    changing: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    average: EMAModel | None,
    made_from: Mapping[str, Any] | None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        losses: of the steps so far.
        changing: tensors that the training changes, by name.
        optimizer: whose state is kept.
        average: moving average of the weights; None for no average.
        made_from: what the training is made from, see ``fits``; None keeps no such record.
    """
    state = {
        "losses": losses,
        "model": {name: value.detach() for name, value in changing.items()},
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict() if average else None,
        "made_from": None if made_from is None else json.dumps(_plain(made_from)),
    }
    with replacing(path) as unfinished:
        torch.save(state, unfinished)


def fits(checkpoint: Path, made_from: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint exists and was made from exactly this.

    Args:
        checkpoint: the file; only its record is read, not its tensors.
        made_from: entries by name, such as the CLIP, the choices and the recipe; anything that JSON
            holds.

    Raises:
        Problem: if the file is damaged.
    """
    if not _is_there(checkpoint):
        return False
    state = _read(checkpoint, lazy=True)
    return _record(state, checkpoint) == _plain(made_from)


def restore(
    path: Path | None,
    steps: int,
    changing: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    average: EMAModel | None,
    made_from: Mapping[str, Any] | None,
) -> list[float]:
    """Put a checkpoint's state in place and return the losses so far, one per step done.

    Args:
        path: the checkpoint; None, or a file that does not exist, gives no losses.
        steps: that the training takes in all.
        changing, optimizer, average, made_from: as in ``save``; None for ``made_from`` takes a
            checkpoint whatever it was made from.

    Raises:
        Problem: if the file is damaged, or is of another model, optimizer or training. Nothing was
            put in place then.
    """
    if path is None or not _is_there(path):
        return []
    state = _read(path)
    if made_from is not None:
        _check_record(_record(state, path), _plain(made_from), path)
    losses = _checked_losses(state, steps, path)
    _check_model(state, changing, path)
    _check_optimizer(state, optimizer, path)
    _check_average(state, average, path)
    with torch.no_grad():
        for name, value in changing.items():
            value.copy_(state["model"][name])
    optimizer.load_state_dict(state["optimizer"])
    if average:
        average.load_state_dict(state["average"])
    return losses


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _delete(path: Path) -> str:
    return f"delete {shown(path)} to start the training over"


def _read(path: Path, lazy: bool = False) -> dict[str, Any]:
    state = read_torch(path, "a checkpoint of a training", _delete(path), lazy)
    if not isinstance(state, dict) or not {"losses", "model", "optimizer"} <= state.keys():
        raise _misfit(path, "a file of torch without losses, model and optimizer", DAMAGED)
    return state


def _misfit(path: Path, found: str, cause: str, expected: str = "") -> Problem:
    return Problem(
        f"the checkpoint {short(path.name)} does not fit the model",
        expected=expected or "a checkpoint that this training wrote",
        found=found,
        cause=cause,
        fix=_delete(path),
    )


def _plain(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries as JSON gives them back, in which tuples are lists."""
    return json.loads(json.dumps(dict(made_from), sort_keys=True))


def _record(state: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    text = state.get("made_from")
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _misfit(path, "a damaged record of what the training was made from", DAMAGED)
    return record


def _check_record(old: dict[str, Any] | None, new: dict[str, Any], path: Path) -> None:
    if old == new:
        return
    if old is None:
        raise _misfit(path, "no record of what it was made from", "another version of the kit wrote it")
    names = [name for name in {**new, **old} if name not in old or name not in new or old[name] != new[name]]
    raise Problem(
        f"the checkpoint {short(path.name)} is of another training",
        expected="; ".join(_entry(name, new) for name in names),
        found="; ".join(_entry(name, old) for name in names),
        cause=SETTINGS,
        fix=f"{_delete(path)}, or set back what differs",
    )


def _entry(name: str, record: Mapping[str, Any]) -> str:
    return f"{short(name)} = {short(repr(record[name]))}" if name in record else f"no {short(name)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_losses(state: Mapping[str, Any], steps: int, path: Path) -> list[float]:
    losses = state["losses"]
    if not isinstance(losses, list) or not all(_is_number(loss) for loss in losses):
        raise _misfit(path, "losses that are no list of finite numbers", DAMAGED)
    if len(losses) > steps:
        raise _misfit(path, f"{len(losses):,} steps", SETTINGS, f"at most the {steps:,} steps asked for")
    return losses


def _is_like(value: Any, own: Tensor) -> bool:
    """Return whether a value is a tensor of the shape of ``own`` that can take its place."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    same_kind = value.is_floating_point() == own.is_floating_point()
    return value.shape == own.shape and same_kind and is_finite(value)


def _check_model(state: Mapping[str, Any], changing: Mapping[str, Tensor], path: Path) -> None:
    model = state["model"]
    if not isinstance(model, dict):
        raise _misfit(path, "no tensors by name", DAMAGED)
    expected = f"{len(changing)} trained tensors"
    if model.keys() != changing.keys():
        raise _misfit(path, f"{len(model)} tensors, some of other names", SETTINGS, expected)
    strange = [name for name, own in changing.items() if not _is_like(model[name], own)]
    if strange:
        found = f"{len(strange)} tensors of other shapes or without finite numbers, such as {strange[0]}"
        raise _misfit(path, found, SETTINGS, expected)


def _check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Do nothing if the optimizer's state has our groups, with our settings, and moments of our shapes."""
    groups, theirs = optimizer.param_groups, state["optimizer"]
    if not isinstance(theirs, dict):
        raise _misfit(path, "an optimizer without a state", DAMAGED)
    their_groups, moments = theirs.get("param_groups"), theirs.get("state")
    if not isinstance(their_groups, list) or not isinstance(moments, dict):
        raise _misfit(path, "an optimizer without groups and state", DAMAGED)
    sizes = [len(group["params"]) for group in groups]
    their_sizes = [_size(group) for group in their_groups]
    if their_sizes != sizes:
        found = f"an optimizer of groups of {their_sizes} tensors"
        raise _misfit(path, found, SETTINGS, f"groups of {sizes} tensors")
    for own, group in zip(groups, their_groups, strict=True):
        names = (own.keys() & group.keys()) - set(CHOSEN_EACH_STEP)
        differing = [name for name in sorted(names) if own[name] != group[name]]
        if differing:
            found, expected = (f"{differing[0]} = {short(side[differing[0]])}" for side in (group, own))
            raise _misfit(path, found, SETTINGS, expected)
    _check_moments(moments, [p for group in groups for p in group["params"]], path)
    if state["losses"] and sum(sizes) and not moments:
        raise _misfit(path, "an optimizer that took no step", DAMAGED)


def _size(group: Any) -> int | None:
    """Return how many tensors a group of an optimizer has, or None if it is no group."""
    tensors = group.get("params") if isinstance(group, dict) else None
    return len(tensors) if isinstance(tensors, list) else None


def _check_moments(moments: Mapping[Any, Any], trained: list[Tensor], path: Path) -> None:
    for index, entry in moments.items():
        known = isinstance(index, int) and 0 <= index < len(trained) and isinstance(entry, dict)
        if not known or not all(_is_like(entry.get(name), trained[index]) for name in MOMENTS):
            raise _misfit(path, "an optimizer's state of other tensors", SETTINGS)
        step = entry.get("step")
        if not isinstance(step, Tensor) or step.numel() != 1 or step.is_meta or not is_finite(step):
            raise _misfit(path, "an optimizer's state without its step", DAMAGED)


def _check_average(state: Mapping[str, Any], average: EMAModel | None, path: Path) -> None:
    theirs = state.get("average")
    if (theirs is None) != (average is None):
        expected, found = (
            "no moving average" if side is None else "a moving average" for side in (average, theirs)
        )
        raise _misfit(path, found, SETTINGS, expected)
    if average is None:
        return
    own = average.state_dict()
    shadows = theirs.get("shadow_params") if isinstance(theirs, dict) else None
    same_count = isinstance(shadows, list) and len(shadows) == len(own["shadow_params"])
    if not same_count or theirs.keys() != own.keys():
        raise _misfit(path, "a moving average of other tensors", SETTINGS)
    if not all(_is_like(s, mine) for s, mine in zip(shadows, own["shadow_params"], strict=True)):
        raise _misfit(path, "a moving average of other tensors", SETTINGS)
    settings = own.keys() - {"shadow_params", "optimization_step"}
    differing = [name for name in sorted(settings) if theirs[name] != own[name]]
    counted = isinstance(theirs["optimization_step"], int)
    if differing or not counted:
        name = differing[0] if differing else "optimization_step"
        raise _misfit(path, f"a moving average with another {name}", SETTINGS)
