"""What a notebook's parameters cell offers, and which values a run gives it.

The cell tagged ``parameters`` holds lines ``name = literal  # unit; meaning``. Its values are preset ``mini``; the files
in ``alignsd/presets`` hold the other presets, one section per notebook number. Everything is strict: papermill would
accept an unknown name with a warning that nobody sees.
"""

import ast
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alignsd.errors import Problem
from alignsd.paths import notebooks, shown

PRESETS = Path(__file__).parent / "presets"
Value = bool | int | float | str | list


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: its name, its value there, and its comment."""

    name: str
    default: Value
    meaning: str


def notebook_path(name: str) -> Path:
    """Returns the source of the notebook called ``name``, such as ``02_train_hps`` or ``02``.

    Raises:
        Problem: if there is none.
    """
    names = notebook_names()
    found = [n for n in names if name in (n, n[:2], n + ".ipynb")]
    if not found:
        raise Problem(f"There is no notebook {name!r}.", expected=", ".join(names), found=repr(name),
                      cause="a misspelt name or number", fix=f"use {_guess(name, names) or 'one of the names above'}")
    return notebooks() / f"{found[0]}.ipynb"


def notebook_names() -> list[str]:
    """Returns the notebooks' names in reading order."""
    return sorted(path.stem for path in notebooks().glob("[0-9][0-9]_*.ipynb"))


def read_cells(path: Path) -> list[dict]:
    """Returns a notebook's cells, each with its ``source`` as one string.

    Raises:
        Problem: if the file is not a notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in cells]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Problem(f"{shown(path)} cannot be read.", expected="a Jupyter notebook, version 4", found=f"{error}",
                      cause="an unfinished edit or merge", fix=f"git checkout {shown(path)}, or mend the JSON") from error


def read_parameters(path: Path) -> dict[str, Parameter]:
    """Returns what the parameters cell of the notebook at ``path`` offers, in its order.

    Raises:
        Problem: unless there is exactly one such cell, made of lines ``name = literal  # meaning``.
    """
    cells = [c["source"] for c in read_cells(path) if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise Problem(f"{shown(path)} has {len(cells)} cells tagged 'parameters'.", expected="exactly one",
                      found=str(len(cells)), cause="the tag was lost or copied in an edit",
                      fix="set the tag in JupyterLab: property inspector, cell tags")
    return {p.name: p for p in (_parameter(line, path) for line in cells[0].splitlines() if line.strip())}


def _parameter(line: str, path: Path) -> Parameter:
    code, _, meaning = line.partition("  # ")
    try:
        (statement,) = ast.parse(code).body
        (target,) = statement.targets
        return Parameter(target.id, ast.literal_eval(statement.value), meaning.strip())
    except (AttributeError, SyntaxError, ValueError) as error:
        raise Problem(f"A line in the parameters cell of {shown(path)} is not a parameter.", found=line,
                      expected="name = literal  # unit; meaning", cause="an expression or an annotation in this cell",
                      fix="write the value itself; derive other values in the next cell") from error


def checked(parameter: Parameter, value: Any, where: str) -> Value:
    """Returns ``value`` if it is of the kind of the parameter's default; a whole number serves as a fraction.

    Raises:
        Problem: if it is of another kind.
    """
    default = parameter.default
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, list) and isinstance(value, (list, tuple)):
        item = Parameter(f"{parameter.name}[]", default[0], "") if default else None
        return [checked(item, v, where) if item else v for v in value]
    if type(value) is type(default):
        return value
    raise Problem(f"Parameter {parameter.name} in {where} is of the wrong kind.",
                  expected=f"{type(default).__name__}, such as {default!r} ({parameter.meaning})",
                  found=f"{type(value).__name__} {value!r}", cause="quotes, or YAML that reads 1e-4 as text",
                  fix="write a number without quotes, 1.0e-4 rather than 1e-4, or text in quotes")


def preset_names() -> list[str]:
    """Returns the presets that come with the package; ``mini`` is the parameters cells themselves."""
    return ["mini", *sorted(path.stem for path in PRESETS.glob("*.yaml"))]


def read_preset(preset: str, above: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Returns a preset's values by notebook number: those of ``alignsd/presets/<preset>.yaml`` or of a file of yours.

    A line ``base: <preset>`` makes the values of another preset those that the file does not give.

    Args:
        preset: name of a preset or path of a preset file.
        above: the presets that this one is the base of.

    Raises:
        Problem: if there is no such preset, it is its own base, or its file is not made of sections ``"02": {name: value}``.
    """
    if preset in above:
        raise Problem(f"Preset {preset} is its own base.", expected="base: another preset", found=" -> ".join((*above, preset)),
                      cause="a copied line", fix=f"mend the line base: of {above[-1]}")
    if preset == "mini":
        return {}
    path = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        raise Problem(f"There is no preset {preset!r}.", expected=", ".join(preset_names()) + ", or a path to a .yaml file",
                      found=preset, cause="a misspelt name",
                      fix=f"--preset {_guess(preset, preset_names()) or 'mini'}; presets/smoke.yaml shows the format")
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Problem(f"Preset {path.name} cannot be read.", expected="YAML", found=" ".join(str(error).split()),
                      cause="a missing colon, quote or indentation", fix=f"mend {path.name} at the place named") from error
    base = read_preset(str(sections.pop("base", "mini")), (*above, preset)) if isinstance(sections, dict) else {}
    wrong = [k for k, v in sections.items() if not isinstance(k, str) or not isinstance(v, dict)] \
        if isinstance(sections, dict) else [sections]
    if wrong:
        raise Problem(f"Preset {path.name} is not made of sections.", expected='"02": followed by lines name: value',
                      found=repr(wrong[0]), cause="a number without quotes (YAML reads 01 as 1) or an empty section",
                      fix='write the number of the notebook in quotes, "01":')
    return base | {number: base.get(number, {}) | section for number, section in sections.items()}


