"""LoRA files of every layout change the UNet as the low-rank formula says, and ours come back to the bit."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from alignsd import lora, lora_formats
from alignsd.costs import UNET
from alignsd.errors import Problem
from alignsd.generation import Job, generate, load_pipeline

BASE = "miniature/stable-diffusion"
OLD = {"to_q": "to_q_lora", "to_k": "to_k_lora", "to_v": "to_v_lora", "to_out.0": "to_out_lora"}


@pytest.fixture(scope="module")
def tuned():
    """The miniature with a LoRA of rank 4 that changes something."""
    pipeline = load_pipeline(BASE, device="cpu")
    lora.add_lora(pipeline.unet, rank=4, seed=0)
    torch.manual_seed(1)
    for name, value in pipeline.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    return pipeline


def matrices(unet):
    """Returns ``(module, first, second)`` of each adapted layer."""
    state = get_peft_model_state_dict(unet)
    return [(name.removesuffix(lora_formats.FIRST), value, state[name.replace("lora_A", "lora_B")])
            for name, value in state.items() if "lora_A" in name]


def old_format(unet):
    """The state dict that diffusers' former attention processors saved."""
    state = {}
    for module, first, second in matrices(unet):
        attention, _, layer = module.partition(".to_")
        for kind, value in (("down", first), ("up", second)):
            state[f"{attention}.processor.{OLD['to_' + layer]}.{kind}.weight"] = value.clone()
    return state


def picture(adapter):
    """One picture of the miniature with an adapter."""
    return next(generate(load_pipeline(BASE, "cpu", adapter), [Job("a", "a person in a red shirt", 1)], 2, 1.5))[1]


def test_ours_comes_back_to_the_bit_in_both_layouts(tuned, tmp_path):
    lora_formats.save_lora(tuned.unet, tmp_path, {})
    own = {f"unet.{name}": value for name, value in get_peft_model_state_dict(tuned.unet).items()}
    for file in (lora_formats.DIFFUSERS_FILE, lora_formats.KOHYA_FILE):
        read = lora_formats.read_lora(tmp_path / file, load_pipeline(BASE, "cpu").unet)
        assert read.keys() == own.keys() and all(torch.equal(read[name], own[name]) for name in own)


def test_diffusers_itself_reads_both_layouts_alike(tuned, tmp_path):
    lora_formats.save_lora(tuned.unet, tmp_path, {})
    pictures = [picture(tmp_path)]
    for file in (lora_formats.DIFFUSERS_FILE, lora_formats.KOHYA_FILE):
        pipeline = load_pipeline(BASE, "cpu")
        pipeline.load_lora_weights(tmp_path, weight_name=file)
        pipeline.fuse_lora()
        pictures.append(next(generate(pipeline, [Job("a", "a person in a red shirt", 1)], 2, 1.5))[1])
    assert all(np.abs(other.astype(int) - pictures[0]).max() <= 1 for other in pictures[1:])
    assert not np.array_equal(picture(None), pictures[0])


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_the_former_layout_changes_weights_by_the_low_rank_formula(tuned, tmp_path, suffix):
    path = tmp_path / f"adapted_model.{suffix}"
    torch.save(old_format(tuned.unet), path) if suffix == "bin" else save_file(old_format(tuned.unet), path)
    by_hand = load_pipeline(BASE, "cpu").unet
    with torch.no_grad():
        for module, first, second in matrices(tuned.unet):
            by_hand.get_submodule(module).weight += second @ first
    converted = load_pipeline(BASE, "cpu", path).unet  # fused
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, by_hand.config.cross_attention_dim)
    with torch.no_grad():
        expected, found, plain = (unet(latents, 500, text).sample for unet in (by_hand, converted, load_pipeline(BASE, "cpu").unet))
    assert torch.allclose(found, expected, atol=1e-5) and not torch.allclose(found, plain, atol=1e-2)


