"""The user study with people whose preferences are known."""

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float

from alignsd import sources
from alignsd.base.images import save_png
from alignsd.compare import user_study


def brighter(pictures, prompt):
    """Everyone picks the brighter picture."""
    light = np.array([picture.mean() for picture in pictures])
    return (light == light.max()).astype(float)


def by_position(pictures, prompt):
    """Everyone picks the picture that is shown last."""
    return np.array([0.0, 1.0])


def by_nothing(pictures, prompt):
    """Nobody prefers a picture."""
    return np.array([0.5, 0.5])


@pytest.fixture
def images(tmp_path):
    """Three prompts with two samples each.

    The adapted picture is the brighter one, but for the prompt p2.
    """
    rows = []
    for arm in ("original", "adapted_negative", "adapted"):
        for prompt in range(3):
            lights = {
                "original": 100,
                "adapted_negative": 40 if prompt == 2 else 160,
                "adapted": 0,
            }
            picture = np.full((4, 4, 3), lights[arm], np.uint8)
            for sample in (1, 0):
                image_id = f"p{prompt}-{sample}"
                file = f"{arm}/{image_id}.png"
                save_png(tmp_path / file, picture)
                rows.append((arm, image_id, f"p{prompt}", sample, f"prompt {prompt}", file))
    columns = ["arm", "id", "prompt_id", "sample", "prompt", "file"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sample(frac=1, random_state=0), tmp_path


def hold(images, chances, seed=0):
    """Hold the study with all prompts and 20 people."""
    table, folder = images
    return user_study.hold(user_study.pairs(table, 3), folder, chances, 20, seed)


def test_pairs_are_first_samples_of_the_first_prompts_joined_by_id(images):
    pairs = user_study.pairs(images[0], 2)
    assert list(pairs["prompt_id"]) == ["p0", "p1"]
    assert list(pairs["original"]) == ["original/p0-0.png", "original/p1-0.png"]
    assert list(pairs["adapted"]) == ["adapted_negative/p0-0.png", "adapted_negative/p1-0.png"]


def test_fewer_prompts_than_wanted_are_all_used(images):
    assert len(user_study.pairs(images[0], 100)) == 3


def test_everyone_votes_for_what_everyone_likes_whatever_the_order(images):
    votes = hold(images, brighter)
    assert list(votes["adapted"]) == [20, 20, 0] and list(votes["original"]) == [0, 0, 20]


def test_order_is_random_so_position_alone_decides_nothing():
    pair = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    won = user_study.vote(pair, "", by_position, 4000, np.random.default_rng(0))
    assert 0.46 < won / 4000 < 0.54


def test_a_prompts_votes_do_not_depend_on_the_other_prompts(images):
    table, folder = images
    last = user_study.pairs(table, 3).tail(1)
    together = hold(images, by_nothing, seed=1)
    alone = user_study.hold(last, folder, by_nothing, 20, seed=1)
    assert together["adapted"].iloc[-1] == alone["adapted"].iloc[0]
    assert list(together["adapted"]) != list(hold(images, by_nothing, seed=2)["adapted"])


def test_a_bad_picture_is_reported_and_not_voted_on(images):
    _, folder = images
    (folder / "original" / "p1-0.png").write_bytes(b"")
    votes = hold(images, brighter)
    assert list(votes["voters"]) == [20, 0, 20] and votes["status"][1] == "empty file"
    assert set(user_study.majorities(votes, 0)["n"]) == {2}


def test_majorities_need_more_than_half():
    original, adapted = [9, 10, 11, 0], [11, 10, 9, 20]
    votes = pd.DataFrame({"original": original, "adapted": adapted, "voters": 20})
    result = user_study.majorities(votes, seed=0).set_index("outcome")
    expected = {"adapted": 0.5, "original": 0.25, "tie": 0.25, "lead": 0.25}
    assert result["value"].to_dict() == expected
    assert (result["low"] <= result["value"]).all() and (result["value"] <= result["high"]).all()


def test_nobody_asked_gives_no_result(images):
    assert sources.people("") is None
    votes = hold(images, None)
    assert set(votes["status"]) == {user_study.NOBODY}
    assert user_study.majorities(votes, 0).empty


def test_simulated_people_give_a_chance_to_each_picture_and_prefer_whole_people():
    prompts = ["a person in a red shirt waving on the beach"] * 2
    pictures, _ = sources.fid_reference("miniature", prompts, seed=0)
    whole = next(pictures)
    nothing = np.zeros((64, 64, 3), np.uint8)
    chances = sources.people("miniature/judge")((nothing, whole), prompts[0])
    assert isinstance(chances, Float[np.ndarray, "2"])
    assert chances.sum() == pytest.approx(1) and chances[1] > 0.7
