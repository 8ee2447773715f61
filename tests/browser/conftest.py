"""A browser, and a clone of the repository to open in JupyterLab; once per test module.

The harness needs playwright, so the fixtures import the harness: a test module without playwright
is skipped before its fixtures are made.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignsd.base.paths import root


@pytest.fixture(scope="module")
def browser():
    """Give a browser; skip where none can be started."""
    from playwright.sync_api import sync_playwright

    from browser import jupyterlab

    with sync_playwright() as playwright:
        browser, reason = jupyterlab.launch(playwright)
        if browser is None:
            pytest.skip(reason)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def repository(browser, tmp_path_factory) -> Iterator[Path]:
    """Give a clone of the repository; an empty folder ``home`` lies beside the clone."""
    from browser import jupyterlab

    if shutil.which("git") is None or not (root() / ".git").exists():
        pytest.skip("not a clone")
    folder = tmp_path_factory.mktemp("browser")
    clone = folder / "repository"
    for new in (clone, folder / "home"):
        new.mkdir()
    jupyterlab.clone(root(), clone)
    yield clone
    shutil.rmtree(folder)
