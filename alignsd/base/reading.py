"""Read text files that other people made.

Every text file of a reader enters the kit through this module. Each function returns the content,
or raises a ``Problem`` that names the true cause: no file, a folder, another encoding, damaged
JSON. No function of this module raises another exception.
"""

import codecs
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from alignsd.base.errors import Problem
from alignsd.base.paths import shown

LARGEST_TEXT = 4 * 2**30  # bytes; HPD v2's largest table has 0.3 GiB
WEB_PAGE = "a web page was saved in place of the file: the download needs a login or another link"
# Files and folders that an operating system or a tool puts beside the files of a reader.
FOREIGN_FOLDERS = (
    "__MACOSX",
    "__pycache__",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
)
FOREIGN_FILES = ("thumbs.db", "desktop.ini")
# How a compressed file is unpacked beside itself, by the suffix.
UNPACKED_BY = {
    ".gz": "gunzip -k",
    ".tgz": "gunzip -k",
    ".bz2": "bunzip2 -k",
    ".xz": "unxz -k",
    ".zst": "unzstd",
    ".zip": "unzip",
}
LOST_LINK = "a link to a file that is not there"
BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
SAMPLE = 65536  # bytes by which we guess an encoding
WESTERN = "WINDOWS-1252"
# Bytes of WINDOWS-1252 that Western texts use: letters with accents, and common signs.
OF_WESTERN = re.compile(
    rb"[\xc0-\xff\x80\x85\x8c\x91-\x97\x99\x9c\xa0\xa1\xa3\xa7\xa9\xab\xae\xb0\xb4\xb7\xbb\xbf]+"
)
LONGEST_WESTERN = 2  # such bytes in a row, as in the German word for large
# Other encodings in which programs save texts, by names that iconv and Python share.
OTHER_ENCODINGS = {
    "CP932": "Japanese",
    "EUC-JP": "Japanese",
    "GB18030": "Chinese",
    "CP950": "Chinese",
    "CP949": "Korean",
    "CP1251": "Cyrillic",
    "CP1250": "Central European",
    "MACINTOSH": "of old Macs",
}
MOSTLY = 0.9  # share of the bytes or characters that must speak for an encoding
# How files begin that stand in place of other files: first bytes, kind of file, cause.
MISTAKEN = (
    (b"version https://git-lfs", "a pointer of Git LFS", "git lfs pull was not run"),
    (b"<", "a web page", "the download needs a login or another link"),
    (b"\0\x05\x16\x07", "a companion file of macOS", "a copy from a Mac"),
    (b"\x1f\x8b", "a file compressed by gzip", "compressed once more: unpack it"),
    (b"BZh", "a file compressed by bzip2", "compressed once more: unpack it"),
    (b"\xfd7zXZ", "a file compressed by xz", "compressed once more: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "compressed once more: unpack it"),
    (b"Rar!", "a RAR archive", "another kind of archive under this name"),
    (b"7z\xbc\xaf", "a 7z archive", "another kind of archive under this name"),
)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts ``part 2`` before ``part 10``."""
    return [_key_of_piece(piece) for piece in re.split(r"(\d+)", str(name))]


def _key_of_piece(piece: str) -> tuple[int, int, str]:
    if piece.isdecimal() and len(piece) < 30:
        return 1, int(piece), piece
    return 0, 0, piece


def is_foreign(name: str) -> bool:
    """Return whether a file or folder belongs to an operating system or a tool, not to a reader.

    Hidden names, ``__MACOSX``, AppleDouble files (``._x``), ``.ipynb_checkpoints`` and Windows'
    ``Thumbs.db`` and ``desktop.ini`` are foreign.

    Args:
        name: the last part of a path.
    """
    hidden = name.startswith(".")
    return hidden or name in FOREIGN_FOLDERS or name.lower() in FOREIGN_FILES


def is_foreign_member(member: str) -> bool:
    """Return whether any part of a path inside an archive or below a folder is foreign."""
    parts = [part for part in member.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return any(is_foreign(part) for part in parts)


def listed(
    folder: Path | str, *suffixes: str, deep: bool = False, lost: bool = False
) -> list[Path]:
    """Return the regular files of a folder in natural order, without foreign files.

    Args:
        folder: the folder.
        suffixes: such as ``".json"``, in any case; all files if none is given.
        deep: whether folders below are listed too, and folders that links lead to. Each folder is
            listed once, whatever links lead there.
        lost: whether links to files that are not there are listed too, for a caller that counts
            such a file or says what is missing.

    Raises:
        Problem: if the folder is missing or is no folder, or if the folder or a folder below cannot
            be opened.
    """
    folder = Path(folder)
    wanted = tuple(suffix.lower() for suffix in suffixes)
    files: list[Path] = []
    try:
        for place, names in _walked(folder, deep):
            files += [Path(place, name) for name in names if not is_foreign(name)]
    except (OSError, ValueError) as error:
        closed = Path(getattr(error, "filename", None) or folder)
        raise _unreadable(closed, error, "a folder that can be opened") from error
    chosen = [file for file in files if not wanted or file.name.lower().endswith(wanted)]
    held = [file for file in chosen if file.is_file() or (lost and is_lost_link(file))]
    return sorted(held, key=lambda file: natural_key(file.relative_to(folder).as_posix()))


def _walked(folder: Path, deep: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and, if ``deep``, the folders below, each once, with the names of the files.

    Raises:
        OSError: if a folder cannot be opened.
    """
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(place)
        is_new = real not in seen  # links may lead in a circle
        seen.add(real)
        below = [name for name in folders if deep and is_new and not is_foreign(name)]
        folders[:] = sorted(below)
        if is_new:
            yield place, names


def _raise(error: OSError) -> None:
    raise error  # os.walk would pass over a folder that cannot be opened


def is_lost_link(path: Path | str) -> bool:
    """Return whether a path is a link to a file that is not there."""
    return os.path.islink(path) and not os.path.exists(path)


def packed_alone(folder: Path, suffix: str) -> list[Path]:
    """Return the compressed files of a folder that have no unpacked file beside them.

    Args:
        folder: the folder.
        suffix: of the unpacked files: ``".json"`` finds ``c.json.gz`` if there is no ``c.json``.

    Raises:
        Problem: as ``listed``.
    """
    suffixes = [suffix + packing for packing in UNPACKED_BY]
    if suffix == ".tar":
        suffixes.append(".tgz")
    present = {file.name.lower() for file in listed(folder)}
    return [file for file in listed(folder, *suffixes) if _unpacked_name(file) not in present]


def _unpacked_name(file: Path) -> str:
    """Return the name of a compressed file's content, in small letters."""
    name = Path(file.name.lower())
    return name.with_suffix(".tar" if name.suffix == ".tgz" else "").name


def unpacking(file: Path) -> str:
    """Return the command that unpacks a compressed file beside itself."""
    command = f"{UNPACKED_BY[file.suffix.lower()]} {_quoted(shown(file))}"
    is_zip = file.suffix.lower() == ".zip"
    return f"{command} -d {_quoted(shown(file.parent))}" if is_zip else command


def read_bytes(path: Path | str, largest: int = LARGEST_TEXT) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        largest: bytes; a larger file is refused unread.

    Raises:
        Problem: if the file is missing, a folder, a pipe, too large, or cannot be opened.
    """
    path = Path(path)
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            _refuse_if_larger(path, status.st_size, largest)
            return path.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        raise _unreadable(path, error, "a file that can be opened") from error
    raise _no_file(path, status.st_mode)


def _refuse_if_larger(path: Path, size: int, largest: int) -> None:
    if size <= largest:
        return
    raise Problem(
        f"{shown(path)} is too large.",
        expected=f"at most {largest:,} bytes",
        found=f"{size:,} bytes",
        cause="another file than the one that was meant",
        fix="name the right file",
    )


def open_bytes(path: Path | str) -> BinaryIO:
    """Return a regular file, opened for reading bytes: for content that is read as a stream.

    Raises:
        Problem: if the file is missing, a folder, a pipe, or cannot be opened.
    """
    path = Path(path)
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            return open(path, "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, "a file that can be opened") from error
    raise _no_file(path, status.st_mode)


def read_text(path: Path | str, largest: int = LARGEST_TEXT) -> str:
    """Return the content of a text file in UTF-8, with or without a byte order mark.

    Line ends of Windows become ``"\\n"``. So do line ends of old Macs, if a file has no other line
    ends.

    Raises:
        Problem: if the file cannot be read (see ``read_bytes``), or is in another encoding. The
            message names the encoding that was found and the command that converts the file.
    """
    text = decoded(read_bytes(path, largest), shown(path)).replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def decoded(content: bytes, name: str) -> str:
    """Return bytes as text, see ``read_text``.

    Args:
        content: the bytes.
        name: how messages call the file.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            raise _other_encoding(name, encoding, "")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        taken_off = len(content) - len(error.object)  # the byte order mark
        raise _not_utf8(content, taken_off + error.start, name) from None


def _not_utf8(content: bytes, start: int, name: str) -> Problem:
    """Return why bytes cannot be read as UTF-8.

    Args:
        content: the bytes.
        start: the place of the first byte that is not UTF-8.
        name: how messages call the file.
    """
    line = content[:start].count(b"\n") + 1
    where = f" (byte 0x{content[start]:02x} in line {line})"
    wide = _wide_encoding(content)
    if wide is not None:
        return _other_encoding(name, wide, where)
    if _has_control(content):
        return _no_text(name, where, content)
    if _is_mostly_utf8(content[max(0, start - SAMPLE) : start + SAMPLE]):
        return _damaged_text(name, where, line)
    sample = content[content.rfind(b"\n", 0, start) + 1 :][:SAMPLE]
    if _is_western(sample):
        return _other_encoding(name, WESTERN, where)
    return _unknown_encoding(name, _possible_encodings(sample), where, line)


def _no_text(name: str, where: str, content: bytes) -> Problem:
    cause = "another kind of file than its name says, or a damaged copy"
    found, cause = mistaken_for(content[:64]) or ("bytes that no text holds", cause)
    return Problem(
        f"{name} is not text.",
        expected="a text file in the encoding UTF-8",
        found=f"{found}{where}",
        cause=cause,
        fix="open the file in the program that made it, and save it as text in UTF-8",
    )


def _damaged_text(name: str, where: str, line: int) -> Problem:
    return Problem(
        f"{name} is damaged.",
        expected="text in the encoding UTF-8",
        found=f"UTF-8 with bytes that are no UTF-8{where}",
        cause="a download or copy that was cut off, or lines of two files in two encodings",
        fix=f"fetch or write the file again, or mend line {line}",
    )


def _other_encoding(name: str, encoding: str, where: str) -> Problem:
    command = f"iconv -f {encoding} -t UTF-8 {_quoted(name)} > utf8.txt"
    if encoding == WESTERN:
        command += " (if letters are wrong in utf8.txt: CP1250 or CP1254 in place of WINDOWS-1252)"
    return _badly_encoded(name, f"{encoding}{where}", command)


def _unknown_encoding(name: str, possible: list[str], where: str, line: int) -> Problem:
    """Return the error for text in an encoding that the bytes alone do not tell.

    Args:
        name: how messages call the file.
        possible: the encodings in which the bytes are text.
        where: the first byte that is not UTF-8, in words.
        line: the number of this byte's line.
    """
    found = f"an encoding that is not UTF-8{where}"
    if not possible:
        return _badly_encoded(name, found, "fetch the file again")
    kinds = (f"{encoding} ({OTHER_ENCODINGS[encoding]})" for encoding in possible)
    file = _quoted(name)
    first = possible[0]
    show = f"echo $e; sed -n {line}p {file} | iconv -f $e -t UTF-8"
    fix = (
        "see which encoding shows the right letters: "
        f"for e in {' '.join(possible)}; do {show}; done "
        f"and then, if this is {first}: iconv -f {first} -t UTF-8 {file} > utf8.txt"
    )
    return _badly_encoded(name, f"{found}; the bytes can be {', '.join(kinds)}", fix)


def _badly_encoded(name: str, found: str, fix: str) -> Problem:
    return Problem(
        f"{name} is in another encoding.",
        expected="text in the encoding UTF-8",
        found=found,
        cause="the program that saved the file (Excel and Notepad do) chose another encoding",
        fix=f"save it again as UTF-8, or: {fix}",
    )


def _quoted(name: str) -> str:
    """Return a file's name in quotation marks, as a shell reads names."""
    return shlex.quote(name) if "'" in name else f"'{name}'"


def parse_json(text: str | bytes, name: str) -> Any:
    """Return what JSON text holds. NaN and Infinity are read as Python's ``json`` writes them.

    Args:
        text: the text, or the text's bytes in UTF-8.
        name: how messages call the file.

    Raises:
        Problem: if the text is empty, damaged or nested too deeply.
    """
    if isinstance(text, bytes):
        text = decoded(text, name)
    if not text.strip():
        raise Problem(
            f"{name} is empty.",
            expected="JSON",
            found="an empty file",
            cause="an interrupted download, copy or export, or a full disk",
            fix="fetch or write the file again",
        )
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _no_json(name, "brackets nested too deeply", text) from error
    except ValueError as error:
        raise _no_json(name, _without_advice(error), text) from error


def _no_json(name: str, found: str, text: str) -> Problem:
    return Problem(
        f"{name} is not JSON.",
        expected="JSON",
        found=found,
        cause=_cause_of_bad_json(text),
        fix="fetch or write the file again; an edit by hand is mended at the place named",
    )


def read_json(path: Path | str, largest: int = LARGEST_TEXT) -> Any:
    """Return the content of a JSON file.

    Raises:
        Problem: if the file cannot be read, is in another encoding, or is not JSON.
    """
    return parse_json(read_text(path, largest), shown(path))


def read_json_lines(path: Path | str) -> Iterator[tuple[int, Any]]:
    """Yield ``(line number, value)`` for each line of a JSON Lines file; empty lines are left out.

    A line that is not JSON yields a ``Problem`` as the value, so that the caller can count such
    lines.

    Raises:
        Problem: if the file cannot be read or is in another encoding.
    """
    name = shown(path)
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line, f"line {number} of {name}")
        except Problem as problem:
            yield number, problem


