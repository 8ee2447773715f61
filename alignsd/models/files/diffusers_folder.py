"""Say why a Stable Diffusion could not be loaded: a folder in diffusers layout, a file or a name.

Nothing here runs for a model that loads.
"""

import re
from pathlib import Path

from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.base.reading import listed, read_json
from alignsd.models.files.quantized import PLAIN
from alignsd.models.files.weights import WEIGHTS, is_file, read_tensors
from alignsd.models.files.wording import short

INDEX = "model_index.json"
PARTS = ("scheduler", "tokenizer", "text_encoder", "unet", "vae")
WITH_WEIGHTS = ("text_encoder", "unet", "vae")
AGAIN = "get the model again; docs/data.md says from where"
CONVERT = (
    'where there is a network, python -c "from diffusers import StableDiffusionPipeline as P; '
    "P.from_single_file({file!r}).save_pretrained('data/converted')\", and set the notebook's "
    "stable_diffusion parameter to data/converted"
)
WITHOUT_VARIANT = (
    'python -c "from diffusers import StableDiffusionPipeline as P; P.from_pretrained({folder!r}, '
    "variant={variant!r}, safety_checker=None).save_pretrained('data/plain')\", and set the "
    "notebook's stable_diffusion parameter to data/plain"
)


def not_loaded(name: str, path: str, error: Exception) -> Problem:
    """Return the problem that says why a model could not be loaded.

    Args:
        name: what the user asked for.
        path: where the name leads, see ``registry.resolve``.
        error: what diffusers raised.
    """
    if is_file(path):
        return _single_file(name, str(path))
    if not _is_folder(path):
        return _not_found(name, error)
    try:
        return _unfit_folder(name, Path(path), short(told(error), 160))
    except Problem as problem:  # of a reader, which names the file that is damaged
        return problem


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        return False


def _not_found(name: str, error: Exception) -> Problem:
    fix = "check the notebook's stable_diffusion parameter"
    cause = "a wrong path: there is no such folder"
    if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):  # a name that the hub can have
        folder = f"data/{name.rsplit('/', 1)[-1]}"
        cause = "a misspelt name, no such folder, or no network to reach the hub"
        fix += f"; or, where there is a network, hf download {name} --local-dir {folder}, "
        fix += "and set it to that folder"
    return _problem(name, short(told(error), 160), cause, fix)


def _problem(name: str, found: str, cause: str, fix: str = AGAIN) -> Problem:
    return Problem(
        f"The model {short(repr(name))} could not be loaded.",
        expected="a folder in diffusers layout or a hub's model name",
        found=found,
        cause=cause,
        fix=fix,
    )


def _single_file(name: str, file: str) -> Problem:
    found = f"the file {short(Path(file).name)} in place of a folder"
    cause = "a checkpoint in one file, as AUTOMATIC1111 takes it, or another kind of model"
    return _problem(name, found, cause, CONVERT.format(file=file))


def _unfit_folder(name: str, folder: Path, error: str) -> Problem:
    """Return what is wrong with a folder; raise a reader's ``Problem`` for a damaged file."""
    if not is_file(folder / INDEX):
        checkpoints = listed(folder, *WEIGHTS)
        if checkpoints:
            return _single_file(name, str(checkpoints[0]))
        cause = "an unfinished download, or another folder than the model's"
        return _problem(name, f"a folder without {INDEX}", cause)
    read_json(folder / INDEX)
    for part in PARTS:
        if not (folder / part).is_dir():
            return _problem(name, f"no folder {part}", "an unfinished download")
        for file in listed(folder / part, ".json"):
            read_json(file)
    for part in WITH_WEIGHTS:
        fault = _fault_of_weights(name, folder, part)
        if fault:
            return fault
    cause = "configurations and weights that do not fit each other, or a file that is missing"
    return _problem(name, error, cause)


def _fault_of_weights(name: str, folder: Path, part: str) -> Problem | None:
    """Return what is wrong with the weights of a part, or None; raise as a reader does."""
    files = listed(folder / part, ".safetensors", ".bin")
    plain = [file for file in files if PLAIN.fullmatch(file.name)]
    if not plain:
        return _without_plain(name, folder, part, [file.name for file in files])
    safe = [file for file in plain if file.suffix == ".safetensors"]
    for file in safe or plain:
        shards = re.search(r"-of-(\d+)\.", file.name)
        if shards and len(safe or plain) < int(shards[1]):
            found = f"{len(safe or plain)} of the {int(shards[1])} files of weights in {part}"
            return _problem(name, found, "an unfinished download")
    for file in safe or plain:
        read_tensors(file, f"weights of the {part}", AGAIN)
    return None


def _without_plain(name: str, folder: Path, part: str, files: list[str]) -> Problem:
    variant = re.search(r"model\.(\w+)[.-]", files[0]) if files else None
    if variant is None:
        return _problem(name, f"no weights in the folder {part}", "an unfinished download")
    found = f"in the folder {part} the variant {variant[1]} alone: {short(files[0])}"
    cause = f"a download of the variant {variant[1]} alone, whose files have other names"
    fix = WITHOUT_VARIANT.format(folder=str(folder), variant=variant[1])
    return _problem(name, found, cause, fix)
