"""One deck that many people rate: what each browser may know, and what a browser may answer.

A browser learns no file name and no id: they would tell which picture comes from which model, and
which question is an attention check. Codes stand in their place.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsd.choose.questions import Deck
from alignsd.choose.raters import Names
from alignsd.choose.session import Session
from alignsd.choose.votes import PICK, SKIP, UNDO, read_votes

DIGITS = 16  # of a code


class BadAnswer(ValueError):
    """A message of a browser that is no answer to a question of the deck."""


@dataclass(frozen=True)
class Progress:
    """How far the raters are, without names.

    Attributes:
        raters: people who answered at least one question.
        finished: people who answered all questions.
        picks: pictures picked, of all raters.
        skips: questions skipped, of all raters.
        total: questions of the deck.
    """

    raters: int
    finished: int
    picks: int
    skips: int
    total: int


class Rating:
    """A deck, the file of votes, and a session for each rater.

    Args:
        deck: the questions.
        votes: the file of votes, see ``base.paths.votes_file``.
        run: the run to which the votes belong.
    """

    def __init__(self, deck: Deck, votes: Path, run: str):
        self.deck = deck
        self.votes = Path(votes)
        self.run = run
        self.names = Names(self.votes.with_name(f"{deck.name}.raters.json"))
        self._sessions: dict[str, Session] = {}
        self._pictures = {self._code("picture", file): file for file in deck.files()}
        self._questions = {self._code("question", each.id): each.id for each in deck.questions}

    def picture(self, code: str) -> Path | None:
        """Return the file of a picture of the deck; None if no picture has this code."""
        file = self._pictures.get(code)
        return None if file is None else self.deck.folder / file

    def view(self, rater: str) -> dict[str, Any]:
        """Return what a rater's page draws: the session's view, with codes in place of names.

        ``index`` of a picture is its place on the page, from 0.

        Raises:
            Problem: if the file of votes is damaged.
        """
        view = self._session(rater).view()
        pictures = [
            {"index": place, "file": self._code("picture", each["file"]), "label": each["label"]}
            for place, each in enumerate(view["pictures"])
        ]
        question = view["question"] and self._code("question", view["question"])
        upcoming = [self._code("picture", file) for file in view["upcoming"]]
        return view | {"question": question, "pictures": pictures, "upcoming": upcoming}

    def answer(self, rater: str, message: object) -> dict[str, Any]:
        """Keep a rater's answer, and return the next view.

        Args:
            rater: the rater's name.
            message: ``event`` (``"pick"``, ``"skip"`` or ``"undo"``), ``question`` (code), and for
                a pick ``picked``, the place of the picture on the page, from 0.

        Raises:
            BadAnswer: if the message is no answer.
            Problem: if the votes cannot be read or written.
        """
        if not isinstance(message, Mapping):
            raise BadAnswer("no object")
        session = self._session(rater)
        event = message.get("event")
        if event == UNDO:
            session.undo()
            return self.view(rater)
        question = self._questions.get(str(message.get("question")))
        if question is None:
            raise BadAnswer("no question of this deck")
        if event == SKIP:
            session.skip(question)
        elif event == PICK:
            session.pick(question, self._index(session, question, message.get("picked")))
        else:
            raise BadAnswer("no event of a rater")
        return self.view(rater)

    def progress(self) -> Progress:
        """Return how far the raters are.

        Raises:
            Problem: if the file of votes is damaged.
        """
        votes = read_votes(self.votes, self.deck)
        answered = votes.groupby("rater").size()
        total = len(self.deck.questions)
        picks = int(votes["picked"].notna().sum())
        return Progress(
            raters=len(answered),
            finished=int((answered == total).sum()),
            picks=picks,
            skips=len(votes) - picks,
            total=total,
        )

    def _session(self, rater: str) -> Session:
        if rater not in self._sessions:
            self._sessions[rater] = Session(self.deck, self.votes, rater)
        return self._sessions[rater]

    def _index(self, session: Session, question: str, place: object) -> int:
        """Return which of a question's pictures stands in a place of a rater's page."""
        places = session.places[question]
        if isinstance(place, bool) or not isinstance(place, int) or place not in range(len(places)):
            raise BadAnswer("no picture of this question")
        return places[place]

    def _code(self, kind: str, name: str) -> str:
        """Return a code that stays the same when the server starts again."""
        words = f"{self.deck.fingerprint}\0{kind}\0{name}"
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
