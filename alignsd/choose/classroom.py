"""Let people in one room rate a deck: what ``alignsd rate`` opens, says and sums up."""

import json
import re
import shlex
from pathlib import Path

from alignsd.base import commands
from alignsd.base.errors import Problem
from alignsd.base.paths import LONGEST_RUN, runs, shown, votes_file
from alignsd.base.reading import read_json
from alignsd.choose.deck import deck_of_folder, read_deck, write_deck
from alignsd.choose.questions import Deck
from alignsd.choose.raters import BadName, Names, checked_name
from alignsd.choose.rating import Rating
from alignsd.choose.server import is_loopback, own_address, serve
from alignsd.kit.tables import command_for

MAKERS = {"choices": "01", "study": "07"}  # deck -> number of the notebook that makes the deck


def open_rating(run: str, name: str, folder: Path | None = None) -> Rating:
    """Return a deck and its votes, ready to be served.

    Args:
        run: the run whose votes are kept.
        name: the deck's name, such as ``"study"``; without effect if there is a folder.
        folder: a folder of pictures, see ``deck_of_folder``. The deck gets the name of
            ``name_of_folder`` and is written beside its votes.

    Raises:
        Problem: if the run has no such deck, the folder holds no questions, or another folder has
            a deck of the same name.
    """
    if folder is not None:
        deck = deck_of_folder(name_of_folder(folder), folder.resolve())
        votes = votes_file(run, deck.name)
        _refuse_another_folder(deck, deck_file(votes))
        write_deck(deck, deck_file(votes))
        return Rating(deck, votes, run)
    votes = votes_file(run, name)
    if not deck_file(votes).is_file():
        raise _no_deck(run, name, votes)
    return Rating(read_deck(deck_file(votes)), votes, run)


def _refuse_another_folder(deck: Deck, file: Path) -> None:
    """Do nothing unless a deck of this name belongs to another folder with other questions."""
    if not file.is_file():
        return
    former = read_json(file)
    if not isinstance(former, dict) or former.get("fingerprint") == deck.fingerprint:
        return
    folder = (file.parent / str(former.get("folder"))).resolve()
    if folder != deck.folder:
        command = commands.pasteable("alignsd rate --run NAME")
        raise Problem(
            f"Another folder has the deck {deck.name} already.",
            expected="a folder whose name no other folder of this run has",
            found=shown(folder),
            cause="two folders of one name, or of names without Latin letters",
            fix=f"give the votes a run of their own: {command} --folder "
            f"{shlex.quote(shown(deck.folder))}; or rename the folder",
        )


def name_of_folder(folder: Path) -> str:
    """Return the name of the deck of a folder: ``own-cats`` for ``/home/ann/cats``.

    No notebook makes a deck of such a name, so that the folder's votes stay apart.
    """
    letters = re.sub(r"[^A-Za-z0-9_]+", "-", folder.resolve().name).strip("-")
    return f"own-{letters or 'pictures'}"[:LONGEST_RUN]


def deck_file(votes: Path) -> Path:
    """Return the file of a deck, which lies beside the deck's votes."""
    return votes.with_name(f"{votes.stem}.deck.json")


def free(run: str, deck: str, text: str) -> bool:
    """Let another browser take a rater's name; False if nobody has the name.

    Raises:
        Problem: if the text cannot be a name, or the file cannot be written.
    """
    names = Names(votes_file(run, deck).with_name(f"{deck}.raters.json"))
    try:
        return names.free(checked_name(text))
    except BadName as error:
        raise Problem(
            "This cannot be the name of a rater.",
            expected=str(error),
            found=repr(text),
            cause="a slip in the name",
            fix="alignsd rate --free NAME, as the rater's page shows the name",
        ) from error


