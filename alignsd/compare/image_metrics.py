"""The metrics of every image: HPS, CLIP score, aesthetic score, and the judge's verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage, read_image
from alignsd.base.judge import Judge
from alignsd.base.paths import shown
from alignsd.base.processes import gathered, share
from alignsd.base.progress import track
from alignsd.compare.arms import ORIGINAL
from alignsd.compare.features import features_of
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import checked_table, command_for
from alignsd.models.aesthetic import Aesthetic
from alignsd.models.clip import Clip, embed_images, embed_texts
from alignsd.reward.hps import hps

NEEDED = ("arm", "id", "prompt", "file")
SCORES = ("hps", "clip_score", "aesthetic")
VERDICTS = ("flawed", "flaw", "match")
GOOD = "ok"  # the status of an image that could be read
DRAWN_BY = TABLES["images"].stage


@dataclass(frozen=True)
class ScoreModels:
    """The models that score a picture for its prompt.

    Attributes:
        hps: the CLIP with HPS's fine-tuned weights.
        clip: the same CLIP before fine-tuning, for the CLIP score.
        aesthetic: an aesthetic predictor on the embeddings of ``clip``.
    """

    hps: Clip
    clip: Clip
    aesthetic: Aesthetic

    def of(self, pictures: Sequence[np.ndarray], asked: list[str]) -> dict[str, np.ndarray]:
        """Return ``hps`` (100 x cosine), ``clip_score`` (cosine) and ``aesthetic`` of pictures.

        Args:
            pictures: ``(height, width, 3)`` uint8 each, at least one.
            asked: what was asked for, a text per picture.
        """
        tuned_images = embed_images(self.hps, pictures)
        tuned_texts = embed_texts(self.hps, asked)
        clip_images = embed_images(self.clip, pictures)
        clip_texts = embed_texts(self.clip, asked)
        return {
            "hps": hps(tuned_images, tuned_texts),
            "clip_score": hps(clip_images, clip_texts) / 100,  # the same cosine, not times 100
            "aesthetic": self.aesthetic.predict(clip_images),
        }


@dataclass(frozen=True)
class Scorers(ScoreModels):
    """The models that measure images.

    Attributes:
        judge: tells flaws and matches; None if there is no judge, and neither is then measured.
        network: gives the features for FID, from pictures ``(n, 3, h, w)`` uint8.
        device: the torch device of ``network``, or ``"auto"``.
    """

    judge: Judge | None
    network: nn.Module
    device: str = "auto"


def measure(
    images: pd.DataFrame,
    folder: Path,
    scorers: Scorers,
    batch: int = 256,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure every image against what was asked for: the original arm's prompt of the same id.

    Several processes divide the batches.

    Args:
        images: a row per image, ``arm, id, prompt, file``.
        folder: where ``file`` begins.
        scorers: the models.
        batch: images at a time.

    Returns:
        Two tables. First, a row per image: ``arm, id, hps`` (100 x cosine), ``clip_score``
        (cosine), ``aesthetic`` (1-10), ``flawed, flaw, match, status``. A bad image keeps the row,
        with the reason as status and no metrics. Second, a row per good image:
        ``arm, id, features``.

    Raises:
        Problem: if the table of images was changed by hand, an arm has an id that the original arm
            lacks, all pictures of an arm are gone, or the judge cannot judge images of this size.
    """
    at_least(1, batch=batch)
    checked_table(images, "images", folder.parent / "images.parquet", NEEDED)
    asked = images["id"].map(asked_for(images, folder))
    own = _read(images.assign(asked=asked), folder, batch)
    metrics, features = [], []
    for of_bad, of_good, computed in gathered(
        [_measured(rows, pictures, scorers, folder) for rows, pictures in own]
    ):
        metrics += [of_bad, of_good]
        features.append(computed)
    keys = ["arm", "id"]
    table = images[keys].merge(pd.concat(metrics), on=keys, validate="one_to_one")
    _refuse_arms_without_pictures(table, folder)
    return table, pd.concat(features, ignore_index=True)


