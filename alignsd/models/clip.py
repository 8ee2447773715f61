"""CLIP through open_clip: one preprocessing, one way to embed, for training and for scoring."""

import copy
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from torch import Tensor, nn

from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.base.paths import user_path
from alignsd.base.reading import listed, read_json
from alignsd.models.registry import resolve, torch_device
from alignsd.models.tower import register
from alignsd.models.weights import (
    check_finite,
    instead_of_file,
    is_file,
    is_torchscript,
    read_tensors,
    short,
    without_prefixes,
)

FITS = ("pad", "crop")
# Numbers that OpenAI's state dict keeps beside the tensors of a CLIP.
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
# Part of a tensor's name -> what the file is.
OTHER_WEIGHTS = {
    "lora": "a LoRA, which changes Stable Diffusion, in place of a CLIP",
    "text_model.": "a CLIP as transformers saves it; this model takes open_clip's or OpenAI's files",
    "down_blocks.": "the UNet of Stable Diffusion in place of a CLIP",
    "model.diffusion_model.": "a checkpoint of Stable Diffusion in place of a CLIP",
}
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

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return embed_texts(self, [""]).shape[1]


def load_clip(
    name: str, weights: Path | str | None = None, device: str = "auto", fit: str = "pad"
) -> Clip:
    """Load a CLIP.

    Args:
        name: ``"miniature/clip"``, an open_clip model name (the paper: ``"ViT-L-14-quickgelu"``, which
            takes OpenAI's weights), a folder in open_clip's layout, or
            ``"ViT-L-14-quickgelu=data/ViT-L-14.pt"``: a model and the file of its pretrained weights,
            which then are not fetched.
        weights: file of fine-tuned weights for that model, ours or the official ``hpc.pt``, see
            ``read_weights``; None for the pretrained weights. With weights nothing is fetched from a hub.
        device: ``"auto"`` or a torch device.
        fit: see ``Clip``.

    Raises:
        Problem: if the model or the fit is unknown, or its weights can be neither found nor fetched,
            do not fit the model, or are not finite numbers.
    """
    name, _, file = name.partition("=")
    file = weights if weights is not None else file or None
    check_fit(fit)
    place, path = torch_device(device), resolve(name)
    state = read_weights(user_path(file)) if file is not None else None
    folder = Path(path) if _is_folder(path) else None
    if folder is not None:
        read_json(folder / "open_clip_config.json")
    known = f"local-dir:{path}" if folder is not None else path
    pretrained = "openai" if folder is None and state is None else None
    try:
        model, is_random = _created(known, pretrained, place)
        tokenizer = open_clip.get_tokenizer(known)
    except Exception as error:  # a folder's configuration can make open_clip raise anything
        if folder is not None:
            _read_all_weights(folder)
        raise _not_loaded(name, error) from error
    if state is not None:
        _load_weights(model, state, Path(file).name)
    elif is_random:
        raise _without_weights(name)
    else:
        check_finite(model.state_dict(), f"The CLIP {name!r}", "get its weights again")
    return Clip(model.eval(), tokenizer, place, fit)


def check_fit(fit: str) -> None:
    """Do nothing if there is such a fit.

    Raises:
        Problem: otherwise.
    """
    if fit not in FITS:
        raise Problem(
            f"there is no fit {fit!r}",
            expected=" or ".join(FITS),
            found=repr(fit),
            cause="a misspelt parameter",
            fix="pad is the paper's training, crop the official scoring scripts'",
        )


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        return False


class _Hushed(logging.Filter):
    """Hold back open_clip's warning that a model has no weights, and remember that it came.

    The warning is false by the time that the reader sees it: the kit loads the weights itself.
    """

    def __init__(self):
        super().__init__()
        self.seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        hushed = str(record.msg).startswith("No pretrained weights loaded")
        self.seen = self.seen or hushed
        return not hushed


def _created(known: str, pretrained: str | None, device: torch.device) -> tuple[nn.Module, bool]:
    """Return open_clip's model, and whether its weights are random."""
    register()  # open_clip asks timm for the miniature's image tower by its name
    hushed = _Hushed()
    root = logging.getLogger()
    root.addFilter(hushed)
    try:
        model = open_clip.create_model(known, pretrained=pretrained, device=device)
    finally:
        root.removeFilter(hushed)
    return model, hushed.seen


