"""The settings of an ablation: each is a variation of a finished run, or the run itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from alignsd.base import commands
from alignsd.base.errors import Problem
from alignsd.kit import lineage, variations
from alignsd.kit.records import preset_of
from alignsd.kit.stage_record import is_finished
from alignsd.kit.values.notebook_files import notebook_names, notebook_path
from alignsd.kit.values.parameters import Value, checked, is_number, literal, nearest
from alignsd.kit.values.presets import Offers, read_offers
from alignsd.planning.ablation.changed_choices import ChangedChoices
from alignsd.planning.ablation.definitions import Ablation
from alignsd.planning.ablation.learned_word import LEARNED, LearnedWord
from alignsd.running.tasks import Plan, Request, prepare, values_of


class Preparation(Protocol):
    """Makes what the settings of an ablation need before their runs, such as another data set."""

    def own_amount(self) -> float:
        """Return the amount that the varied run itself has."""

    def checked(self, amount: Any) -> float:
        """Return an amount that can be made."""

    def changes(self, amount: float) -> dict[str, Value]:
        """Return the parameters that take what is made, with their values."""

    def write(self, amount: float) -> None:
        """Make what a setting needs, unless it is made already."""


@dataclass(frozen=True)
class Setting:
    """One setting of an ablation, and the run that tries the setting.

    Attributes:
        values: parameter -> value.
        run: the run; the parent itself where the parent was made with these values.
        plan: what the run would do; None for the parent, which is finished.
        before: makes what the run needs; None if the run needs nothing.
    """

    values: Mapping[str, Value]
    run: str
    plan: Plan | None = None
    before: Callable[[], None] | None = None

    @property
    def label(self) -> str:
        """The values in words, such as ``"16"`` or ``"100.0, 5e-05"``."""
        return in_words(tuple(self.values.values()))

    @property
    def todo(self) -> list[str]:
        """The names of the notebooks that are still to be run."""
        tasks = self.plan.tasks if self.plan else ()
        return [task.name for task in tasks if task.todo]


def in_words(values: Sequence[Value]) -> str:
    """Return the values of a setting in words; text stands in quotes, since blanks count."""
    return ", ".join(repr(value) for value in values)


def seconds(notebooks: Sequence[str], expected: Mapping[str, float]) -> float | None:
    """Return the seconds that notebooks will take, or None if a notebook has no record.

    Args:
        notebooks: names of notebooks.
        expected: from ``records.expected_seconds``.
    """
    if any(name not in expected for name in notebooks):
        return None
    return sum(expected[name] for name in notebooks)


def notebooks_of(ablation: Ablation) -> list[str]:
    """Return the names of the notebooks that a new setting runs, in order."""
    return [name for name in notebook_names() if ablation.number <= name[:2] <= ablation.last]


def with_values(ablation: Ablation, text: str) -> Ablation:
    """Return an ablation with other values, given on the command line.

    Args:
        ablation: the ablation.
        text: ``"4,32"``, or a list in Python's notation. With two parameters each element of the
            list is a pair.

    Raises:
        Problem: if the elements do not fit the ablation's parameters.
    """
    given = literal(text)
    if isinstance(given, str):
        given = [word.strip() for word in given.split(",")]
    if not isinstance(given, (list, tuple)):
        given = [given]
    several = len(ablation.parameters) > 1 and not ablation.prepared
    if several and not all(isinstance(element, (list, tuple)) for element in given):
        raise Problem(
            f"The ablation {ablation.name} changes {len(ablation.parameters)} parameters.",
            expected=f"a list of pairs, such as {list(ablation.values[:2])!r}",
            found=text[:80],
            cause="a list of single values",
            fix=f"alignsd ablate {ablation.name} --values '{list(ablation.values[:2])!r}'",
        )
    values = [tuple(element) if several else (element,) for element in given]
    return replace(ablation, values=tuple(values))


def settings(ablation: Ablation, parent: str) -> list[Setting]:
    """Return the settings of an ablation as variations of a run; nothing is changed.

    The setting of the run itself is among them. Settings of numbers are in ascending order.

    Args:
        ablation: the ablation.
        parent: the finished run.

    Raises:
        Problem: if the run has not finished the notebooks that the ablation needs, the notebook has
            no such parameter, or a value is of the wrong kind or out of range.
    """
    lineage.check_run(parent, " to vary")
    _check_finished(ablation, parent)
    offers = read_offers()
    own = _values_of_parent(ablation, parent, offers)
    if ablation.prepared:
        return _prepared_settings(ablation, parent)
    return [_setting(ablation, values, parent, own) for values in _all(ablation, own, offers)]


def preparation(kind: str, parent: str) -> Preparation:
    """Return what makes the settings of an ablation.

    Args:
        kind: ``changed_choices.FEWER`` or ``WRONG``, or ``learned_word.LEARNED``.
        parent: the run that is varied.
    """
    values = values_of_notebooks(parent)
    if kind == LEARNED:
        return LearnedWord(parent, values)
    return ChangedChoices(kind, parent, values)


def values_of_notebooks(run: str) -> dict[str, dict[str, Value]]:
    """Return the values that a run was made with, by notebook number."""
    values = values_of(run, preset_of(run), read_offers())
    return {name[:2]: own for name, own in values.items()}


def _prepared_settings(ablation: Ablation, parent: str) -> list[Setting]:
    """Return the settings of an ablation that makes something for each, in ascending order."""
    maker = preparation(ablation.prepared, parent)
    own = maker.own_amount()
    amounts = [maker.checked(value) for (value,) in ablation.values]
    tried = []
    for amount in sorted({*amounts, own}):
        named: dict[str, Value] = {ablation.prepared: amount}
        if amount == own:
            tried.append(Setting(named, parent))
            continue
        run = variations.variation_name(parent, ablation.number, named)
        plan = _plan(ablation, run, maker.changes(amount), parent)
        tried.append(Setting(named, run, plan, partial(maker.write, amount)))
    return tried


def _check_finished(ablation: Ablation, parent: str) -> None:
    missing = [name for name in notebooks_of(ablation) if not is_finished(parent, name)]
    if missing:
        raise Problem(
            f"Run {parent} has not finished {missing[0]}.",
            expected=f"a run whose notebooks {ablation.number} to {ablation.last} are finished",
            found=f"{', '.join(missing)} not finished",
            cause="a fresh clone, which holds results but no stages, or a run that was stopped",
            fix=commands.pasteable(f"alignsd run --run {parent}"),
        )


def _values_of_parent(ablation: Ablation, parent: str, offers: Offers) -> dict[str, Value]:
    """Return the values that the parent has for the parameters that the ablation changes."""
    name = notebook_path(ablation.number).stem
    own = values_of(parent, preset_of(parent), offers)[name]
    unknown = [parameter for parameter in ablation.parameters if parameter not in offers[name]]
    if unknown:
        guess = nearest(unknown[0], offers[name])
        raise Problem(
            f"Notebook {name} has no parameter {unknown[0]!r}.",
            expected=f"the parameters {', '.join(ablation.parameters)}",
            found=", ".join(offers[name]),
            cause="another version of the notebook",
            fix=f"did you mean {guess!r}?" if guess else "alignsd run --dry-run lists parameters",
        )
    return {parameter: own[parameter] for parameter in ablation.parameters}


def _all(ablation: Ablation, own: Mapping[str, Value], offers: Offers) -> list[tuple[Value, ...]]:
    """Return the ablation's settings and the parent's setting, each once."""
    name = notebook_path(ablation.number).stem
    where = f"the ablation {ablation.name}"
    every = [tuple(own.values())]
    for values in ablation.values:
        pairs = zip(ablation.parameters, values, strict=True)
        every.append(tuple(checked(offers[name][key], value, where) for key, value in pairs))
    distinct = [values for place, values in enumerate(every) if values not in every[:place]]
    every_value = [value for values in distinct for value in values]
    if all(is_number(value) or isinstance(value, bool) for value in every_value):
        return sorted(distinct)
    return distinct


def _setting(
    ablation: Ablation, values: Sequence[Value], parent: str, own: Mapping[str, Value]
) -> Setting:
    """Return a setting with the plan of its run."""
    named = dict(zip(ablation.parameters, values, strict=True))
    changed = {name: value for name, value in named.items() if value != own[name]}
    if not changed:
        return Setting(named, parent)
    run = variations.variation_name(parent, ablation.number, changed)
    return Setting(named, run, _plan(ablation, run, changed, parent))


def _plan(ablation: Ablation, run: str, changed: Mapping[str, Value], parent: str) -> Plan:
    """Return what a run with changed values would do."""
    request = Request(
        run,
        only=notebooks_of(ablation),
        settings=variations.as_settings(ablation.number, changed),
        parent=parent,
    )
    return prepare(request)