def _measured(
    rows: pd.DataFrame,
    pictures: Sequence[np.ndarray],
    scorers: Scorers,
    folder: Path,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return ``arm, id, status`` of bad images, and metrics and features of good images."""
    is_good = rows["status"] == GOOD
    good = rows[is_good]
    try:
        computed = features_of(scorers.network, pictures, device=scorers.device)
        scored = _scored(good, pictures, scorers)
    except Problem as problem:
        raise _naming_the_file(problem, good, pictures, folder) from problem
    features = good[["arm", "id"]].assign(features=list(computed))
    return rows.loc[~is_good, ["arm", "id", "status"]], scored, features


def asked_for(images: pd.DataFrame, folder: Path) -> pd.Series:
    """Return what was asked for, by id.

    The prompts of some other arms begin with the identifier, for which nobody asked.

    Args:
        images: ``arm, id, prompt``.
        folder: of the images, for the message.

    Raises:
        Problem: if an arm has an id that the original arm lacks.
    """
    asked = images[images["arm"] == ORIGINAL.name].set_index("id")["prompt"]
    strangers = sorted(set(images["id"]) - set(asked.index))
    if strangers:
        raise Problem(
            "Some images have no counterpart in the original arm.",
            expected="the same ids in every arm",
            found=f"{len(strangers)} other ids, such as {strangers[0]}",
            cause="arms drawn from other prompts",
            fix=command_for(DRAWN_BY, folder),
        )
    return asked


def judged(
    pictures: Sequence[np.ndarray],
    asked: list[str],
    judge: Judge | None,
) -> Mapping[str, object]:
    """Return the columns ``flawed``, ``flaw`` and ``match`` of pictures: empty without a judge.

    Args:
        pictures: ``(height, width, 3)`` uint8 each.
        asked: what was asked for, a text per picture.
        judge: tells flaws and matches.
    """
    if judge is None:
        unknown = pd.array([pd.NA] * len(pictures), dtype="boolean")
        return {"flawed": unknown, "flaw": None, "match": unknown}
    verdicts = judge.judge(pictures)
    return {
        "flawed": pd.array(verdicts.flawed, dtype="boolean"),
        "flaw": verdicts.flaw_names,
        "match": pd.array(verdicts.matches(asked), dtype="boolean"),
    }


def left_out(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return how many images of each arm were ``good``, and how many were ``left out``.

    An image that is missing or unreadable is left out.
    """
    good = metrics["status"] == GOOD
    counted = pd.DataFrame({"good": good, "left out": ~good})
    return counted.groupby(metrics["arm"], sort=False).sum().reset_index()


def _read(
    images: pd.DataFrame,
    folder: Path,
    batch: int,
) -> Iterator[tuple[pd.DataFrame, list[np.ndarray]]]:
    """Yield this process's batches of rows, with ``status``, and the pictures of the good rows."""

    def picture_or_reason(file: str) -> np.ndarray | str:
        try:
            return read_image(folder / file)
        except BadImage as error:
            return error.reason

    with ThreadPoolExecutor(max_workers=4) as readers:
        starts = share(range(0, len(images), batch))
        for start in track(starts, what="measuring images", unit="batch"):
            rows = images.iloc[start : start + batch]
            statuses, pictures = [], []
            for result in readers.map(picture_or_reason, rows["file"]):
                if isinstance(result, str):
                    statuses.append(result)
                else:
                    statuses.append(GOOD)
                    pictures.append(result)
            yield rows.assign(status=statuses), pictures


def _scored(
    rows: pd.DataFrame,
    pictures: Sequence[np.ndarray],
    scorers: Scorers,
) -> pd.DataFrame:
    """Return ``arm, id, status`` and all metrics of good images."""
    table = rows[["arm", "id", "status"]]
    if not pictures:
        nothing = dict.fromkeys((*SCORES, *VERDICTS), np.nan)
        return table.assign(**nothing).astype({"flawed": "boolean", "match": "boolean"})
    asked = rows["asked"].tolist()
    return table.assign(**scorers.of(pictures, asked), **judged(pictures, asked, scorers.judge))


def _naming_the_file(
    problem: Problem,
    rows: pd.DataFrame,
    pictures: Sequence[np.ndarray],
    folder: Path,
) -> Problem:
    """Return a model's Problem, with the file of the picture whose size is the rarest."""
    if not pictures:
        return problem
    sizes = pd.Series([str(picture.shape) for picture in pictures])
    rarest = int(sizes.map(sizes.value_counts()).argmin())
    file = rows["file"].iloc[rarest]
    again = command_for(DRAWN_BY, folder)
    return Problem(
        problem.what,
        expected=problem.expected,
        found=f"{problem.found}; {file} has the size {sizes[rarest]}",
        cause=problem.cause,
        fix=f"{problem.fix}; if the pictures were changed by hand: {again}",
    )


def _refuse_arms_without_pictures(table: pd.DataFrame, folder: Path) -> None:
    """Do nothing if each arm has a good picture.

    An arm of one row, as in a first look, may lack a good picture.
    """
    for arm, rows in table.groupby("arm", sort=False):
        if len(rows) > 1 and not (rows["status"] == GOOD).any():
            counts = rows["status"].value_counts()
            reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.items())
            raise Problem(
                f"No picture of the arm {arm} can be used.",
                expected=f"{len(rows):,} pictures in {shown(folder / str(arm))}",
                found=reasons,
                cause="the pictures were moved away or changed after they were drawn",
                fix=command_for(DRAWN_BY, folder),
            )
