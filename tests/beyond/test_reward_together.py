"""Two processes follow a reward as one process does."""

import json

import pytest
from launched import launched

ALIGNMENT = """
import json
from pathlib import Path
from alignsd.base import processes
from alignsd.beyond.reward_gradient import Goal, RewardRecipe, align

RECIPE = RewardRecipe(
    steps=2, batch=3, learning_rate=4e-3, rank=2, denoising_steps=2, through=1, guidance=1.75,
    weight_decay=1e-2, seed=0, micro_batch=2)

def redness(pixels, prompts):
    return (pixels[:, 0] - pixels[:, 1:].mean(dim=1)).mean(dim=(1, 2))

def losses(folder):
    goal = Goal(["a person", "a hat", "a person at night"], redness)
    base = "miniature/stable-diffusion"
    return [loss for _, loss, _ in align(base, "cpu", goal, RECIPE, Path(folder), {})]
"""
TOGETHER = """
Path(f"{processes.number()}.json").write_text(json.dumps(losses("together")))
"""


def test_two_processes_follow_a_reward_as_one(tmp_path):
    end = launched(ALIGNMENT + TOGETHER, tmp_path)
    assert end.returncode == 0, end.stderr
    first, second = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert first == second
    alone = {}
    exec(ALIGNMENT, alone)
    assert first == pytest.approx(alone["losses"](tmp_path / "alone"), rel=1e-4, abs=1e-6)
    assert len(set(first)) == 2
