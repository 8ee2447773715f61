"""The collection's figures show the numbers of their tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from alignsd.base.images import save_png
from alignsd.choose.deck import Deck, Question
from alignsd.collect import hpd
from alignsd.collect.choices import Choice
from alignsd.collect.discord import File
from alignsd.figures import collecting


@pytest.fixture
def choices(tmp_path):
    paths = []
    for number, count in enumerate([4] * 8 + [3, 2]):
        paths.append([hpd.image_path(number, index) for index in range(count)])
    table = pd.DataFrame(
        {
            "file_path": paths,
            "human_preference": [3, 3, 3, 3, 0, 1, 2, 2, 0, 1],
            "prompt": ["a cat on a hat"] * 9 + ["cat " * 60],
        }
    )
    for path in table["file_path"].explode():
        save_png(tmp_path / path, np.zeros((8, 8, 3), dtype=np.uint8))
    return table


@pytest.fixture
def ax():
    return plt.figure().subplots()


def heights(ax):
    """Return the heights of each group of bars."""
    groups = [bars for bars in ax.containers if isinstance(bars, BarContainer)]
    return [[round(bar.get_height(), 1) for bar in bars] for bars in groups]


def texts(artist):
    return [text.get_text() for text in artist.texts]


def test_images_per_choice(ax, choices):
    ours, real = heights(collecting.images_per_choice(ax, choices))
    assert ours == [10.0, 10.0, 80.0] and real == [1.9, 3.3, 94.7]


def test_positions_beside_the_real_ones(ax, choices):
    ours, real = heights(collecting.chosen_positions(ax, hpd.positions(choices)))
    assert ours == [12.5, 12.5, 25.0, 50.0] and real == [22.7, 22.4, 23.9, 31.1]


def test_no_choice_with_four_images_draws_empty_bars(ax, choices):
    positions = hpd.positions(choices.tail(2))
    ours, _ = heights(collecting.chosen_positions(ax, positions))
    assert ours == [0, 0, 0, 0]


def test_prompt_lengths_counts_every_prompt(ax, choices):
    collecting.prompt_lengths(ax, choices)
    assert sum(bar.get_height() for bar in ax.patches) == 10 and len(ax.patches) <= 41


def test_examples_frame_the_chosen_image(choices, tmp_path):
    fig = collecting.examples(plt.figure(), choices.tail(3), tmp_path)
    axes = [[ax for ax in cell.axes if ax.get_visible()] for cell in fig.subfigs]
    assert [len(cell) for cell in axes] == [4, 3, 2, 0]
    framed = [[ax.spines["top"].get_visible() for ax in cell] for cell in axes[:3]]
    assert framed == [[False, False, True, False], [True, False, False], [False, True]]


def said(number, author, text="", files=(), reply="", bot=False):
    """A message as it stands in an export."""
    uploads = []
    for index, name in enumerate(files):
        uploads.append({"id": f"{number}{index}", "url": name, "fileName": name})
    return {
        "id": str(number),
        "type": "Reply" if reply else "Default",
        "content": text,
        "attachments": uploads,
        "author": {"id": author, "isBot": bot},
        "reference": {"messageId": reply} if reply else None,
    }


CHANNEL = [
    said(1, "ann", '!dream "a cat"'),
    said(2, "bob", '!dream "a dog"'),
    said(3, "bot", files=["0.png", "1.png"], reply="1", bot=True),
    said(4, "cy", "what a nice cat", reply="1"),
    {"id": "no message"},
    said(5, "bot", files=["2.png", "3.png"], reply="2", bot=True),
    said(6, "ann", '!dream "a cat"', files=["1.png"]),
    said(7, "bot", files=["refined.png"], reply="6", bot=True),
    said(8, "ann", '!dream "a cow"'),
]


def choice(folder, answer="3"):
    files = tuple(File(name, name, folder) for name in ("0.png", "1.png"))
    return Choice(answer, "hash", "a cat", files, 1)


def test_an_exchange_is_the_messages_of_one_choice_without_names(tmp_path):
    table = collecting.exchange(iter(CHANNEL), choice(tmp_path))
    assert table.rows == [
        ["the person", "a cat", "-"],
        ["the bot", "-", "0.png, 1.png"],
        ["the person", "a cat", "1.png"],
        ["the bot", "-", "refined.png"],
    ]
    assert "ann" not in str(table) + table._repr_html_() and table.below == ""


def test_an_answer_without_a_request_of_its_own_shows_what_there_is(tmp_path):
    channel = [
        said(3, "bot", files=["0.png", "1.png"], bot=True),
        said(4, "bob", "hello"),
        said(5, "bot", "talk", bot=True),
    ]
    table = collecting.exchange(channel, choice(tmp_path))
    assert table.rows == [["the bot", "-", "0.png, 1.png"]]


@pytest.mark.parametrize("is_known", [True, False])
def test_no_choice_gives_an_empty_table_that_says_so(tmp_path, is_known):
    of_another_channel = choice(tmp_path, "99")
    table = collecting.exchange(CHANNEL, of_another_channel if is_known else None)
    assert table.rows == [] and table.below.startswith("No choice was completed")


def test_offered_pictures_frame_the_chosen_one_and_say_what_is_missing(tmp_path):
    save_png(tmp_path / "1.png", np.zeros((8, 8, 3), dtype=np.uint8))
    axes = collecting.offered(plt.figure(), [choice(tmp_path)]).findobj(Axes)
    assert [len(ax.get_images()) for ax in axes] == [0, 1]
    assert axes[1].spines["left"].get_visible()
    assert texts(axes[0]) == ["missing file"]


def test_no_offer_is_said():
    assert texts(collecting.offered(plt.figure(), [])) == ["no choice to show"]


@pytest.fixture
def deck(choices, tmp_path):
    """Two questions, four and three pictures, and a repeat of the first."""
    paths = choices["file_path"].map(tuple)
    again = Question("0-again", "a cat on a hat", paths[0], repeats="0")
    questions = Question("0", "a cat on a hat", paths[0]), Question("8", "a cat", paths[8]), again
    return Deck("choices", tmp_path, questions)


def test_your_picks_are_framed_and_stand_above_the_shares_of_people(deck):
    votes = pd.DataFrame({"question": ["0", "8", "0-again"], "picked": [2.0, None, 1.0]})
    chances = {"0": np.array([0.1, 0.2, 0.6, 0.1])}
    fig = collecting.your_picks(plt.figure(), deck, votes, chances, columns=2)
    panels = [[ax for ax in panel.axes if ax.get_visible()] for panel in fig.subfigs]
    framed = [[ax.spines["top"].get_visible() for ax in axes] for axes in panels]
    assert framed == [[False, False, True, False], [False, False, False]]
    shares = [[ax.get_xlabel() for ax in axes] for axes in panels]
    assert shares == [["10 %", "20 %", "60 %", "10 %"], ["", "", ""]]


def test_nobody_s_picks_are_no_frames(deck):
    nobody = pd.DataFrame({"question": [], "picked": []})
    axes = collecting.your_picks(plt.figure(), deck, nobody, {}).findobj(Axes)
    assert not any(ax.spines["top"].get_visible() for ax in axes if ax.get_visible())


def test_agreement_with_people_and_with_yourself(ax):
    columns = ["who", "value", "low", "high", "n"]
    rows = [("your picks", 0.5, 0.3, 0.7, 9), ("chance", 0.25, 0.2, 0.3, 9)]
    yourself = pd.DataFrame({"rater": ["a", "all raters"], "value": [0.1, 2 / 3]})
    yourself = yourself.assign(low=0.0, high=1.0, n=3)
    collecting.agreement(ax, pd.DataFrame(rows, columns=columns), yourself)
    names = [label.get_text() for label in ax.get_yticklabels()]
    with_a_person = "you and a simulated person (n = 9)"
    assert names == ["chance (n = 9)", with_a_person, "you, asked twice (n = 3)"]
    assert [round(bar.get_width(), 1) for bar in ax.patches] == [25.0, 50.0, 66.7]


def test_without_picks_the_figure_says_that_nobody_has_chosen(ax):
    nobody = pd.DataFrame(columns=["who", "value", "low", "high", "n"])
    collecting.agreement(ax, nobody, nobody.rename(columns={"who": "rater"}))
    assert texts(ax)[0].startswith("Nobody has chosen yet.")


def test_luce_s_rule_by_hand():
    def rule(utilities, careless):
        attentive = np.array([0.5, 0.3, 0.2, 0.0])
        return (1 - careless) * attentive + careless * np.array([0.0, 0.0, 0.0, 1.0])

    ax = collecting.luce_rule(rule, 1, 0.5, 0, -2, careless=0.5).axes[0]
    assert heights(ax) == [[25.0, 15.0, 10.0, 0.0], [0.0, 0.0, 0.0, 50.0]]
    assert texts(ax) == ["25.0", "15.0", "10.0", "50.0"]
    assert [label.get_text() for label in ax.get_xticklabels()][3] == "picture 4\nutility -2"
