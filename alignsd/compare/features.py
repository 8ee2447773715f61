"""The features of pictures, which FID compares, from the layers of a network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3

from alignsd.base import processes
from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem, at_least
from alignsd.base.images import check_pixels
from alignsd.models.registry import torch_device

INCEPTION = "inception-v3-compat"  # torch-fidelity's name of the network


def picture_features(
    network: nn.Module,
    pictures: Iterable[np.ndarray],
    batch: int = 128,
    device: str = "auto",
) -> np.ndarray:
    """Return the features ``(n, d)`` of pictures, float64, in the order of the pictures.

    Several processes divide the batches; each process reads all pictures.

    Args:
        network: turns pictures ``(n, 3, h, w)`` uint8 into features ``(n, d)``.
        pictures: ``(h, w, 3)`` uint8, of any sizes. At most ``batch`` pictures are held at a time.
        batch: pictures at a time. Pictures of one size in a batch go through the network together.
        device: ``"auto"`` or a torch device.

    Returns:
        The features; ``(0, 0)`` without pictures.

    Raises:
        ValueError: if a picture is no such array.
        Problem: if the network takes no pictures of this size, or ``batch`` is below 1.
    """
    at_least(1, batch=batch)
    own = _own_batches(iter(pictures), batch)
    features = processes.gathered([features_of(network, held, batch, device) for held in own])
    return np.concatenate(features) if features else np.empty((0, 0))


def _own_batches(pictures: Iterator[np.ndarray], batch: int) -> Iterator[list[np.ndarray]]:
    """Yield this process's share of the batches."""
    for turn in cycle(range(processes.count())):
        held = list(islice(pictures, batch))
        if not held:
            return
        if turn == processes.number():
            yield held


@torch.no_grad()
def features_of(
    network: nn.Module,
    pictures: Sequence[np.ndarray],
    batch: int = 128,
    device: str = "auto",
) -> np.ndarray:
    """Return the features of pictures as ``picture_features`` does, all in this process."""
    target = torch_device(device)
    network = network.to(target).eval()
    features: list[np.ndarray] = []
    for start in range(0, len(pictures), batch):
        features += _features_of_batch(network, pictures[start : start + batch], target)
    return np.stack(features) if features else np.empty((0, 0))


def _features_of_batch(
    network: nn.Module,
    pictures: Sequence[np.ndarray],
    device: torch.device,
) -> list[np.ndarray]:
    """Return the features ``(d,)`` of each picture."""
    numbers_by_size: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        check_pixels(picture)
        numbers_by_size.setdefault(picture.shape, []).append(number)
    features: dict[int, np.ndarray] = {}
    for numbers in numbers_by_size.values():
        stacked = np.stack([pictures[number] for number in numbers])
        pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
        computed = network(pixels.to(device)).double().cpu().numpy()
        features.update(zip(numbers, computed, strict=True))
    return [features[number] for number in range(len(pictures))]


def inception() -> nn.Module:
    """Return the paper's network: 2,048 features of pictures ``(n, 3, h, w)`` uint8.

    The network is Inception v3, as torch-fidelity converted the weights from TensorFlow.
    torchmetrics scales pictures to 299 x 299 with an antialiased bilinear filter.

    Raises:
        Problem: if the weights cannot be fetched.
    """
    return _fetched(lambda: FrechetInceptionDistance(feature=2048).inception)


def inception_classes() -> nn.Module:
    """Return Inception's chances of its 1,008 classes, for the inception score.

    Raises:
        Problem: if the weights cannot be fetched.
    """
    network = _fetched(lambda: NoTrainInceptionV3(INCEPTION, features_list=["logits_unbiased"]))
    return nn.Sequential(network, nn.Softmax(dim=1))


def _fetched(load: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that ``load`` fetches and loads.

    Raises:
        Problem: if the weights cannot be fetched.
    """
    try:
        return load()
    except (RuntimeError, EOFError, UnpicklingError, *FAILED) as error:
        # RuntimeError, EOFError and UnpicklingError: a download was cut off.
        file = URL_INCEPTION_V3.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise Problem(
            "The weights of Inception could not be fetched.",
            expected=f"{file} from {URL_INCEPTION_V3}",
            found=told(error),
            cause="no network, or the host is gone: docs/data.md",
            fix=f"get the file where there is a network and put the file into {folder}",
        ) from error
