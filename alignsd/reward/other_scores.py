"""Scores of later papers, for the same ``hps.score``: which model, which version, which unit.

Each score is a CLIP and is loaded as a CLIP. The scores differ in the weights, in how an image
becomes a square, and in the factor of the cosine. ``docs/scorers.md`` has the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem
from alignsd.base.reading import listed, read_json
from alignsd.models.clip import Clip, check_fit, load_clip
from alignsd.models.files.quantized import check_not_quantized
from alignsd.models.files.vocabulary import check_vocabulary
from alignsd.models.files.weights import check_finite, read_tensors, short
from alignsd.models.quiet import no_library_bars
from alignsd.models.registry import resolve, torch_device

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
GET_PICKSCORE = (
    "where there is a network: "
    "hf download yuvalkirstain/PickScore_v1 --local-dir data/PickScore_v1; "
    "then ask for 'PickScore=data/PickScore_v1'"
)


@dataclass(frozen=True)
class OtherScore:
    """Where a score comes from, and how it is computed.

    Attributes:
        model: an open_clip name; or ``"transformers"`` for a folder or repository that transformers
            loads.
        repository: on the Hugging Face hub; empty if the hub does not have the weights.
        file: name of the weights in the repository; empty for a whole folder.
        fit: see ``clip.Clip``.
        unit: of the score.
        source: the paper or package that these entries were taken from.
    """

    model: str
    repository: str
    file: str
    fit: str
    unit: str
    source: str


SCORES = {
    "CLIP score": OtherScore(
        model="ViT-L-14-quickgelu",
        repository="",
        file="",
        fit="crop",
        unit="100 x cosine",
        source="OpenAI's CLIP, ViT-L/14",
    ),
    "HPS v1": OtherScore(
        model="ViT-L-14-quickgelu",
        repository="",
        file="hpc.pt",
        fit="pad",
        unit="100 x cosine",
        source="Wu et al., ICCV 2023; tgxs002/align_sd",
    ),
    "HPS v2": OtherScore(
        model="ViT-H-14",
        repository="xswu/HPSv2",
        file="HPS_v2_compressed.pt",
        fit="pad",
        unit="100 x cosine",
        source="package hpsv2 1.2.0",
    ),
    "HPS v2.1": OtherScore(
        model="ViT-H-14",
        repository="xswu/HPSv2",
        file="HPS_v2.1_compressed.pt",
        fit="pad",
        unit="100 x cosine",
        source="package hpsv2 1.2.0",
    ),
    "PickScore": OtherScore(
        model="transformers",
        repository="yuvalkirstain/PickScore_v1",
        file="",
        fit="crop",
        unit="logit scale x cosine",
        source="Kirstain et al., NeurIPS 2023",
    ),
}


def load_scorers(wanted: Iterable[str], device: str = "auto") -> dict[str, Clip]:
    """Load several scores, see ``load_scorer``; return name (without file) -> score."""
    return {score.partition("=")[0]: load_scorer(score, device) for score in wanted}


def load_scorer(score: str, device: str = "auto") -> Clip:
    """Load a score by its name, for ``hps.score(load_scorer("HPS v2.1"), images, prompts)``.

    Args:
        score: a name of ``SCORES``, whose weights are fetched from the hub. Or the name and a file
            on this machine (PickScore: a folder), such as
            ``"HPS v2.1=data/HPS_v2.1_compressed.pt"``; then nothing is fetched.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the name is unknown, or the weights cannot be found, fetched or read.
    """
    name, _, weights = str(score).partition("=")
    known = SCORES.get(name)
    if known is None:
        raise Problem(
            f"There is no score {short(repr(name))}.",
            expected="one of " + ", ".join(SCORES),
            found=short(repr(name)),
            cause="a misspelt name",
            fix="see docs/scorers.md",
        )
    if known.model == "transformers":
        return load_transformers_clip(weights or known.repository, known.fit, device)
    if not known.file and not weights:
        return load_clip(known.model, device=device, fit=known.fit)
    return load_clip(known.model, weights or _fetched(name, known), device, known.fit)


def _fetched(name: str, score: OtherScore) -> Path:
    """Return the file of a score's weights, fetched from the hub if need be."""
    if not score.repository:
        found = "no file was given, and no hub has the file"
        raise _not_fetched(name, score, f"{score.file}, see docs/data.md", found)
    try:
        return Path(hf_hub_download(score.repository, score.file))
    except FAILED as error:
        where = f"{score.file} of {score.repository} on the hub"
        raise _not_fetched(name, score, where, told(error)) from error


