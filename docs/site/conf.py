"""The site: executed notebooks and documents as pages, without anything from another server.

``make site`` builds the site from the repository's root, so a link leads to the same place on a
page as in the repository.
"""

import json
import shutil
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "alignsd"
author = "The alignsd maintainers"
root_doc = "README"
html_title = "alignsd"

extensions = ["myst_nb"]
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "notebooks/solutions/*.ipynb",
    "papermill_runs/mini/*.ipynb",
    "alignsd/miniature/weights/MODEL_CARD.md",
]

nb_execution_mode = "off"  # alignsd run executes the notebooks
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# A link to a file that is no page, such as a module, leads to the file.
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type", "mystnb.mime_priority"]

html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],  # the side bar has the search already
    "show_toc_level": 2,
    "use_download_button": False,
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

# Formulas become MathML, which browsers draw themselves, so that the site works without a network.
html_math_renderer = "mathml"

CONTENTS = """
```{toctree}
:hidden:
:caption: The paper, step by step
:glob:

papermill_runs/mini/*
```

```{toctree}
:hidden:
:caption: Solutions of the exercises
:glob:

notebooks/solutions/*
```

```{toctree}
:hidden:
:caption: Questions and answers
:glob:

docs/*
CONTRIBUTING
CHANGELOG
alignsd/miniature/weights/MODEL_CARD
```
"""


def setup(app: Sphinx) -> None:
    """Connect the functions below to the steps of the build."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula, None))
    app.connect("source-read", prepare)
    app.connect("build-finished", complete)


def inline_formula(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula that stands within a sentence."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def formula(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that stands on a line of its own."""
    translator.body.append(convert(node.astext(), display="block"))
    raise nodes.SkipNode


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the first page a table of contents, and prepare a notebook's cells."""
    if docname == root_doc:
        source[0] += CONTENTS
    elif docname.startswith(("papermill_runs/", "notebooks/")):
        source[0] = prepared(source[0])


def prepared(notebook: str) -> str:
    """Return a notebook's JSON with bookkeeping hidden, and with alternative texts for pictures."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if "bookkeeping" in tags:
            tags.append("remove-input" if cell.get("outputs") else "remove-cell")
        words = alternative_text(cell.get("outputs", []))
        if words:
            cell["metadata"]["mystnb"] = {"image": {"alt": words}}
    return json.dumps(content)


def alternative_text(outputs: list[dict]) -> str:
    """Return the words about the pictures of a cell."""
    shown = [output.get("metadata", {}).get("image/png", {}) for output in outputs]
    return " ".join(picture["alt"] for picture in shown if "alt" in picture)


def complete(app: Sphinx, error: Exception | None) -> None:
    """Make the first page the page that a server or a reader opens first."""
    if error is None:
        site = Path(app.outdir)
        shutil.copyfile(site / f"{root_doc}.html", site / "index.html")
