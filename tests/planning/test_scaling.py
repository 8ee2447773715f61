"""A simulated run has the times that a hand computes."""

import math

import pytest

from alignsd.base.errors import Problem
from alignsd.planning.scaling import (
    CORE,
    DECODE,
    GPU,
    NETWORK,
    START,
    TAIL,
    Cluster,
    Divided,
    OnCores,
    Training,
    in_words,
    simulate,
    totals,
)

IDEAL = Cluster(cores_per_gpu=math.inf, network=math.inf, link=math.inf, start=0.0)


def parts(items=64, **seconds):
    return Divided("score", items, **({"gpu": 10.0} | seconds))


def test_one_gpu_takes_the_work_times_the_unit():
    outcome = parts(core=900.0, gigabytes=50.0).on(1, IDEAL)
    assert outcome.seconds == 640
    assert outcome.gpu_seconds == 640
    assert outcome.limit == GPU


@pytest.mark.parametrize("gpus", [2, 4, 8, 16, 32, 64])
def test_without_limits_n_gpus_are_n_times_as_fast(gpus):
    outcome = parts().on(gpus, IDEAL)
    assert outcome.seconds == pytest.approx(640 / gpus)
    assert outcome.seconds_of[TAIL] == 0


def test_the_last_parts_keep_few_gpus_busy():
    outcome = parts(items=9).on(8, IDEAL)  # one process has two parts
    assert outcome.seconds == pytest.approx(20)
    assert outcome.seconds_of[GPU] == pytest.approx(9 / 8 * 10)
    assert outcome.seconds_of[TAIL] == pytest.approx(20 - 9 / 8 * 10)


def test_more_gpus_than_parts_are_no_faster():
    assert parts(items=8).on(64, IDEAL).seconds == parts(items=8).on(8, IDEAL).seconds


def test_few_cores_set_the_pace():
    cluster = Cluster(cores_per_gpu=2, network=math.inf, start=0.0)
    outcome = parts(core=60.0, steps=30).on(4, cluster)
    first_batch = 60 / 2 / 30
    assert outcome.seconds == pytest.approx(64 / 4 * 30 + first_batch)
    assert outcome.limit == DECODE
    assert outcome.gpu_seconds == 640


def test_gpus_of_a_node_share_its_network():
    cluster = Cluster(gpus_per_node=8, cores_per_gpu=math.inf, network=1.0, start=0.0)
    alone = parts(gigabytes=5.0).on(1, cluster)
    node = parts(gigabytes=5.0).on(8, cluster)
    two_nodes = parts(gigabytes=5.0).on(16, cluster)
    assert alone.limit == GPU
    assert node.limit == NETWORK
    assert node.seconds_of[NETWORK] == pytest.approx(64 / 8 * 5 * 8)
    assert two_nodes.seconds_of[NETWORK] == pytest.approx(64 / 16 * 5 * 8)


def test_the_start_counts_once_for_each_phase():
    cluster = Cluster(cores_per_gpu=math.inf, network=math.inf, start=100.0)
    assert parts().on(64, cluster).limit == START
    simulated = simulate([parts(), parts()], [1], cluster)
    assert simulated["hours"].sum() * 3600 == pytest.approx(2 * 740)


def test_parts_that_differ_lengthen_the_tail_and_not_the_work():
    cluster = Cluster(cores_per_gpu=math.inf, network=math.inf, start=0.0, spread=0.3)
    alone, many = parts().on(1, cluster), parts().on(16, cluster)
    assert alone.seconds == pytest.approx(640)
    assert many.seconds_of[GPU] == pytest.approx(40)
    assert many.seconds_of[TAIL] > 1
    assert many.seconds == parts().on(16, cluster).seconds, "equal simulations give equal times"


def test_a_training_does_not_divide_beyond_its_batch():
    training = Training("train", steps=100, batch=5, gpu=2.0)
    assert training.on(1, IDEAL).seconds == 1000
    assert training.on(2, IDEAL).seconds == pytest.approx(100 * 3 * 2), "one process has 3 of 5"
    assert training.on(5, IDEAL).seconds == pytest.approx(200)
    assert training.on(64, IDEAL).seconds == pytest.approx(200)
    assert training.on(64, IDEAL).limit == TAIL


def test_gradients_cross_the_network_only_between_nodes():
    training = Training("train", steps=10, batch=16, gpu=1.0, gigabytes=0.5)
    cluster = Cluster(gpus_per_node=8, network=1.0, link=10.0, start=0.0)
    assert training.on(1, cluster).seconds_of[NETWORK] == 0
    assert training.on(8, cluster).seconds_of[NETWORK] == pytest.approx(10 * 2 * 7 / 8 * 0.5 / 10)
    assert training.on(16, cluster).seconds_of[NETWORK] == pytest.approx(10 * 2 * 15 / 16 * 0.5)


def test_each_process_works_on_one_core_until_its_share_is_done():
    fid = OnCores("FID", items=10, core=7.0)
    assert [fid.on(gpus, IDEAL).seconds for gpus in (1, 2, 4, 64)] == pytest.approx([70, 35, 21, 7])
    assert fid.on(2, IDEAL).limit == CORE
    assert fid.on(64, IDEAL).limit == TAIL


def test_the_whole_run_counts_idle_gpus_as_paid():
    simulated = simulate([parts(items=360), OnCores("FID", 1, 3600.0)], [1, 4], IDEAL)
    table = totals(simulated, price=2.0).set_index("gpus")
    assert table["hours"].tolist() == pytest.approx([2.0, 1.25])
    assert table["paid"].tolist() == pytest.approx([2.0, 5.0])
    assert table["busy"].tolist() == pytest.approx([0.5, 0.2])
    assert table["speed_up"].tolist() == pytest.approx([1.0, 1.6])
    assert table["cost"].tolist() == pytest.approx([4.0, 10.0])
    assert table.loc[4, "longest"] == "FID"
    assert table.loc[4, "limit"] == TAIL
    assert "cost" not in totals(simulated)


def test_the_words_say_that_nothing_was_measured():
    simulated = simulate([parts()], [1, 8], IDEAL)
    words = in_words(simulated, IDEAL)
    assert words.startswith("Simulated, not measured.")
    assert "start 0" in words


@pytest.mark.parametrize("fault", [{"network": 0.0}, {"cores_per_gpu": -1}, {"gpus_per_node": 0}])
def test_a_cluster_without_a_network_or_cores_is_refused(fault):
    with pytest.raises(Problem, match=next(iter(fault))):
        Cluster(**fault)


def test_no_gpu_is_refused():
    with pytest.raises(Problem, match="gpus"):
        simulate([parts()], [0], IDEAL)
