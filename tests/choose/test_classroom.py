"""What ``alignsd rate`` opens, and what it says."""

from pathlib import Path

import numpy as np
import pytest
from votes_tables import study

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.base.paths import votes_file
from alignsd.choose import classroom
from alignsd.choose.deck import write_deck
from alignsd.choose.raters import BadName, Names, Taken, checked_name
from alignsd.choose.rating import BadAnswer, Rating
from alignsd.choose.server import is_loopback, own_address


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    """Runs lie in a folder of the test."""
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(tmp_path))


@pytest.fixture
def rating(tmp_path):
    """A study of three pairs with a check, in the run ``trial``."""
    votes = votes_file("trial", "study")
    return Rating(study(tmp_path / "pictures", 3, checks=1), votes, "trial")


@pytest.mark.parametrize(("name", "notebook"), [("choices", "01"), ("study", "07")])
def test_a_run_without_a_deck_names_the_notebook(name, notebook):
    with pytest.raises(Problem) as caught:
        classroom.open_rating("class-7b", name)
    text = str(caught.value)
    assert f"class-7b/votes/{name}.deck.json, which notebook {notebook} makes" in text
    assert f"run --preset mini --run class-7b --force {notebook}" in text


def test_a_deck_of_another_run_is_pointed_at(rating):
    write_deck(rating.deck, classroom.deck_file(rating.votes))
    with pytest.raises(Problem) as caught:
        classroom.open_rating("mini", "study")
    assert "runs with a deck study: trial" in caught.value.found
    assert caught.value.fix.startswith("alignsd rate --run trial --deck study, or ")
    with pytest.raises(Problem) as caught:
        classroom.open_rating("trial", "stduy")
    assert caught.value.fix == "alignsd rate --run trial --deck study"
    opened = classroom.open_rating("trial", "study")
    assert opened.deck.fingerprint == rating.deck.fingerprint and opened.run == "trial"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("cats", "own-cats"), ("study", "own-study"), ("my cats (2)", "own-my-cats-2"), ("猫", None)],
)
def test_a_folder_never_takes_the_place_of_a_notebooks_deck(tmp_path, folder, name):
    assert classroom.name_of_folder(tmp_path / folder) == (name or "own-pictures")


def test_a_second_folder_of_the_same_name_does_not_take_the_first_one_s_votes(tmp_path):
    for place, prompt in (("a", "a cat"), ("b", "a dog")):
        for number in (0, 1):
            picture = np.full((8, 8, 3), 9 * number, dtype=np.uint8)
            save_png(tmp_path / place / "pictures" / prompt / f"{number}.png", picture)
    first = classroom.open_rating("mini", "study", tmp_path / "a/pictures")
    assert classroom.open_rating("mini", "study", tmp_path / "a/pictures").deck == first.deck
    with pytest.raises(Problem, match="Another folder has the deck own-pictures") as caught:
        classroom.open_rating("mini", "study", tmp_path / "b/pictures")
    assert "a/pictures" in caught.value.found and "b/pictures" in caught.value.fix
    assert classroom.open_rating("trial", "study", tmp_path / "b/pictures").deck != first.deck


def test_a_browser_learns_neither_names_of_files_nor_kinds_of_questions(rating):
    codes = set()
    for _ in range(len(rating.deck.questions)):
        view = rating.view("ann")
        told = repr(view)
        secrets = ("original", "adapted", "scrambled", "check", "again", ".png", "p0", "p1", "p2")
        assert not any(secret in told for secret in secrets)
        assert [picture["index"] for picture in view["pictures"]] == [0, 1]
        codes |= {picture["file"] for picture in view["pictures"]}
        rating.answer("ann", {"event": "skip", "question": view["question"]})
    assert {rating.picture(code).name for code in codes} >= {"p0.png", "p1.png", "p2.png"}
    assert rating.picture("0" * 16) is None


def test_a_pick_is_of_the_picture_in_the_place_that_the_rater_saw(rating):
    session = rating._session("ann")
    first = session.view()["pictures"]
    view = rating.view("ann")
    rating.answer("ann", {"event": "pick", "question": view["question"], "picked": 1})
    assert list(session.folded()["picked"]) == [first[1]["index"]]


def test_codes_stay_the_same_when_the_server_starts_again(rating):
    again = Rating(rating.deck, rating.votes, "trial")
    assert again.view("ann") == rating.view("ann")


def test_progress_and_summary_count_what_is_in_the_file(rating):
    assert "Nobody has voted" in classroom.summary(rating)
    for rater, answers in (("ann", 4), ("bob", 2)):
        for number in range(answers):
            view = rating.view(rater)
            event = {"event": "skip" if number == 0 else "pick", "picked": 0}
            rating.answer(rater, event | {"question": view["question"]})
    progress = rating.progress()
    assert (progress.raters, progress.finished, progress.picks, progress.skips) == (2, 1, 4, 2)
    text = classroom.summary(rating)
    assert "2 raters, of whom 1 finished; 4 votes, 2 skipped." in text
    assert 'votes_file("trial", "study")' in text and "ann" not in text


def test_answers_that_are_none(rating):
    with pytest.raises(BadAnswer, match="no object"):
        rating.answer("ann", ["pick"])
    with pytest.raises(BadAnswer, match="no question"):
        rating.answer("ann", {"event": "pick", "question": "p0", "picked": 0})


def test_one_spelling_of_a_name():
    decomposed = "Zoe\u0308"
    assert checked_name(f"  {decomposed} ") == "Zoë"
    for bad in ("", "a b", "a/b", "-a", "_a", "x" * 41, "you", "a\u202eb", "a;b", "😀"):
        with pytest.raises(BadName):
            checked_name(bad)


def test_a_name_is_taken_once_whatever_its_capitals(tmp_path):
    names = Names(tmp_path / "votes/study.raters.json")
    assert names.spelling("ann") is None and not names.free("ann")
    token = names.claim("Ann")
    with pytest.raises(Taken):
        names.claim("ann")
    assert names.spelling("ANN") == "Ann"
    assert names.is_owner("ann", token) and not names.is_owner("ann", token[:-1])
    assert not names.is_owner("ann", None) and not names.is_owner("bob", token)
    assert names.free("aNN") and not names.is_owner("ann", token)
    assert names.claim("ann") != token


def test_a_name_that_cannot_be_freed_is_told():
    with pytest.raises(Problem, match="name of a rater"):
        classroom.free("trial", "study", "a/b")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_only_loopback_counts_as_this_machine_alone(host, expected):
    assert is_loopback(host) is expected


def test_the_address_for_other_machines_is_no_placeholder():
    assert own_address("192.168.1.5") == "192.168.1.5"
    assert own_address("0.0.0.0") not in ("", "0.0.0.0")


def test_an_open_address_says_what_that_means(rating):
    text = classroom._addresses("0.0.0.0", 8765, rating)
    assert text.startswith("Raters open http://") and "not encrypted" in text
    closed = classroom._addresses("127.0.0.1", 8765, rating)
    assert "No other machine" in closed and "--host 0.0.0.0" in closed
    assert Path(rating.votes).name == "study.jsonl"
