"""Measuring: what is timed, and what is said of a task that does not fit."""

import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.planning import throughput


@pytest.fixture
def stubbed(monkeypatch):
    """Models that cost nothing; returns what each task was asked to do."""
    done = []

    def tasks(names):
        return lambda place, batches: ((name, lambda name=name: done.append(name)) for name in names)

    for owner, names in {"_clip_tasks": ["EMBED", "TRAIN_CLIP"], "_autoencoder_tasks": ["ENCODE", "DECODE"],
                         "_unet_tasks": ["DENOISE", "TRAIN_LORA"], "_fid_tasks": ["FEATURES", "FRECHET"]}.items():
        monkeypatch.setattr(throughput, owner, tasks([getattr(throughput, name) for name in names]))
    return done


def test_every_task_is_measured_per_unit(stubbed):
    table = throughput.measure("cpu", {throughput.READ: 2, throughput.EMBED: 3}, repeats=2).set_index("task")
    assert set(table.index) == set(throughput.TASKS) and len(stubbed) == 2 * 8
    assert table["batch"].to_dict() == dict.fromkeys(throughput.TASKS, 1) | {throughput.READ: 2, throughput.EMBED: 3}
    assert 0.0005 < table.loc[throughput.READ, "seconds"] < 1 and (table["gib"] > 0).all()


def test_a_task_that_does_not_fit_is_named_with_its_parameter(stubbed, monkeypatch):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(throughput, "_unet_tasks", lambda place, batches: iter([(throughput.TRAIN_LORA, full)]))
    with pytest.raises(Problem, match="(?s)does not fit the GPU.*LoRA: train on a picture', 8 at a time.*--set 05.micro_batch"):
        throughput.measure("cpu", {throughput.TRAIN_LORA: 8})


def test_a_full_size_task_runs(capsys):
    """Of all tasks the cheapest with a model: the others take minutes without a GPU."""
    (features, work), _ = throughput._fid_tasks(torch.device("cpu"), {})
    assert features == throughput.FEATURES and work().shape == (1, 1000)
