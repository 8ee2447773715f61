"""Adapts Stable Diffusion to preferences: DreamBooth-style LoRA in which "Weird image. " names what people dislike.

Section 4 of the paper: positives keep their prompt, negatives get the identifier in front, regularization images keep
the model what it was. Only the low-rank matrices on the UNet's attention are trained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from peft import LoraConfig
from PIL import Image
from torch import Tensor, nn

from alignsd.base.atomic import replacing
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import MAX_PIXELS, read_image, save_png
from alignsd.base.paths import shown
from alignsd.base.progress import track
from alignsd.base.reading import is_text
from alignsd.models.lora_files import save_lora
from alignsd.models.registry import training_precision
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import batch_indices, schedule_named, step_generator, train
from alignsd.models.weights import is_finite

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
PER_FILE = 4096  # pictures whose latents lie in one file, at 512 px in half precision 256 MiB
LARGEST_SIDE = 4096  # pixels; Stable Diffusion 1 draws 512
MOST_TEXTS = 1024  # whose embeddings are kept; at 77 x 768 half-precision numbers about 120 MB


@dataclass(frozen=True)
class Examples:
    """What the LoRA is trained on.

    Attributes:
        files: latents' moments, ``(n, 2c, h, w)`` in all, ``PER_FILE`` pictures per array; memory-mapped, since those of the
            paper's 259,000 pictures would fill the memory of most machines.
        place: which row of ``files`` each example is, ``(n,)``.
        captions: one per example.
        negative: ``(n,)`` bool, who gets the identifier.
    """

    files: list[np.ndarray]
    place: np.ndarray
    captions: list[str]
    negative: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)

    def moments(self, index: np.ndarray) -> Tensor:
        """Return mean and spread of the latents of some examples, ``(len(index), 2c, h, w)`` float32.

        Raises:
            Problem: if they are not finite numbers.
        """
        rows = [self.files[place // PER_FILE][place % PER_FILE] for place in self.place[index]]
        moments = torch.from_numpy(np.stack(rows)).float()
        if not is_finite(moments):
            raise Problem(
                "The latents of a picture are no finite numbers.",
                expected="finite numbers",
                found=f"NaN or infinity among the latents of {len(rows)} pictures",
                cause="damaged files of latents, or an autoencoder that overflows in half precision",
                fix="delete the stage's folders latents and latents_few, and run the notebook again",
            )
        return moments

    def take(self, start: int, stop: int) -> "Examples":
        """Returns the examples from ``start`` up to ``stop``, or to the last if there are fewer."""
        part = slice(start, stop)
        return Examples(self.files, self.place[part], self.captions[part], self.negative[part])


def crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Scales an image's shorter side to ``size`` (bilinear) and cuts a random square out of it (official code).

    Args:
        image: ``(height, width, 3)`` uint8.
        size: side of the square in pixels.
        rng: draws the place of the square.
    """
    height, width = image.shape[:2]
    scale = size / min(height, width)
    new = (max(size, round(width * scale)), max(size, round(height * scale)))
    top, left = (int(rng.integers(extent - size + 1)) for extent in (new[1], new[0]))
    if new[0] * new[1] > MAX_PIXELS:  # a picture one pixel wide: scale nothing but the square
        box = (left / scale, top / scale, (left + size) / scale, (top + size) / scale)
        box = tuple(np.clip(box, 0, (width, height, width, height)).tolist())
        return np.asarray(_scaled(image, (size, size), box))
    if scale != 1:
        image = np.asarray(_scaled(image, new))
    return image[top:top + size, left:left + size]


def _scaled(
    image: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, ...] | None = None,
) -> Image.Image:
    return Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box)