def hold(rating: Rating, host: str, port: int) -> None:
    """Serve a deck until Ctrl-C; say where the page is, and in the end what was collected.

    Args:
        rating: from ``open_rating``.
        host: the address to listen at.
        port: the port; 0 for any free port.

    Raises:
        Problem: if the address cannot be listened at.
    """

    def started(port: int) -> None:
        print(_about(rating.deck))
        print(_addresses(host, port, rating))
        print(f"Votes are kept in {shown(rating.votes)}. Ctrl-C ends the page.", flush=True)

    serve(rating, host, port, started)
    print(f"\n{summary(rating)}", flush=True)


def summary(rating: Rating) -> str:
    """Return what was collected, and the lines that read the votes in a notebook."""
    progress = rating.progress()
    if not progress.raters:
        return f"Nobody has voted on the deck {rating.deck.name} yet."
    collected = (
        f"{_counted(progress.raters, 'rater')}, of whom {progress.finished} finished; "
        f"{_counted(progress.picks, 'vote')}, {progress.skips:,} skipped."
    )
    file = f"file = votes_file({json.dumps(rating.run)}, {json.dumps(rating.deck.name)})"
    lines = [
        f"Collected: {collected}",
        f"Votes: {shown(rating.votes)}",
        "To read the votes in a notebook:",
        "  from alignsd.base.paths import votes_file",
        "  from alignsd.choose import analysis",
        "  from alignsd.choose.deck import read_deck",
        "  from alignsd.choose.votes import read_votes",
        f"  {file}",
        f'  deck = read_deck(file.with_name("{rating.deck.name}.deck.json"))',
        "  votes = read_votes(file, deck)",
        "  analysis.between_raters(votes)",
    ]
    return "\n".join(lines)


def _about(deck: Deck) -> str:
    repeated = sum(bool(question.repeats) for question in deck.questions)
    checks = sum(question.kind == "check" for question in deck.questions)
    questions = _counted(len(deck.questions), "question")
    return f"Deck {deck.name}: {questions}, of which {repeated} repeat and {checks} check attention"


def _addresses(host: str, port: int, rating: Rating) -> str:
    """Return the address to open, and who can open the address."""
    address = own_address(host)
    outside = f"http://{f'[{address}]' if ':' in address else address}:{port}/"
    if is_loopback(host):
        again = f"alignsd rate --run {rating.run} --deck {rating.deck.name} --host 0.0.0.0"
        command = commands.pasteable(again)
        lines = [
            f"Open {outside} in a browser on this machine. No other machine can open the page.",
            f"For phones and other machines in the room: {command}",
            f"Progress: {outside}progress",
        ]
        return "\n".join(lines)
    lines = [
        f"Raters open {outside}",
        "Everyone whose device reaches this machine can open the page, take a name and choose. The",
        "connection is not encrypted: use a network that you trust, and end the page afterwards.",
        f"Progress, without names: {outside}progress",
    ]
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _no_deck(run: str, name: str, votes: Path) -> Problem:
    """Return what to say where a run has no such deck: which runs have one, and who makes it."""
    file = deck_file(votes)
    own = sorted(path.name.removesuffix(".deck.json") for path in file.parent.glob("*.deck.json"))
    elsewhere = sorted(path.parents[1].name for path in runs().glob(f"*/votes/{file.name}"))
    found = [f"decks of run {run}: {', '.join(own) or 'none'}"]
    fixes = []
    if elsewhere:
        found.append(f"runs with a deck {name}: {', '.join(elsewhere)}")
        fixes.append(f"alignsd rate --run {elsewhere[0]} --deck {name}")
    maker = MAKERS.get(name)
    if maker is not None:
        fixes.append(command_for(maker, votes))
    elif own:
        fixes.append(f"alignsd rate --run {run} --deck {own[0]}")
    notebook = f", which notebook {maker} makes" if maker else ""
    return Problem(
        f"Run {run} has no deck {name}.",
        expected=f"{shown(file)}{notebook}",
        found="; ".join(found),
        cause="the notebook was not run for this run, or a name has a slip",
        fix=", or ".join(fixes) or "alignsd rate --folder with a folder of your own pictures",
    )
