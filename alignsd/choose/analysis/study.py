"""The user study with real people: who paid attention, how many votes, and the raw votes."""

from pathlib import Path

import pandas as pd

from alignsd.base.atomic import replacing
from alignsd.choose.analysis.table import first_picks, of_deck, picks
from alignsd.choose.questions import Deck

LEAST_RIGHT = 0.75  # share of a rater's attention checks; a random clicker is right half the time
VOTES = ["prompt_id", "original", "adapted", "voters", "status"]
NOBODY = "nobody voted"
ORIGINAL, ADAPTED = 0, 1  # places in Question.pictures of a study's question


def attention(votes: pd.DataFrame, deck: Deck) -> pd.DataFrame:
    """Return how many attention checks each rater answered right.

    A rater passes with at least three quarters right. A rater who answered no check passes: nothing
    speaks against this rater, and ``n`` is 0.

    Args:
        votes: from ``votes.read_votes``.
        deck: the questions.

    Returns:
        ``rater, right, n, passed``: a row per rater who picked something, sorted by name; n counts
        the checks that the rater answered.

    Raises:
        Problem: if the votes belong to another deck.
    """
    rows = of_deck(picks(votes), deck)
    answers = {question.id: question.right for question in deck.questions}
    checks = rows[rows["kind"] == "check"]
    is_right = checks["picked"] == checks["question"].map(answers)
    raters = pd.Index(sorted(rows["rater"].unique()), name="rater")
    right = is_right.groupby(checks["rater"]).sum().reindex(raters, fill_value=0)
    n = is_right.groupby(checks["rater"]).size().reindex(raters, fill_value=0)
    table = pd.DataFrame({"right": right, "n": n}).astype("int64")
    table["passed"] = table["right"] >= LEAST_RIGHT * table["n"]
    return table.reset_index()


def study_votes(votes: pd.DataFrame, deck: Deck) -> pd.DataFrame:
    """Return the votes of a study in the form that ``compare.user_study.majorities`` takes.

    The paper asked 20 people about 100 prompts; a picture wins a prompt with more than half of the
    votes. Only the first showing of a question counts. Raters who failed the attention checks are
    left out: ``table.attrs["left_out"]`` holds their number, ``attention`` their names.

    Args:
        votes: from ``votes.read_votes``.
        deck: from ``deck_of_pairs``.

    Returns:
        ``prompt_id, original, adapted, voters, status``: a row per question of the study, in the
        deck's order. ``voters`` counts the votes; people who skipped the question are not counted.
        ``table.attrs["raters"]`` is the number of raters whose votes are counted.

    Raises:
        Problem: if the votes belong to another deck.
    """
    checked = attention(votes, deck)
    fit = checked.loc[checked["passed"], "rater"]
    rows = first_picks(votes)
    counted = rows[rows["rater"].isin(fit) & (rows["kind"] == "study")]
    table = []
    for question in deck.questions:
        if question.kind != "study" or question.repeats:
            continue
        picked = counted.loc[counted["question"] == question.id, "picked"]
        original = int((picked == ORIGINAL).sum())
        adapted = int((picked == ADAPTED).sum())
        status = "ok" if len(picked) else NOBODY
        table.append((question.id, original, adapted, len(picked), status))
    result = pd.DataFrame(table, columns=VOTES)
    result.attrs = {
        "raters": int(counted["rater"].nunique()),
        "left_out": int((~checked["passed"]).sum()),
    }
    return result


def raw_votes(votes: pd.DataFrame, deck: Deck, file: Path) -> Path:
    """Write every vote as a row of a CSV file, for other programs and for publication.

    Raters are numbered in the order in which they first appear, so that the file holds no name. The
    votes of raters who failed the attention checks are in the file, too.

    Args:
        votes: from ``votes.read_votes``.
        deck: the questions.
        file: the file to write. Columns: ``deck, rater, question, kind, repeats, prompt, picked,
            picture, shown_at, right, seconds, time``. ``picked`` counts the question's pictures
            from 0, ``picture`` is the file, and ``shown_at`` the place on the page from 0; all
            three are empty for a skipped question. ``right`` is the right answer of an attention
            check.

    Returns:
        The file.

    Raises:
        Problem: if the votes belong to another deck, or the file cannot be written.
    """
    of_deck(picks(votes), deck)
    questions = {question.id: question for question in deck.questions}
    names = {name: f"rater {number}" for number, name in enumerate(votes["rater"].unique(), 1)}
    pictures = []
    for row in votes.itertuples():
        is_pick = pd.notna(row.picked)
        pictures.append(questions[row.question].pictures[int(row.picked)] if is_pick else "")
    answers = votes["question"].map(lambda name: questions[name].right)
    table = votes.assign(
        deck=deck.name,
        rater=votes["rater"].map(names),
        picked=votes["picked"].astype("Int64"),
        picture=pictures,
        right=answers.astype("Int64"),
    )
    about = ["deck", "rater", "question", "kind", "repeats", "prompt"]
    answer = ["picked", "picture", "shown_at", "right", "seconds", "time"]
    with replacing(file) as unfinished:
        table[about + answer].to_csv(unfinished, index=False)
    return Path(file)
