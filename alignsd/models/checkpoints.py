"""Checkpoints of a training: when to write, what to write, and who may resume."""

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
from alignsd.models.files.weights import is_finite, read_torch, short

SECONDS = 10.0  # most seconds of work that a stopped training loses
SHARE = 0.02  # largest share of the time that goes into writing checkpoints
MOMENTS = ("exp_avg", "exp_avg_sq")  # what Adam keeps beside each trained tensor
CHOSEN_EACH_STEP = ("lr", "params")  # entries of an optimizer's group that are no settings
DAMAGED = "a full disk, a copy that was cut off, or a file of another program"
SETTINGS = "a parameter or an input of the training changed since the checkpoint was written"


class Pace:
    """Decide when a checkpoint is due.

    A checkpoint is due after ``SECONDS`` of work. Costly checkpoints are due later: writing
    checkpoints takes at most the share ``SHARE`` of the time.

    Args:
        clock: seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun = clock()
        self._cost = 0.0  # seconds that the last checkpoint took

    def is_due(self) -> bool:
        """Return whether a checkpoint is due."""
        return self._clock() - self._begun >= max(SECONDS, self._cost / SHARE)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure how long the checkpoint takes that is written in this block."""
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
        made_from: what the training is made from, see ``fits``; None records nothing.
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
    """Return whether a checkpoint exists and was made from exactly these entries.

    Args:
        checkpoint: the file. Only the record in the file is read, not the tensors.
        made_from: entries by name, such as the CLIP, the choices and the recipe. JSON must be able
            to hold the values.

    Raises:
        Problem: if the file is damaged.
    """
    if not _is_there(checkpoint):
        return False
    state = _read(checkpoint, lazy=True)
    return _record(state, checkpoint) == _plain(made_from)


def restore(
    path: Path,
    steps: int,
    changing: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    average: EMAModel | None,
    made_from: Mapping[str, Any] | None,
) -> list[float]:
    """Put a checkpoint's state in place, and return the losses of the steps so far.

    Args:
        path: the checkpoint; a file that does not exist gives no losses.
        steps: number of steps of the whole training.
        changing, optimizer, average, made_from: as in ``save``. None for ``made_from`` takes any
            record.

    Raises:
        Problem: if the file is damaged, or is of another model, optimizer or training. Then the
            model and the optimizer are unchanged.
    """
    if not _is_there(path):
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
    """Return entries after a round trip through JSON, which turns tuples into lists."""
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
        cause = "another version of the kit wrote it"
        raise _misfit(path, "no record of what it was made from", cause)
    absent = object()
    names = [name for name in {**new, **old} if old.get(name, absent) != new.get(name, absent)]
    raise Problem(
        f"the checkpoint {short(path.name)} is of another training",
        expected="; ".join(_entry(name, new) for name in names),
        found="; ".join(_entry(name, old) for name in names),
        cause=SETTINGS,
        fix=f"{_delete(path)}, or set back what differs",
    )


def _entry(name: str, record: Mapping[str, Any]) -> str:
    if name not in record:
        return f"no {short(name)}"
    return f"{short(name)} = {short(repr(record[name]))}"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _checked_losses(state: Mapping[str, Any], steps: int, path: Path) -> list[float]:
    losses = state["losses"]
    if not isinstance(losses, list) or not all(_is_number(loss) for loss in losses):
        raise _misfit(path, "losses that are no list of finite numbers", DAMAGED)
    if len(losses) > steps:
        expected = f"at most the {steps:,} steps asked for"
        raise _misfit(path, f"{len(losses):,} steps", SETTINGS, expected)
    return losses


def _is_like(value: Any, own: Tensor) -> bool:
    """Return whether a value is a tensor that can take the place of ``own``."""
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
        found = f"{len(strange)} tensors of other shapes or without finite numbers"
        raise _misfit(path, f"{found}, such as {strange[0]}", SETTINGS, expected)


