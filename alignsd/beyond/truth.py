"""What the judge says of the pairs that a model learns from."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from alignsd.base.judge import Judge
from alignsd.beyond.pairs import ROLES
from alignsd.compare.measurement import COLUMNS, share_of
from alignsd.select.picks import flawed_files


def flaws_of_pairs(tables: Mapping[str, pd.DataFrame], judge: Judge | None) -> pd.DataFrame:
    """Return how many winners and how many losers are drawn wrong.

    Args:
        tables: source -> pairs with files, ``winner, loser, folder``.
        judge: tells flaws; None gives no rows.

    Returns:
        ``pairs`` (the source), ``picture`` (winner or loser), ``value``, ``low``, ``high`` (shares
        0-1, Wilson's interval) and ``n`` (pairs). A picture counts once for each of its pairs.
    """
    rows = []
    for source, table in tables.items():
        verdicts = _verdicts(table, judge)
        for role in ROLES:
            flawed = table[role].map(verdicts).dropna()
            if len(flawed):
                rows.append(share_of(flawed.astype(bool)).row(source, role))
    counted = pd.DataFrame(rows, columns=COLUMNS)
    return counted.rename(columns={"arm": "pairs", "metric": "picture"})


def _verdicts(table: pd.DataFrame, judge: Judge | None) -> dict[str, bool]:
    """Return the judge's verdict on each file of a table of pairs."""
    verdicts: dict[str, bool] = {}
    for folder, pairs in table.groupby("folder", sort=False):
        files = pd.concat([pairs[role] for role in ROLES]).drop_duplicates()
        verdicts |= flawed_files(judge, Path(str(folder)), files)
    return verdicts
