"""What a notebook's parameters cell offers, and which values a run gives it.

The cell tagged ``parameters`` holds lines ``name = literal  # unit; meaning``. Its values are preset ``mini``; the files
in ``alignsd/presets`` hold the other presets, one section per notebook number. Everything is strict: papermill would
accept an unknown name with a warning that nobody sees.
"""

import ast
import difflib
import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.paths import notebooks, shown
from alignsd.base.reading import is_text, read_json, read_text
from alignsd.kit.preset_files import parse_preset

PRESETS = Path(__file__).parents[1] / "presets"
NOTEBOOK = re.compile(r"[0-9]{2}_[a-z0-9_]+\.ipynb")  # JupyterLab's copies have other names
LARGEST_PRESET = 2**16  # bytes, read in seconds; the largest shipped one has 7,000
LONGEST_LITERAL = 100_000  # characters of a value of --set that is read as Python writes it
Value = bool | int | float | str | list


@dataclass(frozen=True)
class Range:
    """The values that a number may have, ends included.

    Attributes:
        least: the smallest value.
        most: the largest value.
        above: whether ``least`` itself is too small.
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
            return f"a finite number above {self.least:g}" if self.above else f"at least {self.least:g}"
        return f"from {self.least:.10g} to {self.most:.10g}"


COUNT = Range(1, 2**31 - 1)
COUNT_OR_NONE = Range(0, 2**31 - 1)
SHARE = Range(0, 1)
NOT_NEGATIVE = Range(0)
# What the numbers of the parameters cells may be. A number that is not listed is any finite one.
# Limits that depend on a model or on data (layers, pictures of a prompt) are checked where they show.
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
    "resolution": Range(8, 8192),  # pixels; an autoencoder of Stable Diffusion makes an eighth of it
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
    "study_prompts": COUNT,
    "voters": COUNT,
    "columns": COUNT,
}
ANY_NUMBER = Range()
SHORT = reprlib.Repr()  # a value in a message; a hostile one may be endless
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother, SHORT.maxlong = 2, 80, 80, 40


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: its name, its value there, and its comment."""

    name: str
    default: Value
    meaning: str


def notebook_path(name: str) -> Path:
    """Return the source of the notebook called ``name``, such as ``02_train_hps`` or ``02``.

    Raises:
        Problem: if there is none.
    """
    names = notebook_names()
    chosen = next((known for known in names if name in (known, known[:2], f"{known}.ipynb")), None)
    if chosen is None:
        raise Problem(
            f"There is no notebook {SHORT.repr(name)}.",
            expected=", ".join(names),
            found=SHORT.repr(name),
            cause="a misspelt name or number",
            fix=f"use {_nearest_notebook(name, names) or 'one of the names above'}",
        )
    return notebooks() / f"{chosen}.ipynb"


def _nearest_notebook(name: str, names: Sequence[str]) -> str | None:
    """Return the notebook that a misspelt name or number such as ``"2"`` may mean, or None."""
    number = name.zfill(2)[:2]
    by_number = [known for known in names if known[:2] == number]
    return by_number[0] if by_number else _guess(name, names)


def notebook_names() -> list[str]:
    """Return the notebooks' names in reading order.

    Only a file called ``NN_words.ipynb``, with small letters, digits and underscores, is a notebook
    of the kit. A copy that JupyterLab, a browser or a file manager made has another name.

    Raises:
        Problem: if two notebooks have one number.
    """
    folder = notebooks()
    files = [file for file in folder.iterdir() if NOTEBOOK.fullmatch(file.name) and file.is_file()]
    names = sorted(file.stem for file in files)
    times = Counter(name[:2] for name in names)
    double = [name for name in names if times[name[:2]] > 1]
    if double:
        raise Problem(
            f"Two notebooks have the number {double[0][:2]}.",
            expected="each number once",
            found=", ".join(double),
            cause="a notebook was copied or renamed",
            fix=f"give one of them another number, or move it out of {shown(folder)}",
        )
    return names


