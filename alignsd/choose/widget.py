"""The chooser in a notebook: a widget where a person sits, and a sheet of pictures elsewhere."""

import html
from typing import TYPE_CHECKING, Any

from alignsd.choose.data_urls import small_data_url
from alignsd.choose.questions import Question
from alignsd.choose.session import Session
from alignsd.kit.views import NO_FORMULAS
from alignsd.teach import live

if TYPE_CHECKING:
    from alignsd.choose.live_chooser import LiveChooser

SHOWN = 6  # questions on the sheet of a saved notebook
SIDE = 128  # pixels of a picture on the sheet
CELL = "padding: 4px 8px; text-align: left; vertical-align: middle; white-space: normal"
PICTURE = "margin: 2px; object-fit: contain; display: inline; image-rendering: pixelated"


class Chooser:
    """Ask a rater to choose; a notebook shows the chooser for the last line of a cell.

    In a batch run, and in a saved notebook, the first questions stand as a sheet of pictures.

    Args:
        session: the rater's sitting. Its answers are ``chooser.session.folded()``.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._widget: LiveChooser | None = None

    def __repr__(self) -> str:
        answered = len(self.session.folded())
        total = len(self.session.order)
        return f"{total} questions of the deck {self.session.deck.name}, {answered} answered."

    def _repr_mimebundle_(self, **wishes: Any) -> live.Bundle:
        return live.bundle(self._shown, self._sheet(), repr(self))

    def _shown(self) -> "LiveChooser":
        """Return the widget; showing the chooser twice shows one widget twice."""
        from alignsd.choose.live_chooser import LiveChooser  # anywidget takes half a second

        if self._widget is None:
            self._widget = LiveChooser(self.session)
        else:
            self._widget.refresh()
        return self._widget

    def _sheet(self) -> str:
        """Return HTML: the first questions in the rater's order, and one sentence."""
        first = self.session.order[:SHOWN]
        rows = [self._row(number, question) for number, question in enumerate(first, 1)]
        total = len(self.session.order)
        told = (
            f"In JupyterLab you choose here. This page shows the first {len(first)} "
            f"of {total} questions."
        )
        table = f"<table><tbody>{''.join(rows)}</tbody></table>"
        return f'<div class="{NO_FORMULAS}"><p>{told}</p>{table}</div>'

    def _row(self, number: int, question: Question) -> str:
        """Return a row of the sheet: the prompt, and the pictures in their places."""
        places = self.session.places[question.id]
        pictures = []
        for place, index in enumerate(places, 1):
            address = small_data_url(self.session.deck.folder / question.pictures[index], SIDE)
            label = f"Picture {place} of {len(places)} for question {number}"
            size = f'width="{SIDE}" height="{SIDE}"'
            pictures.append(f'<img src="{address}" alt="{label}" {size} style="{PICTURE}">')
        prompt = html.escape(question.prompt)
        return (
            f'<tr><td style="{CELL}">{number}</td><td style="{CELL}">{prompt}</td>'
            f'<td style="{CELL}; white-space: nowrap">{"".join(pictures)}</td></tr>'
        )
