"""The chooser in a notebook: a widget where a person sits, a sheet of pictures elsewhere."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from alignsd.base.images import read_image, save_png
from alignsd.choose.data_urls import LARGEST_SIDE, data_url, small_data_url
from alignsd.choose.questions import Deck, Question
from alignsd.choose.session import Session
from alignsd.choose.widget import SHOWN, Chooser
from alignsd.teach import live


def opened(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2])))


@pytest.fixture
def chooser(make_deck, votes_file):
    return Chooser(Session(make_deck(8), votes_file))


@pytest.fixture
def widget(make_deck, votes_file):
    from alignsd.choose.live_chooser import LiveChooser

    return LiveChooser(Session(make_deck(3), votes_file))


def send(widget, event, picked=None, question=None):
    """Act as a tab does."""
    message = {"event": event, "question": question or widget.view["question"], "picked": picked}
    widget._handle_custom_msg(message, [])


def test_without_a_person_there_is_a_sheet_and_no_widget(chooser, monkeypatch):
    monkeypatch.delenv("ALIGNSD_WIDGETS", raising=False)
    bundle = chooser._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"} and chooser._widget is None
    assert bundle["text/plain"] == "8 questions of the deck choices, 0 answered."
    page = bundle["text/html"]
    assert page.count("<img ") == 4 * SHOWN == page.count("data:image/png;base64,")
    assert f"the first {SHOWN} of 8 questions" in page
    first = chooser.session.view()
    assert page.index(first["prompt"]) < page.index("<img ")
    addresses = re.findall(r'src="([^"]*)"', page)
    for address, shown in zip(addresses, first["pictures"], strict=False):
        expected = read_image(chooser.session.deck.folder / shown["file"])
        assert (np.asarray(opened(address).convert("RGB")) == expected).all()


def test_with_a_person_there_is_a_widget_and_the_sheet_as_well(chooser, monkeypatch):
    monkeypatch.setenv("ALIGNSD_WIDGETS", "1")
    bundle = chooser._repr_mimebundle_()
    assert set(bundle) == {live.WIDGET_VIEW, "text/html", "text/plain"}
    model = bundle[live.WIDGET_VIEW]["model_id"]
    assert chooser._repr_mimebundle_()[live.WIDGET_VIEW]["model_id"] == model


def test_a_prompt_is_text_on_the_sheet(make_deck, votes_file):
    deck = make_deck(1)
    hostile = "<img src=x onerror=alert(1)> costs $5 and $6"
    question = Question("0", hostile, deck.questions[0].pictures)
    page = Chooser(Session(Deck("choices", deck.folder, (question,)), votes_file))._sheet()
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt; costs $5" in page
    assert "mathjax_ignore" in page


def test_the_widget_keeps_each_answer_and_shows_the_next_question(widget, votes_file):
    first = widget.view
    assert first["number"] == 1 and len(widget.pictures) == 12
    send(widget, "pick", 2)
    assert len(votes_file.read_text().splitlines()) == 1
    assert widget._session.folded()["picked"].tolist() == [2]
    assert widget.view["number"] == 2 and widget.view["question"] != first["question"]
    send(widget, "skip")
    send(widget, "undo")
    assert widget.view["number"] == 2
    send(widget, "pick", 0)
    send(widget, "pick", 1)
    assert widget.view["done"] and widget.view["after"] and widget.pictures == {}
    send(widget, "undo")
    present = {picture["file"] for picture in widget.view["pictures"]}
    assert widget.view["number"] == 3 and present <= set(widget.pictures)


def test_pictures_are_there_before_their_view(widget):
    seen = []

    def note(change):
        present = {picture["file"] for picture in change["new"]["pictures"]}
        seen.append(present <= set(widget.pictures))

    widget.observe(note, "view")
    for event in ("skip", "skip", "undo", "undo", "skip", "skip", "skip", "undo"):
        send(widget, event)
    assert seen == [True] * 8


def test_a_late_answer_of_another_tab_is_answered_with_the_present_view(widget):
    first = widget.view["question"]
    send(widget, "pick", 1)
    before = widget.view
    send(widget, "pick", 3, question=first)
    assert widget.view["question"] == before["question"] and widget.view != before
    assert widget._session.folded()["picked"].tolist() == [1]


def test_another_process_is_seen_when_a_tab_looks(widget):
    other = Session(widget._session.deck, widget._session.votes)
    other.pick(widget.view["question"], 0)
    send(widget, "look")
    assert widget.view["number"] == 2


def test_what_went_wrong_is_shown(widget, votes_file):
    send(widget, "pick", 7)
    assert "no such picture" in widget.view["error"] and not votes_file.exists()
    send(widget, "pick", 1)
    assert widget.view["error"] == "" and widget.view["number"] == 2


def test_damage_to_the_votes_is_shown_and_ends_when_the_file_is_mended(widget, votes_file):
    send(widget, "pick", 1)
    kept = votes_file.read_text()
    votes_file.write_text(f"damage\n{kept}")
    send(widget, "pick", 1)
    assert "line 1 of" in widget.view["error"] and widget.view["number"] == 2
    votes_file.write_text(kept)
    send(widget, "pick", 1)
    assert widget.view["error"] == "" and widget.view["number"] == 3


def test_importing_the_chooser_imports_no_widget_library():
    code = "import sys, alignsd.choose.widget; print('anywidget' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_light_picture_travels_unchanged_and_a_heavy_one_is_made_lighter(tmp_path):
    light, heavy = tmp_path / "light.png", tmp_path / "heavy.png"
    noise = np.random.default_rng(0).integers(0, 256, (1200, 600, 3), dtype=np.uint8)
    save_png(light, noise[:64, :64])
    save_png(heavy, noise)
    assert base64.b64decode(data_url(light).partition("base64,")[2]) == light.read_bytes()
    sent = opened(data_url(heavy))
    assert sent.format == "JPEG" and sent.size == (LARGEST_SIDE // 2, LARGEST_SIDE)
    small = opened(small_data_url(heavy, 128))
    assert small.format == "PNG" and small.size == (64, 128)
