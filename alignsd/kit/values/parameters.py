"""The parameters of notebooks: the allowed kinds and ranges of values, and typed access.

Every check is strict: papermill would accept a value of any kind.
"""

import ast
import difflib
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from alignsd.base.errors import Problem
from alignsd.base.reading import is_text
from alignsd.kit.values.urls import check_url, is_url

DIGITS_AND_COMMAS = re.compile(r"[+-]?[0-9]+(,[0-9]+)+")
LONGEST_LITERAL = 100_000  # characters of a value of --set that is read as Python
Value = bool | int | float | str | list


@dataclass(frozen=True)
class Range:
    """The values that a number may have, ends included.

    Attributes:
        least: the smallest value.
        most: the largest value.
        above: whether ``least`` is excluded.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        if not math.isfinite(number):
            return False
        large_enough = number > self.least if self.above else number >= self.least
        return large_enough and number <= self.most

    def __str__(self) -> str:
        if self.least == -math.inf and self.most == math.inf:
            return "a finite number"
        if self.most == math.inf:
            if self.above:
                return f"a finite number above {self.least:g}"
            return f"at least {self.least:g}"
        return f"from {self.least:.10g} to {self.most:.10g}"


COUNT = Range(1, 2**31 - 1)
COUNT_OR_NONE = Range(0, 2**31 - 1)
SHARE = Range(0, 1)
NOT_NEGATIVE = Range(0)
# What the numbers of the parameters cells may be. A number that is not listed may be any finite
# number. Limits that depend on a model or on data (layers, pictures of a prompt) are checked where
# the model or the data is read.
RANGES = {
    "seed": Range(0, 2**32 - 1),  # what numpy and torch both take
    "memory": NOT_NEGATIVE,
    "disk": NOT_NEGATIVE,
    "gpu_memory": NOT_NEGATIVE,
    "requests": COUNT,
    "images": COUNT,
    "steps": COUNT,
    "noise": NOT_NEGATIVE,
    "test_share": SHARE,
    "image_groups": COUNT_OR_NONE,
    "text_layers": COUNT_OR_NONE,
    "epochs": Range(1e-3),
    "batch": COUNT,
    "learning_rate": NOT_NEGATIVE,
    "initial_scale": Range(0, above=True),
    "weight_decay": NOT_NEGATIVE,
    "curve[]": COUNT,
    "prompts": COUNT,
    "fewest": COUNT,
    "most": COUNT,
    "few_share": SHARE,
    "blurred_share": SHARE,
    "part_files": COUNT,
    "alpha": Range(1),
    "alphas[]": Range(1),
    "blur_limit": Range(0, 255),
    "minimum_images": COUNT,
    "negative_share": SHARE,
    "regularization_images": COUNT_OR_NONE,
    "identifier_alone": SHARE,
    "resolution": Range(8, 8192),  # pixels; Stable Diffusion's autoencoder makes an eighth
    "rank": COUNT,
    "ranks[]": COUNT,
    "rank_steps": COUNT,
    "micro_batch": COUNT,
    "snr_gamma": NOT_NEGATIVE,
    "sample_every": COUNT,
    "sample_steps": COUNT,
    "prompt_count": COUNT,
    "samples": COUNT,
    "fid_resamples": COUNT,
    "generator_pairs": COUNT,
    "study_prompts": COUNT,
    "voters": COUNT,
    "margin": NOT_NEGATIVE,
    "beta": Range(0, above=True),
    "caption_dropout": SHARE,
    "pair_steps": COUNT,
    "pair_batch": COUNT,
    "pair_learning_rate": NOT_NEGATIVE,
    "rejection_steps": COUNT,
    "rejection_batch": COUNT,
    "rejection_learning_rate": NOT_NEGATIVE,
    "reward_steps": COUNT,
    "reward_batch": COUNT,
    "reward_learning_rate": NOT_NEGATIVE,
    "reward_through": COUNT_OR_NONE,
    "reward_micro_batch": COUNT,
    "strengths[]": NOT_NEGATIVE,
    "strength_prompts": COUNT,
    "columns": COUNT,
}
ANY_NUMBER = Range()
# What Python raises for text that is no literal: no Python, an expression, brackets within brackets
# (too many for the parser), or a key that no dictionary takes.
NOT_A_LITERAL = (AttributeError, SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
SHORT = reprlib.Repr()  # a value in a message; a hostile value may be endless
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother, SHORT.maxlong = 2, 80, 80, 40


@dataclass(frozen=True)
class Parameter:
    """A line of a parameters cell: the parameter's name, default value and comment."""

    name: str
    default: Value
    meaning: str


