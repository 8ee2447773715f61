"""Your picks, scored: known answers on a small deck, and votes that cannot be used stop nothing."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.images import save_png
from alignsd.choose.deck import deck_of_choices, write_deck
from alignsd.choose.session import Session
from alignsd.reward import your_choices
from alignsd.reward.accuracy import BEST, RANDOM

PREFERRED = {"0": 1, "1": 0, "2": 2}  # question -> the picture that the reader picks


@pytest.fixture
def votes(tmp_path):
    """Return the file of votes of a deck of three questions with three pictures each."""
    folder = tmp_path / "stage" / "hpd"
    rows = []
    for number in range(3):
        files = [f"{number}_{index}.png" for index in range(3)]
        for index, file in enumerate(files):
            grey = 40 * index + number
            save_png(folder / file, np.full((8, 8, 3), grey, np.uint8))
        rows.append({"id": number, "prompt": f"prompt {number}", "file_path": files})
    deck = deck_of_choices("choices", pd.DataFrame(rows), folder, 3, repeats=1, seed=0)
    file = tmp_path / "votes" / "choices.jsonl"
    write_deck(deck, file.with_suffix(".deck.json"))
    return deck, file


def choose(votes, questions, rater="you"):
    deck, file = votes
    session = Session(deck, file, rater)
    for question in questions:
        session.pick(question, PREFERRED[question])
    return file


def test_nobody_has_chosen(votes, tmp_path, capsys):
    assert your_choices.read_your_choices(tmp_path / "none.jsonl") is None
    assert your_choices.read_your_choices(votes[1]) is None
    assert capsys.readouterr().out.count("Nobody has chosen yet") == 2


def test_picks_become_rows_that_can_be_scored(votes):
    yours = your_choices.read_your_choices(choose(votes, ["2", "0"]))
    rows = yours.choices.set_index("id")
    assert set(rows.index) == {"0", "2"}
    assert rows.loc["2", "human_preference"] == 2 and rows.loc["0", "human_preference"] == 1
    assert rows.loc["2", "file_path"] == ["2_0.png", "2_1.png", "2_2.png"]
    assert (yours.folder / "2_0.png").is_file()


def test_skips_repeats_and_damaged_decks_are_left_aside(votes, capsys):
    deck, file = votes
    session = Session(deck, file, "you")
    session.skip("1")
    assert your_choices.read_your_choices(file) is None
    choose(votes, ["0"])
    repeat = next(question for question in deck.questions if question.repeats)
    session.pick(repeat.id, 0)
    assert your_choices.read_your_choices(file).choices["id"].tolist() == ["0"]
    (deck.folder / "0_0.png").unlink()
    capsys.readouterr()
    assert your_choices.read_your_choices(file) is None
    assert "left aside" in capsys.readouterr().out


def test_the_picture_that_most_raters_picked_gets_the_frame(votes):
    deck, file = votes
    for rater, picked in (("Ann", 2), ("Bob", 2), ("Cem", 0)):
        Session(deck, file, rater).pick("0", picked)
    assert your_choices.read_your_choices(file).choices["human_preference"].tolist() == [2]


def scores_of(yours):
    """Return scores of which one names every pick of PREFERRED, and one the last picture."""
    rows = []
    for question in yours.choices["id"]:
        for index in range(3):
            rows.append((question, index, float(index == PREFERRED[question]), float(index)))
    return pd.DataFrame(rows, columns=["id", "index", "knows", "last"]).sample(frac=1)


def test_accuracy_on_your_picks_by_hand(votes):
    yours = your_choices.read_your_choices(choose(votes, ["0", "1", "2"]))
    chances = {"0": np.array([0, 1, 0]), "1": np.array([0, 1, 0]), "2": np.array([0, 0, 1.0])}
    predictors = {"knows": "knows", "last": "last"}
    table = your_choices.accuracy_on_your_choices(yours, scores_of(yours), predictors, chances, 0)
    values = table.set_index("predictor")["value"]
    assert list(values.index) == [RANDOM, "knows", "last", BEST]
    assert values.tolist() == pytest.approx([1 / 3, 1, 1 / 3, 2 / 3])
    assert (table["n"] == 3).all()
    without = your_choices.accuracy_on_your_choices(yours, scores_of(yours), predictors, {}, 0)
    assert BEST not in without["predictor"].tolist()


def test_chances_are_joined_by_message_and_file(votes):
    yours = your_choices.read_your_choices(choose(votes, ["0", "1", "2"]))
    assert your_choices.simulated_chances(yours) == {}, "no table of chances: nobody knows"
    messages = {0: "m0", 1: "m1", 2: "m2"}
    names = ["a.png", "b.png", "c.png"]
    origin = [(number, message, names) for number, message in messages.items()]
    columns = ["id", "message_id", "file_names"]
    pd.DataFrame(origin, columns=columns).to_parquet(yours.folder / "provenance.parquet")
    shares = {"m0": [0.1, 0.2, 0.7], "m1": [0.5, 0.5, 0.0], "m2": [0.2, 0.2, 0.6]}
    rows = [(m, name, p) for m, ps in shares.items() for name, p in zip(names, ps, strict=True)]
    truth = pd.DataFrame(rows, columns=["message_id", "file_name", "p"]).sample(frac=1)
    truth.to_parquet(yours.folder.parent / "truth.parquet")
    chances = your_choices.simulated_chances(yours)
    assert chances["0"] == pytest.approx([0.1, 0.2, 0.7])
    assert chances["2"] == pytest.approx([0.2, 0.2, 0.6])
