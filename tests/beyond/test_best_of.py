"""Best of n: the chosen pictures and their metrics, by hand and on the scored corpus."""

import numpy as np
import pandas as pd
import pytest
from stand_ins import OddIsWrong
from test_diffusiondb import ENTRY, encoded, write_zip

from alignsd.base.errors import Problem
from alignsd.beyond import best_of


@pytest.fixture
def metrics():
    """Return two prompts with three pictures each, and one prompt with one picture."""
    return pd.DataFrame(
        {
            "prompt_id": ["a", "a", "a", "b", "b", "b", "c"],
            "sample": [2, 0, 1, 0, 1, 2, 0],
            "hps": [9.0, 5.0, 7.0, 4.0, 4.0, 1.0, 8.0],
            "flawed": pd.array([False, True, True, False, True, False, True], dtype="boolean"),
            "match": pd.array([False, True, False, True, True, True, True], dtype="boolean"),
        }
    )


def kept(metrics, column, n):
    rows = best_of.best_of(metrics, column, n)
    return list(zip(rows["prompt_id"], rows["sample"], strict=True))


def test_the_best_of_the_first_samples_by_hand(metrics):
    assert kept(metrics, "hps", 1) == [("a", 0), ("b", 0), ("c", 0)]
    assert kept(metrics, "hps", 2) == [("a", 1), ("b", 0)], "of equal scores the first"
    assert kept(metrics, "hps", 3) == [("a", 2), ("b", 0)]
    assert kept(metrics, "hps", 4) == []


def test_without_a_choice_the_first_sample_stays(metrics):
    assert kept(metrics, "random", 3) == [("a", 0), ("b", 0)]


def test_the_judge_looks_at_flaws_before_the_prompt(metrics):
    assert kept(metrics, "judge", 2) == [("a", 0), ("b", 0)]
    assert kept(metrics, "judge", 3) == [("a", 2), ("b", 0)]


def test_the_order_of_the_rows_does_not_matter(metrics):
    shuffled = metrics.sample(frac=1, random_state=3)
    assert kept(shuffled, "hps", 3) == kept(metrics, "hps", 3)


def test_a_picture_without_a_score_is_never_the_best(metrics):
    metrics.loc[metrics["prompt_id"] == "a", "hps"] = [np.nan, 1.0, np.nan]
    metrics.loc[metrics["prompt_id"] == "b", "hps"] = np.nan
    assert kept(metrics, "hps", 3) == [("a", 0)]


def test_a_table_is_over_the_same_prompts_for_each_n(metrics):
    table = best_of.table(metrics, ["random", "hps"], [1, 3], seed=0)
    assert list(table.columns) == list(best_of.COLUMNS)
    assert set(table["count"]) == {2}, "the prompt with one picture is left out for n = 1, too"
    values = table.set_index(["by", "n", "metric"])["value"]
    assert values["hps", 1, "hps"] == values["random", 3, "hps"] == pytest.approx(4.5)
    assert values["hps", 3, "hps"] == pytest.approx(6.5)
    assert values["hps", 1, "flaw_rate"] == 0.5
    assert values["hps", 3, "flaw_rate"] == 0.0
    assert values["hps", 3, "match_rate"] == 0.5
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_more_samples_never_lower_the_score_that_chooses():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 8))
    prompt_ids, samples = np.divmod(np.arange(400), 8)
    metrics = pd.DataFrame({"prompt_id": prompt_ids, "sample": samples, "hps": scores.ravel()})
    table = best_of.table(metrics, ["hps"], [1, 2, 4, 8], seed=0)
    expected = [scores[:, :n].max(axis=1).mean() for n in (1, 2, 4, 8)]
    assert table["value"].tolist() == pytest.approx(expected)


def test_what_cannot_be_chosen_is_told(metrics):
    with pytest.raises(Problem, match="(?s)cannot be chosen.*no column aesthetic"):
        best_of.best_of(metrics, "aesthetic", 2)
    with pytest.raises(Problem, match="(?s)cannot be chosen.*no column flawed"):
        best_of.best_of(metrics.drop(columns="flawed"), "judge", 2)
    with pytest.raises(Problem, match="n is too small"):
        best_of.best_of(metrics, "hps", 0)
    with pytest.raises(Problem, match="(?s)twice.*7 rows more"):
        best_of.best_of(pd.concat([metrics, metrics]), "hps", 2)
    with pytest.raises(Problem, match="(?s)No prompt has 4.*at most 3"):
        best_of.table(metrics, ["hps"], [1, 4], seed=0)


def test_the_pictures_of_a_corpus_are_samples_of_their_prompts():
    scores = pd.DataFrame(
        {
            "part": ["part-000001", "part-000001", "part-000002", "part-000002"],
            "image": ["d.png", "b.png", "a.png", "c.png"],
            "prompt": ["one", "two", "one", "one"],
            "hps": [1.0, 2.0, 3.0, np.nan],
            "sharpness": 100.0,
            "status": ["ok", "ok", "ok", "damaged"],
        }
    )
    samples = best_of.samples_of(scores)
    assert samples["image"].tolist() == ["a.png", "d.png", "b.png"]
    assert samples["sample"].tolist() == [0, 1, 0]
    assert samples["prompt_id"].tolist() == ["p00000", "p00000", "p00001"]
    assert samples["part"].tolist() == ["part-000002", "part-000001", "part-000001"]


class Brightness:
    """Stand in for the models of scores: brightness, and the length of what was asked for."""

    def of(self, pictures, asked):
        brightness = np.array([one.mean() for one in pictures])
        lengths = np.array([len(text) for text in asked], dtype=float)
        return {"hps": brightness, "clip_score": lengths, "aesthetic": -brightness}


@pytest.fixture
def corpus(tmp_path):
    """Return two parts, and their samples: picture ``i.png`` has brightness i."""
    prompts = {"1.png": "a match", "2.png": "no", "3.png": "a match", "4.png": "a match"}
    for number, names in ((1, ["3.png", "4.png"]), (2, ["1.png", "2.png"])):
        members = {name: encoded(int(name[0])) for name in names}
        entries = {name: ENTRY | {"p": prompts[name]} for name in names}
        write_zip(tmp_path / "images" / f"part-00000{number}.zip", members, entries)
    rows = [("part-000002" if name < "3" else "part-000001", name) for name in prompts]
    scores = pd.DataFrame(rows, columns=["part", "image"])
    scores = scores.assign(prompt=list(prompts.values()), hps=0.0, status="ok")
    return tmp_path, best_of.samples_of(scores)


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_the_pictures_of_a_corpus_are_measured_for_their_prompts(corpus, batch):
    parts, samples = corpus
    table = best_of.measure_corpus(samples, parts, Brightness(), OddIsWrong(), batch)
    assert table["image"].tolist() == ["1.png", "3.png", "4.png", "2.png"]
    assert table["hps"].tolist() == [1, 3, 4, 2]
    assert table["clip_score"].tolist() == [7, 7, 7, 2]
    assert table["flawed"].tolist() == [True, True, False, False]
    assert table["match"].tolist() == [True, True, True, False]
    best = best_of.best_of(table, "judge", 3)
    assert best["image"].tolist() == ["4.png"]


def test_without_a_judge_nobody_knows_flaws(corpus):
    parts, samples = corpus
    table = best_of.measure_corpus(samples, parts, Brightness(), None)
    assert table["flawed"].isna().all() and table["match"].isna().all()
    with pytest.raises(Problem, match="(?s)cannot be chosen.*nobody knows"):
        best_of.best_of(table, "judge", 2)
