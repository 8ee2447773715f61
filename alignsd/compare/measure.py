"""Every image of every arm measured, then every arm, then every arm against the original (Table 4 of the paper)."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from alignsd.base.errors import Problem, at_least
from alignsd.base.images import BadImage, read_image
from alignsd.base.intervals import (
    bootstrap_mean,
    paired_bootstrap,
    percentiles,
    resample_rows,
    wilson,
)
from alignsd.base.paths import shown
from alignsd.base.progress import track
from alignsd.compare import fid
from alignsd.kit.tables import checked_table, command_for
from alignsd.miniature.judge import Judge, load_judge
from alignsd.miniature.world import FLAWS
from alignsd.models.aesthetic import Aesthetic, load_aesthetic
from alignsd.models.clip import Clip, embed_images, embed_texts, load_clip
from alignsd.models.registry import resolve
from alignsd.reward.hps import hps

BASELINE = "original"
DRAWN_BY = "06_generate"
MEANS = ("hps", "clip_score", "aesthetic")
SHARES = {"flaw_rate": "flawed", "match_rate": "match"}


@dataclass(frozen=True)
class Scorers:
    """The models that measure images; ``judge`` is None where the truth is not known."""

    hps: Clip
    clip: Clip
    aesthetic: Aesthetic
    judge: Judge | None
    network: nn.Module  # features for FID
    device: str


def load_scorers(clip: str, weights: Path, aesthetic: str, judge: str, fid_features: str, device: str = "auto",
                 fit: str = "pad") -> Scorers:
    """Returns the models.

    Args:
        clip: the CLIP that HPS was fine-tuned from; by itself it gives the CLIP score.
        weights: HPS's fine-tuned weights.
        aesthetic: an aesthetic predictor on that CLIP's embeddings.
        judge: ``"miniature/judge"``, a judge's file, or ``""`` for none: flaws and prompt match are then not measured.
        fid_features: the network of FID, for ``fid.feature_network``.
        device: ``"auto"`` or a torch device.
        fit: how an image becomes HPS's and CLIP's square, see ``clip.Clip``.
    """
    return Scorers(load_clip(clip, weights, device, fit), load_clip(clip, device=device, fit=fit), load_aesthetic(aesthetic),
                   load_judge(Path(resolve(judge))) if judge else None, fid.feature_network(fid_features), device)


def measure(images: pd.DataFrame, folder: Path, scorers: Scorers, batch: int = 256) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures every image against the prompt that was asked for, which is the original arm's of the same id.

    Args:
        images: rows of notebook 06 (``arm, id, prompt, file``).
        folder: where the files lie.
        scorers: the models.
        batch: images at a time.

    Returns:
        Two tables. First, a row per image: ``arm, id, hps`` (100 x cosine), ``clip_score`` (cosine), ``aesthetic`` (1-10),
        ``flawed, flaw, match, status``; a bad image keeps its row, with the reason as status and nothing else. Second, a
        row per good image: ``arm, id, features``.

    Raises:
        Problem: if the table of images was changed by hand, an arm has an id that the original arm
            lacks, all pictures of an arm are gone, or the judge cannot judge images of this size.
    """
    at_least(1, batch=batch)
    needed = ("arm", "id", "prompt", "file")
    checked_table(images, "images", folder.parent / "images.parquet", needed)
    rows = images.assign(asked=images["id"].map(_asked(images)))
    measured, cached = [], []
    for part, pictures in _read(rows, folder, batch):
        good = part[part["status"] == "ok"]
        try:
            found = fid.features(scorers.network, pictures, device=scorers.device)
            scored = _scored(good, pictures, scorers)
        except Problem as problem:
            raise _naming_the_file(problem, good, pictures, folder) from problem
        cached.append(good[["arm", "id"]].assign(features=list(found)))
        measured += [part[part["status"] != "ok"][["arm", "id", "status"]], scored]
    table = images[["arm", "id"]].merge(pd.concat(measured), on=["arm", "id"], validate="one_to_one")
    _refuse_arms_without_pictures(table, folder)
    return table, pd.concat(cached, ignore_index=True)


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
    return Problem(
        problem.what,
        expected=problem.expected,
        found=f"{problem.found}; {rows['file'].iloc[rarest]} has the size {sizes[rarest]}",
        cause=problem.cause,
        fix=f"{problem.fix}; if the pictures were changed by hand: {command_for(DRAWN_BY, folder)}",
    )


