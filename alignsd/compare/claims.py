"""What the scorecard claims: the paper's statements and the miniature's own, each with how a run's tables answer it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import pandas as pd

from alignsd.base.intervals import bootstrap_mean
from alignsd.compare.user_study import majorities
from alignsd.reward.accuracy import (
    LAST,
    PERSON,
    RANDOM,
    lead_table,
    right_by_predictor,
    short_of_best,
)

Tables = Mapping[str, pd.DataFrame]  # "scores" (notebook 02), "arms", "against" and "votes" (07); any may be absent
SEED = 0  # of the bootstraps made here; the tables bring their own intervals


@dataclass(frozen=True)
class Measurement:
    """A value with its 95 % interval, in the claim's unit, over n items."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Claim:
    """One line of the scorecard.

    Attributes:
        id: short name.
        claim: what is claimed, in words, with the unit of the value.
        paper: the published number in that unit; None if there is none.
        source: where the claim stands.
        measure: tables -> value, or None if the tables do not hold it.
        aim: least and greatest value at which the claim holds, ends included.
        null: the value that means "no difference", if the claim says that something differs; the aim lies on one side.
        least_n: items that a verdict of `reproduced` asks for.
    """

    id: str
    claim: str
    paper: float | None
    source: str
    measure: Callable[[Tables], Measurement | None]
    aim: tuple[float, float]
    null: float | None = None
    least_n: int = 1


def lead(over: str) -> Callable[[Tables], Measurement | None]:
    """Returns how to measure HPS's lead over another predictor in points, paired on the same test choices."""
    def measure(tables: Tables) -> Measurement | None:
        right = _right(tables)
        if right is None or over not in right:
            return None
        row = lead_table(right[["HPS", over]], "HPS", SEED).iloc[0]
        return Measurement(*(100 * float(row[name]) for name in ("lead", "low", "high")), int(row["n"]))
    return measure


def apart(over: str) -> Callable[[Tables], Measurement | None]:
    """Returns how to measure HPS's lead in points with an interval that is above 0 only if both rows' intervals are apart.

    It runs from HPS's low end minus the other's high end to HPS's high end minus the other's low end: wider than the paired
    one, hence the harder test. This is what "interval above theirs" asks for.
    """
    def measure(tables: Tables) -> Measurement | None:
        right = _right(tables)
        if right is None or over not in right:
            return None
        ours, theirs = (bootstrap_mean(right[name], SEED) for name in ("HPS", over))
        return Measurement(*(100 * x for x in _gap(ours, theirs)), len(right))
    return measure


def arm(name: str, metric: str, scale: float = 1.0) -> Callable[[Tables], Measurement | None]:
    """Returns how to read an arm's metric, times ``scale`` (100 turns a share into percent)."""
    return lambda tables: _row(tables.get("arms"), {"arm": name, "metric": metric}, scale)


def against(name: str, metric: str, scale: float = 1.0) -> Callable[[Tables], Measurement | None]:
    """Returns how to read an arm's paired difference to the original (or its ratio, for ``flaw_ratio``), times ``scale``."""
    return lambda tables: _row(tables.get("against"), {"arm": name, "metric": metric}, scale)


def arms_apart(name: str, metric: str, scale: float) -> Callable[[Tables], Measurement | None]:
    """Returns how to measure arm minus original with an interval above 0 only if both arms' intervals are apart."""
    def measure(tables: Tables) -> Measurement | None:
        rows = [arm(which, metric, scale)(tables) for which in (name, "original")]
        if None in rows:
            return None
        return Measurement(*_gap(*((row.value, row.low, row.high) for row in rows)), min(row.n for row in rows))
    return measure


def outcome(name: str) -> Callable[[Tables], Measurement | None]:
    """Returns how to read an outcome of the user study, in percent of the prompts."""
    def measure(tables: Tables) -> Measurement | None:
        votes = tables.get("votes")
        return None if votes is None else _row(majorities(votes, SEED), {"outcome": name}, 100)
    return measure


def near_best(tables: Tables) -> Measurement | None:
    """Returns by how many points HPS falls short of the best possible predictor, by the simulated people's known chances."""
    scores = tables.get("scores")
    found = None if scores is None else short_of_best(scores, "hps", SEED)
    return None if found is None else Measurement(*(100 * x for x in found), scores["id"].nunique())


def preferred_lead(tables: Tables) -> Measurement | None:
    """Returns by how much HPS rates the chosen image of a choice above the mean of the others, over the choices."""
    scores = tables.get("scores")
    if scores is None:
        return None
    means = scores.groupby(["id", "preferred"])["hps"].mean().unstack()
    return Measurement(*bootstrap_mean(means[True] - means[False], SEED), len(means))


def not_computed(tables: Tables) -> None:
    """Returns None: this kit has no notebook for the claim yet."""


def _right(tables: Tables) -> pd.DataFrame | None:
    scores = tables.get("scores")
    names = {"CLIP": "clip", "aesthetic predictor": "aesthetic", "HPS": "hps"}
    return None if scores is None else right_by_predictor(scores, names)


