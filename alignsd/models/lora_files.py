"""LoRA files: ours in the layouts of diffusers and of kohya (AUTOMATIC1111, ComfyUI), and other people's.

Other people's files are in those two layouts, in the layout that PEFT's ``save_pretrained`` writes, or in
that of the paper's release. The release's ``adapted_model.bin`` was saved from attention processors that
diffusers no longer has. What every layout says is the same, so all are read into one: peft's names, with
the scale multiplied into the second matrix.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft.utils import get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from alignsd import __version__
from alignsd.base.errors import Problem
from alignsd.base.reading import parse_json, read_json
from alignsd.models.weights import (
    instead_of_file,
    is_file,
    read_metadata,
    read_tensors,
    short,
    write_tensors,
)

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
PEFT_CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"  # (rank, in) and (out, rank)
KOHYA = {".lora_down.weight": FIRST, ".lora_up.weight": SECOND, ".alpha": ".alpha"}
ABOUT_TO_KOHYA = {"base model": "ss_sd_model_name", "steps": "ss_max_train_steps", "seed": "ss_seed"}
# Width of the text embeddings that a UNet's cross-attention takes -> which model has it.
TEXT_WIDTHS = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    2048: "Stable Diffusion XL (SDXL)",
    1280: "the refiner of Stable Diffusion XL",
}
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
    "lora_te2_": "a LoRA for Stable Diffusion XL (SDXL), with layers of its two text encoders",
    "lora_unet_input_blocks_": "a LoRA for Stable Diffusion XL (SDXL)",
    "text_encoder_2.": "a LoRA for Stable Diffusion XL (SDXL), with layers of its two text encoders",
    "transformer_blocks.0.attn.to_q.": "a LoRA for a diffusion transformer, such as Flux or SD 3",
    "model.diffusion_model.": "a whole checkpoint of Stable Diffusion",
    "first_stage_model.": "a whole checkpoint of Stable Diffusion",
    "string_to_param": "a textual inversion",
    "emb_params": "a textual inversion",
}
TEXT_ENCODER = ("lora_te_", "lora_te1_", "text_encoder.", "text_model.")
SAFE_PATTERN = re.compile(r"[\w.\\^$*|-]{1,200}")  # no brackets: a pattern cannot take for ever to match
MOST_STARS = 3


def save_lora(unet: nn.Module, folder: Path, about: Mapping[str, object]) -> Path:
    """Write a UNet's LoRA in both layouts; return the diffusers file, which ``load_lora_weights`` reads.

    Equal matrices and equal words about them give equal bytes.

    Args:
        unet: with the adapter of ``lora.add_lora``, whose alpha is its rank.
        folder: where to write ``pytorch_lora_weights.safetensors`` and ``kohya_file(folder)``.
        about: written into both files' metadata: base model, identifier and so on.
    """
    own = get_peft_model_state_dict(unet)
    state = {f"unet.{name}": value.detach().cpu().contiguous() for name, value in own.items()}
    rank = str(next(value.shape[0] for name, value in state.items() if name.endswith(FIRST)))
    words = {name: str(value) for name, value in about.items()}
    words |= {"format": "pt", "rank": rank, "alpha": rank, "kit version": __version__}
    kohya = words | {
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_output_name": kohya_file(folder).stem,
    }
    kohya |= {ABOUT_TO_KOHYA[name]: words[name] for name in ABOUT_TO_KOHYA.keys() & words.keys()}
    widths = (unet.config.cross_attention_dim, *unet.config.block_out_channels)
    if widths == (768, 320, 640, 1280, 1280):
        kohya |= {"ss_base_model_version": "sd_v1", "ss_v2": "False"}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / DIFFUSERS_FILE, convert_state_dict_to_diffusers(state), words)
    write_tensors(kohya_file(folder), convert_state_dict_to_kohya(state), kohya)
    return folder / DIFFUSERS_FILE


def kohya_file(folder: Path) -> Path:
    """Return where ``save_lora`` puts kohya's layout.

    The file is named after the folder, since web UIs gather LoRAs in one folder.
    """
    return folder / f"{folder.resolve().name}_kohya.safetensors"


def read_about(path: Path) -> dict[str, str]:
    """Return what a LoRA says about itself: a safetensors file's metadata; a torch file has none.

    Raises:
        Problem: if the file cannot be read.
    """
    return read_metadata(path, "a LoRA") if path.suffix == ".safetensors" else {}


def load_lora(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Put a LoRA of any known layout on a pipeline's UNet.

    Args:
        pipeline: of the model that the LoRA was trained on.
        path: the file, or a folder with ``pytorch_lora_weights.safetensors`` or what PEFT's
            ``save_pretrained`` wrote.

    Raises:
        Problem: if there is no such file, it cannot be read, it is no LoRA of this UNet, or it changes
            nothing.
    """
    file = _file_of(path)
    state = read_lora(file, pipeline.unet)
    seconds = [value for name, value in state.items() if name.endswith(SECOND)]
    if not any(value.any() for value in seconds):
        raise Problem(
            f"The LoRA {short(file.name)} changes nothing.",
            expected="second matrices (up, lora_B) with numbers other than 0",
            found=f"all {len(seconds)} second matrices are all zero",
            cause="the file was saved before the first training step, or with learning_rate 0",
            fix="train the LoRA again, or give the file of a later step",
        )
    # Not pipeline.load_lora_weights, which warns of the text encoder's layers that none of these files has.
    pipeline.unet.load_lora_adapter(state, prefix="unet")


