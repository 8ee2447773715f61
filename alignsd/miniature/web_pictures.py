"""Write captioned pictures of the simulated web, which stand for the pictures of LAION.

The pictures come from the same web as the pictures of the pretraining, with a share of awkward
pictures, but the pretraining has never seen these pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.miniature.web import FLAW_SHARE, WEB_SEED, make_web
from alignsd.select.imagefolder import write_imagefolder

if TYPE_CHECKING:  # a rater loads open_clip, which takes seconds
    from alignsd.adapt.regularization import Wanted

FIRST_REGULARIZATION = 20_000_000  # far from the numbers of the pretraining's pictures
PER_SEED = 1_000_000  # pictures of the web set aside for each seed
CHUNK = 500  # pictures of the web rendered and rated at a time


def write_regularization(folder: Path, seed: int, wanted: "Wanted") -> dict[str, int]:
    """Write pictures of the simulated web that the aesthetic predictor rates high.

    The paper takes 200,231 pairs of LAION aesthetics 6.5+.

    Args:
        folder: gets ``regularization/*.png`` and ``metadata.jsonl`` with ``file_name``, ``text``,
            ``label`` (``"regularization"``) and ``rating``.
        seed: each seed has different pictures.
        wanted: how many pictures, and how high they rate.

    Returns:
        Counts of ``write_imagefolder``.

    Raises:
        Problem: if the web of this seed holds too few pictures that rate so high.
    """
    n = wanted.n
    most = min(PER_SEED, 100 * n + CHUNK)
    rows = []
    pictures = {}
    for captioned in islice(_rated_high(seed, most, wanted), n):
        name = f"regularization/{captioned.number}.png"
        rows.append((name, captioned.caption, "regularization", captioned.rating))
        pictures[name] = captioned.picture
    if len(rows) < n:
        raise Problem(
            "The simulated web has too few pictures rated that high.",
            expected=f"{n} at {wanted.minimum_rating} or more",
            found=f"{len(rows)} of {most}",
            cause="the minimum rating is out of the predictor's reach",
            fix="lower minimum_rating or regularization_images",
        )

    def read(missing: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        for name in missing["file_name"]:
            yield name, pictures[name]

    table = pd.DataFrame(rows, columns=["file_name", "text", "label", "rating"])
    return write_imagefolder(folder, table, read)


@dataclass(frozen=True)
class _Captioned:
    """A picture of the web, ``(64, 64, 3)`` uint8, with number, caption and rating."""

    number: int
    picture: np.ndarray
    caption: str
    rating: float


def _rated_high(seed: int, most: int, wanted: "Wanted") -> Iterator[_Captioned]:
    """Yield the pictures among the first ``most`` of a seed that are rated high enough."""
    first = FIRST_REGULARIZATION + seed * PER_SEED
    for start in range(first, first + most, CHUNK):
        web = make_web(CHUNK, WEB_SEED, FLAW_SHARE, first=start)
        ratings = wanted.rater.ratings(list(web.pictures))
        for i in np.flatnonzero(ratings >= wanted.minimum_rating).tolist():
            rating = float(ratings[i])
            yield _Captioned(start + i, web.pictures[i], web.captions[i], rating)
