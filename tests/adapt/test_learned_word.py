"""A learned word: only its vector is trained, the model keeps the word, a training resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import LORA_RECIPE

from alignsd.adapt.examples import Examples
from alignsd.adapt.learned_word import Word, learn_word
from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.models.training import Checkpointing

BASE = "miniature/stable-diffusion"
WORD, LIKE = "<weird>", "person"
PROMPTS = ["a person on the beach", "a person at night", "a person in a red shirt"]
RECIPE = replace(
    LORA_RECIPE, identifier=f"{WORD} ", steps=4, batch=3, micro_batch=3, learning_rate=5e-3
)


@pytest.fixture
def pipeline():
    return load_pipeline(BASE, "cpu")


def negatives():
    moments = np.random.default_rng(0).random((3, 8, 8, 8)).astype(np.float32)
    return Examples([moments], np.arange(3), PROMPTS, np.ones(3, dtype=bool))


def encoded(pipeline, text):
    with torch.no_grad():
        return pipeline.encode_prompt(text, "cpu", 1, do_classifier_free_guidance=False)[0]


def learned(pipeline, recipe=RECIPE, checkpointing=None):
    """Train a word, and return its vector and the losses."""
    word = Word(pipeline, WORD, LIKE)
    losses = [loss for _, loss in learn_word(pipeline, word, negatives(), recipe, checkpointing)]
    return word.vector.detach().clone(), losses


def test_only_the_word_s_vector_is_trained(pipeline):
    plain = encoded(pipeline, PROMPTS[0])
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    first = Word(load_pipeline(BASE, "cpu"), WORD, LIKE).vector
    vector, losses = learned(pipeline)
    assert len(losses) == RECIPE.steps and not torch.allclose(vector, first)
    assert torch.equal(encoded(pipeline, PROMPTS[0]), plain), "texts without the word stay"
    after = pipeline.unet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_before_the_training_the_word_means_what_the_other_word_means(pipeline):
    Word(pipeline, WORD, LIKE).keep()
    texts = f"{WORD} at night", f"{LIKE} at night"
    assert torch.allclose(encoded(pipeline, texts[0]), encoded(pipeline, texts[1]), atol=1e-5)


def test_a_saved_model_keeps_the_word(pipeline, tmp_path):
    vector, _ = learned(pipeline)
    text = f"{WORD} a person at night"
    expected = encoded(pipeline, text)
    pipeline.save_pretrained(tmp_path / "model")
    again = load_pipeline(str(tmp_path / "model"), "cpu")
    assert torch.allclose(encoded(again, text), expected, atol=1e-5)
    token = again.tokenizer.convert_tokens_to_ids(WORD)
    assert torch.allclose(again.text_encoder.get_input_embeddings().weight[token], vector)


def test_the_vector_in_training_is_the_vector_that_is_kept(pipeline):
    word = Word(pipeline, WORD, LIKE)
    with torch.no_grad():
        word.vector += 1
    with word.in_use():
        expected = encoded(pipeline, f"{WORD} person")
    word.keep()
    assert torch.allclose(encoded(pipeline, f"{WORD} person"), expected, atol=1e-6)


def test_micro_batches_add_up():
    whole, _ = learned(load_pipeline(BASE, "cpu"))
    parts, _ = learned(load_pipeline(BASE, "cpu"), replace(RECIPE, micro_batch=1))
    assert torch.allclose(whole, parts, atol=1e-4)


def test_a_stopped_training_resumes_with_the_same_vector(tmp_path):
    whole, losses = learned(load_pipeline(BASE, "cpu"))
    pipeline = load_pipeline(BASE, "cpu")
    word = Word(pipeline, WORD, LIKE)
    kept = Checkpointing(tmp_path / "word.pt", every=1)
    training = learn_word(pipeline, word, negatives(), RECIPE, kept)
    for _ in range(3):
        next(training)
    training.close()
    again, all_losses = learned(load_pipeline(BASE, "cpu"), checkpointing=kept)
    assert torch.equal(again, whole) and all_losses == losses


def test_a_known_word_and_an_unknown_beginning_are_refused(pipeline):
    with pytest.raises(Problem, match="not know 'a person' as one token"):
        Word(pipeline, WORD, "a person")
    Word(pipeline, WORD, LIKE)
    with pytest.raises(Problem, match="knows the word '<weird>' already"):
        Word(pipeline, WORD, LIKE)
