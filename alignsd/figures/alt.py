"""Words for a figure, for readers who cannot see the figure: alternative text.

Each function that draws says what it drew. The words travel with the picture: in a notebook and on
the site as the picture's alternative text, beside a published figure in the figure's JSON file.
"""

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.pylabtools import print_figure, retina_figure
from matplotlib.artist import Artist
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

PNG = "image/png"
HTML = "text/html"


def describe(drawn: Artist, words: str) -> None:
    """Keep words about a figure or about one of its panels.

    Args:
        drawn: a ``Figure`` or an ``Axes``. The words are kept as the label, which draws nothing.
        words: what a reader would see: the kind of drawing, what it shows, the main numbers.
    """
    drawn.set_label(" ".join(words.split()))


def alternative_text(fig: Figure) -> str:
    """Return the words about a figure: those of the whole figure, then those of each panel."""
    labels = [str(artist.get_label()) for artist in (fig, *fig.axes)]
    # Matplotlib names its own axes, such as a colour bar's, in angle brackets.
    words = [label for label in labels if label and not label.startswith("<")]
    return " ".join(words)


def listed(names: Iterable[object], values: Iterable[float], digits: int = 1) -> str:
    """Return names with their values in words, such as ``CLIP 32.9, HPS 46.7``."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{_one_line(name)} {value:,.{digits}f}" for name, value in pairs)


def _one_line(name: object) -> str:
    return " ".join(str(name).split())


def show_with_words(shell: "InteractiveShell", is_live: bool) -> None:
    """Let a notebook show each figure with its alternative text.

    Args:
        shell: the kernel's shell.
        is_live: whether a person sits at the notebook. JupyterLab forgets the metadata of a PNG,
            so a person gets an HTML picture, sharp also on a projector. Otherwise the PNG and its
            metadata are kept in the notebook's file.
    """
    display = shell.display_formatter
    if display is None:  # a shell that shows text alone
        return
    kind, shown = (HTML, as_html) if is_live else (PNG, as_png)
    for formatter in display.formatters.values():
        formatter.pop(Figure, None)
    display.formatters[kind].for_type(Figure, shown)


def as_png(fig: Figure) -> tuple[str, dict[str, Any]] | None:
    """Return a figure as PNG in base64, and the metadata with the figure's words."""
    png = print_figure(fig, base64=True)
    return None if png is None else (png, {"alt": alternative_text(fig)})


def as_html(fig: Figure) -> str | None:
    """Return a figure as an HTML picture of twice the pixels, with the figure's words."""
    sharp = retina_figure(fig, base64=True)
    if sharp is None:
        return None
    png, size = sharp
    words = html.escape(alternative_text(fig), quote=True)
    source = f"data:{PNG};base64,{png}"
    return f'<img alt="{words}" width="{size["width"]}" src="{source}" style="max-width: 100%">'
