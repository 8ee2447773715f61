"""A figure follows the sliders; each picture is drawn once, and no figure stays open."""

import asyncio
import base64
import io
import re

import ipywidgets
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from alignsd.base.errors import Problem
from alignsd.teach import live, sliders
from alignsd.teach.sliders import Choice, Slider


def bar(height: float, shade: str = "black") -> Figure:
    """Draw one bar that fills a share of the figure."""
    fig = plt.figure(figsize=(1, 1), dpi=50)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")
    ax.bar(0.5, height, width=1, color=shade)
    return fig


def share_of_black(png: bytes) -> float:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return float((pixels < 128).mean())


def panel(explorer: sliders.Explorer) -> tuple[list[ipywidgets.ValueWidget], ipywidgets.Image]:
    *controls, fault, image = explorer._shown().children
    assert fault.value == ""
    return controls, image


@pytest.fixture(autouse=True)
def _no_figures_left():
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


def test_without_a_person_the_figure_is_drawn_once_at_the_first_values(monkeypatch):
    monkeypatch.setenv(live.WIDGETS, "0")
    explorer = sliders.explore(
        bar, height=Slider(0, 1, 0.1, 0.3), shade=Choice(("black", "red"), "black", label="colour")
    )
    bundle = explorer._repr_mimebundle_()
    said = "In JupyterLab you move: height (0 to 1), here 0.3; colour (black or red), here black."
    assert bundle["text/plain"] == said and said in bundle["text/html"]
    coded = re.search(r"base64,([^\"]+)", bundle["text/html"])[1]
    assert share_of_black(base64.b64decode(coded)) == pytest.approx(0.3, abs=0.03)
    assert bundle.keys() == {"text/html", "text/plain"} and explorer.drawn == 1


def test_a_moved_slider_draws_the_figure_anew(monkeypatch):
    monkeypatch.setenv(live.WIDGETS, "1")
    explorer = sliders.explore(
        bar, height=Slider(0, 1, 0.1, 0.3), shade=Choice(("black", "white"), "black")
    )
    assert live.WIDGET_VIEW in explorer._repr_mimebundle_()
    (height, shade), image = panel(explorer)
    height.value = 0.8
    assert share_of_black(image.value) == pytest.approx(0.8, abs=0.03)
    shade.value = "white"
    assert share_of_black(image.value) == 0


def test_of_many_moves_only_the_last_is_drawn():
    explorer = sliders.explore(bar, height=Slider(0, 1, 0.01, 0.3))
    (height,), image = panel(explorer)

    async def moves() -> None:
        for value in np.linspace(0.4, 0.9, 30):
            height.value = float(value)
        await asyncio.sleep(3 * sliders.PAUSE)

    asyncio.run(moves())
    assert share_of_black(image.value) == pytest.approx(0.9, abs=0.03)
    assert explorer.drawn == 2


def test_whole_numbers_stay_whole():
    seen = []

    def draw(count: int) -> Figure:
        seen.append(count)
        return bar(count / 10)

    explorer = sliders.explore(draw, count=Slider(0, 10, 1, 3))
    (count,), _ = panel(explorer)
    count.value = 4
    assert seen == [3, 4] and all(type(value) is int for value in seen)


def test_an_error_while_moving_is_shown_and_mended_by_the_next_move():
    def draw(height: float) -> Figure:
        bar(height)  # left open when the next line raises
        return bar(1 / height)

    explorer = sliders.explore(draw, height=Slider(0, 2, 1, 2))
    height, fault, image = explorer._shown().children
    before = image.value
    height.value = 0
    assert "ZeroDivisionError" in fault.value and image.value == before
    height.value = 1
    assert fault.value == "" and image.value != before


def test_two_outputs_move_apart():
    explorer = sliders.explore(bar, height=Slider(0, 1, 0.1, 0.3))
    (first,), _ = panel(explorer)
    (second,), image = panel(explorer)
    first.value = 0.9
    assert second.value == 0.3 and share_of_black(image.value) == pytest.approx(0.3, abs=0.03)


def test_labels_are_text(monkeypatch):
    monkeypatch.setenv(live.WIDGETS, "0")
    explorer = sliders.explore(bar, height=Slider(0, 1, 0.1, 0.3, label="<b>$h$</b>"))
    html = explorer._repr_mimebundle_()["text/html"]
    assert "<b>" not in html and "mathjax_ignore" in html


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Slider(3, 1, 0.1, 2),
        lambda: Slider(1, 3, 0, 2),
        lambda: Slider(1, 3, 0.1, 4),
        lambda: Choice(("a", "b"), "c"),
        lambda: sliders.explore(bar),
        lambda: sliders.explore(lambda height: None, height=Slider(0, 1, 0.1, 0.3)),
    ],
)
def test_mistakes_of_a_notebook_are_told(wrong):
    with pytest.raises(Problem):
        wrong()
