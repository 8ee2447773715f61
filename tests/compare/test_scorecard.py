"""The scorecard's rule on made-up numbers, and its claims on made-up tables."""

import json
import re
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.compare import scorecard
from alignsd.compare.claims import CLAIMS, Claim
from alignsd.compare.measurement import Measurement


def made_up(name, aim, null=None, least_n=1):
    """A claim without a measurement of its own."""
    return Claim(
        id=name,
        claim=f"it {name}",
        paper=None,
        source="a test",
        measure=lambda tables: None,
        aim=aim,
        null=null,
        least_n=least_n,
    )


RISES = made_up("rises", (0, inf), null=0)
FALLS = made_up("falls", (-inf, 0), null=0)
HALVES = made_up("halves", (0, 0.5), null=1, least_n=500)
WITHIN = made_up("stays within 5", (-5, 5), least_n=500)


@pytest.mark.parametrize(
    "claim, measured, expected",
    [
        (RISES, None, "not attempted"),
        (RISES, (2, 1, 3, 10), "reproduced"),
        (RISES, (2, -1, 5, 10), "direction only"),
        (RISES, (2, 0, 4, 10), "direction only"),  # an interval that touches 0 is not sure
        (RISES, (0, 0, 0, 10), "not reproduced"),
        (RISES, (-1, -2, 3, 10), "not reproduced"),
        (FALLS, (-2, -3, -1, 10), "reproduced"),
        (FALLS, (-2, -5, 1, 10), "direction only"),
        (FALLS, (1, 0.5, 2, 10), "not reproduced"),
        # The aim is for the value; the interval must leave out 1.
        (HALVES, (0.4, 0.3, 0.6, 512), "reproduced"),
        (HALVES, (0.5, 0.4, 0.6, 500), "reproduced"),  # ends count
        (HALVES, (0.4, 0.3, 0.6, 499), "direction only"),  # too few
        (HALVES, (0.7, 0.6, 0.8, 512), "direction only"),  # falls, but not by half
        (HALVES, (0.4, 0.1, 1.2, 512), "direction only"),  # may be no change at all
        (HALVES, (1.0, 0.9, 1.1, 512), "not reproduced"),
        (WITHIN, (3, -1, 7, 512), "reproduced"),
        (WITHIN, (-6, -9, -3, 512), "direction only"),  # outside, but the interval reaches in
        (WITHIN, (8, 6, 10, 512), "not reproduced"),
        (WITHIN, (0, -9, 9, 20), "direction only"),
    ],
)
def test_verdicts(claim, measured, expected):
    measurement = None if measured is None else Measurement(*measured)
    assert scorecard.verdict(measurement, claim) == expected


def arms_row(arm, metric, value, low, high, n=512):
    return {"arm": arm, "metric": metric, "value": value, "low": low, "high": high, "n": n}


@pytest.fixture
def tables():
    """Twenty choices of two images.

    HPS is always right, CLIP never, and the aesthetic predictor cannot decide.
    """
    rows = []
    for choice in range(20):
        for index in range(2):
            is_chosen = index == choice % 2
            rows.append(
                {
                    "id": choice,
                    "index": index,
                    "preferred": is_chosen,
                    "hps": 22.0 if is_chosen else 21.0,
                    "clip": -1.0 if is_chosen else 0.0,
                    "aesthetic": 5.0,
                    "p": 0.7 if is_chosen else 0.3,
                }
            )
    scores = pd.DataFrame(rows)
    arms = pd.DataFrame(
        [
            arms_row("original", "flaw_rate", 0.4, 0.36, 0.44),
            arms_row("original", "match_rate", 0.8, 0.77, 0.83),
            arms_row("adapted_identifier", "flaw_rate", 0.5, 0.46, 0.54),
        ]
    )
    against = pd.DataFrame(
        [
            arms_row("adapted_negative", "hps", 0.2, 0.1, 0.3),
            arms_row("adapted_negative", "fid", 1, -1, 3),
            arms_row("adapted_negative", "flaw_ratio", 0.3, 0.2, 0.4),
        ]
    )
    originals = [4] * 80 + [16] * 20
    votes = pd.DataFrame({"prompt_id": range(100), "original": originals, "voters": 20})
    votes["adapted"] = 20 - votes["original"]
    return {"scores": scores, "arms": arms, "against": against, "votes": votes}


def by_id(tables):
    return {row["id"]: row for row in scorecard.score(tables)}


def test_claims_are_measured_from_the_tables(tables):
    rows = by_id(tables)
    assert (rows["hps_beats_clip"]["value"], rows["hps_beats_clip"]["n"]) == (100, 20)
    assert rows["hps_beats_aesthetic"]["value"] == 50, "a tie of two is right half of the time"
    assert rows["hps_beats_person"]["value"] == pytest.approx(30)
    near_best = rows["hps_near_best"]
    assert near_best["value"] == 0 and near_best["verdict"] == "reproduced"
    assert rows["hps_rates_chosen_higher"]["value"] == 1
    assert rows["base_flaw_rate"]["value"] == 40
    assert rows["base_flaw_rate"]["verdict"] == "reproduced"
    assert rows["base_match_rate"]["verdict"] == "not reproduced"
    assert rows["adapted_flaw_ratio"]["verdict"] == "reproduced"
    assert rows["table4_hps"]["value"] == pytest.approx(0.002), "Table 4 prints the raw cosine"
    assert rows["table4_fid"]["verdict"] == "not reproduced"
    assert rows["user_study_adapted"]["value"] == 80 and rows["user_study_lead"]["value"] == 60


