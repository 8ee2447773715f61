"""The user study: people choose between two pictures of one prompt and seed.

The original model drew one picture, the adapted model the other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import BadImage, read_image
from alignsd.base.intervals import bootstrap_mean, wilson
from alignsd.compare.arms import ORIGINAL, PAPERS
from alignsd.kit.schemas import TABLES
from alignsd.kit.tables import checked_table, command_for

NEEDED = ("arm", "id", "prompt_id", "sample", "prompt", "file")
VOTES = ["prompt_id", "original", "adapted", "voters", "status"]
TWO_SIZES = "the two pictures have different sizes"
NOBODY = "nobody was asked"
# What a prompt's voters decided -> the sign of (votes for adapted - votes for original).
SIGNS = {"adapted": 1, "original": -1, "tie": 0}

# (pictures, prompt) -> the chance that a person picks each picture, in the order shown.
Chances = Callable[[Sequence[np.ndarray], str], np.ndarray]


def pairs(images: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the pairs that people see: the first sample of each of the first ``count`` prompts.

    Args:
        images: a row per image, ``arm, id, prompt_id, sample, prompt, file``.
        count: number of prompts. Fewer pairs are returned if there are fewer prompts.

    Returns:
        ``prompt_id, prompt, original, adapted``: the last two are files of the original's and of
        the paper's arm. The files of a row have the same prompt and the same seed.

    Raises:
        Problem: if the table was changed by hand, or ``count`` is below 1.
    """
    at_least(1, study_prompts=count)
    checked_table(images, "images", TABLES["images"].file, NEEDED)
    original = images[images["arm"] == ORIGINAL.name].set_index("id")
    adapted = images[images["arm"] == PAPERS.name].set_index("id")
    shown = original[["prompt_id", "sample", "prompt", "file"]].join(
        adapted["file"].rename("adapted"), how="inner"
    )
    first = shown.sort_values(["prompt_id", "sample"]).drop_duplicates("prompt_id")
    renamed = first.rename(columns={"file": "original"})
    columns = ["prompt_id", "prompt", "original", "adapted"]
    return renamed[columns].head(count).reset_index(drop=True)


def vote(
    pair: tuple[np.ndarray, np.ndarray],
    prompt: str,
    chances: Chances,
    voters: int,
    rng: np.random.Generator,
) -> int:
    """Return how many of ``voters`` people choose the second picture of a pair.

    People click by position, too, so each person sees the two pictures in a random order.

    Args:
        pair: pictures ``(h, w, 3)`` uint8, the original's and the adapted model's.
        prompt: what both pictures were asked to show.
        chances: how people choose.
        voters: number of people.
        rng: of the order and of the votes.
    """
    original, adapted = pair
    chance_if_second = chances((original, adapted), prompt)[1]
    chance_if_first = chances((adapted, original), prompt)[0]
    is_first = rng.random(voters) < 0.5
    chance = np.where(is_first, chance_if_first, chance_if_second)
    return int((rng.random(voters) < chance).sum())


def hold(
    pairs: pd.DataFrame,
    folder: Path,
    chances: Chances | None,
    voters: int,
    seed: int,
) -> pd.DataFrame:
    """Hold the study and return ``prompt_id, original, adapted, voters, status``.

    Each prompt has a separate random generator, so a prompt's votes do not depend on the other
    prompts. A pair with a bad picture keeps the row, with the reason as status and no votes.

    Args:
        pairs: from ``pairs``.
        folder: where the files begin.
        chances: how people choose; None where there are no people, so that no pair has votes.
        voters: people per pair.
        seed: of the order in which the pictures are shown, and of the votes.

    Raises:
        Problem: if ``voters`` is below 1, or the seed is out of range.
    """
    check_seed(seed)
    at_least(1, voters=voters)
    if chances is None:
        return pairs[["prompt_id"]].assign(original=0, adapted=0, voters=0, status=NOBODY)
    rows = []
    for row in pairs.itertuples():
        try:
            original = read_image(folder / row.original)
            adapted = read_image(folder / row.adapted)
        except BadImage as error:
            rows.append((row.prompt_id, 0, 0, 0, error.reason))
            continue
        if original.shape != adapted.shape:
            rows.append((row.prompt_id, 0, 0, 0, TWO_SIZES))
            continue
        number = int.from_bytes(str(row.prompt_id).encode(), "little")
        rng = np.random.default_rng((seed, number))
        for_adapted = vote((original, adapted), row.prompt, chances, voters, rng)
        rows.append((row.prompt_id, voters - for_adapted, for_adapted, voters, "ok"))
    return pd.DataFrame(rows, columns=VOTES)


def majorities(votes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the study's result, ``outcome, value, low, high, n``, as shares of prompts (0-1).

    Outcomes: ``adapted`` (more than half of the votes), ``original``, ``tie`` (half of the votes
    each), and ``lead``, the share of adapted minus the share of original. Intervals are 95 %. The
    paper reports 74 % and 22 % with 20 people, so 4 % ties. The table is empty if nobody voted.

    Raises:
        Problem: if votes are no whole numbers from 0 on, or more than there are voters.
    """
    _check_votes(votes)
    columns = ["outcome", "value", "low", "high", "n"]
    counted = votes[votes["voters"] > 0]
    n = len(counted)
    if n == 0:
        return pd.DataFrame([], columns=columns)
    signs = np.sign(counted["adapted"] - counted["original"]).to_numpy()
    rows = []
    for outcome, sign in SIGNS.items():
        prompts = int((signs == sign).sum())
        rows.append((outcome, prompts / n, *wilson(prompts, n), n))
    rows.append(("lead", *bootstrap_mean(signs, seed), n))
    return pd.DataFrame(rows, columns=columns)


def _check_votes(votes: pd.DataFrame) -> None:
    """Raise a Problem if a row's votes are not possible."""
    columns = ["original", "adapted", "voters"]
    counts = votes[columns].apply(pd.to_numeric, errors="coerce")
    is_whole = ((counts >= 0) & (counts % 1 == 0)).all(axis=1)  # False for NaN
    is_few_enough = counts["original"] + counts["adapted"] <= counts["voters"]
    is_text = votes[columns].map(lambda value: isinstance(value, str)).any(axis=1)
    is_wrong = ~(is_whole & is_few_enough) | is_text
    if not is_wrong.any():
        return
    first = votes.loc[is_wrong, columns].iloc[0].to_dict()
    raise Problem(
        "The votes of the user study cannot be counted.",
        expected="original, adapted and voters: whole numbers, votes not more than voters",
        found=f"{first} in one of {len(votes):,} rows",
        cause="a table of votes that was changed by hand, or read as text",
        fix=f"hold the study again: {command_for(TABLES['votes'].stage, '')}",
    )
