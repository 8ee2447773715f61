"""Fine-tuning as on a GPU, with frozen weights in bfloat16, and at Stable Diffusion's own size."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, jaxtyped
from toys import LORA_RECIPE

from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.base.errors import Problem
from alignsd.models.registry import training_precision
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline

PROMPT = "a person in a red shirt standing on the beach"


@pytest.fixture
def examples():
    """Four examples with half-precision latents of the miniature's size."""
    moments = np.random.default_rng(0).random((4, 8, 16, 16)).astype(np.float16)
    negative = np.array([True, False, True, False])
    return Examples([moments], np.arange(4), [PROMPT] * 4, negative)


@pytest.fixture
def pipeline():
    """The miniature in half precision, as a GPU would hold it."""
    pipeline = load_pipeline("miniature/stable-diffusion", device="cpu").to(torch.float16)
    lora.add_lora(pipeline.unet, rank=4, seed=0)
    return pipeline


def test_a_gpu_trains_in_bfloat16_if_it_has_it(monkeypatch):
    assert training_precision(torch.device("cpu")) == torch.float32
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training_precision(gpu) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert training_precision(gpu) == torch.float32


def test_frozen_weights_in_bfloat16_train_matrices_in_single_precision(
    pipeline, examples, monkeypatch
):
    """If it failed, a training on a GPU would lose small gradients, or move frozen weights."""
    monkeypatch.setattr(lora, "training_precision", lambda device: torch.bfloat16)
    before = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters()}
    losses = [loss for _, loss in lora.finetune(pipeline, examples, LORA_RECIPE)]
    assert np.isfinite(losses).all() and len(losses) == 2
    for name, value in pipeline.unet.named_parameters():
        if "lora_" in name:
            assert value.dtype == torch.float32 and (value != before[name]).any(), name
        else:
            assert value.dtype == torch.bfloat16, name
            assert torch.equal(value, before[name].bfloat16()), name
    # Samples are drawn in the middle of a training.
    _, image = next(generate(pipeline, [Job("a", PROMPT, 1)], Drawing(2, 3.0)))
    assert image.shape == (64, 64, 3) and image.std() > 0


FULL_SIZE = """
import resource
import numpy as np, torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from alignsd.adapt import lora
from alignsd.adapt.examples import Examples
from alignsd.models import registry
from alignsd.models.stable_diffusion import Drawing, Job, generate
from alignsd.planning.throughput import UNET
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
unet = UNet2DConditionModel(**UNET | {"sample_size": 8})
text = CLIPTextModel(CLIPTextConfig(
    hidden_size=768, num_hidden_layers=1, num_attention_heads=12, vocab_size=1000))
vae = AutoencoderKL(
    block_out_channels=(32,) * 4, latent_channels=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
torch.set_default_dtype(torch.float32)
folder = registry.resolve("miniature/stable-diffusion")
tokenizer = CLIPTokenizer.from_pretrained(folder + "/tokenizer")
pipeline = StableDiffusionPipeline(
    vae, text, tokenizer, unet, DDPMScheduler(), None, None, requires_safety_checker=False)
pipeline.set_progress_bar_config(disable=True)
lora.training_precision = lambda device: torch.bfloat16
lora.add_lora(unet, 32, 0)
second = next(p for n, p in unet.named_parameters() if "lora_B" in n)
first = next(iter(unet.parameters())).clone()
moments = np.random.default_rng(0).random((2, 8, 8, 8))
examples = Examples([moments], np.arange(2), ["a person", "a hat"], np.array([True, False]))
recipe = lora.LoraRecipe(
    identifier="Weird image. ", identifier_alone=0.0, steps=1, batch=2, micro_batch=1,
    learning_rate=1e-2, schedule="constant", weight_decay=1e-2, snr_gamma=0.0, rank=32, seed=0)
((_, loss),) = lora.finetune(pipeline, examples, recipe)
((_, image),) = generate(pipeline, [Job("a", "a person", 0, "Weird image. ")], Drawing(1, 7.5))
still = bool((first == next(iter(unet.parameters()))).all())
learned = bool(second.abs().max() > 0) and second.dtype == torch.float32
gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(loss, float(learned), float(still), image.shape[0], gigabytes)
"""


def test_a_training_step_and_a_sampling_step_of_stable_diffusion_s_own_size():
    command = [sys.executable, "-c", FULL_SIZE]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    loss, learned, still, side, gigabytes = map(float, out.stdout.split())
    assert 0 < loss < float("inf") and learned and still and side == 64 and gigabytes < 6


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": -1},
        {"batch": 0},
        {"micro_batch": 0},
        {"rank": 0},
        {"learning_rate": -1.0},
        {"learning_rate": NAN},
        {"weight_decay": INFINITE},
        {"snr_gamma": -1.0},
        {"snr_gamma": NAN},
        {"identifier_alone": -0.1},
        {"identifier_alone": 1.5},
        {"identifier_alone": NAN},
        {"seed": -1},
        {"seed": 2**32},
        {"schedule": "linear"},
        {"identifier": "\ud800"},
    ],
    ids=ascii,
)
def test_settings_out_of_their_range_are_named(change):
    (name,) = change
    with pytest.raises(Problem, match=name):
        replace(LORA_RECIPE, **change)


