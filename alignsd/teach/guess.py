"""Guess first, then look: a question before a result, and the guess beside the result."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alignsd.base.errors import Problem
from alignsd.base.plotting.colours import BLUE, ORANGE
from alignsd.kit.views import NO_FORMULAS, readable
from alignsd.teach import live

if TYPE_CHECKING:
    from ipywidgets import DOMWidget, ValueWidget

ASK = "Make your guess, then go on."
STEPS = 100  # of a slider, unless the step is given
WIDTH, HEIGHT = 460, 62  # pixels of the drawn scale
LEFT, RIGHT, LINE = 30, 430, 31  # where the scale's line begins, ends and lies
Answer = float | str


class Guess:
    """A question and the reader's guess. A notebook shows the question and a control.

    ``number`` and ``one_of`` make guesses.

    Args:
        question: what the reader guesses.
        choices: the scale or the options, which know how they are shown.
    """

    def __init__(self, question: str, choices: "Scale | Options") -> None:
        self.question = readable(question)
        self._choices = choices
        self._control: ValueWidget | None = None
        self._widget: DOMWidget | None = None
        self._is_made = False

    @property
    def value(self) -> Answer | None:
        """The reader's guess, or None as long as the reader has not touched the control."""
        if self._control is None or not self._is_made:
            return None
        value: Answer = self._control.value
        return value

    def reveal(self, truth: Answer) -> "Revealed":
        """Return the result beside the guess, for the notebook to show.

        Args:
            truth: the result: a number in the scale's unit, or one of the options.

        Raises:
            Problem: if the result is not one of the options, or no number.
        """
        return self._choices.revealed(truth, self.value)

    def __repr__(self) -> str:
        return "\n".join([self.question, *self._choices.lines(), ASK])

    def _repr_mimebundle_(self, **wishes: Any) -> live.Bundle:
        lines = [f"<b>{html.escape(self.question)}</b>"]
        lines += [html.escape(line) for line in self._choices.lines()]
        return live.bundle(self._shown, _paragraph([*lines, ASK]), repr(self))

    def _shown(self) -> "DOMWidget":
        """Return the question with the control. The guess stays when a cell shows it again."""
        from ipywidgets import HTML, VBox

        if self._widget is None:
            question = HTML(_paragraph([f"<b>{html.escape(self.question)}</b>"]))
            self._control = self._choices.control()
            said = HTML(_paragraph([ASK]))
            self._control.observe(lambda change: self._take(said), "value")
            self._widget = VBox([question, self._control, said])
        return self._widget

    def _take(self, said: Any) -> None:
        """Note that the reader has made a guess, and say so below the control."""
        self._is_made = True
        words = f"Your guess: {self._choices.spoken(self.value)}. Go on to the next cell."
        said.value = _paragraph([html.escape(words)])


def number(
    question: str, low: float, high: float, unit: str = "", step: float | None = None
) -> Guess:
    """Ask for a number with a slider.

    Args:
        question: what the reader guesses.
        low, high: ends of the slider, in ``unit``.
        unit: such as ``"%"``; empty for a plain number.
        step: of the slider; None divides the slider into 100 steps.

    Raises:
        Problem: if the slider has no length, or the step is not above 0.
    """
    return Guess(question, Scale(low, high, readable(unit), step))


def one_of(question: str, options: Sequence[str]) -> Guess:
    """Ask for one of several answers with radio buttons.

    Raises:
        Problem: if there are fewer than two options, or two are the same.
    """
    return Guess(question, Options(options))


class Scale:
    """The numbers that a reader may guess, from ``low`` to ``high``."""

    def __init__(self, low: float, high: float, unit: str, step: float | None) -> None:
        if not -math.inf < low < high < math.inf:
            raise Problem(
                "The scale of a guess has no length.",
                expected="two numbers, low < high",
                found=f"low = {low!r}, high = {high!r}",
                cause="the two were exchanged",
                fix='guess.number("How many?", low=0, high=100)',
            )
        if step is not None and not 0 < step < math.inf:
            raise Problem(
                "The step of a guess is no step.",
                expected="a number above 0, or None",
                found=f"step = {step!r}",
                cause="a slip in the call",
                fix='guess.number("How many?", low=0, high=100, step=1)',
            )
        self.low, self.high, self.unit, self.step = low, high, unit, step

    def lines(self) -> list[str]:
        """Return what may be guessed, in words."""
        return [f"Any number from {self.spoken(self.low)} to {self.spoken(self.high)}."]

    def spoken(self, value: Any) -> str:
        """Return a number with its unit, such as ``33.1 %``."""
        return f"{in_digits(value)} {self.unit}".rstrip()

    def control(self) -> "ValueWidget":
        """Return a slider that starts in the middle."""
        from ipywidgets import FloatSlider, Layout

        step = self.step or (self.high - self.low) / STEPS
        slider = FloatSlider(
            min=self.low,
            max=self.high,
            step=step,
            value=self.low + step * round((self.high - self.low) / 2 / step),
            readout_format=_slider_format(step),
            layout=Layout(width="420px", max_width="95%"),
        )
        return slider

    def revealed(self, truth: Any, guess: Any) -> "Revealed":
        """Return a number beside the guess, on a drawn scale."""
        if isinstance(truth, str):
            raise Problem(
                "The result is no number.",
                expected=f"a number, in {self.unit or 'the unit of the question'}",
                found=repr(truth),
                cause="a text was given for a question with a slider",
                fix="give reveal(...) a number, or ask with guess.one_of(...)",
            )
        truth = float(truth)
        if not math.isfinite(truth):
            return Revealed("This run gave no number.", "")
        known = f"This run: {self.spoken(truth)}."
        drawing = _drawn_scale(self, truth, guess)
        if guess is None:
            return Revealed(f"{known} You made no guess.", drawing)
        return Revealed(f"Your guess: {self.spoken(guess)}. {known}", drawing)


