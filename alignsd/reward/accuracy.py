"""How often a predictor guesses which image a person chose (Table 2 of the paper)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from alignsd.base.intervals import bootstrap_mean, paired_bootstrap

if TYPE_CHECKING:
    from alignsd.models.aesthetic import Aesthetic

RANDOM, LAST, PERSON, BEST = "random guess", "last image", "another person", "best possible"


def chance_right(images: pd.DataFrame, column: str) -> pd.Series:
    """Return for each choice the chance that a predictor picks the person's image.

    The chance is 1 or 0, or 1/ties if the person's image ties for the highest score.

    Args:
        images: one row per image with ``id`` (of the choice), ``preferred`` (bool, whether the
            person chose the image), and the predictor's score in ``column``.
        column: name of the score.
    """
    is_best = _is_best(images, column)
    is_right = is_best & images["preferred"]
    return is_right.groupby(images["id"]).sum() / is_best.groupby(images["id"]).sum()


def _is_best(images: pd.DataFrame, column: str) -> pd.Series:
    """Return whether each image has the highest score of its choice."""
    return images[column] == images.groupby("id")[column].transform("max")


def right_by_predictor(images: pd.DataFrame, predictors: Mapping[str, str]) -> pd.DataFrame:
    """Return each choice's chance of being guessed right, one column per predictor.

    Two simulated people agree with the chance ``p`` of the image that the first person chose. The
    best possible predictor picks the image with the largest ``p``.

    Args:
        images: as in ``chance_right``, with ``index`` (position of the image within its choice) and
            a column per predictor. With simulated people also ``p``, the chance that a person picks
            the image.
        predictors: name in the table -> column of the score.

    Returns:
        One row per choice.
    """
    random = 1 / images.groupby("id").size()
    table = pd.DataFrame({RANDOM: random, LAST: chance_right(images, "index")})
    for name, column in predictors.items():
        table[name] = chance_right(images, column)
    if "p" in images:
        table[PERSON] = images.loc[images["preferred"]].set_index("id")["p"]
        table[BEST] = chance_right(images, "p")
    return table


def beside(clip: pd.DataFrame, hps: pd.DataFrame, aesthetic: "Aesthetic") -> pd.DataFrame:
    """Return the scores of three predictors side by side, one row per image.

    Args:
        clip: from ``hps.score_choices`` with the CLIP before the training, with embeddings.
        hps: the same images, scored after the training.
        aesthetic: the aesthetic predictor, which rates the embeddings of ``clip``.

    Returns:
        ``id``, ``index``, ``preferred``, ``clip``, ``aesthetic`` and ``hps``.
    """
    scores = clip.rename(columns={"score": "clip"})
    embeddings = pd.DataFrame(scores.pop("embedding").tolist()).to_numpy()
    scores["aesthetic"] = aesthetic.predict(embeddings)
    tuned = hps.rename(columns={"score": "hps"})[["id", "index", "hps"]]
    return scores.merge(tuned, on=["id", "index"], validate="one_to_one")


def accuracy_table(right: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return Table 2: ``predictor``, ``accuracy``, ``low``, ``high`` and ``n``.

    The interval is 95 %, from a bootstrap over choices.

    Args:
        right: from ``right_by_predictor``.
        seed: of the bootstrap.
    """
    rows = []
    for name in right:
        interval = bootstrap_mean(right[name].to_numpy(), seed)
        rows.append((name, *interval, len(right)))
    return pd.DataFrame(rows, columns=["predictor", "accuracy", "low", "high", "n"])


def short_of_best(
    images: pd.DataFrame, column: str, seed: int
) -> tuple[float, float, float] | None:
    """Return how much more rarely a predictor names a person's image than the best possible one.

    The known chances ``p`` count, not the picks that were made: the luck of the picks would only
    blur the difference.

    Args:
        images: as in ``right_by_predictor``.
        column: the predictor's score. Tied images count alike.
        seed: of the bootstrap over choices.

    Returns:
        ``(difference, low, high)``; None where people are real, so that there is no ``p``.
    """
    if "p" not in images:
        return None
    named = images[_is_best(images, column)]
    chance = named.groupby("id")["p"].mean()
    best_chance = images.groupby("id")["p"].max()
    return paired_bootstrap(chance.to_numpy(), best_chance.to_numpy(), seed)


def lead_table(right: pd.DataFrame, predictor: str, seed: int) -> pd.DataFrame:
    """Return how far a predictor leads each other predictor on the same choices.

    Args:
        right: from ``right_by_predictor``.
        predictor: a column of ``right``.
        seed: of the bootstrap over choices.

    Returns:
        ``over`` (the other predictor), ``lead``, ``low``, ``high`` and ``n``.
    """
    own = right[predictor].to_numpy()
    rows = []
    for name in right:
        if name != predictor:
            interval = paired_bootstrap(own, right[name].to_numpy(), seed)
            rows.append((name, *interval, len(right)))
    return pd.DataFrame(rows, columns=["over", "lead", "low", "high", "n"])
