"""The Human Preference Score: its definition, its loss, its training and its accuracy on hand-sized cases."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from alignsd.base import images as pictures
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.models.clip import embed_images, embed_texts, load_clip, to_square
from alignsd.reward import accuracy, hps


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


def test_hps_is_a_hundred_times_the_cosine():
    image, text = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert hps.hps(image, text) == pytest.approx([100.0, 80.0])


def test_loss_by_hand():
    text = torch.tensor([[1.0, 0.0]])
    image = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])  # the third is absent and must not count
    present, chosen = torch.tensor([[True, True, False]]), torch.tensor([0])
    loss = hps.preference_loss(image, text, torch.tensor(math.log(2.0)), present, chosen)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))


def test_logit_scale_is_capped_at_a_hundred():
    text, image = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.5, 0.0], [0.51, 0.0]]])
    arguments = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0])
    at_cap = hps.preference_loss(image, text, torch.tensor(math.log(100.0)), *arguments)
    assert hps.preference_loss(image, text, torch.tensor(9.0), *arguments).item() == pytest.approx(at_cap.item())


def test_padding_keeps_the_whole_image_and_centres_it():
    square = to_square(np.full((20, 40, 3), 200, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    assert (square[:16] == 0).all() and (square[48:] == 0).all() and (square[20:44] == 200).all()


def test_embeddings_are_unit_vectors_and_texts_are_embedded_once(clip, monkeypatch):
    seen = []
    monkeypatch.setattr(clip.model, "encode_text", lambda tokens, normalize, f=clip.model.encode_text:
                        seen.append(len(tokens)) or f(tokens, normalize=normalize))
    texts = embed_texts(clip, ["a person", "at night", "a person"])
    assert seen == [2] and (texts[0] == texts[2]).all()
    images = embed_images(clip, [np.zeros((64, 64, 3), np.uint8), np.full((30, 64, 3), 255, np.uint8)])
    assert np.linalg.norm(np.concatenate([images, texts]), axis=1) == pytest.approx(1, abs=1e-5)


def test_batch_size_does_not_change_scores(clip):
    images = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8))
    assert embed_images(clip, images, batch=2) == pytest.approx(embed_images(clip, images, batch=5), abs=1e-5)


def test_unlocking_trains_the_last_layers_only(clip):
    model = load_clip("miniature/clip", device="cpu").model
    hps.unlock(model, image_groups=2, text_layers=1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "visual.head.proj.weight" in trained and "logit_scale" in trained
    assert {"visual.trunk.neck.1.weight", "visual.trunk.body.18.weight"} <= trained  # the neck and the last stage
    assert not any(name.startswith(("visual.trunk.body.0.", "visual.trunk.body.15.", "token_embedding")) for name in trained)


@pytest.fixture
def toy_choices(tmp_path):
    rows, rng = [], np.random.default_rng(0)
    for i in range(8):  # the brighter picture is always chosen
        bright = int(rng.integers(2))
        for j in range(2):
            save_png(tmp_path / f"{i}_{j}.png", np.full((64, 64, 3), 220 if j == bright else 30, np.uint8))
        rows.append(dict(id=i, prompt="a person at night", file_path=[f"{i}_0.png", f"{i}_1.png"], human_preference=bright))
    return pd.DataFrame(rows), tmp_path


RECIPE = dict(batch=4, learning_rate=3e-4, weight_decay=0.0, mirror=False, seed=0)


def test_training_learns_a_simple_preference(toy_choices):
    choices, folder = toy_choices
    clip = load_clip("miniature/clip", device="cpu")
    hps.unlock(clip.model, image_groups=5, text_layers=2)
    losses = [loss for _, loss in hps.train_hps(clip, choices, folder, steps=12, initial_scale=100, **RECIPE)]
    assert losses[-1] < losses[0]
    assert accuracy.chance_right(hps.score_choices(clip, choices, folder), "score").mean() == 1


def test_training_starts_from_the_scale_it_is_given(toy_choices):
    choices, folder = toy_choices
    clip = load_clip("miniature/clip", device="cpu")
    own = clip.model.logit_scale.item()
    list(hps.train_hps(clip, choices, folder, steps=0, initial_scale=30, **RECIPE))
    assert clip.model.logit_scale.item() == own, "no steps, no change"
    hps.unlock(clip.model, image_groups=1, text_layers=0)
    list(hps.train_hps(clip, choices, folder, steps=1, initial_scale=30, **RECIPE))
    assert clip.model.logit_scale.exp().item() == pytest.approx(30, rel=1e-3)
    with pytest.raises(Problem, match="scale of the logits"):
        next(hps.train_hps(clip, choices, folder, steps=1, initial_scale=0, **RECIPE))


def test_images_of_a_choice_are_mirrored_together_or_not_at_all(toy_choices, monkeypatch):
    choices, folder = toy_choices
    left_lit = np.zeros((64, 64, 3), np.uint8)
    left_lit[:, :32] = 255
    for name in choices["file_path"].explode():
        save_png(folder / name, left_lit)
    clip, seen = load_clip("miniature/clip", device="cpu"), []
    hps.unlock(clip.model, image_groups=1, text_layers=0)
    monkeypatch.setattr(hps, "preprocess", lambda clip, images, f=hps.preprocess: seen.append(images) or f(clip, images))
    for mirror in (False, True, True):
        list(hps.train_hps(clip, choices, folder, steps=10, initial_scale=100, **RECIPE | {"mirror": mirror}))
    turned = np.array([[image[0, 0, 0] == 0 for image in images] for images in seen]).reshape(3, 40, 2)  # 10 steps of 4 choices
    assert not turned[0].any()
    assert (turned[1, :, 0] == turned[1, :, 1]).all() and 10 < turned[1, :, 0].sum() < 30
    assert (turned[1] == turned[2]).all(), "the same seed, the same tosses"


def test_saved_weights_give_the_same_scores(tmp_path, clip):
    hps.save_hps(clip, tmp_path / "hps.safetensors")
    again = load_clip("miniature/clip", weights=tmp_path / "hps.safetensors", device="cpu")
    image = [np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)]
    assert hps.score(again, image, ["a person"]) == pytest.approx(hps.score(clip, image, ["a person"]))


def test_unknown_models_are_told():
    with pytest.raises(Problem, match="no shipped model"):
        load_clip("miniature/klip")
    with pytest.raises(Problem, match="could not be loaded"):
        load_clip("no-such-model")


def _images():
    return pd.DataFrame({"id": [1, 1, 2, 2, 2], "index": [0, 1, 0, 1, 2], "preferred": [False, True, True, False, False],
                         "s": [0.1, 0.9, 0.5, 0.5, 0.2], "p": [0.4, 0.6, 0.2, 0.5, 0.3]})


def test_accuracy_by_hand():
    right = accuracy.right_by_predictor(_images(), {"S": "s"})
    assert right["S"].tolist() == [1.0, 0.5]  # the second choice is a tie of two
    assert right[accuracy.RANDOM].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert right[accuracy.LAST].tolist() == [1.0, 0.0]
    assert right[accuracy.PERSON].tolist() == [0.6, 0.2]
    assert right[accuracy.BEST].tolist() == [1.0, 0.0]


def test_what_a_predictor_lacks_to_the_best_possible_one_by_hand():
    images = _images()
    value, low, high = accuracy.short_of_best(images, "s", seed=0)  # 0.6 of 0.6, and of the second choice a tie of 0.2 and 0.5
    assert value == pytest.approx((0 + (0.35 - 0.5)) / 2)
    assert low <= value <= high <= 0
    assert accuracy.short_of_best(images, "p", seed=0) == (0, 0, 0)
    assert accuracy.short_of_best(images.drop(columns="p"), "s", seed=0) is None


def test_subsets_are_nested_and_never_larger_than_the_data():
    parts = accuracy.subsets(50, [10, 20, 80], seed=0)
    assert set(parts) == {10, 20} and set(parts[10]) <= set(parts[20])


PROMPT = "a person in a red shirt waving on the beach"
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("picture", "words"), [
    ((PICTURE / 255).astype(np.float32), "(?s)uint8.*float32.*255"),
    (PICTURE.astype(np.int64), "int64"),
    (np.zeros((80, 64, 4), np.uint8), "(?s)3\\).*transparency.*read_image"),
    (np.zeros((64, 64), np.uint8), "grey"),
    (np.zeros((3, 64, 64), np.uint8), "colours first"),
    (np.zeros((0, 64, 3), np.uint8), "0, 64, 3"),
    (torch.zeros(64, 64, 3), "type Tensor"),
    ("picture.png", "type str"),
    (None, "NoneType"),
])
def test_pictures_of_other_kinds_are_told(clip, picture, words):
    with pytest.raises(Problem, match=words):
        hps.score(clip, [PICTURE, picture], [PROMPT, PROMPT])


@pytest.mark.parametrize(("images", "prompts", "words"), [
    (PICTURE, PROMPT, "a list of images"), (PICTURE, [PROMPT] * 64, "one image and 64"),
    ([PICTURE], PROMPT, "1 images and one prompt"), (None, [PROMPT], "list"),
    ([PICTURE, PICTURE], [PROMPT], "2 images and 1 prompts"), ([PICTURE], [None], "no text"),
    ([PICTURE], [float("nan")], "no text"), ([PICTURE], ["\ud800"], "no text"),
])
def test_images_and_prompts_are_lists_of_one_length(clip, images, prompts, words):
    with pytest.raises(Problem, match=f"(?s){words}"):
        hps.score(clip, images, prompts)


def test_an_array_of_images_is_a_list_of_them(clip):
    both = hps.score(clip, np.stack([PICTURE, PICTURE]), np.array([PROMPT, PROMPT]))
    assert both == pytest.approx(hps.score(clip, [PICTURE], [PROMPT]).repeat(2), abs=1e-4)


def test_weights_whose_embeddings_overflow_give_no_scores():
    huge = load_clip("miniature/clip", device="cpu")
    with torch.no_grad():
        for value in huge.model.parameters():
            value.fill_(3e38)
    with pytest.raises(Problem, match="no finite numbers"):
        hps.score(huge, [PICTURE], [PROMPT])


SETTINGS = dict(epochs=2.0, curve=[10, 30], image_groups=2, text_layers=2, batch=5, learning_rate=5e-5,
                initial_scale=30.0, weight_decay=3.1e-3, mirror=True, seed=0)


@pytest.mark.parametrize("change", [
    {"batch": 0}, {"batch": -1}, {"epochs": -1.0}, {"epochs": 0.0}, {"epochs": float("nan")}, {"epochs": 1e300},
    {"epochs": float("inf")}, {"curve": [0]}, {"curve": [10, -3]}, {"curve": ["ten"]}, {"curve": [2.5]}, {"curve": [True]},
    {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"learning_rate": float("inf")}, {"weight_decay": -0.1},
    {"weight_decay": float("nan")}, {"seed": -1}, {"seed": 2**32}, {"initial_scale": float("nan")}, {"initial_scale": 0.0},
    {"image_groups": -1}, {"text_layers": -2}], ids=str)
def test_settings_out_of_their_range_are_named_before_anything_starts(toy_choices, clip, change):
    (name,) = change
    words = {"initial_scale": "scale of the logits"}.get(name, name)
    hps.check_settings(**SETTINGS)
    with pytest.raises(Problem, match=words):
        hps.check_settings(**SETTINGS | change)
    recipe = {key: value for key, value in (SETTINGS | change).items() if key in (*RECIPE, "initial_scale")}
    if name in recipe:
        with pytest.raises(Problem, match=words):
            next(hps.train_hps(clip, *toy_choices, steps=1, **recipe))
    if name == "curve":
        with pytest.raises(Problem, match="curve"):
            hps.learning_curve("miniature/clip", toy_choices[0], toy_choices[0], toy_choices[1], change["curve"],
                               image_groups=1, text_layers=1, epochs=1.0, **recipe)


def test_no_choices_are_told(toy_choices, clip):
    choices, folder = toy_choices
    with pytest.raises(Problem, match="no choices to train on"):
        next(hps.train_hps(clip, choices.head(0), folder, steps=1, initial_scale=30, **RECIPE))


def test_choices_with_bad_pictures_are_left_out_whole_and_counted(toy_choices):
    choices, folder = toy_choices
    same, none = hps.readable_choices(choices, folder)
    pd.testing.assert_frame_equal(same, choices)
    assert not none
    whole = (folder / "1_0.png").read_bytes()
    (folder / "1_0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "3_1.png").unlink()
    (folder / "3_0.png").write_bytes(b"")
    (folder / "5_0.png").write_text("<html>")
    left, reasons = hps.readable_choices(choices, folder)
    assert left["id"].tolist() == [0, 2, 4, 6, 7] and left.index.tolist() == [0, 1, 2, 3, 4]
    assert reasons == {pictures.DAMAGED: 1, pictures.EMPTY: 1, pictures.FOREIGN: 1}
    with pytest.raises(Problem, match="8 choices left out .missing file: 8"):
        hps.readable_choices(choices, folder / "elsewhere")


def test_what_a_training_is_made_from_follows_its_rows_alone(toy_choices):
    choices, _ = toy_choices
    made = hps.made_from("miniature/clip", choices, SETTINGS)
    other_columns = choices.assign(user_hash="x", contain_name=False, id=choices["id"].astype(str))
    assert hps.made_from("miniature/clip", other_columns, SETTINGS) == made
    assert made["clip"] == "miniature/clip" and made["batch"] == 5 and made["choices"].startswith("8 choices, ")
    for other in (choices.head(7), choices.iloc[::-1], choices.assign(prompt="b"), choices.assign(human_preference=0)):
        changed = hps.made_from("miniature/clip", other, SETTINGS)
        assert {name for name in made if made[name] != changed[name]} == {"choices"}


def test_a_training_is_resumed_only_from_what_it_was_made_from(toy_choices, tmp_path):
    choices, folder = toy_choices
    for number, rows in enumerate((choices, choices, choices.head(6))):
        clip = load_clip("miniature/clip", device="cpu")
        hps.unlock(clip.model, 1, 0)
        training = hps.train_hps(clip, rows, folder, steps=1, initial_scale=30, **RECIPE, checkpoint=tmp_path / "c.pt",
                                 made_from=hps.made_from("miniature/clip", rows, RECIPE))
        if number == 2:
            with pytest.raises(Problem, match="(?s)another training.*choices = '6 choices"):
                next(training)
        else:
            assert len(list(training)) == 1


def test_all_that_hps_is_compared_with_is_opened_before(toy_choices, clip, tmp_path):
    choices, folder = toy_choices
    absent = dict(truth=tmp_path / "t.parquet", provenance=tmp_path / "p.parquet")
    hps.check_inputs(clip, choices, aesthetic="miniature/aesthetic", scorers=[], **absent)
    with pytest.raises(Problem, match="no score 'HPS v3'"):
        hps.check_inputs(clip, choices, aesthetic="miniature/aesthetic", scorers=["HPS v3"], **absent)
    with pytest.raises(Problem, match="no aesthetic predictor"):
        hps.check_inputs(clip, choices, aesthetic="gone.pth", scorers=[], **absent)
    torch.save({"weight": torch.ones(1, 768), "bias": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(Problem, match="(?s)does not fit the CLIP.*768"):
        hps.check_inputs(clip, choices, aesthetic=str(tmp_path / "a.pth"), scorers=[], **absent)
    (tmp_path / "t.parquet").write_text("<html>")
    with pytest.raises(Problem, match="cannot be read"):
        hps.check_inputs(clip, choices, aesthetic="miniature/aesthetic", scorers=[], **absent)
