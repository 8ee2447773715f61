"""One rater's sitting: which question comes next, in which places its pictures stand, and answers.

The order of the questions and of the pictures follows from the deck, the rater and a seed alone, so
a reload, a second tab and another process continue where the rater stopped.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.choose import votes
from alignsd.choose.questions import Deck, Question
from alignsd.choose.votes import PICK, SKIP, UNDO, Event, check_rater

AHEAD = 2  # questions whose pictures are loaded in advance
APART = 3  # at least so many other questions between a question and its repeat, where possible


class Session:
    """A rater who answers the questions of a deck; every answer is on the disk at once.

    Args:
        deck: the questions.
        votes: the file of votes, see ``base.paths.votes_file``; many raters share the file.
        rater: the rater's name.
        seed: of the order of the questions and of the places of the pictures.

    Raises:
        Problem: if the name or the seed is out of range.
    """

    def __init__(self, deck: Deck, votes: Path, rater: str = "you", seed: int = 0):
        self.deck = deck
        self.votes = Path(votes)
        self.rater = check_rater(rater)
        self.seed = check_seed(seed)
        self.order = question_order(deck, self._random("questions"))
        self.places = self._all_places()
        self._told: set[str] = set()  # notes that were printed
        self._open: tuple[str, float] | None = None  # the present question, and since when

    def view(self) -> dict[str, Any]:
        """Return what the chooser draws.

        Returns:
            ``done``; ``number`` (of the present question, from 1; ``total`` when done), ``total``;
            ``question`` (id), ``prompt``, ``pictures`` (in the order of the places: ``index`` into
            the question's pictures, ``file`` relative to the deck's folder, ``label``);
            ``can_undo``; ``upcoming`` (files of the next questions). When all questions are
            answered, ``question`` and ``prompt`` are empty and there are no pictures.

        Raises:
            Problem: if the file of votes is damaged.
        """
        return self._view(self._answers())

    def pick(self, question: str, picked: int) -> None:
        """Keep that the rater picked a picture; do nothing if the question is answered already.

        Args:
            question: the question's id.
            picked: index into the question's pictures.

        Raises:
            Problem: if there is no such question or picture, or the file cannot be written.
        """
        pictures = self.deck.question(question).pictures
        if isinstance(picked, bool) or picked not in range(len(pictures)):
            raise Problem(
                "There is no such picture.",
                expected=f"an index from 0 to {len(pictures) - 1}",
                found=f"{picked!r:.60}",
                cause="an answer that belongs to another question",
                fix="load the page again, or run the notebook's cell again",
            )
        self._answer(question, PICK, int(picked))

    def skip(self, question: str) -> None:
        """Keep that the rater skipped a question; do nothing if the question is answered already.

        Raises:
            Problem: if there is no such question, or the file cannot be written.
        """
        self.deck.question(question)
        self._answer(question, SKIP, None)

    def undo(self) -> None:
        """Take the rater's last answer back; do nothing if there is no answer.

        Raises:
            Problem: if the file cannot be written.
        """
        with votes.writing(self.votes) as writer:
            answers = self._answers()
            if not answers:
                return
            question = list(answers)[-1]
            writer.append(self._event(question, UNDO, None))

    def folded(self) -> pd.DataFrame:
        """Return this rater's answers as ``votes.read_votes`` does."""
        return votes.table_of(self._folded(), self.deck)

    def _answers(self) -> dict[str, Event]:
        """Return this rater's answers by question, the latest last; reads the file anew."""
        return {question: event for (_, question), event in self._folded().items()}

    def _folded(self) -> dict[tuple[str, str], Event]:
        """Return this rater's answers as ``votes.fold`` does; prints each note once."""
        events, notes = votes.read_events(self.votes, self.deck, self.rater)
        for note in notes:
            if note not in self._told:
                print(note)
        self._told.update(notes)
        return votes.fold(events)

    def _answer(self, question: str, event: str, picked: int | None) -> None:
        with votes.writing(self.votes) as writer:
            if question not in self._answers():
                writer.append(self._event(question, event, picked))

    def _event(self, question: str, event: str, picked: int | None) -> Event:
        return {
            "time": votes.now(),
            "deck": self.deck.fingerprint,
            "rater": self.rater,
            "question": question,
            "event": event,
            "picked": picked,
            "shown": list(self.places[question]),
            "seconds": self._seconds(question),
        }

    def _seconds(self, question: str) -> float | None:
        """Return the seconds since a question was first shown; None if it is not in sight."""
        if self._open is None or self._open[0] != question:
            return None
        return round(time.monotonic() - self._open[1], 3)

    def _view(self, answers: dict[str, Event]) -> dict[str, Any]:
        waiting = [question for question in self.order if question.id not in answers]
        total = len(self.order)
        common = {"total": total, "can_undo": bool(answers)}
        if not waiting:
            self._open = None
            nothing = {"question": "", "prompt": "", "pictures": [], "upcoming": []}
            return {"done": True, "number": total} | common | nothing
        present = waiting[0]
        if self._open is None or self._open[0] != present.id:
            self._open = present.id, time.monotonic()
        return common | {
            "done": False,
            "number": total - len(waiting) + 1,
            "question": present.id,
            "prompt": present.prompt,
            "pictures": self._pictures(present),
            "upcoming": [file for each in waiting[1 : 1 + AHEAD] for file in each.pictures],
        }

    def _pictures(self, question: Question) -> list[dict[str, Any]]:
        """Return a question's pictures in the order of their places."""
        places = self.places[question.id]
        return [
            {
                "index": index,
                "file": question.pictures[index],
                "label": f"Picture {place} of {len(places)}",
            }
            for place, index in enumerate(places, 1)
        ]

    def _all_places(self) -> dict[str, tuple[int, ...]]:
        """Return the order of the pictures for each question.

        Pairs of a study are balanced: as many times left as right, or one time more.
        """
        places = {}
        for question in self.order:
            rng = self._random("pictures", question.id)
            places[question.id] = tuple(map(int, rng.permutation(len(question.pictures))))
        for repeated in (False, True):
            study = [q.id for q in self.order if q.kind == "study" and bool(q.repeats) == repeated]
            rng = self._random("sides", str(repeated))
            first = rng.permutation(len(study)) % 2
            sides = {
                name: (int(left), 1 - int(left)) for name, left in zip(study, first, strict=True)
            }
            places |= sides
        return places

    def _random(self, *uses: str) -> np.random.Generator:
        """Return a random generator for one use, the same in every process."""
        words = (str(self.seed), self.deck.fingerprint, self.rater, *uses)
        digest = hashlib.sha256("\0".join(words).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def question_order(deck: Deck, rng: np.random.Generator) -> list[Question]:
    """Return a deck's questions in random order, repeats away from what they repeat.

    At least ``APART`` other questions stand between a question and its repeat, or as many as a
    short deck allows. The repeat may come before the question: both show the same pictures.
    """
    firsts = [question for question in deck.questions if not question.repeats]
    order = [firsts[index] for index in rng.permutation(len(firsts))]
    repeats = [question for question in deck.questions if question.repeats]
    for repeat in repeats:
        slots = _slots(order, repeat)
        order.insert(int(rng.choice(slots)), repeat)
    return order


def _slots(order: Sequence[Question], repeat: Question) -> list[int]:
    """Return where a repeat may be inserted: far enough from questions with the same pictures."""
    family = repeat.repeats
    same = [
        index for index, question in enumerate(order) if family in (question.id, question.repeats)
    ]
    everywhere = range(len(order) + 1)
    for apart in range(APART, 0, -1):
        slots = [
            slot
            for slot in everywhere
            if all(slot - index > apart or index - slot >= apart for index in same)
        ]
        if slots:
            return slots
    return [len(order)]
