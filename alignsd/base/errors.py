"""The exceptions that users meet: they say what happened and what to do about it."""

import numbers

from alignsd.base import commands


class Problem(Exception):
    """Something the user can mend, told in five lines: what happened, expected, found, likely cause, fix.

    The commands that the fix names are told as they can be pasted where the reader is. Code that
    knows nothing of notebooks writes ``--set steps=10``; in a notebook the message says
    ``--set 02.steps=10``.

    Args:
        what: one sentence on what could not be done.
        expected: what would have been right.
        found: what was there instead.
        cause: the likely reason.
        fix: the command or the edit that mends it.
        notebook: the notebook whose cells mend it when all are run, such as ``"02_train_hps"``; empty if there is none.
            At a notebook the message links this notebook.
    """

    def __init__(self, what: str, *, expected: str, found: str, cause: str, fix: str, notebook: str = ""):
        self.what, self.expected, self.found, self.cause, self.fix = what, expected, found, cause, fix
        self.notebook = notebook
        self._linked = False
        super().__init__(what)

    def __str__(self) -> str:
        fix = commands.advice(self.fix, self.notebook)
        lines = [
            self.what,
            f"  expected: {self.expected}",
            f"  found:    {self.found}",
            f"  cause:    {self.cause}",
            f"  fix:      {fix}",
        ]
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: a notebook shows the message alone, since the stack says nothing to who reads it.
        if self.notebook and commands.in_notebook() and not self._linked:
            self._linked = True  # a kernel asks twice: for the output and for its reply
            commands.show_link(self.notebook)
        return str(self).splitlines()


def at_least(minimum: float, /, **values: float) -> None:
    """Do nothing if the values of parameters are finite and large enough.

    Raises:
        Problem: that names the first parameter whose value is below ``minimum``, infinite or NaN.
    """
    for name, value in values.items():
        if not minimum <= value < float("inf"):
            fault = "too small" if value < minimum else "not a finite number"
            raise Problem(
                f"{name} is {fault}.",
                expected=f"at least {minimum:g}",
                found=repr(value),
                cause="a slip in a preset, in the parameters cell or in --set",
                fix=f"--set {name}={minimum:g} or more",
            )


def check_seed(seed: int) -> int:
    """Return a seed if numpy and torch both take the seed.

    Raises:
        Problem: if the seed is no whole number from 0 to 2**32 - 1.
    """
    whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if whole and 0 <= seed < 2**32:
        return int(seed)
    long = whole and abs(seed) >= 10**30
    raise Problem(
        "The seed is out of range.",
        expected="a whole number from 0 to 4294967295",
        found="seed of more than 30 digits" if long else f"seed {seed!r:.80}",
        cause="other tools take -1 for any seed; here every run has a seed that can be repeated",
        fix="set seed to another number, such as 0",
    )


class Stopped(Exception):
    """A notebook did not reach its end; the text is what it reported and where its copy lies."""
