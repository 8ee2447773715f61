"""A sitting resumes where the rater stopped, hides what must be hidden, and goes back."""

from collections import Counter

import numpy as np
import pytest

from alignsd.base.errors import Problem
from alignsd.choose.session import APART, Session, question_order


def answer_all(session):
    """Pick the first picture in sight until all questions are answered; return the questions."""
    asked = []
    while not session.view()["done"]:
        view = session.view()
        asked.append(view["question"])
        session.pick(view["question"], view["pictures"][0]["index"])
    return asked


def test_the_view_holds_what_the_chooser_draws(make_deck, votes_file):
    session = Session(make_deck(6), votes_file)
    view = session.view()
    assert set(view) == {
        *("done", "number", "total", "question", "prompt", "pictures", "can_undo", "upcoming")
    }
    assert (view["done"], view["number"], view["total"]) == (False, 1, 6)
    assert view["can_undo"] is False and len(view["upcoming"]) == 8
    question = session.deck.question(view["question"])
    assert view["prompt"] == question.prompt
    assert [each["label"] for each in view["pictures"]] == [
        f"Picture {place} of 4" for place in (1, 2, 3, 4)
    ]
    for each in view["pictures"]:
        assert question.pictures[each["index"]] == each["file"]
    assert sorted(each["index"] for each in view["pictures"]) == [0, 1, 2, 3]


def test_picks_are_kept_and_the_end_is_told(make_deck, votes_file):
    session = Session(make_deck(3), votes_file)
    asked = answer_all(session)
    assert sorted(asked) == ["c0", "c1", "c2"]
    view = session.view()
    assert view["done"] and view["number"] == view["total"] == 3
    assert view["pictures"] == [] and view["question"] == "" and view["can_undo"]
    table = session.folded()
    assert list(table["question"]) == asked and (table["shown_at"] == 0).all()
    assert (table["seconds"] >= 0).all() and (table["rater"] == "you").all()


def test_another_session_continues_in_the_same_order(make_deck, votes_file):
    deck = make_deck(8)
    first = Session(deck, votes_file)
    start = first.view()
    first.pick(start["question"], 2)
    first.skip(first.view()["question"])
    resumed = Session(deck, votes_file)
    assert resumed.view() == first.view() and resumed.view()["number"] == 3
    table = resumed.folded()
    assert table["picked"].isna().tolist() == [False, True]


def test_undo_goes_back_across_a_reload(make_deck, votes_file):
    deck = make_deck(3)
    first = Session(deck, votes_file)
    asked = answer_all(first)
    reloaded = Session(deck, votes_file)
    reloaded.undo()
    assert reloaded.view()["question"] == asked[-1]
    reloaded.undo()
    assert reloaded.view()["question"] == asked[-2] and first.view()["number"] == 2
    first.pick(asked[-2], 3)
    assert reloaded.folded()["picked"].tolist()[-1] == 3
    for _ in range(5):
        reloaded.undo()
    assert len(reloaded.folded()) == 0 and not reloaded.view()["can_undo"]


def test_an_answered_question_keeps_its_answer(make_deck, votes_file):
    deck = make_deck(2)
    tab, other_tab = Session(deck, votes_file), Session(deck, votes_file)
    question = tab.view()["question"]
    assert other_tab.view()["question"] == question
    tab.pick(question, 1)
    other_tab.pick(question, 0)
    other_tab.skip(question)
    assert other_tab.folded()["picked"].tolist() == [1]
    assert len(votes_file.read_text().splitlines()) == 1
    assert other_tab.view()["question"] != question


def test_the_order_is_each_raters_own(make_deck, votes_file):
    deck = make_deck(12)
    orders = [
        [question.id for question in Session(deck, votes_file, rater, seed).order]
        for rater, seed in (("ann", 0), ("ann", 0), ("bob", 0), ("ann", 1))
    ]
    assert orders[0] == orders[1] and len(set(map(tuple, orders))) == 3
    places = [Session(deck, votes_file, rater).places for rater in ("ann", "ann", "bob")]
    assert places[0] == places[1] != places[2]


def test_each_picture_stands_in_each_place_equally_often(make_deck, votes_file):
    deck = make_deck(10)
    counts = np.zeros((4, 4))
    for number in range(60):
        for order in Session(deck, votes_file, f"rater {number}").places.values():
            counts[range(4), order] += 1
    # 600 draws: a share of 1/4 has a standard error of 0.018.
    assert np.abs(counts / 600 - 0.25).max() < 0.08


@pytest.mark.parametrize(("pairs", "repeats"), [(8, 0), (7, 4), (6, 3)])
def test_the_sides_of_a_study_are_balanced_within_a_rater(make_deck, votes_file, pairs, repeats):
    deck = make_deck(0, pairs=pairs, repeats=repeats)
    sides_of_first = Counter()
    for number in range(40):
        session = Session(deck, votes_file, f"rater {number}")
        for repeated in (False, True):
            questions = [q.id for q in deck.questions if bool(q.repeats) == repeated]
            left = sum(session.places[name] == (0, 1) for name in questions)
            assert abs(2 * left - len(questions)) <= 1
        sides_of_first[session.places["s0"]] += 1
    assert set(sides_of_first) == {(0, 1), (1, 0)} and min(sides_of_first.values()) >= 8


@pytest.mark.parametrize(("choices", "repeats"), [(12, 4), (6, 6), (5, 1), (20, 10)])
def test_a_repeat_stands_away_from_what_it_repeats(make_deck, votes_file, choices, repeats):
    deck = make_deck(choices, repeats=repeats)
    for number in range(30):
        order = [question.id for question in Session(deck, votes_file, f"rater {number}").order]
        assert sorted(order) == sorted(question.id for question in deck.questions)
        for question in deck.questions:
            if question.repeats:
                distance = abs(order.index(question.id) - order.index(question.repeats))
                assert distance > APART - (choices < 7)


def test_two_questions_and_a_repeat_leave_one_order(make_deck):
    deck = make_deck(2, repeats=1)
    for seed in range(10):
        order = [question.id for question in question_order(deck, np.random.default_rng(seed))]
        assert order in (["c0", "c1", "c0-again"], ["c0-again", "c1", "c0"])


def test_wrong_answers_are_problems_and_leave_no_trace(make_deck, votes_file):
    session = Session(make_deck(2), votes_file)
    for picked in (4, -1, True, "0", None):
        with pytest.raises(Problem, match="no such picture"):
            session.pick("c0", picked)
    for act in (lambda: session.pick("c9", 0), lambda: session.skip("c9")):
        with pytest.raises(Problem, match="no such question"):
            act()
    assert not votes_file.exists()
    with pytest.raises(Problem, match="name of a rater"):
        Session(session.deck, votes_file, "")


def test_a_note_is_told_once(make_deck, votes_file, capsys):
    old = make_deck(2)
    Session(old, votes_file).pick("c0", 0)
    session = Session(make_deck(2, pictures=2), votes_file)
    for _ in range(3):
        session.view()
    session.folded()
    assert capsys.readouterr().out.count("do not count") == 1
