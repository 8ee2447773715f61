"""The Human Preference Score: its definition, its loss and its training on hand-sized cases."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int64, jaxtyped
from toy import RECIPE, write_choices

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.models.clip import embed_images, embed_texts, load_clip, to_square
from alignsd.models.training import Checkpointing
from alignsd.reward import accuracy, hps


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


def test_hps_is_a_hundred_times_the_cosine():
    image, text = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert hps.hps(image, text) == pytest.approx([100.0, 80.0])


def test_loss_by_hand():
    text = torch.tensor([[1.0, 0.0]])
    image = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])  # the third image is absent
    present, chosen = torch.tensor([[True, True, False]]), torch.tensor([0])
    loss = hps.preference_loss(image, text, torch.tensor(math.log(2.0)), present, chosen)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))


def test_logit_scale_is_capped_at_a_hundred():
    text, image = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.5, 0.0], [0.51, 0.0]]])
    arguments = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0])
    at_cap = hps.preference_loss(image, text, torch.tensor(math.log(100.0)), *arguments)
    above = hps.preference_loss(image, text, torch.tensor(9.0), *arguments)
    assert above.item() == pytest.approx(at_cap.item())


def test_padding_keeps_the_whole_image_and_centres_it():
    square = to_square(np.full((20, 40, 3), 200, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    assert (square[:16] == 0).all() and (square[48:] == 0).all() and (square[20:44] == 200).all()


def test_embeddings_are_unit_vectors_and_texts_are_embedded_once(clip, monkeypatch):
    seen = []
    encode_text = clip.model.encode_text

    def watched(tokens, normalize):
        seen.append(len(tokens))
        return encode_text(tokens, normalize=normalize)

    monkeypatch.setattr(clip.model, "encode_text", watched)
    texts = embed_texts(clip, ["a person", "at night", "a person"])
    assert seen == [2] and (texts[0] == texts[2]).all()
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((30, 64, 3), 255, np.uint8)
    images = embed_images(clip, [black, white])
    assert np.linalg.norm(np.concatenate([images, texts]), axis=1) == pytest.approx(1, abs=1e-5)


def test_batch_size_does_not_change_scores(clip):
    images = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8))
    by_two = embed_images(clip, images, batch=2)
    assert by_two == pytest.approx(embed_images(clip, images, batch=5), abs=1e-5)


@jaxtyped(typechecker=None)
def test_shapes_of_embeddings_and_scores(clip):
    images = [np.zeros((64, 64, 3), np.uint8)] * 3
    image_embeddings = embed_images(clip, images)
    text_embeddings = embed_texts(clip, ["a", "b", "c"])
    assert isinstance(image_embeddings, Float[np.ndarray, "images=3 width"])
    assert isinstance(text_embeddings, Float[np.ndarray, "images width"])
    scores = hps.hps(image_embeddings, text_embeddings)
    assert isinstance(scores, Float[np.ndarray, " images"])


def test_shapes_in_the_loss(clip, tmp_path, monkeypatch):
    """Two choices of two images, one choice of one: the loss gets a place for each image."""
    choices = write_choices(tmp_path, 3)
    choices.at[1, "file_path"], choices.at[1, "human_preference"] = ["1_0.png"], 0
    checked = []

    @jaxtyped(typechecker=None)
    def loss(image, text, logit_scale, present, chosen):
        assert isinstance(image, Float[torch.Tensor, "choices=3 images=2 width"])
        assert isinstance(text, Float[torch.Tensor, "choices width"])
        assert isinstance(logit_scale, Float[torch.Tensor, ""])
        assert isinstance(present, Bool[torch.Tensor, "choices images"])
        assert isinstance(chosen, Int64[torch.Tensor, " choices"])
        mean = preference_loss(image, text, logit_scale, present, chosen)
        assert isinstance(mean, Float[torch.Tensor, ""])
        checked.append(present.sum().item())
        return mean

    preference_loss = hps.preference_loss
    monkeypatch.setattr(hps, "preference_loss", loss)
    tuned = load_clip("miniature/clip", device="cpu")
    hps.unlock(tuned.model, 1, 0)
    list(hps.train_hps(tuned, choices, tmp_path, replace(RECIPE, batch=3), steps=1))
    assert checked == [5]


def test_unlocking_trains_the_last_layers_only():
    model = load_clip("miniature/clip", device="cpu").model
    hps.unlock(model, image_groups=2, text_layers=1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "visual.head.proj.weight" in trained and "logit_scale" in trained
    # The neck and the last stage.
    assert {"visual.trunk.neck.1.weight", "visual.trunk.body.18.weight"} <= trained
    frozen = ("visual.trunk.body.0.", "visual.trunk.body.15.", "token_embedding")
    assert not any(name.startswith(frozen) for name in trained)


@pytest.fixture
def toy_choices(tmp_path):
    return write_choices(tmp_path), tmp_path


def test_training_learns_a_simple_preference(toy_choices):
    choices, folder = toy_choices
    clip = load_clip("miniature/clip", device="cpu")
    hps.unlock(clip.model, image_groups=5, text_layers=2)
    recipe = replace(RECIPE, initial_scale=100)
    losses = [loss for _, loss in hps.train_hps(clip, choices, folder, recipe, steps=12)]
    assert losses[-1] < losses[0]
    scores = hps.score_choices(clip, choices, folder)
    assert accuracy.chance_right(scores, "score").mean() == 1


def test_training_starts_from_the_scale_it_is_given(toy_choices):
    choices, folder = toy_choices
    clip = load_clip("miniature/clip", device="cpu")
    own = clip.model.logit_scale.item()
    list(hps.train_hps(clip, choices, folder, RECIPE, steps=0))
    assert clip.model.logit_scale.item() == own, "no steps, no change"
    hps.unlock(clip.model, image_groups=1, text_layers=0)
    list(hps.train_hps(clip, choices, folder, RECIPE, steps=1))
    assert clip.model.logit_scale.exp().item() == pytest.approx(30, rel=1e-3)


def test_images_of_a_choice_are_mirrored_together_or_not_at_all(toy_choices, monkeypatch):
    choices, folder = toy_choices
    left_lit = np.zeros((64, 64, 3), np.uint8)
    left_lit[:, :32] = 255
    for name in choices["file_path"].explode():
        save_png(folder / name, left_lit)
    clip, seen = load_clip("miniature/clip", device="cpu"), []
    hps.unlock(clip.model, image_groups=1, text_layers=0)
    preprocess = hps.preprocess

    def watched(clip, images):
        seen.append([image[0, 0, 0] == 0 for image in images])
        return preprocess(clip, images)

    monkeypatch.setattr(hps, "preprocess", watched)
    for mirror in (False, True, True):
        list(hps.train_hps(clip, choices, folder, replace(RECIPE, mirror=mirror), steps=10))
    turned = np.array(seen).reshape(3, 40, 2)  # trainings, choices in 10 steps of 4, images
    assert not turned[0].any()
    assert (turned[1, :, 0] == turned[1, :, 1]).all() and 10 < turned[1, :, 0].sum() < 30
    assert (turned[1] == turned[2]).all(), "the same seed, the same tosses"


def test_saved_weights_give_the_same_scores(tmp_path, clip):
    hps.save_hps(clip, tmp_path / "hps.safetensors")
    again = load_clip("miniature/clip", weights=tmp_path / "hps.safetensors", device="cpu")
    image = [np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)]
    expected = hps.score(clip, image, ["a person"])
    assert hps.score(again, image, ["a person"]) == pytest.approx(expected)


def test_unknown_models_are_named():
    with pytest.raises(Problem, match="no shipped model"):
        load_clip("miniature/klip")
    with pytest.raises(Problem, match="could not be loaded"):
        load_clip("no-such-model")


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0},
        {"batch": -1},
        {"epochs": -1.0},
        {"epochs": 0.0},
        {"epochs": NAN},
        {"epochs": 1e300},
        {"epochs": INFINITE},
        {"learning_rate": -1.0},
        {"learning_rate": NAN},
        {"learning_rate": INFINITE},
        {"weight_decay": -0.1},
        {"weight_decay": NAN},
        {"seed": -1},
        {"seed": 2**32},
        {"initial_scale": NAN},
        {"initial_scale": 0.0},
        {"initial_scale": 101.0},
        {"image_groups": -1},
        {"text_layers": -2},
    ],
    ids=str,
)
def test_settings_out_of_their_range_are_named_before_anything_starts(change):
    (name,) = change
    with pytest.raises(Problem, match=name):
        replace(RECIPE, **change)


def test_steps_make_up_the_epochs():
    assert RECIPE.steps(8) == 4  # 2 epochs of 8 choices, 4 at a time
    assert replace(RECIPE, epochs=0.001).steps(8) == 1


def test_no_choices_and_steps_below_none_are_named(toy_choices, clip):
    choices, folder = toy_choices
    with pytest.raises(Problem, match="no choices to train on"):
        next(hps.train_hps(clip, choices.head(0), folder, RECIPE, steps=1))
    with pytest.raises(Problem, match="steps is"):
        next(hps.train_hps(clip, choices, folder, RECIPE, steps=-1))


def test_what_a_training_is_made_from_follows_its_rows_alone(toy_choices):
    choices, _ = toy_choices

    def made_from(rows):
        return hps.made_from("miniature/clip", rows, RECIPE, steps=4, fit="pad")

    made = made_from(choices)
    as_text = choices["id"].astype(str)
    assert made_from(choices.assign(user_hash="x", contain_name=False, id=as_text)) == made
    assert made["clip"] == "miniature/clip" and made["batch"] == 4
    assert made["choices"].startswith("8 choices, ")
    others = [
        choices.head(7),
        choices.iloc[::-1],
        choices.assign(prompt="b"),
        choices.assign(human_preference=0),
    ]
    for other in others:
        changed = made_from(other)
        assert {name for name in made if made[name] != changed[name]} == {"choices"}


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 5},
        {"learning_rate": 1e-4},
        {"initial_scale": 20.0},
        {"weight_decay": 0.1},
        {"mirror": True},
        {"seed": 1},
        {"image_groups": 1},
        {"text_layers": 1},
    ],
    ids=str,
)
def test_another_recipe_is_another_training(toy_choices, change):
    choices, _ = toy_choices
    (name,) = change
    made = hps.made_from("miniature/clip", choices, RECIPE, steps=4, fit="pad")
    recipe = replace(RECIPE, **change)
    other = hps.made_from("miniature/clip", choices, recipe, steps=4, fit="pad")
    assert {key for key in made if made[key] != other[key]} == {name}
    more_steps = hps.made_from("miniature/clip", choices, RECIPE, steps=5, fit="crop")
    assert {key for key in made if made[key] != more_steps[key]} == {"steps", "fit"}


def test_a_training_is_resumed_only_from_what_it_was_made_from(toy_choices, tmp_path):
    choices, folder = toy_choices

    def start(rows):
        clip = load_clip("miniature/clip", device="cpu")
        hps.unlock(clip.model, 1, 0)
        made_from = hps.made_from("miniature/clip", rows, RECIPE, steps=1, fit="pad")
        checkpointing = Checkpointing(tmp_path / "c.pt", made_from)
        return hps.train_hps(clip, rows, folder, RECIPE, 1, checkpointing)

    assert len(list(start(choices))) == 1
    assert len(list(start(choices))) == 1
    with pytest.raises(Problem, match="(?s)another training.*choices = '6 choices"):
        next(start(choices.head(6)))
