"""Regularization pictures: captioned ones that rate high (the paper: 200,231 pairs of LAION aesthetics 6.5+)."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd.adapt.webshards import finite_number
from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage, read_image
from alignsd.base.progress import track
from alignsd.select.imagefolder import reason_of, regularization_folder, usable_rows

Rate = Callable[[list[np.ndarray]], np.ndarray]


def regularization_pictures(source: str, n: int, own: Path, seed: int, minimum_rating: float = 6.5, clip: str = "miniature/clip",
                            aesthetic: str = "miniature/aesthetic", device: str = "auto",
                            batch: int = 64) -> tuple[pd.DataFrame, Counter]:
    """Returns the first ``n`` pictures of a source that are whole and rate high enough, and why others before them were left out.

    A line of ``metadata.jsonl`` that has a number ``rating`` counts with it; other pictures are rated here. No picture behind the
    n-th is opened.

    Args:
        source, own, seed: as ``imagefolder.regularization_folder`` takes them.
        n: number of pictures.
        minimum_rating: 1-10; a picture at exactly this rating is taken.
        clip: the CLIP that the predictor was trained on.
        aesthetic: the predictor, see ``aesthetic.load_aesthetic``; empty takes pictures without a rating as they are.
        device: ``"auto"`` or a torch device.
        batch: pictures at a time; it changes ratings by rounding alone.

    Returns:
        One row per picture in the order of the lines: ``file_name``, ``text``, ``label`` (``"regularization"``), ``folder``, and the
        line's other fields; and reason -> count.

    Raises:
        Problem: if fewer than ``n`` are left, the folder does not exist, or a model cannot be loaded.
    """
    at_least(0, regularization_images=n, minimum_rating=minimum_rating)
    at_least(1, batch=batch)
    folder = regularization_folder(source, n, own, seed, minimum_rating, clip, aesthetic, device)
    rows, left = [], Counter()
    lines = _judged(folder, _rater(clip, aesthetic, device), minimum_rating, batch)
    with track(total=n, what="regularization pictures", unit="picture") as bar:
        for line in lines if n else ():
            if line.reason is None:
                rows.append(line.row)
                bar.update()
            else:
                left[line.reason] += 1
            if len(rows) == n:
                break
    if len(rows) < n:
        raise Problem(
            "There are too few regularization pictures.",
            expected=f"{n:,} rated {minimum_rating} or more",
            found=f"{len(rows):,}; left out: {dict(left) or 'none'}",
            cause="a small folder, dead links, or pictures rated low",
            fix="give a larger folder, or lower regularization_images or minimum_rating in 05; "
                "for its control 05 takes as many more as pictures were selected",
        )
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["file_name", "text"])
    return table.assign(label="regularization", folder=folder), left


@dataclass
class _Line:
    """A line of metadata.jsonl, and why it is left out, if it is."""

    row: dict[str, Any] | None
    reason: str | None
    picture: np.ndarray | None = None

    @property
    def rating(self) -> float | None:
        """The line's own rating. NaN, as Python writes what pandas has no value for, is none."""
        return finite_number((self.row or {}).get("rating"))


def _judged(folder: Path, rate: Rate | None, minimum: float, batch: int) -> Iterator[_Line]:
    """Yields every line, opening the pictures of ``batch`` lines at a time."""
    lines = (_Line(*line) for line in usable_rows(folder, check_images=False))
    with ThreadPoolExecutor(max_workers=4) as reader:
        while some := list(islice(lines, batch)):
            for line in _good(some):
                if line.rating is not None:
                    line.reason = _too_low(line.rating, minimum)
            good = _good(some)
            read = list(reader.map(lambda line: _picture(folder, line), good))
            for line, (picture, reason) in zip(good, read, strict=True):
                line.picture, line.reason = picture, reason
            unrated = [line for line in _good(some) if line.rating is None]
            if rate is not None and unrated:
                ratings = rate([line.picture for line in unrated])
                for line, rating in zip(unrated, ratings, strict=True):
                    line.reason = _too_low(rating, minimum)
            yield from some


def _too_low(rating: float, minimum: float) -> str | None:
    if rating >= minimum:
        return None
    return f"rated below {minimum}" if rating < minimum else "rating that is no number"


def _good(lines: list[_Line]) -> list[_Line]:
    return [line for line in lines if line.reason is None]


def _picture(folder: Path, line: _Line) -> tuple[np.ndarray | None, str | None]:
    """Return a line's picture, or None and the reason why there is none."""
    try:
        return read_image(folder / line.row["file_name"]), None
    except BadImage as error:
        return None, reason_of(error)


def _rater(clip: str, aesthetic: str, device: str) -> Rate | None:
    """Returns what rates pictures, loading the models when it is first asked; None without a predictor."""
    @cache
    def models() -> tuple:
        from alignsd.models.aesthetic import load_aesthetic
        from alignsd.models.clip import load_clip
        return load_aesthetic(aesthetic), load_clip(clip, device=device)

    def rate(pictures: list[np.ndarray]) -> np.ndarray:
        from alignsd.models.clip import embed_images
        head, model = models()
        return head.predict(embed_images(model, pictures))

    return rate if aesthetic else None
