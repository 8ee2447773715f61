"""A guess is kept and shown beside the result."""

import math

import ipywidgets
import pytest

from alignsd.base.errors import Problem
from alignsd.teach import guess, live


@pytest.fixture
def widgets(monkeypatch):
    """A reader at a notebook."""
    monkeypatch.setenv(live.WIDGETS, "1")


@pytest.fixture
def no_widgets(monkeypatch):
    monkeypatch.setenv(live.WIDGETS, "0")


def control(question: guess.Guess, kind: type) -> ipywidgets.ValueWidget:
    """Return the control that a notebook shows for a question."""
    question._repr_mimebundle_()
    return next(child for child in question._shown().children if isinstance(child, kind))


def test_a_number_is_guessed_and_revealed(widgets):
    question = guess.number("What share of the clicks is careless?", 0, 100, "%")
    slider = control(question, ipywidgets.FloatSlider)
    assert (slider.min, slider.max, slider.value) == (0, 100, 50)
    slider.value = 20
    assert question.value == 20
    revealed = question.reveal(33.123)
    assert repr(revealed) == "Your guess: 20 %. This run: 33.1 %."
    html = revealed._repr_html_()
    assert "your guess" in html and "this run" in html and "<svg" in html


def test_an_untouched_slider_is_no_guess(widgets):
    question = guess.number("How many?", 0, 10)
    control(question, ipywidgets.FloatSlider)
    assert question.value is None
    assert repr(question.reveal(7)) == "This run: 7. You made no guess."


def test_a_guess_stays_when_the_question_is_shown_again(widgets):
    question = guess.number("How many?", 0, 10)
    control(question, ipywidgets.FloatSlider).value = 3
    assert control(question, ipywidgets.FloatSlider).value == 3
    assert "Your guess: 3" in question._shown().children[-1].value


def test_an_option_is_guessed_and_revealed(widgets):
    question = guess.one_of("Which is best?", ["CLIP", "HPS"])
    radio = control(question, ipywidgets.RadioButtons)
    assert radio.value is None
    radio.value = "CLIP"
    assert repr(question.reveal("HPS")) == (
        "Your guess: CLIP. This run: HPS. Your guess is not what happened here."
    )
    assert repr(question.reveal("CLIP")) == (
        "Your guess: CLIP. This run: CLIP. Your guess is right."
    )


def test_a_batch_shows_the_question_and_the_result_without_a_guess(no_widgets):
    question = guess.one_of("Which is best?", ["CLIP", "HPS"])
    bundle = question._repr_mimebundle_()
    assert bundle.keys() == {"text/html", "text/plain"}
    for content in bundle.values():
        assert "Which is best?" in content and "CLIP" in content and "HPS" in content
    assert repr(question.reveal("HPS")) == "This run: HPS. You made no guess."
    number = guess.number("What share?", 0, 100, "%")
    assert "from 0 % to 100 %" in number._repr_mimebundle_()["text/plain"]


def test_text_of_the_reader_is_escaped_and_no_formula(no_widgets):
    question = guess.one_of("Costs <b>$1</b> or $2?", ["<i>$1</i>", "$2"])
    html = question._repr_mimebundle_()["text/html"]
    assert "<i>" not in html and "&lt;b&gt;$1" in html and "mathjax_ignore" in html
    html = question.reveal("<i>$1</i>")._repr_html_()
    assert "<i>" not in html and "&lt;i&gt;$1" in html and "mathjax_ignore" in html


def test_a_result_outside_of_the_scale_is_drawn_on_a_longer_scale():
    html = guess.number("How many?", 0, 10).reveal(25)._repr_html_()
    assert "A scale from 0 to 25." in html


def test_a_run_without_a_number_says_so():
    assert repr(guess.number("How many?", 0, 10).reveal(math.nan)) == "This run gave no number."


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (33.123, "33.1"),
        (20.0, "20"),
        (0.012345, "0.0123"),
        (-0.5, "-0.5"),
        (0, "0"),
        (999.4, "999"),
        (999.7, "1,000"),
        (2184, "2,184"),
        (9.996, "10"),
        (100, "100"),
    ],
)
def test_numbers_have_three_digits(value, digits):
    assert guess.in_digits(value) == digits


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: guess.number("How many?", 10, 0),
        lambda: guess.number("How many?", 0, math.inf),
        lambda: guess.number("How many?", 0, 10, step=0),
        lambda: guess.one_of("Which?", ["one"]),
        lambda: guess.one_of("Which?", ["one", "one"]),
        lambda: guess.one_of("Which?", ["one", "two"]).reveal("three"),
        lambda: guess.number("How many?", 0, 10).reveal("three"),
    ],
)
def test_mistakes_of_a_notebook_are_told(wrong):
    with pytest.raises(Problem):
        wrong()
