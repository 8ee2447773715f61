"""Where a model's name leads, which device it runs on, and how precisely it is trained there."""

from pathlib import Path

import torch

from alignsd.base.errors import Problem
from alignsd.base.paths import user_path
from alignsd.miniature import WEIGHTS
from alignsd.models.weights import short

MINIATURE = {
    "miniature/stable-diffusion": WEIGHTS / "stable-diffusion",
    "miniature/clip": WEIGHTS / "clip",
    "miniature/aesthetic": WEIGHTS / "aesthetic" / "linear.safetensors",
    "miniature/judge": WEIGHTS / "judge" / "judge.safetensors",
}


def resolve(name: str) -> str:
    """Return the path of a shipped model, or of a file or folder relative to the repository.

    A name that is neither is a hub's, and is returned as it is.

    Raises:
        Problem: if the name begins with ``miniature/`` but no such model is shipped.
    """
    if not name.startswith("miniature/"):
        own = user_path(name)
        return str(own) if name and _exists(own) else name
    path = MINIATURE.get(name)
    if path is None or not path.exists():
        raise Problem(
            f"there is no shipped model {short(repr(name))}",
            expected=f"one of {', '.join(MINIATURE)}",
            found="no such name" if path is None else f"no file at {Path(*path.parts[-4:])}",
            cause="a misspelt name, or the weights were deleted",
            fix="git checkout alignsd/miniature/weights, or python -m alignsd.miniature.pretraining.pretrain",
        )
    return str(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for a file, or with characters that no file has
        return False


def torch_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into the GPU if there is one and else the CPU; other names are torch's own.

    A device stays what it is.

    Raises:
        Problem: if torch knows no such device, this machine has none, or it holds no numbers
            (``"meta"``).
    """
    if isinstance(device, torch.device):
        return device
    if device != "auto":
        try:
            place = torch.device(device)
            torch.zeros(1, device=place).cpu()
            return place
        except (RuntimeError, AssertionError, TypeError) as error:
            # AssertionError: torch was built without that kind. NotImplementedError, a RuntimeError:
            # no number comes back from the device.
            raise Problem(
                f"There is no device {short(repr(device))} here.",
                expected="auto, cpu, cuda, cuda:1, mps ...",
                found=short(str(error).splitlines()[0], 160),
                cause="a misspelt name, or a machine without it",
                fix="set the notebook's parameter device to auto",
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def training_precision(device: torch.device) -> torch.dtype:
    """Returns the precision of the frozen weights in training: bfloat16 on a GPU that has it, and else single.

    In half precision, in which images are drawn, the smallest gradients would become zero on their way through the UNet;
    bfloat16 has the range of single precision.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if able else torch.float32
