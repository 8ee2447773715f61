"""Unpacks webdataset shards, as img2dataset writes them, into an imagefolder: once, counted, and to the bit.

A shard ``00000.tar`` holds ``000000000.jpg``, ``.txt`` (the caption) and ``.json`` of each picture that could be had;
``00000_stats.json`` beside it says how many links were dead.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path, PurePosixPath

from alignsd.atomic import replacing, write_json
from alignsd.errors import Problem
from alignsd.imagefolder import METADATA
from alignsd.progress import track

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
RATINGS = ("rating", "aesthetic", "AESTHETIC_SCORE")  # columns of the lists that img2dataset was given
COUNTS = "unpacked.json"


def unpack_shards(source: Path, out: Path) -> Counter:
    """Writes the pictures of all shards and, last, their captions and ratings; a folder that was unpacked before is left alone.

    Pictures are not opened: whether they are whole shows when they are read.

    Args:
        source: folder with ``*.tar``.
        out: the imagefolder; pictures keep the bytes they had in the shard.

    Returns:
        How many pictures were ``unpacked``, and how many were left out for which reason; dead links as img2dataset counted.

    Raises:
        Problem: if a shard cannot be read.
    """
    if (out / METADATA).exists():
        return Counter(json.loads((out / COUNTS).read_text(encoding="utf-8")))
    lines, counts = [], Counter()
    for shard in track(sorted(source.glob("*.tar")), what="unpacking", unit="shard"):
        counts.update(_dead_links(shard))
        for name, picture, caption, rating in _samples(shard):
            if picture is None or not caption:
                counts["caption without picture" if picture is None else "picture without caption"] += 1
                continue
            with replacing(out / name) as part:
                part.write_bytes(picture)
            lines.append(json.dumps({"file_name": name, "text": caption} | rating, ensure_ascii=False))
            counts["unpacked"] += 1
    write_json(out / COUNTS, counts)
    with replacing(out / METADATA) as part:
        part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return counts


def _samples(shard: Path) -> Iterator[tuple[str, bytes | None, str | None, dict[str, float]]]:
    """Yields ``(file name, picture, caption, rating)`` of each sample, whose members stand one after the other under one key."""
    try:
        with tarfile.open(shard, "r|") as archive:
            key, members = "", {}
            for member in archive:
                path = PurePosixPath(member.name)
                if not member.isfile() or ".." in path.parts:
                    continue
                if path.stem != key and members:
                    yield _sample(shard, key, members)
                    members = {}
                key = path.stem
                members[path.suffix.lower()] = archive.extractfile(member).read()
            if members:
                yield _sample(shard, key, members)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Problem(f"{shard.name} cannot be read.", expected="a tar file", found=str(error) or type(error).__name__,
                      cause="a download that was cut off", fix=f"download {shard.name} again, or move it away") from error


def _sample(shard: Path, key: str, members: dict[str, bytes]) -> tuple[str, bytes | None, str | None, dict[str, float]]:
    suffix = next((suffix for suffix in PICTURES if suffix in members), "")
    caption = members[".txt"].decode("utf-8", "replace").strip() if ".txt" in members else None
    return f"{shard.stem}/{key}{suffix}", members.get(suffix), caption, _rating(members.get(".json"))


def _rating(described: bytes | None) -> dict[str, float]:
    """Returns ``{"rating": ...}`` if a picture's JSON holds one, as img2dataset's ``--save_additional_columns`` puts it there."""
    try:
        columns = json.loads(described or b"{}")
        rating = next((columns[name] for name in RATINGS if name in columns), None)
    except (ValueError, TypeError):
        return {}
    return {"rating": rating} if isinstance(rating, int | float) and not isinstance(rating, bool) and isfinite(rating) else {}


def _dead_links(shard: Path) -> Counter:
    """How many links of a shard gave no picture, by img2dataset's own count; nothing if it left none."""
    path = shard.with_name(f"{shard.stem}_stats.json")
    try:
        stats = json.loads(path.read_text(encoding="utf-8"))
        return +Counter({"dead link": int(stats["failed_to_download"]), "picture could not be scaled": int(stats["failed_to_resize"])})
    except FileNotFoundError:
        return Counter()
    except (ValueError, KeyError, TypeError):
        return Counter({"shard whose statistics cannot be read": 1})
