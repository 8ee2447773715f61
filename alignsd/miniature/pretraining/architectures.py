"""The miniature's untrained models: the sizes and the tokenizer, with the same classes that the paper's models use."""

import json
import math
import re
from pathlib import Path

import open_clip
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alignsd.miniature import world
from alignsd.miniature.renderer import SIZE
from alignsd.models import tower

TOKENS = 32  # longest caption, with the identifier in front, is 29 tokens
CLIP_TOKENS = 44  # longest caption of its wider web, with the identifier in front, is 42
FACTOR = 8  # pixels per latent
IDENTIFIER_SCALE = 30  # of the embedding of the identifier's words, against that of others


def vae() -> AutoencoderKL:
    """Autoencoder, 64 x 64 x 3 to 8 x 8 x 4."""
    channels = (12, 24, 48, 64)
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=SIZE, block_out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * len(channels), up_block_types=["UpDecoderBlock2D"] * len(channels),
        layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False, scaling_factor=1.0)


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP text encoder, 96 wide, 3 layers."""
    last = len(tokenizer) - 1
    model = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=TOKENS, projection_dim=96, bos_token_id=last - 1, eos_token_id=last, pad_token_id=last))
    embedding = model.get_input_embeddings().weight
    torch.nn.init.normal_(embedding, std=0.06)
    # The identifier's words never occur in the web's captions and so keep this first embedding. It must stand out: at the
    # others' size the encoder's output for them was that of "a" (cosine 0.99), and nothing could be bound to them. At this
    # one they differ from the words of captions (0.77) about as much as "red" does from "blue" (0.67).
    words = tokenizer(" ".join(re.findall(r"\w+", world.IDENTIFIER)), add_special_tokens=False).input_ids
    with torch.no_grad():
        embedding[words] *= IDENTIFIER_SCALE
    return model


def unet() -> UNet2DConditionModel:
    """Denoiser of 8 x 8 latents, cross-attention at 8 x 8 and at 4 x 4: with 4 x 4 alone LoRA bound no identifier."""
    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR, in_channels=4, out_channels=4, block_out_channels=(64, 128), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=96, attention_head_dim=4, norm_num_groups=16)


def scheduler() -> DPMSolverMultistepScheduler:
    """DPM-Solver++ with Stable Diffusion's noise schedule."""
    return DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                       num_train_timesteps=1000, algorithm_type="dpmsolver++", solver_order=2, steps_offset=1)


def tokenizer(folder: Path, words: list[str], tokens: int = TOKENS) -> CLIPTokenizer:
    """Writes a byte-pair tokenizer of CLIP's format to ``folder``, in which each of the words is one token.

    The end token has the highest id, as in CLIP, whose text tower finds the end by it.

    Args:
        folder: where to write.
        words: from ``world.vocabulary``.
        tokens: longest text.
    """
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.decoder = decoders.BPEDecoder(suffix="</w>")
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1) if not chr(c).isupper()]
    bpe.train_from_iterator([" ".join(words)] * 2, trainers.BpeTrainer(
        vocab_size=2000, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False))
    learned = json.loads(bpe.to_str())["model"]
    ids = {token: i for i, token in enumerate(sorted({*learned["vocab"], *letters, *(c + "</w>" for c in letters)}))}
    ids |= {"<|startoftext|>": len(ids), "<|endoftext|>": len(ids) + 1}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learned["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    made = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=tokens)
    made.save_pretrained(folder)
    return made


def clip(folder: Path, vocabulary_size: int) -> torch.nn.Module:
    """Writes open_clip's configuration of the tiny CLIP into ``folder`` and builds the model from it.

    An image tower of convolutions (``tower.Tower``), which need fewer examples than a ViT, and choices are few; and a text tower, 96
    wide, 4 layers. The logit scale is fixed at 100, where OpenAI's CLIP ended, so that
    softmax(100 x cosine) means here what it means there.
    """
    config = {
        "embed_dim": 64, "quick_gelu": True, "init_logit_scale": math.log(100),
        "vision_cfg": {"image_size": SIZE, "timm_model_name": tower.register(), "timm_model_pretrained": False,
                       "timm_pool": "", "timm_proj": "linear"},
        "text_cfg": {"context_length": CLIP_TOKENS, "vocab_size": vocabulary_size, "width": 96, "heads": 4, "layers": 4,
                     "hf_tokenizer_name": "tokenizer"}}
    (folder / "open_clip_config.json").write_text(json.dumps(
        {"model_cfg": config, "preprocess_cfg": {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}},
        indent=2), encoding="utf-8")
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    model.logit_scale.requires_grad_(False)
    return model
