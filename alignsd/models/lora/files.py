"""LoRA files: ours in the layouts of diffusers and kohya, and other people's files.

AUTOMATIC1111 and ComfyUI read kohya's layout. Other people's files are in these two layouts, in the
layout of PEFT's ``save_pretrained``, or in the layout of the paper's release. The release's
``adapted_model.bin`` was saved from attention processors that diffusers no longer has. All layouts
are read into one layout: peft's names, with the scale multiplied into the second matrix.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft.utils import get_peft_model_state_dict
from torch import Size, Tensor, nn

from alignsd import __version__
from alignsd.base.errors import Problem
from alignsd.models.files.weights import (
    FLOAT8,
    instead_of_file,
    is_file,
    read_metadata,
    read_tensors,
    write_tensors,
)
from alignsd.models.files.wording import short
from alignsd.models.lora.config import (
    PEFT_FILES,
    PEFT_PREFIX,
    adapter_config,
    bad_scale,
    scale_of_layer,
)
from alignsd.models.lora.misfits import no_lora_of

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"  # (rank, in) and (out, rank)
KOHYA = {".lora_down.weight": FIRST, ".lora_up.weight": SECOND, ".alpha": ".alpha"}
ABOUT_TO_KOHYA = {
    "base model": "ss_sd_model_name",
    "steps": "ss_max_train_steps",
    "seed": "ss_seed",
}
# Width of the text embeddings and channels of the UNet of Stable Diffusion 1.
STABLE_DIFFUSION_1 = (768, (320, 640, 1280, 1280))


def save_lora(unet: UNet2DConditionModel, folder: Path, about: Mapping[str, object]) -> Path:
    """Write a UNet's LoRA in the layouts of diffusers and kohya; return the file of diffusers.

    diffusers' ``load_lora_weights`` reads both files. Equal matrices and equal words about the
    matrices give equal bytes.

    Args:
        unet: with the adapter of ``lora.add_lora``, whose alpha equals the rank.
        folder: where to write ``pytorch_lora_weights.safetensors`` and ``kohya_file(folder)``.
        about: written into the metadata of both files: base model, identifier and so on.
    """
    own = get_peft_model_state_dict(unet)
    state = {f"unet.{name}": value.detach().cpu().contiguous() for name, value in own.items()}
    words = {name: str(value) for name, value in about.items()} | _words(state)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / DIFFUSERS_FILE, convert_state_dict_to_diffusers(state), words)
    kohya_words = words | _kohya_words(words, unet, folder)
    write_tensors(kohya_file(folder), convert_state_dict_to_kohya(state), kohya_words)
    return folder / DIFFUSERS_FILE


def _words(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata that every LoRA of ours has."""
    ranks = [str(len(value)) for name, value in state.items() if name.endswith(FIRST)]
    return {"format": "pt", "rank": ranks[0], "alpha": ranks[0], "kit version": __version__}


def _kohya_words(
    words: Mapping[str, str], unet: UNet2DConditionModel, folder: Path
) -> dict[str, str]:
    """Return the metadata by which programs know a LoRA of kohya's layout."""
    kohya = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": words["rank"],
        "ss_network_alpha": words["rank"],
        "ss_output_name": kohya_file(folder).stem,
    }
    for name, name_of_kohya in ABOUT_TO_KOHYA.items():
        if name in words:
            kohya[name_of_kohya] = words[name]
    config = unet.config
    sizes = (config["cross_attention_dim"], tuple(config["block_out_channels"]))
    if sizes == STABLE_DIFFUSION_1:
        kohya |= {"ss_base_model_version": "sd_v1", "ss_v2": "False"}
    return kohya


def kohya_file(folder: Path) -> Path:
    """Return where ``save_lora`` puts kohya's layout.

    The file is named after the folder, since web UIs gather LoRAs in one folder.
    """
    return folder / f"{folder.resolve().name}_kohya.safetensors"


def read_about(path: Path) -> dict[str, str]:
    """Return the metadata of a LoRA's file, under any name of the file.

    A torch file has no metadata.

    Raises:
        Problem: if the file cannot be read.
    """
    return read_metadata(path, "a LoRA")


