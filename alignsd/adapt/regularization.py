"""Regularization pictures: captioned pictures that rate high (paper: LAION aesthetics 6.5+)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd.adapt.webshards import (
    APART,
    CAPTION_IN_JSON,
    NO_CAPTION,
    finite_number,
    left_out_of_shards,
)
from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage, read_image
from alignsd.base.processes import count, gathered, share
from alignsd.base.progress import track
from alignsd.models.aesthetic import Aesthetic, load_aesthetic
from alignsd.models.clip import Clip, embed_images, load_clip
from alignsd.select.imagefolder import reason_of, usable_rows


@dataclass(frozen=True)
class Rater:
    """Rate pictures from 1 to 10 with an aesthetic predictor.

    The models are loaded when the first picture is rated.

    Attributes:
        clip: name of the CLIP that the predictor was trained on.
        aesthetic: the predictor, see ``aesthetic.load_aesthetic``; empty rates nothing.
        device: ``"auto"`` or a torch device.
    """

    clip: str = "miniature/clip"
    aesthetic: str = "miniature/aesthetic"
    device: str = "auto"

    @cached_property
    def _models(self) -> tuple[Aesthetic, Clip]:
        return load_aesthetic(self.aesthetic), load_clip(self.clip, device=self.device)

    def ratings(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Return the rating of each picture, ``(n,)``.

        Raises:
            Problem: if a model cannot be loaded.
        """
        predictor, clip = self._models
        return predictor.predict(embed_images(clip, pictures))


@dataclass(frozen=True)
class Wanted:
    """How many regularization pictures are wanted, and how high they rate.

    Attributes:
        n: number of pictures (paper: 200,231).
        minimum_rating: 1-10; a picture at exactly this rating is taken (paper: 6.5).
        rater: rates pictures that come without a rating.
        batch: pictures at a time; the batch changes ratings only by rounding.

    Raises:
        Problem: if a number is out of range.
    """

    n: int
    minimum_rating: float = 6.5
    rater: Rater = field(default_factory=Rater)
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(0, regularization_images=self.n, minimum_rating=self.minimum_rating)
        at_least(1, batch=self.batch)


def regularization_pictures(folder: Path, wanted: Wanted) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the first pictures of an imagefolder that are whole and rate high enough.

    The number ``rating`` in a line of ``metadata.jsonl`` counts. Pictures without such a number are
    rated here, or taken unrated if the rater has no predictor. After the last picture that is
    needed, no further batch is opened.

    Args:
        folder: an imagefolder, such as ``sources.regularization`` returns.
        wanted: how many pictures, and how high they rate.

    Returns:
        One row per picture, in the order of the lines: ``file_name``, ``text``, ``label``
        (``"regularization"``), ``folder``, and the line's other fields; and reason -> number of
        pictures before the last taken picture that were left out.

    Raises:
        Problem: if there are too few pictures, the folder is no imagefolder, or a model cannot be
            loaded.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    lines = _judged(folder, wanted)
    with track(total=wanted.n, what="regularization pictures", unit="picture") as bar:
        while len(rows) < wanted.n:
            line = next(lines, None)
            if line is None:
                raise _too_few(len(rows), wanted, left_out + left_out_of_shards(folder))
            if line.reason is None:
                rows.append(line.row)
                bar.update()
            else:
                left_out[line.reason] += 1
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["file_name", "text"])
    return table.assign(label="regularization", folder=folder), left_out


def _too_few(n: int, wanted: Wanted, left_out: Counter[str]) -> Problem:
    """Return why there are too few pictures.

    Args:
        n: pictures that were taken.
        wanted: how many pictures are wanted.
        left_out: reason -> pictures, those included that were left out of shards.
    """
    cause = "a small folder, dead links, or pictures rated low"
    fix = (
        "give a larger folder, or lower regularization_images or minimum_rating; "
        "the control takes as many more pictures as were selected"
    )
    if left_out[CAPTION_IN_JSON]:
        cause = "the shards were made without captions as .txt, or the .txt were taken out"
        fix = "give shards with the caption of KEY.jpg in KEY.txt: img2dataset --caption_col COLUMN"
    elif left_out[APART]:
        cause = "shards in which a picture and its caption do not follow each other"
        fix = "pack each shard again, sorted: tar --sort=name -cf NEW.tar -C UNPACKED ."
    elif left_out[NO_CAPTION] > n:
        cause = "shards whose captions are missing, or have other names than their pictures"
        fix = "give shards with the caption of FOLDER/KEY.jpg in FOLDER/KEY.txt"
    return Problem(
        "There are too few regularization pictures.",
        expected=f"{wanted.n:,} rated {wanted.minimum_rating} or more",
        found=f"{n:,}; left out: {dict(left_out) or 'none'}",
        cause=cause,
        fix=fix,
    )


@dataclass
class _Line:
    """A line of metadata.jsonl, and the reason to leave the line out, if there is a reason."""

    row: dict[str, Any]
    reason: str | None

    @property
    def rating(self) -> float | None:
        """The line's own rating; None for NaN, which pandas writes for a missing value."""
        return finite_number(self.row.get("rating"))


def _judged(folder: Path, wanted: Wanted) -> Iterator[_Line]:
    """Yield every line, good or left out.

    Pictures are read ``wanted.batch`` at a time, by each of several processes.
    """
    lines = (_Line(row or {}, reason) for row, reason in usable_rows(folder, check_images=False))
    with ThreadPoolExecutor(max_workers=4) as reader:
        while True:
            batches = [list(islice(lines, wanted.batch)) for _ in range(count())]
            if not batches[0]:
                return
            own = share(batches)
            for batch in own:
                _judge(batch, folder, wanted, reader)
            for batch in gathered(own):
                yield from batch


def _judge(batch: list[_Line], folder: Path, wanted: Wanted, reader: ThreadPoolExecutor) -> None:
    """Note in each line of a batch the reason to leave the line out, if there is a reason."""
    for line in _good(batch):
        if line.rating is not None:
            line.reason = _fault_of_rating(line.rating, wanted.minimum_rating)
    good = _good(batch)
    paths = [folder / line.row["file_name"] for line in good]
    unrated: list[_Line] = []
    pictures: list[np.ndarray] = []
    for line, picture in zip(good, reader.map(_read, paths), strict=True):
        if isinstance(picture, str):
            line.reason = picture
        elif line.rating is None:
            unrated.append(line)
            pictures.append(picture)
    if unrated and wanted.rater.aesthetic:
        ratings = wanted.rater.ratings(pictures)
        for line, rating in zip(unrated, ratings, strict=True):
            line.reason = _fault_of_rating(rating, wanted.minimum_rating)


def _good(lines: list[_Line]) -> list[_Line]:
    return [line for line in lines if line.reason is None]


def _read(path: Path) -> np.ndarray | str:
    """Return a picture; or, if the picture cannot be used, the reason."""
    try:
        return read_image(path)
    except BadImage as error:
        return reason_of(error)


def _fault_of_rating(rating: float, minimum: float) -> str | None:
    """Return why a rating is not enough, or None for a rating that is enough."""
    if rating >= minimum:
        return None
    if rating < minimum:
        return f"rated below {minimum}"
    return "rating that is no number"