def read_cells(path: Path) -> list[dict]:
    """Return a notebook's cells, each with its ``source`` as one string.

    Raises:
        Problem: if the file is not a notebook.
    """
    try:
        notebook = read_json(path)
    except Problem as problem:
        raise _no_notebook(path, f"{problem.what} {problem.found}", problem.cause) from problem
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(_is_cell(cell) for cell in cells):
        raise _no_notebook(path, "JSON of another kind", "an unfinished edit or merge")
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata", {}), dict):
        return False
    tags = cell.get("metadata", {}).get("tags", [])
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return isinstance(tags, list) and isinstance(cell.get("cell_type"), str) and all(map(is_text, lines))


def _no_notebook(path: Path, found: str, cause: str) -> Problem:
    return Problem(
        f"{shown(path)} cannot be read.",
        expected="a Jupyter notebook, version 4",
        found=found,
        cause=cause,
        fix=f"git checkout {shown(path)}, or mend the JSON",
    )


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
        value = ast.literal_eval(statement.value)
        name = target.id
    except NOT_A_LITERAL as error:
        raise _no_parameter(line, path) from error
    if not isinstance(value, Value):
        raise _no_parameter(line, path)
    return Parameter(name, value, meaning.strip())


# What Python says of text that is no literal: no Python, an expression, brackets within brackets
# (too many for the parser), or a key that no dictionary takes.
NOT_A_LITERAL = (AttributeError, SyntaxError, ValueError, TypeError, MemoryError, RecursionError)


def _no_parameter(line: str, path: Path) -> Problem:
    return Problem(
        f"A line in the parameters cell of {shown(path)} is not a parameter.",
        expected="name = literal  # unit; meaning",
        found=line[:200],
        cause="an expression or an annotation in this cell",
        fix="write the value itself; derive other values in the next cell",
    )


def checked(parameter: Parameter, value: Any, where: str) -> Value:
    """Return ``value`` if it is of the kind of the parameter's default and in its range.

    A whole number serves as a fraction.

    Args:
        parameter: the parameter.
        value: a value for it.
        where: the preset, the option or the notebook that gives the value.

    Raises:
        Problem: if the value is of another kind, out of its range (see ``RANGES``), not finite, or
            text that UTF-8 cannot hold.
    """
    default = parameter.default
    if isinstance(default, list) and isinstance(value, (list, tuple)):
        return [_checked_element(parameter, element, where) for element in value]
    if isinstance(default, float) and _is_number(value):
        _check_range(parameter, value, where)
        return float(value)
    if type(value) is not type(default):
        raise _wrong_kind(parameter, value, where)
    if _is_number(value):
        _check_range(parameter, value, where)
    if isinstance(value, str):
        _check_text(parameter, value, where)
    return value


def _checked_element(parameter: Parameter, element: Any, where: str) -> Value:
    """Return an element of a list; of an empty default the elements may be text or numbers."""
    if not isinstance(element, (bool, int, float, str)):
        raise _wrong_kind(parameter, [element], where)
    like = parameter.default[0] if parameter.default else element
    return checked(Parameter(f"{parameter.name}[]", like, parameter.meaning), element, where)


def _is_number(value: Any) -> bool:
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
    """Return why a value is of another kind than a parameter's default, and what to write instead."""
    example = f"write a value such as {default!r}"
    digits_and_commas = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(,[0-9]+)+", value.strip())
    if _is_number(default) and (digits_and_commas or isinstance(value, tuple)):
        return "a comma in a number", "write 1000 for a thousand and 0.1 for a tenth"
    if value is None:
        return "a name without a value, or None or null", 'write the value, "" for empty text'
    if isinstance(default, str) and isinstance(value, bool):
        return "yes, no, on, off, true and false without quotes are no text", "write text in quotes"
    if isinstance(value, str) and _is_number(_literal(value)):
        cause = "a number in quotes, or 1e-4, which YAML reads as text"
        return cause, "write the number without quotes, and 1.0e-4 in place of 1e-4"
    if isinstance(default, bool):
        return "another value than yes or no", "write True or False with --set, yes or no in a preset"
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
    raise Problem(
        f"Parameter {parameter.name} in {where} is out of its range.",
        expected=f"{allowed}: {parameter.meaning}",
        found=f"{name} = {_number_as_text(number)}",
        cause="-1 means any seed in other tools; here each seed stands for one result"
        if name == "seed"
        else "a slip in a preset, in the parameters cell or in --set",
        fix=f"set {name} to a value in this range; the notebook's own is {parameter.default!r}",
    )


