"""Train and test parts: at random, as in the paper, or so that no prompt stands in both."""

import numbers

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem, check_seed
from alignsd.base.intervals import wilson


def split_random(
    choices: pd.DataFrame, share: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``(train, test)``, split at random as the paper does.

    Args:
        choices: one row per choice.
        share: share of the choices that go to the test part, 0 to 1.
        seed: of the draw.

    Raises:
        Problem: if one part would be empty, or ``share`` or ``seed`` is out of its range.
    """
    seed = check_seed(seed)
    size = _test_size(len(choices), share)
    test = np.zeros(len(choices), dtype=bool)
    order = np.random.default_rng((seed, 0)).permutation(len(choices))
    test[order[:size]] = True
    return _parted(choices, test)


def split_by_prompt(
    choices: pd.DataFrame, share: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``(train, test)`` such that no prompt stands in both parts.

    Args:
        choices: one row per choice, with ``prompt``.
        share: at most this share of the choices goes to the test part, and nearly as much.
        seed: of the draw.

    Raises:
        Problem: if one part would be empty, or ``share`` or ``seed`` is out of its range.
    """
    seed = check_seed(seed)
    size = _test_size(len(choices), share)
    prompts = choices["prompt"].map(same_prompt)
    counts = prompts.value_counts(sort=False)
    in_test = set()
    filled = 0
    for place in np.random.default_rng((seed, 1)).permutation(len(counts)):
        if filled + counts.iloc[place] <= size:
            in_test.add(counts.index[place])
            filled += counts.iloc[place]
    if not in_test:
        raise Problem(
            "One part of the split would be empty.",
            expected=f"a prompt with at most {size:,} choices, to go to the test part",
            found=f"{len(choices):,} choices of {len(counts):,} different prompts; "
            f"the rarest prompt has {counts.min():,}",
            cause="too few different prompts for a split by prompt",
            fix="collect choices of more prompts, or raise test_share",
        )
    return _parted(choices, prompts.isin(in_test).to_numpy())


def prompt_leak(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Counts the test choices whose prompt also stands in train: ``leaked``, ``share``, ``low``, ``high`` (95 %), ``n``."""
    leaked = int(test["prompt"].map(same_prompt).isin(set(train["prompt"].map(same_prompt))).sum())
    low, high = wilson(leaked, len(test))
    return {"leaked": leaked, "share": leaked / max(len(test), 1), "low": low, "high": high, "n": len(test)}


def same_prompt(prompt: str) -> str:
    """Returns what two prompts must share to count as one: the words, whatever their case and spacing."""
    return " ".join(prompt.lower().split())


def check_share(share: float) -> None:
    """Return nothing if ``share`` is a number from 0 to 1.

    Raises:
        Problem: that names test_share.
    """
    is_number = isinstance(share, numbers.Real) and not isinstance(share, bool)
    if is_number and 0 <= share <= 1:  # neither NaN nor infinity is
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
    raise Problem(
        "One part of the split would be empty.",
        expected="at least one choice in train and one in test",
        found=f"{size} of {n} choices in test, with test_share {share:g}",
        cause="too few choices" if 0 < share < 1 else "a test_share that leaves one part empty",
        fix="collect more choices, or set test_share to 0.2 (the paper: 0.198)",
    )


def _parted(choices: pd.DataFrame, test: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    train = choices[~test].reset_index(drop=True)
    return train, choices[test].reset_index(drop=True)
