"""Make a data set of people's picks, in the layout of HPD v1 like any other (section 3)."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.atomic import made
from alignsd.base.errors import Problem, check_seed
from alignsd.base.paths import shown
from alignsd.choose.questions import Deck
from alignsd.collect import hpd
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File
from alignsd.collect.own.folder import new_data_set
from alignsd.collect.privacy import hash_user, user_key
from alignsd.collect.splits import check_share, split_by_prompt, split_random

# Why an answer is no choice of the data set.
SKIPPED = "skipped questions"
REPEATED = "repeated questions"
CHECKS = "attention checks"
PAIRS = "pairs of a study"
SPLITS = {"random": split_random, "grouped": split_by_prompt}


def write_hpd(
    deck: Deck,
    votes: pd.DataFrame,
    folder: Path,
    test_share: float = 1.0,
    seed: int = 0,
    keys: Path | None = None,
) -> dict[str, int]:
    """Write picks as an HPD v1 folder, which ``hpd.read_choices`` and notebook parameters read.

    The pictures of a choice stand in the order in which the rater saw them. A rater is known by a
    keyed hash alone. The folder is written whole or not at all; what an earlier call wrote there
    is replaced.

    Args:
        deck: the deck of the votes.
        votes: see ``votes.read_votes``.
        folder: the data set's folder.
        test_share: share of the choices that go to the test part. With 1 there is no train part:
            enough to compare predictors on these choices, but not to train one.
        seed: of the split.
        keys: folder of ``user.key``, the secret that keys the raters' hashes; never share this
            file. None: the folder above ``folder``.

    Returns:
        How many choices were written (``"choices"``), and how many answers were left out for which
        reason.

    Raises:
        Problem: if no pick is left, a part of the split would be empty, or ``folder`` cannot be
            written or holds another data set.
    """
    check_seed(seed)
    check_share(test_share)
    folder = Path(folder)
    reasons = votes.apply(_reason_to_leave, axis=1) if len(votes) else pd.Series([], dtype=str)
    picks = votes[reasons == ""] if len(votes) else votes
    left = Counter(reason for reason in reasons if reason)
    if not len(picks):
        raise _no_picks(deck, left)
    key = user_key(made(keys or folder.parent))
    choices = [_choice(deck, vote, key) for vote in picks.to_dict("records")]
    with new_data_set(folder) as work:
        data, _, unreadable = hpd.write_pictures(choices, work)
        if not len(data):
            raise _no_picks(deck, left + unreadable)
        for (split, part), rows in _parts(data, test_share, seed).items():
            hpd.write_choices(rows, work, part, split)
    return {"choices": len(data), **left, **unreadable}


def _reason_to_leave(vote: pd.Series) -> str:
    """Return why an answer is no choice of the data set; an empty text for a choice."""
    if vote["kind"] == "check":
        return CHECKS
    if vote["kind"] == "study":
        return PAIRS
    if vote["repeats"]:
        return REPEATED
    return SKIPPED if pd.isna(vote["picked"]) else ""


def _choice(deck: Deck, vote: dict[str, Any], key: bytes) -> Choice:
    """Return a pick as a choice of a channel, with the pictures in the order of their places."""
    pictures = deck.question(vote["question"]).pictures
    files = tuple(File(pictures[index], pictures[index], deck.folder) for index in vote["shown"])
    prompt = " ".join(vote["prompt"].split())
    return Choice("", hash_user(vote["rater"], key), prompt, files, int(vote["shown_at"]))


def _parts(data: pd.DataFrame, test_share: float, seed: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the choices of each ``(split, part)``; no train part if all choices are for tests."""
    if test_share == 1:
        return {(split, "test"): data for split in SPLITS}
    parts = {}
    for split, divide in SPLITS.items():
        parts[split, "train"], parts[split, "test"] = divide(data, test_share, seed)
    return parts


def _no_picks(deck: Deck, left: Counter[str]) -> Problem:
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left.most_common())
    return Problem(
        f"There is no pick to make a data set of ({shown(deck.folder)}).",
        expected="at least one answered question of the kind choice",
        found=f"no pick; left out: {reasons or 'nothing'}",
        cause="nobody has chosen yet, or the deck was made anew since",
        fix="choose in the notebook, or: alignsd rate",
    )
