"""LoRA files of every layout change the UNet by the low-rank formula; ours come back to the bit."""

import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float32
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from alignsd.adapt import lora
from alignsd.base.errors import Problem
from alignsd.models.lora import files
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.planning.throughput import UNET

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
    """Return ``(module, first, second)`` of each adapted layer."""
    state = get_peft_model_state_dict(unet)
    modules = [name.removesuffix(files.FIRST) for name in state if "lora_A" in name]
    return [
        (module, state[module + files.FIRST], state[module + files.SECOND]) for module in modules
    ]


def old_format(unet):
    """Return the state dict that diffusers' former attention processors saved."""
    state = {}
    for module, first, second in matrices(unet):
        attention, _, layer = module.partition(".to_")
        for kind, value in (("down", first), ("up", second)):
            state[f"{attention}.processor.{OLD['to_' + layer]}.{kind}.weight"] = value.clone()
    return state


def picture(adapter):
    """Return one picture of the miniature with an adapter."""
    return drawn(load_pipeline(BASE, "cpu", adapter))


def drawn(pipeline):
    ((_, image),) = generate(pipeline, [Job("a", "a person in a red shirt", 1)], Drawing(2, 1.5))
    return image


def saved(state, path, metadata=None):
    """Return a file of these tensors."""
    if path.suffix == ".safetensors":
        save_file(state, path, metadata)
    else:
        torch.save(state, path)
    return path


def test_ours_comes_back_to_the_bit_in_both_layouts(tuned, tmp_path):
    files.save_lora(tuned.unet, tmp_path, {})
    own = {f"unet.{name}": value for name, value in get_peft_model_state_dict(tuned.unet).items()}
    for file in (files.DIFFUSERS_FILE, files.kohya_file(tmp_path).name):
        read = files.read_lora(tmp_path / file, load_pipeline(BASE, "cpu").unet)
        assert read.keys() == own.keys()
        assert all(torch.equal(read[name], own[name]) for name in own)


def test_the_matrices_of_a_layer_have_the_shapes_of_its_weight(tuned, tmp_path):
    unet = load_pipeline(BASE, "cpu").unet
    read = files.read_lora(files.save_lora(tuned.unet, tmp_path, {}), unet)
    modules = [module for module, _, _ in matrices(tuned.unet)]
    assert len(read) == 2 * len(modules)
    for module in modules:
        weight = unet.get_submodule(module).weight
        shapes = {"into": weight.shape[1], "out": weight.shape[0]}
        first = read[f"unet.{module}{files.FIRST}"]
        second = read[f"unet.{module}{files.SECOND}"]
        assert isinstance(first, Float32[torch.Tensor, f"4 {shapes['into']}"])
        assert isinstance(second, Float32[torch.Tensor, f"{shapes['out']} 4"])


def test_diffusers_itself_reads_both_layouts_alike(tuned, tmp_path):
    files.save_lora(tuned.unet, tmp_path, {})
    pictures = [picture(tmp_path)]
    for file in (files.DIFFUSERS_FILE, files.kohya_file(tmp_path).name):
        pipeline = load_pipeline(BASE, "cpu")
        pipeline.load_lora_weights(tmp_path, weight_name=file)
        pipeline.fuse_lora()
        pictures.append(drawn(pipeline))
    for other in pictures[1:]:
        assert np.abs(other.astype(int) - pictures[0]).max() <= 1
    assert not np.array_equal(picture(None), pictures[0])


def predicted(unet):
    """Return the noise that a UNet predicts for a fixed input."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((1, 4, 8, 8), generator=generator)
    text = torch.randn((1, 77, unet.config.cross_attention_dim), generator=generator)
    with torch.no_grad():
        return unet(latents, 500, text).sample


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_the_former_layout_changes_weights_by_the_low_rank_formula(tuned, tmp_path, suffix):
    path = saved(old_format(tuned.unet), tmp_path / f"adapted_model.{suffix}")
    by_hand = load_pipeline(BASE, "cpu").unet
    with torch.no_grad():
        for module, first, second in matrices(tuned.unet):
            by_hand.get_submodule(module).weight += second @ first
    fused = predicted(load_pipeline(BASE, "cpu", path).unet)
    plain = predicted(load_pipeline(BASE, "cpu").unet)
    assert torch.allclose(fused, predicted(by_hand), atol=1e-5)
    assert not torch.allclose(fused, plain, atol=1e-2)


def kohya_of(tuned, folder):
    """Return the file in kohya's layout of a LoRA that is saved."""
    files.save_lora(tuned.unet, folder, {})
    return files.kohya_file(folder)


