"""The widget of the chooser: the view and its pictures are shared with every tab that shows it."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from alignsd.base.errors import Problem
from alignsd.choose.data_urls import data_url
from alignsd.choose.session import Session

AFTER = "Run the next cell of the notebook."  # what to do when all questions are answered


class LiveChooser(anywidget.AnyWidget):
    """A chooser that a person sees and answers in a notebook.

    Every tab on the same kernel shows the same view, so each tab sees each pick.

    Args:
        session: the rater's sitting.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(
        sync=True
    )  # file -> data URL; of the present and next questions

    def __init__(self, session: Session) -> None:
        room = Path(__file__).parent
        module = (room / "chooser.js").read_text("utf-8")
        style = (room / "chooser.css").read_text("utf-8")
        super().__init__(_esm=module, _css=style)
        self._session = session
        self._serial = 0
        self.on_msg(self._receive)
        self.refresh()

    def _repr_mimebundle_(self, **wishes: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the view as ipywidgets does; anywidget returns a pair with metadata instead."""
        data, _ = super()._repr_mimebundle_(**wishes) or ({}, {})
        return data

    def refresh(self, error: str = "") -> None:
        """Show the present question to all tabs.

        Args:
            error: what went wrong; shown below the pictures.
        """
        view = self._session.view()
        # Two equal views in a row would not be sent, and a tab that waits must hear an answer.
        self._serial += 1
        view |= {"serial": self._serial, "after": AFTER, "error": error}
        present = [picture["file"] for picture in view["pictures"]]
        if not set(present) <= set(self.pictures):
            self.pictures = self._addresses(present) | self.pictures
        self.view = view
        self.pictures = self._addresses([*present, *view["upcoming"]])

    def _receive(self, _: Any, message: dict[str, Any], __: list[Any]) -> None:
        """Act on what a tab sent: ``event``, ``question`` and ``picked``."""
        event = message.get("event")
        error = ""
        try:
            if event == "pick":
                self._session.pick(message["question"], message["picked"])
            elif event == "skip":
                self._session.skip(message["question"])
            elif event == "undo":
                self._session.undo()
        except Problem as problem:
            error = str(problem)
        self.refresh(error)

    def _addresses(self, files: list[str]) -> dict[str, str]:
        """Return the pictures' data URLs; a picture that is there already is not read again."""
        return {
            file: self.pictures.get(file) or data_url(self._session.deck.folder / file)
            for file in files
        }
