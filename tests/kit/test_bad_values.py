"""Values that people mistype end in a message that names the parameter, never in silence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alignsd import sources
from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.compare import generation
from alignsd.miniature import world
from alignsd.miniature.judge import load_judge
from alignsd.models.clip import load_clip
from alignsd.models.registry import resolve, torch_device
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.reward import hps

HPS_RECIPE = hps.HpsRecipe(
    batch=1,
    learning_rate=1e-4,
    initial_scale=30,
    weight_decay=0,
    mirror=False,
    seed=0,
    image_groups=1,
    text_layers=0,
    epochs=1.0,
)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: torch_device("gpu"), "(?s)no device 'gpu'.*parameter device to auto"),
        (lambda: torch_device("meta"), "no device 'meta'"),
        (lambda: torch_device("x" * 5000), "no device 'xxx"),
        (lambda: torch_device("cuda:99"), "no device 'cuda:99'"),
        (lambda: replace(HPS_RECIPE, epochs=0), "epochs is"),
        (lambda: replace(HPS_RECIPE, epochs=-1.0), "epochs is"),
        (lambda: replace(HPS_RECIPE, batch=0), "batch is"),
        (
            lambda: generation.plan(["a prompt"], "Weird image. ", 0, 0, [""]),
            "(?s)samples is.*samples=1",
        ),
        (lambda: sources.prompts("miniature", 0, 0), "so many prompts"),
        (lambda: sources.prompts("miniature", 23_681, 0), "(?s)so many prompts.*23,680 captions"),
        (lambda: sources.prompts("prompts.txt", 0, 0), "prompt_count is"),
        (
            lambda: lora.add_lora(load_pipeline("miniature/stable-diffusion", "cpu").unet, 0, 0),
            "rank is",
        ),
        (
            lambda: lora.LoraRecipe(
                identifier="",
                identifier_alone=0,
                steps=0,
                batch=1,
                micro_batch=1,
                learning_rate=1,
                schedule="constant",
                weight_decay=0,
                snr_gamma=0,
                rank=1,
                seed=0,
            ),
            "steps is",
        ),
        (
            lambda: world.scene_of("an astronaut riding a horse"),
            '(?s)cannot read this prompt.*astronaut.*judge = ""',
        ),
    ],
)
def test_a_value_out_of_its_range_is_named(call, words):
    with pytest.raises(Problem, match=words):
        call()


def test_as_many_captions_as_asked_for_are_distinct():
    assert len(set(sources.prompts("miniature", 2000, 0))) == 2000


def test_a_judge_that_cannot_be_loaded_says_so(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"cut off")
    for path in (
        tmp_path / "absent.safetensors",
        tmp_path / "damaged.safetensors",
        resolve("miniature/aesthetic"),
    ):
        with pytest.raises(Problem, match="(?s)The judge .* cannot be loaded.*miniature/judge"):
            load_judge(path)


def test_a_damaged_picture_of_a_choice_is_named(tmp_path):
    choices = pd.DataFrame(
        [
            dict(
                id=0,
                prompt="a person at night",
                file_path=["0_0.png", "0_1.png"],
                human_preference=0,
            )
        ]
    )
    for name in choices["file_path"][0]:
        save_png(tmp_path / name, np.zeros((64, 64, 3), np.uint8))
    whole = (tmp_path / "0_1.png").read_bytes()
    (tmp_path / "0_1.png").write_bytes(whole[: len(whole) // 2])
    clip = load_clip("miniature/clip", device="cpu")
    with pytest.raises(
        Problem,
        match="(?s)picture cannot be used.*damaged picture: 0_1.png.*fetch or unpack it again",
    ):
        hps.score_choices(clip, choices, tmp_path)
    with pytest.raises(Problem, match="damaged picture: 0_1.png"):
        next(hps.train_hps(clip, choices, tmp_path, HPS_RECIPE, steps=1))
