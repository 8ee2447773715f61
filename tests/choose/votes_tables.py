"""Small tables of votes, written by hand, and decks to match."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.images import save_png
from alignsd.choose.questions import Deck, Question


def table(
    picks: Mapping[tuple[str, str], int | None],
    kind: str = "choice",
    repeats: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return votes as ``votes.read_votes`` does: (rater, question) -> pick, None for a skip."""
    rows = []
    for (rater, question), picked in picks.items():
        row = {
            "rater": rater,
            "question": question,
            "kind": (kinds or {}).get(question, kind),
            "repeats": (repeats or {}).get(question, ""),
            "prompt": f"prompt of {question}",
            "picked": picked,
            "shown_at": picked,
            "seconds": 1.5,
            "time": "2023-10-02T10:00:00.000+00:00",
        }
        rows.append(row)
    columns = ["rater", "question", "kind", "repeats", "prompt"]
    columns += ["picked", "shown_at", "seconds", "time"]
    votes = pd.DataFrame(rows, columns=columns)
    return votes.astype({"picked": "Int64", "shown_at": "Int64", "seconds": "float64"})


def of_raters(picks: Mapping[str, Sequence[int | None]], kind: str = "choice") -> pd.DataFrame:
    """Return votes of raters who answered the questions q0, q1, ... in order."""
    answers = {}
    for rater, row in picks.items():
        answers |= {(rater, f"q{number}"): picked for number, picked in enumerate(row)}
    return table(answers, kind)


def deck(folder: Path, questions: Sequence[Question], name: str = "study") -> Deck:
    """Return a deck whose pictures are small files of different colours."""
    files = sorted({picture for question in questions for picture in question.pictures})
    for number, file in enumerate(files):
        save_png(folder / file, np.full((8, 8, 3), (37 * number) % 256, np.uint8))
    return Deck(name, folder, tuple(questions))


def study(folder: Path, prompts: int = 3, checks: int = 0, repeats: int = 0) -> Deck:
    """Return a study of ``prompts`` pairs p0, p1, ...; the first ones are asked again."""
    questions = []
    for number in range(prompts):
        files = (f"original/p{number}.png", f"adapted/p{number}.png")
        questions.append(Question(f"p{number}", f"prompt {number}", files, "study"))
    for number in range(repeats):
        first = questions[number]
        again = (f"p{number}-again", first.prompt, first.pictures, "study", first.id)
        questions.append(Question(*again))
    for number in range(checks):
        files = (f"original/p{number}.png", f"scrambled/{number}.png")
        questions.append(Question(f"check-{number}", f"prompt {number}", files, "check", right=0))
    return deck(folder, questions)
