"""Which predictor names what you chose: the readers' own picks, scored like the data set's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.choose.analysis import accuracy_on_votes
from alignsd.choose.deck import Deck, read_deck
from alignsd.choose.votes import read_votes
from alignsd.reward.accuracy import BEST, RANDOM
from alignsd.reward.pictures import images_of
from alignsd.reward.truth import add_truth

NOBODY = "Nobody has chosen yet. Choose in notebook 01, then run this cell again."


@dataclass(frozen=True)
class YourChoices:
    """What readers of the notebooks chose in the chooser.

    Attributes:
        folder: where the names of pictures begin.
        choices: a row per question that somebody answered, as ``hps.score_choices`` takes rows:
            ``id`` (text), ``prompt``, ``file_path`` (list) and ``human_preference`` (the index of
            the picture that was picked by most raters, the first one of tied pictures).
        votes: all answers, from ``choose.votes.read_votes``.
    """

    folder: Path
    choices: pd.DataFrame
    votes: pd.DataFrame


def read_your_choices(votes_file: Path) -> YourChoices | None:
    """Return what readers chose, or None if nobody has chosen; then a line of text says so.

    Votes are no input of a run: votes that cannot be read are said and left aside.

    Args:
        votes_file: from ``base.paths.votes_file``. The deck lies beside, as ``<deck>.deck.json``.
    """
    deck_file = votes_file.with_suffix(".deck.json")
    if not (votes_file.exists() and deck_file.exists()):
        print(NOBODY)
        return None
    try:
        deck = read_deck(deck_file)
        votes = read_votes(votes_file, deck)
    except Problem as problem:
        print(f"Your choices are left aside. {problem.what} {problem.fix}")
        return None
    choices = _picked_choices(deck, votes)
    if choices.empty:
        print(NOBODY)
        return None
    return YourChoices(deck.folder, choices, votes)


def _picked_choices(deck: Deck, votes: pd.DataFrame) -> pd.DataFrame:
    """Return a row per question with a pick; repeats and attention checks are left out."""
    rows = []
    picks = votes[votes["picked"].notna()]
    for question in deck.questions:
        picked = picks.loc[picks["question"] == question.id, "picked"]
        if question.kind == "choice" and not question.repeats and len(picked):
            most = int(picked.mode().min())
            rows.append((question.id, question.prompt, list(question.pictures), most))
    return pd.DataFrame(rows, columns=["id", "prompt", "file_path", "human_preference"])


def accuracy_on_your_choices(
    yours: YourChoices,
    scores: pd.DataFrame,
    predictors: Mapping[str, str],
    chances: Mapping[str, np.ndarray],
    seed: int,
) -> pd.DataFrame:
    """Return how often each predictor names the picture that you picked.

    Args:
        yours: from ``read_your_choices``.
        scores: a row per picture of ``yours.choices``: ``id``, ``index``, and the scores.
        predictors: name in the table -> column of ``scores``.
        chances: question -> ``(n,)``, the chance with which a simulated person picks each picture;
            empty where nobody knows the chances. The best possible predictor of simulated people
            names the picture with the largest chance.
        seed: of the bootstrap.

    Returns:
        ``predictor``, ``value``, ``low``, ``high``, ``n``, see ``choose.analysis``.
    """
    columns = {name: _by_question(scores, column) for name, column in predictors.items()}
    counts = yours.choices.set_index("id")["file_path"].map(len)
    guessing = {question: np.zeros(count) for question, count in counts.items()}
    everything: dict[str, Mapping[str, np.ndarray]] = {RANDOM: guessing, **columns}
    if chances:
        everything[BEST] = chances
    return accuracy_on_votes(yours.votes, everything, seed)


def simulated_chances(yours: YourChoices) -> dict[str, np.ndarray]:
    """Return the chance with which a simulated person picks each picture that you saw.

    Beside the data set of the deck's pictures lie, where the server is simulated, the server's
    chances (``../truth.parquet``) and where each picture came from (``provenance.parquet``).

    Returns:
        The question's id -> ``(n,)``; empty where one of the two tables is missing.

    Raises:
        Problem: if a table cannot be read, or a picture is missing in a table.
    """
    truth = yours.folder.parent / "truth.parquet"
    provenance = yours.folder / "provenance.parquet"
    if not (truth.exists() and provenance.exists()):
        return {}
    images = images_of(yours.choices).astype({"id": "int64"})
    return _by_question(add_truth(images, truth, provenance), "p")


def _by_question(scores: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """Return question -> scores ``(n,)`` in the order of the question's pictures."""
    ordered = scores.sort_values(["id", "index"])
    return {str(name): values.to_numpy() for name, values in ordered.groupby("id")[column]}
