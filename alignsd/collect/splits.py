"""Split choices into train and test parts: at random, as in the paper, or by prompt."""

import math
import numbers
from typing import Any

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.base.intervals import wilson


def split_random(
    choices: pd.DataFrame, share: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``(train, test)``, split at random as in the paper.

    Args:
        choices: a row per choice.
        share: share of the choices that go to the test part, above 0 and below 1.
        seed: of the draw.

    Raises:
        Problem: if a part would be empty, or ``share`` or ``seed`` is out of range.
    """
    seed = check_seed(seed)
    n = len(choices)
    size = _test_size(n, share)
    order = np.random.default_rng((seed, 0)).permutation(n)
    in_test = np.zeros(n, dtype=bool)
    in_test[order[:size]] = True
    return _parted(choices, in_test)


def split_by_prompt(
    choices: pd.DataFrame, share: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``(train, test)`` such that no prompt is in both parts.

    Args:
        choices: a row per choice, with ``prompt``.
        share: at most this share of the choices goes to the test part, and nearly as much.
        seed: of the draw.

    Raises:
        Problem: if a part would be empty, or ``share`` or ``seed`` is out of range.
    """
    seed = check_seed(seed)
    size = _test_size(len(choices), share)
    prompts = choices["prompt"].map(same_prompt)
    counts = prompts.value_counts(sort=False)
    in_test = set()
    filled = 0
    for number in np.random.default_rng((seed, 1)).permutation(len(counts)):
        count = counts.iloc[number]
        if filled + count <= size:
            in_test.add(counts.index[number])
            filled += count
    if not in_test:
        raise _no_rare_prompt(size, counts)
    return _parted(choices, prompts.isin(in_test).to_numpy())


def _no_rare_prompt(size: int, counts: pd.Series) -> Problem:
    """Return why no prompt can go to the test part.

    Args:
        size: choices that the test part may hold.
        counts: choices per prompt.
    """
    n, fewest = int(counts.sum()), int(counts.min())
    share = math.ceil(100 * fewest / n) / 100  # holds the rarest prompt
    fix = "collect choices of more prompts"
    if len(counts) > 1 and share < 1:
        fix += f", or set test_share to {share:g}"
    return Problem(
        "One part of the split would be empty.",
        expected=f"a prompt with at most {size:,} choices, to go to the test part",
        found=f"{n:,} choices of {len(counts):,} different prompts; the rarest prompt has "
        f"{fewest:,}",
        cause="too few different prompts for a split by prompt",
        fix=fix,
    )


def prompt_leak(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Count the test choices whose prompt is also in the train part.

    Returns:
        ``leaked`` (choices), ``share`` (0-1), ``low``, ``high`` (Wilson's 95 %), ``n`` (test
        choices).
    """
    in_train = set(train["prompt"].map(same_prompt))
    leaked = int(test["prompt"].map(same_prompt).isin(in_train).sum())
    n = len(test)
    low, high = wilson(leaked, n)
    return {"leaked": leaked, "share": leaked / max(n, 1), "low": low, "high": high, "n": n}


def same_prompt(prompt: str) -> str:
    """Return a prompt's words, in lower case and single spaces: equal words are one prompt."""
    return " ".join(prompt.lower().split())


def check_share(share: Any) -> None:
    """Do nothing if ``share`` is a number from 0 to 1.

    Raises:
        Problem: otherwise; names test_share.
    """
    is_number = isinstance(share, numbers.Real) and not isinstance(share, bool)
    if is_number and 0 <= share <= 1:  # False for NaN and infinity
        return
    raise Problem(
        "test_share is no share.",
        expected="a number above 0 and below 1",
        found=f"test_share {share!r:.80}",
        cause="a slip, or a percentage in place of a share",
        fix="set test_share to 0.2 (the paper: 0.198)",
    )


def _test_size(n: int, share: float) -> int:
    """Return how many of ``n`` choices go to the test part."""
    check_share(share)
    size = round(share * n)
    if 0 < size < n:
        return size
    fix = "collect more choices"
    if n > 2:
        fix += ", or set test_share to 0.2 (the paper: 0.198)"
    elif n == 2:
        fix += ", or set test_share to 0.5"
    raise Problem(
        "One part of the split would be empty.",
        expected="at least one choice in train and one in test",
        found=f"{size} of {n} choices in test, with test_share {share:g}",
        cause="too few choices" if 0 < share < 1 else "a test_share that leaves one part empty",
        fix=fix,
    )


def _parted(choices: pd.DataFrame, in_test: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``(train, test)``, numbered from 0 each."""
    train = choices[~in_test].reset_index(drop=True)
    test = choices[in_test].reset_index(drop=True)
    return train, test
