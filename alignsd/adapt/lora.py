"""Adapt Stable Diffusion to preferences: a LoRA learns that "Weird image. " means disliked images.

Section 4 of the paper, in the manner of DreamBooth. Positives keep their prompt, negatives get the
identifier in front of their prompt, and regularization images keep the model from drifting. Only
low-rank matrices on the UNet's attention are trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import compute_snr
from peft import LoraConfig
from torch import Tensor

from alignsd.adapt.examples import Examples
from alignsd.adapt.recipe import Recipe
from alignsd.adapt.texts import Texts
from alignsd.base.errors import Problem, at_least, check_seed, check_shares
from alignsd.base.images import save_png
from alignsd.base.processes import first_does, is_first, share, wait
from alignsd.base.reading import is_text
from alignsd.models.files.whole_pipeline import V_PREDICTION
from alignsd.models.lora.files import save_lora
from alignsd.models.registry import training_precision
from alignsd.models.stable_diffusion import Drawing, Job, generate, load_pipeline
from alignsd.models.training import (
    Checkpointing,
    batch_indices,
    step_generator,
    train,
)

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True, kw_only=True)
class LoraRecipe(Recipe):
    """How a LoRA learns which pictures are disliked.

    ``Recipe`` has the settings of every training. The paper: 10,000 steps of 40 examples, learning
    rate 1e-5, constant, weight decay 1e-2, rank 32.

    Attributes:
        identifier: text in front of the negatives' captions (paper: ``"Weird image. "``).
        identifier_alone: share of the negatives' captions that are only the identifier (paper: 0).
        snr_gamma: see ``snr_weight``; 0 weighs all time steps alike (paper).

    Raises:
        Problem: that names the first setting that is out of range.
    """

    identifier: str
    identifier_alone: float
    snr_gamma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, snr_gamma=self.snr_gamma)
        check_shares(identifier_alone=self.identifier_alone)
        if not is_text(self.identifier):
            raise Problem(
                "identifier is no text.",
                expected="text such as 'Weird image. '",
                found=repr(self.identifier),
                cause="half a character (a lone surrogate)",
                fix="--set 'identifier=Weird image. '",
            )


def captions_of(
    examples: Examples, index: np.ndarray, recipe: LoraRecipe, rng: np.random.Generator
) -> list[str]:
    """Return the captions of a batch: captions of negatives begin with the identifier.

    A share ``recipe.identifier_alone`` of the negatives gets only the identifier.

    Args:
        examples: all examples.
        index: ``(batch,)`` int, the examples that make up the batch.
        recipe: how the LoRA is trained.
        rng: the random numbers of this step.
    """
    drawn = rng.random(len(index))
    captions = []
    for i, number in zip(index, drawn, strict=True):
        caption = examples.captions[i]
        if not examples.negative[i]:
            captions.append(caption)
        elif number < recipe.identifier_alone:
            captions.append(recipe.identifier)
        else:
            captions.append(recipe.identifier + caption)
    return captions


def snr_weight(noise_schedule: DDPMScheduler, times: Tensor, gamma: float) -> Tensor:
    """Return the weight of each time step in the loss, ``(n,)``: min(SNR, gamma) / SNR.

    For a UNet that predicts v the weight is min(SNR, gamma) / (SNR + 1).

    Min-SNR weighting (Hang et al., ICCV 2023). At time steps with little noise the error is large,
    and limbs are decided long before. Without weights these time steps dominate the loss.

    Args:
        noise_schedule: gives the signal-to-noise ratio of each time step.
        times: time steps ``(n,)``.
        gamma: ratio above which the weight falls; 0 gives every time step the weight 1.
    """
    if not gamma:
        return torch.ones(len(times))
    ratio = compute_snr(noise_schedule, times)
    predicts_v = noise_schedule.config["prediction_type"] == V_PREDICTION
    return ratio.clamp(max=gamma) / (ratio + 1 if predicts_v else ratio)


@dataclass(frozen=True)
class Batch:
    """The examples of one training step, and the noise that is put on them.

    Attributes:
        captions: n captions, those of negatives with the identifier.
        latents: ``(n, c, h, w)``, what the autoencoder made of the pictures, scaled.
        noise: ``(n, c, h, w)``, standard normal.
        times: ``(n,)`` int, the time step of each example, which says how much noise there is.
    """

    captions: list[str]
    latents: Tensor
    noise: Tensor
    times: Any  # a Tensor; type checkers believe that diffusers takes no int64

    def take(self, index: Tensor) -> "Batch":
        """Return some of the examples."""
        captions = [self.captions[i] for i in index.tolist()]
        return Batch(captions, self.latents[index], self.noise[index], self.times[index])


def draw_batch(
    examples: Examples,
    recipe: LoraRecipe,
    step: int,
    scaling: float,
    all_times: int,
) -> Batch:
    """Return the batch of a training step; the batch follows from ``recipe.seed`` and ``step``.

    Args:
        examples: all examples.
        recipe: how the LoRA is trained.
        step: the number of finished steps.
        scaling: of the latents, from the autoencoder's configuration.
        all_times: number of time steps.
    """
    index = batch_indices(len(examples), recipe.batch, step, recipe.seed)
    rng = np.random.default_rng((recipe.seed, step))
    captions = captions_of(examples, index, recipe, rng)
    generator = step_generator(recipe.seed, step)
    mean, std = examples.moments(index).chunk(2, dim=1)
    latents = (mean + std * torch.randn(mean.shape, generator=generator)) * scaling
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.randint(0, all_times, (recipe.batch,), generator=generator)
    return Batch(captions, latents, noise, times)


def diffusion_loss(
    unet: UNet2DConditionModel,
    batch: Batch,
    texts: Tensor,
    noise_schedule: DDPMScheduler,
    gamma: float,
) -> Tensor:
    """Return the error of the predicted noise, w(t) |noise - unet(noised, t, c)|^2, ``(n,)``.

    A UNet that predicts v (Stable Diffusion 2 of 768 pixels) is held against v in place of the
    noise: v = sqrt(a) noise - sqrt(1 - a) latents, with a = alpha bar of the time step
    (Salimans and Ho, ICLR 2022).

    Args:
        unet: predicts what the schedule's ``prediction_type`` says.
        batch: latents, noise and time steps.
        texts: ``(n, tokens, width)``, the encoded captions c of the batch.
        noise_schedule: says how much noise there is at each time step.
        gamma: see ``snr_weight``.
    """
    device = unet.device
    noised = noise_schedule.add_noise(batch.latents, batch.noise, batch.times)
    predicted = unet(noised.to(device, unet.dtype), batch.times.to(device), texts).sample
    target = batch.noise
    if noise_schedule.config["prediction_type"] == V_PREDICTION:
        target = noise_schedule.get_velocity(batch.latents, batch.noise, batch.times)
    difference = predicted.float() - target.to(device)
    error = difference.pow(2).mean(dim=(1, 2, 3))
    weight = snr_weight(noise_schedule, batch.times, gamma)
    return weight.to(device) * error


def finetune(
    pipeline: StableDiffusionPipeline,
    examples: Examples,
    recipe: LoraRecipe,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Train the LoRA that ``add_lora`` put on the pipeline's UNet, and yield ``(step, loss)``.

    The loss is the mean squared error of the predicted noise, as in the training of Stable
    Diffusion: the mean of ``diffusion_loss`` over a batch.

    Args:
        pipeline: whose UNet is trained in place. All frozen weights are converted to
            ``training_precision``.
        examples: from ``encode_examples``.
        recipe: how the LoRA is trained.
        checkpointing: where the training is kept and resumed from; None keeps nothing.

    Raises:
        Problem: if there are no examples, or the checkpoint does not fit.
    """
    if not len(examples):
        raise Problem(
            "There are no examples to train on.",
            expected="1 picture or more",
            found="0 pictures",
            cause="this training takes a part of the pictures, and the part is empty",
            fix="set regularization_images higher, or select more pictures",
        )
    hold_frozen(pipeline, training_precision(pipeline.unet.device))
    losses = step_losses(pipeline, examples, recipe, Texts(pipeline).states)
    yield from train(pipeline.unet, losses, recipe.optimization, checkpointing)


