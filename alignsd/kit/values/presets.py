"""The values that a run gives to the notebooks: from the cells, then a preset, then ``--set``.

The values in the parameters cells are preset ``mini``. The files in ``alignsd/presets`` hold the
other presets, with a section per notebook number. An unknown name is refused: papermill would
accept the name with a warning that nobody sees.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import read_text
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_parameters
from alignsd.kit.values.parameters import SHORT, Parameter, Value, checked, literal, nearest, same
from alignsd.kit.values.preset_files import parse_preset

PRESETS = Path(__file__).parents[2] / "presets"
LARGEST_PRESET = 2**16  # bytes, read in seconds; the largest shipped preset has 7,000
Offers = Mapping[str, Mapping[str, Parameter]]  # by notebook and by name


def preset_names() -> list[str]:
    """Return the names of the shipped presets; ``mini`` is the parameters cells themselves."""
    return ["mini", *sorted(path.stem for path in PRESETS.glob("*.yaml"))]


def read_preset(preset: str, above: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return a preset's values by notebook number.

    With a line ``base: <preset>``, the values that the file does not give come from another preset.

    Args:
        preset: name of a preset in ``alignsd/presets``, or path of a preset file.
        above: the presets that this preset is the base of.

    Raises:
        Problem: if there is no such preset, the bases form a circle, or the file is not made of
            sections ``"02": {name: value}``.
    """
    if preset in above:
        raise Problem(
            f"Preset {preset} is its own base.",
            expected="base: another preset",
            found=" -> ".join((*above, preset)),
            cause="a copied line",
            fix=f"mend the line base: of {above[-1]}",
        )
    if preset == "mini":
        return {}
    path = _preset_path(preset)
    sections = parse_preset(read_text(path, LARGEST_PRESET), path.name)
    values = read_preset(sections.pop("base", "mini"), (*above, preset))
    for number, section in sections.items():
        values[number] = values.get(number, {}) | section
    return values


def _preset_path(preset: str) -> Path:
    if _is_file_name(preset):
        path = Path(os.path.expanduser(preset))
        is_there = os.path.isfile(path)
    else:
        path = PRESETS / f"{preset}.yaml"
        is_there = preset in preset_names()
    if is_there:
        return path
    guess = nearest(Path(preset).stem, preset_names()) or "mini"
    example = shown(PRESETS / "smoke.yaml")
    raise Problem(
        f"There is no preset {SHORT.repr(preset)}.",
        expected=", ".join(preset_names()) + ", or a path to a .yaml file",
        found=SHORT.repr(preset),
        cause="a misspelt name, or a path from another folder: "
        "a relative path starts where you type",
        fix=f"--preset {guess}; {example} shows what a file of your own looks like",
    )


def _is_file_name(preset: str) -> bool:
    return preset.lower().endswith((".yaml", ".yml"))


def default_run(preset: str) -> str:
    """Return the name of a preset's run: the preset's name, without a file's folder and ending.

    Raises:
        Problem: if there is no such preset.
    """
    read_preset(preset)
    return Path(preset).stem if _is_file_name(preset) else preset


def read_offers() -> dict[str, dict[str, Parameter]]:
    """Return the parameters that each notebook offers: ``{notebook name: {name: parameter}}``."""
    return {name: read_parameters(notebook_path(name)) for name in notebook_names()}


def resolve(
    preset: str,
    run: str,
    settings: Sequence[str] = (),
    offers: Offers | None = None,
) -> dict[str, dict[str, Value]]:
    """Return each notebook's values for a run: the cell's, then the preset's, then ``--set``'s.

    Args:
        preset: name of a preset or path of a preset file.
        run: the run's name, given to every notebook as ``run``.
        settings: ``"05.steps=200"`` for one notebook or ``"seed=1"`` for all that have this
            parameter.
        offers: from ``read_offers``; None reads the notebooks.

    Returns:
        ``{notebook name: {parameter: value}}``, complete and in the cells' order.

    Raises:
        Problem: for an unknown notebook, an unknown parameter or a value of the wrong kind.
    """
    if offers is None:
        offers = read_offers()
    values: dict[str, dict[str, Value]] = {}
    for name, offered in offers.items():
        values[name] = {parameter.name: parameter.default for parameter in offered.values()}
    for number, section in read_preset(preset).items():
        name = notebook_path(number).stem
        where = f"preset {preset}, section {number}"
        for key, value in section.items():
            values[name][key] = checked(_known(key, offers[name], where), value, where)
    return applied(settings, values, run, offers)


