"""The chooser as a reader uses it in JupyterLab: mouse, keys, reload, a second tab."""

import json
import shutil

import pytest

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

NOTEBOOK = "chooser.ipynb"
QUESTIONS = 8
MAKE = f"""
from pathlib import Path
import numpy as np
from alignsd.choose.deck import deck_of_arrays
from alignsd.choose.session import Session
from alignsd.choose.widget import Chooser
rng = np.random.default_rng(0)
drawn = rng.integers(0, 256, ({QUESTIONS}, 4, 64, 64, 3), dtype=np.uint8)
prompts = [f"<b>prompt</b> {{number}}" for number in range({QUESTIONS})]
deck = deck_of_arrays("drawn", prompts, drawn, Path("drawn"))
chooser = Chooser(Session(deck, Path("votes/drawn.jsonl")))
"""
TELL = "print('picked', chooser.session.folded()['picked'].tolist())"


@pytest.fixture(scope="module")
def window(browser, repository):
    """A window on JupyterLab with a notebook whose second cell shows a chooser."""
    (repository / NOTEBOOK).write_text(json.dumps(notebook(MAKE, "chooser", TELL)))
    home = repository.parent / "home"
    with jupyterlab.serving(repository, home) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        window.open(NOTEBOOK)
        yield window


@pytest.fixture
def chooser(window):
    """The chooser with no question answered, in a notebook that was just run."""
    shutil.rmtree(window.server.repository / "votes", ignore_errors=True)
    window.run_all()
    shown = chooser_in(window)
    shown.wait_for()
    return shown


def notebook(*sources: str) -> dict:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source}
        | {"outputs": [], "execution_count": None}
        for number, source in enumerate(sources)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def chooser_in(window):
    return window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .alignsd-chooser")


def count(chooser) -> str:
    return chooser.locator(".alignsd-count").inner_text()


def until_at(chooser, number: int) -> None:
    """Wait until the chooser shows a question."""
    where = f"{number} of {QUESTIONS}"
    jupyterlab.until(lambda: count(chooser) == where, f"question {where}, not {count(chooser)}")


def pick_by_key(window, chooser, key: str, number: int) -> None:
    window.page.keyboard.press(key)
    until_at(chooser, number)


def events(window) -> list[dict]:
    """Return the events on the disk."""
    file = window.server.repository / "votes/drawn.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def picked_in_the_kernel(window) -> list:
    """Return the picks that the last cell prints."""
    window.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
    window.command("notebook:run-cell")
    cell = window.notebook()["cells"][2]
    text = "".join("".join(output["text"]) for output in cell["outputs"])
    return json.loads(text.removeprefix("picked ").replace("<NA>", "null"))


def test_picks_by_mouse_are_on_disk_and_in_the_kernel(window, chooser):
    assert window.warnings() == [] and count(chooser) == f"1 of {QUESTIONS}"
    assert chooser.locator(".alignsd-prompt").inner_text().startswith("<b>prompt</b> ")
    pictures = chooser.locator(".alignsd-picture")
    assert pictures.count() == 4
    labels = [pictures.nth(place).get_attribute("aria-label") for place in range(4)]
    assert labels == [f"Picture {place} of 4" for place in (1, 2, 3, 4)]
    pictures.nth(2).click()
    until_at(chooser, 2)
    pictures.nth(0).click()
    until_at(chooser, 3)
    kept = events(window)
    assert [event["event"] for event in kept] == ["pick", "pick"]
    assert [event["shown"].index(event["picked"]) for event in kept] == [2, 0]
    assert all(event["seconds"] > 0 for event in kept)
    assert picked_in_the_kernel(window) == [event["picked"] for event in kept]


def test_keys_pick_skip_and_undo(window, chooser):
    chooser.locator(".alignsd-prompt").click()
    pick_by_key(window, chooser, "4", 2)
    pick_by_key(window, chooser, "0", 3)
    pick_by_key(window, chooser, "1", 4)
    pick_by_key(window, chooser, "u", 3)
    pick_by_key(window, chooser, "Shift+U", 2)
    pick_by_key(window, chooser, "2", 3)
    told = [event["event"] for event in events(window)]
    assert told == ["pick", "skip", "pick", "undo", "undo", "pick"]
    first, *_, last = events(window)
    assert picked_in_the_kernel(window) == [first["picked"], last["picked"]]


