"""The user study: people choose between the original's and the adapted model's picture of one prompt and seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import BadImage, read_image
from alignsd.base.intervals import bootstrap_mean, wilson
from alignsd.kit.tables import checked_table

TWO_SIZES = "the two pictures have different sizes"
Chances = Callable[[np.ndarray, str], np.ndarray]


def pairs(images: pd.DataFrame, count: int, adapted: str = "adapted_negative") -> pd.DataFrame:
    """Returns the pairs that people see: the first sample of each of the first ``count`` prompts.

    Args:
        images: rows of notebook 06 (``arm, id, prompt_id, sample, prompt, file``).
        count: prompts; fewer are returned if there are fewer.
        adapted: the arm to compare with the original.

    Returns:
        ``prompt_id, prompt, original, adapted``: the last two are files. Same prompt and same seed, joined by id.

    Raises:
        Problem: if the table was changed by hand, or ``count`` is below 1.
    """
    at_least(1, study_prompts=count)
    needed = ("arm", "id", "prompt_id", "sample", "prompt", "file")
    checked_table(images, "images", "images.parquet", needed)
    sides = [images[images["arm"] == arm].set_index("id") for arm in ("original", adapted)]
    both = sides[0][["prompt_id", "sample", "prompt", "file"]].join(sides[1]["file"].rename("adapted"), how="inner")
    first = both.sort_values(["prompt_id", "sample"]).drop_duplicates("prompt_id")
    shown = first.rename(columns={"file": "original"})[["prompt_id", "prompt", "original", "adapted"]]
    return shown.head(count).reset_index(drop=True)


def vote(pair: tuple[np.ndarray, np.ndarray], prompt: str, chances: Chances, voters: int, rng: np.random.Generator) -> int:
    """Returns how many of ``voters`` people choose the second picture of a pair.

    Each person sees the two in a random order, since people click by position too.

    Args:
        pair: pictures ``(h, w, 3)`` uint8, the original's and the adapted model's.
        prompt: what both were asked to show.
        chances: ``(pictures (2, h, w, 3), prompt) -> (2,)``, the chance that a person picks each, in the order shown.
        voters: people.
        rng: of the order and of the votes.
    """
    straight, swapped = chances(np.stack(pair), prompt)[1], chances(np.stack(pair[::-1]), prompt)[0]
    shown_first = rng.random(voters) < 0.5
    return int((rng.random(voters) < np.where(shown_first, swapped, straight)).sum())


def hold(pairs: pd.DataFrame, folder: Path, chances: Chances | None, voters: int, seed: int) -> pd.DataFrame:
    """Holds the study: ``prompt_id, original, adapted, voters, status`` with the votes for each side.

    Each prompt has a generator of its own, so the other prompts do not move its votes. A pair with a bad picture keeps its
    row, with the reason as status and no votes; where there are no people (``chances`` None) no pair has votes.

    Raises:
        Problem: if ``voters`` is below 1, or the seed is out of range.
    """
    check_seed(seed)
    at_least(1, voters=voters)
    if chances is None:
        return pairs[["prompt_id"]].assign(original=0, adapted=0, voters=0, status="nobody was asked")
    rows = []
    for row in pairs.itertuples():
        rng = np.random.default_rng((seed, int.from_bytes(str(row.prompt_id).encode(), "little")))
        try:
            shown = read_image(folder / row.original), read_image(folder / row.adapted)
        except BadImage as error:
            rows.append((row.prompt_id, 0, 0, 0, error.reason))
            continue
        if shown[0].shape != shown[1].shape:
            rows.append((row.prompt_id, 0, 0, 0, TWO_SIZES))
            continue
        won = vote(shown, row.prompt, chances, voters, rng)
        rows.append((row.prompt_id, voters - won, won, voters, "ok"))
    return pd.DataFrame(rows, columns=["prompt_id", "original", "adapted", "voters", "status"])


def majorities(votes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns the study's result, ``outcome, value, low, high, n``, as shares of prompts (0-1), 95 %.

    Outcomes: ``adapted`` (more than half of the votes), ``original``, ``tie`` (exactly half each), and ``lead``, the share
    of adapted minus that of the original. The paper: 74 % and 22 % with 20 people, so 4 % ties.
    The table is empty if no pair was voted on.

    Raises:
        Problem: if votes are no whole numbers from 0 on, or more than there are voters.
    """
    _check_votes(votes)
    counted = votes[votes["voters"] > 0]
    sign = np.sign(counted["adapted"] - counted["original"]).to_numpy()
    rows = []
    for outcome, value in (("adapted", 1), ("original", -1), ("tie", 0)) if len(sign) else ():
        hits = int((sign == value).sum())
        rows.append((outcome, hits / len(sign), *wilson(hits, len(sign)), len(sign)))
    if len(sign):
        rows.append(("lead", *bootstrap_mean(sign, seed), len(sign)))
    return pd.DataFrame(rows, columns=["outcome", "value", "low", "high", "n"])


def _check_votes(votes: pd.DataFrame) -> None:
    """Raise a Problem if a row's votes are not possible."""
    counts = votes[["original", "adapted", "voters"]].apply(pd.to_numeric, errors="coerce")
    whole = (counts >= 0) & (counts % 1 == 0)  # False for NaN
    as_text = [isinstance(value, str) for name in counts for value in votes[name]]
    possible = whole.all(axis=1) & (counts["original"] + counts["adapted"] <= counts["voters"])
    if len(votes) == 0 or (possible.all() and not any(as_text)):
        return
    first = votes[~possible].head(1) if not possible.all() else votes.head(1)
    raise Problem(
        "The votes of the user study cannot be counted.",
        expected="original, adapted and voters: whole numbers, votes not more than voters",
        found=f"{first.iloc[0][list(counts)].to_dict()} in one of {len(votes):,} rows",
        cause="a table of votes that was changed by hand, or read as text",
        fix="hold the study again: alignsd run --run <run> --force --from 07",
    )


def simulated_people(judge_name: str) -> Chances | None:
    """Returns how simulated people choose, ``(pictures (n, 64, 64, 3), prompt) -> chances (n,)``; None without a judge.

    No person is asked: the judge's verdicts and ``miniature.people`` stand for them.
    """
    if not judge_name:
        return None
    from alignsd.miniature.judge import load_judge
    from alignsd.miniature.people import choice_probabilities
    from alignsd.models.registry import resolve

    judge = load_judge(Path(resolve(judge_name)))
    return lambda pictures, prompt: choice_probabilities(judge, pictures, prompt)