def resolve(preset: str, run: str, settings: Sequence[str] = ()) -> dict[str, dict[str, Value]]:
    """Returns each notebook's parameters for a run: the cell's values, then the preset's, then ``--set``'s.

    Args:
        preset: name of a preset or path of a preset file.
        run: the run's name, given to every notebook as ``run``.
        settings: ``"05.steps=200"`` for one notebook or ``"seed=1"`` for all that have this parameter.

    Returns:
        ``{notebook name: {parameter: value}}``, complete and in the cells' order.

    Raises:
        Problem: for an unknown notebook, an unknown parameter or a value of the wrong kind.
    """
    offered = {name: read_parameters(notebook_path(name)) for name in notebook_names()}
    values = {name: {p.name: p.default for p in parameters.values()} for name, parameters in offered.items()}
    for number, section in read_preset(preset).items():
        name = notebook_path(number).stem
        for key, value in section.items():
            values[name][key] = checked(_known(key, offered[name], f"preset {preset}, section {number}"), value, preset)
    return applied(settings, values, run)


def applied(settings: Sequence[str], values: Mapping[str, Mapping[str, Value]], run: str) -> dict[str, dict[str, Value]]:
    """Return values with those of ``--set`` put in their place, and the run's name.

    Args:
        settings: ``"05.steps=200"`` for one notebook or ``"seed=1"`` for all that have this parameter.
        values: ``{notebook name: {parameter: value}}``; it is not changed.
        run: the run's name.

    Raises:
        Problem: for an unknown notebook, an unknown parameter or a value of the wrong kind.
    """
    offered = {name: read_parameters(notebook_path(name)) for name in values}
    changed = {name: dict(own) for name, own in values.items()}
    for setting in settings:
        for name, key, value in _targets(setting, offered):
            changed[name][key] = checked(offered[name][key], value, f"--set {setting}")
    return {name: own | {"run": run} for name, own in changed.items()}


def _targets(setting: str, offered: Mapping[str, Mapping[str, Parameter]]) -> list[tuple[str, str, Any]]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise Problem(f"--set {setting} names no value.", expected="--set 05.steps=200 or --set seed=1", found=setting,
                      cause="the equals sign is missing", fix=f"--set {setting}=VALUE")
    number, dot, name = key.rpartition(".")
    if dot:
        chosen = notebook_path(number).stem
        return [(chosen, _known(name, offered[chosen], f"--set {setting}").name, _literal(text))]
    everywhere = {p.name: p for parameters in offered.values() for p in parameters.values()}
    _known(name, everywhere, f"--set {setting}")
    return [(n, name, _literal(text)) for n, parameters in offered.items() if name in parameters]


def _known(name: str, offered: Mapping[str, Parameter], where: str) -> Parameter:
    if name == "run":
        raise Problem(f"'run' cannot be set by {where}.", expected="--run NAME", found=where,
                      cause="the run's name is given to every notebook at once", fix="alignsd run --run NAME")
    if name not in offered:
        guess = _guess(name, offered)
        raise Problem(f"{where}: there is no parameter {name!r}.", expected="one of " + ", ".join(offered), found=name,
                      cause="a misspelt name or another notebook's parameter",
                      fix=f"did you mean {guess!r}?" if guess else "alignsd run --dry-run lists all parameters")
    return offered[name]


def _guess(name: str, names) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
