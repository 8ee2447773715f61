"""A figure that follows sliders: the reader moves a threshold, and sees what changes.

Without a person at the notebook the figure is drawn once, at the sliders' first values.
"""

import asyncio
import base64
import html
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from alignsd.base.errors import Problem
from alignsd.kit.views import NO_FORMULAS, readable
from alignsd.teach import live

if TYPE_CHECKING:
    from ipywidgets import DOMWidget, ValueWidget

Value = float | str
PAUSE = 0.05  # seconds: changes that follow each other faster are drawn once
LABEL_WIDTH = "150px"
CONTROL_WIDTH = "520px"


@dataclass(frozen=True)
class Slider:
    """A number that the reader moves.

    Attributes:
        low, high: ends of the slider.
        step: smallest change.
        value: where the slider starts. Four whole numbers make a slider of whole numbers.
        label: words before the slider; empty for the name in the call of ``explore``.

    Raises:
        Problem: if the slider has no length, the step is not above 0, or the value lies outside.
    """

    low: float
    high: float
    step: float
    value: float
    label: str = ""

    def __post_init__(self) -> None:
        has_length = -math.inf < self.low < self.high < math.inf
        if has_length and 0 < self.step < math.inf and self.low <= self.value <= self.high:
            return
        raise Problem(
            "A slider has no such values.",
            expected="low <= value <= high, low < high, and a step above 0",
            found=repr(self),
            cause="two values were exchanged",
            fix="sliders.Slider(low=1, high=3.5, step=0.1, value=2)",
        )

    def control(self, label: str) -> "ValueWidget":
        """Return the slider of a notebook."""
        from ipywidgets import FloatSlider, IntSlider, Layout

        numbers = (self.low, self.high, self.step, self.value)
        is_whole = all(isinstance(number, int) for number in numbers)
        kind = IntSlider if is_whole else FloatSlider
        decimals = max(0, math.ceil(-math.log10(self.step) - 1e-9))
        return kind(
            min=self.low,
            max=self.high,
            step=self.step,
            value=self.value,
            description=label,
            readout_format="d" if is_whole else f".{decimals}f",
            style={"description_width": LABEL_WIDTH},
            layout=Layout(width=CONTROL_WIDTH, max_width="95%"),
        )

    def in_words(self, label: str) -> str:
        """Return what the slider does, such as ``alpha (1 to 3.5), here 2``."""
        return f"{label} ({self.low:g} to {self.high:g}), here {self.value:g}"


@dataclass(frozen=True)
class Choice:
    """One of several texts, which the reader picks from a list.

    Attributes:
        options: the texts.
        value: the text that is picked first.
        label: words before the list; empty for the name in the call of ``explore``.

    Raises:
        Problem: if the value is not one of the options.
    """

    options: tuple[str, ...]
    value: str
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if self.value in self.options:
            return
        raise Problem(
            "A list has no such option.",
            expected=", ".join(map(repr, self.options)) or "at least one option",
            found=repr(self.value),
            cause="a misspelt option",
            fix='sliders.Choice(("CLIP", "HPS"), "HPS")',
        )

    def control(self, label: str) -> "ValueWidget":
        """Return the list of a notebook."""
        from ipywidgets import Dropdown, Layout

        return Dropdown(
            options=self.options,
            value=self.value,
            description=label,
            style={"description_width": LABEL_WIDTH},
            layout=Layout(width=CONTROL_WIDTH, max_width="95%"),
        )

    def in_words(self, label: str) -> str:
        """Return what the list does, such as ``score (CLIP or HPS), here HPS``."""
        return f"{label} ({' or '.join(self.options)}), here {self.value}"


Control = Slider | Choice


def explore(draw: Callable[..., object], **controls: Control) -> "Explorer":
    """Return a figure with sliders, for the notebook to show.

    Args:
        draw: takes one argument of each control's name, draws one figure and returns the figure.
            A slider of whole numbers gives ints, another slider floats, a list texts.
        controls: what the reader moves, in the order of the arguments.

    Raises:
        Problem: if there is no control, or ``draw`` returns no figure. An error of ``draw`` at the
            first values is raised as it is.
    """
    if not controls:
        raise Problem(
            "There is nothing to move.",
            expected="a slider for each argument of the function that draws",
            found="no slider",
            cause="the sliders were left out",
            fix="sliders.explore(draw, alpha=sliders.Slider(1, 3.5, 0.1, 2))",
        )
    return Explorer(draw, controls)