def _number_as_text(number: float) -> str:
    huge = isinstance(number, int) and abs(number) >= 10**30
    return "a number of more than 30 digits" if huge else repr(number)


def _check_text(parameter: Parameter, text: str, where: str) -> None:
    if is_text(text) and "\0" not in text:
        return
    raise Problem(
        f"Parameter {parameter.name} in {where} holds a character that no text file can hold.",
        expected="text",
        found=ascii(text)[:80],
        cause="half a character (a lone surrogate) or a zero byte, from a text that was cut or damaged",
        fix=f"write the value of {parameter.name} again",
    )


def number(parameters: Mapping[str, Value], name: str) -> float:
    """Return the value of a parameter that is a number; a whole number stays whole.

    Args:
        parameters: the values of one notebook, by name.
        name: the parameter's name.

    Raises:
        Problem: if there is no such parameter, or its value is of another kind.
    """
    value = _value(parameters, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
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
    if not isinstance(value, list) or not all(map(_is_number, value)):
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
    base = read_preset(sections.pop("base", "mini"), (*above, preset))
    return base | {number: base.get(number, {}) | section for number, section in sections.items()}


def _preset_path(preset: str) -> Path:
    if preset.lower().endswith((".yaml", ".yml")):
        path = Path(os.path.expanduser(preset))
        is_there = os.path.isfile(path)
    else:
        path = PRESETS / f"{preset}.yaml"
        is_there = preset in preset_names()
    if is_there:
        return path
    raise Problem(
        f"There is no preset {SHORT.repr(preset)}.",
        expected=", ".join(preset_names()) + ", or a path to a .yaml file",
        found=SHORT.repr(preset),
        cause="a misspelt name, or a path from another folder: a relative path starts where you type",
        fix=f"--preset {_guess(Path(preset).stem, preset_names()) or 'mini'}; "
        f"{shown(PRESETS / 'smoke.yaml')} shows what a file of your own looks like",
    )


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
    values = {name: {p.name: p.default for p in own.values()} for name, own in offered.items()}
    for number, section in read_preset(preset).items():
        name = notebook_path(number).stem
        where = f"preset {preset}, section {number}"
        for key, value in section.items():
            values[name][key] = checked(_known(key, offered[name], where), value, where)
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
            where = f"notebook {name[:2]}, {_option(setting)}"
            changed[name][key] = checked(offered[name][key], value, where)
    return {name: own | {"run": run} for name, own in changed.items()}


def _targets(setting: str, offered: Mapping[str, Mapping[str, Parameter]]) -> list[tuple[str, str, Any]]:
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
    value = _literal(text)
    number, dot, name = key.strip().rpartition(".")
    if dot:
        chosen = notebook_path(number).stem
        return [(chosen, _known(name, offered[chosen], option).name, value)]
    everywhere = {p.name: p for own in offered.values() for p in own.values()}
    _known(name, everywhere, option)
    return [(notebook, name, value) for notebook, own in offered.items() if name in own]


def _option(setting: str) -> str:
    """Return a setting as it was typed; a long one is cut."""
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
    guess = _guess(name, offered)
    raise Problem(
        f"{where}: there is no parameter {SHORT.repr(name)}.",
        expected="one of " + ", ".join(offered),
        found=SHORT.repr(name),
        cause="a misspelt name or another notebook's parameter",
        fix=f"did you mean {guess!r}?" if guess else "alignsd run --dry-run lists all parameters",
    )


def _guess(name: str, names: Iterable[str]) -> str | None:
    if len(name) > 100:  # the comparison takes the square of the length
        return None
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)


def _literal(text: str) -> Any:
    """Return the value that text writes in Python, or the text itself."""
    if len(text) > LONGEST_LITERAL:
        return text
    try:
        return ast.literal_eval(text)
    except NOT_A_LITERAL:
        return text
