"""The exceptions that users meet: they say what happened and what to do about it."""


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


def check_seed(seed: int) -> None:
    """Do nothing if a number can seed every random generator of the kit.

    Raises:
        Problem: if the seed is below 0, or 2**32 or more.
    """
    if not 0 <= seed < 2**32:
        raise Problem(
            "The seed is out of range.",
            expected="a whole number from 0 to 4294967295",
            found=repr(seed),
            cause="-1 means any seed in other tools; here each seed stands for one result",
            fix="set the parameter seed to 0, or to another number of that range",
        )


class Stopped(Exception):
    """A notebook did not reach its end; the text is what it reported and where its copy lies."""
