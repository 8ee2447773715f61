"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from alignsd.collect.exports import export_files

if TYPE_CHECKING:  # the server loads torch, which takes seconds that most commands need not wait
    from alignsd.miniature.server import Server

SIMULATED = "miniature"


def export(source: str, folder: Path, server: "Server") -> list[Path]:
    """Return the files of the Discord export that a parameter ``export`` names.

    Args:
        source: a JSON file, a folder of JSON files, or ``"miniature"``.
        folder: where the simulated server writes its export; nothing is written for a real export.
        server: the simulated server's settings.

    Raises:
        Problem: if there is no such file, or no JSON file in the folder.
    """
    if source != SIMULATED:
        return export_files(source)
    from alignsd.miniature.server import write_export

    return [write_export(folder, server)]
