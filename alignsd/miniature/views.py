"""Random views of a picture: what CLIP's self-supervision holds to be the same picture."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXEL_NOISE = 0.02
DONE = 3  # numbers that tell what was done to a picture


def view(pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Makes a random view of each picture: moved, scaled, mirrored, its colours exchanged, paled and dimmed.

    Colour and place are what tells two pictures apart most easily. With both spoilt, shape has to do it.

    Args:
        pictures: ``(n, 3, h, w)`` in [0, 1].
        generator: fixes the views.

    Returns:
        The views, and what was done to each ``(n, 3)``, about one standard deviation wide: where its middle went sideways,
        its size, and how vivid its colours are.
    """
    n = len(pictures)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    size, side, across, vivid = between(0.8, 1.05), between(-1, 1).sign(), between(-0.2, 0.2), between(0, 1.5)
    move = torch.zeros(n, 2, 3)
    move[:, 0, 0], move[:, 1, 1] = side * size, size
    move[:, 0, 2], move[:, 1, 2] = across, between(-0.12, 0.12)
    seen = F.grid_sample(pictures, F.affine_grid(move, pictures.shape, align_corners=False), padding_mode="border",
                         align_corners=False)
    grey = seen.mean(1, keepdim=True)
    seen = grey + (seen - grey) * vivid.view(-1, 1, 1, 1)
    order = torch.rand(n, 3, generator=generator).argsort(1)
    seen = seen.gather(1, order.view(n, 3, 1, 1).expand_as(seen))
    seen = seen * between(0.6, 1.4).view(-1, 1, 1, 1) + between(-0.15, 0.15).view(-1, 1, 1, 1)
    done = torch.stack([-across * side / size / 0.125, size / 0.072, vivid / 0.433], dim=1)
    return seen + PIXEL_NOISE * torch.randn(seen.shape, generator=generator), done


def agreement_loss(one: Tensor, other: Tensor, temperature: float = 0.1) -> Tensor:
    """Contrastive loss of two views (SimCLR's, as SLIP adds it to CLIP's): each must find its other among all others.

    Args:
        one, other: projected features of the views ``(n, d)``, row by row of the same picture.
        temperature: of the softmax.
    """
    logits = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / temperature
    target = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def projection(width: int) -> nn.Module:
    """Returns the small network between features ``(n, width)`` and the loss, which is thrown away afterwards."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 64))
