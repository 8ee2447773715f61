"""Figures with prompts of every kind.

Whatever a prompt holds is drawn as text, never as a formula, and without a warning.
"""

import warnings

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from alignsd.base.images import save_png
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File
from alignsd.figures import (
    collecting,
    finetuning,
    method,
    pictures,
    publish,
    qualitative,
    selecting,
)
from alignsd.figures.text import NO_GLYPH, drawable, font_glyphs, shortened
from alignsd.kit.views import REPLACEMENT

pytestmark = pytest.mark.usefixtures("style")

ODD = {
    "two amounts": "a $5 bill and a $10 bill on a table",
    "names": "ke$ha and a$ap rocky",
    "formula": "$a_b_c$ in neon",
    "broken formula": r"cost $\foo{$ lol",
    "fraction": r"$\frac{1$ and $\frac$",
    "caret": "$a^$",
    "braces": "${x$ {} }{ $}$",
    "double dollars": "$$$ money $$$",
    "escaped dollar": r"\$5 and \$6 and $7$",
    "surrogate": "a \ud800 cat \udfff",
    "control characters": "a\x00b\x07c\x1b[31m\x7f",
    "newlines": "a\ncat\r\non\u2028a\u2029mat\v\f",
    "right to left": "قطة على سجادة and חתול",
    "turned": "a \u202ecat\u202c on \u2067a mat\u2069",
    "emoji": "a cat 🐱 and a family 👨‍👩‍👧 and ❤️",
    "chinese": "一只猫坐在垫子上",
    "combining": "e\u0301 z\u0351\u0352\u0353" + "\u0301" * 50,
    "very long": "cat " * 50_000,
    "one long word": "x" * 200_000,
    "empty": "",
    "blanks": "   \t ",
    "percent": "100 % {} {0} %s %(a)s",
    "markup": "<b>&amp;</b> [a](b) *c* _d_ `e`",
    "private use": "\ue000 \U0010ffff \U000e0041",
}
KINDS = ("examples", "offered", "failures", "ranked", "pairs", "grid", "strip", "scheme", "label")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for name in ("0.png", "1.png"):
        save_png(path / name, np.zeros((8, 8, 3), np.uint8))
    return path


def draw(kind: str, prompt: str, folder) -> plt.Figure:
    """One figure of each function that draws text of a prompt, or of a parameter."""
    fig = plt.figure(figsize=(6, 3), dpi=40)
    pixels = {"a": np.zeros((8, 8, 3), np.uint8), "b": np.zeros((8, 8, 3), np.uint8)}
    rows = pd.DataFrame(
        [
            {"prompt": prompt, "image": name, "hps": 20.0, "role": role}
            for name, role in (("a", "positive"), ("b", "negative"))
        ],
        dtype=object,
    )
    drawn = pd.DataFrame(
        [{"arm": "original", "id": "a", "prompt": prompt, "file": "0.png"}], dtype=object
    )
    if kind == "examples":
        collecting.examples(
            fig,
            pd.DataFrame(
                [{"prompt": prompt, "file_path": ["0.png", "1.png"], "human_preference": 0}],
                dtype=object,
            ),
            folder,
        )
    elif kind == "offered":
        collecting.offered(
            fig,
            [
                Choice(
                    "1",
                    "u",
                    prompt,
                    (File("0.png", "0.png", folder), File("1.png", "1.png", folder)),
                    1,
                )
            ],
        )
    elif kind == "failures":
        qualitative.failures(
            fig, pd.DataFrame([{"id": "a", "flaw": prompt}], dtype=object), drawn, folder
        )
    elif kind == "ranked":
        selecting.ranked_pictures(fig, rows, pixels)
    elif kind == "pairs":
        selecting.pair_grid(fig, rows, pixels)
    elif kind == "grid":
        pictures.picture_grid(fig, drawn, folder, ["a"], {"original": "original"})
    elif kind == "strip":
        steps = pd.DataFrame(
            [
                {"step": 0, "index": f"0-{side}", "prompt": prompt, "file": "0.png"}
                for side in ("plain", "weird")
            ],
            dtype=object,
        )
        finetuning.sample_strip(fig, steps, folder)
    elif kind == "scheme":
        method.scheme(fig.subplots(), method.steps(2, 2, 2.0, prompt))
    else:
        publish.label_preset(fig, "smoke", prompt)
    return fig


