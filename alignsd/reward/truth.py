"""The truth about simulated people: the chance that a person picks an image of a choice."""

from pathlib import Path

import pandas as pd

from alignsd.base.errors import Problem
from alignsd.kit.tables import read_table


def add_truth(images: pd.DataFrame, truth: Path, provenance: Path) -> pd.DataFrame:
    """Join to the images the chances with which simulated people pick them.

    Images are joined by message and file name, never by position.

    Args:
        images: with ``id`` and ``index``.
        truth: table of the simulated server (``message_id``, ``file_name``, ``p``). Real exports
            come without a truth.
        provenance: table of the message and the files of each choice (``id``, ``message_id``,
            ``file_names``).

    Returns:
        The images with ``p``, scaled to sum to 1 over the images that are left of a choice. If
        there is no truth, the images as they were.

    Raises:
        Problem: if a table cannot be read or names an image twice, if a ``p`` is no chance, or if
            an image is missing in a table.
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
            expected="a row for each image in truth.parquet",
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
    choices = read_table(provenance, ("id", "message_id", "file_names"))
    source = choices.explode("file_names").rename(columns={"file_names": "file_name"})
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
    chances = table["p"]
    if pd.api.types.is_float_dtype(chances) or pd.api.types.is_integer_dtype(chances):
        impossible = ~chances.between(0, 1)
    else:
        impossible = pd.Series(True, table.index)
    if impossible.any():
        count, example = int(impossible.sum()), chances[impossible].iloc[0]
        raise _no_truth(
            f"{truth.name} holds values that are no chance.",
            expected="p from 0 to 1 in every row",
            found=f"{count:,} of {len(table):,} rows with another value, such as {example!r:.60}",
        )
    return table


def _as_text(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table if message and file are text, and each image stands in one row."""
    named = ["message_id", "file_name"]
    is_text = table[named].map(lambda cell: isinstance(cell, str))
    no_text = ~is_text.all(axis=1)
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
        cause="choices and truth come from two exports, or a table was changed by hand",
        fix="run 01_collect_preferences again with --force",
    )
