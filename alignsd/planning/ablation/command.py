"""The command ``alignsd ablate``: run the settings of an ablation, then write table and figure."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from alignsd.base import processes
from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import figures_dir, shown
from alignsd.figures import publish, style
from alignsd.kit.provenance import package_sha256
from alignsd.kit.records import expected_seconds, preset_of
from alignsd.kit.values.parameters import number, text
from alignsd.planning import whole_plan
from alignsd.planning.ablation import drawing, results
from alignsd.planning.ablation.definitions import ABLATIONS, Ablation
from alignsd.planning.ablation.settings import (
    Setting,
    in_words,
    notebooks_of,
    seconds,
    settings,
    values_of_notebooks,
)
from alignsd.running.company import Company

FOLDER = "ablations"  # below the run's figures


def list_all(parent: str) -> str:
    """Return all ablations in words: settings, minutes, and what is read off.

    The minutes are those of one setting beside the run's own: the time that the notebooks took in
    a run of the same preset. A notebook without a record leaves the minutes unknown.

    Args:
        parent: the run whose preset counts.
    """
    expected = expected_seconds(preset_of(parent), parent)
    lines = []
    for ablation in ABLATIONS:
        each = seconds(notebooks_of(ablation), expected)
        values = " | ".join(map(in_words, ablation.values))
        lines += [
            f"{ablation.name}: {ablation.asked}",
            f"    {ablation.changed} = {values}",
            f"    {len(ablation.values)} settings, {_minutes(each)} each, notebooks "
            f"{ablation.number} to {ablation.last}; reads off {', '.join(ablation.metrics)}",
        ]
    return "\n".join(lines)


def describe(ablation: Ablation, parent: str) -> str:
    """Return the settings of one ablation in words: which runs there are, and the time to come."""
    return _plan_in_words(ablation, settings(ablation, parent), parent)


def ablate(ablation: Ablation, parent: str) -> None:
    """Run the settings of an ablation that are not finished, one after the other.

    Then write ``figures/<parent>/ablations/<name>`` as ``.csv``, ``.png``, ``.pdf`` and ``.json``,
    and print the values.

    Args:
        ablation: the ablation.
        parent: a finished run, which stays as it is.

    Raises:
        Problem: as in ``settings.settings``, or if several processes were launched.
        Stopped: if a notebook did not reach the end. The same command goes on with this setting.
    """
    _refuse_a_launch(ablation, parent)
    tried = settings(ablation, parent)
    print(_plan_in_words(ablation, tried, parent), flush=True)
    for setting in tried:
        if setting.plan is not None and setting.todo:
            if setting.before is not None:
                setting.before()
            whole_plan.carry_out(setting.plan, Company())
    table = _table(ablation, tried, parent)
    print(_values_in_words(table))
    path = _write(ablation, tried, parent, table)
    print(f"Table and figure: {shown(path.with_suffix(''))} as .csv, .png, .pdf and .json")


def _refuse_a_launch(ablation: Ablation, parent: str) -> None:
    if processes.count() == 1:
        return
    raise Problem(
        "An ablation runs on one process.",
        expected="one process",
        found=f"{processes.count()} processes of a launch",
        cause="a launcher was put in front of alignsd ablate",
        fix=_how_without_a_launch(ablation, parent),
    )


def _how_without_a_launch(ablation: Ablation, parent: str) -> str:
    command = f"alignsd ablate {ablation.name} --from-run {parent}"
    if ablation.prepared:
        return command
    return f"launch the runs that `{command} --list` names as alignsd run, then: {command}"


def _plan_in_words(ablation: Ablation, tried: Sequence[Setting], parent: str) -> str:
    expected = expected_seconds(preset_of(parent), parent)
    lines = [ablation.asked, f"{ablation.changed}, against run {parent}:"]
    todo: list[str] = []
    for setting in tried:
        lines.append(f"    {setting.label}: run {setting.run}, {_state(setting, parent)}")
        todo += setting.todo
    lines.append(f"to run: {_minutes(seconds(todo, expected))}, by the records of earlier runs")
    if todo and ablation.prepared:
        lines.append("Each setting first makes what its run needs; that time is not counted.")
    return "\n".join(lines)


def _state(setting: Setting, parent: str) -> str:
    if setting.run == parent:
        return "the run's own setting"
    if not setting.todo:
        return "finished"
    return "notebooks " + ", ".join(name[:2] for name in setting.todo)


def _minutes(duration: float | None) -> str:
    return "unknown minutes" if duration is None else f"{duration / 60:.1f} minutes"


def _table(ablation: Ablation, tried: Sequence[Setting], parent: str) -> pd.DataFrame:
    seed = int(number(values_of_notebooks(parent)["07"], "seed"))
    return results.table(ablation, tried, parent, seed)


def _values_in_words(table: pd.DataFrame) -> str:
    """Return the values with intervals as lines of text, metric by metric."""
    values = table[table["minus"] == ""]
    lines = []
    for row in values.sort_values(["metric", "of"], kind="stable").to_dict("records"):
        value = f"{row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}], n = {row['n']}"
        lines.append(f"{row['metric']:<12}{row['of']:<18}{row['setting']:<20}{value}")
    return "\n".join(lines)


def _write(ablation: Ablation, tried: Sequence[Setting], parent: str, table: pd.DataFrame) -> Path:
    """Write the table and the figure of a finished ablation; return the path of the PNG."""
    folder = figures_dir(parent) / FOLDER
    with replacing(folder / f"{ablation.name}.csv") as unfinished:
        table.to_csv(unfinished, index=False)
    own = next(setting.label for setting in tried if setting.run == parent)
    note = text(values_of_notebooks(parent)["08"], "note")
    data = {"question": ablation.question, "table": table}
    made_from = _origin(ablation, tried, parent)
    with plt.rc_context():
        plt.style.use(style.LOOK)
        fig = drawing.draw(Figure(drawing.size(ablation)), ablation, table, own)
        publish.label_preset(fig, parent, note)
        return publish.save(fig, ablation.name, folder, data, made_from)


def _origin(ablation: Ablation, tried: Sequence[Setting], parent: str) -> dict[str, object]:
    return {
        "run": parent,
        "preset": preset_of(parent),
        "command": _command(ablation, parent),
        "settings": {setting.run: dict(setting.values) for setting in tried},
        "stages": results.states(ablation, tried),
        "package_sha256": package_sha256(),
    }


def _command(ablation: Ablation, parent: str) -> str:
    """Return the command that makes the same table and figure."""
    command = f"alignsd ablate {ablation.name} --from-run {parent}"
    if ablation in ABLATIONS:
        return command
    values = [setting if len(setting) > 1 else setting[0] for setting in ablation.values]
    return f"{command} --values {shlex.quote(repr(values))}"
