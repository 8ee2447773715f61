"""The cost of a run at full size: counted from the preset, by hand here."""

import pandas as pd
import pytest

from alignsd import costs, runner


@pytest.fixture(scope="module")
def values():
    return {task.name[:2]: task.values for task in runner.plan("paper", "cost-of-paper")}


def test_the_paper_s_work_by_hand(values):
    work = costs.count_work(values, parts=1_000).set_index(["notebook", "task"])["count"]
    assert work["03", costs.EMBED] == 1_000_000
    assert work["05", costs.TRAIN_LORA] == 2 * 10_000 * 40
    assert work["05", costs.ENCODE] == 2 * (37_572 + 21_108) + 200_231
    assert work["06", costs.DENOISE] == 7 * 1_000 * 50
    assert work["02", costs.TRAIN_CLIP] == round(79_167 + 79_167 / 20_205 * 10_000)


def test_fewer_parts_cost_less(values):
    few, many = (costs.count_work(values, parts).set_index(["notebook", "task"])["count"] for parts in (30, 1_000))
    assert few["03", costs.EMBED] == 30_000 and few["05", costs.ENCODE] < many["05", costs.ENCODE]
    assert few["06", costs.DENOISE] == many["06", costs.DENOISE]


def test_hours_are_counts_times_what_was_measured(values):
    work = costs.count_work(values, parts=1)
    measured = pd.DataFrame({"task": work["task"].unique(), "seconds": 3.6})
    assert costs.estimate(work, measured)["hours"].sum() == pytest.approx(work["count"].sum() / 1000)


def test_space_of_the_paper(values):
    space = costs.space(values, 1_000)
    assert space["download: DiffusionDB's parts"] == 500
    assert space["disk: latents in 05"] == pytest.approx(258_911 * 2**16 / 2**30)
