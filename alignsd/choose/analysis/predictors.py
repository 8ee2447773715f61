"""How often a predictor, or a simulated person, names the pictures that you picked."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.intervals import Seed, bootstrap_mean, wilson
from alignsd.choose.analysis.table import first_picks

YOU = "your picks"
TWO_PEOPLE = "two simulated people"
BEST = "best possible"
CHANCE = "chance"


def agreement_with_chances(
    votes: pd.DataFrame, chances: Mapping[str, np.ndarray], seed: Seed = 0
) -> pd.DataFrame:
    """Return how often a simulated person would pick what you picked.

    With the chance ``p`` (n,) that a simulated person picks each picture of a question:
    ``your picks``: p of the picture that you picked. ``two simulated people``: the sum of p**2, how
    often two of them agree. ``best possible``: the largest p, which no picks can exceed.
    ``chance``: 1/n, of someone who picks at random.

    Args:
        votes: from ``votes.read_votes``. Repeats, attention checks and skips are left out.
        chances: question -> ``p``, in the order of ``Question.pictures``. Questions that are not
            named here are left out.
        seed: of the bootstrap over questions.

    Returns:
        ``who, value, low, high, n``: shares with 95 % intervals; n counts questions. With several
        raters, a question's value is the mean over its raters. Empty if no question is left.

    Raises:
        Problem: if the chances of a question do not fit the question.
    """
    columns = ["who", "value", "low", "high", "n"]
    rows = _known(first_picks(votes), chances)
    of_picks = [chances[row.question][row.picked] for row in rows.itertuples()]
    by_question = pd.Series(of_picks, dtype=float).groupby(rows["question"].to_numpy()).mean()
    if by_question.empty:
        return pd.DataFrame([], columns=columns)
    known = [np.asarray(chances[question]) for question in by_question.index]
    values = {
        YOU: by_question.to_numpy(),
        TWO_PEOPLE: [float((p**2).sum()) for p in known],
        BEST: [float(p.max()) for p in known],
        CHANCE: [1 / len(p) for p in known],
    }
    table = [(who, *bootstrap_mean(shares, seed), len(known)) for who, shares in values.items()]
    return pd.DataFrame(table, columns=columns)


def accuracy_on_votes(
    votes: pd.DataFrame, scores: Mapping[str, Mapping[str, np.ndarray]], seed: Seed = 0
) -> pd.DataFrame:
    """Return how often each predictor's best picture is the picture that you picked.

    A predictor that ties k pictures at the top names each of them with the chance 1/k.

    Args:
        votes: from ``votes.read_votes``. Repeats, attention checks and skips are left out.
        scores: predictor -> question -> scores (n,), in the order of ``Question.pictures``. Only
            questions that every predictor scored count, so that all see the same questions.
        seed: of the bootstrap over questions.

    Returns:
        ``predictor, value, low, high, n``: accuracy with a 95 % interval; n counts picks. The
        interval is Wilson's if one rater answered and nothing ties, or else from a bootstrap over
        questions. Empty if no question is left.

    Raises:
        Problem: if the scores of a question do not fit the question.
    """
    rows = first_picks(votes)
    for of_questions in scores.values():
        rows = _known(rows, of_questions)
    table = []
    for predictor, of_questions in scores.items():
        if rows.empty:
            break
        right = [_named(of_questions[row.question], row.picked) for row in rows.itertuples()]
        credits = pd.Series(right, index=rows["question"])
        table.append((predictor, *_accuracy(credits, seed), len(credits)))
    return pd.DataFrame(table, columns=["predictor", "value", "low", "high", "n"])


def _accuracy(credits: pd.Series, seed: Seed) -> tuple[float, float, float]:
    """Return mean and interval of credits (0 to 1) whose index names the questions."""
    is_whole = bool(credits.isin((0.0, 1.0)).all())
    if is_whole and credits.index.is_unique:
        low, high = wilson(int(credits.sum()), len(credits))
        return float(credits.mean()), low, high
    of_questions = credits.groupby(level=0).mean()
    _, low, high = bootstrap_mean(of_questions.to_numpy(), seed)
    return float(of_questions.mean()), low, high


def _named(scores: np.ndarray, picked: int) -> float:
    """Return the chance that a predictor names the picked picture: 1, 0, or 1/k with k ties."""
    is_best = np.asarray(scores) == np.max(scores)
    return float(is_best[picked]) / int(is_best.sum())


def _known(rows: pd.DataFrame, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the rows of the questions that ``values`` names.

    Raises:
        Problem: if a question's values are not finite, or too few for the picked picture.
    """
    known = rows[rows["question"].isin(list(values))]
    for row in known.itertuples():
        numbers = np.asarray(values[row.question], dtype=float)
        fits = numbers.ndim == 1 and 0 <= row.picked < len(numbers)
        if fits and np.isfinite(numbers).all():
            continue
        raise Problem(
            f"The numbers for question {row.question} do not fit the question.",
            expected=f"a finite number for each picture; picture {row.picked} was picked",
            found=f"{numbers.tolist()!r:.100}",
            cause="numbers of another deck, or pictures that could not be scored",
            fix="score the deck's pictures again, in the order of Question.pictures",
        )
    return known
