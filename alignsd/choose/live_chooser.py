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

    def refresh(self) -> None:
        """Show the present question to all tabs.

        Raises:
            Problem: if the votes or a picture cannot be read.
        """
        view = self._session.view() | {"after": AFTER}
        present = [picture["file"] for picture in view["pictures"]]
        if not set(present) <= set(self.pictures):
            self.pictures = self._addresses(present) | self.pictures
        self._show(view)
        self.pictures = self._addresses([*present, *view["upcoming"]])

    def _show(self, view: dict[str, Any], error: str = "") -> None:
        """Send a view to all tabs, with the text of what went wrong.

        Two equal views in a row would not be sent, and a tab that waits must hear an answer.
        """
        self._serial += 1
        self.view = view | {"serial": self._serial, "error": error}

    def _receive(self, _: Any, message: dict[str, Any], __: list[Any]) -> None:
        """Act on what a tab sent, and answer with a view."""
        try:
            self._act(message)
            self.refresh()
        except Problem as problem:
            self._show(self.view, str(problem))

    def _act(self, message: dict[str, Any]) -> None:
        """Do what a tab asks: ``event``, ``question`` and ``picked``; ``"look"`` asks for a view.

        Raises:
            Problem: if the answer cannot be kept.
        """
        event = message.get("event")
        if event == "pick":
            self._session.pick(message["question"], message["picked"])
        elif event == "skip":
            self._session.skip(message["question"])
        elif event == "undo":
            self._session.undo()

    def _addresses(self, files: list[str]) -> dict[str, str]:
        """Return the pictures' data URLs; a picture that is there already is not read again."""
        return {
            file: self.pictures.get(file) or data_url(self._session.deck.folder / file)
            for file in files
        }
