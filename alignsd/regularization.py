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

from alignsd.errors import Problem
from alignsd.imagefolder import DAMAGED, regularization_folder, usable_rows
from alignsd.images import BadImage, read_image
from alignsd.progress import track

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
    folder = regularization_folder(source, n, own, seed, minimum_rating, clip, aesthetic, device)
    rows, left = [], Counter()
    lines = _judged(folder, _rater(clip, aesthetic, device), minimum_rating, batch)
    with track(total=n, what="regularization pictures", unit="picture") as bar:
        while len(rows) < n and (line := next(lines, None)):
            left.update([line.reason] if line.reason else [])
            rows += [] if line.reason else [line.row]
            bar.update(not line.reason)
    if len(rows) < n:
        raise Problem("There are too few regularization pictures.", expected=f"{n:,} rated {minimum_rating} or more",
                      found=f"{len(rows):,}; left out: {dict(left) or 'none'}", cause="a small folder, dead links, or pictures rated low",
                      fix="give a larger folder, or lower regularization_images or minimum_rating in 05; for its control 05 takes as "
                          "many more as pictures were selected")
    return pd.DataFrame(rows).assign(label="regularization", folder=folder), left


@dataclass
class _Line:
    """A line of metadata.jsonl, and why it is left out, if it is."""

    row: dict[str, Any] | None
    reason: str | None
    picture: np.ndarray | None = None

    @property
    def rating(self) -> float | None:
        rating = (self.row or {}).get("rating")
        return rating if isinstance(rating, int | float) and not isinstance(rating, bool) else None


def _judged(folder: Path, rate: Rate | None, minimum: float, batch: int) -> Iterator[_Line]:
    """Yields every line, opening the pictures of ``batch`` lines at a time."""
    lines, low = (_Line(*line) for line in usable_rows(folder, check_images=False)), f"rated below {minimum}"
    with ThreadPoolExecutor(max_workers=4) as reader:
        while some := list(islice(lines, batch)):
            for line in _good(some):
                line.reason = low if line.rating is not None and line.rating < minimum else None
            for line, picture in zip(_good(some), reader.map(lambda line: _picture(folder, line), _good(some)), strict=True):
                line.picture, line.reason = picture, DAMAGED if picture is None else None
            unrated = [line for line in _good(some) if line.rating is None and rate]
            for line, rating in zip(unrated, rate([line.picture for line in unrated]) if unrated else (), strict=True):
                line.reason = low if rating < minimum else None
            yield from some


def _good(lines: list[_Line]) -> list[_Line]:
    return [line for line in lines if line.reason is None]


def _picture(folder: Path, line: _Line) -> np.ndarray | None:
    try:
        return read_image(folder / line.row["file_name"])
    except BadImage:
        return None


def _rater(clip: str, aesthetic: str, device: str) -> Rate | None:
    """Returns what rates pictures, loading the models when it is first asked; None without a predictor."""
    @cache
    def models() -> tuple:
        from alignsd.aesthetic import load_aesthetic
        from alignsd.clip import load_clip
        return load_aesthetic(aesthetic), load_clip(clip, device=device)

    def rate(pictures: list[np.ndarray]) -> np.ndarray:
        from alignsd.clip import embed_images
        head, model = models()
        return head.predict(embed_images(model, pictures))

    return rate if aesthetic else None
