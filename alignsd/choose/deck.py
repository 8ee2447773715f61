"""Make decks of questions: from a data set, from pairs of a study, from a folder, from arrays."""

import os
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd

from alignsd.base.atomic import write_json
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import (
    FORMATS,
    OTHER_SUFFIXES,
    SUFFIXES,
    BadImage,
    read_image,
    save_png,
)
from alignsd.base.paths import shown
from alignsd.base.reading import (
    is_foreign,
    is_lost_link,
    listed,
    natural_key,
    page_or_pointer,
    read_json,
    read_text,
)
from alignsd.choose.questions import FEWEST, MOST, Deck, Question
from alignsd.collect.own.cells import is_list, names_in, plain_name
from alignsd.collect.own.tables import read_choices_table

__all__ = [
    "Deck",
    "Question",
    "deck_of_arrays",
    "deck_of_choices",
    "deck_of_folder",
    "deck_of_pairs",
    "read_deck",
    "write_deck",
]

AGAIN = "-again"  # ends the id of a question that repeats another question
CHECK = "check-"  # begins the id of an attention check
GRID = 8  # blocks per side of a picture that is scrambled for an attention check
PROMPT = "prompt.txt"  # in a sub-folder; goes before the sub-folder's name
TABLES = (".csv", ".tsv", ".jsonl")
LONGEST_ANSWER = 2**16  # bytes of a line of votes


class StudySizes(TypedDict):
    """How many questions of each kind a study asks, and the seed of the draws."""

    count: int
    checks: int
    repeats: int
    seed: int


def deck_of_choices(
    name: str, data: pd.DataFrame, folder: Path, count: int, repeats: int, seed: int
) -> Deck:
    """Return a deck of choices drawn at random from an HPD v1 data set.

    Rows of different prompts come first. A question's id is the row's ``id`` as text, and the
    question's pictures stand in the row's order; the repeat of question ``12`` is ``12-again``.

    Args:
        name: the deck's name.
        data: a row per choice, ``id``, ``prompt``, ``file_path``, see ``hpd.read_choices``.
        folder: the data set's folder.
        count: different questions; fewer if the data set has fewer rows.
        repeats: questions that are asked twice.
        seed: of the draw.

    Raises:
        Problem: if ``count`` or ``repeats`` is out of range, or a picture is missing.
    """
    at_least(1, count=count)
    rng = _random(seed, 0)
    shuffled = data.iloc[rng.permutation(len(data))]
    is_later = shuffled["prompt"].duplicated()
    chosen = pd.concat([shuffled[~is_later], shuffled[is_later]]).head(count)
    questions = [
        Question(str(row.id), row.prompt, tuple(row.file_path)) for row in chosen.itertuples()
    ]
    return Deck(name, Path(folder), (*questions, *_repeated(questions, repeats, rng)))


def deck_of_pairs(
    name: str, pairs: pd.DataFrame, folder: Path, own: Path, **sizes: Unpack[StudySizes]
) -> Deck:
    """Return the deck of a user study: the original model's picture against the adapted model's.

    The id of a question is the prompt's id. ``pictures[0]`` is always the original model's picture;
    ``session.Session`` shows the two pictures in random places. An attention check shows a picture
    of the study beside the same picture with its blocks in random order.

    Args:
        name: the deck's name.
        pairs: a row per prompt, ``prompt_id, prompt, original, adapted``, see
            ``compare.user_study.pairs``.
        folder: where the files of ``pairs`` begin.
        own: folder for the scrambled pictures of the checks.
        sizes: ``count``, pairs, fewer if the table has fewer rows; ``checks``, attention checks;
            ``repeats``, pairs that are asked twice; and ``seed`` of the draws. All four are needed.

    Raises:
        Problem: if a number is out of range, no pair can be used, or a file cannot be written.
    """
    at_least(1, count=sizes["count"])
    at_least(0, checks=sizes["checks"])
    rng = _random(sizes["seed"], 1)
    folder = Path(folder)
    questions = []
    for row in pairs.head(sizes["count"]).itertuples():
        if _is_pair(folder, row):
            files = (row.original, row.adapted)
            questions.append(Question(str(row.prompt_id), row.prompt, files, "study"))
    if not questions:
        raise _no_pictures(folder, "two pictures of one size for each prompt", "no such pair")
    asked_twice = _repeated(questions, sizes["repeats"], rng)
    checked = rng.permutation(len(questions))[: sizes["checks"]]
    tests = [
        _check(f"{CHECK}{number}", questions[index], folder, Path(own), rng)
        for number, index in enumerate(checked)
    ]
    return Deck(name, folder, (*questions, *asked_twice, *tests))


