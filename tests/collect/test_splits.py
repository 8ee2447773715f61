"""The two splits and the leak between their parts."""

import re

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.collect import splits


def rows(prompts):
    return pd.DataFrame({"prompt": prompts, "id": range(len(prompts))})


def test_random_split_has_the_size_and_follows_the_seed():
    table = rows([f"prompt {i}" for i in range(100)])
    train, test = splits.split_random(table, 0.2, seed=0)
    assert (len(train), len(test)) == (80, 20) and sorted([*train["id"], *test["id"]]) == list(
        range(100)
    )
    assert splits.split_random(table, 0.2, seed=0)[1].equals(test)
    assert not splits.split_random(table, 0.2, seed=1)[1].equals(test)


@pytest.mark.parametrize("seed", range(5))
def test_grouped_split_has_no_leak_and_nearly_the_size(seed):
    rng = np.random.default_rng(seed)
    table = rows(
        [
            f"Prompt {rng.integers(40)}".swapcase() if i % 2 else f"prompt  {rng.integers(40)}"
            for i in range(100)
        ]
    )
    train, test = splits.split_by_prompt(table, 0.3, seed)
    assert splits.prompt_leak(train, test)["leaked"] == 0 and 27 <= len(test) <= 30
    assert sorted([*train["id"], *test["id"]]) == list(range(100))


def test_leak_by_hand():
    leak = splits.prompt_leak(rows(["A  Cat", "a dog"]), rows(["a cat", "a cat", "a cow", "a hen"]))
    assert (
        leak["leaked"] == 2
        and leak["share"] == 0.5
        and leak["n"] == 4
        and 0 < leak["low"] < 0.5 < leak["high"] < 1
    )


@pytest.mark.parametrize(
    ("n", "share", "fix"),
    [(1, 0.2, ""), (2, 0.2, ", or set test_share to 0.5"), (3, 0.1, ", or set test_share to 0.2")],
)
def test_the_message_of_an_empty_part_proposes_a_share_that_works(n, share, fix):
    table = pd.DataFrame({"prompt": [f"p{number}" for number in range(n)]})
    with pytest.raises(Problem) as caught:
        splits.split_random(table, share, 0)
    assert caught.value.fix.startswith(f"collect more choices{fix}")
    proposed = re.search(r"test_share to ([0-9.]+)", caught.value.fix)
    if proposed:
        assert len(splits.split_random(table, float(proposed[1]), 0)[1]) > 0


@pytest.mark.parametrize(("counts", "fix"), [((9,), ""), ((7, 3), ", or set test_share to 0.3")])
def test_a_split_by_prompt_proposes_a_share_that_holds_the_rarest_prompt(counts, fix):
    prompts = [f"p{number}" for number, count in enumerate(counts) for _ in range(count)]
    table = pd.DataFrame({"prompt": prompts})
    with pytest.raises(Problem) as caught:
        splits.split_by_prompt(table, 0.2, 0)
    assert caught.value.fix == f"collect choices of more prompts{fix}"
    if fix:
        assert len(splits.split_by_prompt(table, 0.3, 0)[1]) == 3


@pytest.mark.parametrize(("n", "share"), [(1, 0.5), (0, 0.5), (10, 0.0), (10, 1.0), (10, 0.04)])
def test_an_empty_part_is_a_problem(n, share):
    for split in (splits.split_random, splits.split_by_prompt):
        with pytest.raises(Problem, match="would be empty"):
            split(rows([f"p{i}" for i in range(n)]), share, 0)


def test_one_prompt_cannot_be_grouped():
    with pytest.raises(Problem, match="would be empty"):
        splits.split_by_prompt(rows(["a cat"] * 10), 0.5, 0)