def values_to_take(preset: str, name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the preset's values for the parameters that still have the notebook's own default.

    Args:
        preset: name of a preset or path of a preset file.
        name: the notebook's name.
        values: the values of the notebook's parameters, as the reader left them.

    Returns:
        ``{parameter: the preset's value}`` for the parameters whose value differs from the preset's
        value and is the notebook's own.

    Raises:
        Problem: if the preset is damaged, or gives a value of the wrong kind.
    """
    offers = read_offers()
    wanted = resolve(preset, "", offers=offers)[name]
    taken = {}
    for key, parameter in offers[name].items():
        is_own = key != "run" and same(values[key], parameter.default)
        if is_own and not same(wanted[key], values[key]):
            taken[key] = wanted[key]
    return taken


def applied(
    settings: Sequence[str],
    values: Mapping[str, Mapping[str, Value]],
    run: str,
    offers: Offers,
) -> dict[str, dict[str, Value]]:
    """Return values, replaced where ``--set`` gives other values, and with the run's name.

    Args:
        settings: ``"05.steps=200"`` for one notebook or ``"seed=1"`` for all that have this
            parameter.
        values: ``{notebook name: {parameter: value}}``; this argument is not changed.
        run: the run's name.
        offers: from ``read_offers``.

    Raises:
        Problem: for an unknown notebook, an unknown parameter or a value of the wrong kind.
    """
    changed = {name: dict(own) for name, own in values.items()}
    for setting in settings:
        for name, key, value in _targets(setting, offers):
            where = f"notebook {name[:2]}, {_option(setting)}"
            changed[name][key] = checked(offers[name][key], value, where)
    return {name: own | {"run": run} for name, own in changed.items()}


def _targets(setting: str, offers: Offers) -> list[tuple[str, str, Any]]:
    """Return ``(notebook, parameter, value)`` for each notebook that a setting concerns."""
    key, equals, text = setting.partition("=")
    option = _option(setting)
    if not equals:
        raise Problem(
            f"{option} names no value.",
            expected="--set 05.steps=200 or --set seed=1",
            found=option,
            cause="the equals sign is missing",
            fix=f"{option}=VALUE",
        )
    value = literal(text)
    number, dot, name = key.strip().rpartition(".")
    if dot:
        chosen = notebook_path(number).stem
        return [(chosen, _known(name, offers[chosen], option).name, value)]
    everywhere: dict[str, Parameter] = {}
    for offered in offers.values():
        everywhere |= offered
    _known(name, everywhere, option)
    return [(notebook, name, value) for notebook, offered in offers.items() if name in offered]


def _option(setting: str) -> str:
    """Return a setting as typed; a long setting is cut."""
    return f"--set {setting}" if len(setting) <= 120 else f"--set {setting[:100]}..."


def _known(name: str, offered: Mapping[str, Parameter], where: str) -> Parameter:
    if name == "run":
        raise Problem(
            f"'run' cannot be set by {where}.",
            expected="--run NAME",
            found=where,
            cause="the run's name is given to every notebook at once",
            fix="alignsd run --run NAME",
        )
    if name in offered:
        return offered[name]
    guess = nearest(name, offered)
    raise Problem(
        f"{where}: there is no parameter {SHORT.repr(name)}.",
        expected="one of " + ", ".join(offered),
        found=SHORT.repr(name),
        cause="a misspelt name or another notebook's parameter",
        fix=f"did you mean {guess!r}?" if guess else "alignsd run --dry-run lists all parameters",
    )