def test_separate_arms_need_intervals_that_are_apart(tables):
    row = by_id(tables)["identifier_binds"]
    assert [row[key] for key in ("value", "low", "high")] == pytest.approx([10, 2, 18])
    tables["arms"].loc[2, "low"] = 0.43
    row = by_id(tables)["identifier_binds"]
    assert row["low"] == pytest.approx(-1) and row["verdict"] == "direction only"


def test_what_a_run_does_not_have_is_not_attempted():
    assert {row["verdict"] for row in scorecard.score({})} == {"not attempted"}
    assert {row["value"] for row in scorecard.score({})} == {None}


def test_rows_have_exactly_the_declared_keys_and_are_json(tables):
    rows = scorecard.score(tables)
    assert {tuple(row) for row in rows} == {scorecard.KEYS}
    assert {row["verdict"] for row in rows} <= set(scorecard.VERDICTS)
    json.dumps(rows, allow_nan=False)
    assert len({row["id"] for row in rows}) == len(rows) == len(CLAIMS)


def test_an_endless_interval_is_written_as_none(tables):
    tables["against"].loc[2, "high"] = np.inf
    row = by_id(tables)["adapted_flaw_ratio"]
    assert row["high"] is None and row["verdict"] == "direction only"


def test_published_numbers_are_those_of_the_paper():
    published = {claim.id: claim.paper for claim in CLAIMS}
    assert published["hps_beats_clip"] == pytest.approx(43.5 - 32.9)
    assert published["hps_beats_aesthetic"] == pytest.approx(43.5 - 33.1)
    assert published["hps_beats_random"] == pytest.approx(43.5 - 26.1)
    assert published["hps_beats_person"] == pytest.approx(43.5 - 42.0)
    assert published["table4_fid"] == pytest.approx(19.35 - 19.72)
    assert published["table4_aesthetic"] == pytest.approx(6.06 - 5.90)
    assert published["table4_clip"] == pytest.approx(0.2831 - 0.2816)
    assert published["table4_hps"] == pytest.approx(0.1916 - 0.1898)
    assert published["user_study_lead"] == 74 - 22
    own = [claim for claim in CLAIMS if claim.source == "the miniature's own claim"]
    assert own and all(claim.paper is None for claim in own)


def test_numbers_have_the_digits_they_deserve():
    numbers = {None: "-", 0.0018: "0.0018", 0.5: "0.50", 43.53: "43.5", -0.37: "-0.37", 0: "0.00"}
    assert {value: scorecard.number(value) for value in numbers} == numbers
    published = {None: "-", 74.0: "74", 10.6: "10.6", 0.0018: "0.0018", -0.37: "-0.37"}
    assert {value: scorecard.published(value) for value in published} == published
    assert scorecard.span({"value": 74.0, "low": 9.5, "high": None}) == "74.0 [9.5, -]"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_printed_table_has_every_claim_and_verdict(tables, width):
    rows = scorecard.score(tables)
    text = scorecard.table(rows, width)
    words = re.sub(r"\s+", " ", text)
    assert max(len(line) for line in text.splitlines()) <= width
    reproduced = [row["verdict"] for row in rows].count("reproduced")
    assert text.splitlines()[-1].startswith(f"{reproduced} reproduced, ")
    for row in rows:
        assert row["verdict"] in words
        assert all(word in words for word in row["claim"].split())


def test_the_printed_table_fits_a_terminal_that_knows_ascii_only(tables):
    text = scorecard.table(scorecard.score(tables))
    assert text.isascii() and max(len(line) for line in text.splitlines()) <= 100
    assert "43.5 against 32.9 %)" in re.sub(r"\s+", " ", text)
    starts = [line.strip()[:1] for line in text.splitlines()]
    assert "%" not in starts, "a number and its % stay together"


def test_a_notebook_shows_the_scorecard_as_a_table(tables):
    rows = scorecard.score(tables)
    shown = scorecard.as_table(rows)
    assert shown.headings == ["claim", "paper", "this run [95 % interval]", "n", "verdict"]
    assert [cells[-1] for cells in shown.rows] == [row["verdict"] for row in rows]
    assert shown._repr_html_().count("<tr>") == len(rows) + 1
    assert str(shown) == scorecard.table(rows)


def test_reading_back(tables, tmp_path):
    path = tmp_path / "scorecard.json"
    with pytest.raises(Problem, match="no scorecard"):
        scorecard.read(path)
    path.write_text("[{}]")
    with pytest.raises(Problem, match="no scorecard"):
        scorecard.read(path)
    rows = scorecard.score(tables)
    path.write_text(json.dumps(rows))
    assert scorecard.read(path) == rows


def document_rows():
    """Return the cells of each claim's row in docs/scorecard.md, by the claim's id."""
    document = Path(scorecard.__file__).parents[2] / "docs" / "scorecard.md"
    lines = document.read_text(encoding="utf-8").splitlines()
    tables = [line.split(" | ") for line in lines if line.startswith("| `")]
    rows = [[cell.strip(" |") for cell in cells] for cells in tables if len(cells) == 7]
    return {cells[0].strip("`"): cells for cells in rows}


def aim_in_words(claim):
    low, high = claim.aim
    if high == inf:
        return f"at least {low:g}"
    if low == -inf:
        return f"at most {high:g}"
    return f"{low:g} to {high:g}"


def test_the_document_lists_every_claim_as_it_is():
    listed = document_rows()
    assert list(listed) == [claim.id for claim in CLAIMS]
    for claim in CLAIMS:
        assert listed[claim.id][1:] == [
            claim.claim,
            "-" if claim.paper is None else str(claim.paper),
            claim.source,
            aim_in_words(claim),
            "-" if claim.null is None else f"{claim.null:g}",
            "-" if claim.least_n == 1 else str(claim.least_n),
        ]
