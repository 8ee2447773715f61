"""Pairs of pictures, from people's choices and from HPS, and their latents."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from builders import scored

from alignsd.adapt.examples import encode_examples
from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.beyond import pairs
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.reward.pictures import images_of


def test_the_chosen_picture_stands_against_each_other_picture(tmp_path):
    choices = pd.DataFrame(
        {
            "human_preference": [2, 0],
            "prompt": ["a cat", "a dog"],
            "file_path": [["a.jpg", "b.jpg", "c.jpg"], ["d.jpg", "e.jpg"]],
        }
    )
    table = pairs.from_people(choices, tmp_path)
    rows = list(table[["prompt", "winner", "loser"]].itertuples(index=False, name=None))
    assert rows == [
        ("a cat", "c.jpg", "a.jpg"),
        ("a cat", "c.jpg", "b.jpg"),
        ("a dog", "d.jpg", "e.jpg"),
    ]
    assert set(table["folder"]) == {str(tmp_path)}
    assert choices["file_path"][0] == ["a.jpg", "b.jpg", "c.jpg"], "the choices are not changed"


def test_pairs_are_exchanged_where_the_score_prefers_the_loser(tmp_path):
    choices = pd.DataFrame(
        {
            "id": ["one", "two", "three"],
            "human_preference": [1, 0, 0],
            "prompt": ["a cat", "a dog", "a cow"],
            "file_path": [["a", "b", "c"], ["d", "e"], ["a", "f"]],
        }
    )
    scores = images_of(choices).assign(score=[9.0, 5.0, 4.0, 7.0, 7.0, 1.0, 2.0])
    is_disputed = pairs.disputed(scores)
    assert is_disputed.tolist() == [True, False, False, True], "a tie is not disputed"
    table = pairs.from_people(choices, tmp_path)
    ordered = pairs.exchanged(table, is_disputed)
    assert ordered["winner"].tolist() == ["a", "b", "d", "f"]
    assert ordered["loser"].tolist() == ["b", "c", "e", "a"]
    assert table["winner"].tolist() == ["b", "b", "d", "a"], "the table is not changed"
    assert pairs.disputed(scores.head(0)).tolist() == []


def losers(scores, margin, minimum=2):
    """Return the loser of each pair, by prompt and winner, without the part."""
    table = pairs.from_scores(scores, margin, minimum=minimum)
    rows = zip(table["prompt"], table["winner"], table["loser"], strict=True)
    return [tuple(name.removeprefix("part-000001/") for name in row) for row in rows]


def test_the_best_stands_against_all_that_are_clearly_lower():
    scores = pd.concat([scored([20, 23, 21, 21.1], "p"), scored([9, 8], "q")])
    expected = [("p", "p-b.png", "p-a.png"), ("p", "p-b.png", "p-c.png")]
    assert losers(scores, margin=2) == expected, "exactly the margin is enough, 1.9 is not"
    assert losers(scores.sample(frac=1, random_state=0), margin=2) == expected
    table = pairs.from_scores(scores, margin=2)  # q has fewer than four pictures
    assert table["winner_hps"].tolist() == [23, 23] and table["loser_hps"].tolist() == [20, 21]
    assert losers(scores, margin=1)[-1] == ("q", "q-a.png", "q-b.png")


def test_the_first_of_tied_best_pictures_wins_and_none_loses_against_itself():
    tied = scored([30, 30, 10])
    assert losers(tied, margin=5) == [("p", "p-a.png", "p-c.png")]
    assert losers(tied, margin=0) == [("p", "p-a.png", "p-b.png"), ("p", "p-a.png", "p-c.png")]


def test_blurred_pictures_and_prompts_with_few_pictures_make_no_pairs():
    scores = scored([30, 20, 10])
    scores.loc[0, "sharpness"] = 1.0
    assert losers(scores, margin=1) == [("p", "p-b.png", "p-c.png")]
    assert losers(scores, margin=1, minimum=3) == []
    assert losers(scored([30]), margin=0) == []
    with pytest.raises(Problem, match="margin"):
        pairs.from_scores(scores, margin=-1)


@pytest.fixture
def corpus(tmp_path):
    """Give a folder with one part of three pictures; the picture ``p-b.png`` is damaged."""
    folder = tmp_path / "corpus"
    (folder / "images").mkdir(parents=True)
    entries = {name: {"p": "p"} for name in ("p-a.png", "p-b.png", "p-c.webp")}
    with zipfile.ZipFile(folder / "images" / "part-000001.zip", "w") as archive:
        for number, name in enumerate(entries):
            save_png(tmp_path / "one.png", picture(number))
            archive.writestr(name, (tmp_path / "one.png").read_bytes())
        archive.writestr("part-000001.json", json.dumps(entries))
    return folder


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(256, size=(64, 64, 3), dtype=np.uint8)


def table_of(*rows):
    names = [(f"part-000001/{winner}", f"part-000001/{loser}") for winner, loser in rows]
    winner, loser = zip(*names, strict=True)
    return pd.DataFrame({"prompt": "p", "winner": winner, "loser": loser})


def test_pictures_of_pairs_come_out_of_the_parts(tmp_path, corpus):
    table = table_of(("p-a.png", "p-c.webp"), ("p-c.webp", "p-a.png"))
    out = tmp_path / "pictures"
    unpacked = pairs.unpack(table, corpus, out)
    files = [("part-000001/p-a.png", "part-000001/p-c.webp.png")]
    assert list(zip(unpacked["winner"], unpacked["loser"], strict=True)) == files + [files[0][::-1]]
    assert set(unpacked["folder"]) == {str(out)}
    assert (read_image(out / files[0][0]) == picture(0)).all()
    assert (read_image(out / files[0][1]) == picture(2)).all()


def test_a_pair_whose_picture_cannot_be_read_is_left_out(tmp_path, corpus):
    part = corpus / "images" / "part-000001.zip"
    content = part.read_bytes()
    with zipfile.ZipFile(part) as archive:
        start = archive.getinfo("p-b.png").header_offset + 100
    part.write_bytes(content[:start] + b"damage" + content[start + 6 :])
    table = table_of(("p-a.png", "p-b.png"), ("p-a.png", "p-c.webp"))
    unpacked = pairs.unpack(table, corpus, tmp_path / "pictures")
    assert unpacked["loser"].tolist() == ["part-000001/p-c.webp.png"]


def test_a_picture_of_several_pairs_is_encoded_once(tmp_path):
    for number in range(3):
        save_png(tmp_path / f"{number}.png", picture(number))
    columns = {
        "prompt": ["a", "b", "c"],
        "winner": ["0.png", "0.png", "2.png"],
        "loser": ["1.png", "2.png", "0.png"],
        "folder": str(tmp_path),
    }
    table = pd.DataFrame(columns)
    pipeline = load_pipeline("miniature/stable-diffusion", "cpu")
    encoded = pairs.encode_pairs(pipeline, table, 64, 0, tmp_path / "latents")
    assert len(encoded) == 3 and encoded.captions == ["a", "b", "c"]
    assert sum(len(file) for file in encoded.winners.files) == 3
    files = pd.DataFrame({"file_name": [f"{number}.png" for number in range(3)]})
    files = files.assign(folder=str(tmp_path), text="", label="")
    single = encode_examples(pipeline, files, 64, 0, tmp_path / "single")
    every = np.arange(3)
    assert torch.allclose(
        encoded.winners.moments(every), single.moments(np.array([0, 0, 2])), atol=1e-4
    )
    assert torch.allclose(
        encoded.losers.moments(every), single.moments(np.array([1, 2, 0])), atol=1e-4
    )
    assert encoded.losers.captions == encoded.captions
    other = encoded.exchanged(np.array([True, False, False]))
    both = encoded.winners.positions, encoded.losers.positions
    assert other.winners.positions.tolist() == [both[1][0], *both[0][1:]]
    assert other.losers.positions.tolist() == [both[0][0], *both[1][1:]]


def test_no_pairs_are_named(tmp_path):
    empty = pd.DataFrame(columns=pairs.FROM_PEOPLE)
    with pytest.raises(Problem, match="no pairs to train on"):
        pairs.encode_pairs(None, empty, 64, 0, tmp_path)


def test_pairs_drawn_at_random_keep_their_order_and_follow_from_the_seed():
    table = pd.DataFrame({"prompt": [f"p{number}" for number in range(50)]})
    drawn = pairs.at_random(table, 20, seed=3)
    numbers = drawn["prompt"].str[1:].astype(int).tolist()
    assert len(drawn) == 20 and numbers == sorted(set(numbers))
    assert pairs.at_random(table, 20, seed=3).equals(drawn)
    assert not pairs.at_random(table, 20, seed=4).equals(drawn)
    assert pairs.at_random(table, 50, seed=3) is table
    with pytest.raises(Problem, match="pair_steps x pair_batch"):
        pairs.at_random(table, 0, seed=3)
