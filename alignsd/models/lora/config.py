"""The configuration of a LoRA in the words of peft, and the scale that follows for each layer."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft.utils.other import get_pattern_key
from torch import Tensor

from alignsd.base.errors import Problem
from alignsd.base.reading import parse_json, read_json
from alignsd.models.files.weights import is_file, read_metadata
from alignsd.models.files.wording import short

PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
PEFT_CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
# No brackets, so that no pattern takes for ever to match.
SAFE_PATTERN = re.compile(r"[\w.\\^$*|-]{1,200}")
MOST_STARS = 3
# Values of init_lora_weights that leave the base weights as they are.
BASE_UNCHANGED = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
OTHER_ADAPTER = "give a plain LoRA: train with PEFT's LoraConfig, without use_dora"
CONVERT = (
    "in the training, convert the adapter to a LoRA: save_pretrained(FOLDER, "
    "path_initial_model_for_weight_conversion=THE_ADAPTER_BEFORE_THE_FIRST_STEP); PEFT does so for "
    "PiSSA, OLoRA, CorDA and LoRA-GA; or train with init_lora_weights=True"
)


def adapter_config(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return peft's configuration of the UNet's LoRA; empty for a file without configuration.

    PEFT's ``save_pretrained`` puts the configuration beside the file. The training scripts of
    diffusers put the configuration into the file's metadata.

    Args:
        path: the file.
        state: the file's tensors.

    Raises:
        Problem: if a needed configuration is missing, or the configuration makes no sense.
    """
    beside = path.parent / PEFT_CONFIG
    if path.name in PEFT_FILES and is_file(beside):
        config, source = read_json(beside), PEFT_CONFIG
    elif any(name.startswith(PEFT_PREFIX) for name in state):
        raise _without_config(path)
    else:
        config = _config_of_metadata(path)
        source = f"{LORA_ADAPTER_METADATA_KEY} in the metadata"
    if not isinstance(config, dict):
        raise _bad_config(path, f"{source}: no dictionary")
    _check_kind(config, path, source)
    fault = _fault_of_config(config)
    if fault:
        raise _bad_config(path, f"{source}: {fault}")
    return config


def _config_of_metadata(path: Path) -> dict[str, Any]:
    """Return the configuration in a file's metadata; empty if there is none.

    diffusers' ``save_lora_weights`` puts the name of the part before each entry;
    ``save_lora_adapter`` of the UNet itself does not.
    """
    source = f"{LORA_ADAPTER_METADATA_KEY} in the metadata"
    text = read_metadata(path, "a LoRA").get(LORA_ADAPTER_METADATA_KEY, "{}")
    whole = parse_json(text, f"{source} of {short(path.name)}")
    if not isinstance(whole, dict):
        raise _bad_config(path, f"{source}: no dictionary")
    of_unet = {name: value for name, value in whole.items() if name.startswith("unet.")}
    if not of_unet and "r" in whole:
        return whole
    return {name.removeprefix("unet."): value for name, value in of_unet.items()}


def _fault_of_config(config: Mapping[str, Any]) -> str | None:
    """Return what is wrong with peft's configuration, or None."""
    numbers = {name: config[name] for name in ("r", "lora_alpha") if name in config}
    for name in ("alpha_pattern", "rank_pattern"):
        pattern = config.get(name) or {}
        fault = _fault_of_pattern(name, pattern)
        if fault:
            return fault
        numbers |= {f"{name} of {key}": value for key, value in pattern.items()}
    for name, value in numbers.items():
        if not _is_positive(value):
            return f"{short(name)} is {short(repr(value), 40)}, no number above 0"
    return None


def _check_kind(config: Mapping[str, Any], path: Path, source: str) -> None:
    """Do nothing if the configuration is of an adapter that adds to base weights, and no more.

    PiSSA and its like take a part out of the base weights before training. Added to the unchanged
    base weights, their matrices are another model than the trained model.
    """
    kind, start = config.get("peft_type", "LORA"), config.get("init_lora_weights")
    lower = start.lower() if isinstance(start, str) else start
    if kind != "LORA":
        named = f"peft_type {short(repr(kind), 40)}"
        raise _other_kind(path, source, named, "an adapter that is no LoRA", OTHER_ADAPTER)
    if config.get("use_dora"):
        cause = "a DoRA, which also changes the length of the weights"
        raise _other_kind(path, source, "use_dora", cause, OTHER_ADAPTER)
    if config.get("kasa_config"):
        cause = "a KaSA, which takes a part out of the base weights"
        raise _other_kind(path, source, "kasa_config", cause, OTHER_ADAPTER)
    if lower not in BASE_UNCHANGED:
        cause = "an adapter whose start also changes the base weights, as PiSSA's does"
        named = f"init_lora_weights {short(repr(start), 40)}"
        raise _other_kind(path, source, named, cause, CONVERT)


