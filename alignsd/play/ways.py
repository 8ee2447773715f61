"""What the identifier does: as the prompt's beginning, as the negative prompt, and not at all."""

from collections.abc import Sequence

import pandas as pd

from alignsd.base.intervals import wilson
from alignsd.play import cards
from alignsd.play.studio import ARM_OF_ADAPTER, Picture, Studio, Wish

NOWHERE, AS_PROMPT, AS_NEGATIVE = "not used", "as prompt", "as negative prompt"
WAYS = (NOWHERE, AS_PROMPT, AS_NEGATIVE)


def ways(prompt: str, identifier: str, seed: int, adapter: str) -> list[Wish]:
    """Return three wishes of one prompt and seed: the identifier in each of ``WAYS``.

    Args:
        prompt: what is asked for.
        identifier: the text in front of the captions of the negatives (paper, section 4).
        seed: of the first noise.
        adapter: the model that draws.
    """
    return [
        Wish(prompt, seed, adapter),
        Wish(f"{identifier}{prompt}", seed, adapter, asked=prompt),
        Wish(prompt, seed, adapter, negative=identifier),
    ]


def all_ways(
    studio: Studio, prompts: Sequence[str], identifier: str, seeds: Sequence[int]
) -> list[Wish]:
    """Return the wishes of several prompts in every way: first by the model, then by the prompt.

    Args:
        studio: whose models draw.
        prompts: what is asked for.
        identifier: see ``ways``.
        seeds: of the first noise, one per prompt.
    """
    wishes: list[Wish] = []
    for adapter in ("", "adapted"):
        if adapter in studio.adapters:
            for prompt, seed in zip(prompts, seeds, strict=True):
                wishes += ways(prompt, identifier, seed, adapter)
    return wishes


def flaw_table(pictures: Sequence[Picture]) -> pd.DataFrame:
    """Return how many pictures of each model and way are flawed, with 95 % intervals (Wilson).

    Args:
        pictures: of the wishes of ``all_ways``.

    Returns:
        ``model, identifier, flawed, n, share, low, high``, and the mean ``hps``. Without a judge
        ``flawed`` is 0 and the share is not a number.
    """
    numbers = range(len(pictures))
    table = pd.DataFrame(
        {
            "model": [ARM_OF_ADAPTER[picture.wish.adapter].label for picture in pictures],
            "identifier": [WAYS[number % len(WAYS)] for number in numbers],
            "flawed": [picture.is_flawed for picture in pictures],
            "hps": [picture.hps for picture in pictures],
        }
    )
    groups = table.groupby(["model", "identifier"], sort=False)
    counted = groups.agg(flawed=("flawed", "sum"), n=("flawed", "size"), hps=("hps", "mean"))
    counted = counted.reset_index()
    is_judged = all(picture.flaw is not None for picture in pictures)
    pairs = zip(counted["flawed"], counted["n"], strict=True)
    ends = [wilson(int(k), int(n)) if is_judged else (float("nan"),) * 2 for k, n in pairs]
    counted["share"] = counted["flawed"] / counted["n"] if is_judged else float("nan")
    counted["low"], counted["high"] = zip(*ends, strict=True)
    return counted


def sheet(pictures: Sequence[Picture]) -> list[cards.Card]:
    """Return the cards of one prompt in every way, a row of three per model."""
    return [
        cards.card(picture, WAYS[number % len(WAYS)], ARM_OF_ADAPTER[picture.wish.adapter].colour)
        for number, picture in enumerate(pictures)
    ]
