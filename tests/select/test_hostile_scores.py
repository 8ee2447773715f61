"""Scores that were changed by hand, and odd parameters of the selection: an error that says so."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from builders import scored
from test_scoring import embeddings  # noqa: F401
from toys import NO_PICTURES

from alignsd.base.errors import Problem
from alignsd.select import diffusiondb, rule, scoring
from alignsd.select.sharpness import sharpness

NAN, INF = math.nan, math.inf


@pytest.fixture
def tables_of_scores(tmp_path):
    def write(frame: pd.DataFrame):
        place = tmp_path / scoring.STAGE / "scores"
        place.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(place / "part-000001.parquet", index=False)
        return place

    return write


ROWS = scored([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (ROWS.assign(hps="x"), "column hps"),
        (ROWS.assign(sharpness="x"), "column sharpness"),
        (ROWS.assign(image=7), "column image"),
        (ROWS.assign(status=None), "column status"),
        (ROWS.drop(columns="hps"), "hps"),
        (ROWS.assign(prompt=5.5), "column prompt"),
        (ROWS.assign(part="part-000002"), "rows of another part"),
        (ROWS.assign(prompt=None), "without a prompt"),
        (ROWS.assign(sharpness=np.nan), "without a sharpness"),
    ],
)
def test_scores_that_were_changed_are_told(tables_of_scores, changed, words):
    with pytest.raises(Problem, match=f"(?s)part-000001.parquet.*{words}.*--force 03"):
        scoring.read_scores(tables_of_scores(changed))


def test_scores_as_they_were_written_are_read_and_foreign_files_are_not(tables_of_scores):
    place = tables_of_scores(ROWS)
    for name in ("._part-000001.parquet", "part-000001 (1).parquet", "part-1.parquet"):
        (place / name).write_bytes(b"x")
    assert len(scoring.read_scores(place)) == 4


def test_scores_of_no_picture_at_all_say_why(tables_of_scores):
    nothing = ROWS.assign(status=diffusiondb.DAMAGED, hps=np.nan, sharpness=np.nan)
    with pytest.raises(Problem, match="(?s)No picture of the parts.*4 x damaged image"):
        scoring.read_scores(tables_of_scores(nothing))
    with pytest.raises(Problem, match="empty parts"):
        scoring.read_scores(tables_of_scores(ROWS.head(0)))


def test_scores_twice_name_their_cause():
    with pytest.raises(Problem, match="(?s)more than one score.*edited by hand"):
        rule.group(pd.concat([ROWS, ROWS.head(1)]))
    with pytest.raises(Problem, match="(?s)more than one score.*under two numbers"):
        rule.group(pd.concat([ROWS, ROWS.head(1).assign(part="part-000002")]))


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "5", "{}", '{"parts": 5}', '{"parts": ""}', "null", "[" * 100_000]
)
def test_a_record_of_the_parts_that_was_changed_is_told(tmp_path, content):
    (tmp_path / "parts.json").write_text(content)
    with pytest.raises(Problem, match=r"(?s)parts\.json does not say.*--force 03"):
        scoring.recall_parts(tmp_path / "parts.json")


def test_a_part_without_any_usable_prompt_is_counted(tmp_path, embeddings):  # noqa: F811
    from test_diffusiondb import encoded, write_zip

    write_zip(tmp_path / "part-000001.zip", {"a.png": encoded(1)}, {"a.png": {"p": ""}})
    table = scoring.score_part(tmp_path / "part-000001.zip", None)
    assert table["status"].tolist() == [diffusiondb.BAD_ENTRY] and table["hps"].isna().all()
    assert rule.group(table).empty
    json.dumps(table["status"].value_counts().to_dict())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scoring.score_part(None, None, batch=0), "batch is"),
        (lambda: scoring.score_part(None, None, batch=-1), "batch is"),
        (lambda: rule.select(rule.group(ROWS), NAN), "alpha is too small"),
        (lambda: rule.select(rule.group(ROWS), -INF), "alpha is too small"),
        (lambda: rule.select(rule.group(ROWS), INF), "alpha is too large"),
        (lambda: rule.sensitivity(rule.group(ROWS), [1.0, NAN]), "alpha is too small"),
        (lambda: rule.sensitivity(rule.group(ROWS), ["x"]), "alpha is too small, or no number"),
        (lambda: rule.sensitivity(rule.group(ROWS), [[2.0]]), "alpha is too small, or no number"),
        (lambda: rule.group(ROWS, NAN), "blur_limit is"),
        (lambda: rule.group(ROWS, 10.0, 0), "minimum_images is"),
        (lambda: rule.keep_negatives(rule.group(ROWS), NAN, 0), "no share"),
        (lambda: rule.keep_negatives(rule.group(ROWS), 0.5, -1), "(?i)seed"),
    ],
)
def test_an_odd_value_of_the_selection_is_named(call, words):
    with pytest.raises(Problem, match=words):
        call()


@pytest.mark.parametrize("picture", NO_PICTURES)
def test_sharpness_of_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match="uint8"):
        sharpness(picture)