def checked(parameter: Parameter, value: Any, where: str) -> Value:
    """Return a value that is of the kind of the parameter's default and in the parameter's range.

    A whole number serves as a fraction.

    Args:
        parameter: the parameter.
        value: a value for the parameter.
        where: the preset, the option or the notebook that gives the value.

    Raises:
        Problem: if the value is of another kind, out of range (see ``RANGES``), not finite, or text
            that UTF-8 cannot hold.
    """
    default = parameter.default
    if isinstance(default, list) and isinstance(value, (list, tuple)):
        return [_checked_element(parameter, element, where) for element in value]
    if isinstance(default, float) and is_number(value):
        _check_range(parameter, value, where)
        return float(value)
    if type(value) is not type(default):
        raise _wrong_kind(parameter, value, where)
    if is_number(value):
        _check_range(parameter, value, where)
    if isinstance(value, str):
        _check_text(parameter, value, where)
    return value


def _checked_element(parameter: Parameter, element: Any, where: str) -> Value:
    """Return an element of a list; of an empty default the elements may be text or numbers."""
    if not isinstance(element, (bool, int, float, str)):
        raise _wrong_kind(parameter, [element], where)
    default = parameter.default
    like = default[0] if isinstance(default, list) and default else element
    return checked(Parameter(f"{parameter.name}[]", like, parameter.meaning), element, where)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong_kind(parameter: Parameter, value: Any, where: str) -> Problem:
    default = parameter.default
    cause, fix = _why_wrong_kind(default, value)
    return Problem(
        f"Parameter {parameter.name} in {where} is of the wrong kind.",
        expected=f"{type(default).__name__}, such as {default!r} ({parameter.meaning})",
        found=f"{type(value).__name__} {SHORT.repr(value)}",
        cause=cause,
        fix=fix,
    )


def _why_wrong_kind(default: Value, value: Any) -> tuple[str, str]:
    """Return why a value is of another kind than a default, and what to write instead."""
    example = f"write a value such as {default!r}"
    with_comma = isinstance(value, tuple)  # 0,1 in Python
    if isinstance(value, str):
        with_comma = DIGITS_AND_COMMAS.fullmatch(value.strip()) is not None
    if is_number(default) and with_comma:
        return "a comma in a number", "write 1000 for a thousand and 0.1 for a tenth"
    if value is None:
        return "a name without a value, or None or null", 'write the value, "" for empty text'
    if isinstance(default, str) and isinstance(value, bool):
        return "yes, no, on, off, true and false without quotes are no text", "write text in quotes"
    if isinstance(value, str) and is_number(literal(value)):
        cause = "a number in quotes, or 1e-4, which YAML reads as text"
        return cause, "write the number without quotes, and 1.0e-4 in place of 1e-4"
    if isinstance(default, bool):
        fix = "write True or False with --set, yes or no in a preset"
        return "another value than yes or no", fix
    if isinstance(default, int) and isinstance(value, float):
        return "a fraction; 1e3 is a fraction too", f"write a whole number, such as {default!r}"
    if isinstance(default, str):
        return "a value that reads as a number, a list or None", "write the text in quotes"
    if isinstance(value, str):
        return "text in place of a value, or a bracket or quote that is missing", example
    return "a value for another parameter", example


