"""CLIP through open_clip: one preprocessing, one way to embed, for training and for scoring."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.base.paths import user_path
from alignsd.base.reading import listed, read_json
from alignsd.models.clip_pictures import check_fit, check_pictures, to_square
from alignsd.models.clip_weights import load_weights, read_weights
from alignsd.models.files.quantized import check_not_quantized
from alignsd.models.files.vocabulary import bad_tokenizer, check_vocabulary
from alignsd.models.files.weights import check_finite
from alignsd.models.files.wording import short
from alignsd.models.registry import checked_precision, resolve, scoring_precision, torch_device
from alignsd.models.tower import register

SWAPPED = {nn.GELU: QuickGELU, QuickGELU: nn.GELU}


@dataclass(frozen=True)
class Clip:
    """A CLIP model with a tokenizer, a way to fit images, and the scale of the score.

    Attributes:
        model: open_clip's, or a model with the same ``encode_image``, ``encode_text``, ``visual``.
        tokenizer: texts to token ids ``(n, tokens)``.
        device: where the model lies.
        fit: how an image becomes a square: ``"pad"`` (the paper's training, HPS v2) or ``"crop"``
            (OpenAI, the official scoring scripts, PickScore).
        scale: factor of the cosine; 100 for the CLIP score and every HPS.
        precision: of the image encoder's matrix products in ``embed_images``, see
            ``registry.scoring_precision``. Texts are embedded, and models trained, in single
            precision: each text is embedded once, for all of its images.
    """

    model: open_clip.CLIP
    tokenizer: Callable[[list[str]], Tensor]
    device: torch.device
    fit: str = "pad"
    scale: float = 100.0
    precision: torch.dtype = torch.float32

    @property
    def size(self) -> int:
        """Side of the square that the image encoder takes, in pixels."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, tuple) else size

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return embed_texts(self, [""]).shape[1]


@torch.no_grad()
def embed_images(clip: Clip, images: Sequence[np.ndarray], batch: int = 256) -> np.ndarray:
    """Return the embeddings of images ``(h, w, 3)`` uint8: unit vectors ``(n, d)``, float32.

    Raises:
        Problem: if an image has another shape or other numbers, or an embedding is not finite.
    """
    embeddings = []
    for start in range(0, len(images), batch):
        pixels = preprocess(clip, images[start : start + batch])
        embeddings.append(_encoded(clip, pixels).float().cpu())
    return _joined(embeddings)


def _encoded(clip: Clip, pixels: Tensor) -> Tensor:
    """Return the unit vectors of preprocessed images, ``(n, d)``.

    In half precision the matrix products alone are in half precision. The sums along the residual
    stream, the norms and the length of the embedding stay in single precision. So does the last
    layer of an encoder of timm, whose rounding would move scores more than all other layers do.
    """
    if clip.precision == torch.float32:
        return clip.model.encode_image(pixels, normalize=True)
    visual = clip.model.visual
    with torch.autocast(clip.device.type, clip.precision):
        encoded = visual.trunk(pixels) if isinstance(visual, TimmModel) else visual(pixels)
    embedded = visual.head(encoded.float()) if isinstance(visual, TimmModel) else encoded
    return F.normalize(embedded.float(), dim=-1)


@torch.no_grad()
def embed_texts(clip: Clip, texts: list[str], batch: int = 256) -> np.ndarray:
    """Return the embeddings of texts: unit vectors ``(n, d)``, float32.

    Equal texts are embedded once.

    Raises:
        Problem: if an embedding is not finite.
    """
    distinct = list(dict.fromkeys(texts))
    embeddings = []
    for start in range(0, len(distinct), batch):
        tokens = clip.tokenizer(distinct[start : start + batch]).to(clip.device)
        embeddings.append(clip.model.encode_text(tokens, normalize=True).float().cpu())
    index_of_text = {text: index for index, text in enumerate(distinct)}
    return _joined(embeddings)[[index_of_text[text] for text in texts]]


def _joined(embeddings_by_batch: list[Tensor]) -> np.ndarray:
    """Return the embeddings of all batches ``(n, d)``, if they are finite."""
    if not embeddings_by_batch:
        return np.empty((0, 0), dtype=np.float32)
    embeddings = torch.cat(embeddings_by_batch).numpy()
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        count = int((~finite).sum())
        raise Problem(
            "The CLIP's embeddings are no finite numbers.",
            expected="finite numbers",
            found=f"{count} of {len(embeddings)} embeddings with NaN or infinity",
            cause="weights of a training that diverged, or too large for single precision",
            fix="give other weights, or train again with a lower learning_rate",
        )
    return embeddings


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
    mean = torch.tensor(clip.model.visual.image_mean, device=clip.device).view(3, 1, 1)
    spread = torch.tensor(clip.model.visual.image_std, device=clip.device).view(3, 1, 1)
    return (pixels - mean) / spread


def load_clip(
    name: str,
    weights: Path | str | None = None,
    device: str = "auto",
    fit: str = "pad",
    precision: torch.dtype | None = None,
) -> Clip:
    """Load a CLIP.

    Args:
        name: ``"miniature/clip"``, an open_clip model name (the paper: ``"ViT-L-14-quickgelu"``,
            which takes OpenAI's weights), a folder in open_clip's layout, or
            ``"ViT-L-14-quickgelu=data/ViT-L-14.pt"``: a model and the file of the pretrained
            weights, which then are not fetched.
        weights: file of fine-tuned weights for that model, ours or the official ``hpc.pt``, see
            ``clip_weights.read_weights``; None for the pretrained weights. With weights nothing is
            fetched from a hub.
        device: ``"auto"`` or a torch device.
        fit: see ``Clip``.
        precision: see ``Clip``; None for ``registry.scoring_precision``.

    Raises:
        Problem: if the model, the fit or the precision is unknown, the tokenizer has no vocabulary,
            or the weights can be neither found nor fetched, do not fit the model, or are not
            finite numbers.
    """
    name, file_of_name = _model_and_file(name)
    file = weights
    if weights is None and file_of_name:
        file = file_of_name
    check_fit(fit)
    target, path = torch_device(device), resolve(name)
    precision = scoring_precision(target) if precision is None else checked_precision(precision)
    state = read_weights(user_path(file)) if file is not None else None
    folder = Path(path) if _is_folder(path) else None
    if folder is not None:
        read_json(folder / "open_clip_config.json")
    known = f"local-dir:{path}" if folder is not None else path
    pretrained = "openai" if folder is None and state is None else None
    try:
        model, is_random = _created(known, pretrained, target)
    except Exception as error:  # a folder's configuration can make open_clip raise anything
        if folder is not None:
            _read_all_weights(folder)
            if "loading state_dict" in str(error):
                raise _misfit(name, error) from error
        raise _not_loaded(name, error) from error
    tokenizer = _tokenizer(known, name, folder)
    if state is not None:
        load_weights(model, state, Path(file or name).name)
    elif is_random:
        raise _without_weights(name)
    else:
        what, again = f"The CLIP {name!r}", "get its weights again"
        check_finite(model.state_dict(), what, again)
        check_not_quantized(path, model.state_dict(), what, again)
    return Clip(model.eval(), tokenizer, target, fit, precision=precision)


def _model_and_file(name: str) -> tuple[str, str]:
    """Return the model and the file of ``MODEL=FILE``, or the model and no file.

    The name of a folder may hold ``=``: the longest part of the text that is a folder is the model.
    """
    signs = [place for place, sign in enumerate(name) if sign == "="]
    for end in (len(name), *reversed(signs)):
        model, file = name[:end], name[end + 1 :]
        if model and not model.startswith("miniature/") and _is_folder(resolve(model)):
            return model, file
    model, _, file = name.partition("=")
    return model, file


def _tokenizer(known: str, name: str, folder: Path | None) -> Callable[[list[str]], Tensor]:
    """Return open_clip's tokenizer, if the tokenizer tells words apart."""
    try:
        tokenizer = open_clip.get_tokenizer(known)
    except Exception as error:  # damaged files make transformers raise a dozen unrelated types
        if folder is None:
            raise _not_loaded(name, error) from error
        for file in listed(folder, ".json"):
            read_json(file)
        raise bad_tokenizer(f"The CLIP {name!r}", short(told(error), 160)) from error
    check_vocabulary(tokenizer, f"The CLIP {name!r}")
    return tokenizer


def _is_folder(path: str) -> bool:
    """Return whether a path is a folder, also for names that no folder can have."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


class _Hushed(logging.Filter):
    """Hold back open_clip's warning that a model has no weights, and remember the warning.

    The warning would be false when the reader sees it: the kit loads the weights afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record may be logged, and remember a record that may not."""
        hushed = str(record.msg).startswith("No pretrained weights loaded")
        self.seen = self.seen or hushed
        return not hushed


def _created(
    known: str, pretrained: str | None, device: torch.device
) -> tuple[open_clip.CLIP, bool]:
    """Return open_clip's model, and whether its weights are random."""
    register()  # open_clip asks timm for the miniature's image tower by name
    hushed = _Hushed()
    root = logging.getLogger()
    root.addFilter(hushed)
    try:
        model = open_clip.create_model(known, pretrained=pretrained, device=device)
    finally:
        root.removeFilter(hushed)
    return model, hushed.seen


def _read_all_weights(folder: Path) -> None:
    """Read the weights in a folder, so that the error names a damaged file as damaged."""
    for file in listed(folder, ".safetensors", ".bin", ".pt", ".pth"):
        read_weights(file)


def _without_weights(name: str) -> Problem:
    files = "open_clip_model.safetensors or open_clip_pytorch_model.bin"
    return Problem(
        f"The folder {short(name)} holds no weights.",
        expected=f"{files} beside open_clip_config.json",
        found="a configuration alone, which would give random scores",
        cause="an unfinished download",
        fix=f"put the weights there, or name their file: {short(name)}=FILE",
    )


def _misfit(name: str, error: Exception) -> Problem:
    return Problem(
        f"The weights in the folder {short(name)} do not fit open_clip_config.json beside them.",
        expected="one file with all tensors of the model",
        found=short(" ".join(str(error).split()), 240),
        cause="a part of a sharded file, an unfinished save, or the weights of another model",
        fix="get the folder again; put the parts of a sharded file into one file",
    )


def _not_loaded(name: str, error: Exception) -> Problem:
    """Say what is missing: the name, if open_clip does not know the name, or else the weights.

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
    on_hub = f"open_clip_model.safetensors of {hub} on the Hugging Face hub"
    return Problem(
        f"The weights of the CLIP {name!r} could not be fetched.",
        expected=f"{on_hub}, or {file} from {url}",
        found=told(error),
        cause="no network, or the host is gone: docs/data.md",
        fix="get either file where there is a network, put it into data/ "
        f"and set clip to {name}=data/FILE",
    )


def swap_activation(clip: Clip) -> Clip:
    """Return a copy of a CLIP with every GELU made a QuickGELU, and every QuickGELU a GELU.

    OpenAI's weights were trained with QuickGELU. The official ``process_diffusiondb.py`` runs these
    weights with GELU. The copy shows what the wrong activation does to the scores.
    """
    model = copy.deepcopy(clip.model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) in SWAPPED:
                setattr(module, name, SWAPPED[type(child)]())
    return replace(clip, model=model)