def _file_of(path: Path) -> Path:
    """Return the file that holds a LoRA: the path itself, or the file in a folder."""
    try:
        if not path.is_dir():
            return path
    except (OSError, ValueError):  # a name that no file can have: told where the file is read
        return path
    names = (DIFFUSERS_FILE, *PEFT_FILES)
    return next((path / name for name in names if is_file(path / name)), path / DIFFUSERS_FILE)


def read_lora(path: Path, unet: nn.Module) -> dict[str, Tensor]:
    """Read a LoRA: diffusers' or PEFT's layout, kohya's, or that of diffusers' former processors.

    Args:
        path: safetensors, or a torch file of tensors. Beside the file of PEFT's ``save_pretrained``
            must lie its ``adapter_config.json``, which holds alpha.
        unet: that it is for; kohya's names can only be told apart by its modules.

    Returns:
        ``unet.<module>.lora_A.weight`` ``(rank, in)`` and ``.lora_B.weight`` ``(out, rank)``; the change of
        the module's weight is B A.

    Raises:
        Problem: as ``load_lora``.
    """
    state = _tensors(path)
    config = _adapter_config(path, state)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in _peft_names(state, unet).items():
        module, _, kind = name.partition(".lora_") if ".lora_" in name else name.rpartition(".")
        layers.setdefault(module, {})[kind] = value
    strange = [module for module, parts in layers.items() if not _fits(parts, unet, module)]
    if strange:
        raise _no_lora_of(path, state, layers, strange, unet)
    read = {}
    for module, parts in layers.items():
        first, second = parts["A.weight"], parts["B.weight"]
        scale = _scale(parts, config, module, path)
        scaled = second * scale if scale != 1 else second
        if not scaled.isfinite().all():
            raise _bad_scale(path, f"{short(repr(scale))} x the second matrix of {module} is not finite")
        read[f"unet.{module}{FIRST}"] = first
        read[f"unet.{module}{SECOND}"] = scaled
    return read


def _tensors(path: Path) -> dict[str, Tensor]:
    name = short(path.name)
    if not is_file(path):
        raise Problem(
            f"There is no LoRA {name}.",
            expected=f"a file in {short(path.parent.name)}",
            found=instead_of_file(path),
            cause="the fine-tuning has not finished, or a wrong path",
            fix="alignsd run --run NAME 05; docs/data.md says where the paper's is",
        )
    return read_tensors(path, "a LoRA", f"get {name} again")


