"""Files that are either whole or absent: written beside their place, then renamed."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignsd.errors import Problem


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and puts it in ``path``'s place if the block ends well.

    The temporary path keeps the suffix, for writers that choose a format by it. It need not exist beforehand; parent
    folders are made. If the block raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: the file to write or to replace.

    Raises:
        FileNotFoundError: if the block did not write the temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Writes ``value`` as indented JSON; numpy scalars and arrays become numbers and lists.

    Raises:
        Problem: if ``value`` holds a NaN, an infinity or something that JSON cannot hold.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise Problem(f"{Path(path).name} could not be written.", expected="finite numbers, text, lists and dictionaries",
                      found=str(error), cause="a mean over nothing, or an object put into a result by mistake",
                      fix="look at the value printed above; None stands for a value that does not exist") from error
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path | str, table) -> None:
    """Writes a pandas ``DataFrame`` as parquet, without its index."""
    with replacing(path) as part:
        table.to_parquet(part, index=False)


def read_table(path: Path | str, columns: Sequence[str] | None = None):
    """Return a table that ``write_table`` wrote.

    A table that a stage left for another one is checked, see ``tables``.

    Args:
        path: the parquet file.
        columns: those that are needed; None for all there are.

    Raises:
        Problem: if the table is missing or damaged, lacks a column, or was changed by hand.
    """
    import pandas as pd  # takes half a second: only when a table is read
    from pyarrow import ArrowException

    from alignsd import tables

    name = tables.name_of(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise ValueError("a folder, a pipe or a device in place of a file")
        table = pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        stage = None if name is None else tables.TABLES[name].stage
        again = f"delete {Path(path).name} and run the notebook that writes it again"
        raise Problem(
            f"{Path(path).name} cannot be read.",
            expected="a whole parquet table" + (f" with {', '.join(columns)}" if columns else ""),
            found=next(iter(str(error).splitlines()), type(error).__name__),
            cause="it was deleted, edited, cut off by a full disk, or written by another version",
            fix=again if stage is None else tables.command_for(stage, path),
        ) from error
    return table if name is None else tables.checked_table(table, name, path, columns)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