def test_alpha_is_multiplied_in(tuned, tmp_path):
    kohya = kohya_of(tuned, tmp_path)
    state = load_file(kohya)
    alphas = {name: torch.full_like(state[name], 2) for name in state if name.endswith("alpha")}
    half_file = saved(state | alphas, tmp_path / "half.safetensors")
    half = files.read_lora(half_file, tuned.unet)
    whole = files.read_lora(kohya, tuned.unet)
    for name in whole:
        expected = whole[name] / 2 if "lora_B" in name else whole[name]
        assert torch.equal(half[name], expected)


def test_without_alpha_the_scale_is_one(tuned, tmp_path):
    kohya = kohya_of(tuned, tmp_path)
    state = load_file(kohya)
    pairs = {name: value for name, value in state.items() if not name.endswith("alpha")}
    bare = files.read_lora(saved(pairs, tmp_path / "bare.safetensors"), tuned.unet)
    whole = files.read_lora(kohya, tuned.unet)
    assert all(torch.equal(bare[name], whole[name]) for name in whole)


def test_alpha_of_one_layer_scales_that_layer_alone(tuned, tmp_path):
    """diffusers 0.42 drops an attention layer's own alpha and scales every layer alike."""
    kohya = kohya_of(tuned, tmp_path)
    state = load_file(kohya)
    layer = next(name for name in state if name.endswith("attn1_to_q.alpha"))
    uneven_file = saved(state | {layer: torch.tensor(1.0)}, tmp_path / "uneven.safetensors")
    uneven = files.read_lora(uneven_file, tuned.unet)
    whole = files.read_lora(kohya, tuned.unet)
    (changed,) = [name for name in whole if not torch.equal(uneven[name], whole[name])]
    assert torch.equal(uneven[changed], whole[changed] / 4)


def test_alpha_in_the_metadata_means_what_diffusers_takes_it_for(tuned, tmp_path):
    """If it failed, LoRAs of diffusers' training scripts would be applied at another strength."""
    state = load_file(files.save_lora(tuned.unet, tmp_path, {}))
    config = {"unet.r": 4, "unet.lora_alpha": 1, "unet.target_modules": list(lora.ATTENTION)}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(config)}
    saved(state, tmp_path / "quarter.safetensors", metadata)
    ours, theirs = load_pipeline(BASE, "cpu"), load_pipeline(BASE, "cpu")
    files.load_lora(ours, tmp_path / "quarter.safetensors")
    theirs.load_lora_weights(tmp_path, weight_name="quarter.safetensors")
    assert torch.equal(predicted(ours.unet), predicted(theirs.unet))


def test_alpha_in_the_metadata_of_save_lora_adapter_counts(tmp_path):
    """If it failed, a LoRA saved from the UNet itself would be applied at another strength."""
    unet = load_pipeline(BASE, "cpu").unet
    config = LoraConfig(r=4, lora_alpha=16, target_modules=list(lora.ATTENTION))
    unet.add_adapter(config, adapter_name="a")
    torch.manual_seed(0)
    for name, value in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    unet.save_lora_adapter(str(tmp_path), adapter_name="a")
    ours = load_pipeline(BASE, "cpu")
    files.load_lora(ours, tmp_path)
    assert torch.allclose(predicted(ours.unet), predicted(unet), atol=1e-4)
    assert not torch.allclose(
        predicted(load_pipeline(BASE, "cpu").unet), predicted(unet), atol=1e-2
    )


@pytest.mark.parametrize("name", ["a.safetensors", "a.SAFETENSORS", "a", "a.bin"])
def test_the_content_of_a_file_decides_how_it_is_read_and_not_its_name(tuned, tmp_path, name):
    """If it failed, a renamed LoRA would be applied at another strength."""
    state = load_file(files.save_lora(tuned.unet, tmp_path, {}))
    words = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 1})}
    whole = files.read_lora(saved(state, tmp_path / "whole.safetensors"), tuned.unet)
    save_file(state, tmp_path / name, words)
    quarter = files.read_lora(tmp_path / name, tuned.unet)
    for key, value in whole.items():
        assert torch.equal(quarter[key], value / 4 if "lora_B" in key else value)
    torch.save(state, tmp_path / name)
    of_torch = files.read_lora(tmp_path / name, tuned.unet)
    assert all(torch.equal(of_torch[key], value) for key, value in whole.items())


