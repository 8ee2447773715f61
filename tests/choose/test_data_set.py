"""Picks become an HPD v1 data set that the kit reads like any other."""

import numpy as np
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.choose import data_set, votes
from alignsd.choose.questions import Deck, Question
from alignsd.choose.session import Session
from alignsd.collect import hpd


@pytest.fixture
def deck(tmp_path):
    """Eight choices whose pictures have the grey level 60 x index, a repeat, a pair, a check."""
    folder = tmp_path / "pictures"
    for index in range(4):
        save_png(folder / f"{index}.png", np.full((8, 8, 3), 60 * index, dtype=np.uint8))
    files = tuple(f"{index}.png" for index in range(4))
    choices = [Question(f"c{number}", f"prompt {number}", files) for number in range(8)]
    others = [
        Question("c0-again", "prompt 0", files, repeats="c0"),
        Question("pair", "a pair", files[:2], "study"),
        Question("check-0", "a check", files[:2], "check", right=0),
    ]
    return Deck("choices", folder, (*choices, *others))


def answered(deck, file, raters=("ann",)):
    """Let raters pick picture ``number % 4`` of question ``c<number>``, and skip question c7."""
    for rater in raters:
        session = Session(deck, file, rater)
        for question in session.order:
            if question.id == "c7":
                session.skip(question.id)
                continue
            digits = [int(letter) for letter in question.id if letter.isdigit()]
            number = digits[0] if digits else 0
            session.pick(question.id, number % len(question.pictures))
    return votes.read_votes(file, deck)


def test_picks_are_read_as_choices_in_the_order_that_was_seen(deck, votes_file, tmp_path):
    table = answered(deck, votes_file)
    counts = data_set.write_hpd(deck, table, tmp_path / "hpd")
    assert counts == {
        "choices": 7,
        data_set.SKIPPED: 1,
        data_set.REPEATED: 1,
        data_set.PAIRS: 1,
        data_set.CHECKS: 1,
    }
    for split in ("random", "grouped"):
        rows = hpd.read_choices(tmp_path / "hpd", "test", split)
        assert sorted(rows["prompt"]) == [f"prompt {number}" for number in range(7)]
    places = Session(deck, votes_file, "ann").places
    for row in rows.itertuples():
        number = int(row.prompt.split()[1])
        assert row.human_preference == places[f"c{number}"].index(number % 4)
        levels = [read_image(tmp_path / "hpd" / name).mean() for name in row.file_path]
        assert np.allclose(levels, [60 * index for index in places[f"c{number}"]], atol=2)
    assert not (tmp_path / "hpd" / "preference_train.json").exists()


def test_raters_are_hidden_behind_keyed_hashes(deck, votes_file, tmp_path):
    table = answered(deck, votes_file, ("ann", "bob"))
    data_set.write_hpd(deck, table, tmp_path / "hpd")
    rows = hpd.read_choices(tmp_path / "hpd", "test")
    hashes = set(rows["user_hash"])
    assert len(rows) == 14 and len(hashes) == 2 and all(len(each) == 64 for each in hashes)
    written = "".join(path.read_text() for path in (tmp_path / "hpd").glob("*.json"))
    assert "ann" not in written and "bob" not in written
    data_set.write_hpd(deck, table, tmp_path / "hpd")
    assert set(hpd.read_choices(tmp_path / "hpd", "test")["user_hash"]) == hashes
    data_set.write_hpd(deck, table, tmp_path / "other", keys=tmp_path / "secret")
    assert not hashes & set(hpd.read_choices(tmp_path / "other", "test")["user_hash"])
    assert (tmp_path / "secret" / "user.key").exists()


def test_two_parts_to_train_from(deck, votes_file, tmp_path):
    data_set.write_hpd(deck, answered(deck, votes_file), tmp_path / "hpd", test_share=0.3)
    for split in ("random", "grouped"):
        sizes = [len(hpd.read_choices(tmp_path / "hpd", part, split)) for part in ("train", "test")]
        assert sizes == [5, 2]


def test_no_pick_and_a_foreign_folder_are_problems(deck, votes_file, tmp_path):
    with pytest.raises(Problem, match="no pick"):
        data_set.write_hpd(deck, votes.read_votes(votes_file, deck), tmp_path / "hpd")
    Session(deck, votes_file).skip("c1")
    with pytest.raises(Problem) as error:
        data_set.write_hpd(deck, votes.read_votes(votes_file, deck), tmp_path / "hpd")
    assert error.value.found == "no pick; left out: 1 skipped questions"
    table = answered(deck, votes_file)
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "preference_test.json").write_text("[]")
    with pytest.raises(Problem, match="another data set"):
        data_set.write_hpd(deck, table, tmp_path / "released")
