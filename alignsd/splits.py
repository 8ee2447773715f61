"""Train and test parts: at random, as in the paper, or so that no prompt stands in both."""

import numpy as np
import pandas as pd

from alignsd.errors import Problem
from alignsd.intervals import wilson


def split_random(choices: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits choices at random, as the paper does; ``share`` of them go to the test part. Returns ``(train, test)``.

    Raises:
        Problem: if one part would be empty.
    """
    size = _test_size(len(choices), share)
    test = np.zeros(len(choices), dtype=bool)
    test[np.random.default_rng((seed, 0)).permutation(len(choices))[:size]] = True
    return choices[~test].reset_index(drop=True), choices[test].reset_index(drop=True)


def split_by_prompt(choices: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits choices so that no prompt stands in both parts; at most ``share`` of them go to the test part, closely.

    Raises:
        Problem: if one part would be empty.
    """
    size = _test_size(len(choices), share)
    prompts = choices["prompt"].map(same_prompt)
    counts = prompts.value_counts(sort=False)
    taken, filled = set(), 0
    for place in np.random.default_rng((seed, 1)).permutation(len(counts)):
        if filled + counts.iloc[place] <= size:
            taken.add(counts.index[place])
            filled += counts.iloc[place]
    test = prompts.isin(taken).to_numpy()
    _test_size(len(choices), test.mean())
    return choices[~test].reset_index(drop=True), choices[test].reset_index(drop=True)


def prompt_leak(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Counts the test choices whose prompt also stands in train: ``leaked``, ``share``, ``low``, ``high`` (95 %), ``n``."""
    leaked = int(test["prompt"].map(same_prompt).isin(set(train["prompt"].map(same_prompt))).sum())
    low, high = wilson(leaked, len(test))
    return {"leaked": leaked, "share": leaked / max(len(test), 1), "low": low, "high": high, "n": len(test)}


def same_prompt(prompt: str) -> str:
    """Returns what two prompts must share to count as one: the words, whatever their case and spacing."""
    return " ".join(prompt.lower().split())


def _test_size(n: int, share: float) -> int:
    size = round(share * n)
    if not 0 < size < n:
        raise Problem("One part of the split would be empty.", expected="at least one choice in train and one in test",
                      found=f"{size} of {n} choices in test", cause="too few choices, or test_share close to 0 or 1",
                      fix="collect more choices, or set test_share to 0.2 (the paper: 0.198)")
    return size
