"""Score DiffusionDB with HPS: one table per part, so that a stopped run goes on."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage
from alignsd.base.processes import share, wait
from alignsd.base.progress import track
from alignsd.base.reading import listed, read_json
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import (
    checked_table,
    command_for,
    read_table,
    resume_command,
    write_table,
)
from alignsd.kit.values.urls import is_url
from alignsd.select import remote
from alignsd.select.diffusiondb import (
    DAMAGED,
    OK,
    PART,
    Corpus,
    Part,
    find_parts,
    list_part,
    read_members,
)
from alignsd.select.sharpness import sharpness

if TYPE_CHECKING:
    from alignsd.models.clip import Clip

STAGE = TABLES["scores"].stage
COLUMNS = ("part", "image", "prompt", "hps", "sharpness", "status")
MOST_READERS = 8  # threads; a GPU's pace needs several, since a 512-pixel WebP takes 20 ms or more
Prepared = tuple[np.ndarray, float]  # an image's pixels and sharpness
Prepare = Callable[[np.ndarray], Prepared]


def score_part(
    path: Part,
    clip: "Clip",
    blur_rule: str = "both directions",
    batch: int = 64,
    only: int | None = None,
) -> pd.DataFrame:
    """Return a part's images with HPS and sharpness.

    Each distinct prompt of the part is embedded once. At most two batches of images are held at a
    time, so memory does not grow with the part. The scores depend on this part alone: scoring the
    part again, alone or with others, gives the same table.

    Args:
        path: ``part-XXXXXX.zip``, on the disk or at a URL, see ``diffusiondb.find_parts``.
        clip: the CLIP to score with; with HPS's weights, the cosine is the HPS.
        blur_rule: how sharpness is measured, see ``sharpness.sharpness``.
        batch: images at a time.
        only: if given, look at the first so many rows alone.

    Returns:
        One row per listed file or entry: ``part``, ``image``, ``prompt``, ``hps`` (100 x cosine)
        and ``sharpness`` (0-255), both NaN unless ``status`` is ``"ok"``, ``status`` (see
        ``diffusiondb``).

    Raises:
        Problem: if the zip or the JSON in the zip cannot be read, if a server does not answer or
            the part was changed there, or if ``batch`` is below 1.
    """
    at_least(1, batch=batch)
    # Imported here: open_clip takes seconds to load, and reading scores needs no CLIP.
    from alignsd.models.clip import embed_texts

    rows = list_part(path).head(only).assign(hps=np.nan, sharpness=np.nan)
    usable = rows[rows["status"] == OK]
    prompts = list(usable["prompt"].unique())
    text_embeddings = embed_texts(clip, prompts)
    text_index = {prompt: index for index, prompt in enumerate(prompts)}

    def prepare(image: np.ndarray) -> Prepared:
        return image, sharpness(image, blur_rule)

    for labels, read in _batches(path, usable["member"], batch, prepare):
        readable = [not isinstance(image, BadImage) for image in read]
        rows.loc[labels[np.logical_not(readable)], "status"] = DAMAGED
        prepared = [image for image in read if not isinstance(image, BadImage)]
        if not prepared:
            continue
        good = labels[readable]
        texts = text_embeddings[[text_index[prompt] for prompt in rows.loc[good, "prompt"]]]
        rows.loc[good, "hps"] = hps_of_batch(clip, [image for image, _ in prepared], texts)
        rows.loc[good, "sharpness"] = [sharp for _, sharp in prepared]
    return rows[list(COLUMNS)]


def hps_of_batch(
    clip: "Clip", images: Sequence[np.ndarray], text_embeddings: np.ndarray
) -> np.ndarray:
    """Return the HPS of each image for its prompt, ``(n,)``.

    Args:
        clip: the CLIP that was fine-tuned on choices.
        images: a list of n images of any size, each ``(height, width, 3)`` uint8.
        text_embeddings: unit vectors ``(n, d)``; row i is the prompt of image i.
    """
    from alignsd.models.clip import embed_images
    from alignsd.reward.hps import hps

    image_embeddings = embed_images(clip, images)  # unit vectors (n, d)
    return hps(image_embeddings, text_embeddings)


def _batches(
    path: Part, members: pd.Series, batch: int, prepare: Prepare
) -> Iterator[tuple[pd.Index, list[Prepared | BadImage]]]:
    """Yield the labels of the rows and the prepared images of each batch.

    The next batch is read while the caller embeds this batch. Several threads read, each with the
    part opened for itself: reader 0 of two takes the images 0, 2, 4 ..., reader 1 the others.

    Args:
        path: the part.
        members: names inside the part.
        batch: images at a time.
        prepare: what a reader does with the pixels of an image.
    """
    # On a server each reader would fetch the whole part.
    readers = 1 if isinstance(path, remote.RemotePart) else reader_count(batch)
    names = members.tolist()
    streams = [read_members(path, names[first::readers]) for first in range(readers)]
    with ThreadPoolExecutor(max_workers=readers) as pool:

        def read(start: int) -> list[Future[list[Prepared | BadImage]]]:
            """Start to read the images ``start``, ..., ``start + batch - 1``."""
            stop = min(start + batch, len(names))
            tasks = []
            for reader in range(readers):
                first = start + (reader - start) % readers  # the reader's first image from start
                count = len(range(first, stop, readers))
                tasks.append(pool.submit(_prepared, streams[reader], count, prepare))
            return tasks

        tasks = read(0)
        for start in range(0, len(names), batch):
            results = [task.result() for task in tasks]
            tasks = read(start + batch)
            size = min(batch, len(names) - start)
            order = [(start + offset) % readers for offset in range(size)]
            by_reader = [iter(result) for result in results]
            yield members.index[start : start + batch], [next(by_reader[i]) for i in order]
        for stream in streams:
            next(stream, None)  # the end of a stream looks whether the part is still the same


def _prepared(
    stream: Iterator[np.ndarray | BadImage], count: int, prepare: Prepare
) -> list[Prepared | BadImage]:
    """Take the next images of a stream, and prepare the readable images."""
    images = islice(stream, count)
    return [image if isinstance(image, BadImage) else prepare(image) for image in images]


def reader_count(batch: int) -> int:
    """Return how many threads read a part: one per core, at most 8 and at most one per image."""
    cores = os.cpu_count() or 1
    return max(1, min(MOST_READERS, cores, batch))


def score_parts(
    folder: Corpus,
    out: Path,
    clip: "Clip",
    blur_rule: str = "both directions",
    batch: int = 64,
) -> pd.DataFrame:
    """Score every part that has no table yet, and return all rows, in the order of the parts.

    Each part's table is written when the part is done, so a stopped run goes on with the next part.
    Several processes divide the parts, and all return when all parts are scored.

    Args:
        folder: copy of DiffusionDB, see ``diffusiondb.find_parts``.
        out: where ``part-XXXXXX.parquet`` are written.
        clip, blur_rule, batch: as for ``score_part``.

    Raises:
        Problem: if a part cannot be read.
    """
    parts = find_parts(folder)
    for name, path in track(share(list(parts.items())), what="scoring", unit="part"):
        table = out / f"{name}.parquet"
        if not table.exists():
            write_table(table, score_part(path, clip, blur_rule, batch))
    wait()
    return read_scores(out, list(parts))


def remember_parts(record: Path, folder: Corpus) -> None:
    """Write down where the parts lie, so that a later stage finds the pictures.

    Of parts at a URL the versions (sizes and tags) are written down too. From then on, a part that
    was changed on the server is refused.

    Args:
        record: the JSON file to write.
        folder: the parts' folder; noted relative to the record if the folder lies beside or below.

    Raises:
        Problem: if a part at a URL was changed since the record was first written, or the server
            does not answer.
    """
    if isinstance(folder, remote.RemoteFolder):
        _remember_versions(record, folder)
        return
    parts, base = folder.resolve(), record.parent.resolve()
    beside = parts.is_relative_to(base)
    noted = parts.relative_to(base).as_posix() if beside else str(parts)
    write_json(record, {"parts": noted})


def _remember_versions(record: Path, folder: remote.RemoteFolder) -> None:
    """Write down a URL and the version of each part; refuse parts that were changed since.

    A stopped scoring goes on with the same record, so all tables belong to the same parts.
    """
    url = folder.connection.url
    parts = remote.parts_of(find_parts(folder))
    versions = folder.versions(parts)
    older = read_json(record) if record.exists() else None
    if isinstance(older, dict) and older.get("parts") == url:
        for name, version in (remote.recalled(older.get("versions")) or {}).items():
            if name in versions and versions[name] != version:
                raise remote.changed(parts[name], version, versions[name])
    write_json(record, {"parts": url, "versions": remote.noted(versions)})


def recall_parts(record: Path) -> Corpus:
    """Return the folder that ``remember_parts`` wrote down.

    Raises:
        Problem: if the record is missing or was changed by hand.
    """
    noted = None
    try:
        noted = read_json(record)
        found = f"a {type(noted).__name__} without such keys"
    except Problem as problem:
        found = problem.found
    keys = noted if isinstance(noted, dict) else {}
    parts = keys.get("parts")
    if isinstance(parts, str) and is_url(parts):
        versions = remote.recalled(keys.get("versions"))
        if versions is not None:
            return remote.remote_folder(parts, versions, resume=resume_command(record))
    elif isinstance(parts, str) and parts:
        return record.parent / parts
    raise Problem(
        f"{record.name} does not say where the parts lie.",
        expected='{"parts": "a folder"}, or of a URL {"parts": ..., "versions": ...}',
        found=found,
        cause="the file was deleted or edited by hand, or cut off by a full disk",
        fix=command_for(STAGE, record),
    )


def read_scores(folder: Path, names: list[str] | None = None) -> pd.DataFrame:
    """Return the tables of the scored parts as one table.

    Args:
        folder: with ``part-XXXXXX.parquet``.
        names: the parts wanted; None for all.

    Raises:
        Problem: if there is no table, if a table differs in form from the tables of ``score_part``,
            or if no picture has a score.
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
            fix=command_for(STAGE, folder),
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
    """Return the table of one part, checked."""
    table = checked_table(read_table(path, COLUMNS), "scores", path)
    ok = table[table["status"] == OK]
    faults = {
        "rows of another part": int((table["part"] != path.stem).sum()),
        "scored rows without a prompt": int(ok["prompt"].isna().sum()),
        "scored rows without a sharpness": int(ok["sharpness"].isna().sum()),
    }
    counted = [f"{count:,} {fault}" for fault, count in faults.items() if count]
    if counted:
        raise Problem(
            f"{path.name} is not the table that {STAGE} writes.",
            expected=f"rows of {path.stem}, with prompt and sharpness where status is ok",
            found=", ".join(counted),
            cause="an edit by hand, or a table under another name",
            fix=f"delete {path.name}, then {command_for(STAGE, path)}",
        )
    return table


def status_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how many rows have each status: index ``status``, one column per part."""
    return scores.groupby(["status", "part"]).size().unstack("part", fill_value=0)