def _read_all_weights(folder: Path) -> None:
    """Read the weights in a folder, so that a damaged file is named for what it is."""
    for file in listed(folder, ".safetensors", ".bin", ".pt", ".pth"):
        read_weights(file)


def _without_weights(name: str) -> Problem:
    return Problem(
        f"The folder {short(name)} holds no weights.",
        expected="open_clip_model.safetensors or open_clip_pytorch_model.bin beside open_clip_config.json",
        found="a configuration alone, which would give random scores",
        cause="an unfinished download",
        fix=f"put the weights there, or name their file: {short(name)}=FILE",
    )


def _not_loaded(name: str, error: Exception) -> Problem:
    """Say what is missing: the name, if open_clip does not know it, or else the weights.

    The message names the two places that have the weights.
    """
    source = open_clip.get_pretrained_cfg(name, "openai")
    if not source:
        return Problem(
            f"The CLIP {short(repr(name))} could not be loaded.",
            expected="miniature/clip, an open_clip name with OpenAI's weights, "
            "or a folder in open_clip's layout",
            found=short(told(error), 160),
            cause="a misspelt name, or a folder without a model",
            fix="check the notebook's clip parameter; open_clip.list_models() lists the names",
        )
    hub, url = source["hf_hub"].strip("/"), source["url"]
    file = url.rsplit("/", 1)[-1]
    return Problem(
        f"The weights of the CLIP {name!r} could not be fetched.",
        expected=f"open_clip_model.safetensors of {hub} on the Hugging Face hub, or {file} from {url}",
        found=told(error),
        cause="no network, or the host is gone: docs/data.md",
        fix=f"get either file where there is a network, put it into data/ and set clip to {name}=data/FILE",
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a CLIP's weights: safetensors, or a torch file of tensors such as the official ``hpc.pt``.

    A torch file may hold the tensors under ``state_dict`` and name them with ``module.`` or ``model.``
    in front, as training on several GPUs does. The three numbers that OpenAI keeps beside the
    tensors (``OPENAI_EXTRAS``) are left out. OpenAI's own files are TorchScript, which could run
    code: under whatever name, they are read if their SHA-256 is one in open_clip's table.

    Raises:
        Problem: if the file is missing or damaged, or holds anything but tensors of finite numbers.
    """
    if not is_file(path):
        name = short(Path(path).name)
        raise Problem(
            f"There are no weights {name}.",
            expected=f"a file of weights at {short(path, 200)}",
            found=instead_of_file(path),
            cause="a wrong path, or the file was not downloaded: docs/data.md says where it comes from",
            fix="put the file there, or correct the path",
        )
    if is_torchscript(path) and _is_openai(path):
        state = _scripted(path)
    else:
        again = f"download {short(path.name)} again; docs/data.md says from where"
        state = read_tensors(path, "weights", again)
    return without_prefixes({key: state[key] for key in state if key not in OPENAI_EXTRAS})


def _is_openai(path: Path) -> bool:
    """Return whether a file is, to the bit, one that OpenAI released."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    models = [model for model, tag in open_clip.list_pretrained() if tag == "openai"]
    urls = [open_clip.get_pretrained_url(model, "openai") for model in models]
    return digest in [url.split("/")[-2] for url in urls if url.count("/") > 1]


def _scripted(path: Path) -> dict[str, Tensor]:
    state = torch.jit.load(path, map_location="cpu").state_dict()
    return {key: value.float() for key, value in state.items()}


def _load_weights(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    own = model.state_dict()
    strange = [
        key
        for key in sorted(state.keys() | own.keys())
        if key not in state or key not in own or state[key].shape != own[key].shape
    ]
    if strange:
        # A tensor of both says more than one of a single side.
        first = next((key for key in strange if key in state and key in own), strange[0])
        shapes = [tuple(side[first].shape) if first in side else "absent" for side in (own, state)]
        raise Problem(
            f"the weights {short(name)} do not fit the model",
            expected=f"{len(own)} tensors, {first} {shapes[0]}",
            found=f"{len(state)} tensors, {len(strange)} of them differ, {short(first)} {shapes[1]}",
            cause=_cause_of_misfit(state, own),
            fix="give the clip parameter of the training stage",
        )
    model.load_state_dict(state)


def _cause_of_misfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say what weights are that do not fit a CLIP of open_clip."""
    for sign, kind in OTHER_WEIGHTS.items():
        if any(sign in key for key in state) and not any(sign in key for key in own):
            return kind
    shared = len(state.keys() & own.keys())
    if 10 * shared < len(own):
        return "the weights of another kind of model: hardly a name is CLIP's"
    return "the weights were trained from another CLIP"


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


def check_pictures(images: Sequence[np.ndarray]) -> None:
    """Do nothing if all images are ``(height, width, 3)`` uint8.

    Raises:
        Problem: that says what the first other image is and how to convert it.
    """
    for image in images:
        is_array = isinstance(image, np.ndarray)
        right = is_array and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        if not right or 0 in image.shape:
            raise _no_picture(image)


def _no_picture(image: object) -> Problem:
    causes = ("a picture from another library", "numpy.asarray(picture.convert('RGB'))")
    found = f"an object of type {type(image).__name__}"
    if isinstance(image, np.ndarray):
        found = f"{image.shape} {image.dtype}"
        if image.dtype.kind == "f":
            causes = (
                "a picture whose numbers go from 0 to 1, as torchvision and matplotlib give it",
                "(255 * picture).round().astype(numpy.uint8)",
            )
        elif image.ndim == 3 and image.shape[2] == 4:
            causes = (
                "a picture with transparency",
                "read it with alignsd.base.images.read_image, which lays it over white",
            )
        elif image.ndim == 3 and image.shape[0] == 3:
            causes = ("a picture with its colours first, as torch has it", "picture.transpose(1, 2, 0)")
        elif image.ndim == 2 or image.ndim == 3 and image.shape[2] == 1:
            causes = ("a grey picture, or one picture in place of a list", "[picture], in RGB")
    return Problem(
        "This is not a picture that a CLIP can score.",
        expected="an array (height, width, 3) of uint8, 0 to 255, for each picture",
        found=found,
        cause=causes[0],
        fix=causes[1],
    )


def preprocess(clip: Clip, images: Sequence[np.ndarray]) -> Tensor:
    """Return square, normalized images ``(n, 3, size, size)`` on the model's device.

    Args:
        clip: whose size, fit, mean and spread are used.
        images: ``(height, width, 3)`` uint8 each.

    Raises:
        Problem: if an image has another shape or other numbers.
    """
    check_pictures(images)
    squares = np.stack([to_square(image, clip.size, clip.fit) for image in images])
    pixels = torch.from_numpy(squares).to(clip.device).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v, device=clip.device).view(3, 1, 1)
                 for v in (clip.model.visual.image_mean, clip.model.visual.image_std))
    return (pixels - mean) / std


@torch.no_grad()
def embed_images(clip: Clip, images: Sequence[np.ndarray], batch: int = 256) -> np.ndarray:
    """Return the embeddings of images ``(h, w, 3)`` uint8: unit vectors ``(n, d)``, float32.

    Raises:
        Problem: if an image has another shape or other numbers, or an embedding is not finite.
    """
    parts = []
    for start in range(0, len(images), batch):
        pixels = preprocess(clip, images[start : start + batch])
        parts.append(clip.model.encode_image(pixels, normalize=True).float().cpu())
    return _embeddings(parts)


@torch.no_grad()
def embed_texts(clip: Clip, texts: list[str], batch: int = 256) -> np.ndarray:
    """Return the embeddings of texts: unit vectors ``(n, d)``, float32; equal texts are embedded once.

    Raises:
        Problem: if an embedding is not finite.
    """
    distinct = list(dict.fromkeys(texts))
    parts = []
    for start in range(0, len(distinct), batch):
        tokens = clip.tokenizer(distinct[start : start + batch]).to(clip.device)
        parts.append(clip.model.encode_text(tokens, normalize=True).float().cpu())
    row = {text: i for i, text in enumerate(distinct)}
    return _embeddings(parts)[[row[text] for text in texts]]


def _embeddings(parts: list[Tensor]) -> np.ndarray:
    if not parts:
        return np.empty((0, 0), dtype=np.float32)
    embeddings = torch.cat(parts).numpy()
    if not np.isfinite(embeddings).all():
        raise Problem(
            "The CLIP's embeddings are no finite numbers.",
            expected="finite numbers",
            found=f"{int((~np.isfinite(embeddings)).any(axis=1).sum())} of {len(embeddings)} embeddings "
            "with NaN or infinity",
            cause="weights of a training that diverged, or too large for single precision",
            fix="give other weights, or train again with a lower learning_rate",
        )
    return embeddings
