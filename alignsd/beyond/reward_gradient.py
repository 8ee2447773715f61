"""Follow the gradient of a reward through the drawing of a picture (DRaFT; AlignProp).

A reward r that can be differentiated, such as HPS, tells how each pixel should change. The gradient
goes from the pixels back through the autoencoder and through the last K of T denoising steps to the
trained weights theta: maximize E[r(x_0(theta, c, x_T), c)] over prompts c and first noises x_T
(Clark et al., "Directly Fine-Tuning Diffusion Models on Differentiable Rewards", ICLR 2024;
Prabhudesai et al., "Aligning Text-to-Image Diffusion Models with Reward Backpropagation", 2023).

No picture and no choice is needed, and nothing holds the model back. So this module is the kit's
exhibit of over-optimization: the reward rises by whatever the reward likes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from alignsd.adapt.lora import hold_frozen, train_and_save
from alignsd.adapt.recipe import Recipe
from alignsd.adapt.texts import Texts
from alignsd.base.errors import Problem, at_least
from alignsd.base.processes import share
from alignsd.models.clip import Clip, embed_texts
from alignsd.models.registry import training_precision
from alignsd.models.training import (
    Checkpointing,
    batch_indices,
    step_generator,
    train,
)

# Pixels ``(n, 3, height, width)`` in 0 to 1, and a prompt per picture -> rewards ``(n,)``.
Reward = Callable[[Tensor, list[str]], Tensor]


@dataclass(frozen=True, kw_only=True)
class RewardRecipe(Recipe):
    """How a LoRA is trained on a reward.

    ``Recipe`` has the settings of every training; the examples are drawn pictures. AlignProp: 128
    pictures per step, learning rate 1e-3.

    Attributes:
        denoising_steps: T, the steps in which a picture is drawn (AlignProp: 50).
        through: K, the last steps that the gradient goes through; ``denoising_steps`` for all.
        guidance: scale of classifier-free guidance while drawing (AlignProp: 5).
        recompute: forget what a denoising step computed, and compute the step again for the
            gradient. Memory then holds one step instead of K; time grows by about a third.

    Raises:
        Problem: that names the first setting that is out of range.
    """

    denoising_steps: int
    through: int
    guidance: float
    recompute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, denoising_steps=self.denoising_steps, through=self.through)
        at_least(0, guidance=self.guidance)
        if self.through > self.denoising_steps:
            raise Problem(
                "The gradient cannot go through so many steps.",
                expected=f"at most {self.denoising_steps}, the number of denoising steps",
                found=repr(self.through),
                cause="a gradient goes back through the steps in which a picture is drawn",
                fix="--set reward_through=0, which means all steps",
            )


@dataclass(frozen=True)
class Goal:
    """What a training aims at.

    Attributes:
        prompts: what to draw.
        reward: what to maximize, such as ``differentiable_hps``.
    """

    prompts: Sequence[str]
    reward: Reward

    def __post_init__(self) -> None:
        if not len(self.prompts):
            raise Problem(
                "There are no prompts to draw.",
                expected="1 prompt or more",
                found="0 prompts",
                cause="an empty list of prompts",
                fix="give the prompts of the corpus that was scored",
            )


def draw_with_gradient(
    pipeline: StableDiffusionPipeline,
    texts: Tensor,
    negatives: Tensor,
    noise: Tensor,
    recipe: RewardRecipe,
) -> Tensor:
    """Draw pictures so that a gradient can go back through the last denoising steps.

    The pictures are those of ``stable_diffusion.generate`` within one grey level.

    Args:
        pipeline: whose UNet is trained. The pipeline's scheduler is used.
        texts: embeddings ``(n, tokens, width)`` of the prompts.
        negatives: embeddings ``(n, tokens, width)`` of the negative prompts.
        noise: first noise ``(n, channels, height, width)``, standard normal, single precision.
        recipe: ``denoising_steps``, ``through``, ``guidance`` and ``recompute``.

    Returns:
        Pixels ``(n, 3, height, width)`` in 0 to 1.
    """
    scheduler = pipeline.scheduler
    unet = pipeline.unet
    scheduler.set_timesteps(recipe.denoising_steps, device=noise.device)
    latents = noise * scheduler.init_noise_sigma
    first_with_gradient = len(scheduler.timesteps) - recipe.through
    if recipe.through == recipe.denoising_steps:
        first_with_gradient = 0  # PNDM calls the network once more than there are steps
    for number, time in enumerate(scheduler.timesteps):
        with torch.set_grad_enabled(torch.is_grad_enabled() and number >= first_with_gradient):
            scaled = scheduler.scale_model_input(latents, time)
            inputs = (unet, scaled.to(unet.dtype), time, texts, negatives, recipe.guidance)
            predicted = _computed(_guided, recipe, *inputs).float()
            latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return _computed(_pixels, recipe, pipeline, latents)


def _computed(function: Callable[..., Tensor], recipe: RewardRecipe, *inputs: object) -> Tensor:
    """Call a function; with ``recompute``, keep nothing of the computation for the gradient."""
    if recipe.recompute and torch.is_grad_enabled():
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return function(*inputs)


def _guided(
    unet: UNet2DConditionModel,
    latents: Tensor,
    time: Tensor,
    texts: Tensor,
    negatives: Tensor,
    guidance: float,
) -> Tensor:
    """Return eps = eps_negative + guidance (eps_prompt - eps_negative).

    As in diffusers, a guidance of 1 or less means eps_prompt.
    """
    if guidance <= 1:
        return unet(latents, time, texts).sample
    both = torch.cat([negatives, texts])
    of_negatives, of_texts = unet(torch.cat([latents, latents]), time, both).sample.chunk(2)
    return of_negatives + guidance * (of_texts - of_negatives)


def _pixels(pipeline: StableDiffusionPipeline, latents: Tensor) -> Tensor:
    """Return the pixels ``(n, 3, height, width)`` of latents, in 0 to 1."""
    unscaled = latents / pipeline.vae.config.scaling_factor
    decoded = pipeline.vae.decode(unscaled.to(pipeline.vae.dtype)).sample
    return (decoded.float() / 2 + 0.5).clamp(0, 1)


def differentiable_hps(clip: Clip) -> Reward:
    """Return HPS as a function that passes gradients to the pixels.

    The value is the HPS of the same picture, apart from the rounding of pixels to whole grey
    levels. The weights of the CLIP are frozen.

    Args:
        clip: with HPS's fine-tuned weights. Both fits of ``Clip`` treat square pictures alike.

    Returns:
        A function of pixels ``(n, 3, side, side)`` in 0 to 1 and of n prompts, which returns
        ``clip.scale`` x cosine, ``(n,)``. The function raises a Problem if pictures are not square.
    """
    clip.model.requires_grad_(False)
    mean = torch.tensor(clip.model.visual.image_mean, device=clip.device).view(3, 1, 1)
    spread = torch.tensor(clip.model.visual.image_std, device=clip.device).view(3, 1, 1)

    def reward(pixels: Tensor, prompts: list[str]) -> Tensor:
        squares = _resized(pixels.float().to(clip.device), clip.size)
        images = clip.model.encode_image((squares - mean) / spread, normalize=True)
        texts = torch.from_numpy(embed_texts(clip, prompts)).to(clip.device)
        return clip.scale * (images * texts).sum(dim=1)

    return reward


def _resized(pixels: Tensor, size: int) -> Tensor:
    """Return square pictures at another size, by Pillow's antialiased bicubic filter."""
    height, width = pixels.shape[-2:]
    if height != width:
        raise Problem(
            "The gradient of HPS is taken of square pictures alone.",
            expected="as high as wide, as Stable Diffusion draws without other settings",
            found=f"{width} x {height} pixels",
            cause="a model whose pictures are not square",
            fix="give a function of your own as the reward",
        )
    if height == size:
        return pixels
    resized = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True)
    return resized.clamp(0, 1)


