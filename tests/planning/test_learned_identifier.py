"""The ablation of a learned identifier: the model that is made, and the values that change."""

import numpy as np
import pandas as pd
import pytest

from alignsd.base.errors import Problem
from alignsd.base.paths import stage_dir
from alignsd.kit.schemas import SELECT
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.planning.ablation import learned_word, prepared, settings
from alignsd.planning.ablation.definitions import find
from alignsd.select.imagefolder import write_imagefolder

PARAMETERS = """\
stable_diffusion = "miniature/stable-diffusion"  # model
identifier = "Weird image. "  # words
identifier_alone = 0.4  # share
resolution = 64  # pixels
rank = 2  # rank
batch = 2  # examples
micro_batch = 2  # examples
weight_decay = 0.01  # of AdamW
snr_gamma = 1.0  # weight
device = "cpu"  # device
seed = 0  # seed"""


@pytest.fixture
def maker(kit, notebook, monkeypatch):
    """What makes the models, for a run whose selection has two negatives and a positive."""
    notebook("05_finetune_stable_diffusion", PARAMETERS)
    folder = stage_dir("mini", SELECT) / "imagefolder"
    rows = pd.DataFrame(
        {
            "file_name": ["a.png", "b.png", "c.png"],
            "text": ["a person", "a hat", "a beach"],
            "label": ["negative", "negative", "positive"],
        }
    )
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (64, 64, 3), np.uint8) for name in rows["file_name"]}
    write_imagefolder(
        folder, rows, lambda missing: ((n, pictures[n]) for n in missing["file_name"])
    )
    monkeypatch.setattr(learned_word, "input_state", lambda run, stage: states[0])
    states = ["a state"]
    maker = settings.preparation(learned_word.LEARNED, "mini")
    return maker, states


def test_the_model_knows_the_word_and_is_made_once(maker):
    maker, states = maker
    maker.write(1)
    folder = prepared.folder("mini", "learned-word-1")
    pipeline = load_pipeline(str(folder), "cpu")
    token = pipeline.tokenizer(learned_word.WORD, add_special_tokens=False).input_ids
    assert len(token) == 1 and token[0] == len(pipeline.tokenizer) - 1
    assert not list(folder.parent.glob("*training*")), "what the training needed is gone"
    written = (folder / "model_index.json").stat().st_mtime_ns
    maker.write(1)
    assert (folder / "model_index.json").stat().st_mtime_ns == written
    states[0] = "another state of the selection"
    maker.write(1)
    assert (folder / "model_index.json").stat().st_mtime_ns != written


def test_the_setting_changes_model_and_identifier_of_notebook_05(maker, monkeypatch):
    monkeypatch.setattr(settings, "_check_finished", lambda *arguments: None)
    own, learned = settings.settings(find("learned-identifier"), "mini")
    assert own.run == "mini" and own.plan is None
    values = dict(line.split("=", 1) for line in learned.plan.settings)
    assert "learned-word-300" in values["05.stable_diffusion"]
    assert learned_word.WORD in values["05.identifier"]


@pytest.mark.parametrize("amount", [-1, 1.5, True, "many"])
def test_no_number_of_steps_is_refused(maker, amount):
    maker, _ = maker
    with pytest.raises(Problem, match="is no number of steps"):
        maker.checked(amount)