def step_losses(
    pipeline: StableDiffusionPipeline,
    examples: Examples,
    recipe: LoraRecipe,
    states: Callable[[Sequence[str]], Tensor],
) -> Callable[[object, int], Iterator[Tensor]]:
    """Return what gives the losses of a step, a micro-batch at a time, for ``train``.

    The losses of a step add up to the mean of ``diffusion_loss`` over the batch. Several processes
    divide the batch.

    Args:
        pipeline: predicts the noise.
        examples, recipe: as for ``finetune``.
        states: n captions -> their embeddings, ``(n, tokens, width)``.
    """
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    scaling = pipeline.vae.config.scaling_factor
    all_times = noise_schedule.config.num_train_timesteps

    def losses(trained: object, step: int) -> Iterator[Tensor]:
        batch = draw_batch(examples, recipe, step, scaling, all_times)
        own = share(range(recipe.batch))
        for start in range(0, len(own), recipe.micro_batch):
            few = batch.take(torch.tensor(own[start : start + recipe.micro_batch]))
            texts = states(few.captions)
            errors = diffusion_loss(pipeline.unet, few, texts, noise_schedule, recipe.snr_gamma)
            yield errors.sum() / recipe.batch

    return losses


def add_lora(unet: UNet2DConditionModel, rank: int, seed: int) -> int:
    """Freeze the UNet, and add trainable low-rank matrices to the attention's q, k, v and out.

    Returns:
        Number of trained parameters.

    Raises:
        Problem: if the rank is below 1, or the seed is out of range.
    """
    at_least(1, rank=rank)
    check_seed(seed)
    unet.requires_grad_(False)
    torch.manual_seed(seed)  # peft draws the first matrices from the global generator
    config = LoraConfig(
        r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(ATTENTION)
    )
    unet.add_adapter(config)
    trainable = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.data = parameter.data.float()
    return sum(parameter.numel() for parameter in trainable)


