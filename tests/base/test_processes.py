import json
import os

import pytest
from launched import launched

from alignsd.base import processes

LAUNCH = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
EXCHANGE = """
import json
from pathlib import Path
import torch
from alignsd.base import processes

own = processes.share(range(5))
squares = processes.gathered([item * item for item in own])
nothing = processes.gathered(processes.share([]))
gradients = [torch.full((2, 2), 1.0 + processes.number()), torch.tensor(5.0), torch.ones(3).half()]
processes.add_up(gradients)
if processes.is_first():
    Path("late.txt").write_text("first")
processes.wait()
heard = Path("late.txt").read_text()
try:
    processes.gathered([1, 2] if processes.is_first() else [])
except ValueError as error:
    refused = str(error)
told = [own, squares, nothing, [gradient.tolist() for gradient in gradients], heard]
told.append(refused)
Path(f"{processes.number()}.json").write_text(json.dumps(told))
"""
KILLED = """
import os, signal
from alignsd.base import processes
from alignsd.base.errors import Problem
processes.wait()
if not processes.is_first():
    os.kill(os.getpid(), signal.SIGKILL)
try:
    processes.wait()
except Problem as problem:
    print(problem, flush=True)
    raise
"""


@pytest.fixture
def alone(monkeypatch):
    """Take away what a launcher tells a process."""
    for name in LAUNCH:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_process_without_a_launcher_has_all_the_work(alone):
    assert (processes.count(), processes.number(), processes.is_first()) == (1, 0, True)
    assert processes.share("abc") == ["a", "b", "c"] == processes.gathered("abc")
    processes.wait()
    processes.add_up([])


def test_each_process_takes_every_third_item(alone):
    for name, value in LAUNCH.items():
        alone.setenv(name, value)
    assert (processes.count(), processes.number(), processes.is_first()) == (3, 1, False)
    assert processes.share("abcdefg") == ["b", "e"]
    alone.delenv("MASTER_PORT")  # as where a queue of jobs numbers its jobs, and no launcher runs
    assert (processes.count(), processes.number()) == (1, 0)


def test_two_processes_exchange_what_they_found(tmp_path):
    end = launched(EXCHANGE, tmp_path)
    assert end.returncode == 0, end.stderr
    told = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert [own for own, *_ in told] == [[0, 2, 4], [1, 3]]
    sums = [[[3.0, 3.0], [3.0, 3.0]], 10.0, [2.0, 2.0, 2.0]]
    refused = "shares of [2, 0] values are not those of 2 items"
    assert told[0][1:] == told[1][1:] == [[0, 1, 4, 9, 16], [], sums, "first", refused]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without signals")
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    end = launched(KILLED, tmp_path)
    assert end.returncode != 0
    assert "Signal 9" in end.stderr or "exitcode: -9" in end.stderr.replace(" ", "")
