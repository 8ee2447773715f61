"""What the documents point at is there."""

import re

import pytest

from alignsd.base.paths import root

DOCUMENTS = sorted([*root().glob("*.md"), *root().glob("docs/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_the_text_exist(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:alignsd|tests|docs|notebooks)/[\w/.*]+)`", text)
    named += [f"tests/{test}" for test in re.findall(r"`(test_[\w*]+\.py)`", text)]
    assert [name for name in named if not list(root().glob(name.rstrip("/")))] == []
