"""Links in executed copies lead from a run's folder to what the sources link."""

import json
import os
import re
from urllib.parse import unquote

import nbformat
import pytest

from alignsd.running.execution import execute
from alignsd.running.links import relinked
from alignsd.running.publishing import refresh_prose

BEGIN = "from alignsd.kit.stage import begin\nstage = begin({!r}, globals())"


@pytest.fixture
def places(kit):
    """Folders of sources and copies, with three sources, one of them executed, and a document."""
    copies = kit / "papermill_runs" / "trial"
    copies.mkdir(parents=True)
    (kit / "docs").mkdir()
    for path in (
        "docs/data.md",
        "docs/my notes.md",
        "README.md",
        "notebooks/01_first.ipynb",
        "notebooks/02_second.ipynb",
        "notebooks/03_third.ipynb",
        "papermill_runs/trial/01_first.ipynb",
    ):
        (kit / path).write_text("{}")
    return kit / "notebooks", copies


@pytest.mark.parametrize(
    ("source", "copy"),
    [
        ("see [data](../docs/data.md)", "see [data](../../docs/data.md)"),
        ("[data](../docs/data.md#parts)", "[data](../../docs/data.md#parts)"),
        ('[data](../docs/data.md "a title")', '[data](../../docs/data.md "a title")'),
        ("[a](../docs/my%20notes.md)", "[a](../../docs/my%20notes.md)"),
        ("![a](../README.md)", "![a](../../README.md)"),
        (
            "[a]: ../README.md\n[b]: 03_third.ipynb",
            "[a]: ../../README.md\n[b]: ../../notebooks/03_third.ipynb",
        ),
        (
            "<a href=\"../README.md\">a</a><img src='../README.md'>",
            "<a href=\"../../README.md\">a</a><img src='../../README.md'>",
        ),
        (
            "[one](01_first.ipynb), [two](02_second.ipynb)",
            "[one](01_first.ipynb), [two](../../notebooks/02_second.ipynb)",
        ),
        (
            "[one](./01_first.ipynb) and [`one`](../notebooks/01_first.ipynb)",
            "[one](01_first.ipynb) and [`one`](01_first.ipynb)",
        ),
        (
            "| [a](../README.md) | [b](../README.md) |",
            "| [a](../../README.md) | [b](../../README.md) |",
        ),
    ],
)
def test_links_lead_where_they_led(places, source, copy):
    sources, copies = places
    assert relinked(source, sources, copies) == copy
    assert relinked(copy, copies, copies) == copy, "renewing the links of a copy changes nothing"
    for target in re.findall(r"(?:\]\(|\]: |href=.|src=.)([^\s)'\"#>]+)", copy):
        assert (copies / unquote(target)).exists(), target


@pytest.mark.parametrize(
    "text",
    [
        "[web](https://example.org/docs/data.md)",
        "[mail](mailto:a@b.c)",
        "[here](#top)",
        "[root](/docs/data.md)",
        "[gone](../docs/gone.md)",
        "`[code](../docs/data.md)`",
        "``[code](../docs/data.md) ` ``",
        "```\n[code](../docs/data.md)\n```",
        "~~~md\n[code](../docs/data.md)\n~~~",
        "a list [1] (../docs/data.md)",
        "f(x)[0](y)",
        "",
        "$p(x)$",
        f"[long]({'x' * 5000}.md)",
        "[data](data:image/png;base64,AAAA)",
        "[odd](../docs/\ud800.md)",
    ],
)
def test_everything_else_is_left_alone(places, text):
    assert relinked(text, *places) == text


def test_output_elsewhere_still_links_to_the_documents(places, tmp_path_factory):
    sources, _ = places
    far = tmp_path_factory.mktemp("far") / "papermill_runs" / "trial"
    far.mkdir(parents=True)
    (target,) = re.findall(r"\((.*)\)", relinked("[data](../docs/data.md)", sources, far))
    assert (far / target).resolve() == (
        sources.parent / "docs/data.md"
    ).resolve() and not os.path.isabs(target)


def prose(path) -> str:
    return nbformat.read(path, 4).cells[0].source


def test_an_executed_copy_links_to_the_copies_that_there_are(notebook, kit):
    (kit / "docs").mkdir()
    (kit / "docs/data.md").write_text("text")
    first = notebook(
        "01_first",
        "n = 1  # number",
        BEGIN.format("01_first"),
        "stage.finish({})",
        prose="[next](02_second.ipynb), [data](../docs/data.md)",
    )
    second = notebook(
        "02_second",
        "n = 1  # number",
        BEGIN.format("02_second"),
        "stage.finish({})",
        prose="[before](01_first.ipynb)",
    )
    run = kit / "papermill_runs" / "mini"
    execute(first, run / first.name, {})
    assert (
        prose(run / first.name)
        == "[next](../../notebooks/02_second.ipynb), [data](../../docs/data.md)"
    )
    (run / "03_other.ipynb").write_text("no notebook")
    execute(second, run / second.name, {})
    assert prose(run / second.name) == "[before](01_first.ipynb)"
    assert prose(run / first.name) == "[next](02_second.ipynb), [data](../../docs/data.md)", (
        "now there is a copy to link to"
    )
    assert prose(first) == "[next](02_second.ipynb), [data](../docs/data.md)", (
        "sources stay as they are"
    )
    refresh_prose(first, run / first.name)
    assert prose(run / first.name) == "[next](02_second.ipynb), [data](../../docs/data.md)"


@pytest.mark.parametrize("content", ["", "[]", "null", "{", "\xe9", "3", '{"cells": 1}'])
def test_a_damaged_copy_beside_it_does_not_stop_a_run(notebook, kit, content):
    first = notebook(
        "01_first", "n = 1  # number", BEGIN.format("01_first"), "stage.finish({})", prose="text"
    )
    notebook("02_second", "n = 1  # number")
    run = kit / "papermill_runs" / "mini"
    run.mkdir(parents=True)
    (run / "02_second.ipynb").write_text(content, encoding="latin-1")
    execute(first, run / first.name, {})
    assert (
        json.loads((run / first.name).read_text())["cells"]
        and (run / "02_second.ipynb").read_text("latin-1") == content
    )