def check(kind: str, prompt: str, folder) -> None:
    fig = draw(kind, prompt, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fig.canvas.draw()
        formulas = [
            text.get_text()
            for text in fig.findobj(Text)
            if text.get_parse_math() and is_math_text(text.get_text())
        ]
        assert formulas == []
    finally:
        plt.close(fig)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ODD.values(), ids=ODD)
def test_odd_prompts_are_drawn_as_they_are(folder, kind, prompt):
    check(kind, prompt, folder)


@pytest.mark.parametrize("kind", ["examples", "failures", "pairs"])
def test_dollars_are_dollars_without_our_style_too(folder, kind):
    with plt.rc_context({"text.parse_math": True}):
        check(kind, ODD["broken formula"], folder)


@settings(max_examples=60 * CASES)
@given(prompt=st.text(st.characters(), max_size=60), kind=st.sampled_from(KINDS))
def test_generated_prompts_are_drawn(folder, prompt, kind):
    check(kind, prompt, folder)


@settings(max_examples=100 * CASES)
@given(text=st.text(st.characters(), max_size=40))
def test_drawable_keeps_what_the_font_can_draw_and_nothing_else(text):
    shown = drawable(text)
    assert "\n" not in shown and set(map(ord, shown)) <= font_glyphs()
    assert drawable(shown) == shown
    plain = [character for character in text if character.isascii() and character.isprintable()]
    kept = [character for character in shown if character.isascii()]
    assert [c for c in kept if c != " "] == [c for c in plain if c != " "]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $5 bill", "a $5 bill"),
        ("café – naïve “x” …", "café – naïve “x” …"),
        ("кот", "кот"),
        ("猫 x", f"{NO_GLYPH} x"),
        ("👨‍👩‍👧", 3 * NO_GLYPH),
        ("\ud800", REPLACEMENT),
        ("a\u202eb", "ab"),
        ("Weird image. ", "Weird image. "),
    ],
)
def test_drawable(text, expected):
    assert drawable(text) == expected


def test_a_saved_figure_holds_the_prompt_as_it_was(folder, tmp_path):
    prompt = "a $5 bill 🐱"
    fig = draw("examples", prompt, folder)
    path = publish.save(fig, "f", tmp_path, {"prompt": prompt, "half": "\ud800"}, {})
    saved = path.with_suffix(".json").read_text(encoding="utf-8")
    assert prompt in saved and r"\\ud800" in saved
    assert path.exists() and path.with_suffix(".pdf").exists()


@pytest.mark.parametrize(
    "name",
    ["surrogate", "control characters", "right to left", "chinese", "combining", "private use"],
)
def test_figures_with_odd_prompts_are_saved(folder, tmp_path, name):
    prompt = ODD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        publish.save(draw("examples", prompt, folder), "f", tmp_path, {"prompt": prompt}, {})


@pytest.mark.parametrize("width, lines", [(14, 6), (68, 1), (24, 3)])
@pytest.mark.parametrize("prompt", ODD.values(), ids=ODD)
def test_a_prompt_of_any_length_takes_no_more_room_than_it_has(prompt, width, lines):
    short = shortened(prompt, width, lines).split("\n")
    assert len(short) <= lines and max(map(len, short)) <= width


def test_a_picture_that_is_missing_leaves_its_place_with_the_reason(folder):
    fig = plt.figure()
    rows = pd.DataFrame(
        [{"prompt": "a cat", "file_path": ["0.png", "gone.png"], "human_preference": 0}]
    )
    collecting.examples(fig, rows, folder)
    texts = [
        [text.get_text() for text in ax.texts] for ax in fig.findobj(plt.Axes) if ax.get_visible()
    ]
    assert texts == [[], ["missing file"]] or texts[0] == [] and "missing" in texts[1][0]


@pytest.mark.parametrize("prompt", [ODD["two amounts"], ODD["markup"], ODD["formula"]])
def test_a_table_of_prompts_shows_no_formula_and_no_markup(prompt):
    shown = pd.DataFrame({"prompt": [prompt]})._repr_html_()
    assert "tex2jax_ignore" in shown and "<b>" not in shown
