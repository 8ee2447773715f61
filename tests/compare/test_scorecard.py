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
from alignsd.compare.claims import CLAIMS, Claim, Measurement, not_computed

RISES = Claim("rises", "it rises", None, "a test", lambda tables: None, (0, inf), null=0)
FALLS = Claim("falls", "it falls", None, "a test", lambda tables: None, (-inf, 0), null=0)
HALVES = Claim("halves", "it halves", None, "a test", lambda tables: None, (0, 0.5), null=1, least_n=500)
WITHIN = Claim("within", "it stays within 5", None, "a test", lambda tables: None, (-5, 5), least_n=500)


@pytest.mark.parametrize("claim, found, expected", [
    (RISES, None, "not attempted"),
    (RISES, (2, 1, 3, 10), "reproduced"),
    (RISES, (2, -1, 5, 10), "direction only"),
    (RISES, (2, 0, 4, 10), "direction only"),  # an interval that touches 0 is not sure
    (RISES, (0, 0, 0, 10), "not reproduced"),
    (RISES, (-1, -2, 3, 10), "not reproduced"),
    (FALLS, (-2, -3, -1, 10), "reproduced"),
    (FALLS, (-2, -5, 1, 10), "direction only"),
    (FALLS, (1, 0.5, 2, 10), "not reproduced"),
    (HALVES, (0.4, 0.3, 0.6, 512), "reproduced"),  # the aim is for the value; the interval must exclude 1
    (HALVES, (0.5, 0.4, 0.6, 500), "reproduced"),  # ends count
    (HALVES, (0.4, 0.3, 0.6, 499), "direction only"),  # too few
    (HALVES, (0.7, 0.6, 0.8, 512), "direction only"),  # falls, but not by half
    (HALVES, (0.4, 0.1, 1.2, 512), "direction only"),  # may be no change at all
    (HALVES, (1.0, 0.9, 1.1, 512), "not reproduced"),
    (WITHIN, (3, -1, 7, 512), "reproduced"),
    (WITHIN, (-6, -9, -3, 512), "direction only"),  # outside, but the interval reaches in
    (WITHIN, (8, 6, 10, 512), "not reproduced"),
    (WITHIN, (0, -9, 9, 20), "direction only"),
])
def test_verdicts(claim, found, expected):
    assert scorecard.verdict(None if found is None else Measurement(*found), claim) == expected


def arms_row(arm, metric, value, low, high, n=512):
    return {"arm": arm, "metric": metric, "value": value, "low": low, "high": high, "n": n}


@pytest.fixture
def tables():
    """Twenty choices of two images: HPS is always right, CLIP never, the aesthetic predictor cannot decide."""
    rows = []
    for choice in range(20):
        for index in range(2):
            chosen = index == choice % 2
            rows.append((choice, index, chosen, 21.0 + chosen, 0.0 - chosen, 5.0, 0.7 if chosen else 0.3))
    scores = pd.DataFrame(rows, columns=["id", "index", "preferred", "hps", "clip", "aesthetic", "p"])
    arms = pd.DataFrame([arms_row("original", "flaw_rate", 0.4, 0.36, 0.44),
                         arms_row("original", "match_rate", 0.8, 0.77, 0.83),
                         arms_row("adapted_identifier", "flaw_rate", 0.5, 0.46, 0.54)])
    against = pd.DataFrame([arms_row("adapted_negative", "hps", 0.2, 0.1, 0.3),
                            arms_row("adapted_negative", "fid", 1, -1, 3),
                            arms_row("adapted_negative", "flaw_ratio", 0.3, 0.2, 0.4)])
    votes = pd.DataFrame({"prompt_id": range(100), "original": [4] * 80 + [16] * 20, "voters": 20})
    votes["adapted"] = 20 - votes["original"]
    return {"scores": scores, "arms": arms, "against": against, "votes": votes}


def by_id(tables):
    return {row["id"]: row for row in scorecard.score(tables)}


def test_claims_are_measured_from_the_tables(tables):
    rows = by_id(tables)
    assert (rows["hps_beats_clip"]["value"], rows["hps_beats_clip"]["n"]) == (100, 20)
    assert rows["hps_beats_aesthetic"]["value"] == 50, "a tie of two is right half of the time"
    assert rows["hps_beats_person"]["value"] == pytest.approx(30)
    assert (rows["hps_near_best"]["value"], rows["hps_near_best"]["verdict"]) == (0, "reproduced")
    assert rows["hps_rates_chosen_higher"]["value"] == 1
    assert rows["base_flaw_rate"]["value"] == 40 and rows["base_flaw_rate"]["verdict"] == "reproduced"
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
    assert [scorecard.published(value) for value in (None, 74.0, 10.6, 0.0018, -0.37)] == ["-", "74", "10.6", "0.0018", "-0.37"]
    assert scorecard.span({"value": 74.0, "low": 9.5, "high": None}) == "74.0 [9.5, -]"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_printed_table_has_every_claim_and_verdict(tables, width):
    rows = scorecard.score(tables)
    text = scorecard.table(rows, width)
    words = re.sub(r"\s+", " ", text)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.splitlines()[-1].startswith(f"{sum(row['verdict'] == 'reproduced' for row in rows)} reproduced, ")
    for row in rows:
        assert row["verdict"] in words
        assert all(word in words for word in row["claim"].split())


def test_the_printed_table_fits_a_terminal_that_knows_ascii_only(tables):
    text = scorecard.table(scorecard.score(tables))
    assert text.isascii() and max(len(line) for line in text.splitlines()) <= 100
    assert "43.5 against 32.9 %)" in re.sub(r"\s+", " ", text)
    assert not [line for line in text.splitlines() if line.strip().startswith("%")], "a number and its % stay together"


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


def test_the_document_lists_every_claim_as_it_is():
    document = Path(scorecard.__file__).parents[2] / "docs" / "scorecard.md"
    rows = [line.split(" | ") for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): row for row in rows if len(row) == 7}
    assert list(listed) == [claim.id for claim in CLAIMS]
    for claim in CLAIMS:
        _, words, paper, source, aim, null, least = (cell.strip(" |") for cell in listed[claim.id])
        assert (words, source) == (claim.claim, claim.source)
        assert paper == ("-" if claim.paper is None else str(claim.paper))
        assert null == ("-" if claim.null is None else f"{claim.null:g}")
        assert least == ("-" if claim.least_n == 1 else str(claim.least_n))
        low, high = claim.aim
        within = f"at least {low:g}" if high == inf else f"at most {high:g}" if low == -inf else f"{low:g} to {high:g}"
        assert aim == ("not computed" if claim.measure is not_computed else within)
