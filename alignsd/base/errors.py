"""The exceptions that users meet: each says what happened and what the user can do."""

import numbers

from alignsd.base import commands

LARGEST_SEED = 2**32 - 1  # numpy's; torch takes larger seeds


class Problem(Exception):
    """An error that the user can mend.

    The message has five lines: what happened, expected, found, likely cause, fix. The commands in
    the fix can be pasted where the reader is. Code that knows nothing of notebooks writes
    ``--set steps=10``; in a notebook the message says ``--set 02.steps=10``.

    Args:
        what: one sentence on what could not be done.
        expected: what would have been right.
        found: what was there instead.
        cause: the likely reason.
        fix: the command or the edit that mends the error.
        notebook: the notebook that mends the error when all cells are run, such as
            ``"02_train_hps"``; empty if there is none. A message in a notebook links this notebook.
    """

    def __init__(
        self, what: str, *, expected: str, found: str, cause: str, fix: str, notebook: str = ""
    ) -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.cause = cause
        self.fix = fix
        self.notebook = notebook
        self._linked = False
        super().__init__(what)

    def __str__(self) -> str:
        """Return the five lines of the message."""
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
        # IPython calls this method. The reader sees the message without the stack of calls.
        if self.notebook and commands.in_notebook() and not self._linked:
            self._linked = True  # a kernel asks twice: for the output and for the reply
            commands.show_link(self.notebook)
        return str(self).splitlines()


def at_least(minimum: float, /, **values: float) -> None:
    """Do nothing if the values of parameters are finite and large enough.

    Raises:
        Problem: that names the first parameter whose value is below ``minimum``, infinite or NaN.
    """
    for name, value in values.items():
        if minimum <= value < float("inf"):
            continue
        fault = "too small" if value < minimum else "not a finite number"
        raise Problem(
            f"{name} is {fault}.",
            expected=f"at least {minimum:g}",
            found=repr(value),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix=f"--set {name}={minimum:g} or more; or the parameter that {name} comes from",
        )


def check_shares(**values: float) -> None:
    """Do nothing if the values of parameters are shares, 0 to 1.

    Raises:
        Problem: that names the first parameter whose value is no share.
    """
    at_least(0, **values)
    for name, value in values.items():
        if value > 1:
            raise Problem(
                f"{name} is too large.",
                expected="a share, 0 to 1",
                found=repr(value),
                cause="a slip in a preset, in the parameters cell or in --set",
                fix=f"--set {name}=0, or another share",
            )


def check_seed(seed: object) -> int:
    """Return a seed that numpy and torch both accept.

    Raises:
        Problem: if the seed is no whole number from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise _bad_seed(f"seed {seed!r:.80}")
    number = int(seed)
    if 0 <= number <= LARGEST_SEED:
        return number
    is_long = abs(number) >= 10**30
    raise _bad_seed("seed of more than 30 digits" if is_long else f"seed {number}")


def _bad_seed(found: str) -> Problem:
    return Problem(
        "The seed is out of range.",
        expected=f"a whole number from 0 to {LARGEST_SEED}",
        found=found,
        cause="other tools take -1 for any seed; here every run has a seed that can be repeated",
        fix="set seed to another number, such as 0",
    )


class Stopped(Exception):
    """A notebook did not reach the end. The text tells the error and where the copy lies."""
