"""Say of a reader's function whether it is right, and name the likely mistake if it is not."""

import html
import inspect
import re

import numpy as np

from alignsd.base.errors import Problem
from alignsd.base.plotting.colours import BLUE, GREY, VERMILLION
from alignsd.kit.values.parameters import nearest
from alignsd.kit.views import NO_FORMULAS
from alignsd.teach.tasks import choosing, drawing, measuring
from alignsd.teach.tasks.task import Inputs, Outcome, Task, is_same, outcome

RIGHT, WRONG, NOT_TRIED = "right", "wrong", "not tried yet"
COLOURS = {RIGHT: BLUE, WRONG: VERMILLION, NOT_TRIED: GREY}
NAN = "A number of the result is not finite: perhaps 0 / 0, or the root of a number below 0."
NOTHING = "Your function returned nothing for these inputs. Perhaps a return is missing."


class Verdict:
    """What a check found; a notebook shows a sentence.

    Attributes:
        state: ``"right"``, ``"wrong"`` or ``"not tried yet"``.
        text: the state and the reason.
    """

    def __init__(self, state: str, reason: str) -> None:
        self.state = state
        self.text = f"{state}: {reason}"

    @property
    def is_right(self) -> bool:
        """Whether the answer was right."""
        return self.state == RIGHT

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        look = f"border-left: 5px solid {COLOURS[self.state]}; padding: 0.2em 0.8em"
        first, *others = html.escape(self.text).splitlines()
        state, _, reason = first.partition(":")
        lines = "<br>".join([f"<b>{state}</b>:{reason}", *others])
        return f'<div class="{NO_FORMULAS}" style="{look}">{lines}</div>'


def check(name: str, answer: object) -> Verdict:
    """Compare a reader's function with an independent one on a few inputs.

    A wrong function, or a function that stops with an error, never stops the notebook.

    Args:
        name: of the task, such as ``"luce"``.
        answer: the reader's function. Returning None or ``...`` means not tried yet.

    Raises:
        Problem: if there is no such task.
    """
    task = _task(name)
    if not callable(answer):
        return Verdict(WRONG, f'give check the function itself: exercises.check("{name}", {name})')
    outcomes = [outcome(answer, inputs) for inputs in task.cases]
    if all(_is_nothing(found) for found in outcomes):
        return Verdict(NOT_TRIED, "replace `return None` in this cell by code of yours.")
    for inputs, found in zip(task.cases, outcomes, strict=True):
        expected = outcome(task.reference, inputs)
        if not is_same(task, expected, found):
            return Verdict(WRONG, _reason(name, task, inputs, outcomes))
    count = len(task.cases)
    return Verdict(RIGHT, f"your function agrees with ours on all {count} inputs of the check.")


def names() -> list[str]:
    """Return the names of all tasks."""
    return sorted(_tasks())


def _tasks() -> dict[str, Task]:
    return choosing.tasks() | drawing.tasks() | measuring.tasks()


def _task(name: str) -> Task:
    tasks = _tasks()
    if name in tasks:
        return tasks[name]
    guess = nearest(name, list(tasks))
    raise Problem(
        f"There is no exercise {name!r}.",
        expected=", ".join(sorted(tasks)),
        found=repr(name),
        cause="a misspelt name",
        fix=f"did you mean {guess!r}?" if guess else "take one of the names above",
    )


def _is_nothing(found: Outcome) -> bool:
    """Return whether a function returned None or ``...``."""
    return not found.fault and (found.value is None or found.value is ...)


def _reason(name: str, task: Task, inputs: Inputs, outcomes: list[Outcome]) -> str:
    """Return what was expected and what was found, and the likely mistake.

    Args:
        name: of the task.
        task: the task.
        inputs: the first inputs at which the function is wrong.
        outcomes: what the function did with the inputs of all cases.
    """
    found = outcomes[[case is inputs for case in task.cases].index(True)]
    expected = outcome(task.reference, inputs).value
    call = _call(name, task, inputs)
    if found.fault:
        first = f"for {call} your function stopped with {found.fault}"
    else:
        said = f"we expected {_spoken(expected)}, your function returned {_spoken(found.value)}."
        first = f"for {call} {said}"
    return f"{first}\n{_hint(task, found, outcomes)}"


def _hint(task: Task, found: Outcome, outcomes: list[Outcome]) -> str:
    """Return the hint of the slip that gives the same outcomes, or else a general hint."""
    if _is_nothing(found):
        return NOTHING
    for slip in task.slips:
        slipped = [outcome(slip.function, inputs) for inputs in task.cases]
        pairs = zip(slipped, outcomes, strict=True)
        if all(is_same(task, one, other) for one, other in pairs):
            return slip.hint
    return f"{NAN} {task.hint}" if _has_nan(found) else task.hint


def _has_nan(found: Outcome) -> bool:
    """Return whether a number of a result is NaN or infinite."""
    try:
        numbers = np.asarray(found.value)
    except (TypeError, ValueError, RuntimeError):  # a ragged list, a tensor with gradients
        return False
    return numbers.dtype.kind in "fc" and not np.isfinite(numbers).all()


def _call(name: str, task: Task, inputs: Inputs) -> str:
    """Return a call in words, such as ``luce(utilities=[1 2 4])``."""
    parameters = inspect.signature(task.reference).parameters
    given = zip(parameters, inputs, strict=False)  # a reference may have options of its own
    return f"{name}({', '.join(f'{key}={_spoken(value)}' for key, value in given)})"


def _spoken(value: object) -> str:
    """Return a result in a few characters."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_spoken, value))})"
    if value is None or isinstance(value, (str, bool)):
        return repr(value)[:100]
    try:
        numbers = np.asarray(value)
        text = np.array2string(numbers, precision=4, suppress_small=True, separator=",")
    except Exception:  # an object of the reader's, whose text may raise anything
        return f"a {type(value).__name__}"
    spaced = re.sub(r"\s+", " ", text.replace(",", ", "))
    return spaced.replace("[ ", "[").replace(" ,", ",").replace(" ]", "]")[:200]
