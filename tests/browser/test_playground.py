"""The playground as a reader uses it in JupyterLab: sliders, prompts, and pictures of the reader.

The studio has the committed weights of the miniature and no adapter, so no notebook has to run.
"""

import base64
import json
import re
import time

import numpy as np
import pytest

from alignsd.base.images import save_png

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

NOTEBOOK = "playground.ipynb"
PATIENCE = 30.0  # seconds to wait for a picture, far more than a busy machine takes
MAKE = """
from alignsd import sources
from alignsd.compare.image_metrics import ScoreModels
from alignsd.models.aesthetic import load_aesthetic
from alignsd.models.clip import load_clip
from alignsd.models.stable_diffusion import Drawing
from alignsd.play.own import ScoreYourOwn
from alignsd.play.panel import Playground
from alignsd.play.studio import Studio
clip = load_clip("miniature/clip", device="cpu")
scorers = ScoreModels(clip, clip, load_aesthetic("miniature/aesthetic"))
judge = sources.judge("miniature/judge")
room = Studio("miniature/stable-diffusion", {"": None}, scorers, judge, "cpu")
prompts = sources.prompts("miniature", 4, 0)
"""
SHOW = 'Playground(room, prompts, "", Drawing(6, 1.75))'
OWN = """
import numpy as np
ScoreYourOwn(clip, "miniature/clip", prompts[0], {"grey": np.full((64, 64, 3), 128, np.uint8)})
"""
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden) .alignsd-playground"
SCORER = ".jp-NotebookPanel:not(.lm-mod-hidden) .alignsd-score-your-own"


@pytest.fixture(scope="module")
def window(browser, repository):
    """A window on JupyterLab with a notebook that shows the playground and the ranking."""
    (repository / NOTEBOOK).write_text(json.dumps(notebook(MAKE, SHOW, OWN)))
    home = repository.parent / "home"
    with jupyterlab.serving(repository, home) as server:
        window = jupyterlab.Window(browser, server)
        window.start()
        window.open(NOTEBOOK)
        window.run_all()
        assert window.warnings() == []
        window.page.locator(PANEL).locator("img").wait_for()
        yield window


def notebook(*sources: str) -> dict:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source}
        | {"outputs": [], "execution_count": None}
        for number, source in enumerate(sources)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def panel(window):
    panel = window.page.locator(PANEL)
    panel.scroll_into_view_if_needed()
    return panel


def picture(panel) -> str:
    return panel.locator("img").first.get_attribute("src")


def knob(panel, name: str):
    """Return the row of a knob: description and control."""
    return panel.locator(".widget-inline-hbox", has_text=re.compile(rf"^{name}"))


def remark(panel) -> str:
    return panel.locator("[role=status]").inner_text()


def until_new(panel, before: str, what: str) -> float:
    """Wait until another picture is there, and return how long that took, in seconds."""
    started = time.monotonic()
    jupyterlab.until(lambda: picture(panel) != before, what, PATIENCE)
    return time.monotonic() - started


def test_a_slider_draws_a_new_picture(panel, record_property):
    handle = knob(panel, "guidance").locator(".noUi-handle")
    seconds = []
    for _ in range(5):
        before = picture(panel)
        handle.press("ArrowRight")
        seconds.append(until_new(panel, before, "a picture at another guidance"))
    record_property("seconds", seconds)
    print("seconds from a slider to a new picture:", np.round(seconds, 2))
    jupyterlab.until(lambda: "Drawn in" in remark(panel), "a remark on the time", PATIENCE)


def test_a_dragged_slider_ends_with_the_picture_of_its_last_value(panel):
    handle = knob(panel, "seed").locator(".noUi-handle")

    def drawn_with(seed: int) -> str:
        wanted = f"with seed {seed}."
        jupyterlab.until(lambda: wanted in remark(panel), f"a picture {wanted}", PATIENCE)
        return picture(panel)

    first = int(handle.get_attribute("aria-valuenow").split(".")[0])
    for _ in range(12):
        handle.press("ArrowRight")
    last = drawn_with(first + 12)
    handle.press("ArrowLeft")
    assert drawn_with(first + 11) != last
    handle.press("ArrowRight")
    assert drawn_with(first + 12) == last


def test_a_typed_prompt_is_drawn_and_unknown_words_are_told(panel):
    field = panel.locator(".widget-text input").first
    before = picture(panel)
    field.fill("a <b>dog</b> in a red shirt waving on the beach")
    field.press("Enter")
    until_new(panel, before, "a picture of the typed prompt")
    told = "has never seen these words: dog"
    jupyterlab.until(lambda: told in remark(panel), "a remark on the words", PATIENCE)
    assert panel.locator("figure b").count() == 0


def test_an_example_becomes_the_prompt(panel):
    chosen = panel.locator("select").first.locator("option").nth(2).inner_text()
    before = picture(panel)
    panel.locator("select").first.select_option(index=2)
    until_new(panel, before, "a picture of the example")
    assert panel.locator(".widget-text input").first.input_value() == chosen.replace("\xa0", " ")


def test_no_model_no_picture_and_no_red_output(window, panel):
    panel.locator("input[type=checkbox]").first.uncheck()
    jupyterlab.until(lambda: "Choose" in remark(panel), "a remark on the models", PATIENCE)
    assert window.warnings() == []


def test_pictures_of_the_reader_are_ranked_and_bad_files_are_told(window, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.png"):
        save_png(tmp_path / name, rng.integers(0, 256, (48, 80, 3), dtype=np.uint8))
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes(b"<html>no picture</html>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "one.png").read_bytes()[:300])
    scorer = window.page.locator(SCORER)
    scorer.scroll_into_view_if_needed()
    with window.page.expect_file_chooser() as asked:
        scorer.locator("button").first.click()
    asked.value.set_files(sorted(tmp_path.iterdir()))
    jupyterlab.until(lambda: scorer.locator("figure").count() == 2, "a ranking", PATIENCE)
    told = scorer.locator("li").all_inner_texts()
    assert len(told) == 3
    assert any("cut.png is not ranked: damaged picture" in line for line in told)
    assert any("is not ranked: not a PNG" in line and "a web page" in line for line in told)
    assert "Compare only pictures of the same prompt." in told[-1]
    assert scorer.locator("figure").first.inner_text().startswith("1. ")
    assert window.warnings() == []


def test_no_state_of_a_widget_is_saved(window):
    window.save()
    saved = (window.server.repository / NOTEBOOK).read_text()
    assert "widget-state" not in saved
    shown = [output for cell in json.loads(saved)["cells"] for output in cell["outputs"]]
    pages = ["".join(output["data"].get("text/html", "")) for output in shown]
    drawn = [page for page in pages if "data:image/png;base64," in page]
    assert len(drawn) == 2, "without a kernel the first pictures stay"
    first = re.search(r"base64,([^\"]+)", drawn[0]).group(1)
    assert base64.b64decode(first).startswith(b"\x89PNG")
