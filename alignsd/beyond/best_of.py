"""Draw several pictures of a prompt, and keep the picture that a score prefers.

Nothing is trained. What best-of-n costs is paid while drawing: n pictures for each picture kept.
Best-of-n shows what a score wants by itself, so every method that is trained on the score is to be
compared with best-of-n.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.judge import Judge
from alignsd.compare.arm_metrics import SHARES
from alignsd.compare.image_metrics import SCORES, ScoreModels, judged
from alignsd.compare.measurement import Measurement, mean_of, share_of
from alignsd.select.diffusiondb import OK, Corpus, read_pictures

RANDOM = "random"  # the first sample: what a prompt gets without any choice
JUDGE = "judge"  # drawn right before drawn wrong, then by whether the prompt is shown
MEANS = (*SCORES, "utility", "saturation")
COLUMNS = ("by", "n", "metric", "value", "low", "high", "count")


def best_of(scores: pd.DataFrame, column: str, n: int) -> pd.DataFrame:
    """Return the best of the first n samples of each prompt.

    Args:
        scores: a row per picture: ``prompt_id``, ``sample`` (order of the pictures of a prompt) and
            the column. A picture without a score is never the best.
        column: the score; more is better. ``"random"`` takes the first sample. ``"judge"`` takes
            the verdicts ``flawed`` and ``match``: a picture that is drawn right comes before a
            picture that is drawn wrong, and then a picture that shows the prompt comes first.
        n: samples to choose from. A prompt with fewer samples is left out.

    Returns:
        One row per prompt, in the order of the prompts; of equal scores the first sample.

    Raises:
        Problem: if n is below 1, there is no such column, the column holds nothing, or a prompt has
            a sample twice.
    """
    at_least(1, n=n)
    _check(scores, column)
    ordered = scores.sort_values(["prompt_id", "sample"], ignore_index=True, kind="stable")
    by_prompt = ordered.groupby("prompt_id", sort=False)
    is_first = by_prompt.cumcount() < n
    has_enough = by_prompt["sample"].transform("size") >= n
    candidates = ordered[is_first & has_enough]
    score = _score(candidates, column).dropna()
    best = score.groupby(candidates["prompt_id"], sort=False).idxmax()
    return candidates.loc[best.to_numpy()].reset_index(drop=True)


def table(
    metrics: pd.DataFrame, columns: Sequence[str], ns: Sequence[int], seed: int
) -> pd.DataFrame:
    """Return the metrics of the pictures that each score keeps, for each n.

    Every row is over the same prompts: the prompts with at least ``max(ns)`` samples.

    Args:
        metrics: a row per picture: ``prompt_id``, ``sample``, the columns, and any of ``hps``,
            ``clip_score``, ``aesthetic``, ``utility``, ``saturation``, ``flawed``, ``match``.
        columns: the scores to choose by, see ``best_of``.
        ns: numbers of samples to choose from.
        seed: of the bootstrap.

    Returns:
        ``by`` (the score), ``n``, ``metric``, ``value``, ``low``, ``high``, ``count`` (prompts).
        ``flaw_rate`` and ``match_rate`` are shares (0-1) with Wilson's intervals, all others means
        with bootstrap intervals.

    Raises:
        Problem: as ``best_of``, or if no prompt has so many samples.
    """
    check_seed(seed)
    at_least(1, n=min(ns))
    samples = metrics.groupby("prompt_id")["sample"].transform("size")
    same_prompts = metrics[samples >= max(ns)]
    if same_prompts.empty:
        raise Problem(
            f"No prompt has {max(ns)} pictures to choose from.",
            expected=f"{max(ns)} samples of a prompt, or more",
            found=f"at most {int(samples.max()) if len(samples) else 0}",
            cause="a larger n than the number of samples that were drawn",
            fix="lower the largest n, or draw more samples of each prompt",
        )
    rows: list[dict[str, object]] = []
    for column in columns:
        for n in ns:
            kept = best_of(same_prompts, column, n)
            rows += [_row(column, n, metric, one) for metric, one in _measured(kept, seed)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def samples_of(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scored pictures of a corpus as samples of their prompts.

    Args:
        scores: from ``scoring.read_scores``; rows whose status is not ``"ok"`` are left out.

    Returns:
        ``part, image, prompt, hps`` and ``prompt_id, sample``; samples are ordered by image.
    """
    usable = scores[scores["status"] == OK]
    rows = usable.sort_values(["prompt", "image"], ignore_index=True)
    rows = rows[["part", "image", "prompt", "hps"]]
    number, _ = pd.factorize(rows["prompt"])
    prompt_id = pd.Series(number).map("p{:05d}".format)
    return rows.assign(prompt_id=prompt_id, sample=rows.groupby("prompt").cumcount())