def test_a_small_scale_keeps_the_digits_of_half_precision(tuned, tmp_path):
    """kohya writes half precision, often with an alpha of 1 and a rank of 128."""
    state = load_file(files.save_lora(tuned.unet, tmp_path, {}))
    small = {key: (value / 100).half() for key, value in state.items()}
    same = {key: value.float() for key, value in small.items()}
    words = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 0.03})}
    half = files.read_lora(saved(small, tmp_path / "half.safetensors", words), tuned.unet)
    single = files.read_lora(saved(same, tmp_path / "single.safetensors", words), tuned.unet)
    assert all(torch.equal(value.float(), single[key]) for key, value in half.items())


def test_kohya_s_convolutions_are_read_too(tuned, tmp_path):
    """Beside q, k, v and out, kohya's trainer adapts linear layers and 1 x 1 convolutions."""
    by_hand, state = load_pipeline(BASE, "cpu").unet, {}
    names = [name for name, _ in by_hand.named_modules()]
    convolutions = [name for name in names if name.endswith(("proj_in", "proj_out"))]
    assert convolutions
    with torch.no_grad():
        for name in convolutions:
            weight = by_hand.get_submodule(name).weight
            first = torch.randn(4, weight.shape[1], 1, 1) / 9
            second = torch.randn(weight.shape[0], 4, 1, 1) / 9
            flat = "lora_unet_" + name.replace(".", "_")
            state |= {
                f"{flat}.lora_down.weight": first,
                f"{flat}.lora_up.weight": second,
                f"{flat}.alpha": torch.tensor(2.0),
            }
            weight += (second[:, :, 0, 0] @ first[:, :, 0, 0] / 2)[:, :, None, None]
    file = saved(state, tmp_path / "kohya.safetensors")
    read = predicted(load_pipeline(BASE, "cpu", file).unet)
    plain = predicted(load_pipeline(BASE, "cpu").unet)
    assert torch.allclose(read, predicted(by_hand), atol=1e-5)
    assert not torch.allclose(read, plain, atol=1e-2)


def test_dimensions_of_one_at_the_end_make_no_other_matrix(tuned, tmp_path):
    """Some tools store a linear layer as a 1 x 1 convolution, or the other way round."""
    state = load_file(kohya_of(tuned, tmp_path))
    wide = {
        name: value if name.endswith("alpha") else value[:, :, None, None]
        for name, value in state.items()
    }
    linear = files.read_lora(saved(wide, tmp_path / "wide.safetensors"), tuned.unet)
    whole = files.read_lora(kohya_of(tuned, tmp_path), tuned.unet)
    assert all(torch.equal(linear[name], value) for name, value in whole.items())
    unet = load_pipeline(BASE, "cpu").unet
    names = [name for name, _ in unet.named_modules()]
    module = next(name for name in names if name.endswith("proj_in"))
    out, into, *kernel = unet.get_submodule(module).weight.shape
    assert kernel == [1, 1]
    flat = {
        f"unet.{module}.lora_A.weight": torch.ones(4, into),
        f"unet.{module}.lora_B.weight": torch.ones(out, 4),
    }
    read = files.read_lora(saved(flat, tmp_path / "flat.safetensors"), unet)
    assert [value.ndim for value in read.values()] == [4, 4]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_matrices_of_8_bits_are_read_as_the_same_numbers(tuned, tmp_path, dtype):
    state = load_file(kohya_of(tuned, tmp_path))
    small = {
        name: torch.tensor(2.0) if name.endswith("alpha") else value.to(dtype)
        for name, value in state.items()
    }
    as_single = {name: value.float() for name, value in small.items()}
    read = files.read_lora(saved(small, tmp_path / "small.safetensors"), tuned.unet)
    expected = files.read_lora(saved(as_single, tmp_path / "single.safetensors"), tuned.unet)
    assert all(torch.equal(read[name], value) for name, value in expected.items())


