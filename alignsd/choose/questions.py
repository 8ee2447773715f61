"""A question shows a prompt and two to four pictures; a deck is the questions of one sitting."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alignsd.base.errors import Problem
from alignsd.base.paths import checked_run, shown
from alignsd.base.reading import is_text, read_bytes

KINDS = ("choice", "study", "check")
FEWEST, MOST = 2, 4  # pictures of a question, as in HPD v1
DIGITS = 16  # of a deck's fingerprint


@dataclass(frozen=True)
class Question:
    """A prompt and the pictures to choose from.

    Attributes:
        id: names the question; no two questions of a deck have the same id.
        prompt: what all pictures were asked to show.
        pictures: two to four files, relative to the deck's folder.
        kind: ``"choice"`` (which picture is best), ``"study"`` (two pictures, the original model's
            first) or ``"check"`` (an attention check, whose right answer is known).
        repeats: id of the question that this question repeats; ``""`` if there is none.
        right: index of a check's right picture; None for other kinds.

    Raises:
        Problem: if the values do not make a question.
    """

    id: str
    prompt: str
    pictures: tuple[str, ...]
    kind: str = "choice"
    repeats: str = ""
    right: int | None = None

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise _no_question(self.id, *fault)

    def _fault(self) -> tuple[str, str] | None:
        """Return what was expected and what was found; None for a question without a fault."""
        texts = {"id": self.id, "prompt": self.prompt}
        for name, text in texts.items():
            if not is_text(text) or not text.strip():
                return f"{name}: text", f"{text!r:.80}"
        if not is_text(self.repeats):
            return "repeats: the id of a question, or an empty text", f"{self.repeats!r:.80}"
        if self.kind not in KINDS:
            return f"kind: one of {', '.join(KINDS)}", f"{self.kind!r:.80}"
        return self._fault_of_pictures()

    def _fault_of_pictures(self) -> tuple[str, str] | None:
        count = len(self.pictures)
        most = FEWEST if self.kind == "study" else MOST
        if not FEWEST <= count <= most:
            return f"{FEWEST} to {most} pictures", f"{count}"
        if not all(is_text(name) and name for name in self.pictures):
            return "pictures: names of files", f"{self.pictures!r:.120}"
        if len(set(self.pictures)) < count:
            return "pictures that differ", "one file twice"
        is_index = isinstance(self.right, int) and 0 <= self.right < count
        if self.kind == "check" and not is_index:
            return "right: the index of a check's right picture", f"{self.right!r:.80}"
        if self.kind != "check" and self.right is not None:
            return "right: None, since only a check has a right picture", f"{self.right!r:.80}"
        return None


@dataclass(frozen=True)
class Deck:
    """The questions of one sitting, and where the pictures lie.

    Attributes:
        name: also the name of the file of votes, such as ``"choices"``.
        folder: where the names of pictures begin.
        questions: at least one.

    Raises:
        Problem: if ids are not unique, a repeat repeats nothing, or a picture is missing.
    """

    name: str
    folder: Path
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        checked_run(self.name)  # the name becomes part of a file name
        fault = self._fault_of_ids()
        if fault:
            raise _no_deck(self.name, *fault)
        missing = [file for file in self.files() if not (self.folder / file).is_file()]
        if missing:
            raise Problem(
                f"Pictures of the deck {self.name} are missing.",
                expected=f"{len(self.files()):,} pictures below {shown(self.folder)}",
                found=f"{len(missing):,} missing, such as {missing[0]}",
                cause="the notebook that drew the pictures was cleaned or runs again, "
                "or the folder was moved",
                fix="make the deck again: run the notebook that makes the deck",
            )

    def _fault_of_ids(self) -> tuple[str, str] | None:
        """Return what was expected and what was found; None if all ids fit together."""
        if not self.questions:
            return "at least one question", "none"
        counts = Counter(question.id for question in self.questions)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            return "an id of its own for each question", f"{twice[0]!r:.80} twice"
        for question in self.questions:
            if question.repeats and question.repeats not in counts:
                return "repeats: the id of a question of the deck", f"{question.repeats!r:.80}"
            if question.repeats == question.id:
                return "a repeat of another question", f"{question.id!r:.80} repeats itself"
        return None

    def files(self) -> list[str]:
        """Return the pictures of all questions, each once, in the deck's order."""
        return list(dict.fromkeys(name for each in self.questions for name in each.pictures))

    def question(self, name: str) -> Question:
        """Return the question with an id.

        Raises:
            Problem: if the deck has no such question.
        """
        for question in self.questions:
            if question.id == name:
                return question
        raise Problem(
            f"The deck {self.name} has no such question.",
            expected=f"one of {len(self.questions):,} ids, such as {self.questions[0].id!r}",
            found=f"{name!r:.80}",
            cause="an answer that belongs to another deck",
            fix="load the page again, or run the notebook's cell again",
        )

    @cached_property
    def fingerprint(self) -> str:
        """The deck's 16 hex digits, which change with any id, prompt or picture.

        Votes carry the digits: a vote for other pictures under the same ids does not count.
        """
        digest = hashlib.sha256()
        for question in self.questions:
            for text in (question.id, question.prompt):
                digest.update(hashlib.sha256(text.encode()).digest())
            for name in question.pictures:
                digest.update(hashlib.sha256(read_bytes(self.folder / name)).digest())
            digest.update(b"\n")
        return digest.hexdigest()[:DIGITS]


def _no_question(name: str, expected: str, found: str) -> Problem:
    return Problem(
        f"This cannot be a question: {name!r:.80}.",
        expected=expected,
        found=found,
        cause="a table of questions with an empty or a wrong cell",
        fix="mend the row of this question, or leave the row out",
    )


def _no_deck(name: str, expected: str, found: str) -> Problem:
    return Problem(
        f"This cannot be a deck of questions: {name}.",
        expected=expected,
        found=found,
        cause="a table of questions with a repeated or a missing row",
        fix="mend the table of questions, then make the deck again",
    )
