"""Decks check themselves, and are made of data sets, pairs, folders and arrays."""

import json
import unicodedata
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.choose import deck as decks
from alignsd.choose.questions import Deck, Question


def noise(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path):
    """A data set of eight choices of five prompts, and its folder."""
    rows = []
    for number in range(8):
        files = [f"preference_images/{number}_{index}.png" for index in range(3)]
        for index, file in enumerate(files):
            save_png(tmp_path / file, noise(10 * number + index, 8))
        rows.append({"id": 100 + number, "prompt": f"prompt {number % 5}", "file_path": files})
    return pd.DataFrame(rows), tmp_path


@pytest.fixture
def pairs(tmp_path):
    rows = []
    for number in range(6):
        files = [f"images/{arm}/{number}.png" for arm in ("original", "paper")]
        for index, file in enumerate(files):
            save_png(tmp_path / file, noise(10 * number + index))
        rows.append((f"p{number}", f"prompt {number}", *files))
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "original", "adapted"]), tmp_path


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"id": ""}, "''"),
        ({"prompt": "  "}, "'  '"),
        ({"prompt": "\ud800"}, "'\\ud800'"),
        ({"pictures": ("a.png",)}, "1"),
        ({"pictures": tuple("abcde")}, "5"),
        ({"pictures": ("a.png", "a.png")}, "one file twice"),
        ({"kind": "test"}, "'test'"),
        ({"kind": "study", "pictures": ("a", "b", "c")}, "3"),
        ({"kind": "check"}, "None"),
        ({"kind": "check", "right": 2}, "2"),
        ({"right": 0}, "0"),
    ],
)
def test_a_question_that_is_none_is_refused(change, found):
    values = {"id": "1", "prompt": "a cat", "pictures": ("a.png", "b.png")} | change
    with pytest.raises(Problem) as error:
        Question(**values)
    assert error.value.found == found


def test_a_deck_refuses_equal_ids_repeats_of_nothing_and_missing_pictures(make_deck):
    deck = make_deck(2)
    first, second = deck.questions
    lone = Question("x", "prompt", first.pictures, repeats="y")
    with pytest.raises(Problem, match="deck") as error:
        Deck("choices", deck.folder, (first, first))
    assert "'c0' twice" in error.value.found
    with pytest.raises(Problem) as error:
        Deck("choices", deck.folder, (first, lone))
    assert error.value.found == "'y'"
    with pytest.raises(Problem):
        Deck("choices", deck.folder, ())
    with pytest.raises(Problem):
        Deck("../choices", deck.folder, (first,))
    (deck.folder / second.pictures[1]).unlink()
    with pytest.raises(Problem) as error:
        Deck("choices", deck.folder, (first, second))
    assert error.value.found == "1 missing, such as c1_1.png"


