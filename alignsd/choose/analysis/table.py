"""The votes table as the analyses read the table: picks alone, each question once."""

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.choose.questions import Deck

NEEDED = ("rater", "question", "kind", "repeats", "picked")


def picks(votes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a votes table that hold a pick; skipped questions are left out.

    Args:
        votes: from ``votes.read_votes``.

    Returns:
        The rows in the same order, with ``picked`` as whole numbers.

    Raises:
        Problem: if a column is missing, or a rater has two rows for a question.
    """
    missing = [name for name in NEEDED if name not in votes]
    if missing:
        raise _no_votes(f"no column {', '.join(missing)}")
    picked = votes[votes["picked"].notna()]
    twice = picked[picked.duplicated(["rater", "question"])]
    if len(twice):
        first = twice.iloc[0]
        raise _no_votes(f"two picks of rater {first['rater']} for question {first['question']}")
    return picked.astype({"picked": "int64"})


def first_picks(votes: pd.DataFrame) -> pd.DataFrame:
    """Return the picks of questions that were shown for the first time, attention checks left out.

    A repeated question would count one opinion twice.
    """
    rows = picks(votes)
    return rows[(rows["repeats"] == "") & (rows["kind"] != "check")]


def of_deck(rows: pd.DataFrame, deck: Deck) -> pd.DataFrame:
    """Return the rows unchanged if the deck holds their questions and their pictures.

    Raises:
        Problem: if the votes belong to another deck.
    """
    counts = {question.id: len(question.pictures) for question in deck.questions}
    unknown = rows.loc[~rows["question"].isin(list(counts)), "question"]
    if len(unknown):
        raise _other_deck(deck, f"question {unknown.iloc[0]}, which the deck does not hold")
    shown = rows["question"].map(counts)
    beyond = rows[(rows["picked"] < 0) | (rows["picked"] >= shown)]
    if len(beyond):
        row = beyond.iloc[0]
        found = f"picture {row['picked']} of question {row['question']}, counted from 0"
        raise _other_deck(deck, f"{found}; the question has {counts[row['question']]} pictures")
    return rows


def _no_votes(found: str) -> Problem:
    return Problem(
        "This table holds no votes that can be analysed.",
        expected=f"the columns {', '.join(NEEDED)}; one row per rater and question",
        found=found,
        cause="a table that was changed by hand, or put together from two files",
        fix="read the votes with read_votes(votes_file(run, deck.name), deck)",
    )


def _other_deck(deck: Deck, found: str) -> Problem:
    return Problem(
        f"These votes do not belong to the deck {deck.name}.",
        expected="the questions and pictures of the deck",
        found=found,
        cause="votes of another deck, or a deck that was made anew after the votes",
        fix="read the deck that lies beside the votes: read_deck(...)",
    )
