"""Fine-tuning as on a GPU: frozen weights in bfloat16, trained ones in single precision; and at Stable Diffusion's own size."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.models.registry import training_precision
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline

PROMPT = "a person in a red shirt standing on the beach"
RECIPE = dict(identifier="Weird image. ", identifier_alone=0.5, steps=2, batch=4, micro_batch=2, learning_rate=1e-3,
              schedule="constant", weight_decay=1e-2, snr_gamma=0.0, seed=0)


@pytest.fixture
def examples():
    """Four examples with latents of the miniature's size, as half precision leaves them on the disk."""
    moments = np.random.default_rng(0).random((4, 8, 16, 16)).astype(np.float16)
    return lora.Examples([moments], np.arange(4), [PROMPT] * 4, np.array([True, False, True, False]))


@pytest.fixture
def pipeline():
    """The miniature in half precision, as a GPU would hold it."""
    pipeline = load_pipeline("miniature/stable-diffusion", device="cpu").to(torch.float16)
    lora.add_lora(pipeline.unet, rank=4, seed=0)
    return pipeline


def test_a_gpu_trains_in_bfloat16_if_it_has_it(monkeypatch):
    assert training_precision(torch.device("cpu")) == torch.float32
    for able, precision in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert training_precision(torch.device("cuda")) == precision


def test_frozen_weights_in_bfloat16_train_matrices_in_single_precision(pipeline, examples, monkeypatch):
    """If it failed, training on a GPU would lose its smallest gradients, or move what is to stay."""
    monkeypatch.setattr(lora, "training_precision", lambda device: torch.bfloat16)
    before = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters()}
    losses = [loss for _, loss in lora.finetune(pipeline, examples, **RECIPE)]
    assert np.isfinite(losses).all() and len(losses) == 2
    for name, value in pipeline.unet.named_parameters():
        if "lora_" in name:
            assert value.dtype == torch.float32 and (value != before[name]).any(), name
        else:
            assert value.dtype == torch.bfloat16 and torch.equal(value, before[name].bfloat16()), name
    _, image = next(generate(pipeline, [Job("a", PROMPT, 1)], Drawing(2, 3.0)))
    assert image.shape == (64, 64, 3) and image.std() > 0, "samples are drawn in the middle of a training"


def test_the_training_stays_on_the_device_asked_for(pipeline, examples, monkeypatch):
    """If it failed, ``device="cpu"`` on a machine with a GPU would end in tensors on two devices."""
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "device", property(lambda self: torch.device("meta")))
    next(lora.finetune(pipeline, examples, **RECIPE))
    assert {value.device.type for value in pipeline.unet.parameters()} == {"cpu"}


FULL_SIZE = """
import resource
import numpy as np, torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from alignsd.adapt import lora
from alignsd.models import registry
from alignsd.models.stable_diffusion import Drawing, Job, generate
from alignsd.planning.throughput import UNET
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
unet = UNet2DConditionModel(**UNET | {"sample_size": 8})
text = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=1, num_attention_heads=12, vocab_size=1000))
vae = AutoencoderKL(block_out_channels=(32,) * 4, latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 4,
                    up_block_types=("UpDecoderBlock2D",) * 4)
torch.set_default_dtype(torch.float32)
tokenizer = CLIPTokenizer.from_pretrained(registry.resolve("miniature/stable-diffusion") + "/tokenizer")
pipeline = StableDiffusionPipeline(vae, text, tokenizer, unet, DDPMScheduler(), None, None, requires_safety_checker=False)
pipeline.set_progress_bar_config(disable=True)
lora.training_precision = lambda device: torch.bfloat16
lora.add_lora(unet, 32, 0)
second = next(p for n, p in unet.named_parameters() if "lora_B" in n)
first = next(iter(unet.parameters())).clone()
examples = lora.Examples([np.random.default_rng(0).random((2, 8, 8, 8))], np.arange(2), ["a person", "a hat"], np.array([True, False]))
((_, loss),) = lora.finetune(pipeline, examples, identifier="Weird image. ", identifier_alone=0.0, steps=1, batch=2, micro_batch=1,
                             learning_rate=1e-2, schedule="constant", weight_decay=1e-2, snr_gamma=0.0, seed=0)
((_, image),) = generate(pipeline, [Job("a", "a person", 0, "Weird image. ")], Drawing(1, 7.5))
still = bool((first == next(iter(unet.parameters()))).all())
print(loss, float(second.abs().max() > 0 and second.dtype == torch.float32), float(still), image.shape[0],
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_a_training_step_and_a_sampling_step_of_stable_diffusion_s_own_size():
    out = subprocess.run([sys.executable, "-c", FULL_SIZE], capture_output=True, text=True, check=True)
    loss, learned, still, side, gigabytes = map(float, out.stdout.split())
    assert 0 < loss < float("inf") and learned and still and side == 64 and gigabytes < 6


@pytest.mark.parametrize("change", [
    {"steps": 0}, {"steps": -1}, {"batch": 0}, {"micro_batch": 0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")},
    {"weight_decay": float("inf")}, {"snr_gamma": -1.0}, {"snr_gamma": float("nan")}, {"identifier_alone": -0.1},
    {"identifier_alone": 1.5}, {"identifier_alone": float("nan")}, {"seed": -1}, {"seed": 2**32}, {"schedule": "linear"},
    {"identifier": "\ud800"}], ids=ascii)
def test_settings_out_of_their_range_are_named(change):
    (name,) = change
    lora.check_settings(**RECIPE)
    with pytest.raises(Problem, match=name):
        next(lora.finetune(None, None, **RECIPE | change))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "pickled", "one picture", "whole numbers", "archive", "odd channels"])
def test_damaged_latents_are_named(tmp_path, damage):
    path = tmp_path / "00000.npy"
    good = np.zeros((2, 8, 16, 16), np.float32)
    arrays = {"one picture": good[:1], "whole numbers": good.astype(int), "odd channels": good[:, :7]}
    np.save(path, arrays.get(damage, good))
    if damage == "pickled":
        np.save(path, np.array([{}, {}], dtype=object))
    elif damage == "archive":
        np.savez(tmp_path / "a.npz", good)
        (tmp_path / "a.npz").replace(path)
    elif damage in ("empty", "cut", "text"):
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:500], "text": b"<html>" * 99}[damage])
    with pytest.raises(Problem, match="(?s)latents 00000.npy.*delete"):
        lora._read_latents(path, 2)


def test_latents_that_are_not_finite_are_no_matter_of_the_learning_rate(pipeline, examples):
    examples.files[0][:] = np.nan
    with pytest.raises(Problem, match="latents of a picture are no finite"):
        next(lora.finetune(pipeline, examples, **RECIPE))


@pytest.mark.parametrize("size", [-1, 0, 1, 7, 1_000_000])
def test_a_resolution_out_of_its_range_is_told(pipeline, tmp_path, size):
    with pytest.raises(Problem, match="resolution is"):
        lora.encode_examples(pipeline, None, size, 0, tmp_path)
