"""Scores of later papers behind the same ``hps.score``: which model, which version, which unit.

Each is a CLIP, so each is loaded as one; only what its authors trained, how they make an image a square and what they
multiply the cosine by differ. ``docs/scorers.md`` has the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPModel

from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem
from alignsd.base.reading import listed, read_json
from alignsd.models.clip import Clip, check_fit, load_clip
from alignsd.models.quiet import no_library_bars
from alignsd.models.registry import resolve, torch_device
from alignsd.models.weights import check_finite, read_tensors, short

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
GET_PICKSCORE = (
    "where there is a network: hf download yuvalkirstain/PickScore_v1 --local-dir data/PickScore_v1; "
    "then ask for 'PickScore=data/PickScore_v1'"
)


@dataclass(frozen=True)
class Recipe:
    """How a score is made.

    Attributes:
        model: an open_clip name, or ``"transformers"`` for a folder or repository that transformers loads.
        repository: on the Hugging Face hub; empty if the weights are not there.
        file: the weights' name in it; empty for a whole folder.
        fit: see ``clip.Clip``.
        unit: of the score.
        source: paper or package that says so.
    """

    model: str
    repository: str
    file: str
    fit: str
    unit: str
    source: str


RECIPES = {
    "CLIP score": Recipe("ViT-L-14-quickgelu", "", "", "crop", "100 x cosine", "OpenAI's CLIP, ViT-L/14"),
    "HPS v1": Recipe("ViT-L-14-quickgelu", "", "hpc.pt", "pad", "100 x cosine", "Wu et al., ICCV 2023; tgxs002/align_sd"),
    "HPS v2": Recipe("ViT-H-14", "xswu/HPSv2", "HPS_v2_compressed.pt", "pad", "100 x cosine", "package hpsv2 1.2.0"),
    "HPS v2.1": Recipe("ViT-H-14", "xswu/HPSv2", "HPS_v2.1_compressed.pt", "pad", "100 x cosine", "package hpsv2 1.2.0"),
    "PickScore": Recipe("transformers", "yuvalkirstain/PickScore_v1", "", "crop", "logit scale x cosine",
                        "Kirstain et al., NeurIPS 2023"),
}


def load_scorers(wanted: Iterable[str], device: str = "auto") -> dict[str, Clip]:
    """Load several scores, as ``load_scorer`` takes them; return name (without its file) to score."""
    return {score.partition("=")[0]: load_scorer(score, device) for score in wanted}


def load_scorer(score: str, device: str = "auto") -> Clip:
    """Load a score by its name; ``hps.score(load_scorer("HPS v2.1"), images, prompts)``.

    Args:
        score: one of ``RECIPES``, whose weights are fetched from the hub; or, if they lie on this
            machine, the name and the file (PickScore: the folder),
            ``"HPS v2.1=data/HPS_v2.1_compressed.pt"``: then nothing is fetched.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if the name is unknown, or the weights cannot be found, fetched or read.
    """
    name, _, weights = str(score).partition("=")
    recipe = RECIPES.get(name)
    if recipe is None:
        raise Problem(
            f"There is no score {short(repr(name))}.",
            expected="one of " + ", ".join(RECIPES),
            found=short(repr(name)),
            cause="a misspelt name",
            fix="see docs/scorers.md",
        )
    if recipe.model == "transformers":
        return load_transformers_clip(weights or recipe.repository, recipe.fit, device)
    if not recipe.file and not weights:
        return load_clip(recipe.model, device=device, fit=recipe.fit)
    return load_clip(recipe.model, weights or _fetched(name, recipe), device, recipe.fit)


def _fetched(name: str, recipe: Recipe) -> Path:
    where = f"{recipe.file} of {recipe.repository} on the hub" if recipe.repository else f"{recipe.file}, see docs/data.md"
    try:
        if recipe.repository:
            return Path(hf_hub_download(recipe.repository, recipe.file))
        found = "no file was given, and it is on no hub"
    except FAILED as error:
        found = told(error)
    raise Problem(f"The weights of {name} could not be fetched.", expected=where, found=found,
                  cause="no network, or the host no longer has the file",
                  fix=f"put {recipe.file} into data/ and ask for '{name}=data/{recipe.file}'")


class _TransformersClip(nn.Module):
    """A CLIP of transformers with open_clip's methods."""

    def __init__(self, model: CLIPModel):
        super().__init__()
        self.model = model
        self.visual = SimpleNamespace(image_size=model.config.vision_config.image_size, image_mean=OPENAI_MEAN,
                                      image_std=OPENAI_STD)

    def encode_image(self, pixels: Tensor, normalize: bool = False) -> Tensor:
        """Embeds normalized images ``(n, 3, size, size)``."""
        return _unit(self.model.get_image_features(pixel_values=pixels).pooler_output, normalize)

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embeds token ids ``(n, length)``."""
        return _unit(self.model.get_text_features(input_ids=tokens).pooler_output, normalize)


def _unit(vectors: Tensor, normalize: bool) -> Tensor:
    return nn.functional.normalize(vectors, dim=-1) if normalize else vectors


def load_transformers_clip(name: str, fit: str = "crop", device: str = "auto") -> Clip:
    """Load a CLIP that transformers saved, such as PickScore, with its tokenizer and its logit scale.

    Args:
        name: a folder, relative to the repository, or a repository on the hub.
        fit: see ``clip.Clip``.
        device: ``"auto"`` or a torch device.

    Raises:
        Problem: if it can be neither found nor read, lacks weights, or holds numbers that are not
            finite.
    """
    place, path = torch_device(device), resolve(name)
    check_fit(fit)
    try:
        no_library_bars(path)
        model, report = CLIPModel.from_pretrained(path, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # a damaged folder makes transformers raise a dozen unrelated types
        _read_folder(path)
        raise _not_loaded(name, short(told(error), 160)) from error
    # transformers would make up what the file lacks.
    absent = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if absent:
        raise _not_loaded(name, f"{len(absent)} tensors are missing or of another shape: {absent[0]}")
    check_finite(model.state_dict(), f"The CLIP {name!r}", GET_PICKSCORE)
    model = model.eval().to(place)
    length = model.config.text_config.max_position_embeddings

    def tokens(texts: list[str]) -> Tensor:
        options = dict(padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return tokenizer(texts, **options).input_ids

    with torch.no_grad():
        scale = float(model.logit_scale.exp())
    return Clip(_TransformersClip(model), tokens, place, fit, scale)


def _read_folder(path: str) -> None:
    """Read what lies in a folder, so that a damaged file is named for what it is."""
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