def _check_range(parameter: Parameter, number: float, where: str) -> None:
    allowed = RANGES.get(parameter.name, ANY_NUMBER)
    too_large = isinstance(number, int) and abs(number) >= 2**63  # a float cannot hold all of these
    if not too_large and number in allowed:
        return
    name = parameter.name.removesuffix("[]")
    cause = "a slip in a preset, in the parameters cell or in --set"
    if name == "seed":
        cause = "-1 means any seed in other tools; here each seed stands for one result"
    raise Problem(
        f"Parameter {parameter.name} in {where} is out of its range.",
        expected=f"{allowed}: {parameter.meaning}",
        found=f"{name} = {_number_as_text(number)}",
        cause=cause,
        fix=f"set {name} to a value in this range; the notebook's own is {parameter.default!r}",
    )


def _number_as_text(number: float) -> str:
    huge = isinstance(number, int) and abs(number) >= 10**30
    return "a number of more than 30 digits" if huge else repr(number)


def _check_text(parameter: Parameter, text: str, where: str) -> None:
    if is_text(text) and "\0" not in text:
        if is_url(text):
            check_url(text, f"parameter {parameter.name} in {where}")
        return
    raise Problem(
        f"Parameter {parameter.name} in {where} holds a character that no text file can hold.",
        expected="text",
        found=ascii(text)[:80],
        cause="half a character (a lone surrogate) or a zero byte, "
        "from a text that was cut or damaged",
        fix=f"write the value of {parameter.name} again",
    )


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a parameter are equal: 1 equals 1.0, and True is not 1."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)


def number(parameters: Mapping[str, Value], name: str) -> float:
    """Return the value of a parameter that is a number; a whole number stays whole.

    Args:
        parameters: the values of a notebook, by name.
        name: the parameter's name.

    Raises:
        Problem: if there is no such parameter, or the value is of another kind.
    """
    value = _value(parameters, name)
    if not is_number(value):
        raise _other_kind(name, value, "a number")
    return value


def whole(parameters: Mapping[str, Value], name: str) -> int:
    """Return the value of a parameter that is a whole number, see ``number``."""
    value = _value(parameters, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _other_kind(name, value, "a whole number")
    return value


def text(parameters: Mapping[str, Value], name: str) -> str:
    """Return the value of a parameter that is text, see ``number``."""
    value = _value(parameters, name)
    if not isinstance(value, str):
        raise _other_kind(name, value, "text")
    return value


def listed_numbers(parameters: Mapping[str, Value], name: str) -> list[float]:
    """Return the value of a parameter that is a list of numbers, see ``number``."""
    value = _value(parameters, name)
    if not isinstance(value, list) or not all(map(is_number, value)):
        raise _other_kind(name, value, "a list of numbers")
    return list(value)


def _value(parameters: Mapping[str, Value], name: str) -> Value:
    if name in parameters:
        return parameters[name]
    raise Problem(
        f"There is no parameter {name}.",
        expected="one of " + ", ".join(parameters),
        found="no such name",
        cause="the parameter was renamed or deleted in the notebook's parameters cell",
        fix=f"write {name} = VALUE in the parameters cell again",
    )


def _other_kind(name: str, value: Value, kind: str) -> Problem:
    return Problem(
        f"Parameter {name} is of the wrong kind.",
        expected=kind,
        found=f"{type(value).__name__} {SHORT.repr(value)}",
        cause="the notebook's parameters cell offers a value of another kind",
        fix=f"write {kind} as the value of {name} in the parameters cell",
    )


def literal(text: str) -> Any:
    """Return the value of a Python literal, or the text if the text is no literal."""
    if len(text) > LONGEST_LITERAL:
        return text
    try:
        return ast.literal_eval(text)
    except NOT_A_LITERAL:
        return text


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name among ``names`` that a misspelt name may mean, or None."""
    if len(name) > 100:  # the comparison takes the square of the length
        return None
    matches = difflib.get_close_matches(name, list(names), n=1)
    return matches[0] if matches else None