def test_the_fingerprint_tells_prompts_pictures_and_their_order(make_deck):
    deck = make_deck(2)
    first, second = deck.questions
    assert len(deck.fingerprint) == 16 and int(deck.fingerprint, 16) >= 0
    same = Deck("other-name", deck.folder, (first, second))
    assert same.fingerprint == deck.fingerprint
    turned = Question(first.id, first.prompt, first.pictures[::-1])
    reworded = Question(first.id, "another", first.pictures)
    others = [Deck("choices", deck.folder, (question, second)) for question in (turned, reworded)]
    save_png(deck.folder / first.pictures[0], noise(1))
    others.append(Deck("choices", deck.folder, (first, second)))
    assert len({deck.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_deck_of_choices_takes_different_prompts_first(data):
    rows, folder = data
    deck = decks.deck_of_choices("choices", rows, folder, count=6, repeats=2, seed=0)
    firsts = [question for question in deck.questions if not question.repeats]
    counts = Counter(question.prompt for question in firsts)
    assert len(firsts) == 6 and sorted(counts.values()) == [1, 1, 1, 1, 2]
    for seed in range(5):
        five = decks.deck_of_choices("choices", rows, folder, count=5, repeats=0, seed=seed)
        assert len({question.prompt for question in five.questions}) == 5
    by_id = rows.set_index("id")
    for question in firsts:
        assert question.pictures == tuple(by_id.loc[int(question.id), "file_path"])
    again = [question for question in deck.questions if question.repeats]
    assert len(again) == 2
    for question in again:
        original = deck.question(question.repeats)
        assert question.id == f"{original.id}-again"
        assert (question.prompt, question.pictures) == (original.prompt, original.pictures)


def test_a_deck_of_choices_follows_the_seed(data):
    rows, folder = data
    draws = [decks.deck_of_choices("choices", rows, folder, 4, 1, seed) for seed in (0, 0, 1)]
    ids = [[question.id for question in draw.questions] for draw in draws]
    assert ids[0] == ids[1] != ids[2]
    everything = decks.deck_of_choices("choices", rows, folder, 100, 0, 0)
    assert len(everything.questions) == 8
    for count, repeats in ((0, 0), (4, -1)):
        with pytest.raises(Problem):
            decks.deck_of_choices("choices", rows, folder, count, repeats, 0)


def test_a_deck_of_pairs_keeps_the_original_first_and_adds_checks(pairs):
    table, folder = pairs
    deck = decks.deck_of_pairs(
        "study", table, folder, folder / "own", count=5, checks=2, repeats=1, seed=3
    )
    kinds = Counter(question.kind for question in deck.questions)
    assert kinds == {"study": 6, "check": 2}
    study = [q for q in deck.questions if q.kind == "study" and not q.repeats]
    rows = table.head(5).itertuples()
    assert [(q.id, q.pictures) for q in study] == [
        (row.prompt_id, (row.original, row.adapted)) for row in rows
    ]
    shown = {name for question in study for name in question.pictures}
    for question in deck.questions:
        if question.kind != "check":
            continue
        assert question.right == 0 and question.pictures[0] in shown
        whole, scrambled = (read_image(folder / name) for name in question.pictures)
        assert whole.shape == scrambled.shape and (whole != scrambled).any()
        blocks = [
            sorted(
                image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].tobytes()
                for row in range(8)
                for column in range(8)
            )
            for image in (whole, scrambled)
        ]
        assert blocks[0] == blocks[1]


@pytest.mark.parametrize("size", [(64, 64), (70, 67), (5, 30), (130, 96)])
def test_a_scrambled_picture_keeps_its_size_and_its_pixels(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    scrambled = decks._scrambled(picture, np.random.default_rng(1))
    assert scrambled.shape == picture.shape and (scrambled != picture).any()
    colours = [np.sort(image.reshape(-1, 3), axis=0).tolist() for image in (picture, scrambled)]
    assert colours[0] == colours[1]


def test_a_pair_that_cannot_be_shown_is_left_out_and_said(pairs, capsys):
    table, folder = pairs
    save_png(folder / table.adapted[1], noise(0, 32))
    (folder / table.original[2]).write_bytes(b"")
    sizes = {"count": 6, "checks": 0, "repeats": 0, "seed": 0}
    deck = decks.deck_of_pairs("study", table, folder, folder / "own", **sizes)
    assert [question.id for question in deck.questions] == ["p0", "p3", "p4", "p5"]
    said = capsys.readouterr().out
    assert "p1 is left out: two sizes" in said and "p2 is left out: empty file" in said


def test_a_deck_of_a_folder_of_folders(tmp_path, capsys):
    for prompt, count in (("a_red_cube", 2), ("10", 4), ("9", 3), ("lonely", 1)):
        for index in range(count):
            save_png(tmp_path / prompt / f"{index}.png", noise(index, 8))
    (tmp_path / "9" / "prompt.txt").write_text("a cat\n")
    deck = decks.deck_of_folder("mine", tmp_path, repeats=1)
    prompts = [question.prompt for question in deck.questions if not question.repeats]
    assert prompts == ["a cat", "10", "a red cube"] and len(deck.questions) == 4
    assert deck.questions[0].pictures == ("9/0.png", "9/1.png", "9/2.png")
    assert "lonely is left out: 1 pictures" in capsys.readouterr().out
    assert len(decks.deck_of_folder("mine", tmp_path, count=2).questions) == 2


def test_what_a_folder_names_and_does_not_hold_is_told(tmp_path, capsys):
    for prompt in ("house", "tree"):
        for index in range(2):
            save_png(tmp_path / prompt / f"{index}.png", noise(index, 8))
    (tmp_path / "more").symlink_to("nowhere")
    assert len(decks.deck_of_folder("mine", tmp_path).questions) == 2
    assert "more is left out" in capsys.readouterr().out
    (tmp_path / "tree" / "2.gif").write_bytes(b"GIF89a")
    with pytest.raises(Problem, match="2.gif is a GIF picture"):
        decks.deck_of_folder("mine", tmp_path)
    (tmp_path / "tree" / "2.gif").unlink()
    (tmp_path / "tree" / "2.png").symlink_to("nowhere")
    with pytest.raises(Problem, match="(?s)missing file.*2.png.*a link to a file"):
        decks.deck_of_folder("mine", tmp_path)


def test_a_prompt_txt_of_windows_is_read_without_its_byte_order_mark(tmp_path):
    for index in range(2):
        save_png(tmp_path / "house" / f"{index}.png", noise(index, 8))
    (tmp_path / "house" / "prompt.txt").write_bytes(b"\xef\xbb\xbfa red house\r\n")
    assert decks.deck_of_folder("mine", tmp_path).questions[0].prompt == "a red house"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("une maison \xe0 c\xf4t\xe9".encode("latin-1"), "prompt.txt is in another.*WINDOWS-1252"),
        ("a house".encode("utf-16"), "prompt.txt is in another encoding.*UTF-16"),
        (b" \n", "prompt.txt holds no prompt.*an empty file.*'red house': rm .*prompt.txt"),
        (b"version https://git-lfs.github.com/spec/v1\n", "prompt.txt holds no prompt.*LFS"),
        (None, "red_house/prompt.txt cannot be read.*a link to a file that is not there.*cp -rL"),
    ],
)
def test_a_prompt_txt_that_cannot_be_read_is_named(tmp_path, content, words):
    for index in range(2):
        save_png(tmp_path / "red_house" / f"{index}.png", noise(index, 8))
    file = tmp_path / "red_house" / "prompt.txt"
    if content is None:
        file.symlink_to("nowhere")
    else:
        file.write_bytes(content)
    with pytest.raises(Problem, match=f"(?s){words}"):
        decks.deck_of_folder("mine", tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_deck_of_a_table(tmp_path, kind):
    for index in range(3):
        save_png(tmp_path / f"{index}.png", noise(index, 8))
    rows = [("a cat, sitting", ["0.png", "1.png"]), ("a dog", ["2.png", "0.png", "1.png"])]
    if kind == "csv":
        lines = [f'"{prompt}",{";".join(names)}' for prompt, names in rows]
        (tmp_path / "deck.csv").write_text("\n".join(["prompt,pictures", *lines]))
    else:
        lines = [json.dumps({"prompt": prompt, "pictures": names}) for prompt, names in rows]
        (tmp_path / "deck.jsonl").write_text("\n".join(lines))
    deck = decks.deck_of_folder("mine", tmp_path)
    assert [(q.prompt, list(q.pictures)) for q in deck.questions] == rows


def test_names_of_a_table_are_read_as_other_systems_spell_them(tmp_path):
    (tmp_path / "s").mkdir()
    for name in ("s/a.png", "b.png", unicodedata.normalize("NFD", "café.png")):
        save_png(tmp_path / name, noise(0, 8))
    table = "prompt\tpictures\na cat\ts\\a.png; b.png\na dog\tcafé.png;./b.png\n"
    (tmp_path / "mine.tsv").write_text(table, encoding="utf-8")
    pictures = [question.pictures for question in decks.deck_of_folder("mine", tmp_path).questions]
    decomposed = unicodedata.normalize("NFD", "café.png")
    assert pictures == [("s/a.png", "b.png"), (decomposed, "b.png")]


def test_votes_beside_the_pictures_are_no_table(tmp_path):
    for name in ("a.png", "b.png"):
        save_png(tmp_path / name, noise(0, 8))
    (tmp_path / "mine.csv").write_text("prompt,pictures\na cat,a.png;b.png\n")
    vote = {"time": 0, "event": "pick", "question": "0", "shown": [1, 0], "pick": 1}
    (tmp_path / "votes.jsonl").write_text(json.dumps(vote) + "\n")
    assert len(decks.deck_of_folder("mine", tmp_path).questions) == 1


def test_a_folder_without_questions_is_refused(tmp_path):
    with pytest.raises(Problem, match="holds no questions"):
        decks.deck_of_folder("mine", tmp_path)
    save_png(tmp_path / "a" / "0.png", noise(0, 8))
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    with pytest.raises(Problem) as error:
        decks.deck_of_folder("mine", tmp_path)
    assert "1.png" in error.value.found


def test_a_deck_of_arrays_writes_the_pictures(tmp_path):
    pictures = [[noise(0), noise(1)], [noise(2), noise(3), noise(4)]]
    deck = decks.deck_of_arrays("drawn", ["a cat", "a dog"], pictures, tmp_path / "own")
    assert [question.prompt for question in deck.questions] == ["a cat", "a dog"]
    last = deck.questions[1].pictures[2]
    assert (read_image(deck.folder / last) == noise(4)).all()
    with pytest.raises(Problem, match="prompt and pictures"):
        decks.deck_of_arrays("drawn", ["a cat"], pictures, tmp_path / "own")


def test_a_deck_survives_its_file_and_a_move_of_all_folders(make_deck, tmp_path):
    deck = make_deck(3, repeats=1)
    file = tmp_path / "votes" / "choices.deck.json"
    decks.write_deck(deck, file)
    again = decks.read_deck(file)
    assert again == deck and again.fingerprint == deck.fingerprint
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("votes", "pictures"):
        (tmp_path / name).rename(moved / name)
    elsewhere = decks.read_deck(moved / "votes" / "choices.deck.json")
    assert elsewhere.folder == moved / "pictures" and elsewhere.questions == deck.questions


def test_a_damaged_file_of_a_deck_is_a_problem(tmp_path):
    for content in ("{}", "[]", '{"name": "a", "folder": ".", "questions": [{}]}'):
        (tmp_path / "deck.json").write_text(content)
        with pytest.raises(Problem, match="no deck of questions"):
            decks.read_deck(tmp_path / "deck.json")