class Explorer:
    """A figure that follows controls.

    Attributes:
        drawn: how often the figure was drawn.
    """

    def __init__(self, draw: Callable[..., object], controls: Mapping[str, Control]) -> None:
        self._draw = draw
        self._controls = dict(controls)
        self._labels = {
            name: readable(control.label) or name for name, control in self._controls.items()
        }
        self.drawn = 0
        self._words = ""
        self._first = self._picture({name: control.value for name, control in controls.items()})

    def __repr__(self) -> str:
        words = [control.in_words(self._labels[name]) for name, control in self._controls.items()]
        return f"In JupyterLab you move: {'; '.join(words)}."

    def _repr_mimebundle_(self, **wishes: Any) -> live.Bundle:
        return live.bundle(self._shown, self._still(), repr(self))

    def _still(self) -> str:
        """Return the figure at the first values as HTML, with a line of text."""
        said = html.escape(repr(self))
        seen = html.escape(self._words or repr(self))
        coded = base64.b64encode(self._first).decode()
        picture = f'<img src="data:image/png;base64,{coded}" alt="{seen}" style="max-width: 100%">'
        return f'<div class="{NO_FORMULAS}">{picture}<p>{said}</p></div>'

    def _shown(self) -> "DOMWidget":
        """Return the controls below each other, and the figure."""
        return _Panel(self).widget

    def _picture(self, values: Mapping[str, Value]) -> bytes:
        """Return the figure at some values as a PNG; no figure stays open.

        An open figure would be shown a second time below the cell, and would keep its memory.
        """
        before = set(plt.get_fignums())
        try:
            figure = _figure(self._draw(**values))
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=figure.dpi)
            self._words = str(figure.get_label())  # what the figure shows, for who cannot see
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
        self.drawn += 1
        return file.getvalue()

    def controls(self) -> "dict[str, ValueWidget]":
        """Return new controls of a notebook, one per argument of the function that draws."""
        return {
            name: control.control(self._labels[name]) for name, control in self._controls.items()
        }


def _figure(drawn: object) -> Figure:
    """Return what a function drew, if that is a figure."""
    if isinstance(drawn, Figure):
        return drawn
    raise Problem(
        "The function drew no figure.",
        expected="a function that ends with: return fig",
        found=f"{type(drawn).__name__}",
        cause="the return is missing, or the function returns its axes",
        fix="let the function return the figure that it has made",
    )


class _Panel:
    """The controls and the picture of one output of a notebook.

    Args:
        explorer: whose figure is shown.
    """

    def __init__(self, explorer: Explorer) -> None:
        from ipywidgets import HTML, Image, Layout, VBox

        self._explorer = explorer
        self._controls = explorer.controls()
        # As large as it was drawn: a box stretches what it holds.
        as_drawn = Layout(max_width="100%", align_self="flex-start")
        self._image = Image(value=explorer._first, format="png", layout=as_drawn)
        self._fault = HTML()
        self._waiting: asyncio.TimerHandle | None = None
        for control in self._controls.values():
            control.observe(lambda change: self._moved(), "value")
        self.widget = VBox([*self._controls.values(), self._fault, self._image])

    def _moved(self) -> None:
        """Draw soon. Until then further changes ask for nothing, since the last value is drawn."""
        if self._waiting is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the value was set outside of a kernel
            self._redraw()
            return
        self._waiting = loop.call_later(PAUSE, self._redraw)

    def _redraw(self) -> None:
        """Draw the figure at the present values; an error is shown above the last figure."""
        self._waiting = None
        values = {name: control.value for name, control in self._controls.items()}
        try:
            self._image.value = self._explorer._picture(values)
        except Exception as error:  # the reader's function may raise anything
            said = html.escape(f"{type(error).__name__}: {error}")
            self._fault.value = f'<pre class="{NO_FORMULAS}">{said}</pre>'
        else:
            self._fault.value = ""
