"""What a run at full size would take: work and space counted from a preset, times measured here (``throughput``)."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd import paper
from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import stage_dir, user_path
from alignsd.base.reading import listed, read_json
from alignsd.compare.arms import ARMS
from alignsd.kit.parameters import Value, notebook_path
from alignsd.planning import throughput
from alignsd.planning.throughput import (
    DECODE,
    DENOISE,
    EMBED,
    ENCODE,
    FEATURES,
    FIXED,
    FRECHET,
    PARAMETERS,
    READ,
    TRAIN_CLIP,
    TRAIN_LORA,
    UNET,
)
from alignsd.select.diffusiondb import find_parts

# Sizes of DiffusionDB and of the files.
PARTS, PART_IMAGES = 1_000, 1_000
SELECTED = paper.POSITIVES + paper.NEGATIVES  # of a million scored
PART_GIB = 0.5  # one part of DiffusionDB Large (its issue 11)
PICTURE_GIB = 3 * 512**2 / 2**30  # a PNG of 512 px takes at most about this
LATENT_GIB = 2 * 4 * 64 * 64 * 2 / 2**30  # mean and spread of one picture's latents in half precision, as on a GPU
HPS_GIB = 4 * (427_616_513 + 3 * 150_185_217) / 2**30  # ViT-L/14, and the checkpoint of what is trained of it, with AdamW's moments
LORA_GIB = 4 * 2 * 5 * 6_377_472 / 2**30  # two LoRAs of rank 32: checkpoint with moments, and both layouts
ON_DEVICE = ("02", "03", "05", "06", "07")  # notebooks that run a model of full size
Values = dict[str, dict[str, Value]]


def count_work(values: Values, parts: int) -> pd.DataFrame:
    """Counts what a preset at full size has to do.

    Args:
        values: notebook number -> its resolved parameters.
        parts: parts of DiffusionDB that are scored, about 1,000 images each (paper: 1,000).

    Returns:
        ``notebook, task, count``: how often the unit of the task is done.
    """
    p02, p05, p06, p07 = (values[number] for number in ("02", "05", "06", "07"))
    images_per_choice = paper.TRAIN_IMAGES / paper.TRAIN_CHOICES
    trained = p02["epochs"] * (paper.TRAIN_IMAGES + images_per_choice * sum(p02["curve"]))
    drawn, encoded, selected = _drawn(values), _encoded(values, parts), _selected(parts)
    distances = p07["fid_resamples"] * (len(ARMS) + 1)  # one per arm, and the root of the reference's covariance
    rows = [("02", TRAIN_CLIP, round(trained)), ("02", EMBED, paper.TEST_IMAGES * (4 + len(p02["curve"]))),
            ("03", READ, parts * PART_IMAGES), ("03", EMBED, parts * PART_IMAGES), ("04", READ, selected),
            ("05", READ, 2 * encoded), ("05", EMBED, encoded - selected), ("05", ENCODE, encoded),
            ("05", TRAIN_LORA, 2 * p05["steps"] * p05["batch"]),
            ("06", DENOISE, drawn * p06["steps"]), ("06", DECODE, drawn),
            ("07", EMBED, 2 * drawn), ("07", FEATURES, drawn), ("07", FRECHET, distances)]
    return pd.DataFrame(rows, columns=["notebook", "task", "count"])


def estimate(work: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Returns ``notebook, task, count, seconds per unit, hours`` of each task: the count times what was measured."""
    table = work.merge(measured[["task", "seconds"]], on="task", how="left", validate="many_to_one")
    return table.assign(hours=table["count"] * table["seconds"] / 3600)


def total_hours(table: pd.DataFrame) -> float:
    """Returns the hours of an ``estimate`` in all: 03 reads pictures on one thread while it embeds others, so the longer counts."""
    return sum(hours.max() if number == "03" else hours.sum() for number, hours in table.groupby("notebook")["hours"])


def space(values: Values, parts: int) -> dict[str, float]:
    """Returns notebook -> GiB that it leaves on the disk; only what is large at full size counts.

    Args:
        values, parts: as in ``count_work``.
    """
    shards = _shards_gib(values["05"]["regularization"])  # unpacked by 05
    return {"02": HPS_GIB, "04": _selected(parts) * PICTURE_GIB, "05": _encoded(values, parts) * LATENT_GIB + LORA_GIB + shards,
            "06": _drawn(values) * PICTURE_GIB}


def still_to_write(values: Values, notebooks: Collection[str], run: str) -> float:
    """Returns the GiB that notebooks of a run will yet write: what they leave, less what their folders hold already.

    Args:
        values: as in ``count_work``.
        notebooks: their numbers.
        run: the run's name.
    """
    needed = {number: gib for number, gib in space(values, _parts(values)).items() if number in notebooks}
    return sum(max(0.0, gib - held(stage_dir(run, notebook_path(number).stem))) for number, gib in needed.items())


