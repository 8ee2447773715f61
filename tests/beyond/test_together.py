"""Two processes align a model as one process does."""

import json

import pytest
from launched import launched

# Both scripts define ``measured``, which trains a LoRA and returns the numbers of the training.
PAIRS = """
import json
from pathlib import Path
import numpy as np
from alignsd.adapt.examples import Examples
from alignsd.base import processes
from alignsd.beyond import preference
from alignsd.beyond.pairs import Pairs

RECIPE = preference.PairRecipe(
    steps=3, batch=3, micro_batch=1, learning_rate=1e-3, schedule="constant", weight_decay=1e-2,
    snr_gamma=1.0, rank=2, beta=400.0, caption_dropout=0.3, swapped=False, swapped_captionless=0.0,
    seed=0)

def measured(folder):
    moments = np.random.default_rng(0).random((6, 8, 16, 16)).astype(np.float32)
    captions, nothing = ["a person", "a hat", "a beach"], np.zeros(3, dtype=bool)
    winners = Examples([moments], np.arange(3), captions, nothing)
    losers = Examples([moments], np.arange(3, 6), captions, nothing)
    pairs = Pairs(winners, losers)
    base = "miniature/stable-diffusion"
    for _ in preference.align(base, "cpu", pairs, RECIPE, Path(folder), {}):
        pass
    return preference.read_curve(Path(folder)).to_dict("list")
"""
REWARD = """
import json
from pathlib import Path
from alignsd.base import processes
from alignsd.beyond.reward_gradient import Goal, RewardRecipe, align

RECIPE = RewardRecipe(
    steps=2, batch=3, learning_rate=4e-3, rank=2, denoising_steps=2, through=1, guidance=1.75,
    weight_decay=1e-2, seed=0, micro_batch=2)

def redness(pixels, prompts):
    return (pixels[:, 0] - pixels[:, 1:].mean(dim=1)).mean(dim=(1, 2))

def measured(folder):
    goal = Goal(["a person", "a hat", "a person at night"], redness)
    base = "miniature/stable-diffusion"
    return {"loss": [loss for _, loss, _ in align(base, "cpu", goal, RECIPE, Path(folder), {})]}
"""
TOGETHER = """
Path(f"{processes.number()}.json").write_text(json.dumps(measured("together")))
"""


@pytest.mark.parametrize(("script", "changes"), [(PAIRS, "accuracy"), (REWARD, "loss")])
def test_two_processes_train_as_one(script, changes, tmp_path):
    end = launched(script + TOGETHER, tmp_path)
    assert end.returncode == 0, end.stderr
    first, second = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert first == second
    alone = {}
    exec(script, alone)
    expected = alone["measured"](tmp_path / "alone")
    assert first.keys() == expected.keys()
    for name, values in expected.items():
        assert first[name] == pytest.approx(values, rel=1e-3, abs=1e-6), name
    assert len(set(expected[changes])) > 1, "the training does something"
