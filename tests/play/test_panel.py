"""The playground without a browser: what is shown of settings, and which wishes are dropped."""

import asyncio
import base64
import time
from dataclasses import replace

import numpy as np
import pytest
from studio_of_tests import PROMPT

from alignsd.models.stable_diffusion import Drawing
from alignsd.play import blind, cards
from alignsd.play.newest import Newest
from alignsd.play.panel import Playground, panel
from alignsd.play.studio import Wish, plan_seed
from alignsd.teach.live import WIDGETS

pytest_plugins = ["studio_of_tests"]
DOLLARS = "a person in a red shirt waving on the beach, $5 or $6 <b>"


@pytest.fixture(scope="module")
def playground(studio):
    return Playground(studio, [PROMPT, DOLLARS], "at night", Drawing(1, 2.0), seed=3)


def test_the_first_settings_draw_every_model(playground):
    shown = playground.show(playground.first)
    assert [card.title for card in shown.cards] == [
        "original",
        "regularization only",
        "adapted",
    ]
    assert shown.remark.startswith("Drawn in ")
    drawn = playground.studio.draw(
        [Wish(PROMPT, plan_seed(3), "adapted", negative="at night")], Drawing(1, 2.0)
    )
    difference = shown.cards[2].pixels.astype(int) - drawn[0].pixels
    assert np.abs(difference).max() <= 1


def test_remarks_tell_what_the_model_cannot_do(playground):
    settings = replace(playground.first, prompt="a dog", guidance=1.0)
    remarks = " ".join(playground.remarks(settings))
    assert "never seen these words: dog." in remarks
    assert "does not look at the negative prompt" in remarks
    assert playground.remarks(playground.first) == []
    long = replace(playground.first, prompt="red shirt " * 40)
    assert "too long" in " ".join(playground.remarks(long))


def test_errors_become_remarks(playground, monkeypatch):
    strange = playground.show(replace(playground.first, strength=2.0))
    assert strange.cards == () and "strength" in strange.remark
    none = playground.show(replace(playground.first, adapters=()))
    assert none.cards == () and "Choose at least one model" in none.remark

    def fail(*arguments):
        raise RuntimeError("out of memory <b>")

    monkeypatch.setattr(playground.studio, "draw", fail)
    stopped = playground.show(playground.first)
    assert stopped.remark == "The drawing stopped with RuntimeError: out of memory <b>"


def test_in_a_batch_run_the_first_pictures_are_a_figure(playground, monkeypatch, style):
    monkeypatch.setenv(WIDGETS, "0")
    data, metadata = playground._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert set(data) == {"image/png", "text/plain"}
    assert f'prompt "{PROMPT}", seed 3, 1 steps, guidance 2' in data["text/plain"]
    assert "adapted" in metadata["image/png"]["alt"]


def described(widget):
    """Yield the widgets with a description, which a reader can move."""
    if getattr(widget, "description", ""):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from described(child)


def test_a_moved_knob_shows_another_picture(playground):
    """Without an event loop the work is done at once."""
    first = playground.show(playground.first)
    box = panel(playground, first)
    *_, state, pictures = box.children
    knobs = {knob.description: knob for knob in described(box)}
    assert pictures.value == cards.as_html(first.cards)
    knobs["adapted"].value = knobs["regularization only"].value = False
    assert pictures.value.count("<img") == 1
    one = pictures.value
    knobs["guidance"].value = 4.0
    assert pictures.value != one and "Drawn in" in state.value
    knobs["guidance"].value = 2.0
    assert pictures.value == one
    knobs["original"].value = False
    assert pictures.value == one and "Choose at least one model" in state.value
    knobs["examples"].value = DOLLARS
    assert knobs["prompt"].value == DOLLARS


def test_cards_are_escaped_and_dollar_signs_are_no_formulas():
    card = cards.Card("<b>$x$</b>", np.zeros((4, 4, 3), np.uint8), ('"quoted" & <i>',))
    page = cards.as_html([card])
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;$x$" in page
    assert "tex2jax_ignore" in page and 'alt="&lt;b&gt;$x$&lt;/b&gt;, &quot;quoted&quot;' in page


def test_large_pictures_are_scaled_down_for_the_browser():
    large = np.random.default_rng(0).integers(0, 256, (1200, 600, 3), dtype=np.uint8)
    small = cards.data_url(large)
    assert small.startswith("data:image/png;base64,")
    from alignsd.base.images import read_image

    pixels = read_image(base64.b64decode(small.split(",")[1]))
    assert pixels.shape == (512, 256, 3)


def test_only_the_newest_wish_is_shown():
    worked, shown = [], []

    def work(wish):
        time.sleep(0.05)
        worked.append(wish)
        return wish

    async def drag():
        newest = Newest(work, shown.append, delay=0.02)
        for wish in range(5):  # these come faster than the work begins
            newest.ask(wish)
        await asyncio.sleep(0.045)
        newest.ask(5)  # this overtakes the work on 4
        await asyncio.sleep(0.4)
        newest.ask(6)
        await asyncio.sleep(0.4)

    asyncio.run(drag())
    assert worked[-2:] == [5, 6] and set(worked) <= {4, 5, 6}
    assert shown == [5, 6]


def test_votes_are_counted_as_a_sentence():
    import pandas as pd

    none = pd.DataFrame({"picked": pd.array([None, None], dtype="Int64")})
    assert "not chosen" in blind.result(none)
    some = pd.DataFrame({"picked": pd.array([1, 0, 1, None, 1], dtype="Int64")})
    assert "in 3 of 4 pairs: 75 %" in blind.result(some)
