"""LoRA files: ours in the layouts of diffusers and of kohya (AUTOMATIC1111, ComfyUI), and those of the paper's release.

The release's ``adapted_model.bin`` was saved from attention processors that diffusers no longer has. What every layout says is
the same, so all are read into one: peft's names, with the scale multiplied into the second matrix.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft.utils import get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alignsd import __version__
from alignsd.atomic import replacing
from alignsd.errors import Problem

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"  # (rank, in) and (out, rank)
KOHYA = {".lora_down.weight": FIRST, ".lora_up.weight": SECOND, ".alpha": ".alpha"}
ABOUT_TO_KOHYA = {"base model": "ss_sd_model_name", "steps": "ss_max_train_steps", "seed": "ss_seed"}


def save_lora(unet: nn.Module, folder: Path, about: Mapping[str, object]) -> Path:
    """Writes a UNet's LoRA in both layouts and returns the diffusers file, which ``pipeline.load_lora_weights`` reads.

    Args:
        unet: with the adapter of ``lora.add_lora``, whose alpha is its rank.
        folder: where to write ``pytorch_lora_weights.safetensors`` and ``kohya_file(folder)``.
        about: written into both files' metadata: base model, identifier and so on.
    """
    state = {f"unet.{name}": value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    rank = str(next(value.shape[0] for name, value in state.items() if name.endswith(FIRST)))
    words = {name: str(value) for name, value in about.items()} | {"format": "pt", "rank": rank, "alpha": rank, "kit version": __version__}
    kohya = words | {"ss_network_module": "networks.lora", "ss_network_dim": rank, "ss_network_alpha": rank,
                     "ss_output_name": kohya_file(folder).stem}
    kohya |= {ABOUT_TO_KOHYA[name]: words[name] for name in ABOUT_TO_KOHYA.keys() & words.keys()}
    if (unet.config.cross_attention_dim, *unet.config.block_out_channels) == (768, 320, 640, 1280, 1280):
        kohya |= {"ss_base_model_version": "sd_v1", "ss_v2": "False"}
    folder.mkdir(parents=True, exist_ok=True)
    for file, tensors, metadata in ((folder / DIFFUSERS_FILE, convert_state_dict_to_diffusers(state), words),
                                    (kohya_file(folder), convert_state_dict_to_kohya(state), kohya)):
        with replacing(file) as part:
            save_file(tensors, part, metadata)
    return folder / DIFFUSERS_FILE


def kohya_file(folder: Path) -> Path:
    """Returns where ``save_lora`` puts kohya's layout: named after the folder, since web UIs gather LoRAs in one folder."""
    return folder / f"{folder.resolve().name}_kohya.safetensors"


def read_about(path: Path) -> dict[str, str]:
    """Returns what a LoRA says about itself: a safetensors file's metadata; a torch file has none.

    Raises:
        Problem: if the file cannot be read.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def load_lora(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Puts a LoRA of any known layout on a pipeline's UNet.

    Args:
        pipeline: of the model that the LoRA was trained on.
        path: the file, or a folder with ``pytorch_lora_weights.safetensors``.

    Raises:
        Problem: if there is no such file, it cannot be read, or it is no LoRA of this UNet.
    """
    file = path / DIFFUSERS_FILE if path.is_dir() else path
    # Not pipeline.load_lora_weights, which warns of the text encoder's layers that none of these files has.
    pipeline.unet.load_lora_adapter(read_lora(file, pipeline.unet), prefix="unet")