def finetune(
    pipeline: StableDiffusionPipeline,
    goal: Goal,
    recipe: RewardRecipe,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Train the LoRA that ``add_lora`` put on the pipeline's UNet, and yield ``(step, loss)``.

    The loss is minus the mean reward of the step's pictures. Several processes divide the pictures.

    Args:
        pipeline: whose UNet is trained in place. All frozen weights are converted to
            ``training_precision``.
        goal: the prompts and the reward. The order of the prompts follows from the seed.
        recipe: how the LoRA is trained.
        checkpointing: where the training is kept and resumed from; None keeps nothing.

    Raises:
        Problem: if the reward is no longer finite, or the checkpoint does not fit.
    """
    pipeline.vae.requires_grad_(False)
    pipeline.text_encoder.requires_grad_(False)
    hold_frozen(pipeline, training_precision(pipeline.unet.device))
    texts = Texts(pipeline)

    def loss_of_step(unet: UNet2DConditionModel, step: int) -> Iterator[Tensor]:
        index = batch_indices(len(goal.prompts), recipe.batch, step, recipe.seed)
        noise = _first_noise(unet, recipe, step)
        own = share(range(recipe.batch))
        for start in range(0, len(own), recipe.micro_batch):
            few = own[start : start + recipe.micro_batch]
            asked = [goal.prompts[index[number]] for number in few]
            states = texts.states(asked)
            negatives = texts.states([""] * len(few))
            drawn = draw_with_gradient(pipeline, states, negatives, noise[few], recipe)
            yield -goal.reward(drawn, asked).sum() / recipe.batch  # the sum over all is - mean r

    yield from train(pipeline.unet, loss_of_step, recipe.optimization, checkpointing)


def _first_noise(unet: UNet2DConditionModel, recipe: RewardRecipe, step: int) -> Tensor:
    """Return the first noise of all pictures of a step, ``(batch, channels, side, side)``."""
    side = unet.config["sample_size"]
    shape = (recipe.batch, unet.config["in_channels"], side, side)
    noise = torch.randn(shape, generator=step_generator(recipe.seed, step))
    return noise.to(unet.device)


def align(
    base: str,
    device: str,
    goal: Goal,
    recipe: RewardRecipe,
    folder: Path,
    about: Mapping[str, object],
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float, StableDiffusionPipeline]]:
    """Load a model, train a LoRA on a reward, and yield ``(step, loss, pipeline)``.

    The LoRA is saved at the end. The loss is minus the mean reward of the step's pictures.

    Args:
        base, device: for ``load_pipeline``. Nothing is loaded before the first step is asked for.
        goal: the prompts and the reward.
        recipe: how the LoRA is trained.
        folder: where ``save_lora`` writes the LoRA.
        about: what ``save_lora`` writes into the LoRA, beside the recipe's settings.
        checkpointing: where the training is kept and resumed from; None keeps nothing.
    """

    def training(pipeline: StableDiffusionPipeline) -> Iterator[tuple[int, float]]:
        return finetune(pipeline, goal, recipe, checkpointing)

    yield from train_and_save(base, device, recipe, training, folder, about)
