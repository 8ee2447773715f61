"""The look of every figure, and how one is saved: picture, numbers and origin side by side."""

import io
import math
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from alignsd.base.atomic import replacing, write_json
from alignsd.base.paths import figures_dir
from alignsd.kit import lineage
from alignsd.kit.notebook_files import notebook_path
from alignsd.kit.provenance import code_sha256
from alignsd.kit.records import preset_of
from alignsd.kit.stage_record import input_state, is_finished
from alignsd.kit.views import readable

# Okabe and Ito's palette, told apart with every common kind of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#222222", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
GREY = "#8A8A8A"

FONT = "DejaVu Sans"  # comes with matplotlib
JOINERS = frozenset("\u200d\ufe0e\ufe0f")  # between the parts of an emoji, and after an emoji
MARKS = ("Mn", "Me", "Cf")  # categories of characters without a width of their own
LONGEST_NOTE = 100  # characters
NO_GLYPH = "\u25a1"  # an empty square, drawn in place of a character that the font lacks

STYLE = {
    "figure.dpi": 110, "savefig.dpi": 200, "figure.constrained_layout.use": True, "figure.facecolor": "white",
    "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "legend.fontsize": 9, "legend.frameon": False, "font.family": FONT,
    "text.parse_math": False,  # dollar signs in a prompt are dollar signs
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": "#E4E4E4", "grid.linewidth": 0.7, "lines.linewidth": 1.6, "errorbar.capsize": 3,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK]),
    "pdf.fonttype": 42, "image.interpolation": "nearest", "image.cmap": "viridis",
}


def use_style() -> None:
    """Set the look of all figures and tables that follow; a notebook calls this once."""
    plt.rcParams.update(STYLE)
    pd.set_option("display.html.use_mathjax", False)  # dollar signs in a table, too


def drawable(value: object) -> str:
    """Return any value as one line of text that matplotlib can draw.

    A prompt may hold every character there is. Beyond what ``views.readable`` does, a character
    that the font lacks (most emoji, a Chinese word) becomes an empty square. The joiners of emoji,
    and marks without a width that the font lacks, are left out. Draw the text with
    ``parse_math=False``, so that dollar signs in it do not begin a formula.
    """
    glyphs = _glyphs()
    characters = []
    for character in readable(value):
        if character in JOINERS:
            continue
        if ord(character) in glyphs:
            characters.append(character)
        elif unicodedata.category(character) not in MARKS:
            characters.append(NO_GLYPH)
    return "".join(characters)


@cache
def _glyphs() -> frozenset[int]:
    """Return the code points that the figures' font can draw."""
    return frozenset(FT2Font(font_manager.findfont(FONT)).get_charmap())


def label_preset(fig: Figure, run: str, note: str = "simulated people and pictures") -> Figure:
    """Prints inside the figure, below everything else, which preset and run it shows, and ``note``; returns it.

    Who sees the picture away from its page must see that it is not the paper's: every preset but ``paper`` says so. Call
    it once, after all else is drawn.
    """
    preset = preset_of(run)
    if preset == "paper":
        return fig
    variation = lineage.in_words(run)
    which = f", run {run}" if run != preset else ""
    changed = f" ({variation})" if variation else ""
    words = f"preset {preset}{which}{changed}" + (f" - {_short(note)}" if note else "")
    if (engine := fig.get_layout_engine()) is not None and hasattr(engine, "set"):
        strip = 0.2 / fig.get_figheight()  # 0.2 inches kept free
        engine.set(rect=(0, strip, 1, 1 - strip))
    look = {"ha": "right", "va": "bottom", "fontsize": 8, "color": "#555555"}
    fig.text(0.995, 0.05 / fig.get_figheight(), words, parse_math=False, **look)
    return fig


def _short(note: str) -> str:
    """Return a note that fits on one line of a figure; a longer note ends with an ellipsis."""
    words = drawable(note)
    return words if len(words) <= LONGEST_NOTE else f"{words[: LONGEST_NOTE - 1]}…"


def origin(run: str, notebook: str, stage_files: list[str]) -> dict:
    """Returns what a figure's JSON says about where its numbers come from.

    Args:
        run: the run's name.
        notebook: the notebook that drew it.
        stage_files: what it was drawn from, such as ``07_evaluate/arms.parquet``.

    Returns:
        These, the notebook's ``code_sha256``, and of each stage among them that was run ``stage.input_state``, the 16 digits
        that its run record calls ``state``.
    """
    stages = sorted({file.split("/")[0] for file in stage_files})
    made = {stage: input_state(run, stage) for stage in stages if is_finished(run, stage)}
    variation = lineage.in_words(run)
    return {"run": run, "preset": preset_of(run), "notebook": notebook, "code_sha256": code_sha256(notebook_path(notebook)),
            "stage_files": sorted(stage_files), "stages": made} | ({"variation": variation} if variation else {})


def save(fig: Figure, name: str, folder: Path, data: dict, origin: dict) -> Path:
    """Writes ``name``.png, .pdf and .json (the plotted numbers and their origin) and returns the PNG's path.

    Each file is either whole or absent; no date or version goes in, so that equal figures are equal files.

    Args:
        fig: the figure.
        name: the files' stem.
        folder: where to, usually ``paths.figures_dir(run)``.
        data: name -> table, array, list or number; everything that is plotted.
        origin: from ``origin()``.
    """
    folder = Path(folder)
    for suffix, metadata in (("png", {"Software": None}), ("pdf", dict.fromkeys(("Creator", "Producer", "CreationDate")))):
        drawn = io.BytesIO()
        fig.savefig(drawn, format=suffix, metadata=metadata)
        with replacing(folder / f"{name}.{suffix}") as part:
            Path(part).write_bytes(drawn.getvalue())
    write_json(folder / f"{name}.json", {"figure": name, "origin": origin, "data": plain(data)})
    return folder / f"{name}.png"


def publish(fig: Figure, name: str, data: dict, stage_files: list[str], *, run: str, notebook: str = "08_figures",
            note: str = "simulated people and pictures") -> Path:
    """Labels a figure with its preset, saves it below ``figures/<run>`` and returns the PNG's path.

    Args:
        fig: the finished figure.
        name, data: as for ``save``.
        stage_files, run, notebook: as for ``origin``.
        note: as for ``label_preset``.
    """
    label_preset(fig, run, note)
    return save(fig, name, figures_dir(run), data, origin(run, notebook, stage_files))


def plain(value):
    """Return ``value`` (tables, arrays, numpy scalars, lists, dicts) as JSON knows it.

    NaN and infinity become None. Half of a surrogate pair, which no file can hold, is written as
    ``\\ud800``.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, (pd.Series, np.ndarray, list, tuple)):
        return [plain(item) for item in list(value)]
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
