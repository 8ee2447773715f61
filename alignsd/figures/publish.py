"""How a figure is published: picture, numbers and origin side by side."""

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alignsd.base.atomic import replacing, write_json
from alignsd.base.paths import figures_dir
from alignsd.figures.text import drawable
from alignsd.kit import lineage
from alignsd.kit.notebook_files import notebook_path
from alignsd.kit.provenance import code_sha256
from alignsd.kit.records import preset_of
from alignsd.kit.stage_record import input_state, is_finished

LONGEST_NOTE = 100  # characters


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
