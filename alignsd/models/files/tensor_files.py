"""Open files of tensors: safetensors, and the files of ``torch.save``.

The content of a file decides how the file is read, not its name. Files of torch are read with
``weights_only=True``, so that no file can run code. Every function raises ``Unfit`` for a file that
cannot be used.
"""

import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from alignsd.base.errors import Problem
from alignsd.base.reading import parse_json
from alignsd.models.files.foreign_files import CODE, CODE_FIX, CUT, DAMAGED, OTHER, Unfit, named
from alignsd.models.files.wording import short

HEAD = 4096  # bytes that tell the kind of a file
LARGEST_HEADER = 100_000_000  # bytes; safetensors itself refuses a longer header
LARGEST_GROWTH = 20  # claimed content / size of an archive, at most; torch packs nothing
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how new and old files of torch.save begin


def content(path: Path, lazy: bool = False) -> Any:
    """Return whatever a file holds: tensors by name, or anything that torch saves.

    Args:
        path: the file.
        lazy: leave the tensors of a zip archive on the disk until first use.

    Raises:
        Unfit: if the file is missing, damaged, cut off, of another kind, or would run code.
    """
    size, head = _size_and_head(path)
    if head.startswith(ZIP):
        _check_archive(path, size)
        return _loaded(path, lazy)
    if _is_safetensors(head):
        _header(path, size)
        return _loaded_safetensors(path)
    if head.startswith(PICKLE):
        return _loaded(path)
    raise named(head, path)


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; a file of torch has none.

    Raises:
        Unfit: if the file is missing, damaged, cut off or of another kind.
    """
    size, head = _size_and_head(path)
    if not _is_safetensors(head):
        if head.startswith((ZIP, PICKLE)):
            return {}
        raise named(head, path)
    words = _header(path, size).get("__metadata__") or {}
    if not isinstance(words, dict) or any(not isinstance(text, str) for text in words.values()):
        raise Unfit("metadata that is not text by name", DAMAGED)
    return words


def types(path: Path) -> dict[str, str]:
    """Return the type of numbers of each tensor by name, such as ``"F16"``, of a safetensors file.

    Raises:
        Unfit: if the file is missing, damaged, cut off or no safetensors file.
    """
    size, head = _size_and_head(path)
    if not _is_safetensors(head):
        raise named(head, path)
    header = _header(path, size)
    return {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}


def is_torchscript(path: Path | str) -> bool:
    """Return whether a file is a TorchScript archive: weights together with a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _holds_program(archive.namelist())
    except Exception:  # zipfile raises a dozen unrelated types for damaged archives
        return False


def _size_and_head(path: Path) -> tuple[int, bytes]:
    """Return the size and the first bytes of a file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise Unfit("a folder", "a path that ends too early")
        if not stat.S_ISREG(status.st_mode):
            raise Unfit("a pipe, a socket or a device", "a wrong path")
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError) as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = getattr(error, "strerror", None) or str(error)
        found = "no such file" if missing else short(reason)
        raise Unfit(found, "a wrong path, or no permission to open the file") from error
    if not head:
        raise Unfit("an empty file", CUT)
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
            raise Unfit(f"{size:,} bytes, less than its header of {8 + length:,} bytes", CUT)
        text = file.read(length)
    try:
        header = parse_json(text, "the header")
    except Problem as problem:
        raise Unfit(f"a safetensors header that is no JSON: {problem.found}", DAMAGED) from problem
    if not isinstance(header, dict):
        raise Unfit("a safetensors header without names", DAMAGED)
    needed = 8 + length + _end_of_tensors(header)
    if needed > size:
        raise Unfit(f"{size:,} of {needed:,} bytes", CUT)
    return header


def _end_of_tensors(header: dict[str, Any]) -> int:
    """Return the byte behind the last tensor, counted from the end of the header."""
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    try:
        return max((int(entry["data_offsets"][1]) for entry in entries), default=0)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise Unfit("a safetensors header without the places of tensors", DAMAGED) from error


def _loaded_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # KeyError for a new type of number, OSError for a failing disk ...
        reason = short(error) or type(error).__name__
        raise Unfit(f"a safetensors file that contradicts itself: {reason}", DAMAGED) from error


def _holds_program(names: list[str]) -> bool:
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in names)


def _check_archive(path: Path, size: int) -> None:
    """Do nothing if ``torch.save`` wrote the zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises a dozen unrelated types for damaged archives
        raise Unfit(f"an archive of {size:,} bytes without its end", CUT) from error
    names = [member.filename for member in members]
    if _holds_program(names):
        found = "a TorchScript archive, which is a program together with its weights"
        raise Unfit(found, CODE, CODE_FIX)
    if not any(name.endswith("/data.pkl") for name in names):
        first = short(names[0], 40) if names else "nothing"
        found = f"a zip archive that torch did not write, with {first} in it"
        raise Unfit(found, OTHER, "unpack it")
    claimed = sum(member.file_size for member in members)
    if claimed > LARGEST_GROWTH * size:
        raise Unfit(f"an archive of {size:,} bytes that claims to hold {claimed:,}", DAMAGED)


def _loaded(path: Path, lazy: bool = False) -> Any:
    try:
        if lazy:
            return torch.load(path, mmap=True, map_location="cpu", weights_only=True)
        with open(path, "rb") as file:  # of a path, torch.load would look at the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling foreign bytes raises a dozen unrelated types
        raise _unpickled(error) from error


def _unpickled(error: Exception) -> Unfit:
    """Say why torch could not read a file, without torch's advice to let the file run code."""
    text = str(error)
    called = re.search(r"GLOBAL +`?([A-Za-z_][\w.]*)", text)
    if called:
        return Unfit(f"a pickle that calls {short(called[1], 60)}", CODE, CODE_FIX)
    if "tar format" in text or ".tar" in text:
        return Unfit("a file of a torch before version 0.1.10", OTHER, CODE_FIX)
    if "magic number" in text:
        return Unfit("a pickle of Python that torch did not write", OTHER, CODE_FIX)
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return Unfit("more numbers than fit the memory", "a damaged file, or too small a machine")
    if isinstance(error, EOFError | IndexError) or "EOF" in text or "truncated" in text:
        return Unfit("a file of torch that ends too early", CUT)
    if re.search("[Uu]nsupported|unrecognized|Can only", text):
        return Unfit("a pickle that asks for more than tensors", CODE, CODE_FIX)
    return Unfit(f"a file that torch cannot read ({type(error).__name__})", DAMAGED)
