"""A small deck with pictures of one colour each."""

from pathlib import Path

import numpy as np
import pytest

from alignsd.base.images import save_png
from alignsd.choose.questions import Deck, Question


def picture(value: int) -> np.ndarray:
    """Return a picture of one colour, ``(16, 16, 3)`` uint8."""
    return np.full((16, 16, 3), value % 256, dtype=np.uint8)


@pytest.fixture
def make_deck(tmp_path):
    """Give a function that makes a deck of choices, of study pairs and of repeats."""

    def make(choices: int = 6, pairs: int = 0, repeats: int = 0, pictures: int = 4) -> Deck:
        folder = tmp_path / "pictures"
        questions = []
        for number in range(choices):
            files = tuple(f"c{number}_{index}.png" for index in range(pictures))
            questions.append(Question(f"c{number}", f"prompt {number}", files))
        for number in range(pairs):
            files = (f"s{number}_original.png", f"s{number}_adapted.png")
            questions.append(Question(f"s{number}", f"pair {number}", files, "study"))
        again = [
            Question(f"{q.id}-again", q.prompt, q.pictures, q.kind, repeats=q.id)
            for q in questions[:repeats]
        ]
        for question in questions:
            for index, name in enumerate(question.pictures):
                save_png(folder / name, picture(40 * index + len(questions)))
        return Deck("choices", folder, (*questions, *again))

    return make


@pytest.fixture
def votes_file(tmp_path) -> Path:
    return tmp_path / "votes" / "choices.jsonl"
