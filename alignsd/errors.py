"""The exceptions that users meet: they say what happened and what to do about it."""

import numbers


class Problem(Exception):
    """Something the user can mend, told in five lines: what happened, expected, found, likely cause, fix.

    Args:
        what: one sentence on what could not be done.
        expected: what would have been right.
        found: what was there instead.
        cause: the likely reason.
        fix: the command or the edit that mends it.
    """

    def __init__(self, what: str, *, expected: str, found: str, cause: str, fix: str):
        self.what, self.expected, self.found, self.cause, self.fix = what, expected, found, cause, fix
        super().__init__("\n".join([what, f"  expected: {expected}", f"  found:    {found}", f"  cause:    {cause}",
                                    f"  fix:      {fix}"]))

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: a notebook shows the message alone, since the stack says nothing to who reads it.
        return str(self).splitlines()


def at_least(minimum: float, notebook: str, **values: float) -> None:
    """Does nothing if values of a notebook's parameters are large enough.

    Raises:
        Problem: that names the first parameter whose value is below ``minimum``.
    """
    for name, value in values.items():
        if value < minimum:
            raise Problem(f"{name} of notebook {notebook} is too small.", expected=f"at least {minimum:g}", found=repr(value),
                          cause="a slip in a preset, in the parameters cell or in --set",
                          fix=f"--set {notebook}.{name}={minimum:g} or more")


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
        "The seed cannot be used.",
        expected="a whole number from 0 to 4294967295",
        found="seed of more than 30 digits" if long else f"seed {seed!r:.80}",
        cause="other tools take -1 for any seed; here every run has a seed that can be repeated",
        fix="set seed to another number, such as 0",
    )


class Stopped(Exception):
    """A notebook did not reach its end; the text is what it reported and where its copy lies."""