def _check_optimizer(
    state: Mapping[str, Any], optimizer: torch.optim.Optimizer, path: Path
) -> None:
    """Do nothing if an optimizer's state has our groups, settings and shapes."""
    theirs = state["optimizer"]
    if not isinstance(theirs, dict):
        raise _misfit(path, "an optimizer without a state", DAMAGED)
    their_groups, moments = theirs.get("param_groups"), theirs.get("state")
    if not isinstance(their_groups, list) or not isinstance(moments, dict):
        raise _misfit(path, "an optimizer without groups and state", DAMAGED)
    _check_groups(their_groups, optimizer.param_groups, path)
    trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    _check_moments(moments, trained, path)
    if state["losses"] and trained and not moments:
        raise _misfit(path, "an optimizer that took no step", DAMAGED)


def _check_groups(theirs: list[Any], groups: list[dict[str, Any]], path: Path) -> None:
    """Do nothing if an optimizer's groups have our sizes and settings."""
    sizes = [len(group["params"]) for group in groups]
    their_sizes = [_size(group) for group in theirs]
    if their_sizes != sizes:
        found = f"an optimizer of groups of {their_sizes} tensors"
        raise _misfit(path, found, SETTINGS, f"groups of {sizes} tensors")
    for own, their in zip(groups, theirs, strict=True):
        common = own.keys() & their.keys()
        for name in sorted(common - set(CHOSEN_EACH_STEP)):
            if own[name] != their[name]:
                found = f"{name} = {short(their[name])}"
                raise _misfit(path, found, SETTINGS, f"{name} = {short(own[name])}")


def _size(group: Any) -> int | None:
    """Return the number of tensors in a group of an optimizer, or None for anything else."""
    tensors = group.get("params") if isinstance(group, dict) else None
    return len(tensors) if isinstance(tensors, list) else None


def _check_moments(moments: Mapping[Any, Any], trained: list[Tensor], path: Path) -> None:
    for index, entry in moments.items():
        if not _are_moments(index, entry, trained):
            raise _misfit(path, "an optimizer's state of other tensors", SETTINGS)
        step = entry.get("step")
        if not isinstance(step, Tensor) or step.numel() != 1 or step.is_meta or not is_finite(step):
            raise _misfit(path, "an optimizer's state without its step", DAMAGED)


def _are_moments(index: Any, entry: Any, trained: list[Tensor]) -> bool:
    """Return whether an entry holds the moments of the trained tensor with this index."""
    if not isinstance(index, int) or not 0 <= index < len(trained):
        return False
    if not isinstance(entry, dict):
        return False
    return all(_is_like(entry.get(name), trained[index]) for name in MOMENTS)


def _check_average(state: Mapping[str, Any], average: EMAModel | None, path: Path) -> None:
    theirs = state.get("average")
    if average is None:
        if theirs is not None:
            raise _misfit(path, "a moving average", SETTINGS, "no moving average")
        return
    if theirs is None:
        raise _misfit(path, "no moving average", SETTINGS, "a moving average")
    own = average.state_dict()
    if not _has_shadows(theirs, own):
        raise _misfit(path, "a moving average of other tensors", SETTINGS)
    for name in sorted(own.keys() - {"shadow_params", "optimization_step"}):
        if theirs[name] != own[name]:
            raise _misfit(path, f"a moving average with another {name}", SETTINGS)
    if not isinstance(theirs["optimization_step"], int):
        raise _misfit(path, "a moving average with another optimization_step", SETTINGS)


def _has_shadows(theirs: Any, own: Mapping[str, Any]) -> bool:
    """Return whether a moving average has our entries, and tensors of our shapes."""
    if not isinstance(theirs, dict) or theirs.keys() != own.keys():
        return False
    shadows, own_shadows = theirs["shadow_params"], own["shadow_params"]
    if not isinstance(shadows, list) or len(shadows) != len(own_shadows):
        return False
    return all(_is_like(value, mine) for value, mine in zip(shadows, own_shadows, strict=True))
