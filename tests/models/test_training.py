"""The training loop: known orders, exact resume, and a message in place of NaN."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from alignsd.base.errors import Problem
from alignsd.models import checkpoints
from alignsd.models.checkpoints import fits
from alignsd.models.training import (
    Checkpointing,
    Optimization,
    batch_indices,
    cosine,
    one_cycle,
    schedule_named,
    step_generator,
    train,
)


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


TWENTY_STEPS = Optimization(steps=20, learning_rate=0.01)


def _model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def _run(checkpoint=None, stop_after=None, ema=None, made_from=None):
    """Train a small model; return the losses and the model's tensors."""
    checkpointing = Checkpointing(checkpoint, made_from, every=5) if checkpoint else None
    model, losses = _model(), []
    for step, loss in train(model, _loss, replace(TWENTY_STEPS, ema=ema), checkpointing):
        losses.append(loss)
        if step == stop_after:
            break
    return losses, [value.detach().clone() for value in model.state_dict().values()]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": -1},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"weight_decay": float("inf")},
        {"max_norm": -1.0},
    ],
    ids=str,
)
def test_an_optimization_out_of_its_range_is_named(change):
    (name,) = change
    with pytest.raises(Problem, match=f"{name} is"):
        Optimization(**{"steps": 1, "learning_rate": 0.1} | change)


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
    list(train(model, _loss, Optimization(steps=3, learning_rate=0.1)))
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[1].weight, before[1])


def test_divergence_and_foreign_checkpoints_are_told(tmp_path):
    def nan(model, step):
        return model.weight.sum() * float("nan")

    two_steps = Optimization(steps=2, learning_rate=1.0)
    with pytest.raises(Problem, match="diverged at step 0"):
        list(train(nn.Linear(4, 1), nan, two_steps))
    _run(tmp_path / "c.pt")
    other = nn.Sequential(nn.Linear(4, 1))
    with pytest.raises(Problem, match="does not fit the model"):
        list(train(other, _loss, two_steps, Checkpointing(tmp_path / "c.pt")))


def test_an_unknown_schedule_lists_the_known_ones():
    assert schedule_named("constant")(9, 10) == 1
    assert schedule_named("cosine")(10, 10) == pytest.approx(0)
    with pytest.raises(Problem, match="constant or cosine"):
        schedule_named("linear")


class Clock:
    """A clock that a test moves on: ``step`` seconds per step, ``cost`` seconds per checkpoint."""

    def __init__(self, monkeypatch, cost):
        self.now, self.saved = 0.0, []
        save = checkpoints.save

        def slow(path, losses, *rest):
            self.now += cost
            self.saved.append(len(losses))
            save(path, losses, *rest)

        monkeypatch.setattr("alignsd.models.training.save", slow)

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "cost", "expected"),
    [
        (1.0, 0.0, [10, 20, 30, 40]),
        (4.0, 0.1, [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 40]),
        (1.0, 0.5, [10, 35, 40]),  # half a second in 25 is 2 %
        (30.0, 2.0, [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 40]),
    ],
)
def test_checkpoints_go_by_the_time_and_cost_two_percent_at_most(
    tmp_path, monkeypatch, seconds, cost, expected
):
    clock = Clock(monkeypatch, cost)

    def loss(model, step):
        clock.now += seconds
        return _loss(model, step)

    checkpointing = Checkpointing(tmp_path / "c.pt", clock=clock)
    list(train(nn.Linear(4, 1), loss, replace(TWENTY_STEPS, steps=40), checkpointing))
    assert clock.saved == expected


def test_a_run_resumed_from_a_checkpoint_by_time_is_the_same_to_the_bit(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, 0.0)
    whole_losses, whole = _run()
    checkpointing = Checkpointing(tmp_path / "c.pt", clock=clock)
    for step, _ in train(_model(), _loss, TWENTY_STEPS, checkpointing):
        clock.now += 4
        if step == 14:
            break
    assert clock.saved == [3, 6, 9, 12]
    losses, weights = _run(tmp_path / "c.pt")
    assert losses == whole_losses
    assert all(torch.equal(a, b) for a, b in zip(weights, whole, strict=True))


MADE_FROM = {"clip": "miniature/clip", "choices": "10 choices", "batch": 5, "sizes": (1, 2)}