def load_lora(pipeline: StableDiffusionPipeline, path: Path, name: str | None = None) -> None:
    """Put a LoRA of any known layout on a pipeline's UNet.

    Args:
        pipeline: of the model that the LoRA was trained on.
        path: the file, or a folder with ``pytorch_lora_weights.safetensors`` or what PEFT's
            ``save_pretrained`` wrote.
        name: the adapter's name on the UNet, for a UNet with several adapters; None lets diffusers
            name the adapter.

    Raises:
        Problem: if the file is missing or unreadable, or holds no LoRA of this UNet or a LoRA that
            changes nothing.
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
    # pipeline.load_lora_weights would warn that layers of the text encoder are missing.
    pipeline.unet.load_lora_adapter(state, prefix="unet", adapter_name=name)


def _file_of(path: Path) -> Path:
    """Return the file that holds a LoRA: the path itself, or the file in a folder."""
    try:
        if not path.is_dir():
            return path
    except (OSError, ValueError):  # a name that no file can have: told where the file is read
        return path
    files = [path / name for name in (DIFFUSERS_FILE, *PEFT_FILES)]
    return next((file for file in files if is_file(file)), path / DIFFUSERS_FILE)


def read_lora(path: Path, unet: nn.Module) -> dict[str, Tensor]:
    """Read a LoRA: the layout of diffusers, PEFT, kohya, or diffusers' former attention processors.

    Args:
        path: safetensors, or a torch file of tensors. Beside the file of PEFT's ``save_pretrained``
            must lie PEFT's ``adapter_config.json``, which holds alpha.
        unet: the UNet that the LoRA is for; only its modules tell kohya's names apart.

    Returns:
        ``unet.<module>.lora_A.weight`` ``(rank, in)`` and ``.lora_B.weight`` ``(out, rank)``. The
        change of the module's weight is B A.

    Raises:
        Problem: as ``load_lora``.
    """
    state = _tensors(path)
    config = adapter_config(path, state)
    layers = _by_layer(_peft_names(state, unet))
    layers = {module: _reshaped(layer, unet, module) for module, layer in layers.items()}
    strange = [module for module, layer in layers.items() if not _fits(layer, unet, module)]
    if strange:
        raise no_lora_of(path, state, layers, strange, unet)
    scaled_state = {}
    for module, layer in layers.items():
        scale = scale_of_layer(layer, config, module, path)
        second = layer["B.weight"]
        # Times a small scale, half precision would lose digits.
        scaled = second.float() * scale if scale != 1 else second
        if not scaled.isfinite().all():
            product = f"{short(repr(scale))} x the second matrix of {module}"
            raise bad_scale(path, f"{product} is not finite")
        scaled_state[f"unet.{module}{FIRST}"] = layer["A.weight"]
        scaled_state[f"unet.{module}{SECOND}"] = scaled
    return scaled_state


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
    state = read_tensors(path, "a LoRA", f"get {name} again")
    # torch does not compute with 8 bits. Single precision holds the same numbers.
    return {key: value.float() if value.dtype in FLOAT8 else value for key, value in state.items()}


def _peft_names(state: Mapping[str, Tensor], unet: nn.Module) -> dict[str, Tensor]:
    """Return tensors under the names of peft: ``<module>.lora_A.weight``, ``<module>.alpha``."""
    if not any(name.startswith("lora_") for name in state):
        plain = {_plain_name(name): value for name, value in state.items()}
        return convert_unet_state_dict_to_peft(plain)
    modules = {"lora_unet_" + name.replace(".", "_"): name for name, _ in unet.named_modules()}
    named = {}
    for name, value in state.items():
        flat, dot, kind = name.partition(".")
        suffix = KOHYA.get(dot + kind, dot + kind)
        named[modules.get(flat, flat) + suffix] = value
    return named


def _plain_name(name: str) -> str:
    """Return a tensor's name without what PEFT and diffusers put around the module's name."""
    name = name.removeprefix("unet.").removeprefix(PEFT_PREFIX).removeprefix("unet.")
    name = re.sub(r"\.lora_([AB])\.\w+\.weight$", r".lora_\1.weight", name)  # the adapter's name
    return name.replace(".processor.", ".")


def _by_layer(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return module -> tensors: ``A.weight``, ``B.weight`` and, if the file has any, ``alpha``."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        module, _, kind = name.partition(".lora_") if ".lora_" in name else name.rpartition(".")
        layers.setdefault(module, {})[kind] = value
    return layers


def _reshaped(layer: Mapping[str, Tensor], unet: nn.Module, module: str) -> dict[str, Tensor]:
    """Return a layer whose matrices have as many dimensions as the module's weight.

    A linear layer may be stored as a 1 x 1 convolution ``(rank, in, 1, 1)``, and a 1 x 1
    convolution as a linear layer ``(rank, in)``: the numbers are the same.
    """
    shape = _shape_of_weight(unet, module) or ()
    matrices = ("A.weight", "B.weight") if len(shape) >= 2 else ()
    return {
        kind: _with_dimensions(value, len(shape)) if kind in matrices else value
        for kind, value in layer.items()
    }


def _with_dimensions(value: Tensor, count: int) -> Tensor:
    """Return a tensor with ``count`` dimensions if only dimensions of 1 at the end differ."""
    if value.ndim < 2 or any(size != 1 for size in value.shape[count:]):
        return value
    return value.reshape(*value.shape[:count], *[1] * (count - value.ndim))


def _fits(layer: Mapping[str, Tensor], unet: nn.Module, module: str) -> bool:
    """Return whether a layer's tensors are a low-rank change of the UNet's module of that name."""
    pair = {"A.weight", "B.weight"}
    if not pair <= layer.keys() <= pair | {"alpha"}:
        return False
    if "alpha" in layer and layer["alpha"].numel() != 1:
        return False
    shape = _shape_of_weight(unet, module)
    if shape is None or len(shape) < 2:
        return False
    first, second = layer["A.weight"], layer["B.weight"]
    if not (first.is_floating_point() and second.is_floating_point()):
        return False
    if not first.ndim == second.ndim == len(shape) or not len(first):
        return False
    # A linear layer has (rank, in) and (out, rank), a convolution (rank, in, h, w) and
    # (out, rank, 1, 1).
    expected_second = (shape[0], len(first), *[1] * (len(shape) - 2))
    return first.shape[1:] == shape[1:] and tuple(second.shape) == expected_second


def _shape_of_weight(unet: nn.Module, module: str) -> Size | None:
    """Return the shape of a module's weight, or None if there is no such module or weight."""
    try:
        weight = unet.get_submodule(module).weight
    except AttributeError:
        return None
    return weight.shape if isinstance(weight, Tensor) else None