def _gap(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns (a - b, a.low - b.high, a.high - b.low) of two (value, low, high)."""
    return a[0] - b[0], a[1] - b[2], a[2] - b[1]


def _row(table: pd.DataFrame | None, where: Mapping[str, str], scale: float) -> Measurement | None:
    """Returns the one row of a table that fits ``where``, or None."""
    if table is None:
        return None
    for column, value in where.items():
        table = table[table[column] == value]
    if table.empty:
        return None
    value, low, high = (scale * float(table.iloc[0][name]) for name in ("value", "low", "high"))
    return Measurement(value, low, high, int(table.iloc[0]["n"]))


OWN = "the miniature's own claim"
TABLE_2, TABLE_3, TABLE_4 = "Table 2 of the paper", "Table 3 of the paper", "Table 4 of the paper"
STUDY = "user study of the paper"
PAPERS = "adapted_negative"  # the paper's arm: adapted, with the identifier as negative prompt

CLAIMS = (
    Claim("hps_beats_clip", "HPS predicts choices better than CLIP (points of accuracy; 43.5 against 32.9 %)",
          10.6, TABLE_2, apart("CLIP"), (0, inf), null=0),
    Claim("hps_beats_aesthetic", "HPS predicts choices better than the aesthetic predictor (points; 43.5 against 33.1 %)",
          10.4, TABLE_2, apart("aesthetic predictor"), (0, inf), null=0),
    Claim("hps_beats_random", "HPS predicts choices better than guessing (points; 43.5 against 26.1 %)",
          17.4, TABLE_2, apart(RANDOM), (0, inf), null=0),
    Claim("hps_beats_last_image", "HPS predicts choices better than always naming the last image (points)",
          None, OWN, apart(LAST), (0, inf), null=0),
    Claim("hps_beats_person", "HPS predicts a person's choice better than another person does (points; 43.5 against 42.0 %)",
          1.5, TABLE_2, lead(PERSON), (0, inf), null=0),
    Claim("hps_near_best", "HPS comes within 3 points of the best possible predictor (points)",
          None, OWN, near_best, (-3, inf)),
    Claim("hps_rates_chosen_higher", "HPS rates chosen images above the others (HPS units; 21.0 against 20.26 in training)",
          0.74, "an author's answer about the training data, not in the paper", preferred_lead, (0, inf), null=0),
    Claim("preferred_is_fid", "Inception score and FID do not tell chosen images from the others (FID 38.2 against 37.7)",
          0.5, "the paper's analysis of its data set", not_computed, (-inf, inf)),
    Claim("dalle_agreement", "HPS agrees with people on pairs of Stable Diffusion and DALL-E images (%; CLIP: 56.8 %)",
          61.5, TABLE_3, not_computed, (50, 100), null=50),
    Claim("base_flaw_rate", "The base model often errs: flaw rate between 30 and 60 % (%)",
          None, OWN, arm("original", "flaw_rate", 100), (30, 60), least_n=500),
    Claim("base_match_rate", "The base model shows what is asked for: prompt match of at least 90 % (%)",
          None, OWN, arm("original", "match_rate", 100), (90, 100), least_n=500),
    Claim("identifier_binds", "The identifier before the prompt draws flaws more often than the original does (points)",
          None, OWN, arms_apart("adapted_identifier", "flaw_rate", 100), (0, inf), null=0, least_n=500),
    Claim("adapted_flaw_ratio", "Adapted, with the negative prompt, errs at most half as often as the original (ratio)",
          None, OWN, against(PAPERS, "flaw_ratio"), (0, 0.5), null=1, least_n=500),
    Claim("adapted_match", "Adapted, with the negative prompt, matches the prompt no more than 2 points less often (points)",
          None, OWN, against(PAPERS, "match_rate", 100), (-2, inf), least_n=500),
    Claim("regularization_only", "Regularization alone stays within 5 points of the original's flaw rate (points)",
          None, OWN, against("regularization_only", "flaw_rate", 100), (-5, 5), least_n=500),
    Claim("table4_fid", "Adaptation lowers FID (difference; 19.72 to 19.35; the miniature's is on the judge's features)",
          -0.37, TABLE_4, against(PAPERS, "fid"), (-inf, 0), null=0),
    Claim("table4_aesthetic", "Adaptation raises the aesthetic score (difference; 5.90 to 6.06)",
          0.16, TABLE_4, against(PAPERS, "aesthetic"), (0, inf), null=0),
    Claim("table4_clip", "Adaptation raises the CLIP score (difference of cosines; 0.2816 to 0.2831)",
          0.0015, TABLE_4, against(PAPERS, "clip_score"), (0, inf), null=0),
    Claim("table4_hps", "Adaptation raises HPS (difference of raw cosines, as printed there; 0.1898 to 0.1916)",
          0.0018, TABLE_4, against(PAPERS, "hps", 0.01), (0, inf), null=0),
    Claim("user_study_adapted", "The adapted picture wins the majority vote (% of prompts)",
          74.0, STUDY, outcome("adapted"), (50, 100), null=50, least_n=100),
    Claim("user_study_lead", "The adapted picture wins on more prompts than the original (points; 74 against 22 %)",
          52.0, STUDY, outcome("lead"), (0, 100), null=0, least_n=100),
)