def _refuse_arms_without_pictures(table: pd.DataFrame, folder: Path) -> None:
    """Do nothing if each arm has a good picture.

    An arm of one row, as in a first look, may have none.
    """
    for arm, rows in table.groupby("arm", sort=False):
        if len(rows) > 1 and not (rows["status"] == "ok").any():
            counts = rows["status"].value_counts()
            reasons = ", ".join(f"{n} x {reason}" for reason, n in counts.items())
            raise Problem(
                f"No picture of the arm {arm} can be used.",
                expected=f"{len(rows):,} pictures in {shown(folder / str(arm))}",
                found=reasons,
                cause="the pictures were moved away or changed after they were drawn",
                fix=command_for(DRAWN_BY, folder),
            )


def _asked(images: pd.DataFrame) -> pd.Series:
    """Returns what was asked for, by id; the identifier in some arms' prompts is no part of it."""
    asked = images[images["arm"] == BASELINE].set_index("id")["prompt"]
    if strangers := sorted(set(images["id"]) - set(asked.index)):
        raise Problem("Some images have no counterpart in the original arm.", expected="the same ids in every arm",
                      found=f"{len(strangers)} others, e.g. {strangers[0]}", cause="arms drawn from other prompts",
                      fix="alignsd run --run NAME --force 06")
    return asked


def _read(rows: pd.DataFrame, folder: Path, batch: int) -> Iterator[tuple[pd.DataFrame, list[np.ndarray]]]:
    """Yields batches of rows with their ``status``, and the pictures of those whose status is ok."""
    def read(file: str) -> np.ndarray | str:
        try:
            return read_image(folder / file)
        except BadImage as error:
            return error.reason

    with ThreadPoolExecutor(max_workers=4) as reader:
        for start in track(range(0, len(rows), batch), what="measuring images", unit="batch"):
            part = rows.iloc[start:start + batch]
            found = list(reader.map(read, part["file"]))
            status = ["ok" if isinstance(item, np.ndarray) else item for item in found]
            yield part.assign(status=status), [item for item in found if isinstance(item, np.ndarray)]


def _scored(rows: pd.DataFrame, pictures: list[np.ndarray], scorers: Scorers) -> pd.DataFrame:
    """Returns the rows ``(n)`` of good images with all metrics."""
    table = rows[["arm", "id", "status"]]
    if not pictures:
        nothing = dict.fromkeys((*MEANS, "flawed", "flaw", "match"), np.nan)
        return table.assign(**nothing).astype(dict.fromkeys(("flawed", "match"), "boolean"))
    asked, embedded = rows["asked"].tolist(), embed_images(scorers.clip, pictures)
    tuned = hps(embed_images(scorers.hps, pictures), embed_texts(scorers.hps, asked))
    table = table.assign(hps=tuned, clip_score=hps(embedded, embed_texts(scorers.clip, asked)) / 100,
                         aesthetic=scorers.aesthetic.predict(embedded))
    return table.assign(**_judged(pictures, asked, scorers.judge))


def _judged(pictures: Sequence[np.ndarray], asked: list[str], judge: Judge | None) -> dict[str, object]:
    """Returns ``flawed``, ``flaw`` and ``match`` of each picture, all missing where there is no judge."""
    if judge is None:
        nothing = pd.array([pd.NA] * len(pictures), dtype="boolean")
        return {"flawed": nothing, "flaw": None, "match": nothing}
    seen = judge.judge(pictures)
    return {"flawed": pd.array(seen.flawed, dtype="boolean"), "flaw": [FLAWS[i] for i in seen.flaw],
            "match": pd.array(seen.matches(asked), dtype="boolean")}


