"""What HPS is given is checked before a training, and before a score."""

import numpy as np
import pytest
import torch
from toy import write_choices

from alignsd.base.errors import Problem
from alignsd.models.clip import load_clip
from alignsd.reward.hps import score
from alignsd.reward.inputs import check_inputs

PROMPT = "a person in a red shirt waving on the beach"
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ((PICTURE / 255).astype(np.float32), "(?s)uint8.*float32.*255"),
        (PICTURE.astype(np.int64), "int64"),
        (np.zeros((80, 64, 4), np.uint8), "(?s)3\\).*transparency.*read_image"),
        (np.zeros((64, 64), np.uint8), "grey"),
        (np.zeros((3, 64, 64), np.uint8), "colours first"),
        (np.zeros((0, 64, 3), np.uint8), "0, 64, 3"),
        (torch.zeros(64, 64, 3), "type Tensor"),
        ("picture.png", "type str"),
        (None, "NoneType"),
    ],
)
def test_pictures_of_other_kinds_are_named(clip, picture, words):
    with pytest.raises(Problem, match=words):
        score(clip, [PICTURE, picture], [PROMPT, PROMPT])


@pytest.mark.parametrize(
    ("images", "prompts", "words"),
    [
        (PICTURE, PROMPT, "a list of images"),
        (PICTURE, [PROMPT] * 64, "one image and 64"),
        ([PICTURE], PROMPT, "1 images and one prompt"),
        (None, [PROMPT], "list"),
        ([PICTURE, PICTURE], [PROMPT], "2 images and 1 prompts"),
        ([PICTURE], [None], "no text"),
        ([PICTURE], [float("nan")], "no text"),
        ([PICTURE], ["\ud800"], "no text"),
    ],
)
def test_images_and_prompts_are_lists_of_one_length(clip, images, prompts, words):
    with pytest.raises(Problem, match=f"(?s){words}"):
        score(clip, images, prompts)


def test_an_array_of_images_is_a_list_of_images(clip):
    both = score(clip, np.stack([PICTURE, PICTURE]), np.array([PROMPT, PROMPT]))
    assert both == pytest.approx(score(clip, [PICTURE], [PROMPT]).repeat(2), abs=1e-4)


def test_weights_whose_embeddings_overflow_give_no_scores():
    huge = load_clip("miniature/clip", device="cpu")
    with torch.no_grad():
        for value in huge.model.parameters():
            value.fill_(3e38)
    with pytest.raises(Problem, match="no finite numbers"):
        score(huge, [PICTURE], [PROMPT])


def test_all_that_hps_is_compared_with_is_opened_before(clip, tmp_path):
    choices = write_choices(tmp_path)
    truth, provenance = tmp_path / "t.parquet", tmp_path / "p.parquet"

    def check(aesthetic="miniature/aesthetic", scorers=()):
        check_inputs(
            clip,
            choices,
            aesthetic=aesthetic,
            scorers=scorers,
            truth=truth,
            provenance=provenance,
        )

    check()
    with pytest.raises(Problem, match="no score 'HPS v3'"):
        check(scorers=["HPS v3"])
    with pytest.raises(Problem, match="no aesthetic predictor"):
        check(aesthetic="gone.pth")
    wide = {"weight": torch.ones(1, 768), "bias": torch.ones(1)}
    torch.save(wide, tmp_path / "a.pth")
    with pytest.raises(Problem, match="(?s)does not fit the CLIP.*768"):
        check(aesthetic=str(tmp_path / "a.pth"))
    truth.write_text("<html>")
    with pytest.raises(Problem, match="cannot be read"):
        check()