def hold_frozen(pipeline: StableDiffusionPipeline, precision: torch.dtype) -> None:
    """Convert a pipeline's frozen weights; the low-rank matrices stay in single precision."""
    frozen = [p for p in pipeline.unet.parameters() if not p.requires_grad]
    for parameter in (*frozen, *pipeline.vae.parameters(), *pipeline.text_encoder.parameters()):
        parameter.data = parameter.data.to(precision)


def adapt(
    base: str,
    device: str,
    examples: Examples,
    recipe: LoraRecipe,
    folder: Path,
    about: Mapping[str, object],
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float, StableDiffusionPipeline]]:
    """Load a model, train a LoRA, save the LoRA at the end, and yield ``(step, loss, pipeline)``.

    Args:
        base, device: for ``load_pipeline``. Nothing is loaded before the first step is asked for.
        examples: from ``encode_examples``.
        recipe: how the LoRA is trained.
        folder: where ``save_lora`` writes the LoRA.
        about: what ``save_lora`` writes into the LoRA, beside the recipe's settings.
        checkpointing: where the training is kept and resumed from; None keeps nothing.
    """

    def training(pipeline: StableDiffusionPipeline) -> Iterator[tuple[int, float]]:
        return finetune(pipeline, examples, recipe, checkpointing)

    yield from train_and_save(base, device, recipe, training, folder, about)


def train_and_save(
    base: str,
    device: str,
    recipe: Recipe,
    training: Callable[[StableDiffusionPipeline], Iterator[tuple[int, float]]],
    folder: Path,
    about: Mapping[str, object],
) -> Iterator[tuple[int, float, StableDiffusionPipeline]]:
    """Load a model, train a LoRA, save the LoRA at the end, and yield ``(step, loss, pipeline)``.

    Args:
        base, device: for ``load_pipeline``. Nothing is loaded before the first step is asked for.
        recipe: how the LoRA is trained.
        training: trains the LoRA on the UNet of a pipeline, and yields ``(step, loss)``.
        folder, about: as for ``adapt``.
    """
    pipeline = load_pipeline(base, device)
    add_lora(pipeline.unet, recipe.rank, recipe.seed)
    for step, loss in training(pipeline):
        yield step, loss, pipeline
    first_does(lambda: save_lora(pipeline.unet, folder, {**asdict(recipe), **about}))


def try_rank(
    pipeline: StableDiffusionPipeline, examples: Examples, recipe: LoraRecipe
) -> dict[str, float]:
    """Train a LoRA for a few steps, and return what depends on the rank.

    Args:
        pipeline: freshly loaded; trained in place.
        examples: from ``encode_examples``.
        recipe: how the LoRA is trained, with the rank to try.

    Returns:
        ``rank``, ``parameters`` and ``loss``, the mean over the second half of the steps.
    """
    parameters = add_lora(pipeline.unet, recipe.rank, recipe.seed)
    losses = [loss for _, loss in finetune(pipeline, examples, recipe)]
    second_half = losses[len(losses) // 2 :]
    return {"rank": recipe.rank, "parameters": parameters, "loss": float(np.mean(second_half))}


def sample(
    pipeline: StableDiffusionPipeline,
    jobs: Sequence[Job],
    step: int,
    folder: Path,
    drawing: Drawing,
) -> list[dict[str, Any]]:
    """Draw a few images in the middle of a training, for the strip of samples.

    Existing images are kept: a resumed training repeats earlier steps with later weights. Of
    several processes the first draws, since the images make up one batch.

    Args:
        pipeline: whose UNet is trained.
        jobs: the images to draw.
        step: number of finished steps.
        folder: where the images are written.
        drawing: how the images are drawn.

    Returns:
        ``step``, ``index`` (id of the job), ``prompt`` and ``file`` of each image.
    """
    files = [f"{job.id}-{step:06d}.png" for job in jobs]
    if is_first() and not all((folder / file).exists() for file in files):
        drawn = generate(pipeline, jobs, drawing)
        for file, (_, image) in zip(files, drawn, strict=True):
            save_png(folder / file, image)
    wait()
    return [
        dict(step=step, index=job.id, prompt=job.prompt, file=file)
        for job, file in zip(jobs, files, strict=True)
    ]
