"""Learn a word for the disliked pictures: textual inversion (Gal et al., ICLR 2023).

The paper's identifier is made of words that the text encoder knows. Here a new word gets a vector v
of its own, which is trained with the diffusion loss on the negatives. Their captions c(v) begin
with the word: minimize w(t) |noise - unet(noised, t, c(v))|^2. The model itself stays as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor, nn

from alignsd.adapt.examples import Examples
from alignsd.adapt.lora import LoraRecipe, hold_frozen, step_losses
from alignsd.base.errors import Problem
from alignsd.models.registry import training_precision
from alignsd.models.training import Checkpointing, train


class Word(nn.Module):
    """A word of a pipeline whose vector is trained, and the pipeline's UNet, which is frozen.

    Args:
        pipeline: gets the word, and is frozen.
        word: a word that the tokenizer does not know, such as ``"<weird>"``.
        like: a word that the tokenizer knows as one token; the training begins with its vector.

    Raises:
        Problem: if the tokenizer knows the word, or ``like`` is not one token.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, word: str, like: str) -> None:
        super().__init__()
        self.word, self.like = word, like
        first = _token(pipeline, like)
        if not pipeline.tokenizer.add_tokens([word]):
            raise Problem(
                f"The tokenizer knows the word {word!r} already.",
                expected="a new word",
                found=repr(word),
                cause="the word was added before, or is a word of the model",
                fix="choose another word, such as '<weird>'",
            )
        self.token = pipeline.tokenizer.convert_tokens_to_ids(word)
        pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
        for model in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
            model.requires_grad_(False)
        self._vectors = [pipeline.text_encoder.get_input_embeddings()]  # a list hides the module
        self.vector = nn.Parameter(self._vectors[0].weight[first].detach().float().clone())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the text encoder take the trained vector for the word, with its gradient."""

        def replaced(module: nn.Module, inputs: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
            is_word = (inputs[0] == self.token)[..., None]
            return torch.where(is_word, self.vector.to(vectors), vectors)

        hook = self._vectors[0].register_forward_hook(replaced)
        try:
            yield
        finally:
            hook.remove()

    @torch.no_grad()
    def keep(self) -> None:
        """Write the trained vector into the text encoder."""
        self._vectors[0].weight[self.token] = self.vector.to(self._vectors[0].weight)


def _token(pipeline: StableDiffusionPipeline, word: str) -> int:
    tokens = pipeline.tokenizer(word, add_special_tokens=False).input_ids
    if len(tokens) != 1:
        raise Problem(
            f"The tokenizer does not know {word!r} as one token.",
            expected="a word that stands for one token",
            found=f"{len(tokens)} tokens",
            cause="a rare word, or several words",
            fix="begin with a common word, such as 'person'",
        )
    return tokens[0]


def learn_word(
    pipeline: StableDiffusionPipeline,
    word: Word,
    examples: Examples,
    recipe: LoraRecipe,
    checkpointing: Checkpointing | None = None,
) -> Iterator[tuple[int, float]]:
    """Train the vector of a word, and yield ``(step, loss)``; the text encoder keeps the vector.

    Args:
        pipeline: that the word was added to. All weights are converted to ``training_precision``.
        word: the word.
        examples: negatives, from ``encode_examples``.
        recipe: ``identifier`` holds the word; the rank does not count.
        checkpointing: where the training is kept and resumed from; None keeps nothing.

    Raises:
        Problem: if the training diverges, or the checkpoint does not fit.
    """
    hold_frozen(pipeline, training_precision(pipeline.unet.device))
    losses = step_losses(pipeline, examples, recipe, partial(_states, pipeline))
    with word.in_use():
        yield from train(word, losses, recipe.optimization, checkpointing)
    word.keep()


def save_with_word(pipeline: StableDiffusionPipeline, word: Word, folder: Path) -> None:
    """Write a model with a learned word, in diffusers' layout and in the model's own precision.

    Args:
        pipeline: freshly loaded, and not the pipeline of the training; gets the word.
        word: the learned word.
        folder: where to write.
    """
    same = Word(pipeline, word.word, word.like)
    same.load_state_dict(word.state_dict())
    same.keep()
    pipeline.save_pretrained(folder)


def _states(pipeline: StableDiffusionPipeline, captions: Sequence[str]) -> Tensor:
    """Return the captions' embeddings with their gradient, ``(len(captions), tokens, width)``."""
    device = pipeline.unet.device
    return pipeline.encode_prompt(list(captions), device, 1, do_classifier_free_guidance=False)[0]
