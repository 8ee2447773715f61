"""The scorecard: each claim of the paper, what this run found, and a verdict by a rule fixed in advance.

The rule looks at a row's own numbers and at the claim's aim, nothing else (``docs/scorecard.md`` lists the aims):

- `not attempted`: the run has no value for it.
- `reproduced`: the value lies within the aim; where the claim says that something differs, the whole 95 % interval also
  lies on the claimed side of "no difference"; and n is at least what the claim asks for.
- `direction only`: not that, but the value lies on the claimed side of "no difference"; or, where the claim is to stay
  within bounds, the interval reaches into them.
- `not reproduced`: anything else.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignsd.base.errors import Problem
from alignsd.base.reading import is_text, read_json
from alignsd.compare.claims import CLAIMS, Claim, Measurement, Tables
from alignsd.kit.views import NO_BREAK_SPACE, Table

KEYS = ("id", "claim", "paper", "source", "value", "low", "high", "n", "verdict")
VERDICTS = ("reproduced", "direction only", "not reproduced", "not attempted")


def verdict(found: Measurement | None, claim: Claim) -> str:
    """Returns the verdict on a measurement, by the rule at the top of this module."""
    if found is None:
        return "not attempted"
    within = claim.aim[0] <= found.value <= claim.aim[1] and found.n >= claim.least_n
    if claim.null is None:
        near = found.low <= claim.aim[1] and found.high >= claim.aim[0]
        return "reproduced" if within else "direction only" if near else "not reproduced"
    upwards = claim.aim[1] > claim.null
    sure = found.low > claim.null if upwards else found.high < claim.null
    right_way = found.value > claim.null if upwards else found.value < claim.null
    return "reproduced" if within and sure else "direction only" if right_way else "not reproduced"


def score(tables: Tables, claims: tuple[Claim, ...] | None = None) -> list[dict]:
    """Returns the scorecard: a row ``id, claim, paper, source, value, low, high, n, verdict`` per claim.

    Args:
        tables: ``"scores"``: test_scores.parquet of notebook 02; ``"arms"``, ``"against"``, ``"votes"``: the tables of
            notebook 07. Claims whose table or metric is absent are not attempted.
        claims: which; all by default.
    """
    rows = []
    for claim in CLAIMS if claims is None else claims:
        found = claim.measure(tables)
        numbers = {"value": None, "low": None, "high": None, "n": None} if found is None else {
            "value": round(found.value, 5), "low": _end(found.low), "high": _end(found.high), "n": found.n}
        rows.append({"id": claim.id, "claim": claim.claim, "paper": claim.paper, "source": claim.source, **numbers,
                     "verdict": verdict(found, claim)})
    return rows


def read(path: Path) -> list[dict]:
    """Returns the rows of a scorecard's file.

    Raises:
        Problem: if there is none, or it is no scorecard.
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
        cause="notebook 08 has not run to its end in this run, or the file was edited",
        fix=f"alignsd run --run {path.parent.name} --force 08",
    )


def table(rows: list[dict], width: int = 100) -> str:
    """Return the scorecard as text for a terminal of ``width`` characters."""
    return as_table(rows).text(width)


def as_table(rows: list[dict]) -> Table:
    """Return the scorecard as a table that a notebook shows, with a count of the verdicts below."""
    headings = ("claim", "paper", "this run [95 % interval]", "n", "verdict")
    counts = []
    for verdict in VERDICTS:
        count = sum(row["verdict"] == verdict for row in rows)
        counts.append(f"{count} {verdict}")
    cells = []
    for row in rows:
        claim = row["claim"].replace(" %", f"{NO_BREAK_SPACE}%")
        cells.append((claim, published(row["paper"]), span(row), _count(row), row["verdict"]))
    return Table(cells, headings, numbers=("paper", "n"), below=", ".join(counts))


def markdown(rows: list[dict]) -> list[str]:
    """Returns the scorecard as lines of a Markdown table."""
    lines = ["| claim | paper | this run [95 % interval] | n | verdict |", "|---|---|---|---|---|"]
    cells = [
        (row["claim"], published(row["paper"]), span(row), _count(row), row["verdict"])
        for row in rows
    ]
    return lines + [f"| {' | '.join(row)} |" for row in cells]


def side_by_side(runs: Mapping[str, list[dict]]) -> list[str]:
    """Returns the scorecards of several runs as lines of a Markdown table, claims by their ids.

    Args:
        runs: name -> rows. A verdict is told where it is not ``reproduced``; claims that no run attempted are left out.
    """
    lines = [f"| claim | {' | '.join(runs)} |", "|---" * (len(runs) + 1) + "|"]
    for same in zip(*runs.values(), strict=True):
        cells = [span(row) + ("" if row["verdict"] == "reproduced" else f" *{row['verdict']}*") for row in same]
        if any(row["value"] is not None for row in same):
            lines.append(f"| `{same[0]['id']}` | {' | '.join(cells)} |")
    return lines


def number(value: float | None, like: float | None = None) -> str:
    """Returns a number as text, with the decimals that suit ``like`` (itself by default); a dash for none.

    Four decimals for sizes between 0 and 0.1, two below 10, otherwise one.
    """
    if value is None:
        return "-"
    size = abs(value if like is None else like)
    return f"{value:.{4 if 0 < size < 0.1 else 2 if size < 10 else 1}f}"


def published(value: float | None) -> str:
    """Returns a published number with the digits it was published with; a dash for none."""
    return "-" if value is None else f"{value:g}"


def span(row: Mapping) -> str:
    """Returns a row's value and interval as text, such as ``74.0 [64.6, 81.6]``; a dash if there is none."""
    value, low, high = row["value"], row["low"], row["high"]
    return "-" if value is None else f"{number(value)} [{number(low, value)}, {number(high, value)}]"


def _count(row: Mapping) -> str:
    return "-" if row["n"] is None else str(row["n"])


def _end(value: float) -> float | None:
    """An interval's end for JSON, which knows no infinity: a ratio's high end is None if a resample divided by 0."""
    return round(value, 5) if math.isfinite(value) else None