def held(folder: Path) -> float:
    """Return the GiB that lie in a folder; 0 if there is none. What cannot be looked at does not count."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a link that leads nowhere, or a file that was just deleted
                sizes.append(os.stat(os.path.join(place, name)).st_size)
    return sum(sizes) / 2**30


def parts_at(folder: str) -> int:
    """Returns how many of DiffusionDB's parts lie in the folder that notebook 03 scores."""
    with suppress(Problem):
        return len(find_parts(user_path(folder)))
    return 0


def is_full_size(values: Values) -> bool:
    """Returns whether a preset works at the size whose cost is measured here, Stable Diffusion's 512 pixels."""
    return values["05"]["resolution"] == 8 * UNET["sample_size"]


def batches(values: Values, device: str, batch: int = 0) -> dict[str, int]:
    """Returns task -> how many at a time.

    Args:
        values: as in ``count_work``.
        device: ``"auto"`` or a torch device.
        batch: for all tasks; 0 takes the notebooks' parameters on a GPU, and 1 on a CPU, which gains nothing by more.
    """
    if batch or throughput.device_name(device) == "CPU":
        return dict.fromkeys((*FIXED, *PARAMETERS), batch or 1)
    return FIXED | {task: times * values[number][name] for task, (number, name, times) in PARAMETERS.items()}


def before_a_run(values: Values, device: str, known: Path, notebooks: Collection[str]) -> str:
    """Measures this machine, once for each device and batch, and says what notebooks at full size would take.

    Args:
        values: as in ``count_work``.
        device: ``"auto"`` or a torch device.
        known: file in which the measurement is kept.
        notebooks: their numbers.

    Raises:
        Problem: if a model does not fit the device at its notebook's batch.
    """
    measured_with = {"device": throughput.device_name(device), "batches": batches(values, device), "tasks": list(throughput.TASKS)}
    kept = _kept(known)
    if kept.get("measured_with") != measured_with:
        print(f"measuring {measured_with['device']} with models of full size")
        kept = {"measured_with": measured_with, "measured": throughput.measure(device, measured_with["batches"]).to_dict("records")}
        write_json(known, kept)
    return report(values, _parts(values), pd.DataFrame(kept["measured"]), notebooks)


def _kept(known: Path) -> dict[str, Any]:
    """Return a measurement that was kept, or nothing: a damaged one is made anew."""
    try:
        kept = read_json(known) if known.exists() else {}
    except (Problem, OSError):
        return {}
    rows = kept.get("measured") if isinstance(kept, dict) else None
    is_whole = isinstance(rows, list) and bool(rows) and all(_is_measured(row) for row in rows)
    return kept if is_whole else {}


def _is_measured(row: Any) -> bool:
    if not isinstance(row, dict) or row.get("task") not in throughput.TASKS:
        return False
    numbers = [row.get(name) for name in ("batch", "seconds", "gib")]
    return all(isinstance(number, (int, float)) and 0 <= number < 2**53 for number in numbers)


def _shards_gib(folder: str) -> float:
    """Return the GiB of the tar files in a folder of the reader's own; 0 if there is no such folder."""
    place = user_path(folder)
    if not os.path.isdir(place):
        return 0.0
    return sum(file.stat().st_size for file in listed(place, ".tar")) / 2**30


def report(values: Values, parts: int, measured: pd.DataFrame, notebooks: Collection[str]) -> str:
    """Returns in words and tables what a preset takes: time by task, and space.

    Args:
        values, parts: as in ``count_work``.
        measured: from ``throughput.measure``.
        notebooks: the numbers of those that count.
    """
    work = count_work(values, parts)
    table = estimate(work[work["notebook"].isin(notebooks)], measured)
    lines = [measured.round(3).to_string(index=False), "", f"{parts:,} parts of DiffusionDB",
             table.round({"seconds": 3, "hours": 1}).to_string(index=False), f"in all {total_hours(table):,.1f} hours"]
    lines += [f"{number} leaves {gib:,.1f} GiB" for number, gib in space(values, parts).items() if number in notebooks]
    if "03" in notebooks:
        missing = max(0, parts - parts_at(values["03"]["parts"]))
        lines.append(f"to fetch: {missing:,} parts of DiffusionDB, {missing * PART_GIB:,.1f} GiB")
    return "\n".join(lines)


def _parts(values: Values) -> int:
    return parts_at(values["03"]["parts"]) or PARTS


def _selected(parts: int) -> int:
    return SELECTED * parts // 1_000


def _encoded(values: Values, parts: int) -> int:
    """Pictures that 05 encodes: the selected ones, and for the control as many again beside the regularization pictures."""
    return 2 * _selected(parts) + values["05"]["regularization_images"]


def _drawn(values: Values) -> int:
    return values["06"]["prompt_count"] * values["06"]["samples"] * len(ARMS)