def test_the_files_say_what_they_are(tuned, tmp_path):
    words = {"base model": BASE, "negative prompt": "Weird image. ", "steps": 7}
    files.save_lora(tuned.unet, tmp_path, words)
    for file in (files.DIFFUSERS_FILE, files.kohya_file(tmp_path).name):
        about = files.read_about(tmp_path / file)
        assert about["base model"] == BASE
        assert about["negative prompt"] == "Weird image. "
        assert (about["rank"], about["alpha"], about["steps"]) == ("4", "4", "7")
    assert about["ss_network_dim"] == "4"
    assert about["ss_network_module"] == "networks.lora"
    assert about["ss_output_name"] == files.kohya_file(tmp_path).stem
    assert about["ss_max_train_steps"] == "7"
    assert "ss_base_model_version" not in about, "the miniature is no Stable Diffusion 1"
    torch.save({"a": torch.ones(1)}, tmp_path / "adapted_model.bin")
    assert files.read_about(tmp_path / "adapted_model.bin") == {}, "a torch file says nothing"
    (tmp_path / "page.safetensors").write_text("<html>moved</html>")
    with pytest.raises(Problem, match="page.safetensors cannot be read"):
        files.read_about(tmp_path / "page.safetensors")


def test_files_that_are_no_lora_of_this_model_say_so(tuned, tmp_path):
    unet = load_pipeline(BASE, "cpu").unet
    (tmp_path / "page.bin").write_text("<html>moved</html>")
    with pytest.raises(Problem, match="cannot be read as a LoRA"):
        files.read_lora(tmp_path / "page.bin", unet)
    with pytest.raises(Problem, match="docs/data.md"):
        files.read_lora(tmp_path / "absent.bin", unet)
    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "other.bin")
    with pytest.raises(Problem, match="1 of 1 layers do not fit"):
        files.read_lora(tmp_path / "other.bin", unet)
    state = old_format(tuned.unet)
    wide = {}
    for name, value in state.items():
        wide[name] = torch.cat([value, value], dim=1 if "down" in name else 0)
    torch.save(wide, tmp_path / "wide.bin")
    with pytest.raises(Problem, match="another base model"):
        files.read_lora(tmp_path / "wide.bin", unet)
    halved = {name: value for name, value in state.items() if "up" not in name}
    torch.save(halved, tmp_path / "halved.bin")
    with pytest.raises(Problem, match="do not fit"):
        files.read_lora(tmp_path / "halved.bin", unet)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02.",
        b"c\x8fv\xfd",
        b"<!DOCTYPE html>",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_foreign_bytes_never_end_in_a_traceback(tmp_path, content, suffix):
    (tmp_path / f"adapted_model.{suffix}").write_bytes(content)
    with pytest.raises(Problem, match="cannot be read as a LoRA"):
        files.read_lora(tmp_path / f"adapted_model.{suffix}", torch.nn.Module())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, value: value.flatten(), "do not fit"),
        (lambda name, value: value.sum(), "do not fit"),
        (lambda name, value: value[:0] if "down" in name else value[:, :0], "do not fit"),
        (lambda name, value: value * float("nan"), "not finite"),
    ],
    ids=["flat", "scalars", "rank 0", "not a number"],
)
def test_matrices_that_are_none_are_told(tuned, tmp_path, change, message):
    odd = {name: change(name, value) for name, value in old_format(tuned.unet).items()}
    torch.save(odd, tmp_path / "odd.bin")
    with pytest.raises(Problem, match=message):
        files.read_lora(tmp_path / "odd.bin", tuned.unet)


def test_names_that_are_numbers_are_told(tuned, tmp_path):
    torch.save({1: torch.zeros(2, 2)}, tmp_path / "optimizer.bin")
    with pytest.raises(Problem, match="no tensors by name"):
        files.read_lora(tmp_path / "optimizer.bin", tuned.unet)


