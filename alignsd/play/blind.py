"""What a person chose who did not know which model had drawn which picture."""

import pandas as pd

from alignsd.base.intervals import wilson

ADAPTED = 1  # index of the adapted model's picture in each pair, see ``ways.pairs``


def result(votes: pd.DataFrame) -> str:
    """Return how often a person chose the adapted model's picture, as a sentence.

    Args:
        votes: a person's picks, from ``Session.folded()``: the column ``picked`` holds the index of
            the picture in the pair. A question that was skipped has no number there.
    """
    picked = votes["picked"].dropna()
    if not len(picked):
        return "You have not chosen a picture. Choose above, then run this cell again."
    count = int((picked == ADAPTED).sum())
    low, high = wilson(count, len(picked))
    return (
        f"You chose the adapted model's picture in {count} of {len(picked)} pairs: "
        f"{100 * count / len(picked):.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %)."
    )
