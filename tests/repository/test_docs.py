"""What the documents point at is there."""

import re
import unicodedata

import pytest

from alignsd.base.paths import root
from alignsd.kit import schemas

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


STAGE = re.compile(r"### (\d\d_\w+)")
TABLE_FILE = re.compile(r"`(?:[\w*-]+/)*([\w*-]+\.parquet)`")
NOT_OF_A_STAGE = {"metadata.parquet", "metadata-large.parquet"}  # the release's own tables


def documented_tables():
    """Return the tables that data_formats.md describes: (stage or "", file) to column to type.

    The words above a Markdown table name the files that the table describes; the first description
    of a file counts. Words outside the sections of the stages name no stage.
    """
    documented = {}
    stage, words = "", ""
    for block in text_of(root() / "docs" / "data_formats.md").split("\n\n"):
        if block.startswith("#"):
            section = STAGE.match(block)
            stage = section[1] if section else ""
        elif block.startswith("| column |"):
            for file in TABLE_FILE.findall(words):
                documented.setdefault((stage, file), types_by_column(block))
        words = block
    return documented


def types_by_column(block):
    """Return column to type of a Markdown table whose first cells name one column or several."""
    types = {}
    for line in block.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for column in re.findall(r"`(\w+)`", cells[0]):
            types[column] = cells[1]
    return types


DOCUMENTED = documented_tables()


@pytest.mark.parametrize("name", sorted(schemas.TABLES))
def test_a_declared_table_is_documented_as_it_is_declared(name):
    table = schemas.TABLES[name]
    documented = DOCUMENTED.get((table.stage, table.file)) or DOCUMENTED["", table.file]
    declared = {}
    for field in table.schema:
        declared[field.name] = schemas.kind_in_words(field).removeprefix("a ")
    assert documented == declared


def test_every_documented_table_of_a_stage_is_declared():
    declared = {(table.stage, table.file) for table in schemas.TABLES.values()}
    files = {file for _, file in declared}
    undeclared = [
        (stage, file)
        for stage, file in DOCUMENTED
        if (stage, file) not in declared and (stage or file not in files | NOT_OF_A_STAGE)
    ]
    assert undeclared == []


def test_units_are_documented_as_they_are_declared():
    text = text_of(root() / "docs" / "data_formats.md")
    fields = [field for table in schemas.TABLES.values() for field in table.schema]
    units = {field.metadata[b"unit"].decode() for field in fields}
    assert [unit for unit in units if unit not in text] == []
