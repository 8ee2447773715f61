"""CLIP through open_clip: one preprocessing, one way to embed, for training and for scoring."""

import copy
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.factory import load_state_dict
from open_clip.transformer import QuickGELU
from PIL import Image
from torch import Tensor, nn

from alignsd.downloads import FAILED, told
from alignsd.errors import Problem
from alignsd.miniature import timm_tower  # noqa: F401  open_clip finds the miniature's image tower by its name, once this is imported
from alignsd.models import resolve, torch_device
from alignsd.paths import user_path

FITS = ("pad", "crop")
SWAPPED = {nn.GELU: QuickGELU, QuickGELU: nn.GELU}


@dataclass(frozen=True)
class Clip:
    """A CLIP model with all that is needed to feed it and to read its score.

    Attributes:
        model: open_clip's, or anything with its ``encode_image``, ``encode_text`` and ``visual``.
        tokenizer: texts to token ids.
        device: where the model lies.
        fit: how an image becomes a square: ``"pad"`` (paper's training, HPS v2) or ``"crop"`` (OpenAI, official scoring
            scripts, PickScore).
        scale: what the cosine is multiplied by; 100 for CLIP score and every HPS.
    """

    model: nn.Module
    tokenizer: object
    device: torch.device
    fit: str = "pad"
    scale: float = 100.0

    @property
    def size(self) -> int:
        """Side of the square that the image encoder takes, in pixels."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, tuple) else size


def load_clip(name: str, weights: Path | str | None = None, device: str = "auto", fit: str = "pad") -> Clip:
    """Loads a CLIP.

    Args:
        name: ``"miniature/clip"``, an open_clip model name (the paper: ``"ViT-L-14-quickgelu"``, which takes OpenAI's
            weights), a folder in open_clip's layout, or ``"ViT-L-14-quickgelu=data/ViT-L-14.pt"``: a model and the file of its
            pretrained weights, which then are not fetched.
        weights: file of fine-tuned weights for that model, ours or the official ``hpc.pt``, see ``read_weights``; None for
            the pretrained ones. With weights nothing is fetched from a hub.
        device: ``"auto"`` or a torch device.
        fit: see ``Clip``.

    Raises:
        Problem: if the model or the fit is unknown, or its weights can be neither found nor fetched, or do not fit it.
    """
    name, _, file = name.partition("=")
    weights = weights if weights is not None else file or None
    if fit not in FITS:
        raise Problem(f"there is no fit {fit!r}", expected=" or ".join(FITS), found=repr(fit), cause="a misspelt parameter",
                      fix="pad is the paper's training, crop the official scoring scripts'")
    place, path = torch_device(device), resolve(name)
    state = read_weights(user_path(weights)) if weights is not None else None
    known = f"local-dir:{path}" if Path(path).is_dir() else path
    try:
        model = open_clip.create_model(known, pretrained="openai" if known == path and state is None else None, device=place)
    except (RuntimeError, ValueError, *FAILED) as error:
        raise _not_loaded(name, error) from error
    if state is not None:
        _load_weights(model, state, Path(weights).name)
    return Clip(model.eval(), open_clip.get_tokenizer(known), place, fit)


def _not_loaded(name: str, error: Exception) -> Problem:
    """Says what is missing: the name, if open_clip does not know it, or else the weights, with the two places that have them."""
    source = open_clip.get_pretrained_cfg(name, "openai")
    if not source:
        return Problem(f"The CLIP {name!r} could not be loaded.", found=told(error), cause="a misspelt name, or a folder without a model",
                       expected="miniature/clip, an open_clip name with OpenAI's weights, or a folder in open_clip's layout",
                       fix="check the notebook's clip parameter; open_clip.list_models() lists the names")
    hub, url = source["hf_hub"].strip("/"), source["url"]
    return Problem(f"The weights of the CLIP {name!r} could not be fetched.", found=told(error),
                   expected=f"open_clip_model.safetensors of {hub} on the Hugging Face hub, or {url.rsplit('/', 1)[-1]} from {url}",
                   cause="no network, or the host is gone: docs/data.md",
                   fix=f"get either file where there is a network, put it into data/ and set clip to {name}=data/FILE")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a CLIP's weights: safetensors, or a torch file of tensors such as the official ``hpc.pt``.

    A torch file may hold the tensors under ``state_dict`` and name them with ``module.`` in front, as training on several
    GPUs does; open_clip undoes both. It is read with ``weights_only=True``, so that it cannot run code. OpenAI's own files are
    TorchScript, which can: they are read if their SHA-256 is the one in open_clip's table.

    Raises:
        Problem: if the file is missing or damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise Problem(f"There are no weights {path.name}.", expected=f"a file of weights at {path}", found="no such file",
                      cause="a wrong path, or the file was not downloaded: docs/data.md says where it comes from",
                      fix="put the file there, or correct the path")
    try:
        openai = path.suffix == ".pt" and _is_openai(path)
        state = _scripted(path) if openai else load_state_dict(str(path), weights_only=True)
        found = ", ".join(sorted({type(value).__name__ for value in state.values()} - {"Tensor"}))
    except Exception as error:  # unpickling what is no pickle raises a dozen unrelated types
        state, found = {}, " ".join(str(error).split())[:120] or type(error).__name__
    if not state or found:
        raise Problem(f"{path.name} cannot be read as weights.", expected="tensors by name, by themselves or as state_dict",
                      found=found or "no tensors", cause="an unfinished download, or a web page saved under this name",
                      fix=f"download {path.name} again; docs/data.md says from where")
    return state


def _is_openai(path: Path) -> bool:
    """Whether a file is, to the bit, one that OpenAI released."""
    named = [url for model, tag in open_clip.list_pretrained()
             if tag == "openai" and (url := open_clip.get_pretrained_url(model, tag)).endswith(f"/{path.name}")]
    if not named:
        return False
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return any(url.split("/")[-2] == digest for url in named)


def _scripted(path: Path) -> dict[str, Tensor]:
    state = torch.jit.load(path, map_location="cpu").state_dict()
    return {key: value.float() for key, value in state.items() if key not in ("input_resolution", "context_length", "vocab_size")}


def _load_weights(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    own = model.state_dict()
    strange = [key for key in sorted(state.keys() | own.keys())
               if key not in state or key not in own or state[key].shape != own[key].shape]
    if strange:
        shapes = [tuple(side[strange[0]].shape) if strange[0] in side else "absent" for side in (own, state)]
        raise Problem(f"the weights {name} do not fit the model", expected=f"{len(own)} tensors, {strange[0]} {shapes[0]}",
                      found=f"{len(state)} tensors, {len(strange)} of them differ, {strange[0]} {shapes[1]}",
                      cause="the weights were trained from another CLIP", fix="give the clip parameter of the training stage")
    model.load_state_dict(state)


def swap_activation(clip: Clip) -> Clip:
    """Returns a copy of a CLIP with every GELU made a QuickGELU and the other way round, to see what the wrong one does.

    OpenAI's weights were trained with QuickGELU; the official ``process_diffusiondb.py`` runs them with GELU.
    """
    model = copy.deepcopy(clip.model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) in SWAPPED:
                setattr(module, name, SWAPPED[type(child)]())
    return replace(clip, model=model)


def to_square(image: np.ndarray, size: int, fit: str = "pad") -> np.ndarray:
    """Scales an image and makes it a square, ``(size, size, 3)`` uint8.

    Args:
        image: ``(height, width, 3)`` uint8.
        size: side of the result in pixels.
        fit: ``"pad"`` scales the longer side and pads with black (PAPER: HPC's input); ``"crop"`` scales the shorter side and
            cuts the middle out (OpenAI's CLIP).
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    picture = Image.fromarray(image)
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))
    scale = size / max(height, width)
    small = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size))
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return np.asarray(square)


def preprocess(clip: Clip, images: list[np.ndarray]) -> Tensor:
    """Returns square, normalized images ``(n, 3, size, size)`` on the model's device."""
    squares = np.stack([to_square(image, clip.size, clip.fit) for image in images])
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