@torch.no_grad()
def encode_examples(
    pipeline: StableDiffusionPipeline,
    table: pd.DataFrame,
    size: int,
    seed: int,
    store: Path,
    batch: int = 32,
) -> Examples:
    """Encode the pictures once.

    Mean and spread of the latents are kept, so that each step can draw anew from them. Files of latents
    that an earlier call has left in ``store`` are not made again.

    Args:
        pipeline: whose autoencoder is used; its precision is that of the latents kept.
        table: columns ``folder``, ``file_name`` (below it), ``text`` (caption) and ``label``;
            ``"negative"`` marks negatives.
        size: side of the pictures given to the autoencoder, in pixels.
        seed: fixes the crops; a picture's crop follows from its name.
        store: folder for the latents of this table.
        batch: pictures at a time.

    Raises:
        Problem: if there are no pictures, the size or the seed is out of its range, or a file of latents
            in ``store`` is damaged.
    """
    check_seed(seed)
    _check_resolution(pipeline, size)
    if table.empty:
        raise Problem(
            "There are no pictures to train on.",
            expected="1 picture or more",
            found="0 pictures",
            cause="an earlier notebook selected none, or regularization_images is 0",
            fix="look at what the notebooks before left out, or set regularization_images higher",
        )
    # Deviation: the official code crops anew in every epoch; one crop per picture lets the latents be kept.
    store.mkdir(parents=True, exist_ok=True)
    paths = [store / f"{number:05d}.npy" for number in range(-(-len(table) // PER_FILE))]
    files = []
    with track(total=len(table), what="encoding pictures", unit="picture") as bar:
        for number, path in enumerate(paths):
            pictures = table.iloc[number * PER_FILE : (number + 1) * PER_FILE]
            if not path.exists():
                starts = range(0, len(pictures), batch)
                moments = [_moments(pipeline, pictures.iloc[i : i + batch], size, seed) for i in starts]
                with replacing(path) as unfinished:
                    np.save(unfinished, np.concatenate(moments))
            files.append(_read_latents(path, len(pictures)))
            bar.update(len(pictures))
    negative = (table["label"] == "negative").to_numpy()
    return Examples(files, np.arange(len(table)), table["text"].tolist(), negative)


def _check_resolution(pipeline: StableDiffusionPipeline, size: int) -> None:
    # Below two latents a side, the UNet's first scaling down has nothing left.
    smallest = 2 * pipeline.vae_scale_factor
    if not smallest <= size <= LARGEST_SIDE:
        raise Problem(
            "resolution of notebook 05 is out of its range.",
            expected=f"{smallest} to {LARGEST_SIDE:,} pixels",
            found=repr(size),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix="--set 05.resolution=512 (the paper), or 64 for the miniature",
        )


def _read_latents(path: Path, count: int) -> np.ndarray:
    """Return the moments in a file of latents, memory-mapped, ``(count, 2c, h, w)``.

    Raises:
        Problem: if the file is damaged, or holds something else.
    """
    try:
        moments = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises EOFError, ValueError, OSError, SyntaxError ... for damage
        raise _bad_latents(path, count, "an empty, cut or damaged file") from error
    if not isinstance(moments, np.ndarray) or moments.dtype.kind != "f":
        raise _bad_latents(path, count, "no array of floating-point numbers")
    if moments.ndim != 4 or len(moments) != count or moments.shape[1] % 2 or 0 in moments.shape:
        raise _bad_latents(path, count, f"an array {moments.shape}")
    return moments


def _bad_latents(path: Path, count: int, found: str) -> Problem:
    return Problem(
        f"The latents {path.name} cannot be used.",
        expected=f"an array (pictures, channels, height, width) of {count} pictures",
        found=found,
        cause="a full disk, a copy that was cut off, or latents of other pictures",
        fix=f"delete {shown(path.parent)}, and run the notebook again: the latents are made anew",
    )


def _moments(pipeline: StableDiffusionPipeline, table: pd.DataFrame, size: int, seed: int) -> np.ndarray:
    squares = [
        crop(read_image(Path(folder) / name), size, np.random.default_rng((seed, *name.encode())))
        for folder, name in zip(table["folder"], table["file_name"], strict=True)
    ]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 127.5 - 1
    posterior = pipeline.vae.encode(pixels.to(pipeline.vae.device, pipeline.vae.dtype)).latent_dist
    return torch.cat([posterior.mean, posterior.std], dim=1).cpu().numpy()


def captions_of(examples: Examples, index: np.ndarray, identifier: str, alone: float, rng: np.random.Generator) -> list[str]:
    """Returns a batch's captions: negatives get the identifier in front, and a share of them nothing but the identifier.

    Args:
        examples: all examples.
        index: which make up the batch.
        identifier: e.g. ``"Weird image. "``.
        alone: probability that a negative's own caption is dropped.
        rng: the step's.
    """
    dropped = rng.random(len(index)) < alone
    return [examples.captions[i] if not examples.negative[i] else identifier if drop else identifier + examples.captions[i]
            for i, drop in zip(index, dropped, strict=True)]


def add_lora(unet: nn.Module, rank: int, seed: int) -> int:
    """Freezes the UNet and adds trainable low-rank matrices to the attention's q, k, v and out; returns their number.

    Raises:
        Problem: if the rank is below 1, or the seed out of its range.
    """
    at_least(1, rank=rank)
    check_seed(seed)
    unet.requires_grad_(False)
    torch.manual_seed(seed)  # peft draws the first matrices from the global generator
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(ATTENTION)))
    trainable = [p for p in unet.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.data = parameter.data.float()
    return sum(p.numel() for p in trainable)


def hold_frozen(pipeline: StableDiffusionPipeline, precision: torch.dtype) -> None:
    """Converts the weights of a pipeline that are not trained; the low-rank matrices stay in single precision."""
    frozen = [parameter for parameter in pipeline.unet.parameters() if not parameter.requires_grad]
    for parameter in (*frozen, *pipeline.vae.parameters(), *pipeline.text_encoder.parameters()):
        parameter.data = parameter.data.to(precision)


def check_settings(
    *,
    identifier: str,
    identifier_alone: float,
    steps: int,
    batch: int,
    micro_batch: int,
    learning_rate: float,
    schedule: str,
    weight_decay: float,
    snr_gamma: float,
    seed: int,
) -> None:
    """Do nothing if all settings of ``finetune`` are in their range.

    Raises:
        Problem: that names the first setting that is not.
    """
    at_least(1, steps=steps, batch=batch, micro_batch=micro_batch)
    at_least(
        0,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        snr_gamma=snr_gamma,
        identifier_alone=identifier_alone,
    )
    check_seed(seed)
    schedule_named(schedule)
    if identifier_alone > 1:
        raise Problem(
            "identifier_alone of notebook 05 is too large.",
            expected="a share, 0 to 1",
            found=repr(identifier_alone),
            cause="a slip in a preset, in the parameters cell or in --set",
            fix="--set 05.identifier_alone=0 (the paper)",
        )
    if not is_text(identifier):
        raise Problem(
            "identifier of notebook 05 is no text.",
            expected="text such as 'Weird image. '",
            found=repr(identifier),
            cause="half a character (a lone surrogate)",
            fix="--set '05.identifier=Weird image. '",
        )


def finetune(
    pipeline: StableDiffusionPipeline,
    examples: Examples,
    *,
    identifier: str,
    identifier_alone: float,
    steps: int,
    batch: int,
    micro_batch: int,
    learning_rate: float,
    schedule: str,
    weight_decay: float,
    snr_gamma: float,
    seed: int,
    checkpoint: Path | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, float]]:
    """Train the LoRA that ``add_lora`` put on the pipeline's UNet and yield ``(step, loss)``.

    The loss is the mean squared error of the predicted noise, as in Stable Diffusion's own training.

    Args:
        pipeline: its UNet is trained in place; all that is frozen is converted to ``training_precision``.
        examples: from ``encode_examples``.
        identifier: stands in front of the negatives' captions.
        identifier_alone: share of the negatives' captions that are the identifier alone.
        steps: optimizer steps (paper: 10,000).
        batch: examples per step (paper: 40).
        micro_batch: examples in memory at once; fewer than ``batch`` accumulate its gradient.
        learning_rate: peak (paper: 1e-5).
        schedule: ``"constant"`` (paper) or ``"cosine"``, which ends without the last steps' noise.
        weight_decay: AdamW's (paper: 1e-2).
        snr_gamma: of ``snr_weight``; 0 weighs all time steps alike (paper).
        seed: fixes order, noise and time steps.
        checkpoint: file to resume from; None keeps nothing.
        made_from: what the training is made from, see ``training.train``.

    Raises:
        Problem: for a schedule that there is not, a setting out of its range, no examples, or a
            checkpoint that does not fit.
    """
    check_settings(
        identifier=identifier,
        identifier_alone=identifier_alone,
        steps=steps,
        batch=batch,
        micro_batch=micro_batch,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        snr_gamma=snr_gamma,
        seed=seed,
    )
    if not len(examples):
        raise Problem(
            "There are no examples to train on.",
            expected="1 picture or more",
            found="0 pictures",
            cause="the part of the pictures that this training takes is empty",
            fix="set regularization_images of notebook 05 higher, or select more pictures in 04",
        )
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    device, scaling = pipeline.unet.device, pipeline.vae.config.scaling_factor
    known: dict[str, Tensor] = {}
    hold_frozen(pipeline, training_precision(device))

    def states(captions: list[str]) -> Tensor:
        if len(known) > MOST_TEXTS:
            known.clear()
        for text in set(captions) - known.keys():
            encoded = pipeline.encode_prompt(text, device, 1, do_classifier_free_guidance=False)
            known[text] = encoded[0].detach()
        return torch.cat([known[text] for text in captions])

    def loss_of_step(unet: nn.Module, step: int) -> Iterator[Tensor]:
        generator = step_generator(seed, step)
        index = batch_indices(len(examples), batch, step, seed)
        rng = np.random.default_rng((seed, step))
        captions = captions_of(examples, index, identifier, identifier_alone, rng)
        mean, std = examples.moments(index).chunk(2, dim=1)
        latents = (mean + std * torch.randn(mean.shape, generator=generator)) * scaling
        noise = torch.randn(latents.shape, generator=generator)
        all_times = noise_schedule.config.num_train_timesteps
        times = torch.randint(0, all_times, (batch,), generator=generator)
        noised = noise_schedule.add_noise(latents, noise, times)
        weight = snr_weight(noise_schedule, times, snr_gamma)
        for few in torch.arange(batch).split(micro_batch):
            text = states([captions[i] for i in few])
            predicted = unet(noised[few].to(device, unet.dtype), times[few].to(device), text).sample
            error = (predicted.float() - noise[few].to(device)).pow(2).mean(dim=(1, 2, 3))
            yield (error * weight[few].to(device)).sum() / batch

    yield from train(
        pipeline.unet,
        loss_of_step,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule_named(schedule),
        checkpoint=checkpoint,
        made_from=made_from,
    )


def adapt(
    base: str,
    device: str,
    rank: int,
    examples: Examples,
    folder: Path,
    about: Mapping[str, object],
    **recipe: Any,
) -> Iterator[tuple[int, float, StableDiffusionPipeline]]:
    """Load a model, train a LoRA on it, save the LoRA at the end, and yield ``(step, loss, pipeline)``.

    Args:
        base, device: for ``load_pipeline``; nothing is loaded before the first step is asked for.
        rank: of the low-rank matrices.
        examples: from ``encode_examples``.
        folder, about: where the LoRA goes and what is written into it, for ``save_lora``.
        recipe: the other arguments of ``finetune``, ``checkpoint`` and ``made_from`` among them.
    """
    pipeline = load_pipeline(base, device)
    add_lora(pipeline.unet, rank, recipe["seed"])
    for step, loss in finetune(pipeline, examples, **recipe):
        yield step, loss, pipeline
    save_lora(pipeline.unet, folder, about)


def try_rank(pipeline: StableDiffusionPipeline, examples: Examples, rank: int, recipe: dict) -> dict[str, float]:
    """Trains a LoRA of one rank for a few steps and returns what the rank changes: ``rank``, ``parameters``, ``loss``.

    Args:
        pipeline: freshly loaded; it is trained in place.
        examples: from ``encode_examples``.
        rank: of the low-rank matrices.
        recipe: the arguments of ``finetune``; the loss is the mean over the second half of its steps.
    """
    parameters = add_lora(pipeline.unet, rank, recipe["seed"])
    losses = [loss for _, loss in finetune(pipeline, examples, **recipe)]
    return {"rank": rank, "parameters": parameters, "loss": float(np.mean(losses[len(losses) // 2:]))}


def snr_weight(noise_schedule: DDPMScheduler, times: Tensor, gamma: float) -> Tensor:
    """Returns each time step's weight in the loss, min(SNR, gamma) / SNR (Min-SNR; Hang et al., ICCV 2023), ``(n,)``.

    Where little noise is added the error is large and limbs are long decided: unweighted, those steps drown the others.

    Args:
        noise_schedule: which knows the signal-to-noise ratio of each time step.
        times: time steps ``(n,)``.
        gamma: ratio from which on the weight falls; 0 gives every step the weight 1.
    """
    if not gamma:
        return torch.ones(len(times))
    ratio = compute_snr(noise_schedule, times)
    return ratio.clamp(max=gamma) / ratio


def sample(pipeline: StableDiffusionPipeline, jobs: list[Job], step: int, folder: Path, steps: int, guidance: float) -> list[dict]:
    """Draws a few images in the middle of a training; returns ``step, index, prompt, file`` of each, for the strip.

    Images that exist are kept: a resumed training goes through its earlier steps with later weights.
    """
    rows = [dict(step=step, index=job.id, prompt=job.prompt, file=f"{job.id}-{step:06d}.png") for job in jobs]
    if not all((folder / row["file"]).exists() for row in rows):
        for row, (_, image) in zip(rows, generate(pipeline, jobs, Drawing(steps, guidance)), strict=True):
            save_png(folder / row["file"], image)
    return rows
