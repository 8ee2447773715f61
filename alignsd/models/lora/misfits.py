"""Say why a file is no LoRA of a UNet."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.models.files.wording import short

Layers = Mapping[str, Mapping[str, Tensor]]  # module -> tensors by kind

# Width of the text embeddings that a UNet's cross-attention takes -> model of this width.
TEXT_WIDTHS = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    2048: "Stable Diffusion XL (SDXL)",
    1280: "the refiner of Stable Diffusion XL",
}
OF_SDXL = "a LoRA for Stable Diffusion XL (SDXL)"
# Part of a tensor's name -> what the file is in place of a LoRA that this kit reads.
OTHER_LAYOUTS = {
    "hada_": "a LoHa of LyCORIS, which multiplies its matrices in another way",
    "lokr_": "a LoKr of LyCORIS, which multiplies its matrices in another way",
    "oft_": "an OFT adapter, which turns weights and adds nothing to them",
    "dora_scale": "a DoRA, which also changes the length of the weights",
    "lora_magnitude_vector": "a DoRA, which also changes the length of the weights",
    "lora_mid": "a LoCon with a third matrix (Tucker decomposition)",
    "lora_unet_double_blocks": "a LoRA for Flux",
    "double_blocks.": "a LoRA for Flux",
    "lora_te2_": f"{OF_SDXL}, with layers of its two text encoders",
    "lora_unet_input_blocks_": OF_SDXL,
    "lora_unet_middle_block_": OF_SDXL,
    "lora_unet_output_blocks_": OF_SDXL,
    "text_encoder_2.": f"{OF_SDXL}, with layers of its two text encoders",
    "transformer_blocks.0.attn.to_q.": "a LoRA for a diffusion transformer, such as Flux or SD 3",
    "model.diffusion_model.": "a whole checkpoint of Stable Diffusion",
    "first_stage_model.": "a whole checkpoint of Stable Diffusion",
    "string_to_param": "a textual inversion",
    "emb_params": "a textual inversion",
}
# How the original code names the blocks of a UNet: kohya's files for SDXL, ComfyUI's own files.
BLOCKS = ("input_blocks", "middle_block", "output_blocks")
ORIGINAL = (
    *(f"lora_unet_{name}_" for name in BLOCKS),
    *(f"diffusion_model.{name}." for name in BLOCKS),
)
TEXT_ENCODER = ("lora_te_", "lora_te1_", "text_encoder.", "text_model.")
# The fix of last resort.
OTHER_LORA = "give a LoRA of the base model that the parameter stable_diffusion names"


def no_lora_of(
    path: Path,
    state: Mapping[str, Tensor],
    layers: Layers,
    strange: Sequence[str],
    unet: nn.Module,
) -> Problem:
    """Return the problem that says why a file is no LoRA of this UNet.

    Args:
        path: the file.
        state: the file's tensors by the file's names.
        layers: the same tensors by module.
        strange: modules of ``layers`` that do not fit.
        unet: the UNet.
    """
    example = short(strange[0] or next(iter(state)))
    cause, fix = _cause_and_fix(state, layers, strange, unet)
    return Problem(
        f"{short(path.name)} is no LoRA of this model.",
        expected="pairs of low-rank matrices for the UNet's layers",
        found=f"{len(strange)} of {len(layers)} layers do not fit, e.g. {example}",
        cause=cause,
        fix=fix,
    )


def _cause_and_fix(
    state: Mapping[str, Tensor],
    layers: Layers,
    strange: Sequence[str],
    unet: nn.Module,
) -> tuple[str, str]:
    numbered = [name for name in state if re.fullmatch(r"\w+:\d+(:\w+)*", name)]
    if numbered:
        example = short(numbered[0], 30)
        return (
            f"the layout of cloneofsimo/lora, which numbers its layers ({example})",
            "convert the file to the layout of diffusers or kohya with the tool that wrote it",
        )
    width = _text_width(layers)
    if any(name.startswith(ORIGINAL) for name in state) and width in (768, 1024, 1280):
        return (
            f"it is for {TEXT_WIDTHS[width]} (text width {width}), with the original code's names "
            "of the layers (input_blocks in place of down_blocks)",
            "give the LoRA with the names of diffusers or kohya, or convert it with the tool "
            "that wrote it",
        )
    layout = _other_layout(state)
    if layout is not None:
        return f"the file is {layout}", OTHER_LORA
    model = _other_base_model(layers, unet)
    if model is not None:
        return f"it is for another base model: {model}", OTHER_LORA
    text = [name for name in state if name.startswith(TEXT_ENCODER) or ".text_model." in name]
    if text:
        return (
            f"{len(text)} of its {len(state)} tensors are of a text encoder, "
            "which this kit leaves as it is",
            "train for the UNet alone (kohya: --network_train_unet_only), "
            "or take a LoRA of the UNet alone",
        )
    if not any("lora" in name for name in state):
        return "it is no LoRA: no tensor's name speaks of one", OTHER_LORA
    if len(strange) < len(layers):
        return (
            "it also changes layers that this model does not have, "
            "or a matrix of a pair is missing",
            OTHER_LORA,
        )
    return "it is for another base model, or a matrix of each pair is missing", OTHER_LORA


def _other_layout(state: Mapping[str, Tensor]) -> str | None:
    """Return what a file is in place of a LoRA that this kit reads, or None if no name tells."""
    for sign, kind in OTHER_LAYOUTS.items():
        if any(sign in name for name in state):
            return kind
    return None


def _other_base_model(layers: Layers, unet: nn.Module) -> str | None:
    """Return the other base model that a LoRA was made for, or None if no layer tells."""
    width = _text_width(layers)
    own = getattr(getattr(unet, "config", None), "cross_attention_dim", None)
    if width is None or own is None or width == own:
        return None
    model = TEXT_WIDTHS.get(width, "another base model")
    mine = TEXT_WIDTHS.get(own, "this model")
    return f"{model} (text width {width}; {mine} has {own})"


def _text_width(layers: Layers) -> int | None:
    """Return the width of the text embeddings that a LoRA takes, or None if no layer tells."""
    for module, layer in layers.items():
        is_crossing = re.search(r"attn2[._](processor[._])?to_[kv]", module)
        kinds = ("A.weight", "lora_down.weight", "down.weight")
        first = next((layer[kind] for kind in kinds if kind in layer), None)
        if is_crossing and first is not None and first.ndim >= 2:
            return first.shape[1]
    return None