def test_a_checkpoint_belongs_to_what_it_was_made_from(tmp_path):
    path = tmp_path / "c.pt"
    assert not fits(path, MADE_FROM), "there is none"
    whole = _run(path, made_from=MADE_FROM)[0]
    assert fits(path, MADE_FROM | {"sizes": [1, 2]})
    assert not fits(path, MADE_FROM | {"batch": 6})
    assert _run(path, made_from=dict(reversed(MADE_FROM.items())))[0] == whole
    words = r"(?s)of another training.*batch = 6; no clip.*batch = 5; clip = 'miniature"
    with pytest.raises(Problem, match=words) as problem:
        _run(path, made_from={"choices": "10 choices", "batch": 6, "sizes": [1, 2]})
    message = str(problem.value)
    assert "choices" not in message.split("cause")[0] and "delete" in message


def test_a_checkpoint_without_a_record_fits_nothing(tmp_path):
    _run(tmp_path / "c.pt")
    assert not fits(tmp_path / "c.pt", MADE_FROM)
    with pytest.raises(Problem, match="no record"):
        _run(tmp_path / "c.pt", made_from=MADE_FROM)
    (tmp_path / "c.pt").write_bytes(b"<html>")
    with pytest.raises(Problem, match="(?s)web page.*delete"):
        fits(tmp_path / "c.pt", MADE_FROM)


def _changed(**entries):
    return lambda state: state | entries


def _moments(checkpoint, **entries):
    return checkpoint | {"optimizer": checkpoint["optimizer"] | entries}


def _without_step(checkpoint):
    first = checkpoint["optimizer"]["state"][0]
    return _moments(checkpoint, state={0: {key: first[key] for key in ("exp_avg", "exp_avg_sq")}})


def _of_model(change):
    return lambda state: (
        state | {"model": {name: change(value) for name, value in state["model"].items()}}
    )


def _with_weight_decay(state):
    groups = [group | {"weight_decay": 0.5} for group in state["optimizer"]["param_groups"]]
    return _moments(state, param_groups=groups)


FOREIGN = {"step": torch.ones(()), "exp_avg": torch.ones(9), "exp_avg_sq": torch.ones(9)}


DAMAGES = {
    "list": lambda state: [1],
    "number": lambda state: 5,
    "empty dict": lambda state: {},
    "losses text": _changed(losses="abc"),
    "losses NaN": _changed(losses=[float("nan")] * 20),
    "losses true": _changed(losses=[True]),
    "more steps": _changed(losses=[0.5] * 50),
    "model list": _changed(model=[]),
    "model of numbers": _of_model(lambda value: 1),
    "model NaN": _of_model(lambda value: value * float("nan")),
    "model shapes": _of_model(lambda value: torch.zeros(3, 3)),
    "model meta": _of_model(lambda value: value.to("meta")),
    "no optimizer": lambda s: {k: v for k, v in s.items() if k != "optimizer"},
    "optimizer list": _changed(optimizer=[]),
    "optimizer empty": _changed(optimizer={}),
    "no groups": lambda s: _moments(s, param_groups=[]),
    "groups of numbers": lambda s: _moments(s, param_groups=[1, 2]),
    "no moments": lambda s: _moments(s, state={}),
    "moments of another model": lambda s: _moments(s, state={0: FOREIGN}),
    "moments without step": _without_step,
    "another weight decay": _with_weight_decay,
    "average": _changed(average={"shadow_params": []}),
    "record": _changed(made_from="["),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_leaves_the_model_alone(tmp_path, damage):
    path = tmp_path / "c.pt"
    _run(path)
    torch.save(DAMAGES[damage](torch.load(path, weights_only=True)), path)
    model = _model()
    before = [value.clone() for value in model.state_dict().values()]
    made_from = MADE_FROM if damage == "record" else None
    with pytest.raises(Problem, match=r"(?s)c\.pt.*delete"):
        list(train(model, _loss, TWENTY_STEPS, Checkpointing(path, made_from)))
    after = model.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_that_was_cut_is_named(tmp_path, share):
    path = tmp_path / "c.pt"
    _run(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(Problem, match=r"(?s)c\.pt.*delete"):
        _run(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(Problem, match="(?s)a folder.*delete"):
        _run(path)
