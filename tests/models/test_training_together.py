"""Several processes train one model: the same curve as one process, also when resumed."""

import json

import pytest
from launched import launched

TRAINING = """
import json
from pathlib import Path
import torch
from torch import nn
from alignsd.base import processes
from alignsd.models.training import Checkpointing, Optimization, step_generator, train

EXAMPLES = 3  # two processes have shares of two sizes
OPTIMIZATION = Optimization(20, 0.05, weight_decay=0.1, max_norm=0.5, ema=0.9)

def loss(model, step):
    inputs = torch.randn(EXAMPLES, 4, generator=step_generator(1, step))
    examples = [0] if step == 7 else range(EXAMPLES)  # at step 7, one of two shares is empty
    for example in processes.share(examples):
        predicted = model["last"](model["used"](inputs[example]).tanh())
        yield (predicted - inputs[example].flip(0)).pow(2).mean() / EXAMPLES

def trained(checkpoint, stop=20):
    torch.manual_seed(0)
    model = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("used", "last", "unused")})
    losses = []
    writes = Checkpointing(Path(checkpoint), every=5)
    for step, value in train(model, loss, OPTIMIZATION, writes):
        losses.append(value)
        if step + 1 == stop:
            break
    return losses, [value.tolist() for value in model.state_dict().values()]
"""
TOGETHER = """
whole = trained("whole.pt")
stopped = trained("stopped.pt", stop=13)
Path(f"{processes.number()}.json").write_text(json.dumps([whole, stopped]))
"""


def flat(values):
    """Return all numbers of nested lists."""
    if not isinstance(values, list):
        return [values]
    return [number for value in values for number in flat(value)]


def test_two_processes_train_as_one_and_one_resumes_what_two_began(tmp_path):
    end = launched(TRAINING + TOGETHER, tmp_path)
    assert end.returncode == 0, end.stderr
    first, second = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert first == second, "all processes hold the same weights"
    (together, weights_together), (stopped, _) = first
    assert stopped == together[:13]

    alone = {}
    exec(TRAINING, alone)
    losses, weights = alone["trained"](tmp_path / "alone.pt")
    assert together == pytest.approx(losses, rel=1e-4)
    assert flat(weights_together) == pytest.approx(flat(weights), abs=1e-4)
    assert losses[-1] < 0.8 * losses[0]

    resumed, weights = alone["trained"](tmp_path / "stopped.pt")
    assert resumed[:10] == together[:10] and resumed[:10] != losses[:10], "the checkpoint of two"
    assert resumed == pytest.approx(losses, rel=1e-4)
    assert flat(weights) == pytest.approx(flat(weights_together), abs=1e-4)
