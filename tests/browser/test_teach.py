"""A lesson in JupyterLab: guess by mouse, move a slider, solve an exercise, come back later."""

import time

import nbformat
import pytest

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

LESSON = "lab/lesson.ipynb"
CELLS = {
    "number": """from alignsd.teach import exercises, guess, sliders
share = guess.number("What share of the clicks is careless?", 0, 100, "%")
share""",
    "option": """best = guess.one_of("Which score is best?", ["CLIP", "HPS", "chance <b>$1$</b>"])
best""",
    "revealed": "share.reveal(33.123)",
    "right": 'best.reveal("HPS")',
    "explore": """from matplotlib import pyplot as plt

def draw(height):
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.bar(["a", "b"], [1, height])
    return fig

sliders.explore(draw, height=sliders.Slider(0, 3, 0.1, 1, label="height of b"))""",
    "exercise": """import numpy as np

def luce(utilities):
    return utilities / utilities.sum()

exercises.check("luce", luce)""",
}
WRONG = "return utilities / utilities.sum()"
RIGHT = "chances = np.exp(utilities - utilities.max())\n    return chances / chances.sum()"


@pytest.fixture(scope="module")
def window(browser, repository):
    """A window on the lesson, of which all cells were run."""
    home = repository.parent / "home"
    with jupyterlab.serving(repository, home) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        write_lesson(repository)
        window.open(LESSON)
        window.run_all()
        yield window


def write_lesson(repository) -> None:
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in CELLS.items()]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), repository / LESSON)


def place(name: str) -> int:
    return list(CELLS).index(name)


def output(window, name: str):
    """Return the output of a cell of the lesson."""
    cell = window.cells().nth(place(name))
    cell.scroll_into_view_if_needed()
    return cell.locator(".jp-OutputArea-output").first


def text_of_notebook(window) -> str:
    return window.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").inner_text()


def run(window, name: str) -> None:
    window.page.evaluate(
        "index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index }",
        place(name),
    )
    window.command("notebook:run-cell")


def drag(window, handle, pixels: int) -> None:
    """Move the handle of a slider by mouse."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    window.page.mouse.move(x, y)
    window.page.mouse.down()
    window.page.mouse.move(x + pixels / 2, y, steps=3)
    window.page.mouse.move(x + pixels, y, steps=3)
    window.page.mouse.up()


def test_nothing_is_red_and_no_figure_is_shown_twice(window):
    assert window.warnings() == []
    shown = [cell["outputs"] for cell in window.notebook()["cells"]]
    assert [len(outputs) for outputs in shown] == [1] * len(CELLS)


def test_without_a_guess_the_result_says_so(window):
    said = "This run: 33.1 %. You made no guess."
    assert said in output(window, "revealed").inner_text()


def test_a_number_is_guessed_by_mouse_and_revealed(window):
    question = output(window, "number")
    assert "What share of the clicks is careless?" in question.inner_text()
    handle = question.locator(".noUi-handle")
    drag(window, handle, -80)
    guessed = float(handle.get_attribute("aria-valuenow"))
    assert 10 < guessed < 50
    question.get_by_text(f"Your guess: {guessed:g} %").wait_for()
    run(window, "revealed")
    said = f"Your guess: {guessed:g} %. This run: 33.1 %."
    output(window, "revealed").get_by_text(said).wait_for()
    assert output(window, "revealed").locator("svg").is_visible()


def test_an_option_is_guessed_by_mouse_and_revealed(window):
    question = output(window, "option")
    assert "chance <b>$1$</b>" in question.inner_text()
    assert question.locator("input:checked").count() == 0
    question.get_by_text("CLIP", exact=True).click()
    question.get_by_text("Your guess: CLIP").wait_for()
    run(window, "right")
    said = "Your guess: CLIP. This run: HPS. Your guess is not what happened here."
    output(window, "right").get_by_text(said).wait_for()


def test_keys_move_the_control_and_leave_the_notebook_alone(window):
    """In JupyterLab ``x`` cuts a cell, ``a`` and ``b`` insert cells, an arrow leaves the cell."""
    before = [cell["source"] for cell in window.notebook()["cells"]]
    handle = output(window, "number").locator(".noUi-handle")
    value = handle.get_attribute("aria-valuenow")
    handle.focus()
    for key in ("x", "d", "d", "a", "b", "ArrowRight"):
        window.page.keyboard.press(key)
    assert float(handle.get_attribute("aria-valuenow")) > float(value)
    radio = output(window, "option").locator("input[type=radio]")
    radio.first.focus()
    for key in ("x", "d", "d", "a", "b", "ArrowDown"):
        window.page.keyboard.press(key)
    assert radio.nth(1).is_checked()
    output(window, "option").get_by_text("Your guess: HPS").wait_for()
    assert [cell["source"] for cell in window.notebook()["cells"]] == before


def test_a_moved_slider_draws_a_new_picture(window):
    figure = output(window, "explore")
    picture = figure.locator("img")
    picture.wait_for()
    old = picture.get_attribute("src")
    drag(window, figure.locator(".noUi-handle"), 90)
    start = time.monotonic()
    window.page.wait_for_function(
        "([image, old]) => image.src !== old", arg=[picture.element_handle(), old]
    )
    seconds = time.monotonic() - start
    print(f"from the move to the new picture: {seconds:.2f} s")
    sizes = "image => [image.naturalWidth, image.naturalHeight, image.width, image.height]"
    assert picture.evaluate(sizes) == [400, 200, 400, 200]


def test_an_exercise_is_wrong_then_right(window):
    verdict = output(window, "exercise")
    assert verdict.inner_text().startswith("wrong:") and "takes exp first" in verdict.inner_text()
    window.edit_cell(WRONG, RIGHT)
    run(window, "exercise")
    output(window, "exercise").get_by_text("agrees with ours").wait_for()


def test_a_notebook_that_is_opened_again_has_its_controls_while_the_kernel_lives(window):
    window.save()
    window.close()
    window.open(LESSON)
    output(window, "explore").locator(".noUi-handle").wait_for()
    assert "Error displaying widget" not in text_of_notebook(window)
    assert "widgets" not in window.notebook()["metadata"]


def test_without_its_kernel_a_notebook_shows_the_questions_and_the_figure(window):
    window.save()
    window.command("notebook:shutdown-kernel")
    window.close()
    window.open(LESSON)
    picture = output(window, "explore").locator("img")
    picture.wait_for()
    assert picture.get_attribute("src").startswith("data:image/png")
    assert "In JupyterLab you move" in output(window, "explore").inner_text()
    assert "(2) HPS" in output(window, "option").inner_text()
    assert "Error displaying widget" not in text_of_notebook(window)