def _adapter_config(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return peft's configuration of the UNet's LoRA; empty if there is none.

    PEFT's ``save_pretrained`` puts the configuration beside the file, diffusers' training scripts put it
    into the file's metadata.
    """
    beside = path.parent / PEFT_CONFIG
    if path.name in PEFT_FILES and is_file(beside):
        config = read_json(beside)
        place = PEFT_CONFIG
    elif any(name.startswith(PEFT_PREFIX) for name in state):
        raise _bad_config(path, f"no {PEFT_CONFIG} beside {short(path.name)}")
    else:
        text = read_about(path).get(LORA_ADAPTER_METADATA_KEY, "{}")
        place = f"{LORA_ADAPTER_METADATA_KEY} in the metadata"
        whole = parse_json(text, f"{place} of {short(path.name)}")
        if not isinstance(whole, dict):
            raise _bad_config(path, f"{place}: no dictionary")
        config = {n.removeprefix("unet."): v for n, v in whole.items() if n.startswith("unet.")}
    fault = _fault_of_config(config)
    if fault:
        raise _bad_config(path, f"{place}: {fault}")
    return config


def _fault_of_config(config: Any) -> str | None:
    """Return what is wrong with peft's configuration, or None."""
    if not isinstance(config, dict):
        return "no dictionary"
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        return f"an adapter of the type {short(repr(kind), 40)}, which is no LoRA"
    if config.get("use_dora"):
        return "a DoRA, which also changes the length of the weights"
    numbers = {name: config[name] for name in ("r", "lora_alpha") if name in config}
    for name in ("alpha_pattern", "rank_pattern"):
        pattern = config.get(name) or {}
        if not isinstance(pattern, dict):
            return f"{name} is {short(repr(pattern), 40)}, no dictionary"
        if not all(SAFE_PATTERN.fullmatch(key) and key.count("*") <= MOST_STARS for key in pattern):
            return f"{name} has a name that is none of a layer"
        if not all(_compiles(key) for key in pattern):
            return f"{name} has a pattern that cannot be read"
        numbers |= {f"{name} of {key}": value for key, value in pattern.items()}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            return f"{short(name)} is {short(repr(value), 40)}, no number above 0"
    return None


def _compiles(pattern: str) -> bool:
    try:
        re.compile(f"({pattern})")
    except re.error:
        return False
    return True


def _bad_config(path: Path, found: str) -> Problem:
    return Problem(
        f"{short(path.name)} cannot be read as a LoRA.",
        expected="peft's configuration, whose lora_alpha says how strong the LoRA is",
        found=found,
        cause="a file that was copied without its folder, or an edit by hand",
        fix=f"get {short(path.name)} again, together with {PEFT_CONFIG} if PEFT wrote it",
    )


def _bad_scale(path: Path, found: str) -> Problem:
    return Problem(
        f"{short(path.name)} holds numbers that no LoRA can have.",
        expected="finite matrices and an alpha above 0",
        found=found,
        cause="a training that diverged, or a damaged file",
        fix=f"get {short(path.name)} again",
    )


def _scale(parts: Mapping[str, Tensor], config: Mapping[str, Any], module: str, path: Path) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) for a rank-stabilized LoRA.

    kohya keeps alpha beside each layer, diffusers in the metadata, PEFT in a file of its own; where none
    does, alpha is the rank.
    """
    rank = len(parts["A.weight"])
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    said = ranks.get(get_pattern_key(ranks, module), config.get("r", rank))
    if said != rank:
        raise _bad_config(path, f"rank {said} in the configuration, rank {rank} of the matrices of {module}")
    alpha = alphas.get(get_pattern_key(alphas, module), config.get("lora_alpha", rank))
    scale = float(parts.get("alpha", alpha)) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if not (math.isfinite(scale) and scale > 0):
        raise _bad_scale(path, f"scale {scale:g} of {module}")
    return scale


def _peft_names(state: Mapping[str, Tensor], unet: nn.Module) -> dict[str, Tensor]:
    if any(name.startswith("lora_") for name in state):
        modules = {"lora_unet_" + name.replace(".", "_"): name for name, _ in unet.named_modules()}
        named = {}
        for name, value in state.items():
            flat, dot, kind = name.partition(".")
            named[modules.get(flat, flat) + KOHYA.get(dot + kind, dot + kind)] = value
        return named
    plain = {_plain_name(name): value for name, value in state.items()}
    return convert_unet_state_dict_to_peft(plain)


def _plain_name(name: str) -> str:
    """Return a tensor's name without what PEFT and diffusers put around the module's name."""
    name = name.removeprefix("unet.").removeprefix(PEFT_PREFIX).removeprefix("unet.")
    name = re.sub(r"\.lora_([AB])\.\w+\.weight$", r".lora_\1.weight", name)  # the adapter's own name
    return name.replace(".processor.", ".")


def _fits(parts: Mapping[str, Tensor], unet: nn.Module, module: str) -> bool:
    """Return whether a layer's tensors are a low-rank change of the UNet's module of that name."""
    names = {"A.weight", "B.weight"}
    if not names <= parts.keys() <= names | {"alpha"}:
        return False
    if "alpha" in parts and parts["alpha"].numel() != 1:
        return False
    try:
        shape = unet.get_submodule(module).weight.shape
    except AttributeError:
        return False
    first, second = parts["A.weight"], parts["B.weight"]
    # Of a convolution (rank, in, h, w) and (out, rank, 1, 1).
    if not first.ndim == second.ndim == len(shape) > 1 or not len(first):
        return False
    if not (first.is_floating_point() and second.is_floating_point()):
        return False
    expected = (shape[0], len(first), *[1] * (len(shape) - 2))
    return first.shape[1:] == shape[1:] and tuple(second.shape) == expected


def _no_lora_of(
    path: Path,
    state: Mapping[str, Tensor],
    layers: Mapping[str, Mapping[str, Tensor]],
    strange: list[str],
    unet: nn.Module,
) -> Problem:
    """Say why a file is no LoRA of this UNet.

    Args:
        path: the file.
        state: its tensors by their own names.
        layers: the same by the names of modules.
        strange: modules of ``layers`` that do not fit.
        unet: the UNet.
    """
    example = short(strange[0] or next(iter(state)))
    found = f"{len(strange)} of {len(layers)} layers do not fit, e.g. {example}"
    cause, fix = _cause_of_misfit(state, layers, strange, unet)
    return Problem(
        f"{short(path.name)} is no LoRA of this model.",
        expected="pairs of low-rank matrices for the UNet's layers",
        found=found,
        cause=cause,
        fix=fix,
    )


def _cause_of_misfit(
    state: Mapping[str, Tensor],
    layers: Mapping[str, Mapping[str, Tensor]],
    strange: list[str],
    unet: nn.Module,
) -> tuple[str, str]:
    """Return cause and fix of a file that is no LoRA of a UNet."""
    other = "give a LoRA of the base model that the parameter stable_diffusion names"
    numbered = [name for name in state if re.fullmatch(r"\w+:\d+(:\w+)*", name)]
    if numbered:
        return (
            f"the layout of cloneofsimo/lora, which numbers its layers ({short(numbered[0], 30)})",
            "convert the file to the layout of diffusers or kohya with the tool that wrote it",
        )
    layout = next((kind for sign, kind in OTHER_LAYOUTS.items() if any(sign in n for n in state)), None)
    if layout is not None:
        return f"the file is {layout}", other
    width = _text_width(layers)
    own = getattr(getattr(unet, "config", None), "cross_attention_dim", None)
    if width is not None and own is not None and width != own:
        model = TEXT_WIDTHS.get(width, "another base model")
        mine = TEXT_WIDTHS.get(own, "this model")
        return f"it is for another base model: {model} (text width {width}; {mine} has {own})", other
    text = [name for name in state if name.startswith(TEXT_ENCODER) or ".text_model." in name]
    if text:
        return (
            f"{len(text)} of its {len(state)} tensors are of a text encoder, which this kit leaves as it is",
            "train for the UNet alone (kohya: --network_train_unet_only), or take a LoRA of the UNet alone",
        )
    if not any("lora" in name for name in state):
        return "it is no LoRA: no tensor's name speaks of one", other
    if len(strange) < len(layers):
        return "it also changes layers that this model does not have, or a matrix of a pair is missing", other
    return "it is for another base model, or a matrix of each pair is missing", other


def _text_width(layers: Mapping[str, Mapping[str, Tensor]]) -> int | None:
    """Return the width of the text embeddings that a LoRA was made for, or None if no layer tells."""
    for module, parts in layers.items():
        crossing = re.search(r"attn2[._](processor[._])?to_[kv]", module)
        first = parts.get("A.weight", parts.get("lora_down.weight"))
        if crossing and first is not None and first.ndim >= 2:
            return first.shape[1]
    return None