def test_the_shortcuts_of_jupyterlab_do_no_harm(window, chooser):
    """x cuts a cell, d d deletes it, a and b insert cells, where a cell has the focus."""
    before = [cell["source"] for cell in window.notebook()["cells"]]
    places = (".alignsd-prompt", ".alignsd-picture >> nth=3", ".alignsd-action >> nth=1")
    for number, place in enumerate(places, 2):
        target = chooser.locator(place)
        if "prompt" in place:
            target.click()
        else:
            target.focus()
        for key in ("x", "d", "d", "a", "b", "c", "v", "z", "m", "Shift+M"):
            window.page.keyboard.press(key)
        assert [cell["source"] for cell in window.notebook()["cells"]] == before
        assert all(cell["cell_type"] == "code" for cell in window.notebook()["cells"])
        pick_by_key(window, chooser, "3", number)
    assert window.notebook()["cells"][1]["outputs"], "the chooser's cell lost its output"


def test_keys_do_nothing_where_the_chooser_has_no_focus(window, chooser):
    window.page.evaluate("document.activeElement.blur()")
    for key in ("2", "0", "u"):
        window.page.keyboard.press(key)
    window.page.wait_for_timeout(300)
    assert events(window) == [] and count(chooser) == f"1 of {QUESTIONS}"


def test_a_press_is_one_answer_and_no_new_picture_has_the_focus(window, chooser):
    second = chooser.locator(".alignsd-picture").nth(1)
    second.focus()
    window.page.keyboard.press("Enter")
    until_at(chooser, 2)
    focused = window.page.evaluate("document.activeElement.className")
    assert "alignsd-chooser" in focused and "alignsd-picture" not in focused
    chooser.locator(".alignsd-picture").nth(0).dblclick()
    until_at(chooser, 3)
    window.page.wait_for_timeout(300)
    assert len(events(window)) in (2, 3)  # the second click may meet the next question
    assert len({event["question"] for event in events(window)}) == len(events(window))


def test_a_reload_of_the_page_resumes(window, chooser):
    chooser.locator(".alignsd-prompt").click()
    pick_by_key(window, chooser, "1", 2)
    pick_by_key(window, chooser, "2", 3)
    prompt = chooser.locator(".alignsd-prompt").inner_text()
    window.save()
    saved = json.loads((window.server.repository / NOTEBOOK).read_text())
    assert "widgets" not in saved["metadata"], "a widget's state was saved"
    assert "In JupyterLab you choose here" in "".join(
        saved["cells"][1]["outputs"][0]["data"]["text/html"]
    )
    window.page.reload()
    window.page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget")
    window.open(NOTEBOOK)
    again = chooser_in(window)
    again.wait_for()
    until_at(again, 3)
    assert again.locator(".alignsd-prompt").inner_text() == prompt
    again.locator(".alignsd-prompt").click()
    pick_by_key(window, again, "u", 2)
    pick_by_key(window, again, "4", 3)
    assert len(picked_in_the_kernel(window)) == 2


def test_two_tabs_see_each_other_and_lose_nothing(window, browser, chooser):
    window.save()
    other = jupyterlab.Window(browser, window.server)
    other.page.goto(window.server.address.replace("/?", f"/lab/tree/{NOTEBOOK}?"))
    other.page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget")
    other.open(NOTEBOOK)
    twin = chooser_in(other)
    twin.wait_for()
    chooser.locator(".alignsd-picture").nth(1).click()
    for each in (chooser, twin):
        until_at(each, 2)
    twin.locator(".alignsd-picture").nth(3).click()
    for each in (chooser, twin):
        until_at(each, 3)
    chooser.get_by_role("button", name="Undo").click()
    for each in (chooser, twin):
        until_at(each, 2)
    other.page.close()
    assert [event["event"] for event in events(window)] == ["pick", "pick", "undo"]
    assert len(picked_in_the_kernel(window)) == 1


def test_the_end_is_told_and_a_new_kernel_continues(window, chooser):
    chooser.locator(".alignsd-prompt").click()
    for number in range(2, QUESTIONS + 1):
        pick_by_key(window, chooser, "2", number)
    window.page.keyboard.press("1")
    chooser.locator(".alignsd-thanks").wait_for()
    assert f"All {QUESTIONS} questions are answered" in chooser.inner_text()
    assert len(picked_in_the_kernel(window)) == QUESTIONS
    window.page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    window.run_all()
    again = chooser_in(window)
    again.locator(".alignsd-thanks").wait_for()
    assert len(picked_in_the_kernel(window)) == QUESTIONS


def test_the_chooser_fits_a_window_of_1200_pixels(window, chooser):
    width, room = chooser.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert window.page.viewport_size["width"] == 1200 and width <= room
    boxes = chooser.evaluate(  # in one go: a picture that is drawn anew has no box for a moment
        """e => [...e.querySelectorAll('.alignsd-picture img')]
            .map(img => img.getBoundingClientRect().toJSON())"""
    )
    assert len({box["y"] for box in boxes}) == 1, "four pictures stand in one row"
    assert all(box["width"] >= 128 for box in boxes), "64 pixels are shown enlarged"
