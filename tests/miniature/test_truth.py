"""The simulated people's chances: joined by message and file; impossible tables are told."""

import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.reward.truth import add_truth


@pytest.fixture
def tables(tmp_path):
    """Return what writes truth and provenance, and joins them to five images of two choices."""
    truth = pd.DataFrame(
        {
            "message_id": ["m1", "m1", "m2", "m2", "m2"],
            "file_name": ["a", "b", "a", "c", "b"],
            "p": [0.25, 0.75, 0.5, 0.3, 0.2],
        }
    )
    origin = pd.DataFrame(
        {"id": [7, 3], "message_id": ["m1", "m2"], "file_names": [["b", "a"], ["a", "c"]]}
    )
    images = pd.DataFrame({"id": [3, 3, 7, 7], "index": [0, 1, 0, 1]})

    def joined(truth=truth, origin=origin):
        truth.to_parquet(tmp_path / "truth.parquet")
        origin.to_parquet(tmp_path / "provenance.parquet")
        return add_truth(images, tmp_path / "truth.parquet", tmp_path / "provenance.parquet")

    joined.truth, joined.origin, joined.images = truth, origin, images
    return joined


def test_chances_by_hand(tables, tmp_path):
    assert tables()["p"].tolist() == [0.5 / 0.8, 0.3 / 0.8, 0.75, 0.25]
    assert add_truth(tables.images, tmp_path / "none", tmp_path / "none") is tables.images


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5])
def test_a_chance_that_is_none_is_told(tables, value):
    with pytest.raises(Problem, match="(?s)no chance.*1 of 5 rows"):
        tables(truth=tables.truth.assign(p=[value, 0.75, 0.5, 0.3, 0.2]))


def test_impossible_tables_are_told(tables):
    truth, origin = tables.truth, tables.origin
    cases = [
        (truth.assign(p=["a"] * 5), origin, "no chance"),
        (truth.assign(p=0.0), origin, "add up to nothing"),
        (pd.concat([truth, truth.head(1)]), origin, "truth.parquet names images twice"),
        (truth, pd.concat([origin, origin.head(1)]), "provenance.parquet names images twice"),
        (truth.assign(message_id=range(5)), origin, "something else than text"),
        (truth, origin.assign(message_id=[1, 2]), "something else than text"),
        (truth, origin.assign(id=[7.5, 3.0]), "no whole numbers"),
        (truth.head(2), origin, "2 images have no truth"),
        (truth, origin.head(1), "2 images have no truth"),
        (truth.head(0), origin, "4 images have no truth|something else"),
        (truth.drop(columns="p"), origin, "truth.parquet cannot be read"),
    ]
    for truth_case, origin_case, words in cases:
        with pytest.raises(Problem, match=words):
            tables(truth_case, origin_case)
