"""Read tensors from files that other people made, and write tensors as the same bytes every time.

Every file of weights enters the kit through this module: safetensors, and the files of ``torch.save``
(.pt, .pth, .bin, .ckpt). The content of a file decides how the file is read, not its name. Files of
torch are read with ``weights_only=True``, so that no file can run code. No function of this module
raises anything but a ``Problem``, which says what the file is.
"""

import json
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.reading import listed, parse_json

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
MAGIC = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"GGUF", "a GGUF file, as llama.cpp reads it"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it"),
    (b"\x1f\x8b", "an archive of gzip"),
    (b"BZh", "an archive of bzip2"),
    (b"\xfd7zXZ", "an archive of xz"),
    (b"7z\xbc\xaf", "an archive of 7-Zip"),
    (b"Rar!", "an archive of RAR"),
    (b"\x28\xb5\x2f\xfd", "an archive of zstd"),
)
LARGEST_HEADER = 100_000_000  # bytes; safetensors itself refuses a longer header
LARGEST_GROWTH = 20  # how many times its size an archive may claim to hold; torch packs nothing
CUT = "a download or copy that was cut off, or a full disk"
DAMAGED = "a damaged copy, or a file that was not finished"
OTHER = "another kind of file than the one that was meant"
PAGE = "a web page was saved in place of the file: the download needs a login or another link"
POINTER = "git lfs pull was not run, so that Git left its pointer in place of the file"
CODE = "a program was saved together with the weights; the kit runs no code out of a file"
CODE_FIX = "get the weights as safetensors, or as a state_dict of tensors alone"
OVERFLOW = "a training that diverged, or a damaged file"


class _Unfit(Exception):
    """A file that cannot be used, before the reader of that kind of file puts it in its own words."""

    def __init__(self, found: str, cause: str, fix: str = ""):
        super().__init__(found)
        self.found, self.cause, self.fix = found, cause, fix


def is_file(path: Path | str) -> bool:
    """Return whether a path is a file that exists; a name that no file can have is none."""
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


def short(text: object, length: int = 80) -> str:
    """Return text on one line, without its middle if it is longer than ``length`` characters."""
    line = "".join(sign if sign.isprintable() else " " for sign in str(text))
    half = length // 2
    return line if len(line) <= length else f"{line[:half]}...{line[-half:]}"