def deck_of_folder(
    name: str, folder: Path, count: int | None = None, repeats: int = 0, seed: int = 0
) -> Deck:
    """Return a deck of pictures that lie in a folder.

    The folder holds either a sub-folder of two to four pictures per prompt, named like the prompt
    (``_`` stands for a space; a file ``prompt.txt`` inside goes before the name), or one table,
    CSV or JSON Lines, with the columns ``prompt`` and ``pictures`` (file names relative to the
    folder, separated by ``;`` or ``|``).

    Args:
        name: the deck's name.
        folder: the folder.
        count: questions, drawn at random; None for all, in the order of the folder.
        repeats: questions that are asked twice.
        seed: of the draws.

    Raises:
        Problem: if the folder holds no question, or a picture or a ``prompt.txt`` cannot be read.
    """
    folder = Path(folder)
    files = listed(folder, *TABLES, lost=True)
    tables = [file for file in files if not _is_votes(file)]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise _no_pictures(folder, "one table, or a folder per prompt", f"several tables: {names}")
    questions = _of_table(tables[0]) if tables else _of_folders(folder)
    if not questions:
        found = "no table and no sub-folder with pictures"
        raise _no_pictures(folder, "a sub-folder of pictures for each prompt, or a table", found)
    for question in questions:
        for picture in question.pictures:
            read_image(folder / picture)  # a picture that cannot be shown stops here, with its name
    rng = _random(seed, 2)
    if count is not None:
        at_least(1, count=count)
        questions = [questions[index] for index in rng.permutation(len(questions))[:count]]
    return Deck(name, folder, (*questions, *_repeated(questions, repeats, rng)))


def deck_of_arrays(
    name: str, prompts: Sequence[str], pictures: Sequence[Sequence[np.ndarray]], own: Path
) -> Deck:
    """Return a deck of pictures that were drawn just now.

    Args:
        name: the deck's name.
        prompts: a prompt per question.
        pictures: two to four pictures ``(height, width, 3)`` uint8 per question.
        own: folder to which the pictures are written as PNG.

    Raises:
        Problem: if there are not as many prompts as lists of pictures, or a file cannot be written.
    """
    if len(prompts) != len(pictures):
        raise Problem(
            "Each question needs a prompt and pictures.",
            expected=f"as many lists of pictures as prompts: {len(prompts)}",
            found=f"{len(pictures)}",
            cause="one of the two lists was cut",
            fix="give one list of pictures for each prompt",
        )
    questions = []
    for number, (prompt, of_prompt) in enumerate(zip(prompts, pictures, strict=True)):
        files = tuple(f"{number}_{index}.png" for index in range(len(of_prompt)))
        for file, pixels in zip(files, of_prompt, strict=True):
            save_png(Path(own) / file, pixels)
        questions.append(Question(str(number), prompt, files))
    return Deck(name, Path(own), tuple(questions))


def write_deck(deck: Deck, file: Path) -> None:
    """Write a deck as JSON; the deck's folder is kept relative to the file.

    Raises:
        Problem: if the file cannot be written.
    """
    questions = [
        {
            "id": question.id,
            "prompt": question.prompt,
            "pictures": list(question.pictures),
            "kind": question.kind,
            "repeats": question.repeats,
            "right": question.right,
        }
        for question in deck.questions
    ]
    folder = _relative(deck.folder, Path(file).parent)
    content = {"name": deck.name, "folder": folder, "fingerprint": deck.fingerprint}
    write_json(file, content | {"questions": questions})


def read_deck(file: Path) -> Deck:
    """Return a deck that ``write_deck`` wrote.

    Raises:
        Problem: if the file cannot be read or was damaged, or pictures are missing.
    """
    file = Path(file)
    content = read_json(file)
    try:
        folder = file.parent / content["folder"]
        questions = tuple(_question_in(record) for record in content["questions"])
        name = content["name"]
    except (KeyError, TypeError) as error:
        raise Problem(
            f"{shown(file)} is no deck of questions.",
            expected="name, folder and questions, as write_deck writes them",
            found=f"{type(error).__name__}: {error}",
            cause="another file, or an edit by hand",
            fix="make the deck again: run the notebook that makes the deck",
        ) from error
    return Deck(name, Path(os.path.normpath(folder)), questions)


def _question_in(record: dict[str, Any]) -> Question:
    """Return the question that a record of a deck's file holds."""
    return Question(
        record["id"],
        record["prompt"],
        tuple(record["pictures"]),
        record["kind"],
        record["repeats"],
        record["right"],
    )


def _random(seed: int, use: int) -> np.random.Generator:
    return np.random.default_rng((check_seed(seed), use))


def _repeated(
    questions: Sequence[Question], repeats: int, rng: np.random.Generator
) -> list[Question]:
    """Return repeats of ``repeats`` questions, drawn at random; at most one of each question."""
    at_least(0, repeats=repeats)
    chosen = sorted(rng.permutation(len(questions))[:repeats])
    originals = [questions[index] for index in chosen]
    return [
        Question(f"{each.id}{AGAIN}", each.prompt, each.pictures, each.kind, repeats=each.id)
        for each in originals
    ]


def _is_pair(folder: Path, row: Any) -> bool:
    """Return whether two pictures can stand side by side; say so if they cannot."""
    try:
        shapes = [read_image(folder / file).shape for file in (row.original, row.adapted)]
    except BadImage as problem:
        print(f"The pair of prompt {row.prompt_id} is left out: {problem.found}.")
        return False
    if shapes[0] != shapes[1]:
        print(f"The pair of prompt {row.prompt_id} is left out: two sizes tell which is which.")
        return False
    return True


