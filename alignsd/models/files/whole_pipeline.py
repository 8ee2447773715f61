"""Refuse a Stable Diffusion that loads without all of its parts."""

from typing import Any

from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.base.errors import Problem
from alignsd.models.files.diffusers_folder import AGAIN, WITH_WEIGHTS
from alignsd.models.files.quantized import check_not_quantized
from alignsd.models.files.vocabulary import bad_tokenizer, check_vocabulary
from alignsd.models.files.weights import check_finite
from alignsd.models.files.wording import short

# What a UNet predicts, as diffusers names it: the noise, or v.
NOISE, V_PREDICTION = "epsilon", "v_prediction"
PREDICTIONS = (NOISE, V_PREDICTION)


def check_pipeline(pipeline: StableDiffusionPipeline, name: str) -> None:
    """Do nothing if a pipeline has a whole tokenizer, and all weights, as finite fractions.

    diffusers leaves tensors that its files lack without numbers. transformers fills in random
    numbers for tensors that the files of the text encoder lack.

    Args:
        pipeline: as diffusers loaded the pipeline, before a LoRA is added.
        name: of the model, for messages.

    Raises:
        Problem: that says which part is not whole, or that the model draws from more than a prompt.
    """
    what = f"The model {short(repr(name))}"
    for part in ("tokenizer", *WITH_WEIGHTS):
        _check_nothing_absent([part] if getattr(pipeline, part) is None else [], "model", what)
    _check_tokenizer(pipeline, what)
    _check_kind(pipeline, what)
    parts = {part: getattr(pipeline, part) for part in WITH_WEIGHTS}
    for part, module in parts.items():
        absent = [key for key, value in module.state_dict().items() if value.is_meta]
        _check_nothing_absent(absent, part, what)
    _check_nothing_absent(_made_up(pipeline.text_encoder), "text_encoder", what)
    for part, module in parts.items():
        state, of_part = module.state_dict(), f"{what}, in the part {part},"
        check_not_quantized(module.config._name_or_path, state, of_part, AGAIN)
        check_finite(state, of_part, AGAIN)


def _check_kind(pipeline: StableDiffusionPipeline, what: str) -> None:
    """Do nothing if the UNet takes noise and a prompt alone, and predicts noise or v."""
    takes, noise = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
    if takes != noise:
        raise Problem(
            f"{what} does not draw from a prompt alone.",
            expected=f"a UNet that takes the {noise} channels of the autoencoder",
            found=f"a UNet that takes {takes} channels",
            cause="a model that is also given a picture: for inpainting, depth, editing or scaling",
            fix="name a model that turns text into pictures, such as CompVis/stable-diffusion-v1-4",
        )
    predicts = pipeline.scheduler.config.get("prediction_type", NOISE)
    if predicts not in PREDICTIONS:
        raise Problem(
            f"{what} predicts what we cannot train.",
            expected=f"a scheduler whose prediction_type is {' or '.join(PREDICTIONS)}",
            found=f"{predicts!r} in scheduler_config.json",
            cause="a model of another kind, or a configuration that was edited",
            fix=AGAIN,
        )


def _check_tokenizer(pipeline: StableDiffusionPipeline, what: str) -> None:
    """Do nothing if the tokenizer tells words apart, and fills prompts up to a length that fits."""
    tokenizer = pipeline.tokenizer
    check_vocabulary(lambda texts: tokenizer(texts).input_ids, what)
    most = getattr(pipeline.text_encoder.config, "max_position_embeddings", 10**6)
    if tokenizer.model_max_length > most:
        # Without tokenizer_config.json the length is 10**30.
        length = f"model_max_length {tokenizer.model_max_length:.3g}"
        raise bad_tokenizer(what, f"{length}; the text encoder takes {most} tokens at most")


def _made_up(encoder: Any) -> list[str]:
    """Return the text encoder's tensors for which transformers had no numbers to load.

    The pipeline's loading does not say so. The text encoder is read a second time: the text
    encoder is a small part of the model.
    """
    _, report = type(encoder).from_pretrained(encoder.name_or_path, output_loading_info=True)
    return sorted(str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]])


def _check_nothing_absent(absent: list[str], part: str, what: str) -> None:
    if absent:
        raise Problem(
            f"{what} is not whole.",
            expected="all parts and tensors that the configuration names",
            found=f"absent from the {part}: {len(absent)}, the first {short(absent[0])}",
            cause="an unfinished save, or weights of another model",
            fix=AGAIN,
        )