def test_the_release_s_names_and_shapes_fit_stable_diffusion(tmp_path):
    """The released training script named tensors by the UNet's attention processors; rank 32."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
    state = {}
    for processor in unet.attn_processors:
        attention = unet.get_submodule(processor.removesuffix(".processor"))
        for layer, former in OLD.items():
            out, into = attention.get_submodule(layer).weight.shape
            state[f"{processor}.{former}.down.weight"] = torch.zeros(32, into, dtype=torch.float16)
            state[f"{processor}.{former}.up.weight"] = torch.zeros(out, 32, dtype=torch.float16)
    torch.save(state, tmp_path / "adapted_model.bin")
    read = files.read_lora(tmp_path / "adapted_model.bin", unet)
    assert len(read) == 2 * 4 * 32
    assert sum(value.numel() for value in read.values()) == 6_377_472
    of_texts = [name for name in state if "attn2" in name and "to_k_lora.down" in name]
    wide = dict.fromkeys(of_texts, torch.zeros(32, 2048))
    torch.save(state | wide, tmp_path / "xl.bin")
    with pytest.raises(Problem, match="another base model"):
        files.read_lora(tmp_path / "xl.bin", unet)


def test_stable_diffusion_1_is_named_in_kohya_s_metadata(tmp_path):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        lora.add_lora(unet, 4, seed=0)
    for name, module in unet.named_modules():
        if name.endswith(("lora_A", "lora_B")):
            module.to_empty(device="cpu")  # the adapter alone gets memory
    files.save_lora(unet, tmp_path, {})
    about = files.read_about(files.kohya_file(tmp_path))
    assert (about["ss_base_model_version"], about["ss_v2"]) == ("sd_v1", "False")


@pytest.mark.parametrize(("rank", "expected"), [(4, 797_184), (32, 6_377_472)])
def test_stable_diffusion_takes_the_lora(rank, expected):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        layers = [module for name, module in unet.named_modules() if name.endswith(lora.ATTENTION)]
        assert (
            lora.add_lora(unet, rank, seed=0)
            == expected
            == rank * sum(sum(layer.weight.shape) for layer in layers)
        )


CROSS = "transformer_blocks_0_attn2_to_k"


def kohya_state(
    width, modules=("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",)
):
    return {
        f"{module}.{kind}": value
        for module in modules
        for kind, value in (
            ("lora_down.weight", torch.ones(4, width)),
            ("lora_up.weight", torch.ones(320, 4)),
            ("alpha", torch.tensor(4.0)),
        )
    }


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"unet:0:up": torch.ones(4, 4), "unet:0:down": torch.ones(4, 4)},
            "e.g. unet:0:(up|down).*cloneofsimo",
        ),
        (kohya_state(1024), "Stable Diffusion 2.x .text width 1024"),
        (kohya_state(2048), "SDXL"),
        (kohya_state(4, ["lora_unet_input_blocks_4_1_proj_in"]), "SDXL"),
        (kohya_state(4, ["lora_unet_output_blocks_4_1_proj_in"]), "SDXL"),
        (kohya_state(768, [f"lora_unet_input_blocks_4_1_{CROSS}"]), "for Stable Diffusion 1.x"),
        (
            kohya_state(768, ["diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k"]),
            "for Stable Diffusion 1.x .*original code's names",
        ),
        (kohya_state(2048, [f"lora_unet_input_blocks_4_1_{CROSS}"]), "SDXL"),
        (kohya_state(4, ["lora_te2_text_model_encoder_layers_0_mlp_fc1"]), "SDXL"),
        (kohya_state(4, ["lora_te_text_model_encoder_layers_0_mlp_fc1"]), "text encoder"),
        (kohya_state(4, ["lora_unet_double_blocks_0_img_attn_proj"]), "Flux"),
        ({"lora_unet_mid.hada_w1_a": torch.ones(2, 2)}, "LoHa"),
        (
            {
                "model.diffusion_model.out.weight": torch.ones(2),
                "first_stage_model.x": torch.ones(2),
            },
            "whole checkpoint",
        ),
        ({"conv.weight": torch.ones(2, 2)}, "no LoRA: no tensor's name"),
    ],
)
def test_a_lora_of_another_kind_is_named(tuned, tmp_path, state, words):
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(Problem, match=f"(?s)no LoRA of this model.*{words}"):
        files.read_lora(tmp_path / "x.safetensors", tuned.unet)


def test_a_lora_that_changes_nothing_is_told(tuned, tmp_path):
    torch.save(
        {name: value * ("up" not in name) for name, value in old_format(tuned.unet).items()},
        tmp_path / "zero.bin",
    )
    with pytest.raises(Problem, match="(?s)changes nothing.*all zero"):
        files.load_lora(load_pipeline(BASE, "cpu"), tmp_path / "zero.bin")


def peft_folder(folder, **options):
    torch.manual_seed(0)
    config = LoraConfig(**dict(r=4, lora_alpha=8, target_modules=["to_q", "to_k"]) | options)
    tuned = get_peft_model(load_pipeline(BASE, "cpu").unet, config)
    for name, value in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    tuned.save_pretrained(folder)
    return tuned


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"alpha_pattern": {"attn2.to_k": 2}},
        {"rank_pattern": {"attn1.to_q": 2}},
        {"rank_pattern": {"^.*attn1.to_q": 8}, "alpha_pattern": {"to_k": 1}, "use_rslora": True},
    ],
)
def test_peft_s_folder_means_what_peft_takes_it_for(tmp_path, options):
    expected = predicted(peft_folder(tmp_path, **options).merge_and_unload())
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        pipeline = load_pipeline(BASE, "cpu")
        files.load_lora(pipeline, path)
        assert torch.allclose(predicted(pipeline.unet), expected, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"lora_alpha": None},
        {"lora_alpha": "x"},
        {"lora_alpha": [1]},
        {"lora_alpha": 0},
        {"lora_alpha": 1e300},
        {"lora_alpha": float("nan")},
        {"lora_alpha": True},
        {"r": 5},
        {"alpha_pattern": 5},
        {"alpha_pattern": {"[": 4}},
        {"alpha_pattern": {"(a+)+": 4}},
        {"alpha_pattern": {"to_q": None}},
        {"rank_pattern": [1]},
        {"peft_type": "LOHA"},
        {"use_dora": True},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_told(tuned, tmp_path, change):
    files.save_lora(tuned.unet, tmp_path, {})
    state = load_file(tmp_path / files.DIFFUSERS_FILE)
    words = {"lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in change.items()})}
    save_file(state, tmp_path / "meta.safetensors", words)
    peft_folder(tmp_path / "peft")
    config = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    (tmp_path / "peft/adapter_config.json").write_text(json.dumps(config | change))
    for path in (tmp_path / "meta.safetensors", tmp_path / "peft/adapter_model.safetensors"):
        with pytest.raises(Problem, match="cannot be read as a LoRA"):
            files.read_lora(path, tuned.unet)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"init_lora_weights": "pissa"}, "also changes the base weights"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "OLoRA"}, "also changes the base weights"),
        ({"init_lora_weights": "corda"}, "also changes the base weights"),
        ({"init_lora_weights": "loftq"}, "also changes the base weights"),
        ({"init_lora_weights": "lora_ga"}, "also changes the base weights"),
        ({"init_lora_weights": ["x"]}, "also changes the base weights"),
        ({"kasa_config": {"beta": 1}}, "a KaSA"),
        ({"use_dora": True}, "cause: +a DoRA"),
        ({"peft_type": "OFT", "r": 0}, "cause: +an adapter that is no LoRA"),
        ({"peft_type": "LOHA"}, "cause: +an adapter that is no LoRA"),
    ],
    ids=str,
)
def test_an_adapter_that_does_more_than_add_to_the_base_weights_is_refused(
    tuned, tmp_path, change, words
):
    """If it failed, a PiSSA would be added to base weights that still hold its part."""
    peft_folder(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(Problem, match=f"(?s)cannot be read as a LoRA.*{words}"):
        files.read_lora(tmp_path / "adapter_model.safetensors", tuned.unet)


@pytest.mark.parametrize("start", [False, None, "gaussian", "eva", "orthogonal", "mica"])
def test_a_start_that_leaves_the_base_weights_as_they_are_is_read(tuned, tmp_path, start):
    peft_folder(tmp_path)
    usual = files.read_lora(tmp_path / "adapter_model.safetensors", tuned.unet)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"init_lora_weights": start}))
    other = files.read_lora(tmp_path / "adapter_model.safetensors", tuned.unet)
    assert all(torch.equal(other[name], value) for name, value in usual.items())


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "5", "{", "", "null", '"x"'])
def test_metadata_that_is_no_configuration_is_told(tuned, tmp_path, text):
    state = load_file(files.save_lora(tuned.unet, tmp_path, {}))
    save_file(state, tmp_path / "meta.safetensors", {"lora_adapter_metadata": text})
    with pytest.raises(Problem):
        files.read_lora(tmp_path / "meta.safetensors", tuned.unet)


def test_a_peft_file_without_its_configuration_is_told(tuned, tmp_path):
    peft_folder(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(Problem, match="no adapter_config.json beside"):
        files.load_lora(tuned, tmp_path)


def test_a_renamed_peft_file_is_told_that_a_configuration_may_be_another_file_s(tuned, tmp_path):
    peft_folder(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "style.safetensors")
    with pytest.raises(Problem, match="(?s)may be of another file.*renamed"):
        files.load_lora(tuned, tmp_path / "style.safetensors")
