"""Read tensors from files that other people made, and write tensors as the same bytes every time.

Every file of weights enters the kit through this module: safetensors, and the files of
``torch.save`` (.pt, .pth, .bin, .ckpt). The readers of this module raise nothing but a ``Problem``,
which says what the file is.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.reading import listed
from alignsd.models.files import tensor_files
from alignsd.models.files.foreign_files import CODE_FIX, OTHER, OVERFLOW, Unfit
from alignsd.models.files.wording import described, short

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")  # suffixes of files of weights
EXPECTED = "tensors by name, by themselves or as state_dict"
# Where training scripts keep the tensors beside their epoch, optimizer and so on.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What training on several GPUs, a trainer's class and torch.compile put before every name.
PREFIXES = ("module.", "model.", "_orig_mod.")
CHECKED_DIRECTLY = (torch.float32, torch.float16, torch.bfloat16)
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
DTYPES = (*CHECKED_DIRECTLY, *FLOAT8, torch.float64, *WHOLE)


def is_file(path: Path | str) -> bool:
    """Return whether a path is a file that exists, also for names that no file can have."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def instead_of_file(path: Path | str) -> str:
    """Return what stands where a file of weights is expected, for messages."""
    if not os.path.isdir(path):  # False, too, for a name that no file can have
        return "no such file"
    files = [file.name for file in listed(path, *WEIGHTS)]
    return f"a folder, with {', '.join(files[:3])}" if files else "a folder without weights in it"


