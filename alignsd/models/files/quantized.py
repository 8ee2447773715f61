"""Refuse quantized weights that a library would load as if they were not quantized."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from alignsd.base.errors import Problem
from alignsd.base.reading import listed
from alignsd.models.files import tensor_files
from alignsd.models.files.foreign_files import Unfit
from alignsd.models.files.weights import by_name
from alignsd.models.files.wording import short

# What diffusers, transformers and open_clip look for first; a variant has another word in the name.
PLAIN = re.compile(
    r"(diffusion_pytorch_|open_clip_|open_clip_pytorch_|pytorch_)?model(-\d+-of-\d+)?"
    r"\.(safetensors|bin)"
)
WHOLE = (torch.int8, torch.uint8)  # position_ids are int64
WHOLE_IN_SAFETENSORS = ("I8", "U8")


def check_not_quantized(
    folder: Path | str, state: Mapping[str, Tensor], name: str, fix: str
) -> None:
    """Do nothing if no library turned whole numbers of 8 bits into the fractions of a model.

    diffusers, transformers and open_clip do so without a word, and without the scale.

    Args:
        folder: of the files that the model was loaded from.
        state: the model's tensors; if some are whole numbers of 8 bits, the library knows of them.
        name: how the message calls the model.
        fix: what to do otherwise.

    Raises:
        Problem: that names the first tensor of whole numbers.
    """
    known = any(value.dtype in WHOLE for value in state.values())
    if known or not Path(folder).is_dir():
        return
    for file in _read_by_libraries(folder):
        whole = _whole_numbers(file)
        if whole:
            raise Problem(
                f"{short(name)} is quantized.",
                expected="weights of fractions: single or half precision",
                found=f"{len(whole)} tensors of 8-bit whole numbers in {file.name}: "
                f"{short(whole[0])} ...",
                cause="quantized weights: whole numbers, whose scale is not among them",
                fix=fix,
            )


def _read_by_libraries(folder: Path | str) -> list[Path]:
    """Return the files of weights that the libraries read: safetensors, or else files of torch."""
    plain = [file for file in listed(folder, ".safetensors", ".bin") if PLAIN.fullmatch(file.name)]
    return [file for file in plain if file.suffix == ".safetensors"] or plain


def _whole_numbers(file: Path) -> list[str]:
    """Return the names of the tensors of whole numbers of 8 bits; none for another kind of file."""
    try:
        if file.suffix == ".safetensors":
            types = tensor_files.types(file)
            return [name for name, type_ in types.items() if type_ in WHOLE_IN_SAFETENSORS]
        tensors = by_name(tensor_files.content(file, lazy=True))
        return [name for name, value in tensors.items() if value.dtype in WHOLE]
    except Unfit:  # a file that the library did not read
        return []
