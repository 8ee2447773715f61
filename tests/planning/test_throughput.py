"""Measuring: what is timed, and what is said of a task that does not fit."""

import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.planning import throughput
from alignsd.planning.throughput import (
    DECODE,
    DENOISE,
    EMBED,
    ENCODE,
    FEATURES,
    FRECHET,
    READ,
    TASKS,
    TRAIN_CLIP,
    TRAIN_LORA,
)

TASKS_BY_FUNCTION = {
    "_clip_tasks": [EMBED, TRAIN_CLIP],
    "_autoencoder_tasks": [ENCODE, DECODE],
    "_unet_tasks": [DENOISE, TRAIN_LORA],
    "_fid_tasks": [FEATURES, FRECHET],
}


@pytest.fixture
def stubbed(monkeypatch):
    """Models that cost nothing; returns the tasks that were done."""
    done = []

    def without_models(tasks):
        def yield_tasks(device, batches):
            for task in tasks:
                yield task, lambda task=task: done.append(task)

        return yield_tasks

    for function, tasks in TASKS_BY_FUNCTION.items():
        monkeypatch.setattr(throughput, function, without_models(tasks))
    return done


def test_every_task_is_measured_per_unit(stubbed):
    table = throughput.measure("cpu", {READ: 2, EMBED: 3}, repeats=2).set_index("task")
    assert set(table.index) == set(TASKS)
    assert len(stubbed) == 2 * 8
    assert table["batch"].to_dict() == dict.fromkeys(TASKS, 1) | {READ: 2, EMBED: 3}
    assert 0.0005 < table.loc[READ, "seconds"] < 1
    assert (table["gib"] > 0).all()


def test_a_task_that_does_not_fit_is_named_with_its_parameter(stubbed, monkeypatch):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(
        throughput, "_unet_tasks", lambda device, batches: iter([(TRAIN_LORA, full)])
    )
    expected = "(?s)does not fit the GPU.*LoRA: train on a picture', 8 at a time"
    with pytest.raises(Problem, match=expected + ".*--set 05.micro_batch"):
        throughput.measure("cpu", {TRAIN_LORA: 8})


def test_a_full_size_task_runs():
    """Of all tasks the cheapest with a model: the others take minutes without a GPU."""
    (features, work), _ = throughput._fid_tasks(torch.device("cpu"), {})
    assert features == FEATURES
    assert work().shape == (1, 1000)
