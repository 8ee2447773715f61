"""Ratios pair by pair, ways that take turns, and work in another process."""

import json

import psutil
import pytest

from benchmarks import busy, cost, memory
from benchmarks.measure import Spread, Timing, alternating, ratio, save
from benchmarks.worker import Worker


def test_a_ratio_compares_the_ways_of_one_repeat():
    slow, fast = Timing([2.0, 30.0, 4.0]), Timing([1.0, 10.0, 4.0])
    assert ratio(slow, fast) == Spread(median=2.0, least=1.0, most=3.0)
    assert (slow.median, slow.least, slow.most) == (4.0, 2.0, 30.0)


def test_the_order_of_the_ways_alternates_and_the_warm_up_is_not_counted():
    called = []
    ways = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    timings = alternating(ways, repeats=2, warm_up=1)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_results_tell_machine_and_command(tmp_path):
    path = save("cost", [{"seconds": 1.5}], tmp_path, aim=2)
    content = json.loads(path.read_text())
    assert path.name == "cost.json" and content["rows"] == [{"seconds": 1.5}]
    assert content["aim"] == 2 and content["machine"]["threads"] >= 1
    assert content["command"].startswith("python -m benchmarks.cost")


def test_the_fair_share_is_a_share_of_the_cores():
    assert busy.fair_share(others=1, threads=2) == pytest.approx(2 / 3)
    assert busy.fair_share(others=4, threads=2) == pytest.approx(2 / 6)


def test_a_stage_that_keeps_its_fair_share_has_one():
    paces = {("kit", "drawing", 0): [6.0, 12.0], ("kit", "drawing", 4): [2.0, 2.0]}
    settings = {"kit": {}}
    beside = busy.rows_of(paces, threads=2, settings=settings)[-1]
    assert (beside["of_fair_share_least"], beside["of_fair_share_most"]) == (0.5, 1.0)


def test_busy_processes_end():
    with busy.busy_processes(2) as ids:
        assert all(psutil.pid_exists(number) for number in ids)
    assert not any(psutil.pid_exists(number) for number in ids)


def test_a_line_through_points_on_a_line():
    start, slope = cost.line_through([1, 2, 4], [5.0, 7.0, 11.0])
    assert (start, slope) == (pytest.approx(3.0), pytest.approx(2.0))


def test_growth_is_the_peak_of_the_largest_amount_over_that_of_the_smallest():
    rows = [
        {"work": "scoring", "amount": 8, "peak_mib": 150},
        {"work": "scoring", "amount": 1, "peak_mib": 100},
    ]
    assert memory.growth(rows) == {"scoring": 1.5}


def test_a_worker_has_settings_of_its_own_and_says_when_it_ended(tmp_path):
    code = "import os\ndef prepare(name):\n    return lambda more: os.environ[name] + more\n"
    (tmp_path / "own_work.py").write_text(code)
    settings = {"PYTHONPATH": str(tmp_path), "BENCHMARK": "1"}
    worker = Worker("own_work:prepare", settings, name="BENCHMARK")
    assert worker(more="2") == "12"
    with pytest.raises(RuntimeError, match="own_work:prepare"):
        worker(wrong="2")
    worker.close()
