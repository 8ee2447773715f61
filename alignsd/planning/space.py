"""Count the disk space of a run at full size, in GiB."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from alignsd import paper
from alignsd.base.errors import Problem
from alignsd.base.paths import stage_dir, user_path
from alignsd.base.reading import listed
from alignsd.kit.values.notebook_files import notebook_path
from alignsd.kit.values.parameters import text
from alignsd.kit.values.urls import is_remote
from alignsd.planning import other_ways
from alignsd.planning.work import Values, drawn_images, encoded_images, selected_images
from alignsd.select.diffusiondb import find_parts, parts_folder
from alignsd.select.remote import remote_folder

GIB = 2**30  # bytes
PICTURE_GIB = 3 * 512**2 / GIB  # a PNG of 512 pixels takes at most about this
# Mean and spread of one picture's latents, in half precision as on a GPU.
LATENT_GIB = 2 * 4 * 64 * 64 * 2 / GIB
# ViT-L/14, and the checkpoint of the trained parameters with both moments of AdamW.
HPS_GIB = 4 * (427_616_513 + 3 * 150_185_217) / GIB
# Two LoRAs of rank 32: the checkpoint with both moments of AdamW, and the file in both layouts.
LORA_GIB = 4 * 2 * 5 * 6_377_472 / GIB


def space(values: Values, parts: int) -> dict[str, float]:
    """Return notebook -> GiB left on the disk; only what is large at full size counts.

    Args:
        values, parts: as in ``work.count_work``.
    """
    latents = encoded_images(values, parts) * LATENT_GIB
    shards = _shards_gib(text(values["05"], "regularization"))  # 05 unpacks the shards
    return {
        "02": HPS_GIB,
        "04": selected_images(parts) * PICTURE_GIB,
        "05": latents + LORA_GIB + shards,
        "06": drawn_images(values) * PICTURE_GIB,
        "10": _other_ways_gib(values),
    }


def _other_ways_gib(values: Values) -> float:
    """Return what notebook 10 leaves: pictures drawn and unpacked, latents, LoRAs."""
    if other_ways.NUMBER not in values:
        return 0.0
    by_hps = other_ways.most_pictures_by_hps(values)
    pictures = other_ways.drawn_images(values) + by_hps
    latents = paper.TRAIN_IMAGES + paper.POSITIVES + by_hps
    loras = (other_ways.PAIR_TRAININGS + 2) / 2 * LORA_GIB
    return pictures * PICTURE_GIB + latents * LATENT_GIB + loras


def _shards_gib(folder: str) -> float:
    """Return the GiB of the tar files in a folder of the reader; 0 if there is no such folder."""
    path = user_path(folder)
    if not os.path.isdir(path):
        return 0.0
    return sum(file.stat().st_size for file in listed(path, ".tar")) / GIB


def still_to_write(values: Values, notebooks: Collection[str], run: str) -> float:
    """Return the GiB that notebooks of a run have yet to write.

    Files that are already in a notebook's folder are subtracted from what the notebook leaves.

    Args:
        values: as in ``work.count_work``.
        notebooks: the numbers of the notebooks.
        run: the run's name.
    """
    total = 0.0
    for number, gib in space(values, parts_to_score(values)).items():
        if number in notebooks:
            stage = stage_dir(run, notebook_path(number).stem)
            total += max(0.0, gib - held(stage))
    return total


def held(folder: Path) -> float:
    """Return the GiB of the files in a folder; 0 if there is no such folder.

    Files whose size cannot be read do not count.
    """
    sizes = []
    for inner, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a broken link, or a file that was just deleted
                sizes.append(os.stat(os.path.join(inner, name)).st_size)
    return sum(sizes) / GIB


def parts_at(folder: str) -> int:
    """Return how many parts of DiffusionDB lie in a folder or at a URL.

    Return 0 if there is no such folder. A server is asked once, without a second try.
    """
    with suppress(Problem):
        if is_remote(folder):
            return len(find_parts(remote_folder(folder, pauses=())))
        return len(find_parts(parts_folder(folder)))
    return 0


def parts_to_fetch(folder: str, parts: int) -> int:
    """Return how many of so many parts the disk must still take.

    Parts at a URL are read where they lie, and need no disk.
    """
    if is_remote(folder):
        return 0
    return max(0, parts - parts_at(folder))


def parts_to_score(values: Values) -> int:
    """Return how many parts a run scores: all parts at hand, or else the paper's number."""
    return parts_at(text(values["03"], "parts")) or paper.PARTS_OF_DIFFUSIONDB
