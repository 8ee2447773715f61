"""What a task of an exercise is, and what came out of a function."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

Answer = Callable[..., Any]
Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Slip:
    """A mistake that readers make.

    Attributes:
        hint: what to tell a reader whose function makes the mistake; one or two sentences.
        function: makes the mistake.
    """

    hint: str
    function: Answer


@dataclass(frozen=True)
class Task:
    """A function that the reader writes.

    Attributes:
        reference: the right function, in a few lines of its own, apart from the package.
        cases: inputs of the function; the last inputs are the edge case.
        slips: the mistakes that are recognised.
        hint: what to tell a reader whose mistake is another one.
        relative, absolute: how far a right number may be from the reference.
    """

    reference: Answer
    cases: tuple[Inputs, ...]
    slips: tuple[Slip, ...]
    hint: str
    relative: float = 1e-5
    absolute: float = 1e-8


@dataclass(frozen=True)
class Outcome:
    """What a function did with some inputs.

    Attributes:
        value: what the function returned.
        fault: name and text of the error that stopped the function; empty if there was none.
    """

    value: Any
    fault: str = ""


def numbers(*values: float) -> np.ndarray:
    """Return numbers as an array ``(n,)`` of floats."""
    return np.array(values, dtype=float)


def outcome(function: Answer, inputs: Inputs) -> Outcome:
    """Return what a function does with a copy of some inputs; the function may raise anything."""
    given = deepcopy(inputs)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = function(*given)
        except (Exception, SystemExit) as error:
            kind = type(error).__name__
            return Outcome(None, f"{kind}: {error}")
    return Outcome(value)


def is_same(task: Task, one: Outcome, other: Outcome) -> bool:
    """Return whether two outcomes are the same up to rounding; errors count by their kind."""
    if one.fault or other.fault:
        kind, _, _ = one.fault.partition(":")
        other_kind, _, _ = other.fault.partition(":")
        return kind == other_kind
    return _is_same_value(task, one.value, other.value)


def _is_same_value(task: Task, one: Any, other: Any) -> bool:
    """Compare numbers, arrays, None, and tuples of these; NaN equals NaN."""
    if one is None or other is None:
        return one is other
    if isinstance(one, tuple):
        return _is_same_tuple(task, one, other)
    try:
        first = np.asarray(one)
        second = np.asarray(other)
        if first.shape != second.shape:
            return False
        near = np.isclose(first, second, task.relative, task.absolute, equal_nan=True)
    except (TypeError, ValueError, RuntimeError):  # texts, ragged lists, tensors with gradients
        return False
    return bool(near.all())


def _is_same_tuple(task: Task, one: tuple[Any, ...], other: Any) -> bool:
    """Compare part by part; the other may be a list or an array."""
    is_sequence = isinstance(other, (tuple, list, np.ndarray))
    if not is_sequence or np.shape(other)[:1] != (len(one),):
        return False
    pairs = zip(one, other, strict=True)
    return all(_is_same_value(task, *pair) for pair in pairs)
