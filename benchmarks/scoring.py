"""Scoring parts of DiffusionDB: the kit against the official recipe, and against the model alone.

``python -m benchmarks.scoring`` scores the same parts in both ways, with the miniature's CLIP and
with a ViT-L/14 of random weights. The official recipe gets unpacked pictures; the kit reads the
zips, and measures the sharpness too. The aim is 1.5 times the official pace on two cores; on a GPU
5 times, and at least 80 % of the pace of the model alone.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from alignsd.models.clip import Clip, embed_images, embed_texts, load_clip
from alignsd.models.registry import torch_device
from alignsd.planning.throughput import CLIP as FULL_SIZE
from alignsd.select.scoring import score_parts
from benchmarks import material, official
from benchmarks.material import PartSize
from benchmarks.measure import alternating, announced, options, ratio, save, table
from benchmarks.worker import AS_KERNELS, BY_DEFAULT, started

MINIATURE = "miniature/clip"
KIT, OFFICIAL, MODEL = "kit", "official", "model alone"
BATCH = 64  # as in notebook 03
AIMS = {"cpu": {OFFICIAL: 1.5}, "cuda": {OFFICIAL: 5.0, MODEL: 0.8}}
REPEATS = {MINIATURE: 5, FULL_SIZE: 2}
SIZES = {
    MINIATURE: PartSize(parts=2, pictures=1000),
    FULL_SIZE: PartSize(parts=1, pictures=20, per_prompt=8, kind="WEBP"),
}
GPU_SIZES = SIZES | {FULL_SIZE: PartSize(parts=2, pictures=1000, per_prompt=8, kind="WEBP")}
QUICK = {MINIATURE: PartSize(parts=2, pictures=6)}
Work = Callable[..., dict[str, Any]]


def loaded(name: str) -> Clip:
    """Return the miniature's CLIP, or a ViT-L/14 with the same random weights in every process."""
    if name == MINIATURE:
        return load_clip(name, fit="crop")
    torch.manual_seed(0)
    device = torch_device("auto")
    model = open_clip.create_model(name, pretrained=None, device=device)
    return Clip(model.eval(), open_clip.get_tokenizer(name), device, fit="crop")


def by_kit(name: str, folder: str) -> Work:
    """Prepare the kit's scoring of the parts below ``folder``."""
    clip = loaded(name)

    def work() -> dict[str, Any]:
        out = Path(tempfile.mkdtemp(prefix="alignsd-scores-"))
        scores = score_parts(Path(folder), out, clip, batch=BATCH)
        shutil.rmtree(out)
        return {"scores": scores["hps"].tolist()}

    return work


def by_official(name: str, folder: str) -> Work:
    """Prepare the official scoring of the unpacked pictures below ``folder``."""
    clip = loaded(name)
    captioned = list(material.unpacked(Path(folder)))

    def work() -> dict[str, Any]:
        scores = official.score(clip, captioned, Path(folder) / "scores.jsonl")
        return {"scores": scores.tolist()}

    return work


def by_model(name: str, folder: str) -> Work:
    """Prepare the model alone: decoded squares in batches, and each distinct prompt once."""
    clip = loaded(name)
    captioned = list(material.unpacked(Path(folder)))
    square = np.zeros((clip.size, clip.size, 3), np.uint8)
    squares = [square] * len(captioned)
    texts = list(dict.fromkeys(text for _, text in captioned))

    def work() -> dict[str, Any]:
        embed_texts(clip, texts)
        return {"images": len(embed_images(clip, squares, BATCH))}

    return work


WAYS: Mapping[str, tuple[str, Mapping[str, str | None]]] = {
    KIT: ("benchmarks.scoring:by_kit", AS_KERNELS),
    OFFICIAL: ("benchmarks.scoring:by_official", BY_DEFAULT),
    MODEL: ("benchmarks.scoring:by_model", AS_KERNELS),
}


def compared(name: str, size: PartSize, repeats: int, here: bool) -> list[dict[str, Any]]:
    """Score the same parts in each way, and return a row per way.

    Args:
        name: of the CLIP.
        size: of the parts.
        repeats: how often each way is timed.
        here: whether all ways run in this process, and not each in a process of its own.
    """
    with tempfile.TemporaryDirectory(prefix="alignsd-benchmark-") as folder:
        pictures = _pictures(name, size)
        material.write_parts(Path(folder), size, pictures)
        workers = {
            way: started(work, settings, here, name=name, folder=folder)
            for way, (work, settings) in WAYS.items()
        }
        try:
            scores = {way: workers[way]()["scores"] for way in (KIT, OFFICIAL)}  # warms up, too
            workers[MODEL]()
            timings = alternating(workers, repeats, warm_up=0)
        finally:
            for worker in workers.values():
                worker.close()
    apart = np.abs(np.array(scores[KIT]) - np.array(scores[OFFICIAL])).max()
    rows = []
    for way, timing in timings.items():
        times = ratio(timing, timings[KIT])
        rows.append(
            {
                "model": name,
                "way": way,
                "pictures": size.in_all,
                "seconds": timing.median,
                "pictures_per_second": size.in_all / timing.median,
                "kit_is_faster": times.median,
                "kit_is_faster_least": times.least,
                "kit_is_faster_most": times.most,
                "scores_apart": float(apart) if way == OFFICIAL else None,
            }
        )
    return rows


def _pictures(name: str, size: PartSize) -> list[np.ndarray]:
    if name == MINIATURE:
        return material.rendered(size.in_all)
    return material.noisy(min(size.in_all, 20))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the results."""
    given = options(__doc__, arguments)
    kind = torch_device("auto").type
    sizes = SIZES if kind == "cpu" else GPU_SIZES
    if given.quick:
        sizes = QUICK
    rows = []
    for name, size in sizes.items():
        with announced(f"{name}, {size.in_all} pictures"):
            repeats = 1 if given.quick else REPEATS[name]
            rows += compared(name, size, repeats, here=given.quick)
    print(table(rows))
    save("scoring", rows, given.folder, aims=AIMS.get(kind, {}), device=kind)


if __name__ == "__main__":
    main()
