"""Whether a person sits at the notebook, and what is shown with and without widgets.

A widget needs a person's browser. In a batch run nobody would answer the widget, and a saved
notebook would hold a widget without its kernel. So every widget of the kit asks ``is_live`` first.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alignsd.base.errors import Problem
from alignsd.kit.stage import HEADLESS

if TYPE_CHECKING:
    from ipywidgets import DOMWidget

WIDGETS = "ALIGNSD_WIDGETS"  # environment variable: 1 shows widgets, 0 shows none
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
Bundle = dict[str, Any]  # MIME type -> content


def is_live() -> bool:
    """Return whether a person sits at the notebook, so that widgets may be shown.

    The front end of a person lets a cell ask a question (``input()``), and says so in each request
    to run a cell. JupyterLab, Jupyter Notebook, VS Code and Colab do. papermill, nbclient,
    ``jupyter nbconvert --execute`` and Voila do not, even when they were started from a cell or a
    terminal of JupyterLab and have inherited the environment variables. Python without a kernel
    shows no widgets.

    The variable ``ALIGNSD_WIDGETS`` decides instead where it is set: 1 shows widgets, for example
    in Voila; 0 shows none. ``alignsd run`` never shows widgets, unless this variable is 1.

    Raises:
        Problem: if ``ALIGNSD_WIDGETS`` is neither 1 nor 0.
    """
    wish = os.environ.get(WIDGETS, "")
    if wish:
        return _wish_is_yes(wish)
    if os.environ.get(HEADLESS):
        return False
    return _can_ask()


def bundle(widget_factory: Callable[[], "DOMWidget"], html: str, text: str) -> Bundle:
    """Return what a notebook shows for an object: MIME type -> content.

    An object returns this bundle from its method ``_repr_mimebundle_``. The front end shows the
    richest form that it can show: the widget, the HTML or the text. JupyterLab's shortcuts do
    nothing while a control of the widget has the focus.

    Args:
        widget_factory: makes the widget. It is called only where a person sits at the notebook,
            so a batch run opens no connection for a widget.
        html: what is shown without widgets, and in a saved notebook without its kernel.
        text: what a terminal shows.

    Returns:
        ``text/html`` and ``text/plain``; where a person sits at the notebook, the widget's view
        as well.
    """
    static = {"text/html": html, "text/plain": text}
    if not is_live():
        return static
    from alignsd.teach.keys import keeping_keys  # imports ipywidgets

    view = keeping_keys(widget_factory())._repr_mimebundle_() or {}
    return {WIDGET_VIEW: view[WIDGET_VIEW], **static} if WIDGET_VIEW in view else static


def _wish_is_yes(wish: str) -> bool:
    """Return what the variable ``ALIGNSD_WIDGETS`` asks for."""
    if wish in ("0", "1"):
        return wish == "1"
    raise Problem(
        f"The environment variable {WIDGETS} has no meaning.",
        expected="1 to show widgets, 0 to show none",
        found=repr(wish),
        cause="a slip where the variable is set",
        fix=f"unset {WIDGETS}, or export {WIDGETS}=0",
    )


def _can_ask() -> bool:
    """Return whether the request that runs now came from a front end with a person.

    Within a widget's callback the request is the front end's message about the widget.
    """
    from IPython import get_ipython  # takes half a second; only a notebook needs it

    shell = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return False  # plain Python, or IPython in a terminal
    request = shell.get_parent()
    kind = request.get("header", {}).get("msg_type", "")
    if kind.startswith("comm_"):
        return True
    return bool(request.get("content", {}).get("allow_stdin", False))
