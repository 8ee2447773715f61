"""The drawings of the method: every notebook is in sight, and the present one stands out."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from alignsd.base.errors import Problem
from alignsd.figures import method
from alignsd.kit.values.notebook_files import usual_names


def drawn(present: str) -> Figure:
    fig = method.opening(Figure(figsize=(9.5, 2.6)), present)
    FigureCanvasAgg(fig).draw()
    return fig


def texts(fig: Figure) -> list[Text]:
    return fig.axes[0].texts


def bold(fig: Figure) -> list[str]:
    """Return the words in bold, without the headings."""
    words = [text for text in texts(fig) if text.get_weight() == "bold"]
    return [text.get_text() for text in words if text.get_fontsize() < 11]


def colours(fig: Figure) -> set[tuple[float, ...]]:
    return {box.get_edgecolor() for box in fig.axes[0].patches if isinstance(box, FancyBboxPatch)}


def test_the_drawing_holds_every_notebook_behind_the_first():
    numbers = {text.get_text()[:2] for text in texts(drawn("00"))}
    assert {name[:2] for name in usual_names()} - {"00"} <= numbers


def test_the_present_notebook_stands_out():
    assert bold(drawn("00")) == []
    assert bold(drawn("04")) == ["04", "select\nimages"]
    (words,) = bold(drawn("09"))
    assert words.startswith("09")
    assert len(colours(drawn("00"))) == 5  # four parts of the method, and the playground
    assert len(colours(drawn("04"))) == 3  # pale, the present box, no edge around the tint


@pytest.mark.parametrize("present", ["00", *(f"{number:02}" for number in range(1, 10))])
def test_words_stay_in_their_boxes(present):
    fig = drawn(present)
    boxes = [box for box in fig.axes[0].patches if isinstance(box, FancyBboxPatch)]
    extents = [box.get_window_extent() for box in boxes]
    for text in texts(fig):
        words = text.get_window_extent()
        around = [box for box in extents if box.contains(*words.get_points().mean(axis=0))]
        assert all(box.x0 + 4 < words.x0 and words.x1 < box.x1 - 4 for box in around), text
        assert fig.bbox.containsx(words.x0) and fig.bbox.containsx(words.x1), text


def test_a_notebook_outside_of_the_drawing_is_told():
    with pytest.raises(Problem, match="'4'"):
        method.opening(Figure(), "4")
