"""Read the weights of a CLIP from files of any known layout, and load weights into a model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.models.files.tensor_files import is_torchscript
from alignsd.models.files.weights import instead_of_file, is_file, read_tensors, without_prefixes
from alignsd.models.files.wording import short

# Numbers that OpenAI's state dict keeps beside the tensors of a CLIP.
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
# Part of a tensor's name -> what the file is.
OTHER_WEIGHTS = {
    "lora": "a LoRA, which changes Stable Diffusion, in place of a CLIP",
    "text_model.": "a CLIP as transformers saves it; "
    "this model takes open_clip's or OpenAI's files",
    "down_blocks.": "the UNet of Stable Diffusion in place of a CLIP",
    "model.diffusion_model.": "a checkpoint of Stable Diffusion in place of a CLIP",
}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a CLIP's weights: safetensors, or a torch file of tensors such as ``hpc.pt``.

    A torch file may hold the tensors under ``state_dict`` and name them with ``module.`` or
    ``model.`` in front, as training on several GPUs does. The three numbers that OpenAI keeps
    beside the tensors (``OPENAI_EXTRAS``) are left out. OpenAI's own files are TorchScript, which
    could run code. A TorchScript file is read, under any name, if the file's SHA-256 is in
    open_clip's table.

    Raises:
        Problem: if the file is missing or damaged, or holds anything but tensors of finite numbers.
    """
    if not is_file(path):
        name = short(Path(path).name)
        raise Problem(
            f"There are no weights {name}.",
            expected=f"a file of weights at {short(path, 200)}",
            found=instead_of_file(path),
            cause="a wrong path, or the file was not downloaded; docs/data.md says from where",
            fix="put the file there, or correct the path",
        )
    if is_torchscript(path) and _is_openai(path):
        state = _scripted(path)
    else:
        again = f"download {short(path.name)} again; docs/data.md says from where"
        state = read_tensors(path, "weights", again)
    return without_prefixes({key: state[key] for key in state if key not in OPENAI_EXTRAS})


def _is_openai(path: Path) -> bool:
    """Return whether a file equals, to the bit, a file that OpenAI released."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    models = [model for model, tag in open_clip.list_pretrained() if tag == "openai"]
    urls = [open_clip.get_pretrained_url(model, "openai") for model in models]
    return digest in [url.split("/")[-2] for url in urls if url.count("/") > 1]


def _scripted(path: Path) -> dict[str, Tensor]:
    state = torch.jit.load(path, map_location="cpu").state_dict()
    return {key: value.float() for key, value in state.items()}


def load_weights(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights into a model.

    torch would copy whole numbers into a model of fractions without a word. Whole numbers are
    quantized weights, whose scale the file keeps apart or not at all.

    Args:
        model: open_clip's.
        state: tensors by name, from ``read_weights``.
        name: of the file, for messages.

    Raises:
        Problem: that names the first tensor that the two do not share, that has another shape, or
            that holds whole numbers where the model has fractions.
    """
    own = model.state_dict()
    strange = [key for key in sorted(state.keys() | own.keys()) if not _fits(key, state, own)]
    if strange:
        # A tensor in both states says more than a tensor in only one state.
        shared = [key for key in strange if key in state and key in own]
        first = (shared or strange)[0]
        here = f"{short(first)} {_shape(state, first)}"
        raise Problem(
            f"the weights {short(name)} do not fit the model",
            expected=f"{len(own)} tensors, {first} {_shape(own, first)}",
            found=f"{len(state)} tensors, {len(strange)} of them differ, {here}",
            cause=_cause_of_misfit(state, own),
            fix="give the whole file, and the clip parameter of the training stage",
        )
    model.load_state_dict(state)


def _fits(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    if key not in state or key not in own or state[key].shape != own[key].shape:
        return False
    return not _is_quantized(key, state, own)


def _is_quantized(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Return whether a tensor of both holds whole numbers where the model has fractions."""
    return own[key].is_floating_point() and not state[key].is_floating_point()


def _shape(tensors: Mapping[str, Tensor], key: str) -> str:
    if key not in tensors:
        return "absent"
    value = tensors[key]
    numbers = "" if value.is_floating_point() else f" of {str(value.dtype)[6:]} numbers"
    return f"{tuple(value.shape)}{numbers}"


def _cause_of_misfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say what weights are that do not fit a CLIP of open_clip."""
    for sign, kind in OTHER_WEIGHTS.items():
        if any(sign in key for key in state) and not any(sign in key for key in own):
            return kind
    shared = state.keys() & own.keys()
    if any(_is_quantized(key, state, own) for key in shared):
        return "quantized weights: whole numbers, whose scale is not among them"
    if shared == state.keys() and all(_fits(key, state, own) for key in shared):
        return "a part of a sharded file, or an unfinished save"
    if 10 * len(shared) < len(own):
        return "the weights of another kind of model: hardly a name is CLIP's"
    return "the weights were trained from another CLIP"
