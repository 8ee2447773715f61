"""Votes are appended whole, survive a crash and two writers, and are folded by the last event."""

import json
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.choose import votes

PICTURE = np.full((16, 16, 3), 250, dtype=np.uint8)

WRITER = """
import sys
from pathlib import Path
from alignsd.choose import votes
file, rater, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    votes.append(file, {
        "time": votes.now(), "deck": "d", "rater": rater, "question": f"q{number}",
        "event": "pick", "picked": 1, "shown": [1, 0], "seconds": 0.5,
    })
"""


def event(deck, question="c0", kind="pick", picked=2, rater="ann", **change):
    order = list(range(len(deck.question(question).pictures)))[::-1]
    values = {"time": "2026-01-02T03:04:05.678+00:00", "deck": deck.fingerprint, "rater": rater}
    values |= {"question": question, "event": kind, "shown": order, "seconds": 1.5}
    return values | {"picked": picked if kind == "pick" else None} | change


def test_a_pick_becomes_a_row(make_deck, votes_file):
    deck = make_deck(2, repeats=1)
    votes.append(votes_file, event(deck, "c0-again", picked=3))
    table = votes.read_votes(votes_file, deck)
    assert list(table.columns) == list(votes.COLUMNS)
    assert table.iloc[0].to_dict() == {
        "rater": "ann",
        "question": "c0-again",
        "kind": "choice",
        "repeats": "c0",
        "prompt": "prompt 0",
        "picked": 3,
        "shown_at": 0,
        "seconds": 1.5,
        "time": "2026-01-02T03:04:05.678+00:00",
        "shown": (3, 2, 1, 0),
    }


def test_the_last_event_counts_and_undo_opens_the_question(make_deck, votes_file):
    deck = make_deck(4)
    for each in (
        event(deck, "c0", picked=0),
        event(deck, "c1", "skip"),
        event(deck, "c2", picked=1),
        event(deck, "c2", "undo"),
        event(deck, "c0", "undo"),
        event(deck, "c0", picked=3),
        event(deck, "c0", picked=1, rater="bob"),
    ):
        votes.append(votes_file, each)
    table = votes.read_votes(votes_file, deck)
    answers = table[["rater", "question", "picked"]].astype(object).where(table.notna(), None)
    assert answers.to_numpy().tolist() == [
        ["ann", "c1", None],
        ["ann", "c0", 3],
        ["bob", "c0", 1],
    ]
    assert table["picked"].dtype == "Int64" and pd.isna(table["shown_at"][0])


def test_no_file_is_no_vote(make_deck, votes_file):
    table = votes.read_votes(votes_file, make_deck(2))
    assert len(table) == 0 and list(table.columns) == list(votes.COLUMNS)


