"""Draw what an ablation reads off: a panel per metric, the values with 95 % intervals."""

import math
import re
import textwrap
from ast import literal_eval
from collections.abc import Collection, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from alignsd.base.plotting.colours import BLUE, GREEN, GREY
from alignsd.compare.arms import ADAPTED, ORIGINAL, PAPERS
from alignsd.figures import alt
from alignsd.figures.style import Look
from alignsd.figures.text import drawable
from alignsd.planning.ablation.definitions import ACCURACY, Ablation
from alignsd.planning.ablation.results import CLIP, HPS
from alignsd.planning.ablation.settings import in_words

# What the axis of a metric says, and the factor from the table's unit to the axis's unit.
AXES = {
    "flaw_rate": ("drawn wrong (judge), %", 100),
    "match_rate": ("shows the prompt (judge), %", 100),
    "hps": ("HPS, 100 x cosine", 1),
    "aesthetic": ("aesthetic score, 1-10", 1),
    "fid": ("FID, lower is better", 1),
    ACCURACY: ("choices predicted right, %", 100),
}
WORDS = {
    ORIGINAL.name: "original model",
    ADAPTED.name: "adapted, no negative prompt",
    PAPERS.name: "adapted, negative prompt",
    CLIP: "CLIP, before HPS is trained",
}
# Colour -> the arm or predictor with the colour; the table holds more arms than are drawn.
OF_ARMS = {GREY: ORIGINAL.name, GREEN: ADAPTED.name, BLUE: PAPERS.name}
OF_PREDICTORS = {GREY: CLIP, BLUE: HPS}
IN_A_ROW = 3  # panels side by side
NARROWEST = 6.4  # inches; room for the legend beside the label of the preset
LETTERS = 11  # of the title, per inch
SHIFT = 0.2  # of a setting's width: the values of a setting stand so far from each other
SMALL = 1e-3  # a number below is written with a power of ten
OWN = "\n(run)"  # marks the run's own setting
NOT_OWN = "\n "  # keeps the first lines of all labels at one height
LONG = 40  # characters of all labels together that fit side by side


def size(ablation: Ablation) -> tuple[float, float]:
    """Return the width and the height of an ablation's figure, in inches."""
    rows, columns = _grid(len(ablation.metrics))
    width = max(3.4 * columns + 0.4, NARROWEST)
    labels = [_plain(in_words(setting)) for setting in ablation.values]
    height = (3.1 if _is_long([*labels, OWN]) else 2.7) * rows + 1.1
    return width, height


def draw(fig: Figure, ablation: Ablation, table: pd.DataFrame, own: str) -> Figure:
    """Draw an ablation: each metric against the setting, of several arms or predictors.

    Args:
        fig: where to draw; ``size`` says how large.
        ablation: the ablation.
        table: from ``results.table``.
        own: label of the setting of the run itself, which the figure marks.
    """
    values = table[table["minus"] == ""]
    parameters = ablation.prepared or ", ".join(ablation.parameters)
    axes = _axes(fig, len(ablation.metrics))
    for ax, metric in zip(axes, ablation.metrics, strict=True):
        rows = values[values["metric"] == metric]
        _panel(ax, rows, metric)
        _ticks(ax, _labels(rows), own)
        ax.set_xlabel(parameters)
    question = textwrap.fill(ablation.question, int(LETTERS * fig.get_figwidth()))
    words = f"one run per setting, {_counts(values)}, 95 % intervals; axes need not begin at 0"
    fig.suptitle(f"{question}\n{words}", fontsize=11)
    handles = _handles(ablation.metrics, set(values["of"]))
    side_by_side = 2 if len(ablation.metrics) > 1 else 1  # the preset stands at the lower right
    fig.legend(handles=handles, loc="outside lower left", ncols=side_by_side)
    return fig


def _grid(count: int) -> tuple[int, int]:
    """Return the rows and the columns of so many panels."""
    columns = min(IN_A_ROW, count)
    rows = math.ceil(count / columns)
    return rows, columns


def _axes(fig: Figure, count: int) -> list[Axes]:
    """Return the axes of so many panels, row by row."""
    rows, columns = _grid(count)
    grid = fig.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return axes[:count]


