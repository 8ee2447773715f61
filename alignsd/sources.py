"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from alignsd.base.errors import Problem
from alignsd.base.paths import user_path

if TYPE_CHECKING:
    from alignsd.adapt.regularization import Wanted


def regularization(name: str, own: Path, seed: int, wanted: "Wanted") -> Path:
    """Return the imagefolder that a parameter ``regularization`` names.

    Args:
        name: an imagefolder; a folder of webdataset shards, which are unpacked into ``own``; or
            ``"miniature"``, which writes pictures of the simulated web into ``own``.
        own: where to write.
        seed: fixes which pictures of the simulated web are written.
        wanted: how many pictures, and how high they rate.

    Raises:
        Problem: if the folder does not exist, the shards cannot be unpacked, or the simulated web
            has too few pictures that rate so high.
    """
    # Both load libraries that take seconds; no other parameter needs them.
    if name == "miniature":
        from alignsd.miniature.corpus import write_regularization

        rater, rating = wanted.rater, wanted.minimum_rating
        write_regularization(
            own, wanted.n, seed, rating, rater.clip, rater.aesthetic, rater.device
        )
        return own
    from alignsd.adapt.webshards import as_imagefolder

    folder = user_path(name)
    if not os.path.isdir(folder):  # also False for a name that no folder can have
        raise Problem(
            "The folder of regularization images does not exist.",
            expected="an imagefolder, webdataset shards, or miniature",
            found=f"a file, {name!r}" if os.path.isfile(folder) else repr(name[:200]),
            cause="a misspelt path, or a file in place of its folder",
            fix="--set regularization=miniature, or the path of a folder",
        )
    return as_imagefolder(folder, own)
