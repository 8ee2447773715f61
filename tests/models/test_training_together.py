"""Several processes train one model: the same curve as one process, also when resumed."""

import json

import pytest
from launched import launched

SCRIPT = """
import json, os
from pathlib import Path
import torch
from torch import nn
from alignsd.base import processes
from alignsd.models.training import Checkpointing, Optimization, step_generator, train

EXAMPLES = 3  # so that two processes have shares of two sizes, and four have an empty share
torch.manual_seed(0)
model = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("used", "last", "unused")})

def loss(model, step):
    inputs = torch.randn(EXAMPLES, 4, generator=step_generator(1, step))
    for example in processes.share(range(EXAMPLES)):
        predicted = model["last"](model["used"](inputs[example]).tanh())
        yield (predicted - inputs[example].flip(0)).pow(2).mean() / EXAMPLES

optimization = Optimization(int(os.environ["STEPS"]), 0.05, weight_decay=0.1, max_norm=0.5, ema=0.9)
writes = Checkpointing(Path(os.environ["CHECKPOINT"]), every=5)
losses = []
for step, value in train(model, loss, optimization, writes):
    losses.append(value)
    if step + 1 == int(os.environ["STOP"]):
        break
weights = [value.tolist() for value in model.state_dict().values()]
out = Path(os.environ["CHECKPOINT"]).with_suffix(f".{processes.number()}.json")
out.write_text(json.dumps([losses, weights]))
"""


def flat(values):
    """Return all numbers of nested lists."""
    if not isinstance(values, list):
        return [values]
    return [number for value in values for number in flat(value)]


def trained(folder, name: str, processes: int, stop: int = 20):
    """Train in a launch; return what each process ends with: the losses, and the weights."""
    environment = {"CHECKPOINT": str(folder / f"{name}.pt"), "STEPS": "20", "STOP": str(stop)}
    end = launched(SCRIPT, folder, processes, **environment)
    assert end.returncode == 0, end.stderr
    ends = [folder / f"{name}.{number}.json" for number in range(processes)]
    return [json.loads(file.read_text()) for file in ends]


def test_two_processes_train_as_one_and_resume_as_one(tmp_path):
    ((losses, weights),) = trained(tmp_path, "one", processes=1)
    first, second = trained(tmp_path, "two", processes=2)
    assert first == second, "all processes hold the same weights"
    assert first[0] == pytest.approx(losses, rel=1e-4)
    assert flat(first[1]) == pytest.approx(flat(weights), abs=1e-4)
    assert losses[-1] < 0.7 * losses[0]

    trained(tmp_path, "resumed", processes=2, stop=13)
    ((resumed, resumed_weights),) = trained(tmp_path, "resumed", processes=1)
    assert resumed[:10] == first[0][:10], "the checkpoint of two processes"
    assert resumed == pytest.approx(losses, rel=1e-4)
    assert flat(resumed_weights) == pytest.approx(flat(weights), abs=1e-4)
