"""LoRA files: ours in the layouts of diffusers and of kohya (AUTOMATIC1111, ComfyUI), and those of the paper's release.

The release's ``adapted_model.bin`` was saved from attention processors that diffusers no longer has. What every layout says is
the same, so all are read into one: peft's names, with alpha multiplied into the second matrix.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alignsd.atomic import replacing
from alignsd.errors import Problem

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
KOHYA_FILE = "kohya.safetensors"
FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"  # (rank, in) and (out, rank)
KOHYA = {".lora_down.weight": FIRST, ".lora_up.weight": SECOND, ".alpha": ".alpha"}


def save_lora(unet: nn.Module, folder: Path, about: Mapping[str, object]) -> Path:
    """Writes a UNet's LoRA in both layouts and returns the diffusers file, which ``pipeline.load_lora_weights`` reads.

    Args:
        unet: with the adapter of ``lora.add_lora``, whose alpha is its rank.
        folder: where to write ``pytorch_lora_weights.safetensors`` and ``kohya.safetensors``.
        about: written into both files' metadata: base model, identifier and so on.
    """
    state = {f"unet.{name}": value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    rank = str(next(value.shape[0] for name, value in state.items() if name.endswith(FIRST)))
    words = {name: str(value) for name, value in about.items()} | {"format": "pt", "rank": rank, "alpha": rank}
    kohya = words | {"ss_network_module": "networks.lora", "ss_network_dim": rank, "ss_network_alpha": rank,
                     "ss_output_name": Path(KOHYA_FILE).stem}
    folder.mkdir(parents=True, exist_ok=True)
    for file, tensors, metadata in ((DIFFUSERS_FILE, convert_state_dict_to_diffusers(state), words),
                                    (KOHYA_FILE, convert_state_dict_to_kohya(state), kohya)):
        with replacing(folder / file) as part:
            save_file(tensors, part, metadata)
    return folder / DIFFUSERS_FILE


def read_about(path: Path) -> dict[str, str]:
    """Returns what a safetensors file says about itself."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def load_lora(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Puts a LoRA of any known layout on a pipeline's UNet.

    Args:
        pipeline: of the model that the LoRA was trained on.
        path: the file, or a folder with ``pytorch_lora_weights.safetensors``.

    Raises:
        Problem: if there is no such file, it cannot be read, or it is no LoRA of this UNet.
    """
    file = path / DIFFUSERS_FILE if path.is_dir() else path
    pipeline.load_lora_weights(read_lora(file, pipeline.unet))


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
    state = _tensors(path)
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
        scale = float(parts.get("alpha", len(parts["A.weight"]))) / len(parts["A.weight"])
        read[f"unet.{module}{FIRST}"] = parts["A.weight"]
        read[f"unet.{module}{SECOND}"] = parts["B.weight"] * scale if scale != 1 else parts["B.weight"]
    return read


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise Problem(f"There is no LoRA {path.name}.", expected=f"a file in {path.parent.name}", found="no such file",
                      cause="the fine-tuning has not finished, or a wrong path",
                      fix="alignsd run 05; docs/data.md says where the paper's is")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        found = "" if state and all(isinstance(value, Tensor) for value in state.values()) else "no tensors by name"
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        state, found = {}, " ".join(str(error).split())[:120] or type(error).__name__
    if found:
        raise Problem(f"{path.name} cannot be read as a LoRA.", expected="tensors by name", found=found,
                      cause="an unfinished download, or a web page saved under this name", fix=f"get {path.name} again")
    return state


def _peft_names(state: dict[str, Tensor], unet: nn.Module) -> dict[str, Tensor]:
    if any(name.startswith("lora_") for name in state):
        modules = {"lora_unet_" + name.replace(".", "_"): name for name, _ in unet.named_modules()}
        split = {name: name.partition(".") for name in state}
        return {modules.get(flat, flat) + KOHYA.get(dot + kind, dot + kind): state[name] for name, (flat, dot, kind) in split.items()}
    plain = {name.removeprefix("unet.").replace(".processor.", "."): value for name, value in state.items()}
    return convert_unet_state_dict_to_peft(plain)


def _fits(parts: dict[str, Tensor], unet: nn.Module, module: str) -> bool:
    """Whether a layer's tensors are a low-rank change of the UNet's module of that name."""
    if not {"A.weight", "B.weight"} <= parts.keys() <= {"A.weight", "B.weight", "alpha"}:
        return False
    try:
        weight = unet.get_submodule(module).weight
    except AttributeError:
        return False
    first, second = parts["A.weight"], parts["B.weight"]
    return len(first) == second.shape[1] and (len(second), first.shape[1]) == tuple(weight.shape)
