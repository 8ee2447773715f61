"""Examples for the LoRA: pictures, encoded once as latents onto the disk, and their captions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem, check_seed
from alignsd.base.images import MAX_PIXELS, read_image
from alignsd.base.paths import shown
from alignsd.base.processes import share, wait
from alignsd.base.progress import track
from alignsd.models.files.weights import is_finite

PER_FILE = 4096  # pictures per file of latents; at 512 px in half precision 256 MiB
LARGEST_SIDE = 4096  # pixels; Stable Diffusion 1 draws 512


@dataclass(frozen=True)
class Examples:
    """What the LoRA is trained on.

    Attributes:
        files: moments of the latents, ``(n, 2c, h, w)`` in all, ``PER_FILE`` pictures per array.
            The arrays are memory-mapped: the moments of the paper's 259,000 pictures would fill the
            memory of most machines.
        positions: ``(n,)`` int, the row of ``files`` at which each example stands.
        captions: one caption per example.
        negative: ``(n,)`` bool, whether the example's caption gets the identifier.
    """

    files: list[np.ndarray]
    positions: np.ndarray
    captions: list[str]
    negative: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def moments(self, index: np.ndarray) -> Tensor:
        """Return mean and spread of some examples' latents, ``(len(index), 2c, h, w)`` float32.

        Raises:
            Problem: if the moments are no finite numbers.
        """
        rows = []
        for position in self.positions[index]:
            rows.append(self.files[position // PER_FILE][position % PER_FILE])
        moments = torch.from_numpy(np.stack(rows)).float()
        if not is_finite(moments):
            raise Problem(
                "The latents of a picture are no finite numbers.",
                expected="finite numbers",
                found=f"NaN or infinity among the latents of {len(rows)} pictures",
                cause="damaged files of latents, or an autoencoder that overflows",
                fix="delete the stage's folders latents and latents_few, and run the stage again",
            )
        return moments

    def take(self, start: int, stop: int) -> "Examples":
        """Return the examples ``start`` to ``stop - 1``, or to the last if there are fewer."""
        taken = slice(start, stop)
        return Examples(
            self.files, self.positions[taken], self.captions[taken], self.negative[taken]
        )


@torch.no_grad()
def encode_examples(
    pipeline: StableDiffusionPipeline,
    table: pd.DataFrame,
    size: int,
    seed: int,
    store: Path,
    batch: int = 32,
) -> Examples:
    """Encode the pictures once, and keep mean and spread of the latents.

    Each training step can then draw new latents from mean and spread. Files of latents that an
    earlier call left in ``store`` are read, not made again. Several processes divide the files.

    Args:
        pipeline: with the autoencoder that encodes; the latents get this autoencoder's precision.
        table: columns ``folder``, ``file_name`` (below the folder), ``text`` (caption) and
            ``label``; ``"negative"`` marks negatives.
        size: side of the pictures that the autoencoder gets, in pixels.
        seed: fixes the crops; the crop of a picture follows from the picture's name.
        store: folder for the latents of this table.
        batch: pictures at a time.

    Raises:
        Problem: if there are no pictures, the size or the seed is out of range, or a file of
            latents in ``store`` is damaged.
    """
    check_seed(seed)
    _check_resolution(pipeline, size)
    if table.empty:
        raise Problem(
            "There are no pictures to train on.",
            expected="1 picture or more",
            found="0 pictures",
            cause="no picture was selected, or regularization_images is 0",
            fix="look at what the selection left out, or set regularization_images higher",
        )
    # Deviation: the official code draws a new crop in every epoch. With one crop per picture the
    # latents can be kept.
    store.mkdir(parents=True, exist_ok=True)
    pictures_of_file = {
        store / f"{start // PER_FILE:05d}.npy": table.iloc[start : start + PER_FILE]
        for start in range(0, len(table), PER_FILE)
    }
    own = share(list(pictures_of_file.items()))
    total = sum(len(pictures) for _, pictures in own)
    with track(total=total, what="encoding pictures", unit="picture") as bar:
        for path, pictures in own:
            if not path.exists():
                starts = range(0, len(pictures), batch)
                moments = [
                    _moments(pipeline, pictures.iloc[i : i + batch], size, seed) for i in starts
                ]
                with replacing(path) as unfinished:
                    np.save(unfinished, np.concatenate(moments))
            bar.update(len(pictures))
    wait()
    files = [read_latents(path, len(pictures)) for path, pictures in pictures_of_file.items()]
    negative = (table["label"] == "negative").to_numpy()
    return Examples(files, np.arange(len(table)), table["text"].tolist(), negative)


def _check_resolution(pipeline: StableDiffusionPipeline, size: int) -> None:
    # Below two latents a side, the UNet cannot halve the sides of the input.
    smallest = 2 * pipeline.vae_scale_factor
    if not smallest <= size <= LARGEST_SIDE:
        raise Problem(
            "resolution is out of its range.",
            expected=f"{smallest} to {LARGEST_SIDE:,} pixels",
            found=repr(size),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix="--set resolution=512 (the paper), or 64 for the miniature",
        )


def _moments(
    pipeline: StableDiffusionPipeline, table: pd.DataFrame, size: int, seed: int
) -> np.ndarray:
    """Return mean and spread of the latents of a table's pictures, ``(n, 2c, h, w)``."""
    squares = []
    for folder, name in zip(table["folder"], table["file_name"], strict=True):
        rng = np.random.default_rng((seed, *name.encode()))
        squares.append(crop(read_image(Path(folder) / name), size, rng))
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 127.5 - 1
    autoencoder = pipeline.vae
    posterior = autoencoder.encode(pixels.to(autoencoder.device, autoencoder.dtype)).latent_dist
    return torch.cat([posterior.mean, posterior.std], dim=1).cpu().numpy()


def crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Scale an image's shorter side to ``size``, and cut a random square out (official code).

    Args:
        image: ``(height, width, 3)`` uint8.
        size: side of the square in pixels.
        rng: draws where the square lies.

    Returns:
        ``(size, size, 3)`` uint8; the scaling is bilinear.
    """
    height, width = image.shape[:2]
    scale = size / min(height, width)
    new_width, new_height = max(size, round(width * scale)), max(size, round(height * scale))
    top = int(rng.integers(new_height - size + 1))
    left = int(rng.integers(new_width - size + 1))
    if new_width * new_height > MAX_PIXELS:  # a picture one pixel wide: scale only the square
        square = (left / scale, top / scale, (left + size) / scale, (top + size) / scale)
        inside = np.clip(square, 0, (width, height, width, height))
        x0, y0, x1, y1 = inside.tolist()
        return _scaled(image, (size, size), (x0, y0, x1, y1))
    if scale != 1:
        image = _scaled(image, (new_width, new_height))
    return image[top : top + size, left : left + size]


def _scaled(
    image: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Return an image, or what lies in a box ``(left, top, right, bottom)``, at another size."""
    picture = Image.fromarray(image)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box))


def read_latents(path: Path, count: int) -> np.ndarray:
    """Return the moments in a file of latents, memory-mapped, ``(count, 2c, h, w)``.

    Raises:
        Problem: if the file is damaged, or holds something else.
    """
    try:
        moments = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damage makes numpy raise EOFError, ValueError, OSError ...
        raise _bad_latents(path, count, "an empty, cut or damaged file") from error
    if not isinstance(moments, np.ndarray) or moments.dtype.kind != "f":
        raise _bad_latents(path, count, "no array of floating-point numbers")
    if moments.ndim != 4 or len(moments) != count or moments.shape[1] % 2 or 0 in moments.shape:
        raise _bad_latents(path, count, f"an array {moments.shape}")
    return moments


def _bad_latents(path: Path, count: int, found: str) -> Problem:
    return Problem(
        f"The latents {path.name} cannot be used.",
        expected=f"an array (pictures, channels, height, width) of {count} pictures",
        found=found,
        cause="a full disk, a copy that was cut off, or latents of other pictures",
        fix=f"delete {shown(path.parent)}, and run the stage again: it makes the latents anew",
    )
