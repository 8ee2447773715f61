"""How a figure is published: picture, PDF and numbers side by side, with their origin."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from alignsd.base.atomic import replacing, write_json
from alignsd.base.paths import figures_dir
from alignsd.base.plotting.light_png import lighter_png
from alignsd.figures.alt import alternative_text
from alignsd.figures.style import DARK_GREY
from alignsd.figures.text import drawable
from alignsd.kit import lineage
from alignsd.kit.provenance import code_sha256
from alignsd.kit.records import preset_of
from alignsd.kit.stage import Stage
from alignsd.kit.stage_record import input_state, is_finished
from alignsd.kit.values.notebook_files import notebook_path

LONGEST_NOTE = 100  # characters
STRIP = 0.2  # inches at the lower edge, kept free for the label
# No program, date or version goes into a file, so that equal figures are equal files.
NO_PNG_TEXTS = {"Software": None}
NO_PDF_TEXTS = {"Creator": None, "Producer": None, "CreationDate": None}


def publish(
    fig: Figure,
    name: str,
    data: Mapping[str, object],
    files: Sequence[Path],
    *,
    stage: Stage,
    note: str,
) -> Path:
    """Label a finished figure, save it in ``figures/<run>`` and return the path of the PNG.

    Args:
        fig: the finished figure.
        name: the stem of the three files.
        data: name -> table, array, list or number; everything that is plotted.
        files: what the figure was drawn from: paths that ``stage.input`` returned.
        stage: the stage of the notebook that draws.
        note: what a reader of the figure must know about the data of the run; may be empty.
    """
    label_preset(fig, stage.run, note)
    made_from = origin(stage.run, stage.name, stage.files_of(*files))
    return save(fig, name, figures_dir(stage.run), data, made_from)


def label_preset(fig: Figure, run: str, note: str) -> Figure:
    """Print the preset, the run and a note below everything else, and return the figure.

    A reader who sees the figure without the page must know that the figure is not the paper's.
    So every preset but ``paper`` gets a label. Call this function once, after all else is drawn.
    """
    preset = preset_of(run)
    if preset == "paper":
        return fig
    engine = fig.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        share = STRIP / fig.get_figheight()
        engine.set(rect=(0, share, 1, 1 - share))
    fig.text(
        0.995,
        0.05 / fig.get_figheight(),
        _label(run, preset, note),
        parse_math=False,
        ha="right",
        va="bottom",
        fontsize=8,
        color=DARK_GREY,
    )
    return fig


def _label(run: str, preset: str, note: str) -> str:
    """Return the words about a run, such as ``preset mini, run trial - simulated people``."""
    label = f"preset {preset}"
    if run != preset:
        label += f", run {run}"
    variation = lineage.in_words(run)
    if variation:
        label += f" ({variation})"
    if note:
        label += f" - {_short(note)}"
    return label


def _short(note: str) -> str:
    """Return a note that fits on one line of a figure. An ellipsis ends a note that was cut."""
    words = drawable(note)
    if len(words) <= LONGEST_NOTE:
        return words
    return words[: LONGEST_NOTE - 1] + "…"


def origin(run: str, notebook: str, stage_files: Sequence[str]) -> dict[str, object]:
    """Return where a figure's numbers come from.

    Args:
        run: the name of the run.
        notebook: the notebook that drew the figure.
        stage_files: what the figure was drawn from, such as ``07_evaluate/arms.parquet``.

    Returns:
        The arguments, the preset, the notebook's ``code_sha256``, and ``stages``: the
        ``input_state`` of each finished stage among the files, which is the ``state`` in the run's
        record of the stage. A variation's run adds ``variation``, what was changed.
    """
    stages = sorted({file.split("/")[0] for file in stage_files})
    states = {stage: input_state(run, stage) for stage in stages if is_finished(run, stage)}
    made_from: dict[str, object] = {
        "run": run,
        "preset": preset_of(run),
        "notebook": notebook,
        "code_sha256": code_sha256(notebook_path(notebook)),
        "stage_files": sorted(stage_files),
        "stages": states,
    }
    variation = lineage.in_words(run)
    if variation:
        made_from["variation"] = variation
    return made_from


def save(
    fig: Figure,
    name: str,
    folder: Path,
    data: Mapping[str, object],
    made_from: Mapping[str, object],
) -> Path:
    """Write the PNG, the PDF and the JSON of a figure, and return the path of the PNG.

    Each file is either whole or absent. Equal figures give equal files.

    Args:
        fig: the figure.
        name: the stem of the three files.
        folder: the folder of the three files.
        data: name -> table, array, list or number; everything that is plotted.
        made_from: from ``origin``; goes into the JSON with the data and the alternative text.
    """
    picture = lighter_png(_drawn(fig, "png", NO_PNG_TEXTS))
    _write(folder / f"{name}.png", picture)
    _write(folder / f"{name}.pdf", _drawn(fig, "pdf", NO_PDF_TEXTS))
    words = alternative_text(fig)
    record = {"figure": name, "alt": words, "origin": made_from, "data": plain(data)}
    write_json(folder / f"{name}.json", record)
    return folder / f"{name}.png"


def _drawn(fig: Figure, kind: str, metadata: Mapping[str, None]) -> bytes:
    """Return a figure as the bytes of a file."""
    content = io.BytesIO()
    fig.savefig(content, format=kind, metadata=metadata)
    return content.getvalue()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def plain(value: object) -> object:
    """Return tables, arrays, numpy scalars, lists and dictionaries as values of JSON.

    NaN and infinity become None. Half of a surrogate pair, which no file can hold, is written as
    ``\\ud800``.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, (pd.Series, np.ndarray, list, tuple)):
        return [plain(item) for item in list(value)]
    if isinstance(value, Mapping):
        return {str(plain(str(key))): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