def _check(
    name: str, question: Question, folder: Path, own: Path, rng: np.random.Generator
) -> Question:
    """Return an attention check made of one of a question's pictures, drawn at random."""
    whole = question.pictures[rng.integers(len(question.pictures))]
    scrambled = own / f"{name}.png"
    save_png(scrambled, _scrambled(read_image(folder / whole), rng))
    files = (whole, _relative(scrambled, folder))
    return Question(name, question.prompt, files, "check", right=0)


def _scrambled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture whose 8 x 8 blocks stand in random order.

    Pixels beyond a multiple of 8, at the right and below, stay.

    Args:
        picture: ``(height, width, 3)`` uint8.
        rng: of the order.
    """
    height, width = (max(side // GRID, 1) for side in picture.shape[:2])
    rows, columns = picture.shape[0] // height, picture.shape[1] // width
    rows, columns = min(rows, GRID), min(columns, GRID)
    inner = picture[: rows * height, : columns * width]
    blocks = inner.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    flat = blocks.reshape(rows * columns, height, width, 3)
    shuffled = flat[rng.permutation(len(flat))].reshape(blocks.shape)
    changed = picture.copy()
    changed[: rows * height, : columns * width] = shuffled.swapaxes(1, 2).reshape(inner.shape)
    return changed


def _of_folders(folder: Path) -> list[Question]:
    """Return a question per sub-folder that holds two to four pictures."""
    own = [path for path in folder.iterdir() if not is_foreign(path.name)]
    for path in filter(is_lost_link, own):
        print(f"{path.name} is left out: a link that leads nowhere.")
    folders = [path for path in own if path.is_dir()]
    questions = []
    for number, place in enumerate(sorted(folders, key=lambda path: natural_key(path.name))):
        files = listed(place, *SUFFIXES, *OTHER_SUFFIXES, lost=True)
        if not FEWEST <= len(files) <= MOST:
            print(f"The folder {place.name} is left out: {len(files)} pictures, not 2 to 4.")
            continue
        names = tuple(file.relative_to(folder).as_posix() for file in files)
        questions.append(Question(str(number), _prompt_of(place), names))
    return questions


def _prompt_of(place: Path) -> str:
    """Return the text of a sub-folder's ``prompt.txt``, or the sub-folder's name with spaces.

    Raises:
        Problem: if ``prompt.txt`` cannot be read, is empty, or is a web page or a pointer of
            Git LFS.
    """
    file = place / PROMPT
    if not os.path.lexists(file):
        return place.name.replace("_", " ")
    prompt = read_text(file).strip()
    mistaken = page_or_pointer(prompt)
    if prompt and not mistaken:
        return prompt
    found, cause = mistaken or ("an empty file", "a file that was never filled in")
    raise Problem(
        f"{shown(file)} holds no prompt.",
        expected="the prompt of the pictures beside the file",
        found=found,
        cause=cause,
        fix=f"write the prompt into the file; or, for the prompt {place.name.replace('_', ' ')!r}: "
        f"rm {shlex.quote(shown(place))}/{PROMPT}",
    )


def _of_table(table: Path) -> list[Question]:
    """Return a question per row of a table of prompts and pictures."""
    rows = read_choices_table(table)
    absent = [column for column in ("prompt", "pictures") if column not in rows]
    if absent:
        columns = ", ".join(map(str, rows.columns))
        raise _no_pictures(table.parent, f"a column {absent[0]} in {table.name}", columns)
    questions = []
    for number, row in enumerate(rows.to_dict("records")):
        cell = row["pictures"]
        names = cell if is_list(cell) else names_in(str(cell))
        pictures = tuple(_as_on_disk(str(name), table.parent) for name in names)
        questions.append(Question(str(number), row["prompt"], pictures))
    return questions


def _is_votes(table: Path) -> bool:
    """Return whether a file holds answers that were given here; each line says what was shown."""
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            first = file.readline(LONGEST_ANSWER)
    except OSError:  # the reader of tables says why
        return False
    return first.startswith("{") and '"event"' in first and '"shown"' in first


def _as_on_disk(name: str, folder: Path) -> str:
    """Return a picture's name in the spelling of the disk: slashes, accents, no spaces around."""
    spelled = plain_name(name.strip())
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, spelled)
        if not (folder / spelled).exists() and (folder / other).exists():
            return other
    return spelled


def _relative(path: Path, start: Path) -> str:
    """Return a path relative to a folder, with slashes."""
    return Path(os.path.relpath(path, start)).as_posix()


def _no_pictures(folder: Path, expected: str, found: str) -> Problem:
    kinds = ", ".join(FORMATS)
    return Problem(
        f"{shown(folder)} holds no questions.",
        expected=f"{expected} ({kinds})",
        found=found,
        cause="another folder than the one that was meant",
        fix="docs/data_formats.md, A folder to choose from, shows how such a folder looks",
    )
