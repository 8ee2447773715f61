"""The miniature's untrained models: sizes and tokenizer, with the classes of the paper's models."""

import json
import math
import re
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from open_clip.model import CLIP
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alignsd.miniature import world
from alignsd.miniature.renderer import SIZE
from alignsd.models import tower

TOKENS = 32  # the longest caption, with the identifier in front, has 29 tokens
CLIP_TOKENS = 44  # the longest caption of CLIP's wider web has 42 tokens
FACTOR = 8  # pixels per latent
IDENTIFIER_SCALE = 30  # of the embedding of the identifier's words, relative to other words
WIDTH = 96  # of both text encoders
END_OF_WORD = "</w>"
START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"


def vae() -> AutoencoderKL:
    """Return the autoencoder, 64 x 64 x 3 to 8 x 8 x 4."""
    channels = (12, 24, 48, 64)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=SIZE,
        block_out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * len(channels),
        up_block_types=["UpDecoderBlock2D"] * len(channels),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the CLIP text encoder, 96 wide, 3 layers."""
    last = len(tokenizer) - 1
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=WIDTH,
        bos_token_id=last - 1,
        eos_token_id=last,
        pad_token_id=last,
    )
    model = CLIPTextModel(config)
    embedding = cast(torch.nn.Embedding, model.get_input_embeddings()).weight
    torch.nn.init.normal_(embedding, std=0.06)
    # The identifier's words never occur in the web's captions and so keep this first embedding. The
    # embedding must stand out. At the size of other words, the encoder's output for the identifier
    # was the output for "a" (cosine 0.99), and nothing could be bound to the identifier. At this
    # size the identifier differs from the words of captions (0.77) about as much as "red" does from
    # "blue" (0.67).
    identifier = " ".join(re.findall(r"\w+", world.IDENTIFIER))
    ids = tokenizer(identifier, add_special_tokens=False).input_ids
    with torch.no_grad():
        embedding[ids] *= IDENTIFIER_SCALE
    return model


def unet() -> UNet2DConditionModel:
    """Return the denoiser of 8 x 8 latents, with cross-attention at 8 x 8 and at 4 x 4.

    With cross-attention at 4 x 4 alone, LoRA bound no identifier.
    """
    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def scheduler() -> DPMSolverMultistepScheduler:
    """Return DPM-Solver++ with Stable Diffusion's noise schedule."""
    return DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        algorithm_type="dpmsolver++",
        solver_order=2,
        steps_offset=1,
    )


def tokenizer(folder: Path, words: list[str], tokens: int = TOKENS) -> CLIPTokenizer:
    """Write a byte-pair tokenizer of CLIP's format, in which each of the words is one token.

    The end token has the highest id, as in CLIP: the text tower finds the end by the highest id.

    Args:
        folder: where to write.
        words: from ``world.vocabulary``.
        tokens: longest text.

    Returns:
        The tokenizer, read from the folder.
    """
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1) if not chr(c).isupper()]
    learned = _byte_pairs(words, letters)
    last_letters = [letter + END_OF_WORD for letter in letters]
    known = sorted({*learned["vocab"], *letters, *last_letters})
    ids = {token: i for i, token in enumerate([*known, START_TOKEN, END_TOKEN])}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learned["merges"]]
    lines = ["#version: 0.2", *merges, ""]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocabulary_file.write_text(json.dumps(ids), encoding="utf-8")
    merges_file.write_text("\n".join(lines), encoding="utf-8")
    made = CLIPTokenizer(
        vocab=str(vocabulary_file), merges=str(merges_file), model_max_length=tokens
    )
    made.save_pretrained(folder)
    return made


def _byte_pairs(words: list[str], letters: list[str]) -> dict[str, Any]:
    """Return vocabulary and merges of a byte-pair encoding that joins each word to one token."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD, unk_token=END_TOKEN))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        end_of_word_suffix=END_OF_WORD,
        initial_alphabet=letters,
        show_progress=False,
    )
    twice = [" ".join(words)] * 2  # a pair is merged only if the pair occurs twice
    bpe.train_from_iterator(twice, trainer)
    return json.loads(bpe.to_str())["model"]


def clip(folder: Path, vocabulary_size: int) -> CLIP:
    """Write open_clip's configuration of the tiny CLIP, and return the model built from it.

    The image tower has convolutions (``tower.Tower``), which need fewer examples than a ViT:
    choices are few. The text tower is 96 wide, with 4 layers. The logit scale is fixed at 100,
    where OpenAI's CLIP ended, so that softmax(100 x cosine) means the same for both models.
    """
    architecture = {
        "embed_dim": 64,
        "quick_gelu": True,
        "init_logit_scale": math.log(100),
        "vision_cfg": {
            "image_size": SIZE,
            "timm_model_name": tower.register(),
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
        },
        "text_cfg": {
            "context_length": CLIP_TOKENS,
            "vocab_size": vocabulary_size,
            "width": WIDTH,
            "heads": 4,
            "layers": 4,
            "hf_tokenizer_name": "tokenizer",
        },
    }
    normalization = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    config = {"model_cfg": architecture, "preprocess_cfg": normalization}
    text = json.dumps(config, indent=2)
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    model.logit_scale.requires_grad_(False)
    return model
