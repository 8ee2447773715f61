"""Try what may make full-size models faster, lever by lever, against the same model without it.

``python -m benchmarks.levers [--quick] [--only NAME]``. Pairs alternate. A lever that needs what
this machine lacks, such as a compiler, is left out with a message. Models have random weights.
"""

import argparse
import copy
import shutil
import sys
from collections.abc import Callable, Iterator

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from alignsd.planning.throughput import CLIP, UNET
from benchmarks.measure import Row, alternating, announced, options, ratio, save, table

Work = Callable[[], object]
Lever = tuple[str, str, Work, Work]  # model, lever, without, with
PARAMETERS_OF_ADAMW = 6_377_472  # of a LoRA of rank 32


def clip_levers(quick: bool) -> Iterator[Lever]:
    """Yield the levers of the image encoder."""
    import open_clip

    name = "ViT-B-32-quickgelu" if quick else CLIP
    visual = open_clip.create_model(name, pretrained=None).visual.eval()
    pixels = torch.zeros(1, 3, 224, 224)
    model = "ViT-B/32 image encoder" if quick else "ViT-L/14 image encoder"

    def plain() -> Tensor:
        with torch.no_grad():
            return visual(pixels)

    yield model, "inference_mode in place of no_grad", plain, lambda: _inference(visual, pixels)
    yield model, "bfloat16 products", plain, lambda: _in_half(visual, torch.bfloat16, pixels)
    yield model, "float16 products", plain, lambda: _in_half(visual, torch.float16, pixels)
    yield model, "SDPA in place of plain attention", lambda: _plainly(plain), plain
    four = torch.zeros(4, 3, 224, 224)
    yield (
        model,
        "batch 4 in place of 4 x 1",
        lambda: _in_turn(visual, four),
        lambda: _once(visual, four),
    )
    if quick:
        return
    if shutil.which("g++"):
        compiled = torch.compile(copy.deepcopy(visual))
        yield model, "torch.compile", plain, lambda: _once(compiled, pixels)
    else:
        print("torch.compile is left out: this machine has no g++", file=sys.stderr)


def unet_levers(quick: bool) -> Iterator[Lever]:
    """Yield the levers of the UNet, on latents smaller than Stable Diffusion's."""
    size = {"block_out_channels": (32, 64, 64, 64)} if quick else {}
    unet = UNet2DConditionModel(**(UNET | size)).eval()
    last = copy.deepcopy(unet).to(memory_format=torch.channels_last)
    plain_attention = copy.deepcopy(unet)
    plain_attention.set_attn_processor(AttnProcessor())
    unet.set_attn_processor(AttnProcessor2_0())
    latents, texts = torch.zeros(1, 4, 32, 32), torch.zeros(1, 77, 768)
    model = "UNet, 256 px"

    def predict(network: nn.Module, pixels: Tensor = latents) -> object:
        with torch.no_grad():
            return network(pixels, 500, texts).sample

    in_last = latents.to(memory_format=torch.channels_last)
    yield model, "channels_last", lambda: predict(unet), lambda: predict(last, in_last)
    yield (
        model,
        "SDPA in place of plain attention",
        lambda: predict(plain_attention),
        lambda: predict(unet),
    )
    half = _autocast(predict, torch.bfloat16)
    yield model, "bfloat16 products", lambda: predict(unet), lambda: half(unet)


def optimizer_levers(quick: bool) -> Iterator[Lever]:
    """Yield fused AdamW against AdamW, on the weights of a LoRA of rank 32 in 256 tensors."""
    tensors = 16 if quick else 256

    def optimizer(fused: bool) -> torch.optim.Optimizer:
        size = PARAMETERS_OF_ADAMW // tensors
        weights = [nn.Parameter(torch.zeros(size)) for _ in range(tensors)]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        return torch.optim.AdamW(weights, fused=fused)

    yield "AdamW of a LoRA", "fused AdamW", optimizer(False).step, optimizer(True).step


def _inference(network: nn.Module, pixels: Tensor) -> object:
    with torch.inference_mode():
        return network(pixels)


def _in_half(network: nn.Module, precision: torch.dtype, pixels: Tensor) -> object:
    with torch.no_grad(), torch.autocast("cpu", precision):
        return network(pixels)


def _autocast(work: Callable[..., object], precision: torch.dtype) -> Callable[..., object]:
    def in_half(*arguments: object) -> object:
        with torch.autocast("cpu", precision):
            return work(*arguments)

    return in_half


def _plainly(work: Work) -> object:
    with sdpa_kernel(SDPBackend.MATH):
        return work()


def _once(network: Callable[[Tensor], object], pixels: Tensor) -> object:
    with torch.no_grad():
        return network(pixels)


def _in_turn(network: nn.Module, pixels: Tensor) -> object:
    return [_once(network, picture[None]) for picture in pixels]


GROUPS = {"clip": clip_levers, "unet": unet_levers, "adamw": optimizer_levers}


def measure(groups: list[str], quick: bool, repeats: int) -> list[Row]:
    """Return a row per lever: the ratio of the times without and with the lever, and the spread.

    A ratio above 1 means that the lever helps.
    """
    rows: list[Row] = []
    for group in groups:
        for model, lever, without, with_lever in GROUPS[group](quick):
            with announced(f"{model}, {lever}"):
                timed = alternating({"without": without, "with": with_lever}, repeats)
            gain = ratio(timed["without"], timed["with"])
            row = {
                "model": model,
                "lever": lever,
                "without_s": timed["without"].median,
                "with_s": timed["with"].median,
                "ratio": gain.median,
                "least": gain.least,
                "most": gain.most,
                "repeats": repeats,
            }
            print(table([row], decimals=3), flush=True)
            rows.append(row)
    return rows


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=list(GROUPS), help="levers of one model alone")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    given = options(__doc__, arguments, _add_options)
    groups = [given.others.only] if given.others.only else list(GROUPS)
    rows = measure(groups, given.quick, repeats=1 if given.quick else 5)
    print(table(rows, decimals=3))
    print(save("levers", rows, given.folder), file=sys.stderr)


if __name__ == "__main__":
    main()