def test_two_processes_and_threads_lose_no_vote(votes_file):
    command = [sys.executable, "-c", WRITER, str(votes_file)]
    processes = [subprocess.Popen([*command, name, "60"]) for name in ("ann", "bob")]
    event_of_thread = {"time": "t", "deck": "d", "question": "q", "event": "skip"}
    event_of_thread |= {"picked": None, "shown": [0, 1], "seconds": None}

    def write(rater: str) -> None:
        for _ in range(20):
            votes.append(votes_file, event_of_thread | {"rater": rater})

    threads = [threading.Thread(target=write, args=(name,)) for name in ("eve", "joe")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    lines = [json.loads(line) for line in votes_file.read_text().splitlines()]
    counts = pd.Series([line["rater"] for line in lines]).value_counts().to_dict()
    assert counts == {"ann": 60, "bob": 60, "eve": 20, "joe": 20}
    for name in ("ann", "bob"):
        own = [line["question"] for line in lines if line["rater"] == name]
        assert own == [f"q{number}" for number in range(60)]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_cut_off_last_line_does_not_count_and_does_not_harm_the_next(
    make_deck, votes_file, capsys, cut
):
    deck = make_deck(3)
    votes.append(votes_file, event(deck, "c0"))
    votes.append(votes_file, event(deck, "c1"))
    content = votes_file.read_bytes()
    votes_file.write_bytes(content[: -1 - cut])
    assert list(votes.read_votes(votes_file, deck)["question"]) == ["c0"]
    assert "cut off by a crash" in capsys.readouterr().out
    votes.append(votes_file, event(deck, "c2"))
    assert "is taken away" in capsys.readouterr().out
    assert list(votes.read_votes(votes_file, deck)["question"]) == ["c0", "c2"]
    assert capsys.readouterr().out == ""


def test_a_last_line_without_its_end_counts(make_deck, votes_file, capsys):
    deck = make_deck(3)
    votes.append(votes_file, event(deck, "c0"))
    votes_file.write_bytes(votes_file.read_bytes().rstrip(b"\n"))
    assert list(votes.read_votes(votes_file, deck)["question"]) == ["c0"]
    votes.append(votes_file, event(deck, "c1"))
    assert list(votes.read_votes(votes_file, deck)["question"]) == ["c0", "c1"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("no json", "Expecting value"),
        ("[1]", "no object"),
        ('{"time": "t"}', "deck None"),
    ],
)
def test_damage_in_the_middle_is_a_problem_that_names_the_line(
    make_deck, votes_file, damage, found
):
    deck = make_deck(2)
    votes.append(votes_file, event(deck, "c0"))
    with open(votes_file, "a") as file:
        file.write(f"{damage}\n")
    votes.append(votes_file, event(deck, "c1"))
    with pytest.raises(Problem, match="line 2 of") as error:
        votes.read_votes(votes_file, deck)
    assert found in error.value.found


@pytest.mark.parametrize(
    "change",
    [
        {"event": "choose"},
        {"picked": 4},
        {"picked": None},
        {"picked": True},
        {"event": "skip"},
        {"shown": None},
        {"seconds": "soon"},
        {"rater": 7},
    ],
)
def test_what_is_no_event_is_never_written(make_deck, votes_file, change):
    deck = make_deck(2)
    with pytest.raises(Problem, match="no event"):
        votes.append(votes_file, event(deck) | change)
    assert not votes_file.exists()


def test_an_event_that_does_not_fit_the_deck_is_a_problem(make_deck, votes_file):
    deck = make_deck(2)
    votes.append(votes_file, event(deck) | {"question": "c9"})
    with pytest.raises(Problem, match="do not fit") as error:
        votes.read_votes(votes_file, deck)
    assert "c9" in error.value.found


def test_votes_for_other_pictures_do_not_count_and_are_told(make_deck, votes_file, capsys):
    deck = make_deck(2)
    votes.append(votes_file, event(deck, "c0"))
    save_png(deck.folder / "c0_0.png", PICTURE)
    anew = make_deck(2, pictures=3)
    assert anew.fingerprint != deck.fingerprint
    votes.append(votes_file, event(anew, "c1", picked=0))
    assert list(votes.read_votes(votes_file, anew)["question"]) == ["c1"]
    assert "1 of 2 events" in capsys.readouterr().out


def test_a_full_disk_leaves_no_piece_of_a_line(make_deck, votes_file, monkeypatch):
    deck = make_deck(2)
    votes.append(votes_file, event(deck, "c0"))
    before = votes_file.read_bytes()
    write = votes.os.write
    monkeypatch.setattr(votes.os, "write", lambda file, line: write(file, line[:30]))
    with pytest.raises(Problem, match="cannot be written"):
        votes.append(votes_file, event(deck, "c1"))
    assert votes_file.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_problem(make_deck, tmp_path):
    (tmp_path / "votes").write_text("a file")
    with pytest.raises(Problem, match="cannot be written"):
        votes.append(tmp_path / "votes" / "choices.jsonl", event(make_deck(1)))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "\ud800"])
def test_a_rater_needs_a_name(name):
    with pytest.raises(Problem, match="name of a rater"):
        votes.check_rater(name)
    assert votes.check_rater("Zoë <b>") == "Zoë <b>"
