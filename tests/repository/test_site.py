"""The site builds without a warning and without a network, and its links lead somewhere."""

import importlib.util
import json
import re
import subprocess
import sys
from types import ModuleType

import pytest

from alignsd.base.paths import root

SITE = root() / "docs" / "site"


def module(name: str) -> ModuleType:
    """Return a module of the folder that describes the site."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(SITE)]
    done = subprocess.run(
        [*command, "-b", "html", "-d", str(folder / "doctrees"), ".", str(folder / "site")],
        cwd=root(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_no_link_is_broken(site):
    assert module("check_links").broken_links(site) == []


def test_each_notebook_and_document_has_a_page(site):
    sources = [*(root() / "papermill_runs" / "mini").glob("*.ipynb"), *root().glob("docs/*.md")]
    pages = [site / path.relative_to(root()).with_suffix(".html") for path in sources]
    assert [page for page in pages if not page.exists()] == []
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_pages_load_nothing_from_another_server(site):
    check = module("check_links")
    for page in (site / "index.html", site / "papermill_runs/mini/04_select_images.html"):
        html = page.read_text()
        assert "<script" in html
        loaded = [part.split('"')[1] for part in html.split("src=")[1:]]
        elsewhere = [address for address in loaded if "//" in address]
        assert [address for address in elsewhere if not address.startswith("data:")] == []
        assert check.Page(html).links


def test_formulas_are_mathml_and_not_source(site):
    html = (site / "papermill_runs/mini/04_select_images.html").read_text()
    assert "<math" in html and "<mfrac>" in html
    assert "\\frac" not in html


def test_each_command_of_a_formula_is_known(site):
    """A command that the converter does not know stands in the formula as a word."""
    unknown = []
    for page in site.rglob("*.html"):
        formulas = re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), re.DOTALL)
        unknown += [word for formula in formulas for word in re.findall(r"\\\w+", formula)]
    assert unknown == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a> <a href="#here">here</a>')
    (tmp_path / "c.html").write_text(
        '<p id="top"></p><a href="a.html">a</a><a href="c.html#top">top</a>'
        '<a href="a.html#no">no</a><a href="https://example.org">elsewhere</a>'
    )
    broken = module("check_links").broken_links(tmp_path)
    assert sorted(broken) == ["a.html: #here", "a.html: b.html", "c.html: a.html#no"]


def test_bookkeeping_is_out_of_sight():
    cells = [
        {"metadata": {"tags": ["bookkeeping"]}, "outputs": []},
        {"metadata": {"tags": ["bookkeeping"]}, "outputs": [{"output_type": "stream"}]},
        {"metadata": {}, "outputs": []},
    ]
    prepared = module("conf").prepared(json.dumps({"cells": cells}))
    tags = [cell["metadata"]["tags"] for cell in json.loads(prepared)["cells"]]
    assert tags == [["bookkeeping", "remove-cell"], ["bookkeeping", "remove-input"], []]


def test_words_about_a_picture_become_its_alternative_text():
    picture = {"output_type": "display_data", "metadata": {"image/png": {"alt": "Bars."}}}
    cells = [{"metadata": {}, "outputs": [picture]}]
    (cell,) = json.loads(module("conf").prepared(json.dumps({"cells": cells})))["cells"]
    assert cell["metadata"]["mystnb"] == {"image": {"alt": "Bars."}}
