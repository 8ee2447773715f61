"""The user study with people whose preferences are known."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.images import save_png
from alignsd.compare import user_study


def brighter(pictures, prompt):
    """Everyone picks the brighter picture."""
    light = pictures.reshape(len(pictures), -1).mean(1)
    return (light == light.max()).astype(float)


def by_position(pictures, prompt):
    """Everyone picks the picture that is shown last."""
    return np.array([0.0, 1.0])


@pytest.fixture
def images(tmp_path):
    """Three prompts with two samples each; the adapted picture is the brighter one but for the prompt p2."""
    rows = []
    for arm in ("original", "adapted_negative", "adapted"):
        for prompt in range(3):
            for sample in (1, 0):
                file = f"{arm}/p{prompt}-{sample}.png"
                light = {"original": 100, "adapted_negative": 40 if prompt == 2 else 160, "adapted": 0}[arm]
                save_png(tmp_path / file, np.full((4, 4, 3), light, np.uint8))
                rows.append((arm, f"p{prompt}-{sample}", f"p{prompt}", sample, f"prompt {prompt}", file))
    columns = ["arm", "id", "prompt_id", "sample", "prompt", "file"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0), tmp_path


def test_pairs_are_first_samples_of_the_first_prompts_joined_by_id(images):
    pairs = user_study.pairs(images[0], 2)
    assert list(pairs["prompt_id"]) == ["p0", "p1"]
    assert list(pairs["original"]) == ["original/p0-0.png", "original/p1-0.png"]
    assert list(pairs["adapted"]) == ["adapted_negative/p0-0.png", "adapted_negative/p1-0.png"]


def test_fewer_prompts_than_wanted_are_all_used(images):
    assert len(user_study.pairs(images[0], 100)) == 3


def test_everyone_votes_for_what_everyone_likes_whatever_the_order(images):
    votes = user_study.hold(user_study.pairs(images[0], 3), images[1], brighter, 20, seed=0)
    assert list(votes["adapted"]) == [20, 20, 0] and list(votes["original"]) == [0, 0, 20]


def test_order_is_random_so_position_alone_decides_nothing():
    pair = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    won = user_study.vote(pair, "", by_position, 4000, np.random.default_rng(0))
    assert 0.46 < won / 4000 < 0.54


def test_a_prompts_votes_do_not_depend_on_the_other_prompts(images):
    pairs = user_study.pairs(images[0], 3)
    undecided = lambda pictures, prompt: np.array([0.5, 0.5])  # noqa: E731
    together = user_study.hold(pairs, images[1], undecided, 20, seed=1)
    alone = user_study.hold(pairs.tail(1), images[1], undecided, 20, seed=1)
    assert together["adapted"].iloc[-1] == alone["adapted"].iloc[0]
    assert list(together["adapted"]) != list(user_study.hold(pairs, images[1], undecided, 20, seed=2)["adapted"])


def test_a_bad_picture_is_reported_and_not_voted_on(images):
    (images[1] / "original" / "p1-0.png").write_bytes(b"")
    votes = user_study.hold(user_study.pairs(images[0], 3), images[1], brighter, 20, seed=0)
    assert list(votes["voters"]) == [20, 0, 20] and votes["status"][1] == "empty file"
    assert set(user_study.majorities(votes, 0)["n"]) == {2}


def test_majorities_need_more_than_half():
    votes = pd.DataFrame({"original": [9, 10, 11, 0], "adapted": [11, 10, 9, 20], "voters": 20})
    result = user_study.majorities(votes, seed=0).set_index("outcome")
    assert result["value"].to_dict() == {"adapted": 0.5, "original": 0.25, "tie": 0.25, "lead": 0.25}
    assert (result["low"] <= result["value"]).all() and (result["value"] <= result["high"]).all()


def test_nobody_asked_gives_no_result(images):
    assert user_study.simulated_people("") is None
    votes = user_study.hold(user_study.pairs(images[0], 3), images[1], None, 20, seed=0)
    assert set(votes["status"]) == {"nobody was asked"} and user_study.majorities(votes, 0).empty