def read_tensors(path: Path | str, kind: str, fix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    The tensors may lie under ``state_dict``, ``model_state_dict`` or ``model``. Prefixes that all
    names share (``module.``, ``model.``, ``_orig_mod.``) are taken off.

    Args:
        path: safetensors, or a file of ``torch.save``.
        kind: what the file should be, in the words of messages: "X cannot be read as ``kind``".
        fix: what to do about a file that is something else.

    Returns:
        Dense tensors on the CPU, each finite also in single precision.

    Raises:
        Problem: if the file is missing, damaged, cut off, of another kind, would run code, or holds
            anything but tensors of finite numbers by name. The message says which.
    """
    path = Path(path)
    with _as_problem(path, kind, fix):
        tensors = by_name(tensor_files.content(path))
        size = path.stat().st_size
        checked = {name: _checked(name, value, size) for name, value in tensors.items()}
        return without_prefixes(checked)


def read_torch(path: Path | str, kind: str, fix: str = "", lazy: bool = False) -> Any:
    """Return whatever a file of ``torch.save`` holds: numbers, text, lists, dictionaries, tensors.

    Args:
        path, kind, fix: as in ``read_tensors``.
        lazy: leave the tensors on the disk until first use.

    Raises:
        Problem: if the file is missing, damaged, cut off, of another kind, or would run code.
    """
    path = Path(path)
    with _as_problem(path, kind, fix):
        return tensor_files.content(path, lazy)


def read_metadata(path: Path | str, kind: str) -> dict[str, str]:
    """Return the metadata of a safetensors file; a file of torch has none.

    Raises:
        Problem: if the file is missing, damaged, cut off or of another kind.
    """
    path = Path(path)
    with _as_problem(path, kind, ""):
        return tensor_files.metadata(path)


@contextmanager
def _as_problem(path: Path, kind: str, fix: str) -> Iterator[None]:
    """Turn ``Unfit`` into a ``Problem`` that says what the file should be."""
    try:
        yield
    except Unfit as unfit:
        fixes = [text for text in (unfit.fix, fix) if text]
        raise Problem(
            f"{short(path.name)} cannot be read as {kind}.",
            expected=EXPECTED,
            found=unfit.found,
            cause=unfit.cause,
            fix="; or ".join(fixes) or f"get {short(path.name)} again",
        ) from None


def is_finite(value: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite in single precision."""
    if not value.is_floating_point() or value.numel() == 0:
        return True
    single = value if value.dtype in CHECKED_DIRECTLY else value.float()
    # aminmax passes NaN on, and reads a tensor 20 times as fast as isfinite().all().
    smallest, largest = torch.aminmax(single)
    return bool(torch.stack([smallest, largest]).isfinite().all())


def check_finite(tensors: Mapping[str, Tensor], name: str, fix: str) -> None:
    """Do nothing if all numbers are finite.

    Args:
        tensors: by name.
        name: how the message calls what holds the tensors.
        fix: what to do otherwise.

    Raises:
        Problem: that names the first tensor with a number that is not finite.
    """
    for key, value in tensors.items():
        if not is_finite(value):
            raise Problem(
                f"{short(name)} holds numbers that no weight can be.",
                expected="finite numbers",
                found=_not_finite(key, value),
                cause=OVERFLOW,
                fix=fix,
            )


def without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefixes of ``PREFIXES`` that all of their names share."""
    shared = next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None)
    if not tensors or shared is None or shared in tensors:
        return tensors
    return without_prefixes({name.removeprefix(shared): value for name, value in tensors.items()})


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all: equal tensors and metadata give equal bytes.

    Args:
        path: the file.
        tensors: by name, on any device.
        metadata: text by name.
    """
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as unfinished:
        save_file(on_cpu, unfinished, dict(metadata) if metadata else None)
        if metadata:
            _sort_metadata(unfinished)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file in place.

    safetensors writes the metadata in the order of a hash map of Rust, which changes from call to
    call. The sorted header has the same length, so the tensors stay in place.
    """
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > length:
            raise AssertionError(f"the sorted header has {len(text)} bytes in place of {length}")
        file.seek(8)
        file.write(text.ljust(length))


def by_name(content: Any) -> dict[str, Tensor]:
    """Return the dictionary of tensors in what a file holds.

    Raises:
        Unfit: if the file holds anything but tensors by name.
    """
    tensors = _unwrapped(content)
    if not isinstance(tensors, dict):
        raise Unfit(f"no tensors by name, but {described(tensors)}", OTHER, CODE_FIX)
    if not tensors:
        raise Unfit("no tensors", OTHER)
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise Unfit(f"no tensors by name: a name is {described(name)}", OTHER)
        if not isinstance(value, Tensor):
            raise Unfit(f"under {short(name, 60)!r} no tensor, but {described(value)}", OTHER)
    return tensors


def _unwrapped(content: Any) -> Any:
    """Return what lies under the keys of ``WRAPPERS``; training scripts nest these keys."""
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, dict):
            return content
        wrapped = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
        if not wrapped:
            return content
        content = wrapped[0]
    return content


def _checked(name: str, value: Tensor, size: int) -> Tensor:
    """Return a tensor that holds all of its numbers, if the numbers are finite.

    Args:
        name: of the tensor.
        value: the tensor.
        size: of the file in bytes; a tensor that repeats one number a billion times is refused.
    """
    fault = _fault(value, size)
    if fault:
        raise Unfit(f"{short(name, 60)} is {fault}", OTHER, CODE_FIX)
    plain = value.detach().resolve_neg()
    if not is_finite(plain):
        raise Unfit(_not_finite(name, plain), OVERFLOW)
    return plain


def _fault(value: Tensor, size: int) -> str | None:
    """Return what keeps a tensor from being used, or None."""
    if value.device.type == "meta":
        return "a tensor without numbers (of the device meta)"
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return "a sparse tensor"
    if value.is_quantized or value.dtype not in DTYPES:
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} numbers"
    if value.numel() * value.element_size() > size:
        return f"a tensor of {value.numel():,} numbers, more than the file holds"
    return None


def _not_finite(name: str, value: Tensor) -> str:
    count = int((~value.float().isfinite()).sum())
    numbers = f"{count:,} of {value.numel():,} numbers of {short(name, 60)}"
    return f"{numbers} are NaN or infinite (not finite)"