def measure_corpus(
    samples: pd.DataFrame,
    parts: Corpus,
    models: ScoreModels,
    judge: Judge | None,
    batch: int = 256,
) -> pd.DataFrame:
    """Measure pictures of a corpus, which lie in parts.

    Args:
        samples: from ``samples_of``.
        parts: the corpus, see ``diffusiondb.find_parts``.
        models: the models that score.
        judge: tells flaws and matches; None leaves both empty.
        batch: pictures at a time.

    Returns:
        The rows with ``hps``, ``clip_score``, ``aesthetic``, ``flawed``, ``flaw``, ``match``.
        Pictures that cannot be read are left out.

    Raises:
        Problem: as ``diffusiondb.read_pictures``.
    """
    at_least(1, batch=batch)
    rows = samples.set_index("image")
    measured = []
    for pictures_by_name in _batches(parts, samples, batch):
        few = rows.loc[list(pictures_by_name)]
        pictures = list(pictures_by_name.values())
        asked = few["prompt"].tolist()
        columns = {**models.of(pictures, asked), **judged(pictures, asked, judge)}
        measured.append(few.assign(**columns))
    joined = pd.concat(measured).reset_index()
    return joined.sort_values(["prompt_id", "sample"], ignore_index=True)


def _batches(parts: Corpus, samples: pd.DataFrame, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the pictures of a corpus by name, a batch at a time."""
    pictures = read_pictures(parts, samples)
    few = dict(islice(pictures, batch))
    while few:
        yield few
        few = dict(islice(pictures, batch))


def _score(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the score by which pictures are chosen; more is better."""
    if column == RANDOM:
        return pd.Series(0.0, index=rows.index)
    if column == JUDGE:
        return rows["match"].astype(float) - 2 * rows["flawed"].astype(float)
    return rows[column].astype(float)


def _check(scores: pd.DataFrame, column: str) -> None:
    needed = {RANDOM: [], JUDGE: ["flawed", "match"]}.get(column, [column])
    missing = [name for name in ("prompt_id", "sample", *needed) if name not in scores]
    if missing:
        raise Problem(
            f"The best pictures by {column!r} cannot be chosen.",
            expected="columns prompt_id, sample and the score",
            found=f"no column {', '.join(missing)}",
            cause="a misspelt score, or a table of other pictures",
            fix=f"choose by one of: {', '.join([RANDOM, JUDGE, *SCORES])}",
        )
    if scores[needed].isna().all(axis=None) and needed:
        raise Problem(
            f"The best pictures by {column!r} cannot be chosen.",
            expected="numbers, or verdicts of a judge",
            found=f"nothing in {', '.join(needed)}",
            cause="without a judge nobody knows which pictures are drawn wrong",
            fix=f"choose by {RANDOM} or hps, or name a judge",
        )
    repeated = int(scores.duplicated(["prompt_id", "sample"]).sum())
    if repeated:
        raise Problem(
            "Some samples stand in the table twice.",
            expected="one row for each prompt_id and sample",
            found=f"{repeated} rows more",
            cause="a table of several arms",
            fix="choose within one arm at a time",
        )


def _measured(kept: pd.DataFrame, seed: int) -> Iterator[tuple[str, Measurement]]:
    """Yield the metrics of the pictures that were kept."""
    means = [metric for metric in MEANS if metric in kept]
    for metric in means:
        values = kept[metric].dropna().to_numpy(dtype=float)
        if len(values):
            yield metric, mean_of(values, seed)
    shares = {metric: column for metric, column in SHARES.items() if column in kept}
    for metric, column in shares.items():
        verdicts = kept[column].dropna()
        if len(verdicts):
            yield metric, share_of(verdicts)


def _row(by: str, n: int, metric: str, measured: Measurement) -> dict[str, object]:
    interval = {"value": measured.value, "low": measured.low, "high": measured.high}
    return {"by": by, "n": n, "metric": metric, **interval, "count": measured.n}
