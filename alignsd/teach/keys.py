"""Keep the keys that a reader presses in a widget from JupyterLab's shortcuts.

JupyterLab takes keys from a focused slider or radio button: ``x`` would cut the cell, the arrows
would leave the cell. An element with the attribute ``data-lm-suppress-shortcuts`` keeps its keys.
The attribute must stand on each element that can have the focus, and ipywidgets sets none.
"""

import anywidget
from ipywidgets import DOMWidget, Layout, VBox

BOX = "alignsd-keys"  # class of the box around the widgets
# Marks what can have the focus in the box, now and when a widget is drawn anew.
MARK = """
const FOCUSABLE = "input, select, textarea, button, a[href], [tabindex]";

function mark(box) {
  for (const element of box.querySelectorAll(FOCUSABLE)) {
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  }
}

function render({ el }) {
  let timer = 0;
  let observer = null;
  function begin() {
    const box = el.closest(".BOX");
    if (box === null) {  // not yet part of the page
      timer = setTimeout(begin, 50);
      return;
    }
    mark(box);
    observer = new MutationObserver(() => mark(box));
    observer.observe(box, { childList: true, subtree: true });
  }
  begin();
  return () => {
    clearTimeout(timer);
    observer?.disconnect();
  };
}

export default { render };
""".replace("BOX", BOX)


class _Marks(anywidget.AnyWidget):
    """Is not seen, and marks the elements of the box around it."""

    _esm = MARK


def keeping_keys(widget: DOMWidget) -> DOMWidget:
    """Return a box around a widget, in which JupyterLab's shortcuts do nothing.

    A widget of anywidget is returned as it is, since its own code marks its elements.
    """
    if isinstance(widget, anywidget.AnyWidget):
        return widget
    box = VBox([widget, _Marks(layout=Layout(display="none"))])
    box.add_class(BOX)
    return box
