"""What the documents point at is there."""

import re
import unicodedata

import pytest

from alignsd.base.paths import root
from alignsd.kit import tables

DOCUMENTS = sorted([*root().glob("*.md"), *root().glob("docs/*.md")])


def text_of(path):
    return path.read_text(encoding="utf-8")


def anchors_of(path):
    """Return the anchors that a Markdown page gives its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {anchor_of(heading) for heading in headings}


def anchor_of(heading):
    kept = [c for c in heading.lower() if c in "-_ " or unicodedata.category(c)[0] in "LNM"]
    return "".join(kept).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    targets = re.findall(r"\]\(([^)#\s]+)", text_of(path))
    assert [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_headings_lead_to_headings(path):
    links = re.findall(r"\]\(([\w./-]*)#([^)\s]+)\)", text_of(path))
    pages = {page: anchors_of(path.parent / page if page else path) for page, _ in links}
    assert [f"{page}#{anchor}" for page, anchor in links if anchor not in pages[page]] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_the_text_exist(path):
    text = text_of(path)
    named = re.findall(r"`((?:alignsd|docs|notebooks|tests)/[\w/.*]+)`", text)
    named = [name for name in named if not name.startswith("tests/test_")]
    tests = re.findall(r"`(?:tests/)?(test_[\w*]+\.py)`", text)
    named += [f"tests/**/{test}" for test in tests]
    assert [name for name in named if not list(root().glob(name.rstrip("/")))] == []


def rows_below(text, introduction):
    """Return the rows, without heading, of the first Markdown table after some words."""
    lines = text[text.index(introduction) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_the_tables_of_the_stages_are_documented_as_they_are_declared(name):
    table = tables.TABLES[name]
    text = text_of(root() / "docs" / "data_formats.md")
    section = text[text.index(f"### {table.stage}") :]
    documented = {}
    for row in rows_below(section, f"{table.file}`"):
        documented[row[0].strip("`")] = row[1]
    declared = {column: kind.removeprefix("a ") for column, kind in table.columns.items()}
    assert documented == declared
