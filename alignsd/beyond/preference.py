"""Align Stable Diffusion to pairs of pictures directly: Diffusion-DPO (Wallace et al., CVPR 2024).

No reward model is needed: the LoRA learns to predict the noise on a winner better, and the noise on
a loser worse, than the frozen model does. The frozen model is the same UNet with its adapters off.

Two variants serve the negative branch of guidance (see ``negative_branch``). Diffusion-NPO (Wang et
al., ICLR 2025) lets winner and loser change places. After Diff-SNPO (ICLR 2026), one network learns
the pairs with their captions as they are, and pairs without captions swapped. Diff-SNPO's bounded
loss is not implemented: the loss here is Diffusion-DPO's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from alignsd.adapt.examples import Examples
from alignsd.adapt.lora import Batch, diffusion_loss, hold_frozen, train_and_save
from alignsd.adapt.recipe import Recipe
from alignsd.adapt.texts import Texts
from alignsd.base.errors import Problem, at_least, check_shares
from alignsd.base.processes import add_up, first_does, share
from alignsd.beyond.pairs import Pairs
from alignsd.kit.tables import read_table, write_table
from alignsd.models.registry import training_precision
from alignsd.models.training import (
    Checkpointing,
    batch_indices,
    step_generator,
    train,
)

CURVE_FILE = "preference.parquet"
INNER = ["accuracy", "logit", "winner", "loser"]


class Errors(NamedTuple):
    """Errors of the predicted noise on both pictures of n pairs, each ``(n,)``.

    Attributes:
        trained_winner, trained_loser: of the UNet with the LoRA.
        frozen_winner, frozen_loser: of the UNet without the LoRA.
    """

    trained_winner: Tensor
    trained_loser: Tensor
    frozen_winner: Tensor
    frozen_loser: Tensor


def preference_loss(
    trained_winner: Tensor,
    trained_loser: Tensor,
    frozen_winner: Tensor,
    frozen_loser: Tensor,
    beta: float,
) -> Tensor:
    """Return Diffusion-DPO's loss of each pair, ``(n,)``.

    L = -log sigmoid(-beta / 2 [(e(w) - e(l)) - (e_ref(w) - e_ref(l))])

    Wallace et al., CVPR 2024, with the constants of the official code (train.py). e is the mean
    squared error of the predicted noise, w the winner, l the loser, and ref the frozen model.
    Before the first step, trained and frozen model are the same, and the loss is log 2.

    The official beta is 5,000. The scripts for LoRAs of diffusers and Diffusion-NPO leave out the
    factor 1/2: a beta of 2,500 there is 5,000 here.

    Args:
        trained_winner, trained_loser, frozen_winner, frozen_loser: see ``Errors``.
        beta: how strongly the training is held to the frozen model; a larger beta holds it more.
    """
    logit = preference_logit(trained_winner, trained_loser, frozen_winner, frozen_loser, beta)
    return -logsigmoid(logit)


def preference_logit(
    trained_winner: Tensor,
    trained_loser: Tensor,
    frozen_winner: Tensor,
    frozen_loser: Tensor,
    beta: float,
) -> Tensor:
    """Return the log odds that the trained model prefers the winner, ``(n,)``.

    Above 0, the LoRA tells winner and loser apart as the pair does.

    Args:
        trained_winner, trained_loser, frozen_winner, frozen_loser, beta: as for
            ``preference_loss``.
    """
    trained_difference = trained_winner - trained_loser
    frozen_difference = frozen_winner - frozen_loser
    return -beta / 2 * (trained_difference - frozen_difference)


@dataclass(frozen=True, kw_only=True)
class PairRecipe(Recipe):
    """How a LoRA is trained on pairs.

    The official settings of Diffusion-DPO are for all weights of Stable Diffusion 1.5, not for a
    LoRA. ``Recipe`` has the settings of every training; the examples are pairs. Official: 2,000
    steps of 2,048 pairs, learning rate 2.05e-5 (diffusers' LoRA: 1e-5), constant after a warm-up,
    weight decay 1e-2; the LoRA of Diffusion-NPO has rank 8. Two recipes with one seed see the same
    pairs with the same noise.

    Attributes:
        snr_gamma: see ``adapt.lora.snr_weight``; 0 weighs all time steps alike (official).
        beta: see ``preference_loss`` (official: 5,000; Diffusion-NPO: 1,000 in our measure). The
            errors are means over the numbers of a latent, so a fitting beta depends on the size of
            the pictures.
        caption_dropout: share of the pairs without caption, for winner and loser alike (official:
            0.2; Diffusion-NPO: 0).
        swapped: whether winners and losers change places (Diffusion-NPO).
        swapped_captionless: share of the pairs that lose their caption and have winner and loser
            swapped (in the manner of Diff-SNPO).

    Raises:
        Problem: that names the first setting that is out of range, or two settings that contradict
            each other.
    """

    snr_gamma: float
    beta: float
    caption_dropout: float
    swapped: bool
    swapped_captionless: float

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, snr_gamma=self.snr_gamma, beta=self.beta)
        check_shares(caption_dropout=self.caption_dropout)
        check_shares(swapped_captionless=self.swapped_captionless)
        if self.beta == 0:
            raise _nothing_to_learn()
        if self.swapped_captionless and (self.swapped or self.caption_dropout):
            raise _contradiction(self)


def _nothing_to_learn() -> Problem:
    return Problem(
        "beta is too small.",
        expected="a number above 0",
        found="0, with which the loss is log 2 whatever the model predicts",
        cause="a slip in a preset, in the parameters cell or in --set",
        fix="--set beta=5000 (official, at 512 pixels)",
    )


def _contradiction(recipe: PairRecipe) -> Problem:
    return Problem(
        "swapped_captionless contradicts another setting.",
        expected="swapped_captionless alone, without swapped and caption_dropout",
        found=f"swapped_captionless = {recipe.swapped_captionless}, swapped = {recipe.swapped}, "
        f"caption_dropout = {recipe.caption_dropout}",
        cause="the pairs without caption would teach a preference and the opposite at once",
        fix="--set swapped_captionless=0, or --set caption_dropout=0 without swapped",
    )


def draw_pairs(
    pairs: Pairs, recipe: PairRecipe, step: int, scaling: float, all_times: int
) -> Batch:
    """Return the pairs of a training step: all winners of the batch, then all losers.

    The two pictures of a pair have the same caption (or none), the same noise and the same time
    step. The batch follows from ``recipe.seed`` and ``step``. Swapping is all that ``swapped``
    changes.

    Args:
        pairs: all pairs.
        recipe: how the LoRA is trained.
        step: the number of finished steps.
        scaling: of the latents, from the autoencoder's configuration.
        all_times: number of time steps.

    Returns:
        ``2 x recipe.batch`` examples; example i + ``recipe.batch`` is the loser of winner i.
    """
    index = batch_indices(len(pairs), recipe.batch, step, recipe.seed)
    drawn = np.random.default_rng((recipe.seed, step)).random(recipe.batch)
    has_no_caption = drawn < max(recipe.caption_dropout, recipe.swapped_captionless)
    is_swapped = drawn < recipe.swapped_captionless
    if recipe.swapped:
        is_swapped = np.ones(recipe.batch, dtype=bool)
    captions = []
    for number, is_empty in zip(index, has_no_caption, strict=True):
        captions.append("" if is_empty else pairs.captions[number])
    generator = step_generator(recipe.seed, step)
    preferred = _latents(pairs.winners, index, scaling, generator)
    other = _latents(pairs.losers, index, scaling, generator)
    noise = torch.randn(preferred.shape, generator=generator)
    times = torch.randint(0, all_times, (recipe.batch,), generator=generator)
    swap = torch.from_numpy(is_swapped)[:, None, None, None]
    winners = torch.where(swap, other, preferred)
    losers = torch.where(swap, preferred, other)
    latents = torch.cat([winners, losers])
    return Batch(captions * 2, latents, noise.repeat(2, 1, 1, 1), times.repeat(2))


def _latents(
    examples: Examples, index: np.ndarray, scaling: float, generator: torch.Generator
) -> Tensor:
    """Draw the latents of some examples, ``(len(index), c, h, w)``."""
    mean, std = examples.moments(index).chunk(2, dim=1)
    return (mean + std * torch.randn(mean.shape, generator=generator)) * scaling


def errors_of(
    unet: UNet2DConditionModel,
    batch: Batch,
    texts: Tensor,
    noise_schedule: DDPMScheduler,
    gamma: float,
) -> Errors:
    """Return the errors on n pairs, of the UNet with and without the LoRA.

    Args:
        unet: with the adapter of ``adapt.lora.add_lora``.
        batch: n winners, then the n losers in the same order.
        texts: ``(2n, tokens, width)``, the encoded captions of the batch.
        noise_schedule: says how much noise there is at each time step.
        gamma: see ``adapt.lora.snr_weight``.
    """
    with torch.no_grad(), without_lora(unet):
        frozen = diffusion_loss(unet, batch, texts, noise_schedule, gamma)
    trained = diffusion_loss(unet, batch, texts, noise_schedule, gamma)
    return Errors(*trained.chunk(2), *frozen.chunk(2))


@contextmanager
def without_lora(unet: UNet2DConditionModel) -> Iterator[None]:
    """Switch a UNet's adapters off in the block: the UNet predicts what the frozen model does."""
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()


class Learner(nn.Module):
    """A UNet that learns from pairs, with the inner numbers of each step.

    The inner numbers are a buffer, so that checkpoints hold them, and a resumed training goes on
    with the same table.

    Args:
        unet: with the adapter of ``adapt.lora.add_lora``.
        steps: steps of the training.
    """

    inner: Tensor

    def __init__(self, unet: UNet2DConditionModel, steps: int) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("inner", torch.zeros(steps, len(INNER), dtype=torch.float64))


def inner_numbers(errors: Errors, beta: float) -> Tensor:
    """Return the sums over n pairs of the inner numbers, in the order of ``INNER``, ``(4,)``.

    - ``accuracy``: 1 if the logit is above 0, and 1/2 for a logit of 0.
    - ``logit``: size of the logit, see ``preference_logit``.
    - ``winner``, ``loser``: error of the trained model minus error of the frozen model. Below 0,
      the trained model predicts better. If both rise, the training spoils losers more than winners.

    Args:
        errors: from ``errors_of``.
        beta: see ``preference_loss``.
    """
    detached = Errors(*(error.detach().double() for error in errors))
    logit = preference_logit(*detached, beta)
    is_right = (logit > 0).double() + (logit == 0).double() / 2
    winner = detached.trained_winner - detached.frozen_winner
    loser = detached.trained_loser - detached.frozen_loser
    return torch.stack([is_right, logit.abs(), winner, loser]).sum(dim=1).cpu()


def learn(
    pipeline: StableDiffusionPipeline,
    learner: Learner,
    pairs: Pairs,
    recipe: PairRecipe,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Train a learner in place, and yield ``(step, loss)``.

    The loss is the mean of ``preference_loss`` over a batch. Several processes divide the batch.

    Args:
        pipeline: with the learner's UNet. All frozen weights are converted to
            ``training_precision``.
        learner: of ``recipe.steps`` steps.
        pairs: from ``encode_pairs``.
        recipe: how the LoRA is trained.
        checkpointing: where the training is kept and resumed from; None keeps nothing.

    Raises:
        Problem: if the training diverges, or the checkpoint does not fit.
    """
    noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    scaling = pipeline.vae.config.scaling_factor
    all_times = noise_schedule.config.num_train_timesteps
    texts = Texts(pipeline)
    hold_frozen(pipeline, training_precision(pipeline.unet.device))

    def loss_of_step(learner: Learner, step: int) -> Iterator[Tensor]:
        batch = draw_pairs(pairs, recipe, step, scaling, all_times)
        own = share(range(recipe.batch))
        sums = torch.zeros(len(INNER), dtype=torch.float64)
        for start in range(0, len(own), recipe.micro_batch):
            winners = torch.tensor(own[start : start + recipe.micro_batch])
            few = batch.take(torch.cat([winners, winners + recipe.batch]))
            states = texts.states(few.captions)
            errors = errors_of(learner.unet, few, states, noise_schedule, recipe.snr_gamma)
            sums += inner_numbers(errors, recipe.beta)
            yield preference_loss(*errors, recipe.beta).sum() / recipe.batch
        add_up([sums])
        learner.inner[step] = sums / recipe.batch

    yield from train(learner, loss_of_step, recipe.optimization, checkpointing)


def align(
    base: str,
    device: str,
    pairs: Pairs,
    recipe: PairRecipe,
    folder: Path,
    about: Mapping[str, object],
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float, StableDiffusionPipeline]]:
    """Load a model, train a LoRA on pairs, save the LoRA, and yield ``(step, loss, pipeline)``.

    Beside the LoRA lies the curve of the training, see ``read_curve``.

    Args:
        base, device: for ``load_pipeline``. Nothing is loaded before the first step is asked for.
        pairs: from ``encode_pairs``.
        recipe: how the LoRA is trained.
        folder: where ``save_lora`` writes the LoRA.
        about: what ``save_lora`` writes into the LoRA, beside the recipe's settings.
        checkpointing: where the training is kept and resumed from; None keeps nothing.
    """
    learners: list[Learner] = []
    losses: list[float] = []

    def training(pipeline: StableDiffusionPipeline) -> Iterator[tuple[int, float]]:
        learners.append(Learner(pipeline.unet, recipe.steps))
        for step, loss in learn(pipeline, learners[0], pairs, recipe, checkpointing):
            losses.append(loss)
            yield step, loss

    yield from train_and_save(base, device, recipe, training, folder, about)

    def save_curve() -> None:
        curve = pd.DataFrame(learners[0].inner.numpy(), columns=INNER)
        curve.insert(0, "loss", losses)
        curve.insert(0, "step", range(recipe.steps))
        write_table(folder / CURVE_FILE, curve)

    first_does(save_curve)


def read_curve(folder: Path) -> pd.DataFrame:
    """Return the curve of a finished training: a row per step, means over the step's pairs.

    Args:
        folder: as for ``align``.

    Returns:
        ``step`` (from 0), ``loss``, and the inner numbers ``accuracy`` (0-1), ``logit``, ``winner``
        and ``loser``, see ``inner_numbers``. In a training with ``swapped``, ``winner`` is what the
        training prefers.

    Raises:
        Problem: if the table is missing or damaged.
    """
    return read_table(folder / CURVE_FILE, ["step", "loss", *INNER])