def test_alpha_is_multiplied_in(tuned, tmp_path):
    lora_formats.save_lora(tuned.unet, tmp_path, {})
    state = load_file(tmp_path / lora_formats.KOHYA_FILE)
    save_file({name: value * 0 + 2 if name.endswith("alpha") else value for name, value in state.items()}, tmp_path / "half.safetensors")
    half, whole = (lora_formats.read_lora(tmp_path / file, tuned.unet) for file in ("half.safetensors", lora_formats.KOHYA_FILE))
    assert all(torch.equal(half[name], whole[name] / 2 if "lora_B" in name else whole[name]) for name in whole)


def test_the_files_say_what_they_are(tuned, tmp_path):
    lora_formats.save_lora(tuned.unet, tmp_path, {"base model": BASE, "negative prompt": "Weird image. ", "steps": 7})
    for file in (lora_formats.DIFFUSERS_FILE, lora_formats.KOHYA_FILE):
        about = lora_formats.read_about(tmp_path / file)
        assert about["base model"] == BASE and about["negative prompt"] == "Weird image. "
        assert (about["rank"], about["alpha"], about["steps"]) == ("4", "4", "7")
    assert about["ss_network_dim"] == "4" and about["ss_network_module"] == "networks.lora"


def test_files_that_are_no_lora_of_this_model_say_so(tuned, tmp_path):
    unet = load_pipeline(BASE, "cpu").unet
    (tmp_path / "page.bin").write_text("<html>moved</html>")
    with pytest.raises(Problem, match="cannot be read as a LoRA"):
        lora_formats.read_lora(tmp_path / "page.bin", unet)
    with pytest.raises(Problem, match="docs/data.md"):
        lora_formats.read_lora(tmp_path / "absent.bin", unet)
    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "other.bin")
    with pytest.raises(Problem, match="1 of 1 layers do not fit"):
        lora_formats.read_lora(tmp_path / "other.bin", unet)
    wide = {name: torch.cat([value, value], dim=int("down" in name)) for name, value in old_format(tuned.unet).items()}
    torch.save(wide, tmp_path / "wide.bin")
    with pytest.raises(Problem, match="another base model"):
        lora_formats.read_lora(tmp_path / "wide.bin", unet)
    torch.save({name: value for name, value in old_format(tuned.unet).items() if "up" not in name}, tmp_path / "halved.bin")
    with pytest.raises(Problem, match="do not fit"):
        lora_formats.read_lora(tmp_path / "halved.bin", unet)


@pytest.mark.parametrize(("rank", "expected"), [(4, 797_184), (32, 6_377_472)])
def test_stable_diffusion_takes_the_lora(rank, expected):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        layers = [module for name, module in unet.named_modules() if name.endswith(lora.ATTENTION)]
        assert lora.add_lora(unet, rank, seed=0) == expected == rank * sum(sum(layer.weight.shape) for layer in layers)


FULL_SIZE = """
import resource, torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from alignsd import lora
from alignsd.costs import UNET
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
unet = UNet2DConditionModel(**UNET)
lora.add_lora(unet, 32, 0)
latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 768)
optimizer = torch.optim.AdamW([p for p in unet.parameters() if p.requires_grad], lr=1e-2)
second = next(p for n, p in unet.named_parameters() if "lora_B" in n)
before = second.clone()
unet(latents, 500, text).sample.float().pow(2).mean().backward()
optimizer.step()
with torch.no_grad():
    drawn = DDPMScheduler().step(unet(latents, 999, text).sample, 999, latents).prev_sample
print(float((second - before).abs().max() > 0), float(drawn.isfinite().all()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_a_training_step_and_a_sampling_step_of_stable_diffusion_s_own_size():
    out = subprocess.run([sys.executable, "-c", FULL_SIZE], capture_output=True, text=True, check=True)
    learned, finite, gigabytes = map(float, out.stdout.split())
    assert learned and finite and gigabytes < 6
