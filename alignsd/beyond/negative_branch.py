"""Two networks in one drawing: guidance pushes away from what a second UNet predicts.

Guidance takes each step by eps = eps_negative + scale (eps_prompt - eps_negative). In the paper the
negative branch is the same network with another text. In Diffusion-NPO (Wang et al., ICLR 2025) the
negative branch is a second network that has learned to draw what people dislike.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel, UNet2DConditionOutput
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor, nn

from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline


class TwoUNets(nn.Module):
    """Stand for a pipeline's UNet: predict each half of a guidance batch with another UNet.

    diffusers puts the negative prompts into the first half of a batch, and the prompts into the
    second half.

    Args:
        negative: predicts the first half.
        positive: predicts the second half; the two have one configuration.
    """

    def __init__(self, negative: UNet2DConditionModel, positive: UNet2DConditionModel) -> None:
        super().__init__()
        self.negative = negative
        self.positive = positive

    @property
    def config(self) -> dict[str, Any]:
        """Return the configuration of both UNets."""
        return self.positive.config

    @property
    def device(self) -> torch.device:
        """Return where both UNets lie."""
        return self.positive.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision of both UNets."""
        return self.positive.dtype

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        return_dict: bool = True,
        **options: Any,
    ) -> UNet2DConditionOutput | tuple[Tensor]:
        """Return the predicted noise, ``(2n, c, h, w)``.

        Args:
            sample: ``(2n, c, h, w)``, n noised latents twice.
            timestep: of all latents.
            encoder_hidden_states: ``(2n, tokens, width)``, n negative texts, then n texts.
            return_dict: return diffusers' output in place of a tuple.
            options: passed on to both UNets.
        """
        unets = (self.negative, self.positive)
        halves = zip(unets, sample.chunk(2), encoder_hidden_states.chunk(2), strict=True)
        predicted = []
        for unet, latents, texts in halves:
            output = unet(latents, timestep, texts, return_dict=False, **options)
            predicted.append(output[0])
        noise = torch.cat(predicted)
        return UNet2DConditionOutput(sample=noise) if return_dict else (noise,)


class TwoBranches(StableDiffusionPipeline):
    """Stable Diffusion with ``TwoUNets``, which draws with guidance only.

    Without guidance a batch has no negative half, and half of the pictures would be drawn by the
    wrong network.
    """

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Return True.

        Raises:
            Problem: if a drawing without guidance is asked for.
        """
        if super().do_classifier_free_guidance:
            return True
        raise Problem(
            "Two networks draw with guidance only.",
            expected="guidance above 1",
            found=f"guidance {self.guidance_scale:g}",
            cause="without guidance there is no negative branch, and no use for a second network",
            fix="--set guidance=1.75, or draw with the positive network alone",
        )


def load_two(
    model: str,
    device: str = "auto",
    adapter: Path | None = None,
    negative_adapter: Path | None = None,
) -> StableDiffusionPipeline:
    """Load a pipeline with two UNets, one for each branch of guidance.

    ``models.stable_diffusion.generate`` draws with the pipeline. Two UNets take twice the memory of
    one UNet, and cannot be saved as one LoRA.

    Args:
        model, device: for ``load_pipeline``.
        adapter: LoRA of the UNet that gets the prompts; None for the original model.
        negative_adapter: LoRA of the UNet that gets the negative prompts; None for the original.

    Raises:
        Problem: if the model or an adapter cannot be loaded.
    """
    negative = load_pipeline(model, device, negative_adapter).unet
    pipeline = load_pipeline(model, device, adapter)
    components = pipeline.components | {"unet": TwoUNets(negative, pipeline.unet)}
    two = TwoBranches(**components, requires_safety_checker=False)
    two.set_progress_bar_config(disable=True)
    return two
