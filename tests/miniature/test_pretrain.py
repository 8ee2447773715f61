"""The shipped weights: whole, small, and made by a script that runs."""

import json

import numpy as np
import pytest
import torch
import typer

from alignsd.base.errors import Problem
from alignsd.miniature import WEIGHTS, world
from alignsd.miniature.judge import load_judge
from alignsd.miniature.pretraining import architectures, pretrain
from alignsd.miniature.pretraining.__main__ import main
from alignsd.miniature.web import make_web

CARD = json.loads((WEIGHTS / "model_card.json").read_text())


def test_weights_are_those_of_the_model_card():
    assert pretrain.hashes(WEIGHTS) == CARD["sha256"]


def test_weights_are_small():
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*") if p.is_file()) <= 15e6


def test_the_judge_is_as_good_as_its_card_says():
    web = make_web(400, seed=77, flaw_share=0.6)
    seen = load_judge(WEIGHTS / "judge" / "judge.safetensors").judge(web.pictures)
    assert np.mean(seen.flawed == (web.labels()["flaw"] != 0)) >= 0.97
    assert seen.matches(web.captions).mean() >= 0.93
    stated = CARD["stages"]["judge"]["held_out_round_trips"]
    assert stated["flaw or not"] >= 0.97 and min(stated[name] for name in world.ATTRIBUTES) >= 0.98


def test_every_word_of_the_world_is_one_token(tmp_path):
    tokenizer = architectures.tokenizer(tmp_path, world.vocabulary(wide=True))
    assert all(len(tokenizer.tokenize(word)) == 1 for word in world.vocabulary(wide=True))
    assert tokenizer.eos_token_id == len(tokenizer) - 1


EARLIER = {
    "vae": [],
    "clip": ["vae"],
    "aesthetic": ["vae", "clip"],
    "judge": ["vae"],
    "diffusion": ["vae"],
}


@pytest.mark.parametrize("stage", pretrain.STAGES)
def test_stages_run_and_are_recorded(tmp_path, stage):
    torch.manual_seed(0)
    pretrain.pretrain(tmp_path / "out", tmp_path / "work", [*EARLIER[stage], stage], shorten=0.002)
    card = json.loads((tmp_path / "out" / "model_card.json").read_text())
    assert np.isfinite(card["stages"][stage]["loss"])
    assert card["sha256"] == pretrain.hashes(tmp_path / "out")


def test_a_recorded_stage_is_not_made_again(tmp_path):
    pretrain.pretrain(tmp_path / "out", tmp_path / "work", ["vae"], shorten=0.002)
    made = (tmp_path / "out" / "model_card.json").read_bytes()
    with pytest.raises(Problem, match="(?s)nothing to pretrain.*--fresh"):
        pretrain.pretrain(tmp_path / "out", tmp_path / "work", ["vae"], shorten=0.002)
    with pytest.raises(typer.Exit):
        main(out=tmp_path / "out", work=tmp_path / "work", stage=["vae"])
    assert (tmp_path / "out" / "model_card.json").read_bytes() == made
    with pytest.raises(typer.BadParameter, match="unknown stage"):
        main(out=tmp_path / "out", stage=["painter"])