def read_tensors(path: Path | str, kind: str, fix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    The tensors may lie under ``state_dict``, ``model_state_dict`` or ``model``. Prefixes that all
    names share (``module.``, ``model.``, ``_orig_mod.``) are taken off.

    Args:
        path: safetensors, or a file of ``torch.save``.
        kind: what the file should be, in the words of messages: "X cannot be read as ``kind``".
        fix: what to do about a file that is not.

    Returns:
        Dense tensors on the CPU, each finite also in single precision.

    Raises:
        Problem: if the file is missing, damaged, cut off, of another kind, would run code, or holds
            anything but tensors of finite numbers by name. The message says which.
    """
    path = Path(path)
    with _told(path, kind, fix):
        content = _content(path)
        tensors = _by_name(content)
        size = path.stat().st_size
        return without_prefixes({name: _checked(name, tensors[name], size) for name in tensors})


def read_torch(path: Path | str, kind: str, fix: str = "", lazy: bool = False) -> Any:
    """Return whatever a file of ``torch.save`` holds: numbers, text, lists, dictionaries, tensors.

    Args:
        path, kind, fix: as in ``read_tensors``.
        lazy: leave the tensors on the disk until they are used.

    Raises:
        Problem: if the file is missing, damaged, cut off, of another kind, or would run code.
    """
    with _told(Path(path), kind, fix):
        return _content(Path(path), lazy)


def read_metadata(path: Path | str, kind: str) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        Problem: if the file is missing, damaged, cut off or no safetensors file.
    """
    path = Path(path)
    with _told(path, kind, ""):
        size, head = _head(path)
        if not _is_safetensors(head):
            raise _named(head, path)
        metadata = _header(path, size).get("__metadata__") or {}
        if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
            raise _Unfit("metadata that is not text by name", DAMAGED)
        return metadata


def is_torchscript(path: Path | str) -> bool:
    """Return whether a file is a TorchScript archive: weights together with a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _holds_program(archive.namelist())
    except Exception:  # zipfile raises a dozen unrelated types for damaged archives
        return False


def is_finite(value: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite in single precision."""
    if not value.is_floating_point() or value.numel() == 0:
        return True
    single = value if value.dtype in CHECKED_DIRECTLY else value.float()
    # aminmax passes NaN on, and reads a tensor 20 times as fast as isfinite().all().
    return bool(torch.stack(torch.aminmax(single)).isfinite().all())


def check_finite(tensors: Mapping[str, Tensor], name: str, fix: str) -> None:
    """Do nothing if all numbers are finite.

    Args:
        tensors: by name.
        name: how the message calls what holds them.
        fix: what to do otherwise.

    Raises:
        Problem: that names the first tensor with a number that is not.
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
        tensors: by name; they may lie on any device.
        metadata: text by name.
    """
    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as unfinished:
        save_file(held, unfinished, dict(metadata) if metadata else None)
        if metadata:
            _sort_metadata(unfinished)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file in place.

    safetensors writes the metadata in the order of a hash map of Rust, which changes from call to
    call. The sorted header has the same length, so that the tensors stay where they are.
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


@contextmanager
def _told(path: Path, kind: str, fix: str) -> Iterator[None]:
    try:
        yield
    except _Unfit as unfit:
        fixes = [text for text in (unfit.fix, fix) if text]
        raise Problem(
            f"{short(path.name)} cannot be read as {kind}.",
            expected=EXPECTED,
            found=unfit.found,
            cause=unfit.cause,
            fix="; or ".join(fixes) or f"get {short(path.name)} again",
        ) from None


def _content(path: Path, lazy: bool = False) -> Any:
    size, head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
        return _loaded(path, lazy)
    if _is_safetensors(head):
        _header(path, size)
        return _loaded_safetensors(path)
    if head.startswith(b"\x80"):
        return _loaded(path)
    raise _named(head, path)


def _head(path: Path) -> tuple[int, bytes]:
    """Return a file's size and its first bytes."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _Unfit("a folder", "a path that ends too early")
        if not stat.S_ISREG(status.st_mode):
            raise _Unfit("a pipe, a socket or a device", "a wrong path")
        with open(path, "rb") as file:
            head = file.read(4096)
    except (OSError, ValueError) as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = getattr(error, "strerror", None) or str(error)
        found = "no such file" if missing else short(reason)
        raise _Unfit(found, "a wrong path, or no permission to open the file") from error
    if not head:
        raise _Unfit("an empty file", CUT)
    return status.st_size, head


def _is_safetensors(head: bytes) -> bool:
    """Return whether a file begins as safetensors does: a length of 8 bytes, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= LARGEST_HEADER


def _header(path: Path, size: int) -> dict[str, Any]:
    """Return the header of a safetensors file whose size is what the header says."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise _Unfit(f"{size:,} bytes, less than its header of {8 + length:,} bytes", CUT)
        text = file.read(length)
    try:
        header = parse_json(text, "the header")
    except Problem as problem:
        raise _Unfit(f"a safetensors header that is no JSON: {problem.found}", DAMAGED) from problem
    if not isinstance(header, dict):
        raise _Unfit("a safetensors header without names", DAMAGED)
    entries = [value for name, value in header.items() if name != "__metadata__"]
    try:
        end = max((int(entry["data_offsets"][1]) for entry in entries), default=0)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise _Unfit("a safetensors header without the places of tensors", DAMAGED) from error
    if 8 + length + end > size:
        raise _Unfit(f"{size:,} of {8 + length + end:,} bytes", CUT)
    return header


def _loaded_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # KeyError for a new type of number, OSError for a failing disk ...
        reason = short(error) or type(error).__name__
        raise _Unfit(f"a safetensors file that contradicts itself: {reason}", DAMAGED) from error


def _holds_program(names: list[str]) -> bool:
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in names)


def _check_archive(path: Path, size: int) -> None:
    """Do nothing if a zip archive is one that ``torch.save`` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises a dozen unrelated types for damaged archives
        raise _Unfit(f"an archive of {size:,} bytes without its end", CUT) from error
    names = [member.filename for member in members]
    if _holds_program(names):
        raise _Unfit("a TorchScript archive, which is a program together with its weights", CODE, CODE_FIX)
    if not any(name.endswith("/data.pkl") for name in names):
        first = short(names[0], 40) if names else "nothing"
        raise _Unfit(f"a zip archive that torch did not write, with {first} in it", OTHER, "unpack it")
    claimed = sum(member.file_size for member in members)
    if claimed > LARGEST_GROWTH * size:
        raise _Unfit(f"an archive of {size:,} bytes that claims to hold {claimed:,}", DAMAGED)


def _loaded(path: Path, lazy: bool = False) -> Any:
    options = dict(map_location="cpu", weights_only=True)
    try:
        if lazy:
            return torch.load(path, mmap=True, **options)
        with open(path, "rb") as file:  # of a path, torch.load would look at the suffix
            return torch.load(file, **options)
    except Exception as error:  # unpickling foreign bytes raises a dozen unrelated types
        raise _unpickled(error) from error


def _unpickled(error: Exception) -> _Unfit:
    """Say why torch could not read a file, without torch's advice to let the file run code."""
    text = str(error)
    called = re.search(r"GLOBAL +`?([A-Za-z_][\w.]*)", text)
    if called:
        return _Unfit(f"a pickle that calls {short(called[1], 60)}", CODE, CODE_FIX)
    if "tar format" in text or ".tar" in text:
        return _Unfit("a file of a torch before version 0.1.10", OTHER, CODE_FIX)
    if "magic number" in text:
        return _Unfit("a pickle of Python that torch did not write", OTHER, CODE_FIX)
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return _Unfit("more numbers than fit the memory", "a damaged file, or too small a machine")
    if isinstance(error, EOFError | IndexError) or "EOF" in text or "truncated" in text:
        return _Unfit("a file of torch that ends too early", CUT)
    if re.search("[Uu]nsupported|unrecognized|Can only", text):
        return _Unfit("a pickle that asks for more than tensors", CODE, CODE_FIX)
    return _Unfit(f"a file that torch cannot read ({type(error).__name__})", DAMAGED)


def _named(head: bytes, path: Path) -> _Unfit:
    """Say what a file is that holds no tensors."""
    known = next((name for magic, name in MAGIC if head.startswith(magic)), None)
    if known is not None:
        return _Unfit(known, OTHER, "unpack it" if "archive" in known else "")
    if head[257:262] == b"ustar":
        return _Unfit("an archive of tar", OTHER, "unpack it")
    text = _as_text(head)
    if text is not None:
        return _named_text(text)
    if path.suffix == ".safetensors":
        return _Unfit("bytes that do not begin as safetensors do", DAMAGED)
    return _Unfit("bytes of no known kind of file", DAMAGED)


def _as_text(head: bytes) -> str | None:
    """Return a file's first bytes as text, or None if they are none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="ignore")
    text = head.decode("utf-8-sig", errors="replace")
    strange = sum(not sign.isprintable() and sign not in "\t\r\n\f" for sign in text)
    wrong = text.count("\ufffd")
    return text if strange == 0 and wrong <= len(text) / 10 else None


def _named_text(text: str) -> _Unfit:
    start = text.lstrip().lower()
    if start.startswith("version https://git-lfs"):
        return _Unfit("a pointer of Git LFS", POINTER, "git lfs pull, or download the file itself")
    if start.startswith("<") or "<html" in start:
        return _Unfit("a web page (HTML or XML)", PAGE)
    if start.startswith(("{", "[")):
        return _Unfit("JSON text", "a server's error, or a list of files, was saved in place of the file")
    return _Unfit("a text file", OTHER)


def _by_name(content: Any) -> dict[str, Any]:
    """Return the dictionary of tensors in what a file holds."""
    for _ in range(len(WRAPPERS)):
        inner = [content[key] for key in WRAPPERS if isinstance(content, dict) and key in content]
        wrapped = next((value for value in inner if isinstance(value, dict)), None)
        if wrapped is None:
            break
        content = wrapped
    if not isinstance(content, dict):
        raise _Unfit(f"no tensors by name, but {_described(content)}", OTHER, CODE_FIX)
    if not content:
        raise _Unfit("no tensors", OTHER)
    for name, value in content.items():
        if not isinstance(name, str):
            raise _Unfit(f"no tensors by name: a name is {_described(name)}", OTHER)
        if not isinstance(value, Tensor):
            raise _Unfit(f"under {short(name, 60)!r} no tensor, but {_described(value)}", OTHER)
    return content


def _described(value: Any) -> str:
    """Say what a value is in plain words."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, bool | int | float):
        return f"a number ({short(value, 20)})"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, dict):
        names = ", ".join(short(name, 20) for name in list(value)[:3])
        return f"a dictionary ({names or 'empty'})"
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}"
    return f"an object of type {type(value).__name__}"


def _checked(name: str, value: Tensor, size: int) -> Tensor:
    """Return a tensor that holds its numbers itself, if it is one of finite numbers.

    Args:
        name: of the tensor.
        value: the tensor.
        size: of its file in bytes; a tensor that repeats one number a billion times is refused.
    """
    fault = _fault(value, size)
    if fault:
        raise _Unfit(f"{short(name, 60)} is {fault}", OTHER, CODE_FIX)
    plain = value.detach().resolve_neg()
    if not is_finite(plain):
        raise _Unfit(_not_finite(name, plain), OVERFLOW)
    return plain


def _fault(value: Tensor, size: int) -> str | None:
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
    return f"{count:,} of {value.numel():,} numbers of {short(name, 60)} are NaN or infinite (not finite)"
