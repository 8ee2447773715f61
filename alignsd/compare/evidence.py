"""What a run's tables say about a claim: each function reads or computes one measurement."""

from collections.abc import Mapping

import pandas as pd

from alignsd.base.intervals import bootstrap_mean
from alignsd.compare.arms import ORIGINAL, Arm
from alignsd.compare.measurement import Measurement
from alignsd.compare.user_study import majorities
from alignsd.reward.accuracy import lead_table, right_by_predictor, short_of_best

# The run's tables by name; any may be absent. "scores": HPS and the other predictors on the test
# choices. "arms": each arm's metrics. "against": each arm against the original. "votes": the user
# study. "chosen": inception score and FID of chosen and of other pictures. "generators": agreement
# with people on pictures of two generators.
Tables = Mapping[str, pd.DataFrame]
SEED = 0  # of the bootstraps made here; the tables bring their own intervals
PREDICTORS = {"CLIP": "clip", "aesthetic predictor": "aesthetic", "HPS": "hps"}  # -> score column


def lead(tables: Tables, over: str) -> Measurement | None:
    """Return HPS's lead over another predictor in points, paired on the same test choices."""
    right = _right(tables)
    if right is None or over not in right:
        return None
    row = lead_table(right[["HPS", over]], "HPS", SEED).iloc[0]
    return _measured(row, row["lead"]).scaled(100)


def lead_apart(tables: Tables, over: str) -> Measurement | None:
    """Return HPS's lead in points, above 0 throughout only if the two intervals lie apart.

    The interval reaches from HPS's low end minus the other predictor's high end to HPS's high end
    minus the other predictor's low end. This interval is wider than the paired interval, hence the
    harder test: the paper's words "interval above theirs" ask for this test.
    """
    right = _right(tables)
    if right is None or over not in right:
        return None
    ours = Measurement(*bootstrap_mean(right["HPS"], SEED), len(right))
    theirs = Measurement(*bootstrap_mean(right[over], SEED), len(right))
    return _gap(ours, theirs).scaled(100)


def near_best(tables: Tables) -> Measurement | None:
    """Return by how many points HPS falls short of the best possible predictor.

    The gap is computed from the simulated people's chances to pick an image, which are known.
    """
    scores = tables.get("scores")
    if scores is None:
        return None
    gap = short_of_best(scores, "hps", SEED)
    if gap is None:
        return None
    return Measurement(*gap, scores["id"].nunique()).scaled(100)


def preferred_lead(tables: Tables) -> Measurement | None:
    """Return by how much HPS rates the chosen image above the mean of a choice's other images."""
    scores = tables.get("scores")
    if scores is None:
        return None
    means = scores.groupby(["id", "preferred"])["hps"].mean().unstack()
    return Measurement(*bootstrap_mean(means[True] - means[False], SEED), len(means))


def of_arm(tables: Tables, arm: Arm, metric: str, scale: float = 1.0) -> Measurement | None:
    """Return an arm's metric, times ``scale`` (100 turns a share into percent)."""
    return _row(tables.get("arms"), {"arm": arm.name, "metric": metric}, scale)


def against(tables: Tables, arm: Arm, metric: str, scale: float = 1.0) -> Measurement | None:
    """Return an arm's paired difference to the original, times ``scale``.

    The metric ``flaw_ratio`` is a ratio and no difference.
    """
    return _row(tables.get("against"), {"arm": arm.name, "metric": metric}, scale)


def arms_apart(tables: Tables, arm: Arm, metric: str, scale: float) -> Measurement | None:
    """Return arm minus original, above 0 throughout only if the two intervals lie apart."""
    ours = of_arm(tables, arm, metric, scale)
    theirs = of_arm(tables, ORIGINAL, metric, scale)
    if ours is None or theirs is None:
        return None
    return _gap(ours, theirs)


def outcome(tables: Tables, name: str) -> Measurement | None:
    """Return an outcome of the user study, in percent of the prompts."""
    votes = tables.get("votes")
    if votes is None:
        return None
    return _row(majorities(votes, SEED), {"outcome": name}, 100)


def chosen_apart(tables: Tables, metric: str) -> Measurement | None:
    """Return by how many % a metric of the chosen pictures is above the other pictures' metric."""
    return _row(tables.get("chosen"), {"arm": "chosen", "metric": f"{metric}_difference"}, 1)


def agreement(tables: Tables, predictor: str) -> Measurement | None:
    """Return a predictor's agreement with people on pictures of two generators, in percent."""
    return _row(tables.get("generators"), {"predictor": predictor}, 100)


def _right(tables: Tables) -> pd.DataFrame | None:
    """Return each choice's chance of being guessed right, a column per predictor."""
    scores = tables.get("scores")
    if scores is None:
        return None
    return right_by_predictor(scores, PREDICTORS)


def _gap(a: Measurement, b: Measurement) -> Measurement:
    """Return a - b; the interval leaves out 0 only if the intervals of a and b do not meet."""
    return Measurement(a.value - b.value, a.low - b.high, a.high - b.low, min(a.n, b.n))


def _row(
    table: pd.DataFrame | None,
    where: Mapping[str, str],
    scale: float,
) -> Measurement | None:
    """Return the one row of a table that has the values of ``where``, or None."""
    if table is None:
        return None
    for column, value in where.items():
        table = table[table[column] == value]
    if table.empty:
        return None
    row = table.iloc[0]
    return _measured(row, row["value"]).scaled(scale)


def _measured(row: pd.Series, value: float) -> Measurement:
    """Return ``value`` with the interval and the n of a table's row."""
    return Measurement(float(value), float(row["low"]), float(row["high"]), int(row["n"]))
