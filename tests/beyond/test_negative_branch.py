"""Two UNets in one drawing: which half goes where, and pictures equal to those of one UNet."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.beyond.negative_branch import TwoUNets, load_two
from alignsd.models.lora.files import save_lora
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline

BASE = "miniature/stable-diffusion"
PROMPTS = ["a person in a red shirt", "two persons on a beach", "a person with a hat"]
JOBS = [Job(str(i), prompt, seed=i, negative="blurred") for i, prompt in enumerate(PROMPTS)]
DRAWING = Drawing(steps=3, guidance=1.75, batch=2)


class Adding(torch.nn.Module):
    """Stand in for a UNet: add a number, the time step and the text to the latents."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, sample, timestep, texts, return_dict):
        assert not return_dict
        return (sample + self.number + timestep + texts[..., None],)


def test_the_first_half_goes_to_the_negative_network():
    two = TwoUNets(negative=Adding(10), positive=Adding(20))
    sample = torch.zeros(4, 1, 1, 1)
    texts = torch.tensor([1.0, 2, 3, 4])[:, None, None]  # one token of width 1
    (noise,) = two(sample, 100, texts, return_dict=False)
    assert noise.flatten().tolist() == [111, 112, 123, 124]
    assert two(sample, 100, texts).sample.flatten().tolist() == [111, 112, 123, 124]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """Give a LoRA that changes what the miniature draws."""
    unet = load_pipeline(BASE, "cpu").unet
    lora.add_lora(unet, rank=4, seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, value in unet.named_parameters():
        if "lora_B" in name:
            value.data = torch.randn(value.shape, generator=generator) / 10
    folder = tmp_path_factory.mktemp("adapter")
    save_lora(unet, folder, {})
    return folder


def pictures(pipeline, drawing=DRAWING):
    return np.stack([image for _, image in generate(pipeline, JOBS, drawing)]).astype(int)


@pytest.fixture
def two_cores():
    """Let torch have two threads, so that ``generate`` draws in two lanes."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("has_adapter", [False, True])
def test_two_equal_networks_draw_what_one_draws(adapter, has_adapter, two_cores):
    path = adapter if has_adapter else None
    one = pictures(load_pipeline(BASE, "cpu", path))
    two = pictures(load_two(BASE, "cpu", path, path))
    assert np.abs(one - two).max() <= 1 and one.std() > 10


def predicted(pipeline, latents, texts):
    with torch.no_grad():
        return pipeline.unet(latents, 500, texts, return_dict=False)[0]


def test_each_adapter_goes_to_its_own_branch(adapter):
    generator = torch.Generator().manual_seed(1)
    original, adapted = load_pipeline(BASE, "cpu"), load_pipeline(BASE, "cpu", adapter)
    config = original.unet.config
    side = config.sample_size
    latents = torch.randn(2, config.in_channels, side, side, generator=generator)
    texts = torch.randn(2, 77, config.cross_attention_dim, generator=generator)
    of_original = predicted(original, latents, texts)
    of_adapted = predicted(adapted, latents, texts)
    assert (of_original - of_adapted).abs().max() > 1e-3
    negative = load_two(BASE, "cpu", adapter=None, negative_adapter=adapter)
    positive = load_two(BASE, "cpu", adapter=adapter, negative_adapter=None)
    close = SimpleNamespace(rtol=1e-4, atol=1e-5)
    expected = torch.stack([of_adapted[0], of_original[1]])
    torch.testing.assert_close(predicted(negative, latents, texts), expected, **vars(close))
    expected = torch.stack([of_original[0], of_adapted[1]])
    torch.testing.assert_close(predicted(positive, latents, texts), expected, **vars(close))


def test_a_second_network_changes_the_pictures(adapter):
    one = pictures(load_pipeline(BASE, "cpu"))
    two = pictures(load_two(BASE, "cpu", negative_adapter=adapter))
    assert np.abs(one - two).max() > 1


@pytest.mark.parametrize("guidance", [0.5, 1.0])
def test_without_guidance_two_networks_do_not_draw(guidance):
    with pytest.raises(Problem, match="with guidance only"):
        pictures(load_two(BASE, "cpu"), Drawing(steps=2, guidance=guidance))