@jaxtyped(typechecker=None)
def test_a_batch_has_a_caption_and_moments_per_example(examples):
    index = np.array([3, 0, 0])
    captions = lora.captions_of(examples, index, LORA_RECIPE, np.random.default_rng(0))
    moments = examples.moments(index)
    assert isinstance(moments, Float[torch.Tensor, "batch=3 moments height width"])
    assert len(captions) == len(moments)
    mean, std = moments.chunk(2, dim=1)
    assert isinstance(mean, Float[torch.Tensor, "batch channels height width"])
    assert isinstance(std, Float[torch.Tensor, "batch channels height width"])
    times = torch.tensor([0, 500, 999])
    weight = lora.snr_weight(DDPMScheduler(), times, gamma=1.0)
    assert isinstance(weight, Float[torch.Tensor, " batch"])


def test_no_examples_are_named(pipeline, examples):
    with pytest.raises(Problem, match="no examples to train on"):
        next(lora.finetune(pipeline, examples.take(0, 0), LORA_RECIPE))


def test_time_steps_are_weighted_by_their_signal_to_noise_ratio():
    schedule, times = DDPMScheduler(), torch.tensor([0, 500, 999])
    signal = schedule.alphas_cumprod[times]
    ratio = signal / (1 - signal)
    expected = torch.minimum(ratio, torch.tensor(1.0)) / ratio
    assert lora.snr_weight(schedule, times, gamma=1.0).tolist() == pytest.approx(expected.tolist())
    assert lora.snr_weight(schedule, times, gamma=0.0).tolist() == [1, 1, 1]


class Remembering:
    """Stand in for a UNet: predict no noise at all, and remember what came in."""

    device, dtype = torch.device("cpu"), torch.float32

    def __call__(self, noised, times, texts):
        self.noised, self.times, self.texts = noised, times, texts
        return SimpleNamespace(sample=torch.zeros_like(noised))


def test_the_loss_is_the_weighted_error_of_the_predicted_noise():
    """w(t) |eps - eps_theta(z_t, t, c)|^2 with z_t = sqrt(abar) z_0 + sqrt(1 - abar) eps."""
    schedule = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    shape = (3, 4, 2, 2)
    latents, noise = torch.randn(shape), torch.randn(shape)
    times = torch.tensor([10, 400, 900])
    batch = lora.Batch(["a", "b", "c"], latents, noise, times)
    unet = Remembering()
    loss = lora.diffusion_loss(unet, batch, torch.zeros(3, 5, 6), schedule, gamma=1.0)
    signal = schedule.alphas_cumprod[times]
    share = signal[:, None, None, None]
    torch.testing.assert_close(unet.noised, share.sqrt() * latents + (1 - share).sqrt() * noise)
    ratio = signal / (1 - signal)
    weight = torch.minimum(ratio, torch.tensor(1.0)) / ratio
    torch.testing.assert_close(loss, weight * noise.square().mean(dim=(1, 2, 3)))
    unweighted = lora.diffusion_loss(unet, batch, torch.zeros(3, 5, 6), schedule, gamma=0.0)
    torch.testing.assert_close(unweighted, noise.square().mean(dim=(1, 2, 3)))


class KnowsAll:
    """A UNet that predicts v without an error."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, batch, schedule):
        self.v = schedule.get_velocity(batch.latents, batch.noise, batch.times)

    def __call__(self, noised, times, texts):
        return SimpleNamespace(sample=self.v)


def test_a_model_that_predicts_v_is_held_against_v():
    """If it failed, Stable Diffusion 2 of 768 pixels would unlearn to draw, without a word."""
    schedule = DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    shape, times = (3, 4, 2, 2), torch.tensor([1, 500, 999])
    batch = lora.Batch(["a"] * 3, torch.randn(shape), torch.randn(shape), times)
    unet = KnowsAll(batch, schedule)
    for gamma in (0.0, 1.0):
        loss = lora.diffusion_loss(unet, batch, torch.zeros(3, 5, 6), schedule, gamma)
        assert loss.tolist() == [0, 0, 0]
    weight = lora.snr_weight(schedule, times, gamma=1.0)
    alpha_bar = schedule.alphas_cumprod[times]
    ratio = alpha_bar / (1 - alpha_bar)
    assert torch.allclose(weight, ratio.clamp(max=1) / (ratio + 1)) and weight.isfinite().all()


def test_a_batch_follows_from_the_seed_and_the_step(examples):
    def drawn(step):
        return lora.draw_batch(examples, LORA_RECIPE, step, scaling=0.5, all_times=1000)

    batch, same, next_step = drawn(3), drawn(3), drawn(4)
    assert batch.captions == same.captions and torch.equal(batch.noise, same.noise)
    assert torch.equal(batch.latents, same.latents) and torch.equal(batch.times, same.times)
    assert not torch.equal(batch.noise, next_step.noise)
    few = batch.take(torch.tensor([2, 0]))
    assert few.captions == [batch.captions[2], batch.captions[0]]
    assert torch.equal(few.times, batch.times[[2, 0]])
    assert torch.equal(few.latents, batch.latents[[2, 0]])
