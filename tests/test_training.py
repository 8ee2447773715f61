"""The training loop: known orders, exact resume, and a message instead of NaN."""

import numpy as np
import pytest
import torch
from torch import nn

from alignsd.errors import Problem
from alignsd.training import batch_indices, cosine, one_cycle, schedule_named, step_generator, train


def test_each_epoch_passes_once_over_all_examples():
    drawn = np.concatenate([batch_indices(10, 4, step, seed=3) for step in range(5)])
    assert sorted(drawn[:10]) == list(range(10)) and sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


def test_batches_depend_on_seed_and_step_alone():
    assert (batch_indices(50, 8, 3, seed=1) == batch_indices(50, 8, 3, seed=1)).all()
    assert (batch_indices(50, 8, 3, seed=1) != batch_indices(50, 8, 3, seed=2)).any()


def test_schedules_at_their_ends():
    assert cosine(0, 10) == 1 and cosine(10, 10) == pytest.approx(0)
    assert one_cycle(0, 100) == pytest.approx(0.1) and one_cycle(10, 100) == pytest.approx(1)
    assert one_cycle(99, 100) < 0.01


def _loss(model: nn.Module, step: int) -> torch.Tensor:
    return model(torch.randn(8, 4, generator=step_generator(1, step))).pow(2).mean()


def _run(checkpoint=None, stop_after=None, **options):
    torch.manual_seed(0)
    model, losses = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), []
    for step, loss in train(model, _loss, steps=20, learning_rate=0.01, checkpoint=checkpoint, checkpoint_every=5, **options):
        losses.append(loss)
        if step == stop_after:
            break
    return losses, [value.detach().clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop", [2, 4, 12, 19])
def test_a_stopped_run_resumes_to_the_bit(tmp_path, ema, stop):
    whole_losses, whole = _run(ema=ema)
    _run(tmp_path / "c.pt", stop_after=stop, ema=ema)
    losses, weights = _run(tmp_path / "c.pt", ema=ema)
    assert losses == whole_losses
    assert all(torch.equal(a, b) for a, b in zip(weights, whole, strict=True))


def test_only_parameters_that_require_gradients_change():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.clone(), model[1].weight.clone()
    list(train(model, _loss, steps=3, learning_rate=0.1))
    assert torch.equal(model[0].weight, before[0]) and not torch.equal(model[1].weight, before[1])


def test_divergence_and_foreign_checkpoints_are_told(tmp_path):
    with pytest.raises(Problem, match="diverged at step 0"):
        list(train(nn.Linear(4, 1), lambda model, step: model.weight.sum() * float("nan"), steps=2, learning_rate=1.0))
    _run(tmp_path / "c.pt")
    with pytest.raises(Problem, match="does not fit the model"):
        list(train(nn.Sequential(nn.Linear(4, 1)), _loss, steps=2, learning_rate=1.0, checkpoint=tmp_path / "c.pt"))


def test_an_unknown_schedule_lists_the_known_ones():
    assert schedule_named("constant")(9, 10) == 1
    assert schedule_named("cosine")(10, 10) == pytest.approx(0)
    with pytest.raises(Problem, match="constant or cosine"):
        schedule_named("linear")
