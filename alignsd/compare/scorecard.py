"""The scorecard: each claim, what this run measured, and a verdict by a rule fixed in advance.

The rule looks at a row's own numbers and at the claim's aim, nothing else (``docs/scorecard.md``
lists the aims):

- `not attempted`: the run has no value for the claim.
- `reproduced`: the value lies within the aim, and n is at least what the claim asks for. Where the
  claim says that something differs, the whole 95 % interval also lies on the claimed side of
  "no difference".
- `direction only`: not reproduced, but the value lies on the claimed side of "no difference"; or,
  where the claim is to stay within bounds, the interval reaches into the bounds.
- `not reproduced`: anything else.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.reading import is_text, read_json
from alignsd.compare.claims import CLAIMS, Claim
from alignsd.compare.evidence import Tables
from alignsd.compare.measurement import Measurement
from alignsd.kit.tables import command_for
from alignsd.kit.views import NO_BREAK_SPACE, Table

Row = dict[str, Any]  # of the scorecard, with the keys KEYS

KEYS = ("id", "claim", "paper", "source", "value", "low", "high", "n", "verdict")
HEADINGS = ("claim", "paper", "this run [95 % interval]", "n", "verdict")
WRITTEN_BY = "08_figures"

REPRODUCED = "reproduced"
DIRECTION_ONLY = "direction only"
NOT_REPRODUCED = "not reproduced"
NOT_ATTEMPTED = "not attempted"
VERDICTS = (REPRODUCED, DIRECTION_ONLY, NOT_REPRODUCED, NOT_ATTEMPTED)


def verdict(measured: Measurement | None, claim: Claim) -> str:
    """Return the verdict on a measurement, by the rule at the top of this module."""
    if measured is None:
        return NOT_ATTEMPTED
    least, greatest = claim.aim
    is_within = least <= measured.value <= greatest and measured.n >= claim.least_n
    if claim.null is None:
        if is_within:
            return REPRODUCED
        reaches_in = measured.low <= greatest and measured.high >= least
        return DIRECTION_ONLY if reaches_in else NOT_REPRODUCED
    is_sure, is_right_way = _sides(measured, claim.null, upwards=greatest > claim.null)
    if is_within and is_sure:
        return REPRODUCED
    return DIRECTION_ONLY if is_right_way else NOT_REPRODUCED


def _sides(measured: Measurement, null: float, upwards: bool) -> tuple[bool, bool]:
    """Return whether the whole interval, and whether the value, lies on the claimed side."""
    if upwards:
        return measured.low > null, measured.value > null
    return measured.high < null, measured.value < null


def score(tables: Tables) -> list[Row]:
    """Return the scorecard: a row with the keys ``KEYS`` per claim.

    Args:
        tables: see ``evidence.Tables``. A claim whose table or metric is absent is not attempted.
    """
    return [_row(claim, claim.measure(tables)) for claim in CLAIMS]


def _row(claim: Claim, measured: Measurement | None) -> Row:
    row: Row = {
        "id": claim.id,
        "claim": claim.claim,
        "paper": claim.paper,
        "source": claim.source,
    }
    if measured is None:
        row |= {"value": None, "low": None, "high": None, "n": None}
    else:
        row["value"] = round(measured.value, 5)
        row["low"] = _end(measured.low)
        row["high"] = _end(measured.high)
        row["n"] = measured.n
    row["verdict"] = verdict(measured, claim)
    return row


def _end(value: float) -> float | None:
    """Return an interval's end for JSON, which has no infinity.

    The high end of a ratio is infinite if a resample was divided by 0.
    """
    return round(value, 5) if math.isfinite(value) else None


def read(path: Path) -> list[Row]:
    """Return the rows of a scorecard's file.

    Raises:
        Problem: if there is no file, or the file is no scorecard.
    """
    try:
        rows = read_json(path)
    except Problem as problem:
        raise _no_scorecard(path, f"{problem.what} {problem.found}") from problem
    if not isinstance(rows, list):
        raise _no_scorecard(path, "JSON that is no list")
    for number, row in enumerate(rows, 1):
        if not _is_row(row):
            raise _no_scorecard(path, f"row {number} is no row of a scorecard")
    return rows


def _is_row(row: Any) -> bool:
    """Return whether a value from JSON is a row of a scorecard."""
    if not isinstance(row, dict) or tuple(row) != KEYS or row["verdict"] not in VERDICTS:
        return False
    texts = (row["id"], row["claim"], row["source"])
    numbers = (row["paper"], row["value"], row["low"], row["high"], row["n"])
    return all(map(is_text, texts)) and all(map(_is_number_or_none, numbers))


def _is_number_or_none(value: Any) -> bool:
    if value is None:
        return True
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < 2**63  # NaN and infinity are no results


def _no_scorecard(path: Path, found: str) -> Problem:
    return Problem(
        "There is no scorecard to read.",
        expected=f"{path.name}, a list of rows with {', '.join(KEYS)}",
        found=found,
        cause="the run has not reached its end, or the file was edited",
        fix=command_for(WRITTEN_BY, path),
    )


def table(rows: Sequence[Row], width: int = 100) -> str:
    """Return the scorecard as text for a terminal of ``width`` characters."""
    return as_table(rows).text(width)


def as_table(rows: Sequence[Row]) -> Table:
    """Return the scorecard as a table that a notebook shows, with a count of the verdicts below."""
    counts = []
    for verdict in VERDICTS:
        count = [row["verdict"] for row in rows].count(verdict)
        counts.append(f"{count} {verdict}")
    cells = []
    for row in rows:
        claim, *others = _cells(row)
        cells.append((claim.replace(" %", f"{NO_BREAK_SPACE}%"), *others))
    return Table(cells, HEADINGS, numbers=("paper", "n"), below=", ".join(counts))


def markdown(rows: Sequence[Row]) -> list[str]:
    """Return the scorecard as lines of a Markdown table."""
    lines = [_markdown_row(HEADINGS), "|---|---|---|---|---|"]
    return lines + [_markdown_row(_cells(row)) for row in rows]


def side_by_side(runs: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the scorecards of several runs as lines of a Markdown table, claims by their ids.

    A verdict is written where it is not ``reproduced``. Claims that no run attempted are left out.

    Args:
        runs: name -> rows.
    """
    lines = [_markdown_row(("claim", *runs)), "|---" * (len(runs) + 1) + "|"]
    for rows_of_claim in zip(*runs.values(), strict=True):
        if all(row["value"] is None for row in rows_of_claim):
            continue
        cells = [f"`{rows_of_claim[0]['id']}`"]
        for row in rows_of_claim:
            remark = "" if row["verdict"] == REPRODUCED else f" *{row['verdict']}*"
            cells.append(span(row) + remark)
        lines.append(_markdown_row(cells))
    return lines


def number(value: float | None, like: float | None = None) -> str:
    """Return a number as text, with the decimals that suit ``like``; a dash for None.

    Sizes between 0 and 0.1 have four decimals, other sizes below 10 two, larger sizes one.

    Args:
        value: the number.
        like: the number whose size decides; ``value`` by default.
    """
    if value is None:
        return "-"
    size = abs(value if like is None else like)
    if 0 < size < 0.1:
        return f"{value:.4f}"
    if size < 10:
        return f"{value:.2f}"
    return f"{value:.1f}"


def published(value: float | None) -> str:
    """Return a published number with all published digits; a dash for None."""
    return "-" if value is None else f"{value:g}"


def span(row: Mapping[str, Any]) -> str:
    """Return a row's value and interval, such as ``74.0 [64.6, 81.6]``; a dash without a value."""
    value = row["value"]
    if value is None:
        return "-"
    return f"{number(value)} [{number(row['low'], value)}, {number(row['high'], value)}]"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    """Return the cells of a row under ``HEADINGS``."""
    count = "-" if row["n"] is None else str(row["n"])
    return row["claim"], published(row["paper"]), span(row), count, row["verdict"]


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
