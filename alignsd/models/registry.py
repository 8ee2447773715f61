"""Where a model's name leads, the device that a model runs on, and the precision of training."""

from pathlib import Path

import torch

from alignsd.base import processes
from alignsd.base.errors import Problem
from alignsd.base.paths import SHIPPED, user_path
from alignsd.models.files.wording import short

MINIATURE = {
    "miniature/stable-diffusion": SHIPPED / "stable-diffusion",
    "miniature/clip": SHIPPED / "clip",
    "miniature/aesthetic": SHIPPED / "aesthetic" / "linear.safetensors",
    "miniature/judge": SHIPPED / "judge" / "judge.safetensors",
}
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def resolve(name: str) -> str:
    """Return the path of a shipped model, or of a file or folder relative to the repository.

    Any other name is a model's name on the hub, and is returned unchanged.

    Raises:
        Problem: if the name begins with ``miniature/`` but no such model is shipped.
    """
    if not name.startswith("miniature/"):
        path_of_user = user_path(name)
        return str(path_of_user) if name and _exists(path_of_user) else name
    path = MINIATURE.get(name)
    if path is None or not path.exists():
        raise Problem(
            f"there is no shipped model {short(repr(name))}",
            expected=f"one of {', '.join(MINIATURE)}",
            found="no such name" if path is None else f"no file at {Path(*path.parts[-4:])}",
            cause="a misspelt name, or the weights were deleted",
            fix="git checkout alignsd/miniature/weights, "
            "or python -m alignsd.miniature.pretraining",
        )
    return str(path)


def _exists(path: Path) -> bool:
    """Return whether a file or folder exists, also for names that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for a file, or with characters that no file has
        return False


def torch_device(device: str | torch.device) -> torch.device:
    """Return the device of a name: ``"auto"`` is the GPU, or the CPU of a machine without GPU.

    Where several processes share the work, ``"auto"`` and ``"cuda"`` are the process's own GPU.
    Processes share GPUs where a machine has more processes than GPUs.

    Args:
        device: ``"auto"``, one of torch's names, or a device, which is returned unchanged.

    Raises:
        Problem: if torch knows no such device, this machine has none, or the device holds no
            numbers (``"meta"``).
    """
    if isinstance(device, torch.device):
        return device
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return _own_gpu()
    if device != "auto":
        return _named_device(device)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _own_gpu() -> torch.device:
    """Return the GPU of this process; the present GPU where one process does all the work."""
    if processes.count() == 1:
        return torch.device("cuda")
    return torch.device("cuda", processes.local_number() % torch.cuda.device_count())


def _named_device(name: str) -> torch.device:
    """Return torch's device of a name, once a number has come back from the device."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        # AssertionError: torch was built without that kind of device. NotImplementedError, which is
        # a RuntimeError: no number comes back from the device.
        raise Problem(
            f"There is no device {short(repr(name))} here.",
            expected="auto, cpu, cuda, cuda:1, mps ...",
            found=short(str(error).splitlines()[0], 160),
            cause="a misspelt name, or a machine without such a device",
            fix="set the notebook's parameter device to auto",
        ) from error
    return device


def training_precision(device: torch.device) -> torch.dtype:
    """Return the precision of the frozen weights in training: bfloat16 on a GPU with bfloat16.

    On other devices the precision is single. Images are drawn in half precision. In training,
    half precision would turn the smallest gradients into zeros on their way through the UNet.
    bfloat16 has the range of single precision.
    """
    if device.type != "cuda":
        return torch.float32
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bfloat16 else torch.float32


def scoring_precision(device: torch.device) -> torch.dtype:
    """Return the precision of the image encoder in scoring: half precision on a GPU.

    Half precision keeps scores within 0.02 of single precision, and bfloat16 does not: see
    docs/performance.md. On other devices the precision is single.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


def checked_precision(precision: torch.dtype) -> torch.dtype:
    """Return a precision in which an image encoder can compute.

    Raises:
        Problem: if the precision is another.
    """
    if precision not in PRECISIONS:
        raise Problem(
            f"An image encoder does not compute in {short(str(precision))}.",
            expected=" or ".join(str(known) for known in PRECISIONS),
            found=short(repr(precision)),
            cause="a precision of whole numbers, or the name of a precision in place of torch's",
            fix="load_clip(..., precision=torch.float16)",
        )
    return precision