def left_out(metrics: pd.DataFrame) -> pd.DataFrame:
    """Returns how many images of each arm were ``good``, and how many were ``left out`` (missing or unreadable)."""
    good = metrics["status"] == "ok"
    counts = pd.DataFrame({"good": good, "left out": ~good}).groupby(metrics["arm"], sort=False).sum()
    return counts.reset_index()


def arm_table(metrics: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns ``arm, metric, value, low, high, n`` of every arm over its good images.

    Means of ``hps`` (100 x cosine), ``clip_score`` and ``aesthetic`` have bootstrap intervals, ``flaw_rate`` and
    ``match_rate`` (shares, 0-1) have Wilson's; all 95 %. A metric that was not measured has no row.
    """
    rows = []
    for arm, part in metrics.groupby("arm", sort=False):
        for metric in MEANS:
            if len(values := part[metric].dropna().to_numpy(dtype=float)):
                rows.append((arm, metric, *bootstrap_mean(values, seed), len(values)))
        for metric, column in SHARES.items():
            if n := int(part[column].notna().sum()):
                hits = int(part[column].sum())
                rows.append((arm, metric, hits / n, *wilson(hits, n), n))
    return pd.DataFrame(rows, columns=fid.COLUMNS)


def against(metrics: pd.DataFrame, seed: int, baseline: str = BASELINE) -> pd.DataFrame:
    """Returns each other arm compared with the baseline, image by image: ``arm, metric, value, low, high, n``.

    The same id is the same prompt and seed, so differences are paired: value is the mean of (arm - baseline), and n counts
    the ids that are good in both. ``flaw_ratio`` is the arm's flaw rate divided by the baseline's on those ids.
    """
    base, rows = metrics[metrics["arm"] == baseline].set_index("id"), []
    for arm, part in metrics[metrics["arm"] != baseline].groupby("arm", sort=False):
        other = part.set_index("id")
        for metric, column in (dict(zip(MEANS, MEANS, strict=True)) | SHARES).items():
            both = pd.concat([other[column], base[column]], axis=1, keys=["arm", "base"]).dropna().astype(float)
            if both.empty:
                continue
            rows.append((arm, metric, *paired_bootstrap(both["arm"], both["base"], seed), len(both)))
            if metric == "flaw_rate" and both["base"].any():
                rows.append((arm, "flaw_ratio", *ratio(both["arm"].to_numpy(), both["base"].to_numpy(), seed), len(both)))
    return pd.DataFrame(rows, columns=fid.COLUMNS)


def against_control(metrics: pd.DataFrame, features: pd.DataFrame, reference: np.ndarray, seed: int, resamples: int,
                    arm: str = "adapted_negative", control: str = "regularization_only") -> pd.DataFrame:
    """Returns the paper's arm compared with regularization only, as ``against`` does, FID included; empty if one was not drawn.

    Args:
        metrics, features: from ``measure``.
        reference, seed, resamples: for ``fid.table``.
        arm, control: the two arms.
    """
    both, drawn = metrics["arm"].isin((arm, control)), features["arm"].isin((arm, control))
    if features.loc[drawn, "arm"].nunique() < 2:
        return pd.DataFrame(columns=fid.COLUMNS)
    _, distances = fid.table(features[drawn], reference, seed, resamples, control)
    return pd.concat([against(metrics[both], seed, control), distances], ignore_index=True)


def ratio(a: np.ndarray, b: np.ndarray, seed: int, resamples: int = 2000) -> tuple[float, float, float]:
    """Return mean(a) / mean(b) of paired values ``(n,)`` with its bootstrap interval.

    b must not be 0 throughout.
    A resample whose b is 0 throughout has no ratio and does not count. Such resamples are rare but
    for a handful of pictures.
    """
    draws = []
    for rows in resample_rows(len(a), seed, resamples):
        above, below = a[rows].mean(axis=1), b[rows].mean(axis=1)
        defined = below > 0
        draws.append(above[defined] / below[defined])
    return float(a.mean() / b.mean()), *percentiles(np.concatenate(draws))
