"""How strong each arm is: a Bradley-Terry fit to all picks."""

import math
from collections.abc import Sequence

import choix
import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.intervals import Seed, percentiles, resample_rows
from alignsd.choose.analysis.table import first_picks, of_deck
from alignsd.choose.questions import Deck, Question

ALPHA = 0.5  # imaginary wins of each item over each other item: they keep a strength finite
ARMS = ("original", "adapted")  # of a study's question, in the order of Question.pictures
MOST = 50  # items; a fit of more would mean that items are single pictures
RESAMPLES = 500


def bradley_terry(votes: pd.DataFrame, deck: Deck, by: str = "arm", seed: Seed = 0) -> pd.DataFrame:
    """Return the strength of each item, from all picks of all raters.

    Where items i and j are shown and one of them is picked, i is picked with the chance
    ``1 / (1 + exp(strength_j - strength_i))``. A pick among three or four pictures counts as a win
    over each picture that was not picked, as Luce's rule allows. Each item starts with ``ALPHA`` =
    0.5 imaginary wins over each other item: without them, the strength of an item that always wins
    would be infinite. Attention checks, repeats and skips are left out.

    Args:
        votes: from ``votes.read_votes``.
        deck: the questions.
        by: what an item is. ``"arm"``: original and adapted in a study; in a folder of pictures the
            file's name without suffix, such as a model's name. ``"place"``: the number of the
            picture in ``Question.pictures``, from 1.
        seed: of the bootstrap over questions.

    Returns:
        ``item, strength, low, high, n``, the strongest item first. Strengths are in nats with mean
        0; the intervals are 95 %; n counts the picks between the item and another one. Empty if
        there is no pick.

    Raises:
        Problem: if ``by`` is not known, or there are more than 50 items.
    """
    rows = of_deck(first_picks(votes), deck)
    questions = {question.id: question for question in deck.questions}
    shown = {name: _items(questions[name], by) for name in rows["question"].unique()}
    names = sorted({item for items in shown.values() for item in items})
    _check_count(names, by)
    wins = _wins(rows, shown, names)  # (questions, items, items)
    columns = ["item", "strength", "low", "high", "n"]
    if len(wins) == 0:
        return pd.DataFrame([], columns=columns)
    strengths = _fit(wins.sum(axis=0))
    draws = _resampled(wins, seed)
    table = []
    for number, name in enumerate(names):
        low, high = percentiles(draws[:, number])
        n = int(rows["question"].map(lambda question, name=name: name in shown[question]).sum())
        table.append((name, float(strengths[number]), low, high, n))
    result = pd.DataFrame(table, columns=columns)
    return result.sort_values("strength", ascending=False, ignore_index=True)


def _items(question: Question, by: str) -> tuple[str, ...]:
    """Return which item each picture of a question belongs to."""
    if by == "place":
        return tuple(str(number) for number in range(1, len(question.pictures) + 1))
    if by != "arm":
        raise Problem(
            f"bradley_terry does not know items by {by!r}.",
            expected="by='arm' or by='place'",
            found=f"by={by!r}",
            cause="a slip in the call",
            fix="bradley_terry(votes, deck, by='arm')",
        )
    if question.kind == "study":
        return ARMS
    return tuple(picture.rpartition("/")[2].rpartition(".")[0] for picture in question.pictures)


def _check_count(names: Sequence[str], by: str) -> None:
    if len(names) <= MOST:
        return
    raise Problem(
        f"These votes hold {len(names):,} items, too many for a comparison.",
        expected=f"at most {MOST} items, each shown in many questions",
        found=f"{names[0]}, {names[1]}, ...",
        cause=f"a deck whose pictures have no {by} in common",
        fix="bradley_terry(votes, deck, by='place'), or give the pictures of a model one name",
    )


def _wins(
    rows: pd.DataFrame, shown: dict[str, tuple[str, ...]], names: Sequence[str]
) -> np.ndarray:
    """Return how often item i was picked over item j in each question: (questions, i, j)."""
    numbers = {name: number for number, name in enumerate(names)}
    places = {question: place for place, question in enumerate(shown)}
    wins = np.zeros((len(shown), len(names), len(names)))
    for row in rows.itertuples():
        items = shown[row.question]
        winner = items[row.picked]
        for loser in set(items) - {winner}:
            wins[places[row.question], numbers[winner], numbers[loser]] += 1
    return wins


def _fit(wins: np.ndarray) -> np.ndarray:
    """Return the strengths (items,) with mean 0 that make the wins (items, items) likeliest."""
    items = len(wins)
    if items < 2:
        return np.zeros(items)
    imaginary = ALPHA * (1 - np.eye(items))
    return choix.ilsr_pairwise_dense(wins + imaginary, max_iter=1000)


def _resampled(wins: np.ndarray, seed: Seed) -> np.ndarray:
    """Return the strengths (resamples, items) of questions drawn with replacement."""
    questions, items, _ = wins.shape
    flat = wins.reshape(questions, math.prod((items, items)))
    draws = []
    for chosen in resample_rows(questions, seed, RESAMPLES):
        for numbers in chosen:
            often = np.bincount(numbers, minlength=questions)
            draws.append(_fit((often @ flat).reshape(items, items)))
    return np.array(draws)