def read_lines(path: Path | str) -> list[str]:
    """Return the lines of a text file without their ends.

    Only the line ends of ``read_text`` end a line: a prompt may hold other separators, such as
    U+2028.
    """
    lines = read_text(path).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def mistaken_for(start: bytes) -> tuple[str, str] | None:
    """Return what kind of file cannot be read, and the cause, if the first bytes of the file tell.

    Args:
        start: at least the first 64 bytes.
    """
    start = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, found, cause in MISTAKEN:
        if start.startswith(mark):
            return found, cause
    return None


def page_or_pointer(text: str) -> tuple[str, str] | None:
    """Return what was saved in place of a text file, and the cause, if the first characters tell.

    A prompt may start with ``"<"``, so only the beginnings of whole web pages count as web pages.
    """
    start = text.lstrip("\ufeff \t\r\n")[:40].lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return "a web page", WEB_PAGE
    if start.startswith("version https://git-lfs"):
        cause = "a pointer of Git LFS in place of the file: git lfs pull was not run"
        return "a pointer of Git LFS", cause
    return None


def is_text(value: Any) -> bool:
    """Return whether a value is text that UTF-8 can hold: a lone surrogate is no character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _wide_encoding(content: bytes) -> str | None:
    """Return the encoding of text with two bytes per character, or None for other content."""
    sample = content[:SAMPLE]
    if sample.count(0) <= len(sample) / 4:
        return None
    little = sample[1::2].count(0) >= sample[0::2].count(0)
    return "UTF-16LE" if little else "UTF-16BE"


def _has_control(content: bytes) -> bool:
    """Return whether content holds bytes that stand in no text."""
    return any(byte < 9 or 13 < byte < 32 for byte in content[:SAMPLE])


def _is_mostly_utf8(sample: bytes) -> bool:
    """Return whether most characters beyond ASCII are whole characters of UTF-8."""
    text = sample.decode("utf-8", "replace")
    beyond = sum(character > "\x7f" for character in text)
    return text.count("\ufffd") < (1 - MOSTLY) * beyond


def _is_western(sample: bytes) -> bool:
    """Return whether nearly all bytes beyond ASCII look as in Western text in WINDOWS-1252.

    Such bytes stand alone or in pairs. Cyrillic and Asian words are longer rows of such bytes.
    """
    runs = re.findall(rb"[\x80-\xff]+", sample)
    western = (run for run in runs if len(run) <= LONGEST_WESTERN and OF_WESTERN.fullmatch(run))
    return sum(map(len, western)) >= MOSTLY * sum(map(len, runs))


def _possible_encodings(sample: bytes) -> list[str]:
    """Return the other encodings in which bytes are text. The sample may end inside a character."""
    possible = []
    for encoding in OTHER_ENCODINGS:
        try:
            codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        possible.append(encoding)
    return possible


def _cause_of_bad_json(text: str) -> str:
    mistaken = page_or_pointer(text)
    if mistaken:
        return mistaken[1]
    if "<<<<<<< " in text:
        return "a merge that was not finished"
    return "a download or copy that was cut off, or an edit by hand"


def _without_advice(error: Exception) -> str:
    text = str(error).splitlines()[0]
    if "integer string conversion" in text:
        return "a number with too many digits"
    return text


def _unreadable(path: Path, error: Exception, expected: str) -> Problem:
    if is_lost_link(path):
        return _lost(path, expected)
    found, cause = _reason(error)
    name = shown(path)
    if len(name) > 200:
        name = f"{name[:80]}...{name[-80:]}"
    return Problem(
        f"{name} cannot be read.",
        expected=expected,
        found=found,
        cause=cause,
        fix="mend the path; a relative path of a notebook's parameter starts at the repository, "
        "that of a command where you type the command",
    )


def _lost(path: Path, expected: str) -> Problem:
    name = (Path(shown(path.parent)) / path.name).as_posix()  # shown(path) names the lost file
    return Problem(
        f"{name} cannot be read.",
        expected=expected,
        found=LOST_LINK,
        cause="a copy that left out the files behind the links, such as a hub's blobs; or a drive "
        "that is not mounted",
        fix="copy the folder again with cp -rL, which copies what links lead to, or fetch the file "
        "again",
    )


def _reason(error: Exception) -> tuple[str, str]:
    """Return what an error of the system says about a file, and the likely cause."""
    if type(error) is FileNotFoundError:
        return "no such file or folder", "a wrong path, or the file was not made or fetched yet"
    if type(error) is NotADirectoryError:
        return "a file where a folder was expected", "a wrong path"
    if type(error) is PermissionError:
        return "no permission to open it", "the file belongs to another user"
    if type(error) is MemoryError:
        return "more than fits the memory", "a file that is too large for this machine"
    words = getattr(error, "strerror", None) or str(error)
    return words, "a wrong path, or a failing disk"


def _no_file(path: Path, mode: int) -> Problem:
    is_folder = stat.S_ISDIR(mode)
    return Problem(
        f"{shown(path)} is not a file.",
        expected="a file",
        found="a folder" if is_folder else "a pipe, a socket or a device",
        cause="a path that ends too early, or another name than the one that was meant",
        fix=f"ls {shown(path)}" if is_folder else "name the right file",
    )