def read_lora(path: Path, unet: nn.Module) -> dict[str, Tensor]:
    """Reads a LoRA: diffusers' or peft's layout, kohya's, or that of diffusers' former attention processors.

    Args:
        path: safetensors, or a torch file of tensors.
        unet: that it is for; kohya's names can only be told apart by its modules.

    Returns:
        ``unet.<module>.lora_A.weight`` ``(rank, in)`` and ``.lora_B.weight`` ``(out, rank)``; the change of the module's
        weight is B A.

    Raises:
        Problem: as ``load_lora``.
    """
    state, config = _tensors(path), _adapter_config(path)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in _peft_names(state, unet).items():
        module, _, kind = name.partition(".lora_") if ".lora_" in name else name.rpartition(".")
        layers.setdefault(module, {})[kind] = value
    if strange := [module for module, parts in layers.items() if not _fits(parts, unet, module)]:
        raise Problem(f"{path.name} is no LoRA of this model.", expected="pairs of low-rank matrices for the UNet's layers",
                      found=f"{len(strange)} of {len(layers)} layers do not fit, e.g. {strange[0]}",
                      cause="it is for another base model, or has a text encoder's layers too, or is no LoRA",
                      fix="give a LoRA of the base model that the parameter stable_diffusion names")
    read = {}
    for module, parts in layers.items():
        first, second, scale = parts["A.weight"], parts["B.weight"], _scale(parts, config, module)
        if not (first.isfinite().all() and second.isfinite().all() and math.isfinite(scale) and scale > 0):
            raise Problem(f"{path.name} holds numbers that no LoRA can have.", expected="finite matrices and an alpha above 0",
                          found=f"scale {scale:g}, {int((~first.isfinite()).sum() + (~second.isfinite()).sum())} numbers not finite "
                                f"in {module}", cause="a training that diverged, or a damaged file", fix=f"get {path.name} again")
        read[f"unet.{module}{FIRST}"] = first
        read[f"unet.{module}{SECOND}"] = second * scale if scale != 1 else second
    return read


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise Problem(f"There is no LoRA {path.name}.", expected=f"a file in {path.parent.name}", found="no such file",
                      cause="the fine-tuning has not finished, or a wrong path",
                      fix="alignsd run --run <run> 05; docs/data.md says where the paper's is")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make torch's reader fail in many ways: IndexError, KeyError, UnicodeDecodeError...
        raise _unreadable(path, error) from error
    if not (isinstance(state, dict) and state and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())):
        raise _unreadable(path, "no tensors by name")
    return state


def _unreadable(path: Path, reason: object) -> Problem:
    return Problem(f"{path.name} cannot be read as a LoRA.", expected="tensors by name",
                   found=" ".join(str(reason).split())[:120] or type(reason).__name__,
                   cause="an unfinished download, or a web page saved under this name", fix=f"get {path.name} again")


def _adapter_config(path: Path) -> dict[str, Any]:
    """Returns the UNet's part of peft's configuration, which diffusers' training scripts put into the file's metadata."""
    try:
        config = json.loads(read_about(path).get(LORA_ADAPTER_METADATA_KEY, "{}"))
        return {name.removeprefix("unet."): value for name, value in config.items() if name.startswith("unet.")}
    except (ValueError, AttributeError) as error:
        raise _unreadable(path, f"{LORA_ADAPTER_METADATA_KEY} in the metadata: {error}") from error


def _scale(parts: dict[str, Tensor], config: Mapping[str, Any], module: str) -> float:
    """Returns alpha / rank: kohya keeps alpha beside each layer, diffusers in the metadata; where neither does, it is the rank."""
    rank, pattern = len(parts["A.weight"]), config.get("alpha_pattern") or {}
    alpha = pattern.get(get_pattern_key(pattern, module), config.get("lora_alpha", rank))
    return float(parts.get("alpha", alpha)) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _peft_names(state: dict[str, Tensor], unet: nn.Module) -> dict[str, Tensor]:
    if any(name.startswith("lora_") for name in state):
        modules = {"lora_unet_" + name.replace(".", "_"): name for name, _ in unet.named_modules()}
        split = {name: name.partition(".") for name in state}
        return {modules.get(flat, flat) + KOHYA.get(dot + kind, dot + kind): state[name] for name, (flat, dot, kind) in split.items()}
    plain = {name.removeprefix("unet.").replace(".processor.", "."): value for name, value in state.items()}
    return convert_unet_state_dict_to_peft(plain)


def _fits(parts: dict[str, Tensor], unet: nn.Module, module: str) -> bool:
    """Whether a layer's tensors are a low-rank change of the UNet's module of that name."""
    names = {"A.weight", "B.weight"}
    if not names <= parts.keys() <= names | {"alpha"} or "alpha" in parts and parts["alpha"].numel() != 1:
        return False
    try:
        shape = unet.get_submodule(module).weight.shape
    except AttributeError:
        return False
    first, second = parts["A.weight"], parts["B.weight"]  # of a convolution (rank, in, h, w) and (out, rank, 1, 1)
    if not first.ndim == second.ndim == len(shape) > 1 or not len(first):
        return False
    return first.shape[1:] == shape[1:] and tuple(second.shape) == (shape[0], len(first), *[1] * (len(shape) - 2))