class Options:
    """The answers of which a reader may guess one."""

    def __init__(self, options: Sequence[str]) -> None:
        self.options = [readable(option) for option in options]
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise Problem(
                "A guess needs options that differ.",
                expected="two options or more, each once",
                found=repr(list(options))[:200],
                cause="an option is missing, or stands there twice",
                fix='guess.one_of("Which is larger?", ["the first", "the second"])',
            )

    def lines(self) -> list[str]:
        """Return what may be guessed, a line per option."""
        return [f"({number}) {option}" for number, option in enumerate(self.options, 1)]

    def spoken(self, value: Any) -> str:
        """Return an option."""
        return str(value)

    def control(self) -> "ValueWidget":
        """Return radio buttons of which none is pressed."""
        from ipywidgets import Layout, RadioButtons

        return RadioButtons(options=self.options, value=None, layout=Layout(width="95%"))

    def revealed(self, truth: Any, guess: Any) -> "Revealed":
        """Return the right option beside the guess."""
        right = readable(truth)
        if right not in self.options:
            raise Problem(
                "The result is not one of the options of the question.",
                expected=", ".join(map(repr, self.options)),
                found=repr(right),
                cause="the option is written in another way",
                fix="give reveal(...) the text of one option",
            )
        if guess is None:
            return Revealed(f"This run: {right}. You made no guess.", "")
        verdict = "right" if guess == right else "not what happened here"
        return Revealed(f"Your guess: {guess}. This run: {right}. Your guess is {verdict}.", "")


class Revealed:
    """A result beside the guess; a notebook shows a sentence, and a scale for a number.

    Attributes:
        text: the sentence.
    """

    def __init__(self, text: str, drawing: str) -> None:
        self.text = text
        self._drawing = drawing

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return _paragraph([f"<b>{html.escape(self.text)}</b>"]) + self._drawing


def in_digits(value: float) -> str:
    """Return a number with three significant digits, and all digits of whole thousands."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.2e}")))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _slider_format(step: float) -> str:
    """Return a format that shows every step of a slider."""
    return f".{max(0, math.ceil(-math.log10(step) - 1e-9))}f"


def _paragraph(lines: Sequence[str]) -> str:
    """Return lines of HTML as one paragraph in which dollar signs are no formulas."""
    style = "margin: 0.2em 0; line-height: 1.4"
    return f'<div class="{NO_FORMULAS}" style="{style}">{"<br>".join(lines)}</div>'


def _drawn_scale(scale: Scale, truth: float, guess: float | None) -> str:
    """Return an SVG of the scale with the guess above the line and the result below."""
    marks = [truth] if guess is None else [truth, guess]
    low, high = min(scale.low, *marks), max(scale.high, *marks)

    def place(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - low) / (high - low)

    line = f'<path d="M{LEFT} {LINE}H{RIGHT}" stroke="currentColor" stroke-width="1.5"/>'
    parts = [line]
    for end in (low, high):
        parts.append(_tick(place(end), scale.spoken(end)))
    if guess is not None:
        parts.append(_mark(place(guess), -1, ORANGE, "your guess"))
    parts.append(_mark(place(truth), 1, BLUE, "this run"))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    said = f"A scale from {scale.spoken(low)} to {scale.spoken(high)}."
    about = f'role="img" aria-label="{html.escape(said)}"'
    look = 'style="max-width: 100%; font-family: sans-serif; font-size: 12px"'
    drawing = f"<svg {size} {about} {look}>{''.join(parts)}</svg>"
    return f'<div class="{NO_FORMULAS}">{drawing}</div>'


def _tick(x: float, words: str) -> str:
    """Return a tick at an end of the scale, with its number."""
    tick = f'<path d="M{x:.1f} {LINE - 5}v10" stroke="currentColor" stroke-width="1.5"/>'
    is_left = x < WIDTH / 2
    anchor, at = ("start", 2) if is_left else ("end", WIDTH - 2)
    label = f'<text x="{at}" y="{HEIGHT - 4}" text-anchor="{anchor}" fill="currentColor">'
    return f"{tick}{label}{html.escape(words)}</text>"


def _mark(x: float, side: int, colour: str, words: str) -> str:
    """Return a triangle that points at the line from above (-1) or below (1), with words."""
    points = f"{x:.1f},{LINE} {x - 6:.1f},{LINE + 11 * side} {x + 6:.1f},{LINE + 11 * side}"
    near_end = min(max(x, 40), WIDTH - 40)
    y = LINE + 24 if side > 0 else LINE - 15
    label = f'<text x="{near_end:.1f}" y="{y}" text-anchor="middle" fill="currentColor">'
    return f'<polygon points="{points}" fill="{colour}"/>{label}{words}</text>'
