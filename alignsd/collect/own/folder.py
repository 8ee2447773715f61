"""The folder of imported choices: written whole or not at all, never over another data set.

A listing in the folder names the files of the last import. Only these are replaced or deleted.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem
from alignsd.base.paths import shown
from alignsd.base.reading import read_lines

LISTING = "imported_files.txt"  # one path per line
LISTED = re.compile(
    r"preference_images/[0-9]+_[0-9]+\.jpg|preference_(train|test)(_grouped)?\.json"
)


@contextmanager
def new_data_set(out: Path) -> Iterator[Path]:
    """Yield an empty folder, and move the folder's files into ``out`` if the block succeeds.

    Raises:
        Problem: if ``out`` cannot be written, or holds another data set.
    """
    made_here = not os.path.exists(out)
    work = None
    try:
        _make(out)
        earlier = _listed(out)
        _refuse_foreign_files(out, earlier, ["preference_train.json", "preference_test.json"])
        work = Path(tempfile.mkdtemp(prefix=".importing-", dir=out))
        yield work
        _put(work, out, earlier)
    except OSError as error:
        raise _unwritten(out, error) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if made_here and os.path.isdir(out) and not os.listdir(out):
            out.rmdir()


def _make(out: Path) -> None:
    """Make the folder if the folder is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except ValueError as error:  # a name that no folder can have
        raise _unwritten(out, error) from error


def _unwritten(out: Path, error: Exception) -> Problem:
    return Problem(
        "The data set could not be written.",
        expected=f"a folder that can be written: {shown(out)}",
        found=getattr(error, "strerror", None) or str(error),
        cause="a file in the folder's place, no permission, or a full disk",
        fix="name another folder as OUT",
    )


def _listed(out: Path) -> list[str]:
    """Return the files that an earlier import wrote. Other names in the listing do not count."""
    if not os.path.lexists(out / LISTING):
        return []
    return [line for line in read_lines(out / LISTING) if LISTED.fullmatch(line)]


def _put(work: Path, out: Path, earlier: list[str]) -> None:
    """Move a data set into the folder, and delete the other files of an earlier import."""
    new = [file.relative_to(work).as_posix() for file in work.rglob("*") if file.is_file()]
    _refuse_foreign_files(out, earlier, new)
    _write_listing(out, {*earlier, *new})  # first, so that a cut-off import can be replaced
    (out / "preference_images").mkdir(exist_ok=True)
    for name in new:
        os.replace(work / name, out / name)
    for name in set(earlier) - set(new):
        (out / name).unlink(missing_ok=True)
    _write_listing(out, set(new))


def _refuse_foreign_files(out: Path, earlier: list[str], new: list[str]) -> None:
    """Do nothing if no new file would replace a file that no import wrote.

    Raises:
        Problem: otherwise.
    """
    ours = set(earlier)
    foreign = [name for name in new if name not in ours and os.path.lexists(out / name)]
    if foreign:
        raise Problem(
            f"{shown(out)} holds another data set.",
            expected="a new folder, or one that import-choices wrote",
            found=f"{foreign[0]}, which import-choices did not write",
            cause="a released data set, choices collected from a channel, or choices that an older "
            "version of the kit imported",
            fix="name another folder as OUT, or delete the old data set yourself",
        )


def _write_listing(out: Path, names: set[str]) -> None:
    lines = [f"{name}\n" for name in sorted(names)]
    with replacing(out / LISTING) as part:
        part.write_text("".join(lines), encoding="utf-8")
