"""What the benchmarks work on: pictures, choices, parts and examples, made without a model.

The pictures are rendered or made of noise, so that a benchmark needs no finished notebook.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from alignsd.adapt.examples import PER_FILE, Examples
from alignsd.base.images import save_png
from alignsd.miniature.web import FLAW_SHARE, make_web
from alignsd.miniature.world import captions

SEED = 0
DISTINCT = 200  # rendered pictures; more pictures repeat them under other names
MEMBER = "00000000-0000-4000-8000-{number:012x}.{ending}"  # as DiffusionDB names its pictures


@dataclass(frozen=True)
class PartSize:
    """How large the parts of a benchmark are.

    Attributes:
        parts: number of zip files.
        pictures: in each part (DiffusionDB: 1,000).
        per_prompt: pictures of a prompt (DiffusionDB Large: 7.8; the miniature: 5).
        kind: of the picture files, ``"PNG"`` (miniature) or ``"WEBP"`` (DiffusionDB), lossless.
    """

    parts: int
    pictures: int
    per_prompt: int = 5
    kind: str = "PNG"

    @property
    def in_all(self) -> int:
        """Pictures in all parts."""
        return self.parts * self.pictures


def rendered(count: int) -> list[np.ndarray]:
    """Return pictures of the miniature's world, ``(64, 64, 3)`` uint8, some of them twice."""
    web = make_web(min(count, DISTINCT), SEED, FLAW_SHARE)
    return list(islice(cycle(web.pictures), count))


def noisy(count: int, side: int = 512) -> list[np.ndarray]:
    """Return smooth pictures with grain, ``(side, side, 3)`` uint8.

    As lossless WebP a picture of 512 pixels has half a megabyte, like the pictures of DiffusionDB.
    """
    rng = np.random.default_rng(SEED)
    pictures = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
        grain = rng.normal(0, 5, smooth.shape)
        pictures.append((smooth + grain).clip(0, 255).astype(np.uint8))
    return pictures


def prompts(count: int) -> list[str]:
    """Return prompts of the miniature's world, nearly all of them different."""
    return captions(count, np.random.default_rng(SEED))


def write_parts(folder: Path, size: PartSize, pictures: Sequence[np.ndarray]) -> None:
    """Write parts in the layout of DiffusionDB.

    Args:
        folder: gets ``images/part-XXXXXX.zip``.
        size: of the parts.
        pictures: ``(h, w, 3)`` uint8 each; taken in turn, again from the first if there are few.
    """
    encoded = cycle([_encoded(picture, size.kind) for picture in pictures])
    texts = prompts(-(-size.in_all // size.per_prompt))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for part in range(size.parts):
        name = f"part-{part + 1:06d}"
        numbers = range(part * size.pictures, (part + 1) * size.pictures)
        entries = {}
        with zipfile.ZipFile(folder / "images" / f"{name}.zip", "w") as archive:
            for number in numbers:
                member = MEMBER.format(number=number, ending=size.kind.lower())
                prompt = texts[number // size.per_prompt]
                entries[member] = {"p": prompt, "se": number, "c": 7.0, "st": 50, "sa": "k_lms"}
                archive.writestr(member, next(encoded))
            archive.writestr(f"{name}.json", json.dumps(entries))


def _encoded(picture: np.ndarray, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, lossless=True)
    return content.getvalue()


def unpacked(folder: Path) -> Iterator[tuple[Path, str]]:
    """Unpack the parts beside their zips, and yield each picture's file and prompt."""
    for path in sorted((folder / "images").glob("*.zip")):
        target = folder / "unpacked" / path.stem
        with zipfile.ZipFile(path) as archive:
            archive.extractall(target)
        entries = json.loads((target / f"{path.stem}.json").read_text())
        for member, entry in entries.items():
            yield target / member, entry["p"]


def write_choices(folder: Path, count: int, pictures_per_choice: int = 4) -> pd.DataFrame:
    """Write the pictures of choices as PNG, and return the table of the choices.

    The choices are noise. A training on them costs as much as a training on real choices.
    """
    texts = prompts(count)
    chosen = np.random.default_rng(SEED).integers(pictures_per_choice, size=count)
    pictures = iter(rendered(count * pictures_per_choice))
    rows = []
    for number in range(count):
        files = [f"images/{number}-{index}.png" for index in range(pictures_per_choice)]
        for file in files:
            save_png(folder / file, next(pictures))
        rows.append((str(number), texts[number], files, int(chosen[number])))
    return pd.DataFrame(rows, columns=["id", "prompt", "file_path", "human_preference"])


def write_examples(folder: Path, count: int) -> Examples:
    """Write files of latents as the kit does, made of noise, and return the examples."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    for start in range(0, count, PER_FILE):
        rows = min(PER_FILE, count - start)
        moments = rng.random((rows, 8, 8, 8), dtype=np.float32)
        np.save(folder / f"{start // PER_FILE:05d}.npy", moments)
    return read_examples(folder)


def read_examples(folder: Path) -> Examples:
    """Return the examples that ``write_examples`` wrote into ``folder``.

    A quarter of the examples are negatives. The files are memory-mapped, as in a real training.
    """
    files = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    count = sum(len(file) for file in files)
    texts = list(islice(cycle(prompts(min(count, DISTINCT))), count))
    return Examples(files, np.arange(count), texts, np.arange(count) % 4 == 0)
