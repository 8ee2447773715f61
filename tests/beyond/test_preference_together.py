"""Two processes learn from pairs as one process does, also the inner numbers."""

import json

import pytest
from launched import launched

ALIGNMENT = """
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

def curve(folder):
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
TOGETHER = """
Path(f"{processes.number()}.json").write_text(json.dumps(curve("together")))
"""


def test_two_processes_learn_as_one(tmp_path):
    end = launched(ALIGNMENT + TOGETHER, tmp_path)
    assert end.returncode == 0, end.stderr
    first, second = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert first == second
    alone = {}
    exec(ALIGNMENT, alone)
    expected = alone["curve"](tmp_path / "alone")
    assert first.keys() == expected.keys()
    for name, values in expected.items():
        assert first[name] == pytest.approx(values, rel=1e-3, abs=1e-6), name
    assert len(set(expected["accuracy"])) > 1