def _drawn(metric: str) -> dict[str, str]:
    """Return colour -> arm or predictor that the panel of a metric shows, from left to right."""
    return OF_PREDICTORS if metric == ACCURACY else OF_ARMS


def _handles(metrics: Sequence[str], measured: Collection[str]) -> list[Patch]:
    """Return what the colours mean; the panel of the accuracy has other names than the others."""
    names: dict[str, list[str]] = {}
    for metric in metrics:
        for colour, name in _drawn(metric).items():
            if name in measured:
                names.setdefault(colour, []).append(_words(name))
    handles = []
    for colour in (GREY, GREEN, BLUE):
        if colour in names:
            words = "; ".join(dict.fromkeys(names[colour]))
            handles.append(Patch(color=colour, label=words))
    return handles


def _counts(values: pd.DataFrame) -> str:
    """Return how many choices and pictures a value was measured on, in words."""
    is_accuracy = values["metric"] == ACCURACY
    counted = {"choices": values[is_accuracy]["n"], "pictures": values[~is_accuracy]["n"]}
    words = [f"n = {int(n.max()):,} {what}" for what, n in counted.items() if len(n)]
    return ", ".join(words)


def _words(name: str) -> str:
    """Return an arm or a predictor in words."""
    return WORDS.get(name, name)


def _labels(rows: pd.DataFrame) -> list[str]:
    """Return the settings, each once, in their order."""
    return list(dict.fromkeys(rows["setting"]))


def _panel(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    """Draw one metric; rows of arms that the panel does not show are left out."""
    place = rows["setting"].map(_labels(rows).index)
    words, factor = AXES[metric]
    scaled = rows.assign(place=place)
    for column in ("value", "low", "high"):
        scaled[column] = factor * rows[column]
    drawn = _drawn(metric)
    described = []
    for position, (colour, name) in enumerate(drawn.items()):
        of_name = scaled[scaled["of"] == name]
        _dots(ax, of_name, colour, SHIFT * (position - (len(drawn) - 1) / 2))
        described.append(_listed(of_name))
    ax.set_ylabel(words)
    ax.margins(x=0.15)
    ax.grid(axis="x", visible=False)
    description = "; ".join(filter(None, reversed(described))) or "not measured"
    alt.describe(ax, f"Dots: {words} of each setting; {description}.")


def _dots(ax: Axes, rows: pd.DataFrame, colour: str, shift: float) -> None:
    """Draw the values of one arm or predictor with their intervals."""
    value = rows["value"]
    below = value - rows["low"]
    above = rows["high"] - value
    places = rows["place"] + shift
    ax.errorbar(places, value, yerr=[below, above], fmt="o", ms=5, color=colour)


def _ticks(ax: Axes, labels: Sequence[str], own: str) -> None:
    """Name the settings, and mark the run's own; long names are turned."""
    plain = [drawable(_plain(label)) for label in labels]
    is_long = _is_long([*plain, OWN])
    others = "" if is_long else NOT_OWN
    words = [
        f"{word}{OWN if label == own else others}"
        for label, word in zip(labels, plain, strict=True)
    ]
    look: Look = {"rotation": 20, "ha": "right"} if is_long else {}
    ax.set_xticks(range(len(labels)), words, **look)


def _is_long(labels: Sequence[str]) -> bool:
    """Return whether labels must be turned, which takes more height."""
    return len("".join(labels)) > LONG


def _plain(label: str) -> str:
    """Return a setting as a reader writes it: ``2, yes`` for ``2.0, True``, ``5e-5``."""
    values = literal_eval(f"[{label}]")
    return ", ".join(map(_plain_value, values))


def _plain_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _plain_number(value)
    return repr(value)


def _plain_number(value: float) -> str:
    """Return ``5e-4`` for 0.0005: small numbers of one axis are all written alike."""
    is_small = 0 < abs(value) < SMALL
    digits = f"{value:e}" if is_small else f"{value:g}"
    return re.sub(r"\.?0*e([+-])0?", r"e\1", digits)


def _listed(rows: pd.DataFrame) -> str:
    """Return the values of one arm or predictor in words; empty if there are none."""
    if rows.empty:
        return ""
    name = _words(rows["of"].iloc[0])
    values = alt.listed(rows["setting"].map(_plain), rows["value"], 2)
    return f"{name}: {values}"
