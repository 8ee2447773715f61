"""What the identifier does: as the prompt's beginning, as the negative prompt, and not at all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignsd.base.intervals import wilson
from alignsd.compare.arms import ADAPTED, ORIGINAL
from alignsd.play import cards
from alignsd.play.studio import ARM_OF_ADAPTER, Picture, Wish, plan_seed

NOWHERE, AS_PROMPT, AS_NEGATIVE = "not used", "as prompt", "as negative prompt"
WAYS = (NOWHERE, AS_PROMPT, AS_NEGATIVE)
# The same ways where no heading says that they are about the identifier.
WORDS = ("no identifier", "identifier as prompt", "identifier as negative prompt")
MODELS = (ORIGINAL.adapter, ADAPTED.adapter)
PER_PROMPT = len(MODELS) * len(WAYS)  # pictures


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


def all_ways(prompts: Sequence[str], identifier: str, seed: int) -> list[Wish]:
    """Return six wishes per prompt: the original and the adapted model, in each of ``WAYS``.

    Args:
        prompts: what is asked for.
        identifier: see ``ways``.
        seed: of the run, see ``studio.plan_seed``.
    """
    wishes: list[Wish] = []
    for number, prompt in enumerate(prompts):
        for adapter in MODELS:
            wishes += ways(prompt, identifier, plan_seed(seed, number), adapter)
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


def by_name(pictures: Sequence[Picture]) -> dict[str, np.ndarray]:
    """Return name -> pixels of one prompt in every way, such as ``"adapted, no identifier"``."""
    models = [ARM_OF_ADAPTER[picture.wish.adapter].label for picture in pictures]
    return {
        f"{model}, {WORDS[number % len(WORDS)]}": picture.pixels
        for number, (model, picture) in enumerate(zip(models, pictures, strict=True))
    }


def pairs(pictures: Sequence[Picture]) -> list[list[np.ndarray]]:
    """Return two pictures per prompt: the original model's, and the paper's.

    The paper's picture is the adapted model's with the identifier as negative prompt.

    Args:
        pictures: of the wishes of ``all_ways``.
    """
    pixels = [picture.pixels for picture in pictures]
    originals = pixels[::PER_PROMPT]
    papers = pixels[PER_PROMPT - 1 :: PER_PROMPT]
    return [[original, paper] for original, paper in zip(originals, papers, strict=True)]
