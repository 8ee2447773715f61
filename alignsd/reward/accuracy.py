"""How well a predictor guesses which image a person chose (Table 2 of the paper)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from alignsd.base.errors import Problem
from alignsd.base.intervals import bootstrap_mean, paired_bootstrap
from alignsd.kit.tables import read_table

RANDOM, LAST, PERSON, BEST = "random guess", "last image", "another person", "best possible"


def chance_right(images: pd.DataFrame, column: str) -> pd.Series:
    """Returns for each choice the chance that a predictor picks the person's image: 1, 0, or 1/ties where it ties.

    Args:
        images: one row per image with ``id`` (of the choice), ``preferred`` (bool) and the predictor's score in ``column``.
    """
    best = images[column] == images.groupby("id")[column].transform("max")
    return (best & images["preferred"]).groupby(images["id"]).sum() / best.groupby(images["id"]).sum()


def right_by_predictor(images: pd.DataFrame, predictors: Mapping[str, str]) -> pd.DataFrame:
    """Returns each choice's chance of being guessed right, one column per predictor.

    Args:
        images: as in ``chance_right``, with ``index`` (position within the choice) and a column per predictor; where the
            people are simulated also ``p``, the chance that a person picks the image.
        predictors: name in the table -> score column.

    Returns:
        One row per choice. Two simulated people agree with the chance ``p`` of the image the first one chose; the best
        possible predictor picks the image with the largest ``p``.
    """
    table = pd.DataFrame({RANDOM: 1 / images.groupby("id").size(), LAST: chance_right(images, "index")})
    for name, column in predictors.items():
        table[name] = chance_right(images, column)
    if "p" in images:
        table[PERSON] = images.loc[images["preferred"]].set_index("id")["p"]
        table[BEST] = chance_right(images, "p")
    return table


def accuracy_table(right: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns Table 2: ``predictor``, ``accuracy``, ``low``, ``high`` (95 %, bootstrap over choices) and ``n``."""
    rows = [(name, *bootstrap_mean(right[name].to_numpy(), seed), len(right)) for name in right]
    return pd.DataFrame(rows, columns=["predictor", "accuracy", "low", "high", "n"])


def short_of_best(images: pd.DataFrame, column: str, seed: int) -> tuple[float, float, float] | None:
    """Returns how much less often a predictor names a person's image than the best possible one does: (difference, low, high).

    It goes by the known chances of each image to be picked, not by the picks that were made: their luck would only blur it.

    Args:
        images: as in ``right_by_predictor``; without ``p``, where people are real, the answer is None.
        column: the predictor's score. Where it ties, each tied image counts alike.
        seed: of the bootstrap over choices.
    """
    if "p" not in images:
        return None
    first = images[images[column] == images.groupby("id")[column].transform("max")]
    chance, best = (rows.groupby("id")["p"] for rows in (first, images))
    return paired_bootstrap(chance.mean().to_numpy(), best.max().to_numpy(), seed)


def lead_table(right: pd.DataFrame, predictor: str, seed: int) -> pd.DataFrame:
    """Returns how far a predictor leads each other one on the same choices: ``over``, ``lead``, ``low``, ``high``, ``n``."""
    rows = [(name, *paired_bootstrap(right[predictor].to_numpy(), right[name].to_numpy(), seed), len(right))
            for name in right if name != predictor]
    return pd.DataFrame(rows, columns=["over", "lead", "low", "high", "n"])


def add_truth(images: pd.DataFrame, truth: Path, provenance: Path) -> pd.DataFrame:
    """Join the simulated people's choice probabilities to the images.

    Images are joined by message and file name, never by position.

    Args:
        images: with ``id`` and ``index``.
        truth: the simulated server's table (``message_id``, ``file_name``, ``p``); real exports have
            none.
        provenance: which message and files each choice came from (``id``, ``message_id``,
            ``file_names``).

    Returns:
        The images with ``p``, made to sum to 1 over the images that are left of a choice; unchanged
        if there is no truth.

    Raises:
        Problem: if a table cannot be read, names an image twice, holds a ``p`` that is no chance, or
            does not know an image.
    """
    if not truth.exists():
        return images
    source = _origins(provenance)
    known = source.merge(_chances(truth), on=["message_id", "file_name"], validate="one_to_one")
    joined = images.merge(
        known[["id", "index", "p"]], on=["id", "index"], how="left", validate="one_to_one"
    )
    unknown = int(joined["p"].isna().sum())
    if unknown:
        raise _no_truth(
            f"{unknown:,} images have no truth.",
            expected="a row for each in truth.parquet",
            found=f"{len(known):,} rows",
        )
    total = joined.groupby("id")["p"].transform("sum")
    if (total <= 0).any():
        raise _no_truth(
            "The chances of a choice's images add up to nothing.",
            expected="a chance above 0 for one image of each choice",
            found=f"{joined['id'][total <= 0].nunique():,} choices with 0 for all images",
        )
    joined["p"] /= total
    return joined


def _origins(provenance: Path) -> pd.DataFrame:
    """Return a row per image: ``id``, ``index``, ``message_id`` and ``file_name`` as text."""
    source = read_table(provenance, ("id", "message_id", "file_names")).explode("file_names")
    source = source.rename(columns={"file_names": "file_name"})
    if not pd.api.types.is_integer_dtype(source["id"]):
        raise _no_truth(
            f"{provenance.name} holds ids that are no whole numbers.",
            expected="a column id of whole numbers",
            found=f"{source['id'].dtype}",
        )
    source["index"] = source.groupby("id").cumcount()
    return _as_text(source, provenance)


def _chances(truth: Path) -> pd.DataFrame:
    """Return ``message_id``, ``file_name`` and ``p``, the chance of each image."""
    table = _as_text(read_table(truth, ("message_id", "file_name", "p")), truth)
    is_number = pd.api.types.is_float_dtype(table["p"]) or pd.api.types.is_integer_dtype(table["p"])
    impossible = ~table["p"].between(0, 1) if is_number else pd.Series(True, table.index)
    if impossible.any():
        raise _no_truth(
            f"{truth.name} holds values that are no chance.",
            expected="p from 0 to 1 in every row",
            found=f"{int(impossible.sum()):,} of {len(table):,} rows with another value, "
            f"such as {table['p'][impossible].iloc[0]!r:.60}",
        )
    return table


def _as_text(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table whose message and file are text, and in one row each."""
    named = ["message_id", "file_name"]
    no_text = ~table[named].map(lambda cell: isinstance(cell, str)).all(axis=1)
    if no_text.any():
        raise _no_truth(
            f"{path.name} names images by something else than text.",
            expected="text for message and file",
            found=f"{int(no_text.sum()):,} of {len(table):,} rows with another type, or none",
        )
    twice = int(table.duplicated(named).sum())
    if twice:
        raise _no_truth(
            f"{path.name} names images twice.",
            expected="each message and file in one row",
            found=f"{twice:,} of {len(table):,} rows again",
        )
    return table


def _no_truth(what: str, *, expected: str, found: str) -> Problem:
    return Problem(
        what,
        expected=expected,
        found=found,
        cause="the choices are of another export than the truth, or a table was changed by hand",
        fix="run 01_collect_preferences again with --force",
    )


def subsets(n: int, sizes: list[int], seed: int) -> dict[int, np.ndarray]:
    """Returns nested random subsets of ``n`` choices, for accuracy against training-set size; sizes above n are left out."""
    order = np.random.default_rng((seed, 0x515E)).permutation(n)
    return {size: np.sort(order[:size]) for size in sizes if size <= n}