def _other_kind(path: Path, source: str, named: str, cause: str, fix: str) -> Problem:
    return Problem(
        f"{short(path.name)} cannot be read as a LoRA.",
        expected="a LoRA, which adds matrices of low rank to the base weights, and no more",
        found=f"{source}: {named}",
        cause=cause,
        fix=fix,
    )


def _fault_of_pattern(name: str, pattern: Any) -> str | None:
    """Return what is wrong with a dictionary from patterns of layers' names to numbers, or None."""
    if not isinstance(pattern, dict):
        return f"{name} is {short(repr(pattern), 40)}, no dictionary"
    for key in pattern:
        if not SAFE_PATTERN.fullmatch(key) or key.count("*") > MOST_STARS:
            return f"{name} has a name that is none of a layer"
        if not _compiles(key):
            return f"{name} has a pattern that cannot be read"
    return None


def _compiles(pattern: str) -> bool:
    try:
        re.compile(f"({pattern})")
    except re.error:
        return False
    return True


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < 1e9


def scale_of_layer(
    layer: Mapping[str, Tensor], config: Mapping[str, Any], module: str, path: Path
) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) for a rank-stabilized LoRA.

    kohya keeps alpha beside each layer, diffusers in the metadata, PEFT in a separate file. Where
    no file names alpha, alpha is the rank.

    Args:
        layer: tensors of the layer: ``A.weight`` and, where the file has alpha, ``alpha``.
        config: from ``adapter_config``.
        module: name of the layer's module.
        path: the file, for messages.

    Raises:
        Problem: if the rank differs between configuration and matrices, or the scale is no
            finite number above 0.
    """
    rank = len(layer["A.weight"])
    rank_of_config = _of_module(config, "rank_pattern", module, config.get("r", rank))
    if rank_of_config != rank:
        ranks = f"rank {rank_of_config} in the configuration, rank {rank} of the matrices"
        raise _bad_config(path, f"{ranks} of {module}")
    alpha = _of_module(config, "alpha_pattern", module, config.get("lora_alpha", rank))
    if "alpha" in layer:
        alpha = float(layer["alpha"])
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    scale = alpha / divisor
    if not (math.isfinite(scale) and scale > 0):
        raise bad_scale(path, f"scale {scale:g} of {module}")
    return scale


def _of_module(config: Mapping[str, Any], name: str, module: str, otherwise: float) -> float:
    """Return the number that the configuration's patterns give a module, looked up as peft does."""
    pattern = config.get(name) or {}
    return pattern.get(get_pattern_key(list(pattern), module), otherwise)


def _bad_config(path: Path, found: str) -> Problem:
    return Problem(
        f"{short(path.name)} cannot be read as a LoRA.",
        expected="peft's configuration, whose lora_alpha says how strong the LoRA is",
        found=found,
        cause="a file that was copied without its folder, or an edit by hand",
        fix=f"get {short(path.name)} again, together with {PEFT_CONFIG} if PEFT wrote it",
    )


def _without_config(path: Path) -> Problem:
    """Say why no configuration belongs to a file of PEFT.

    A configuration beside a renamed file may be another file's, with another alpha.
    """
    if not is_file(path.parent / PEFT_CONFIG):
        return _bad_config(path, f"no {PEFT_CONFIG} beside {short(path.name)}")
    suffix = ".safetensors" if path.suffix.lower() == ".safetensors" else ".bin"
    name = f"adapter_model{suffix}"
    return Problem(
        f"{short(path.name)} cannot be read as a LoRA.",
        expected=f"PEFT's own name, {name}, beside {PEFT_CONFIG}",
        found=f"another name beside {PEFT_CONFIG}, which may be of another file",
        cause="a file that was renamed, or copied into the folder of another adapter",
        fix=f"mkdir NEW; cp {short(path.name)} NEW/{name}; cp {PEFT_CONFIG} NEW, "
        f"if {PEFT_CONFIG} is this file's; and give NEW",
    )


def bad_scale(path: Path, found: str) -> Problem:
    """Return the problem of a LoRA whose matrices or alpha are no numbers that a LoRA can have."""
    return Problem(
        f"{short(path.name)} holds numbers that no LoRA can have.",
        expected="finite matrices and an alpha above 0",
        found=found,
        cause="a training that diverged, or a damaged file",
        fix=f"get {short(path.name)} again",
    )
