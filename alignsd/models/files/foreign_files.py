"""Say what a file is that stands where a file of tensors was expected."""

from pathlib import Path

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
# Likely causes of a file that cannot be used.
CUT = "a download or copy that was cut off, or a full disk"
DAMAGED = "a damaged copy, or a file that was not finished"
OTHER = "another kind of file than the one that was meant"
PAGE = "a web page was saved in place of the file: the download needs a login or another link"
POINTER = "git lfs pull was not run, so that Git left its pointer in place of the file"
CODE = "a program was saved together with the weights; the kit runs no code out of a file"
CODE_FIX = "get the weights as safetensors, or as a state_dict of tensors alone"
OVERFLOW = "a training that diverged, or a damaged file"


class Unfit(Exception):
    """A file that cannot be used. The reader of that kind of file turns this into a ``Problem``.

    Args:
        found: what the file is or holds.
        cause: the likely reason.
        fix: what to do; empty if the reader of the file knows better.
    """

    def __init__(self, found: str, cause: str, fix: str = "") -> None:
        super().__init__(found)
        self.found, self.cause, self.fix = found, cause, fix


def named(head: bytes, path: Path) -> Unfit:
    """Say what a file is that holds no tensors.

    Args:
        head: the first bytes of the file, 4,096 or all.
        path: the file.
    """
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return Unfit(kind, OTHER, "unpack it" if "archive" in kind else "")
    if head[257:262] == b"ustar":
        return Unfit("an archive of tar", OTHER, "unpack it")
    text = _as_text(head)
    if text is not None:
        return _named_text(text)
    if path.suffix == ".safetensors":
        return Unfit("bytes that do not begin as safetensors do", DAMAGED)
    return Unfit("bytes of no known kind of file", DAMAGED)


def _as_text(head: bytes) -> str | None:
    """Return the first bytes of a file as text, or None if the bytes are no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="ignore")
    text = head.decode("utf-8-sig", errors="replace")
    strange = [sign for sign in text if not sign.isprintable() and sign not in "\t\r\n\f"]
    undecodable = text.count("\ufffd")
    return text if not strange and undecodable <= len(text) / 10 else None


def _named_text(text: str) -> Unfit:
    start = text.lstrip().lower()
    if start.startswith("version https://git-lfs"):
        return Unfit("a pointer of Git LFS", POINTER, "git lfs pull, or download the file itself")
    if start.startswith("<") or "<html" in start:
        return Unfit("a web page (HTML or XML)", PAGE)
    if start.startswith(("{", "[")):
        cause = "a server's error, or a list of files, was saved in place of the file"
        return Unfit("JSON text", cause)
    return Unfit("a text file", OTHER)