def _not_fetched(name: str, score: OtherScore, expected: str, found: str) -> Problem:
    return Problem(
        f"The weights of {name} could not be fetched.",
        expected=expected,
        found=found,
        cause="no network, or the host no longer has the file",
        fix=f"put {score.file} into data/ and ask for '{name}=data/{score.file}'",
    )


class _TransformersClip(nn.Module):
    """A CLIP of transformers with open_clip's methods."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model
        vision = cast(CLIPVisionConfig, model.config.vision_config)
        self.visual = SimpleNamespace(
            image_size=vision.image_size, image_mean=OPENAI_MEAN, image_std=OPENAI_STD
        )

    def encode_image(self, pixels: Tensor, normalize: bool = False) -> Tensor:
        """Embed preprocessed images ``(n, 3, size, size)``; return vectors ``(n, d)``."""
        features = self.model.get_image_features(pixel_values=pixels).pooler_output
        return _unit(features, normalize)

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embed token ids ``(n, length)``; return vectors ``(n, d)``."""
        features = self.model.get_text_features(input_ids=tokens).pooler_output
        return _unit(features, normalize)


def _unit(vectors: Tensor, normalize: bool) -> Tensor:
    if not normalize:
        return vectors
    return nn.functional.normalize(vectors, dim=-1)


def load_transformers_clip(name: str, fit: str = "crop", device: str = "auto") -> Clip:
    """Load a CLIP that transformers saved, such as PickScore, with tokenizer and logit scale.

    Args:
        name: a folder, relative to the repository, or a repository on the hub.
        fit: see ``clip.Clip``.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the CLIP can be neither found nor read, lacks weights or a vocabulary, or holds
            numbers that are not finite.
    """
    target, path = torch_device(device), resolve(name)
    check_fit(fit)
    try:
        no_library_bars(path)
        loaded = CLIPModel.from_pretrained(path, output_loading_info=True)
        model, report = cast(tuple[CLIPModel, dict[str, Any]], loaded)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # a damaged folder makes transformers raise a dozen unrelated types
        _read_folder(path)
        raise _not_loaded(name, short(told(error), 160)) from error
    # transformers fills in random numbers for tensors that the file lacks.
    mismatched = [str(key) for key in report["mismatched_keys"]]
    absent = sorted([*report["missing_keys"], *mismatched])
    if absent:
        found = f"{len(absent)} tensors are missing or of another shape: {absent[0]}"
        raise _not_loaded(name, found)
    check_finite(model.state_dict(), f"The CLIP {name!r}", GET_PICKSCORE)
    check_not_quantized(path, model.state_dict(), f"The CLIP {name!r}", GET_PICKSCORE)
    own_model = _TransformersClip(model.eval()).to(target)
    length = cast(CLIPTextConfig, model.config.text_config).max_position_embeddings

    def tokens(texts: list[str]) -> Tensor:
        return tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids

    check_vocabulary(tokens, f"The CLIP {name!r}")
    with torch.no_grad():
        scale = float(model.logit_scale.exp())
    return Clip(own_model, tokens, target, fit, scale)


def _read_folder(path: str) -> None:
    """Read the files of a folder, so that the message of a damaged file says what the file is."""
    folder = Path(path)
    try:
        if not folder.is_dir():
            return
    except (OSError, ValueError):  # a name that no folder can have
        return
    for file in listed(folder, ".json"):
        read_json(file)
    for file in listed(folder, ".safetensors", ".bin"):
        read_tensors(file, "weights", GET_PICKSCORE)


def _not_loaded(name: str, found: str) -> Problem:
    return Problem(
        f"The CLIP {short(repr(name))} could not be loaded.",
        expected="a folder or repository of a transformers CLIPModel",
        found=found,
        cause="no network, a misspelt path, or an unfinished download",
        fix=GET_PICKSCORE,
    )
