"""CLIP through open_clip: one preprocessing, one way to embed, for training and for scoring."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from alignsd.errors import Problem
from alignsd.models import resolve, torch_device


@dataclass(frozen=True)
class Clip:
    """A CLIP model with all that is needed to feed it."""

    model: nn.Module
    tokenizer: object
    device: torch.device

    @property
    def size(self) -> int:
        """Side of the square that the image encoder takes, in pixels."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, tuple) else size


def load_clip(name: str, weights: Path | None = None, device: str = "auto") -> Clip:
    """Loads a CLIP.

    Args:
        name: ``"miniature/clip"``, an open_clip model name (the paper: ``"ViT-L-14-quickgelu"``, which takes OpenAI's
            weights), or a folder in open_clip's layout.
        weights: safetensors file of fine-tuned weights, e.g. those of HPS; None for the pretrained ones.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the model is unknown or the weights do not fit it.
    """
    place = torch_device(device)
    path = resolve(name)
    known = f"local-dir:{path}" if Path(path).is_dir() else path
    try:
        model = open_clip.create_model(known, pretrained=None if known != path else "openai", device=place)
    except (RuntimeError, FileNotFoundError, OSError) as error:
        raise Problem(f"the CLIP {name!r} could not be loaded", expected="miniature/clip, an open_clip name or a folder",
                      found=str(error).splitlines()[0], cause="a misspelt name, or no network to fetch its weights",
                      fix="check the notebook's clip parameter; open_clip.list_models() lists the names") from error
    if weights is not None:
        _load_weights(model, weights)
    return Clip(model.eval(), open_clip.get_tokenizer(known), place)


def _load_weights(model: nn.Module, weights: Path) -> None:
    state = load_file(weights)
    if state.keys() != model.state_dict().keys():
        raise Problem(f"the weights {weights.name} do not fit the model", expected=f"{len(model.state_dict())} tensors",
                      found=f"{len(state)} tensors, {len(state.keys() ^ model.state_dict().keys())} names differ",
                      cause="the weights were trained from another CLIP", fix="give the clip parameter of the training stage")
    model.load_state_dict(state)


def pad_to_square(image: np.ndarray, size: int) -> np.ndarray:
    """Scales an image so that its longer side is ``size`` and pads with black to a square (PAPER: HPC's input).

    Args:
        image: ``(height, width, 3)`` uint8.
        size: side of the result in pixels.

    Returns:
        ``(size, size, 3)`` uint8.
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    scale = size / max(height, width)
    small = Image.fromarray(image).resize((max(1, round(width * scale)), max(1, round(height * scale))),
                                          Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size))
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return np.asarray(square)


def preprocess(clip: Clip, images: list[np.ndarray]) -> Tensor:
    """Returns padded, normalized images ``(n, 3, size, size)`` on the model's device."""
    squares = np.stack([pad_to_square(image, clip.size) for image in images])
    pixels = torch.from_numpy(squares).to(clip.device).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v, device=clip.device).view(3, 1, 1)
                 for v in (clip.model.visual.image_mean, clip.model.visual.image_std))
    return (pixels - mean) / std


@torch.no_grad()
def embed_images(clip: Clip, images: list[np.ndarray], batch: int = 256) -> np.ndarray:
    """Embeds images ``(h, w, 3)`` uint8 as unit vectors ``(n, d)``, float32."""
    parts = [clip.model.encode_image(preprocess(clip, images[i:i + batch]), normalize=True).float().cpu()
             for i in range(0, len(images), batch)]
    return torch.cat(parts).numpy() if parts else np.empty((0, 0), dtype=np.float32)


@torch.no_grad()
def embed_texts(clip: Clip, texts: list[str], batch: int = 256) -> np.ndarray:
    """Embeds texts as unit vectors ``(n, d)``, float32; equal texts are embedded once."""
    distinct = list(dict.fromkeys(texts))
    parts = [clip.model.encode_text(clip.tokenizer(distinct[i:i + batch]).to(clip.device), normalize=True).float().cpu()
             for i in range(0, len(distinct), batch)]
    row = {text: i for i, text in enumerate(distinct)}
    return torch.cat(parts).numpy()[[row[text] for text in texts]] if parts else np.empty((0, 0), dtype=np.float32)
