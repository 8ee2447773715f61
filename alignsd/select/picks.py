"""Write the selected pictures as an imagefolder, and check the selection against a judge."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.images import read_image
from alignsd.base.intervals import wilson
from alignsd.base.judge import Judge
from alignsd.select.diffusiondb import Corpus, read_pictures
from alignsd.select.imagefolder import write_imagefolder
from alignsd.select.rule import NEGATIVE, POSITIVE, SPARE


def picks(selected: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of an imagefolder: one row per positive and per kept negative.

    Args:
        selected: from ``rule.keep_negatives``.

    Returns:
        ``file_name`` (``positive/<id>.png``), ``text`` (the prompt, without the identifier),
        ``label``, ``part``, ``image``, ``prompt``, ``hps``, ``p`` (the softmax that was compared
        with alpha / n); positives first, then by image.
    """
    rows = selected[selected["role"].isin((POSITIVE, NEGATIVE))]
    rows = rows.sort_values(["role", "image"], ascending=[False, True])
    stem = rows["image"].str.rsplit(".", n=1).str[0]
    # a.png and a.webp are two images: where two share a stem, the whole name stands for the stem.
    is_shared = stem.duplicated(keep=False)
    stem = stem.mask(is_shared, rows["image"])
    table = pd.DataFrame(
        {
            "file_name": rows["role"] + "/" + stem + ".png",
            "text": rows["prompt"],
            "label": rows["role"],
            "part": rows["part"],
            "image": rows["image"],
            "prompt": rows["prompt"],
            "hps": rows["hps"],
            "p": rows["p_best"].where(rows["role"] == POSITIVE, rows["p_worst"]),
        }
    )
    return table.reset_index(drop=True)


def write_picks(folder: Path, rows: pd.DataFrame, parts: Corpus) -> dict[str, int]:
    """Write the selected pictures as an imagefolder.

    Args:
        folder: where to write; ``imagefolder.write_imagefolder`` gives the counts returned here.
        rows: from ``picks``.
        parts: copy of DiffusionDB that was scored.
    """
    file_of = rows.set_index("image")["file_name"]

    def read(missing: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        for image, pixels in read_pictures(parts, missing):
            yield file_of[image], pixels

    return write_imagefolder(folder, rows, read)


def flaws_by_judge(
    judge: Judge | None, pictures: Iterable[tuple[str, np.ndarray]], batch: int = 256
) -> pd.Series:
    """Return which pictures a judge calls flawed. The selection does not depend on the answer.

    Args:
        judge: the judge, see ``sources.judge``; without a judge no picture is read.
        pictures: ``(id, pixels)``, pixels ``(height, width, 3)`` uint8.
        batch: pictures at a time.

    Returns:
        Bool, by id; empty without a judge.
    """
    verdicts: dict[str, bool] = {}
    if judge is not None:
        remaining = iter(pictures)
        while judged := list(islice(remaining, batch)):
            ids = [picture_id for picture_id, _ in judged]
            flawed = judge.judge([pixels for _, pixels in judged]).flawed
            verdicts.update(zip(ids, flawed.tolist(), strict=True))
    return pd.Series(verdicts, dtype=bool)


def flawed_files(judge: Judge | None, folder: Path, files: Iterable[str]) -> dict[str, bool]:
    """Return for each picture file below a folder whether a judge calls the picture flawed.

    Args:
        judge: the judge, see ``sources.judge``; without a judge the answer is empty.
        folder: the folder.
        files: paths below the folder.
    """
    pictures = ((file, read_image(folder / file)) for file in files)
    return flaws_by_judge(judge, pictures).to_dict()


def flaw_rates(selected: pd.DataFrame, flawed: pd.Series) -> pd.DataFrame:
    """Return how many of the selected pictures are flawed, to check the selection against a judge.

    Args:
        selected: from ``rule.keep_negatives``.
        flawed: from ``flaws_by_judge``, joined by image id; images without a verdict do not count.

    Returns:
        ``group`` (positives, all images, negatives), ``rate``, ``low``, ``high`` (95 % interval of
        Wilson), ``n``; no row for a group without verdicts.
    """
    judged = selected.assign(flawed=selected["image"].map(flawed)).dropna(subset="flawed")
    role = judged["role"]
    groups = {
        "positives": judged[role == POSITIVE],
        "all images": judged,
        "negatives": judged[role.isin((NEGATIVE, SPARE))],
    }
    rates = []
    for name, images in groups.items():
        n = len(images)
        if n:
            count = int(images["flawed"].astype(bool).sum())
            low, high = wilson(count, n)
            rates.append((name, count / n, low, high, n))
    return pd.DataFrame(rates, columns=["group", "rate", "low", "high", "n"])
