"""Put foreign text and values into the words of messages."""

from typing import Any

from torch import Tensor


def short(text: object, length: int = 80) -> str:
    """Return text on one line; a text longer than ``length`` characters loses its middle."""
    line = "".join(sign if sign.isprintable() else " " for sign in str(text))
    half = length // 2
    return line if len(line) <= length else f"{line[:half]}...{line[-half:]}"


def described(value: Any) -> str:
    """Return what a value is in plain words, such as "a list of 2"."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, bool | int | float):
        return f"a number ({short(value, 20)})"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, dict):
        names = ", ".join(short(name, 20) for name in list(value)[:3])
        return f"a dictionary ({names or 'empty'})"
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}"
    return f"an object of type {type(value).__name__}"
