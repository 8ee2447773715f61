"""The glossary defines what the notebooks and documents link to, and nothing that nobody uses."""

import json
import re
import unicodedata

import pytest

from alignsd.base.paths import root

GLOSSARY = root() / "docs" / "glossary.md"
HIDDEN = ".ipynb_checkpoints"
NOTEBOOKS = sorted(path for path in root().glob("notebooks/**/*.ipynb") if HIDDEN not in path.parts)
DOCUMENTS = sorted([*root().glob("*.md"), *root().glob("docs/*.md")])
LINK = re.compile(r"\]\(([\w./-]*)#([^)\s]+)\)")


def anchor_of(heading):
    """Return a heading's anchor as GitHub writes it."""
    kept = [c for c in heading.lower() if c in "-_ " or unicodedata.category(c)[0] in "LNM"]
    return "".join(kept).replace(" ", "-")


def words():
    """Return each word that the glossary defines, with the definition."""
    _, _, section = GLOSSARY.read_text(encoding="utf-8").partition("\n## Words\n")
    entries = re.split(r"^### (.+)$", section, flags=re.MULTILINE)[1:]
    return dict(zip(entries[::2], map(str.strip, entries[1::2]), strict=True))


def text_of(path):
    """Return the text of a document, or of all cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def glossary_links(path):
    """Return the headings of the glossary to which a file links."""
    links = []
    for page, anchor in LINK.findall(text_of(path)):
        target = path.parent / page if page else path
        if target.resolve() == GLOSSARY.resolve():
            links.append(anchor)
    return links


def sources():
    """Return everything that may use a word: notebooks, documents, and the package."""
    files = [*NOTEBOOKS, *DOCUMENTS, *root().glob("alignsd/**/*.py")]
    return [file for file in files if file != GLOSSARY]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *DOCUMENTS], ids=lambda path: path.name)
def test_every_link_into_the_glossary_leads_to_a_heading(path):
    headings = re.findall(r"^#+ (.+)$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {anchor_of(heading) for heading in headings}
    assert [anchor for anchor in glossary_links(path) if anchor not in anchors] == []


def test_the_words_stand_in_alphabetical_order_and_each_is_defined():
    assert list(words()) == sorted(words(), key=str.casefold)
    assert [word for word, definition in words().items() if not definition.endswith(".")] == []


def test_every_word_of_the_glossary_is_used_somewhere():
    text = " ".join(text_of(file).casefold() for file in sources())
    text = re.sub(r"\s+", " ", text)
    linked = {anchor for file in NOTEBOOKS for anchor in glossary_links(file)}
    unnamed = [word for word in words() if word.casefold() not in text]
    assert [word for word in unnamed if anchor_of(word) not in linked] == []


def test_a_link_is_found_from_either_folder():
    """Otherwise the test of the links would pass because no link was seen."""
    solutions = root() / "notebooks" / "solutions"
    assert LINK.findall("a [word](../docs/glossary.md#seed)") == [("../docs/glossary.md", "seed")]
    assert (solutions / "../../docs/glossary.md").resolve() == GLOSSARY.resolve()
    assert anchor_of("Krippendorff's alpha") == "krippendorffs-alpha"
    assert glossary_links(GLOSSARY)
