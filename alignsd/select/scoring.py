"""Scores DiffusionDB with HPS, one table per part, so that a stopped run goes on with the next part."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage
from alignsd.base.progress import track
from alignsd.base.reading import listed, read_json
from alignsd.kit.tables import checked_table, command_for, read_table, write_table
from alignsd.select.diffusiondb import DAMAGED, OK, PART, find_parts, list_part, read_members
from alignsd.select.rule import sharpness

if TYPE_CHECKING:
    from alignsd.models.clip import Clip

STAGE = "03_score_diffusiondb"
COLUMNS = ("part", "image", "prompt", "hps", "sharpness", "status")


def score_part(path: Path, clip: "Clip", blur_rule: str = "both directions", batch: int = 64,
               only: int | None = None) -> pd.DataFrame:
    """Scores the images of one part.

    Each distinct prompt of the part is embedded once. At most ``batch`` decoded images are held at a time, so memory does
    not grow with the part. Scores depend on this part alone: scoring again, alone or with others, gives the same table.

    Args:
        path: ``part-XXXXXX.zip``.
        clip: the CLIP to score with; HPS's weights make its cosine the HPS.
        blur_rule: how sharpness is measured, see ``selection.sharpness``.
        batch: images at a time.
        only: if given, look at the first so many rows alone.

    Returns:
        One row per listed file or entry: ``part``, ``image``, ``prompt``, ``hps`` (100 x cosine) and ``sharpness`` (0-255),
        both NaN unless ``status`` is ``"ok"``, ``status`` (see ``diffusiondb``).

    Raises:
        Problem: if the zip or its JSON cannot be read, or ``batch`` is below 1.
    """
    at_least(1, STAGE[:2], batch=batch)
    from alignsd.models.clip import embed_images, embed_texts
    from alignsd.reward.hps import hps
    rows = list_part(path).head(only).assign(hps=np.nan, sharpness=np.nan)
    usable = rows[rows["status"] == OK]
    text_row = {prompt: i for i, prompt in enumerate(usable["prompt"].unique())}
    texts = embed_texts(clip, list(text_row))
    for index, images in _batches(path, usable["member"], batch):
        good = [i for i, image in zip(index, images, strict=True) if not isinstance(image, BadImage)]
        rows.loc[index.difference(good), "status"] = DAMAGED
        if good:
            readable = [image for image in images if not isinstance(image, BadImage)]
            prompts = texts[[text_row[prompt] for prompt in rows.loc[good, "prompt"]]]
            rows.loc[good, "hps"] = hps(embed_images(clip, readable), prompts)
            rows.loc[good, "sharpness"] = [sharpness(image, blur_rule) for image in readable]
    return rows[list(COLUMNS)]


def _batches(path: Path, members: pd.Series, batch: int) -> Iterator[tuple[pd.Index, list[np.ndarray | BadImage]]]:
    """Yields the rows and decoded images of each batch; the next batch is decoded while this one is embedded."""
    pixels = read_members(path, members.tolist())
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = reader.submit(lambda: list(islice(pixels, batch)))
        for start in range(0, len(members), batch):
            images = waiting.result()
            waiting = reader.submit(lambda: list(islice(pixels, batch)))
            yield members.index[start:start + batch], images


def score_parts(folder: Path, out: Path, clip: "Clip", blur_rule: str = "both directions", batch: int = 64) -> pd.DataFrame:
    """Scores every part that has no table yet and returns all rows, in the order of the parts.

    Args:
        folder: copy of DiffusionDB, see ``diffusiondb.find_parts``.
        out: where ``part-XXXXXX.parquet`` are written, each at once when its part is done.
        clip, blur_rule, batch: as ``score_part`` takes them.

    Raises:
        Problem: if a part cannot be read.
    """
    parts = find_parts(folder)
    for name, path in track(parts.items(), what="scoring", unit="part"):
        if not (out / f"{name}.parquet").exists():
            write_table(out / f"{name}.parquet", score_part(path, clip, blur_rule, batch))
    return read_scores(out, list(parts))


def remember_parts(record: Path, folder: Path) -> None:
    """Writes down where the parts lie, so that a later notebook finds the pictures; relative if they lie beside it."""
    place, base = folder.resolve(), record.parent.resolve()
    write_json(record, {"parts": place.relative_to(base).as_posix() if place.is_relative_to(base) else str(place)})


def recall_parts(record: Path) -> Path:
    """Return the folder that ``remember_parts`` wrote down.

    Raises:
        Problem: if the record is missing or was changed by hand.
    """
    try:
        noted = read_json(record)
        found = f"a {type(noted).__name__} without such a key"
    except Problem as problem:
        noted, found = None, problem.found
    place = noted.get("parts") if isinstance(noted, dict) else None
    if not isinstance(place, str) or not place:
        raise Problem(
            f"{record.name} does not say where the parts lie.",
            expected='{"parts": "a folder"}',
            found=found,
            cause="the file was deleted or edited by hand, or cut off by a full disk",
            fix=command_for(STAGE, record),
        )
    return record.parent / place


def read_scores(folder: Path, names: list[str] | None = None) -> pd.DataFrame:
    """Return the tables of the scored parts as one.

    Args:
        folder: with ``part-XXXXXX.parquet``.
        names: the parts wanted; None for all.

    Raises:
        Problem: if there is no table, one is not as ``score_part`` gives it, or no picture has a
            score.
    """
    if names is None:
        paths = [path for path in listed(folder, ".parquet") if PART.fullmatch(path.stem)]
    else:
        paths = [folder / f"{name}.parquet" for name in names]
    tables = [_scores_of_part(path) for path in paths]
    if not tables:
        raise Problem(
            "There are no scores.",
            expected="part-000001.parquet, ...",
            found=f"none in {folder.name}",
            cause="scoring was stopped before its first part was done",
            fix="run 03_score_diffusiondb again",
        )
    table = pd.concat(tables, ignore_index=True)
    if not (table["status"] == OK).any():
        counts = table["status"].value_counts().to_dict()
        raise Problem(
            "No picture of the parts could be scored.",
            expected="at least one readable picture with a prompt",
            found=", ".join(f"{n:,} x {status}" for status, n in counts.items()) or "empty parts",
            cause="damaged or renamed parts, or parts of another data set",
            fix=f"look into the parts, then {command_for(STAGE, folder)}",
        )
    return table


def _scores_of_part(path: Path) -> pd.DataFrame:
    table = checked_table(read_table(path, COLUMNS), "scores", path)
    ok = table[table["status"] == OK]
    faults = {
        "rows of another part": int((table["part"] != path.stem).sum()),
        "scored rows without a prompt": int(ok["prompt"].isna().sum()),
        "scored rows without a sharpness": int(ok["sharpness"].isna().sum()),
    }
    found = ", ".join(f"{count:,} {fault}" for fault, count in faults.items() if count)
    if found:
        raise Problem(
            f"{path.name} is not the table that {STAGE} writes.",
            expected=f"rows of {path.stem}, with prompt and sharpness where status is ok",
            found=found,
            cause="an edit by hand, or a table under another name",
            fix=f"delete {path.name}, then {command_for(STAGE, path)}",
        )
    return table


def status_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Counts the rows of each status, per part: index ``status``, one column per part."""
    return scores.groupby(["status", "part"]).size().unstack("part", fill_value=0)
