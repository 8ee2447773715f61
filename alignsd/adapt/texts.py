"""Encode the captions of a training, each distinct caption once."""

from collections.abc import Sequence

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor

MOST_TEXTS = 1024  # text embeddings kept; 77 x 768 half-precision numbers each, about 120 MB in all


class Texts:
    """Encode captions, and keep the embeddings of up to ``MOST_TEXTS`` captions.

    Args:
        pipeline: with the text encoder, which does not change.
    """

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        self._pipeline = pipeline
        self._known: dict[str, Tensor] = {}

    def states(self, captions: Sequence[str]) -> Tensor:
        """Return the captions' embeddings, ``(len(captions), tokens, width)``."""
        if len(self._known) > MOST_TEXTS:
            self._known.clear()
        device = self._pipeline.unet.device
        for text in set(captions) - self._known.keys():
            encoded = self._pipeline.encode_prompt(
                text, device, 1, do_classifier_free_guidance=False
            )
            self._known[text] = encoded[0].detach()
        return torch.cat([self._known[text] for text in captions])
